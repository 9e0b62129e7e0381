//! East wing: what the disk remembers. The only wing that names redb.
//!
//! Law: records stand in arrival order in segments, one index in memory says where, one log lock orders all
//! writes (DESIGN: *records in arrival order, an index in memory, one writer that commits for everybody*). A
//! record is acknowledged only after its commit, published only after it is acknowledged durable (or relaxed,
//! where the store is), and read back only through its checksum. Disk first, then tongue.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `disk` | the few verbs asked of a disk |
//! | `backend`, `page`, `extent`, `zeros` | a segment file as redb sees it; our page in it; what of it lies ready, and reads as zeros |
//! | `spots` | where blocks lie in it |
//! | `segment` | one redb file: blocks, hints, footer |
//! | `block`, `hint` | the bytes in it |
//! | `index` | where every kept record is |
//! | `identity` | which store this is |
//! | `files`, `spare` | segment files: names, and how a new one comes to be; the next one's space |
//! | `log` | appending, rotating, sealing, dropping |
//! | `recovery`, `adoption` | opening after anything; what was found enters the index |
//! | `outside` | looking from outside, changing nothing (feature `cli`) |
//! | `room` | disk room for what was promised |
//! | `house` | files of its own, or one table in the caller's database |
//! | `guest` | the latter (feature `redb-transactions`) |
//! | `queue`, `writer` | what waits for the writer; the thread that commits for everybody |
//! | `faulty` | for tests: a disk that fails and can be cut |

mod adoption;
mod backend;
mod block;
mod disk;
mod extent;
mod fault;
#[cfg(any(test, fuzzing))]
mod faulty;
mod files;
#[cfg(feature = "redb-transactions")]
mod guest;
mod hint;
mod house;
mod identity;
mod index;
mod log;
#[cfg(any(feature = "cli", feature = "distributed"))]
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "who moves from a store needs a part of it"))]
mod outside;
mod page;
mod queue;
mod recovery;
mod room;
mod segment;
mod spare;
mod spots;
mod writer;
mod zeros;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) use disk::{Directory, Disk, Memory};
pub(crate) use fault::io_error;
#[cfg(all(any(test, fuzzing), feature = "redb-transactions"))]
pub(crate) use faulty::callers;
#[cfg(any(test, fuzzing))]
pub(crate) use faulty::{Chance, Change, Cut, Failure, Faulty, Paged, Platter};
#[cfg(feature = "redb-transactions")]
pub(crate) use guest::{
    Column, Database, Fate, Lent, MultimapTable, MultimapTableDefinition, MultimapTableHandle, Place,
    Sweeping, Table, TableDefinition, TableError, TableHandle, Tidied, Value,
};
pub(crate) use hint::{Hint, What};
pub(crate) use house::{Ground, House};
#[cfg(feature = "distributed")]
pub(crate) use identity::Identity;
pub(crate) use index::Index;
pub(crate) use log::{Entry, Log, Meaning};
#[cfg(feature = "cli")]
pub(crate) use outside::{Flaw, Origin, copy_closed, holds_store};
#[cfg(any(feature = "cli", feature = "distributed"))]
pub(crate) use outside::{Known, Survey};
pub(crate) use queue::{Job, Queue, queue};
pub(crate) use recovery::{Opening, open_sealed};
pub(crate) use room::{Aside, Room};
pub(crate) use segment::Segment;
pub(crate) use writer::{Settle, run as run_writer};

use crate::digest::Secret;
use crate::error::{ErrorKind, Limit, Result};
use crate::record::{HashKeys, Location, Record, Weight};
use crate::sync::{Mutex, MutexGuard, RwLock};
use crate::time::Timestamp;

/// The index, as the ledger sees it: the store keeps it in its stripes and counts what it weighs.
pub(crate) trait Catalogue: Send + Sync {
    /// Makes room for so many more. Whoever brings many brings them by rising fingerprint: they lie in that order.
    fn reserve(&self, more: usize);
    /// Where records with this fingerprint are.
    fn find(&self, hash: u64) -> Vec<Location>;
    /// Whether the record that stands there is still known: as one of those, or as the start of an operation that runs.
    fn holds(&self, hash: u64, at: Location) -> bool;
    /// Where started records stand, the oldest first.
    fn started(&self) -> Vec<Location>;
    /// A record now stands there; where others with this fingerprint are. It counts once it is kept.
    fn insert(&self, hash: u64, at: Location, what: What) -> Vec<Location>;
    /// These records count from now on. In one sum, since all cores count in the same memory.
    fn keep(&self, records: &mut dyn Iterator<Item = Weight>);
    /// The record that stands at `from`, if it is still known, stands at `to` now.
    fn carry(&self, hash: u64, from: Location, to: Location);
    /// The record that stands there is no longer known. Whether it was.
    fn remove(&self, hash: u64, at: Location, weight: Weight) -> bool;
    /// How many records are known, and their bytes.
    #[cfg(feature = "redb-transactions")]
    fn kept(&self) -> (u64, u64);
}

