//! A disk for tests: it writes down everything it is asked, fails when it is told to, and can be cut.
//!
//! Law: [`Faulty`] keeps its files in a [`Memory`] and a log of every change, one number each. A [`Platter`] goes
//! through that log and knows what of it is durable: bytes once their file was synced, names once the directory
//! was. [`Platter::cut`] gives one of the disks that a power cut may leave: unsynced changes are lost, kept, or
//! kept in part (each write and each of its 512-byte sectors by itself). A sync that lies is out of scope.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind as IoKind};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Memory};
use crate::sync::Mutex;

const SECTOR: usize = 512;

/// A change that was asked for, and did happen.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create(String, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncNames,
}

impl Change {
    /// Whether the files are as they were before.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::SyncNames)
    }
}

/// What shall fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The n-th change, counted from 1; nothing of it happens.
    Once(u64, IoKind),
    /// The n-th change; it happens and is reported as failed.
    InDoubt(u64, IoKind),
    /// The n-th change and all later ones; of a write, half happens.
    From(u64, IoKind),
    /// From the n-th change on no file grows and none is made.
    Full(u64),
    /// No file grows beyond so many bytes.
    Beyond(u64),
    /// The n-th reading, once.
    Read(u64, IoKind),
}

/// Files in memory, with a log. Clones are one disk.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    memory: Memory,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    log: Vec<Change>,
    names: BTreeMap<String, usize>,
    files: usize,
    asked: u64,
    read: u64,
    failed: u64,
    failure: Option<Failure>,
}

/// What becomes of a change.
#[derive(Clone, Copy)]
enum Fate {
    Happens,
    Half(IoKind),
    Fails(IoKind),
    InDoubt(IoKind),
}

impl Script {
    fn fate(&mut self, grows: bool) -> Fate {
        self.asked += 1;
        let fate = match self.failure {
            Some(Failure::Once(at, kind)) if self.asked == at => Fate::Fails(kind),
            Some(Failure::InDoubt(at, kind)) if self.asked == at => Fate::InDoubt(kind),
            Some(Failure::From(at, kind)) if self.asked >= at => Fate::Half(kind),
            Some(Failure::Full(at)) if self.asked >= at && grows => Fate::Half(IoKind::StorageFull),
            _ => Fate::Happens,
        };
        self.failed += u64::from(!matches!(fate, Fate::Happens));
        fate
    }

