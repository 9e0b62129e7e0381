//! Where a ledger lives: in files of its own, or as one table in the caller's database.
//!
//! Law: whoever stands above the ledger asks the house, and the house passes on; no decision is made here. The pen is
//! the log's lock: one holder at a time, whatever the house. Only in the caller's database can the holder be the caller
//! himself, for as long as a transaction is lent to him (contract 6.4).

use std::sync::Arc;

#[cfg(feature = "redb-transactions")]
use super::guest::{Guest, Place, Tail};
use super::log::{Entry, Log};
use super::recovery::{self, Opening};
use super::{Aside, Catalogue, Disk, Ledger, Newest, Room};
use crate::digest::Secret;
use crate::error::Result;
use crate::options::Builder;
use crate::record::{HashKeys, Location, Record};
use crate::sync::MutexGuard;
use crate::time::Timestamp;

/// Where a ledger is opened.
#[derive(Clone)]
pub(crate) enum Ground {
    Files(Arc<dyn Disk>),
    #[cfg(feature = "redb-transactions")]
    Table(Place),
}

/// An opened ledger.
pub(crate) enum House {
    Files(Box<Ledger>),
    #[cfg(feature = "redb-transactions")]
    Guest(Arc<Guest>),
}

/// The writing end, for one holder at a time.
pub(crate) enum Pen<'a> {
    Files(&'a Ledger, MutexGuard<'a, Log>),
    #[cfg(feature = "redb-transactions")]
    Guest(&'a Guest, MutexGuard<'a, Tail>),
}

/// Passes a call on to whichever ledger it is.
macro_rules! pass_on {
    ($house:expr, $own:ident => $call:expr) => {
        match $house {
            House::Files($own) => $call,
            #[cfg(feature = "redb-transactions")]
            House::Guest($own) => $call,
        }
    };
}

impl Ground {
    /// Opens the store there, or makes one, and fills `catalogue`.
    pub(crate) fn open(
        &self,
        options: &Builder,
        wall: Timestamp,
        room: Arc<Room>,
        catalogue: &Arc<dyn Catalogue>,
    ) -> Result<Opening> {
        match self {
            Self::Files(disk) => recovery::open(disk, options, wall, room, catalogue),
            #[cfg(feature = "redb-transactions")]
            Self::Table(place) => super::guest::open(place, options, wall, room, &**catalogue),
        }
    }

    /// Whether this thread can wait for the writer: not while it holds what the writer waits for (contract 6.4).
    #[cfg_attr(
        not(feature = "redb-transactions"),
        expect(clippy::unnecessary_wraps, reason = "files of its own refuse nothing of this")
    )]
    pub(crate) fn check_thread(&self) -> Result<()> {
        match self {
            Self::Files(_) => Ok(()),
            #[cfg(feature = "redb-transactions")]
            Self::Table(place) => place.check_thread(),
        }
    }

    /// Whether the store is one to be copied by itself; one in the caller's database is copied with it.
    #[cfg_attr(
        not(feature = "redb-transactions"),
        expect(clippy::unnecessary_wraps, reason = "files of its own refuse nothing of this")
    )]
    pub(crate) fn check_backup(&self) -> Result<()> {
        match self {
            Self::Files(_) => Ok(()),
            #[cfg(feature = "redb-transactions")]
            Self::Table(_) => Err(super::guest::no_backup()),
        }
    }
}

impl House {
    pub(crate) fn keys(&self) -> &HashKeys {
        pass_on!(self, own => own.keys())
    }