/// What was read of a key: of its newest record, if it has any; and where its records are, with what they count for.
pub(crate) type Newest<T> = (Option<T>, Vec<(Location, Weight)>);

/// All that is on disk, and the way to it.
pub(crate) struct Ledger {
    disk: Arc<dyn Disk>,
    _lock: Box<dyn fmt::Debug + Send + Sync>,
    catalogue: Arc<dyn Catalogue>,
    maker: files::Maker,
    identity: Mutex<identity::Identity>,
    segment_bytes_max: u64,
    segment_age_max: Duration,
    segments: RwLock<Vec<Arc<Segment>>>,
    unsealed: Mutex<Vec<(Arc<Segment>, Vec<Hint>)>>,
    log: Mutex<Log>,
    room: Arc<Room>,
    spare: Mutex<spare::Spare>,
    stopped: OnceLock<&'static str>,
    blind: u64,
    failed_rotations: AtomicU64,
}

impl Ledger {
    pub(crate) fn keys(&self) -> &HashKeys {
        self.maker.keys()
    }

    /// The writing end, for one holder at a time.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    /// Reads the record at `at`, checked. `Ok(None)` where its segment is gone, so that the index has moved on.
    ///
    /// # Errors
    /// *Damaged*, with the segment's number; *io*.
    pub(crate) fn read<T>(&self, at: Location, use_it: impl FnOnce(Record<'_>) -> T) -> Result<Option<T>> {
        let Some(segment) = self.segment_of(at) else { return Ok(None) };
        match segment.read(at, use_it) {
            Ok(value) => Ok(Some(value)),
            Err(_) if !self.is_kept(at) => Ok(None),
            Err(fault) => Err(fault.in_segment(segment.number, "reading a record")),
        }
    }

    /// Reads the record at `at`; `Ok(None)` also where it is damaged: it stays there, and its key answers so when it is
    /// asked for. What the system would not read just now is no answer.
    ///
    /// # Errors
    /// *Io*.
    fn read_sound<T>(&self, at: Location, use_it: impl FnOnce(Record<'_>) -> T) -> Result<Option<T>> {
        match self.read(at, use_it) {
            Err(error) if error.is_damaged() => Ok(None),
            read => read,
        }
    }

    /// Number of a segment that holds fingerprints that do not read, or 0 (contract 5.9).
    pub(crate) fn blind(&self) -> u64 {
        self.blind
    }

    /// Number of the segment that holds this place.
    pub(crate) fn segment_number(&self, at: Location) -> Option<u64> {
        self.segment_of(at).map(|segment| segment.number)
    }

    /// Sees to it that all that is reserved lies ready (contract 5.10).
    #[cold]
    pub(crate) fn make_room(&self, reserved: u64) -> Result<()> {
        self.check_running()?;
        let wanted = reserved + room::MARGIN_BYTES;
        let ready = self.find_room(&mut self.log.lock(), wanted);
        if ready >= wanted {
            return Ok(());
        }
        self.check_running()?;
        let limit = ready.saturating_sub(room::MARGIN_BYTES);
        Err(ErrorKind::Full { what: Limit::DiskRoom, measured: reserved, limit }.into())
    }

    /// Sets room aside for what is written without a reservation, until the guard goes. Not under the log's lock.
    ///
    /// # Errors
    /// *Full*, *stopped*: it is not to be written then (contract 5.10).
    pub(crate) fn set_aside(&self, bytes: u64) -> Result<Aside<'_>> {
        let reserved = self.room.reserve(bytes);
        let aside = Aside { room: &self.room, bytes };
        reserved.or_else(|sum| self.make_room(sum)).map(|()| aside)
    }

    /// Room for redb without another byte of the disk, beside what is committed and not yet synced and what sealing will
    /// take: a segment that had to grow for its hints would grow to twice its length.
    fn ready(&self, log: &Log) -> u64 {
        let room = log.active.backend().room().saturating_sub(log.unsynced + log.sealing_bytes());
        if self.check_running().is_ok() { room } else { 0 }
    }

    /// Tells those who begin how much room lies ready.
    fn tell_room(&self, log: &Log) {
        self.room.set_ready(self.ready(log));
        if self.check_running().is_err() {
            self.room.set_ready(0);
        }
    }

    /// Makes room ahead for what is reserved, as far as the disk has it.
    fn keep_room(&self) {
        let mut log = self.log.lock();
        if self.check_running().is_err() {
            return;
        }
        // A full disk is told to whoever begins next.
        drop(log.active.backend().extend_ahead(self.segment_bytes_max));
        self.find_room(&mut log, self.room.reserved() + room::MARGIN_BYTES);
    }

    /// Tries to have so much room lie ready, in a new segment where this one comes to its end anyway; gives what does.
    fn find_room(&self, log: &mut Log, wanted: u64) -> u64 {
        if self.ready(log) < wanted {
            // What is unsynced may be taken already, or share its page: only a sync says what it takes.
            drop(self.sync(log));
        }
        if self.ready(log) < wanted {
            let now = log.time;
            self.rotate_if_used(log, now, self.segment_bytes_max / 2);
        }
        if self.ready(log) < wanted && self.check_running().is_ok() {
            // It extends in large steps: a full disk may refuse the whole step and still have given enough.
            let backend = log.active.backend();
            let beside = log.unsynced + log.sealing_bytes();
            let extend = || backend.extend_room(wanted + beside, self.room.largest());
            drop(extend().or_else(|full| if self.give_up_spare() { extend() } else { Err(full) }));
        }
        self.tell_room(log);
        self.ready(log)
    }

    /// All segments, oldest first; the last one is being written.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    /// Bytes of redb's that were written, and zeros ahead of them.
    pub(crate) fn bytes_written(&self) -> (u64, u64) {
        let written = self.maker.written();
        (written.data.load(Ordering::Relaxed), written.zeros.load(Ordering::Relaxed))
    }

    /// Bytes of all segment files, and of the next one's if it is made.
    pub(crate) fn file_bytes(&self) -> u64 {
        let segments: u64 = self.segments.read().iter().map(|segment| segment.backend().file_bytes()).sum();
        segments + self.spare_bytes()
    }

    /// Makes `secret` the current one, durably; gives its number.
    pub(crate) fn rotate_secret(&self, secret: &Secret) -> Result<u16> {
        let mut identity = self.identity.lock();
        let mut changed = identity.clone();
        let number = changed.add_secret(secret, false)?;
        changed.save(&*self.disk)?;
        *identity = changed;
        Ok(number)
    }

    /// Syncs and closes every file cleanly; reports the first error.
    pub(crate) fn close(&self) -> Result<()> {
        self.give_up_spare();
        let mut log = self.log.lock();
        let synced = self.sync(&mut log);
        let segments = std::mem::take(&mut *self.segments.write());
        let closed =
            segments.iter().map(|own| own.close().map_err(|fault| fault.in_segment(own.number, "closing")));
        let closed = closed.fold(Ok(()), Result::and);
        let _ = self.stopped.set("close");
        synced.and(closed)
    }

    /// Copies the store into an empty directory: what is sealed as it is, and a fresh segment to go on in.
    pub(crate) fn backup(&self, target: &dyn Disk, now: Timestamp) -> Result<()> {
        let failed = io_error("writing the backup");
        if !target.list().map_err(&failed)?.is_empty() {
            return Err(ErrorKind::NotAStore("the backup's directory is not empty").into());
        }
        let mut log = self.log.lock();
        self.rotate(&mut log, now)?;
        while self.seal_one(now)? {}
        let sealed: Vec<_> =
            self.segments().into_iter().filter(|own| own.number != log.active.number).collect();
        let (number, first) = (log.active.number, log.active.first);
        // As the active one began a moment ago, under the same lock.
        let started: Vec<_> = self.started()?.into_iter().map(|(_, entry)| entry).collect();
        // The log stays locked while the list is read; the copying itself needs no lock: sealed files don't change,
        // and no sweep, which would unlink them and overwrite their keys, runs meanwhile: both hold `sweeping`.
        drop(log);
        for segment in &sealed {
            let copy = target.create(&files::segment_name(segment.number)).map_err(&failed)?;
            segment.backend().copy_to(&*copy).map_err(&failed)?;
        }
        let listed = sealed.iter().map(|own| (own.number, own.first, own.last())).collect();
        let (fresh, _) = self.maker.create(target, number, first, now, listed, &started, None)?;
        files::give_name(target, &fresh)?;
        fresh.close().map_err(|fault| fault.in_segment(number, "closing the backup"))?;
        self.identity.lock().save(target)
    }

    fn segment_of(&self, at: Location) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.first <= at.block());
        let segment = segments.get(after.checked_sub(1)?)?;
        segment.blocks().contains(&at.block()).then(|| Arc::clone(segment))
    }

    /// Whether the segment that holds this place is still there.
    pub(crate) fn is_kept(&self, at: Location) -> bool {
        self.segment_of(at).is_some()
    }
}

#[cfg(test)]
mod tests;
