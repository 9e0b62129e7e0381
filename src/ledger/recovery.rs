//! Opening after anything: a clean close, a kill, a power cut, a creation or an opening that was cut short.
//!
//! Law: nothing is changed before everything was judged. Segments are read through backends that keep writes in
//! memory; only when the whole store is found sound do those go live (contract 5.6). The newest segment says
//! which older ones there are, so a missing one is noticed; it is never sealed, since a segment is sealed only
//! after its successor stands. Opening reads the hints of sealed segments and the records of the others.
//!
//! | what lies there | what it means |
//! | --- | --- |
//! | nothing, or only leftovers of ours | a new store is made |
//! | identity, not born | creation was cut short: made again, nothing was ever acknowledged |
//! | identity, born, no segment or one too few | *segment missing* |
//! | newest segment sealed | its successor is missing |
//! | newest segment without all that it began with | *damaged store*: of what was started it has the only copies |
//! | a segment that is not listed and is older than the newest | was dropped: its file is removed |
//! | a listed segment that is not sealed | sealing was cut short: read in full, sealed later |

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use super::adoption::adopt_all;
use super::backend::Backend;
use super::block::Block;
use super::disk::{Disk, DiskFile};
use super::fault::{Fault, io_error};
use super::files::{Listed, Maker, give_name, segment_name, segment_name_new, segment_number};
use super::hint::{Hint, What};
use super::identity::{self, Identity};
use super::log::{Log, Note};
use super::room::Room;
use super::segment::{Footer, Segment};
use super::{Catalogue, House, Ledger};
use crate::codec;
use crate::digest::{DigestRules, Secret};
use crate::encryption::{Cipher, Keyring};
use crate::error::{ErrorKind, Result};
use crate::options::Builder;
use crate::record::{HashKeys, Kind, Location, Record, RecordKeys, Unreadable, Weight};
use crate::sync::{Mutex, RwLock, in_parallel};
use crate::time::Timestamp;

pub(super) const LOCK_NAME: &str = "oncekey.lock";
/// From so many sealed segments on all cores judge them. Fewer are read in a moment, and in an order.
const MANY_SEGMENTS: usize = 16;

/// A ledger, opened, and what the store has to know of it.
pub(crate) struct Opening {
    pub(crate) ledger: House,
    /// The store's time begins here (contract 7.2).
    pub(crate) start: Timestamp,
    pub(crate) epoch: u64,
    /// By number, from 1; `None` where a secret was not supplied.
    pub(crate) secrets: Vec<Option<Secret>>,
    /// By number, from 0.
    pub(crate) rules: Vec<DigestRules>,
    pub(crate) current_rules: u16,
}

/// A segment that was read and not yet changed.
pub(super) struct Judged {
    pub(super) segment: Segment,
    pub(super) sealed: bool,
    pub(super) hints: Vec<Hint>,
    pub(super) time: Timestamp,
    since: Timestamp,
    pub(super) notes: Vec<Note>,
    pub(super) blind: bool,
}

impl Judged {
    /// The older segments that should be there, as a segment that is being written says; `None` where it does not say so, or
    /// lacks a part of what it began with.
    pub(super) fn listed(&self) -> Option<Vec<Listed>> {
        let Some(Note::Manifest(listed)) = self.notes.first() else { return None };
        let (own, older) = listed.split_last()?;
        let is_there = |own: &&Listed| !self.notes.contains(&Note::Dropped(own.0));
        let is_whole = own.0 == self.segment.number && own.2 <= self.segment.last();
        is_whole.then(|| older.iter().filter(is_there).copied().collect())
    }
}

