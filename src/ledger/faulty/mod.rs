//! A disk for tests: it writes down everything it is asked, fails or lies when it is told to, and can be cut.
//!
//! Law: [`Faulty`] keeps its files in a [`Paged`] disk and a log of every change, one number each. A [`Platter`] goes
//! through that log and knows what of it is durable. A failure says so to whoever asked; a lie does not.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `paged` | files whose copies cost nothing |
//! | `platter` | what is durable, and what a power cut may leave |
//! | `chance` | what is drawn from a seed |
//! | `callers` | a caller's own database on such a disk (feature `redb-transactions`) |

#[cfg(feature = "redb-transactions")]
pub(crate) mod callers;
mod chance;
mod paged;
mod platter;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::io::{self, ErrorKind as IoKind};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFile};
use crate::sync::beneath::Mutex;
pub(crate) use chance::Chance;
pub(crate) use paged::Paged;
use paged::Pages;
pub(crate) use platter::{Cut, Platter};

const SECTOR: u64 = 512;

/// A change that was asked for, and did happen.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create(String, usize),
    Write(usize, u64, Data),
    SetLen(usize, u64),
    Sync(usize),
    /// A sync failed, and what it should have written is in the cache alone, as if it had been written.
    SyncLost(usize),
    Rename(String, String),
    Remove(String),
    SyncNames,
}

impl Change {
    /// Whether the files are as they were before.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::SyncLost(_) | Self::SyncNames)
    }
}

/// Bytes that were written; zeros are written often.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Zeros(usize),
    Bytes(Arc<[u8]>),
}

impl Data {
    fn of(data: &[u8]) -> Self {
        let zeros = [0; 4096];
        let is_zero = data.chunks(zeros.len()).all(|part| *part == zeros[..part.len()]);
        if is_zero { Self::Zeros(data.len()) } else { Self::Bytes(data.into()) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Puts a part of it into a file where it belongs, if the whole begins at `at`.
    fn put(&self, pages: &mut Pages, at: usize, part: Range<usize>) {
        match self {
            _ if part.is_empty() => {}
            Self::Zeros(_) => pages.zero(at + part.start, part.len()),
            Self::Bytes(bytes) => pages.write(at + part.start, &bytes[part]),
        }
    }
}

/// What shall fail, or be answered with a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzzing asks for some of them"))]
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
    /// The n-th reading and all later ones.
    Reads(u64, IoKind),
    /// The n-th change; of a write, half happens.
    Short(u64, IoKind),
    /// The n-th sync; what it should have written stays in the cache, and no later sync writes it.
    SyncLost(u64, IoKind),
    /// A lie: the n-th write goes to another place of its file.
    Misdirected(u64),
    /// A lie: the n-th reading of bytes gives a sector as it was before it was last written.
    Stale(u64),
    /// A lie: the n-th reading of bytes gives one bit flipped.
    Flipped(u64),
    /// A lie: the n-th sync and all later ones do nothing.
    Lying(u64),
}

/// Files in memory, with a log. Clones are one disk.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    base: Paged,
    memory: Paged,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    log: Vec<Change>,
    names: BTreeMap<String, usize>,
    files: usize,
    asked: u64,
    read: u64,
    /// Readings of bytes alone, and writings.
    looked: u64,
    written: u64,
    synced: u64,
    failed: u64,
    failure: Option<Failure>,
    /// Files of which the cache holds what the disk does not, and never will.
    lost: BTreeSet<usize>,
    /// So long a sync takes.
    slow: Duration,
    /// What happens in the middle of the next sync.
    meanwhile: Meanwhile,
    /// What happens before the next reading of bytes.
    before_read: Meanwhile,
}

/// Something to do once, on the thread that comes by.
#[derive(Default)]
struct Meanwhile(Option<Box<dyn FnOnce() + Send>>);

impl Debug for Meanwhile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
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
            Some(Failure::Short(at, kind)) if self.asked == at => Fate::Half(kind),
            Some(Failure::Full(at)) if self.asked >= at && grows => Fate::Half(IoKind::StorageFull),
            _ => Fate::Happens,
        };
        self.failed += u64::from(!matches!(fate, Fate::Happens));
        fate
    }

    fn check_read(&mut self) -> io::Result<()> {
        self.read += 1;
        let fails = match self.failure {
            Some(Failure::Read(at, kind)) => (self.read == at).then_some(kind),
            Some(Failure::Reads(at, kind)) => (self.read >= at).then_some(kind),
            _ => None,
        };
        self.failed += u64::from(fails.is_some());
        fails.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What was durable after so many changes.
    fn platter(&self, base: &Paged, changes: usize) -> Platter {
        let mut platter = Platter::of(base);
        self.log.iter().take(changes).for_each(|change| platter.apply(change));
        platter
    }

    /// Whether this is the time for the lie.
    fn lies(&mut self, now: impl FnOnce(Failure) -> bool) -> bool {
        let lies = self.failure.is_some_and(now);
        self.failed += u64::from(lies);
        lies
    }
}