    /// The writing end; waits for whoever has it.
    pub(crate) fn log(&self) -> Pen<'_> {
        match self {
            Self::Files(own) => Pen::Files(own, own.log()),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(own) => Pen::Guest(own, own.log()),
        }
    }

    /// Reads the record at `at`, checked. `Ok(None)` where its block is gone, so that the index has moved on.
    ///
    /// # Errors
    /// *Damaged*, with the segment's number; *io*.
    pub(crate) fn read<T>(&self, at: Location, use_it: impl FnOnce(Record<'_>) -> T) -> Result<Option<T>> {
        pass_on!(self, own => own.read(at, use_it))
    }

    /// Of the places given, those that hold a record with this key, and what `use_it` makes of the newest.
    pub(crate) fn newest<T>(
        &self,
        places: &[Location],
        key: &[u8],
        use_it: impl Fn(Location, Record<'_>) -> T,
    ) -> Result<Newest<T>> {
        let (mut newest, mut all) = (None, Vec::new());
        for at in places {
            let matching = |record: Record<'_>| {
                (record.key() == key).then(|| (record.weight(self.keys()), use_it(*at, record)))
            };
            if let Some(Some((weight, found))) = self.read(*at, matching)? {
                all.push((*at, weight));
                if newest.as_ref().is_none_or(|(other, _)| other < at) {
                    newest = Some((*at, found));
                }
            }
        }
        Ok((newest.map(|(_, found)| found), all))
    }

    /// Number of a segment that holds fingerprints that do not read, or 0 (contract 5.9).
    pub(crate) fn blind(&self) -> u64 {
        pass_on!(self, own => own.blind())
    }

    /// Number of the segment that holds this place.
    pub(crate) fn segment_number(&self, at: Location) -> Option<u64> {
        match self {
            Self::Files(own) => own.segment_number(at),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => Some(super::guest::TABLE_NUMBER),
        }
    }

    pub(crate) fn check_running(&self) -> Result<()> {
        pass_on!(self, own => own.check_running())
    }

    /// Sees to it that all that is reserved lies ready (contract 5.10); in the caller's database nobody can (6.5).
    #[cold]
    pub(crate) fn make_room(&self, reserved: u64) -> Result<()> {
        match self {
            Self::Files(own) => own.make_room(reserved),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(own) => own.check_running(),
        }
    }

    /// Sets room aside for what is written without a reservation, until the guard goes. Not under the log's lock.
    ///
    /// # Errors
    /// *Full*, *stopped*: it is not to be written then (contract 5.10).
    pub(crate) fn set_aside(&self, bytes: u64) -> Result<Option<Aside<'_>>> {
        match self {
            Self::Files(own) => own.set_aside(bytes).map(Some),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => Ok(None),
        }
    }

    /// Makes room ahead for what is reserved, as far as the disk has it.
    pub(super) fn keep_room(&self) {
        match self {
            Self::Files(own) => own.keep_room(),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => {}
        }
    }

    /// Whether the next segment's space should be made.
    pub(crate) fn wants_spare(&self) -> bool {
        match self {
            Self::Files(own) => own.wants_spare(),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => false,
        }
    }

    /// Makes it, if it is wanted.
    pub(crate) fn make_spare(&self, pause: &dyn Fn() -> bool) {
        match self {
            Self::Files(own) => own.make_spare(pause),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => {}
        }
    }

    /// Segment files.
    pub(crate) fn segment_count(&self) -> u64 {
        match self {
            Self::Files(own) => own.segments().len() as u64,
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => 0,
        }
    }

    /// Bytes of all segment files, or of all blocks in the caller's table.
    pub(crate) fn file_bytes(&self) -> u64 {
        pass_on!(self, own => own.file_bytes())
    }

    /// Bytes of redb's that were written, and zeros ahead of them.
    pub(crate) fn bytes_written(&self) -> (u64, u64) {
        pass_on!(self, own => own.bytes_written())
    }

    /// Makes `secret` the current one, durably; gives its number.
    pub(crate) fn rotate_secret(&self, secret: &Secret) -> Result<u16> {
        pass_on!(self, own => own.rotate_secret(secret))
    }

    /// The numbers of secrets and rules that records from elsewhere were made under; see [`Ledger::adopt`].
    #[cfg(feature = "cli")]
    pub(crate) fn adopt(&self, origin: &super::Origin) -> Result<(Vec<Option<u16>>, Vec<u16>)> {
        match self {
            Self::Files(own) => own.adopt(origin),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => {
                let why = "records are imported into a store in a directory, and not into your database";
                Err(crate::error::ErrorKind::WrongHome(why).into())
            }
        }
    }

    /// Waits until no transaction is lent, and lends none any more: this house is about to be left.
    pub(crate) fn retire(&self) {
        match self {
            Self::Files(_) => {}
            #[cfg(feature = "redb-transactions")]
            Self::Guest(own) => own.retire(),
        }
    }

    /// Syncs and closes all that is its own; reports the first error.
    pub(crate) fn close(&self) -> Result<()> {
        pass_on!(self, own => own.close())
    }

    /// Copies the store into an empty directory; refused in the caller's database, which is his to copy.
    pub(crate) fn backup(&self, target: &dyn Disk, now: Timestamp) -> Result<()> {
        match self {
            Self::Files(own) => own.backup(target, now),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_) => Err(super::guest::no_backup()),
        }
    }
}

impl Pen<'_> {
    /// Commits entries as one group, and gives their places in the same order.
    ///
    /// # Errors
    /// *Stopped*, where the commit failed now or before: whether the entries are on disk is then unknown.
    pub(crate) fn append(
        &mut self,
        now: Timestamp,
        entries: &[Entry<'_>],
        durable: bool,
    ) -> Result<Vec<Location>> {
        match self {
            Self::Files(own, log) => own.append(log, now, entries, durable),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(own, tail) => own.append(tail, now, entries, durable),
        }
    }

    /// Begins a new segment if the active one is full. Before a commit, and never after it. A table is never rotated.
    pub(crate) fn rotate_if_full(&mut self, now: Timestamp) {
        match self {
            Self::Files(own, log) => own.rotate_if_full(log, now),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(..) => {}
        }
    }

    /// Makes durable what was committed relaxed.
    pub(crate) fn sync(&mut self) -> Result<()> {
        match self {
            Self::Files(own, log) => own.sync(log),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(own, tail) => own.sync(tail),
        }
    }

    /// Whether something was acknowledged that is not yet synced.
    pub(crate) fn is_unsynced(&self) -> bool {
        match self {
            Self::Files(_, log) => log.is_unsynced(),
            #[cfg(feature = "redb-transactions")]
            Self::Guest(_, tail) => tail.is_unsynced(),
        }
    }
}