/// Opens the store on `disk`, or makes one there, and fills `catalogue`.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    options: &Builder,
    wall: Timestamp,
    room: Arc<Room>,
    catalogue: &Arc<dyn Catalogue>,
) -> Result<Opening> {
    let names = disk.list().map_err(io_error("listing the store"))?;
    if !names.iter().any(|name| name == identity::NAME) && !names.iter().all(|name| is_leftover(name)) {
        return Err(ErrorKind::NotAStore("it holds files, and no identity of a store").into());
    }
    // Looked at before the lock's file is made, so that nothing is added to what is not ours.
    Identity::load(&**disk)?;
    let lock = disk.lock(LOCK_NAME).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => ErrorKind::Locked.into(),
        std::io::ErrorKind::InvalidInput => ErrorKind::NotAStore("the lock is not a plain file").into(),
        _ => io_error("locking the store")(error),
    })?;
    let mut identity = match Identity::load(&**disk)? {
        Some(identity) => identity,
        None => Identity::new(options.secret.as_ref())?,
    };
    let secrets = identity.secrets(options.secret.as_ref(), &options.old_secrets)?;
    let current_rules = identity.number_of(&options.rules)?;
    let keys = HashKeys::derive(&identity.seed);
    let maker = Maker::new(identity.store, keys, options.keyring.clone(), options.two_phase);
    let opener = Opener { disk: &**disk, maker: maker.clone() };
    if !identity.born {
        opener.bear(&mut identity, wall)?;
    }
    let judged = opener.judge_all()?;
    let last_time = judged.iter().map(|own| own.time).max().unwrap_or_default();
    check_jump(last_time, wall, options)?;
    let start = wall.max(last_time);

    // Everything is sound: from here on files are changed.
    identity.epoch += 1;
    identity.save(&**disk)?;
    for own in judged.iter().filter(|own| !own.segment.is_sealed()) {
        own.segment.backend().go_live().map_err(io_error("repairing a segment"))?;
        if own.sealed {
            let finished = own.segment.finish_seal();
            finished.map_err(|fault| fault.in_segment(own.segment.number, "sealing a segment"))?;
        }
    }
    opener.remove_leftovers(&judged)?;
    let (epoch, rules) = (identity.epoch, identity.all_rules());
    let ledger = assemble(Arc::clone(disk), lock, identity, maker, options, room, judged, start, catalogue)?;
    let ledger = House::Files(Box::new(ledger));
    Ok(Opening { ledger, start, epoch, secrets, rules, current_rules })
}

pub(super) fn check_jump(last_time: Timestamp, wall: Timestamp, options: &Builder) -> Result<()> {
    let ahead = wall.since(last_time);
    if last_time > Timestamp::default() && ahead > options.clock_jump_max && !options.accept_clock_jump {
        return Err(ErrorKind::ClockJump { ahead, limit: options.clock_jump_max }.into());
    }
    Ok(())
}

fn is_leftover(name: &str) -> bool {
    name == LOCK_NAME || identity::is_leftover(name)
}

/// Puts the judged segments together, and tells the catalogue what they hold.
#[expect(clippy::too_many_arguments, reason = "called once, with all that an opening found")]
fn assemble(
    disk: Arc<dyn Disk>,
    lock: Box<dyn fmt::Debug + Send + Sync>,
    identity: Identity,
    maker: Maker,
    options: &Builder,
    room: Arc<Room>,
    judged: Vec<Judged>,
    start: Timestamp,
    catalogue: &Arc<dyn Catalogue>,
) -> Result<Ledger> {
    let blind = judged.iter().find(|own| own.blind).map_or(0, |own| own.segment.number);
    let (mut segments, mut unsealed, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let (mut since, mut time) = (Timestamp::default(), Timestamp::default());
    for own in judged {
        let segment = Arc::new(own.segment);
        segments.push(Arc::clone(&segment));
        (since, time) = (own.since, own.time.max(time));
        if own.sealed {
            found.push(own.hints);
        } else {
            found.push(own.hints.clone());
            unsealed.push((segment, own.hints));
        }
    }
    let (active, hints) = unsealed.pop().expect("the newest segment is not sealed");
    room.set_ready(active.backend().room());
    let log = Log { active, hints, since, time, unsynced: 0, commits: 0, born: (0, 0) };
    let ledger = Ledger {
        disk,
        _lock: lock,
        catalogue: Arc::clone(catalogue),
        maker,
        identity: Mutex::new(identity),
        segment_bytes_max: options.segment_bytes_max,
        segment_age_max: options.segment_age(),
        segments: RwLock::new(segments),
        unsealed: Mutex::new(unsealed),
        log: Mutex::new(log),
        room,
        spare: Mutex::default(),
        stopped: OnceLock::new(),
        blind,
        failed_rotations: AtomicU64::new(0),
    };
    adopt_all(&ledger, &**catalogue, found, start)?;
    let mut log = ledger.log();
    if !ledger.maker.is_current(&log.active) {
        // Under another key of the caller's, or the first, or none: so that all that is written from now on is under this.
        ledger.rotate(&mut log, start)?;
    }
    drop(log);
    Ok(ledger)
}

/// A sealed segment and its hints.
pub(crate) type Sealed = (Segment, Vec<Hint>);

/// The sealed segments of the store on `disk` with their hints, oldest first, and the keys to read them by. Takes no
/// lock and changes nothing: what is sealed never changes, and may go while this is read.
pub(crate) fn open_sealed(disk: &dyn Disk, keyring: Keyring) -> Result<(Vec<Sealed>, HashKeys)> {
    let none = || ErrorKind::NotAStore("it holds no identity of a store");
    let identity = Identity::load(disk)?.ok_or_else(none)?;
    let keys = HashKeys::derive(&identity.seed);
    let opener = Opener { disk, maker: Maker::new(identity.store, keys, keyring, false) };
    let mut sealed = Vec::new();
    for number in opener.numbers()? {
        match opener.judge_sealed(number) {
            Ok(own) => sealed.push((own.segment, own.hints)),
            Err(error) if error.is_locked_away() => return Err(error),
            // It is being written, or is gone by now, or is damaged: it is not in view.
            Err(_) => {}
        }
    }
    Ok((sealed, keys))
}

/// Reads a store's files without changing one.
pub(super) struct Opener<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) maker: Maker,
}