impl Faulty {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self::over(Paged::default())
    }

    /// A disk that begins with these files, all durable.
    pub(crate) fn over(memory: Paged) -> Self {
        let names = memory.list().unwrap();
        let files = names.len();
        let names = names.into_iter().zip(0..).collect();
        let script = Script { names, files, ..Script::default() };
        Self { base: memory.copy(), memory, script: Arc::new(Mutex::new(script)) }
    }

    /// What it began with.
    pub(crate) fn base(&self) -> &Paged {
        &self.base
    }

    /// From now on a sync takes so long.
    pub(crate) fn slow(&self, sync: Duration) {
        self.script.lock().slow = sync;
    }

    /// In the middle of the next sync this happens, on its thread.
    #[cfg(test)]
    pub(crate) fn during_sync(&self, happens: impl FnOnce() + Send + 'static) {
        self.script.lock().meanwhile = Meanwhile(Some(Box::new(happens)));
    }

    /// Before the next reading of bytes this happens, on its thread.
    #[cfg(test)]
    pub(crate) fn before_read(&self, happens: impl FnOnce() + Send + 'static) {
        self.script.lock().before_read = Meanwhile(Some(Box::new(happens)));
    }

    /// What is durable of it by now.
    pub(crate) fn platter(&self) -> Platter {
        self.script.lock().platter(&self.base, usize::MAX)
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
    pub(crate) fn copied(&self) -> Paged {
        self.memory.copy()
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
        let before = self.disk.script.lock().before_read.0.take();
        if let Some(happens) = before {
            happens();
        }
        let mut script = self.disk.script.lock();
        script.check_read()?;
        self.file.read(offset, out)?;
        script.looked += 1;
        let read = script.looked;
        if script.lies(|own| own == Failure::Stale(read)) {
            self.read_older(&script, offset, out);
        }
        if script.lies(|own| own == Failure::Flipped(read)) && !out.is_empty() {
            let bit = Chance(read).below(out.len() as u64 * 8);
            out[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut script = self.disk.script.lock();
        let (len, end) = (self.file.len()?, offset + data.len() as u64);
        if matches!(script.failure, Some(Failure::Beyond(most)) if end > most) {
            return Err(IoKind::StorageFull.into());
        }
        let fate = script.fate(end > len);
        script.written += 1;
        let written = script.written;
        let kept = match fate {
            Fate::Happens | Fate::InDoubt(_) => data,
            Fate::Half(_) => &data[..data.len() / 2],
            Fate::Fails(kind) => return Err(kind.into()),
        };
        let mut offset = offset;
        if script.lies(|own| own == Failure::Misdirected(written)) {
            offset = Chance(written).below(len.max(1)) / SECTOR * SECTOR;
        }
        self.file.write(offset, kept)?;
        script.log.push(Change::Write(self.number, offset, Data::of(kept)));
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
        let mut script = self.disk.script.lock();
        script.synced += 1;
        let (synced, slow) = (script.synced, script.slow);
        if let Some(Failure::SyncLost(at, kind)) = script.failure
            && at == synced
        {
            script.failed += 1;
            script.lost.insert(self.number);
            script.log.push(Change::SyncLost(self.number));
            return Err(kind.into());
        }
        if script.lies(|own| matches!(own, Failure::Lying(at) if at <= synced)) {
            return Ok(());
        }
        let meanwhile = script.meanwhile.0.take();
        drop(script);
        if let Some(happens) = meanwhile {
            happens();
        }
        if !slow.is_zero() {
            std::thread::sleep(slow);
        }
        self.disk.change(false, || Change::Sync(self.number), || Ok(()))
    }

    fn read_anew(&self) {
        let mut script = self.disk.script.lock();
        if script.lost.remove(&self.number) {
            let pages = script.platter(&self.disk.base, usize::MAX).bytes_of(self.number);
            let name = script.names.iter().find(|(_, number)| **number == self.number);
            self.disk.memory.replace(name.map_or("", |(name, _)| name), pages);
        }
    }
}

impl FaultyFile {
    /// Reads one sector of this range as it was before it was last written.
    fn read_older(&self, script: &Script, offset: u64, out: &mut [u8]) {
        let sectors = (out.len() as u64).div_ceil(SECTOR).max(1);
        let from = Chance(script.looked).below(sectors) * SECTOR;
        let to = (from + SECTOR).min(out.len() as u64);
        let (begin, end) = (offset + from, offset + to);
        let hits = |change: &Change| match change {
            Change::Write(file, at, data) => {
                *file == self.number && *at < end && at + data.len() as u64 > begin
            }
            _ => false,
        };
        let Some(last) = script.log.iter().rposition(hits) else { return };
        let before = script.platter(&self.disk.base, last).bytes_of(self.number);
        let part = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
        before.read(usize::try_from(begin).unwrap(), &mut out[part]);
    }
}