    fn check_read(&mut self) -> io::Result<()> {
        self.read += 1;
        match self.failure {
            Some(Failure::Read(at, kind)) if self.read == at => {
                self.failed += 1;
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }
}

impl Faulty {
    /// A disk that begins with these files, all durable.
    pub(crate) fn over(memory: Memory) -> Self {
        let names = memory.list().unwrap();
        let files = names.len();
        let names = names.into_iter().zip(0..).collect();
        Self { memory, script: Arc::new(Mutex::new(Script { names, files, ..Script::default() })) }
    }

    /// From now on this fails.
    pub(crate) fn fail(&self, failure: Option<Failure>) {
        self.script.lock().failure = failure;
    }

    /// How many changes were asked for, how many readings, how many of them failed.
    pub(crate) fn asked(&self) -> (u64, u64, u64) {
        let script = self.script.lock();
        (script.asked, script.read, script.failed)
    }

    /// How many changes stand in the log.
    pub(crate) fn changes(&self) -> usize {
        self.script.lock().log.len()
    }

    /// The log.
    pub(crate) fn log(&self) -> Vec<Change> {
        self.script.lock().log.clone()
    }

    /// Goes through the log from its n-th change on; how many changes stand in it.
    pub(crate) fn go_through(&self, from: usize, see: impl FnMut(&Change)) -> usize {
        let script = self.script.lock();
        script.log[from..].iter().for_each(see);
        script.log.len()
    }

    /// A copy of the files as they are at this moment: what a killed process leaves.
    pub(crate) fn copied(&self) -> Memory {
        let copy = Memory::default();
        for name in self.memory.list().unwrap() {
            let file = self.memory.open(&name).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read(0, &mut bytes).unwrap();
            copy.create(&name).unwrap().write(0, &bytes).unwrap();
        }
        copy
    }

    fn change(
        &self,
        grows: bool,
        change: impl FnOnce() -> Change,
        apply: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut script = self.script.lock();
        match script.fate(grows) {
            Fate::Fails(kind) | Fate::Half(kind) => Err(kind.into()),
            fate => {
                apply()?;
                script.log.push(change());
                if let Fate::InDoubt(kind) = fate { Err(kind.into()) } else { Ok(()) }
            }
        }
    }
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.script.lock().check_read()?;
        self.memory.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.script.lock().files;
        let mut file = None;
        let done = self.change(
            true,
            || Change::Create(name.to_owned(), number),
            || {
                file = Some(self.memory.create(name)?);
                Ok(())
            },
        );
        // One that happened and was reported as failed is there too.
        if file.is_some() {
            let mut script = self.script.lock();
            script.files += 1;
            script.names.insert(name.to_owned(), number);
        }
        done?;
        let file = file.ok_or(IoKind::Other)?;
        Ok(Arc::new(FaultyFile { file, number, disk: self.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut script = self.script.lock();
        script.check_read()?;
        let file = self.memory.open(name)?;
        let number = script.names[name];
        Ok(Arc::new(FaultyFile { file, number, disk: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let done = self.change(
            false,
            || Change::Rename(from.to_owned(), to.to_owned()),
            || self.memory.rename(from, to),
        );
        let mut script = self.script.lock();
        if self.memory.open(from).is_err()
            && let Some(number) = script.names.remove(from)
        {
            script.names.insert(to.to_owned(), number);
        }
        done
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.memory.open(name).is_err() {
            return Err(IoKind::NotFound.into());
        }
        self.change(false, || Change::Remove(name.to_owned()), || self.memory.remove(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(false, || Change::SyncNames, || Ok(()))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.memory.lock(name)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn DiskFile>,
    number: usize,
    disk: Faulty,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.script.lock().check_read()?;
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut script = self.disk.script.lock();
        let end = offset + data.len() as u64;
        if matches!(script.failure, Some(Failure::Beyond(most)) if end > most) {
            return Err(IoKind::StorageFull.into());
        }
        let fate = script.fate(end > self.file.len()?);
        let kept = match fate {
            Fate::Happens | Fate::InDoubt(_) => data,
            Fate::Half(_) => &data[..data.len() / 2],
            Fate::Fails(kind) => return Err(kind.into()),
        };
        self.file.write(offset, kept)?;
        script.log.push(Change::Write(self.number, offset, kept.to_vec()));
        match fate {
            Fate::Happens => Ok(()),
            Fate::Half(kind) | Fate::Fails(kind) | Fate::InDoubt(kind) => Err(kind.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.file.len()?;
        self.disk.change(grows, || Change::SetLen(self.number, len), || self.file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(false, || Change::Sync(self.number), || Ok(()))
    }
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Lost,
    /// Everything.
    Kept,
    /// So many changes of each file, in their order; the next one torn.
    Prefix(u64),
    /// Each change, and each sector of a write, with so much of a chance in 256.
    Some(u64, u8),
}

/// A name that came, with its file's number, and one that went.
type NameChange = (Option<(String, usize)>, Option<String>);

/// The durable side of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    now: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
}

impl Platter {
    /// The durable side of a disk that begins with these files.
    pub(crate) fn of(memory: &Memory) -> Self {
        let mut platter = Self::default();
        for name in memory.list().unwrap() {
            let file = memory.open(&name).unwrap();
            let mut synced = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read(0, &mut synced).unwrap();
            platter.names.insert(name, platter.files.len());
            platter.files.push(File { synced, unsynced: Vec::new() });
        }
        platter.now.clone_from(&platter.names);
        platter
    }

    /// Takes note of the next change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(name, number) => {
                assert_eq!(*number, self.files.len());
                self.files.push(File::default());
                self.now.insert(name.clone(), *number);
                self.unsynced.push((Some((name.clone(), *number)), None));
            }
            Change::Write(file, offset, data) => {
                self.files[*file].unsynced.push((*offset, Some(data.clone())));
            }
            Change::SetLen(file, len) => self.files[*file].unsynced.push((*len, None)),
            Change::Sync(file) => {
                let File { synced, unsynced } = &mut self.files[*file];
                for change in &std::mem::take(unsynced) {
                    put(synced, change, None);
                }
            }
            Change::Rename(from, to) => {
                let number = self.now.remove(from).unwrap();
                self.now.insert(to.clone(), number);
                self.unsynced.push((Some((to.clone(), number)), Some(from.clone())));
            }
            Change::Remove(name) => {
                self.now.remove(name);
                self.unsynced.push((None, Some(name.clone())));
            }
            Change::SyncNames => {
                self.unsynced.clear();
                self.names.clone_from(&self.now);
            }
        }
    }

    /// One of the disks that a cut at this moment may leave.
    pub(crate) fn cut(&self, cut: Cut) -> Memory {
        let mut chance = Chance(match cut {
            Cut::Prefix(seed) | Cut::Some(seed, _) => seed,
            Cut::Lost | Cut::Kept => 0,
        });
        let keeps = |count: usize, chance: &mut Chance| -> Vec<bool> {
            let first = chance.below(count as u64 + 1);
            let one = |at: u64, chance: &mut Chance| match cut {
                Cut::Lost => false,
                Cut::Kept => true,
                Cut::Prefix(_) => at < first,
                Cut::Some(_, often) => chance.below(256) < u64::from(often),
            };
            (0..count as u64).map(|at| one(at, chance)).collect()
        };
        let mut names = self.names.clone();
        for ((new, old), keep) in self.unsynced.iter().zip(keeps(self.unsynced.len(), &mut chance)) {
            if keep {
                if let Some(old) = old {
                    names.remove(old);
                }
                names.extend(new.clone());
            }
        }
        let memory = Memory::default();
        for (name, number) in names {
            let file = &self.files[number];
            let mut bytes = file.synced.clone();
            let kept = keeps(file.unsynced.len(), &mut chance);
            let mut torn = false;
            for (change, keep) in file.unsynced.iter().zip(kept) {
                match cut {
                    Cut::Prefix(_) if !keep && !torn => {
                        torn = true;
                        put(&mut bytes, change, Some(&mut chance));
                    }
                    Cut::Some(..) if keep && chance.below(4) == 0 => {
                        put(&mut bytes, change, Some(&mut chance));
                    }
                    _ if keep => put(&mut bytes, change, None),
                    _ => {}
                }
            }
            memory.create(&name).unwrap().write(0, &bytes).unwrap();
        }
        memory
    }
}

/// Applies a change to a file's bytes; torn, a random subset of its sectors.
fn put(bytes: &mut Vec<u8>, (at, data): &(u64, Option<Vec<u8>>), mut torn: Option<&mut Chance>) {
    let at = usize::try_from(*at).unwrap();
    let Some(data) = data else {
        if torn.is_none_or(|chance| chance.below(2) == 0) {
            bytes.resize(at, 0);
        }
        return;
    };
    let mut from = 0;
    while from < data.len() {
        let to = data.len().min((at + from + 1).next_multiple_of(SECTOR) - at);
        if torn.as_mut().is_none_or(|chance| chance.below(2) == 0) {
            if bytes.len() < at + to {
                bytes.resize(at + to, 0);
            }
            bytes[at + from..at + to].copy_from_slice(&data[from..to]);
        }
        from = to;
    }
}

/// A small generator of chance (splitmix64), so that a seed replays.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