impl Opener<'_> {
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let names = self.disk.list().map_err(io_error("listing the store"))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes the first segment of a new store, then says that the store is born.
    fn bear(&self, identity: &mut Identity, wall: Timestamp) -> Result<()> {
        identity.save(self.disk)?;
        for number in self.numbers()? {
            self.maker.remove(self.disk, &segment_name(number))?;
        }
        let (first, _) = self.maker.create(self.disk, 1, 1, wall, Vec::new(), &[], None)?;
        give_name(self.disk, &first)?;
        first.close().map_err(|fault| fault.in_segment(1, "creating a segment"))?;
        identity.born = true;
        identity.save(self.disk)
    }

    /// Judges every segment that should be there, oldest first.
    fn judge_all(&self) -> Result<Vec<Judged>> {
        let numbers = self.numbers()?;
        let newest = *numbers.last().ok_or(ErrorKind::SegmentMissing { segment: 1 })?;
        let active = self.judge_unsealed(newest)?;
        if active.sealed {
            return Err(ErrorKind::SegmentMissing { segment: newest + 1 }.into());
        }
        let listed = active.listed().ok_or_else(|| Fault::Damaged.at_opening(newest))?;
        let judge = |&(number, first, last): &Listed| {
            if !numbers.contains(&number) {
                return Err(ErrorKind::SegmentMissing { segment: number }.into());
            }
            let own = self.judge_sealed(number).or_else(|_| self.judge_unsealed(number))?;
            if own.segment.blocks() != (first..=last) {
                return Err(Fault::Damaged.at_opening(number));
            }
            Ok(own)
        };
        let judged: Result<Vec<_>> = if listed.len() < MANY_SEGMENTS {
            listed.iter().map(judge).collect()
        } else {
            in_parallel(&listed, judge).into_iter().collect()
        };
        let mut judged = judged?;
        judged.push(active);
        Ok(judged)
    }

    fn file(&self, number: u64) -> Result<Arc<dyn DiskFile>> {
        self.disk.open(&segment_name(number)).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => ErrorKind::NotAStore("a segment is not a plain file").into(),
            _ => io_error("opening a segment")(error),
        })
    }

    fn backend(&self, number: u64) -> Result<(Backend, Option<Cipher>)> {
        let file = self.file(number)?;
        let backend = Backend::judge(file, self.maker.identity(number), Arc::clone(self.maker.written()))?;
        let cipher = self.maker.cipher(&backend, number)?;
        Ok((backend, cipher))
    }

    /// Reads a sealed segment's hints.
    pub(super) fn judge_sealed(&self, number: u64) -> Result<Judged> {
        let (backend, cipher) = self.backend(number)?;
        let opened = Segment::open_sealed(number, backend, *self.maker.keys(), cipher);
        let (segment, footer) = opened.map_err(|fault| fault.at_opening(number))?;
        self.read_hints(segment, footer)
    }

    /// Takes up a segment that was being written, and reads it in full; its hints, where only its closing is missing.
    pub(super) fn judge_unsealed(&self, number: u64) -> Result<Judged> {
        // What the last process wrote may not be on the disk yet: what is read shall be.
        self.file(number)?.sync().map_err(io_error("syncing a segment"))?;
        let (backend, cipher) = self.backend(number)?;
        let taken = Segment::take_up(number, backend, *self.maker.keys(), cipher);
        match taken.map_err(|fault| fault.at_opening(number))? {
            (segment, Some(footer)) => self.read_hints(segment, footer),
            (segment, None) => self.scan(segment, false),
        }
    }

    /// What a sealed segment holds, from its hints; where a chunk of them is damaged, from its records.
    fn read_hints(&self, segment: Segment, footer: Footer) -> Result<Judged> {
        let read = (0..footer.chunks).try_fold(Vec::new(), |mut hints, chunk| {
            hints.append(&mut segment.hints(chunk)?);
            Ok::<_, Fault>(hints)
        });
        let Ok(hints) = read else { return self.scan(segment, true) };
        segment.stretch(Timestamp::from_millis(footer.expires));
        let time = Timestamp::from_millis(footer.time);
        Ok(Judged { segment, sealed: true, hints, time, since: time, notes: Vec::new(), blind: false })
    }

    fn scan(&self, segment: Segment, sealed: bool) -> Result<Judged> {
        let number = segment.number;
        let time = Timestamp::default();
        let mut judged = Judged {
            segment,
            sealed,
            hints: Vec::new(),
            time,
            since: Timestamp::MAX,
            notes: Vec::new(),
            blind: false,
        };
        let cipher = judged.segment.keys().cipher.cloned();
        let keys = RecordKeys { hash: self.maker.keys(), cipher: cipher.as_ref() };
        for block in judged.segment.blocks() {
            let bytes = judged.segment.with_block(block, |bytes| Ok(bytes.to_vec()));
            let bytes = bytes.map_err(|fault| fault.at_opening(number))?;
            let scanned = self.scan_block(&mut judged, Block::new(&bytes, block, keys));
            scanned.map_err(|fault| fault.at_opening(number))?;
        }
        Ok(judged)
    }

    fn scan_block(&self, judged: &mut Judged, block: Block<'_>) -> Result<(), Fault> {
        let Some(table) = block.table() else {
            judged.blind = true;
            return Ok(());
        };
        judged.time = judged.time.max(table.head.time);
        judged.since = judged.since.min(table.head.time);
        judged.segment.stretch(table.head.expires);
        for (hash, at) in table.entries() {
            match block.record(at) {
                Ok(opened) => self.note(judged, hash, at, opened.record())?,
                Err(Unreadable::Newer) => return Err(Fault::Newer),
                // It stays known by its fingerprint, so that its key answers *damaged* and never runs again.
                Err(Unreadable::Damaged) => judged.hints.push(Hint {
                    what: What::Kept,
                    hash,
                    at,
                    expires: table.head.expires,
                    weight: Weight::default(),
                }),
            }
        }
        Ok(())
    }

    fn note(&self, judged: &mut Judged, hash: u64, at: Location, record: Record<'_>) -> Result<(), Fault> {
        match record.kind() {
            Kind::Finished | Kind::Released | Kind::Started => judged.hints.push(Hint {
                what: if record.kind() == Kind::Started { What::Started } else { What::Kept },
                hash,
                at,
                expires: record.expires(),
                weight: record.weight(self.maker.keys()),
            }),
            Kind::Forgotten => judged.hints.extend(record.forgotten().as_ref().map(Hint::of_forgotten)),
            Kind::Control => {
                let note = codec::decode::<Note, { Note::BYTES_MAX }>(record.control());
                judged.notes.push(note.ok_or(Fault::Damaged)?);
            }
        }
        Ok(())
    }

    /// Removes what crashes left behind: dropped segments and temporary files.
    fn remove_leftovers(&self, judged: &[Judged]) -> Result<()> {
        let newest = judged.last().map_or(0, |own| own.segment.number);
        for number in self.numbers()? {
            if !judged.iter().any(|own| own.segment.number == number) {
                self.maker.remove_leftover(self.disk, &segment_name(number))?;
            }
        }
        self.maker.remove_leftover(self.disk, &segment_name_new(newest + 1))?;
        identity::remove_leftover(self.disk).map_err(io_error("removing a leftover"))
    }
}
