//! The log as a guest: one table in the caller's database (contract 6.1).
//!
//! Law: the same blocks and records as in a segment, under the same log lock, in a table that is never rotated and never
//! sealed. Every commit is one write transaction of the caller's database, which has one writer: whoever commits waits
//! for the caller's own, under the log's lock; only the background sweep never waits (6.4). No view of the database is
//! held between two reads, since a held one keeps the caller's pages from being used again.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `place` | which database, which table; who has it open |
//! | `floor` | the reserved rows |
//! | `opening` | judging and scanning the table |
//! | `spans`, `sweeping` | what the sweep remembers; expiring, carrying, removing from the low end |
//! | `lent` | the write transaction in the caller's hands |

mod floor;
mod lent;
mod opening;
mod place;
mod spans;
mod sweeping;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) use redb::{
    Database, Key as Column, MultimapTable, MultimapTableDefinition, MultimapTableHandle, Table,
    TableDefinition, TableError, TableHandle, Value,
};
use redb::{Durability, WriteTransaction};

use super::block::Block;
use super::fault::{Fault, barrier};
use super::hint::What;
use super::identity::Identity;
use super::log::{Entry, Meaning, pack};
use super::room::Room;
use crate::digest::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{HashKeys, Location, Record};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Timestamp;
use floor::{FLOOR, Floor, IDENTITY};
pub(crate) use lent::{Fate, Lent};
pub(super) use opening::open;
pub(crate) use place::Place;
use place::Taken;
use spans::{Seen, Spans};
pub(crate) use sweeping::{Sweeping, Tidied};

/// The table, where a segment's number is asked for.
pub(super) const TABLE_NUMBER: u64 = 1;
/// More room than anybody asks for: room in the caller's file is the caller's (contract 6.5).
const ROOM: u64 = u64::MAX / 2;
/// Memory for records is kept for the next lent transaction, up to this.
const BUFFER_BYTES: usize = 1 << 20;
/// A started record, which may lose its meaning at any time, is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// An opened table.
pub(crate) struct Guest {
    place: Place,
    taken: Mutex<Option<Taken>>,
    keys: HashKeys,
    two_phase: bool,
    identity: Mutex<Identity>,
    tail: Arc<Mutex<Tail>>,
    room: Arc<Room>,
    stopped: OnceLock<&'static str>,
    retired: AtomicBool,
    blind: u64,
    /// The floor, for those who read; raised before blocks are removed.
    low: AtomicU64,
    bytes: AtomicU64,
    written: AtomicU64,
}

/// The writing end.
pub(crate) struct Tail {
    spans: Spans,
    /// The latest time that was written.
    time: Timestamp,
    unsynced: bool,
    /// Memory for the records of the next lent transaction.
    buffer: Vec<u8>,
}

impl Tail {
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced
    }
}

/// What is asked of a file store only.
pub(super) fn no_backup() -> Error {
    ErrorKind::WrongHome("its table is part of your database: back that up as a whole").into()
}

impl Guest {
    pub(crate) fn keys(&self) -> &HashKeys {
        &self.keys
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock()
    }

    pub(crate) fn blind(&self) -> u64 {
        self.blind
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_written(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), 0)
    }

    pub(crate) fn read<T>(&self, at: Location, use_it: impl FnOnce(Record<'_>) -> T) -> Result<Option<T>> {
        let block = at.block();
        let read = barrier(|| {
            // Held for as long as its row is: what `get` gives does not keep the transaction alive.
            let rows = self.place.read()?;
            let row = rows.get(block)?.ok_or(Fault::Damaged)?;
            Ok(use_it(Block::new(row.value(), block, &self.keys).record(at)?.record()))
        });
        match read {
            Ok(found) => Ok(Some(found)),
            Err(_) if block < self.low.load(Ordering::Acquire) => Ok(None),
            Err(fault) => Err(fault.in_segment(TABLE_NUMBER, "reading a record")),
        }
    }

    pub(crate) fn append(
        &self,
        tail: &mut Tail,
        now: Timestamp,
        entries: &[Entry<'_>],
        durable: bool,
    ) -> Result<Vec<Location>> {
        self.append_within(tail, now, entries, durable, true).map(Option::unwrap_or_default)
    }

    /// Appends; `None` if somebody else writes and this one is not to `wait`.
    fn append_within(
        &self,
        tail: &mut Tail,
        now: Timestamp,
        entries: &[Entry<'_>],
        durable: bool,
        wait: bool,
    ) -> Result<Option<Vec<Location>>> {
        self.check_running()?;
        let packed = Packed::of(tail, now, entries, &self.keys);
        let written = barrier(|| {
            let Some(transaction) = self.begin(durable, wait)? else { return Ok(false) };
            self.lay(&transaction, &packed)?;
            Ok(transaction.commit().map(|()| true)?)
        });
        match written {
            Ok(true) => Ok(Some(self.grow(tail, entries, packed, durable))),
            Ok(false) => Ok(None),
            Err(_) => Err(self.stop("commit")),
        }
    }

    pub(crate) fn sync(&self, tail: &mut Tail) -> Result<()> {
        self.check_running()?;
        if tail.unsynced {
            let empty = |_: &WriteTransaction| Ok(());
            self.commit(true, empty).map_err(|_| self.stop("sync"))?;
            tail.unsynced = false;
        }
        Ok(())
    }

    pub(crate) fn rotate_secret(&self, secret: &Secret) -> Result<u16> {
        let mut identity = self.identity.lock();
        let mut changed = identity.clone();
        let number = changed.add_secret(secret, false)?;
        // Under the log's lock, as every commit: so nobody who holds it waits for this one.
        let mut tail = self.log();
        self.check_running()?;
        let row = changed.encode()?;
        self.commit(true, |own| self.put(own, IDENTITY, &row)).map_err(|_| self.stop("commit"))?;
        tail.unsynced = false;
        *identity = changed;
        Ok(number)
    }

    pub(crate) fn retire(&self) {
        let _tail = self.log();
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn close(&self) -> Result<()> {
        let synced = self.sync(&mut self.log());
        let _ = self.stopped.set("close");
        self.taken.lock().take();
        synced
    }

    pub(crate) fn check_running(&self) -> Result<()> {
        match self.stopped.get() {
            None => Ok(()),
            Some(operation) => Err(ErrorKind::Stopped { operation }.into()),
        }
    }

    /// Stops: nothing is written any more until the store is opened again (contract 5.5).
    fn stop(&self, operation: &'static str) -> Error {
        let _ = self.stopped.set(operation);
        // Without room every new reservation comes by `make_room`, and is told there.
        self.room.set_ready(0);
        ErrorKind::Stopped { operation: self.stopped.get().copied().unwrap_or(operation) }.into()
    }

    /// Begins to write with this store's settings.
    fn begin(&self, durable: bool, wait: bool) -> Result<Option<WriteTransaction>, Fault> {
        let Some(mut transaction) = self.place.write(wait)? else { return Ok(None) };
        transaction.set_two_phase_commit(self.two_phase);
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).map_err(|_| Fault::Damaged)?;
        Ok(Some(transaction))
    }

    /// One write transaction, waited for.
    fn commit(
        &self,
        durable: bool,
        write: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        barrier(|| {
            let Some(transaction) = self.begin(durable, true)? else { return Ok(()) };
            write(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    fn put(&self, transaction: &WriteTransaction, row: u64, bytes: &[u8]) -> Result<(), Fault> {
        transaction.open_table(self.place.definition())?.insert(row, bytes)?;
        Ok(())
    }

    /// Lays packed blocks into the table.
    fn lay(&self, transaction: &WriteTransaction, packed: &Packed) -> Result<(), Fault> {
        let mut rows = transaction.open_table(self.place.definition())?;
        for (number, block) in (packed.first..).zip(&packed.blocks) {
            rows.insert(number, block.as_slice())?;
        }
        Ok(())
    }

    /// Removes the lowest blocks; the floor goes with them.
    fn remove(&self, transaction: &WriteTransaction, blocks: &Range<u64>, floor: Floor) -> Result<(), Fault> {
        let mut rows = transaction.open_table(self.place.definition())?;
        rows.retain_in(blocks.clone(), |_, _| false)?;
        rows.insert(FLOOR, floor.encode(&self.keys).as_slice())?;
        Ok(())
    }

    /// Packed blocks were committed: takes note of them, and gives their places.
    fn grow(&self, tail: &mut Tail, entries: &[Entry<'_>], packed: Packed, durable: bool) -> Vec<Location> {
        let Packed { blocks, places, now, .. } = packed;
        let mut rest = entries.iter().zip(&places).peekable();
        for block in &blocks {
            let (number, mut seen) = (tail.spans.next(), Seen::default());
            while let Some((entry, _)) = rest.next_if(|(_, at)| at.block() == number) {
                see(&mut seen, entry, now);
            }
            tail.spans.add(block.len() as u64, seen);
            self.written.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
        self.bytes.store(tail.spans.bytes(), Ordering::Relaxed);
        (tail.time, tail.unsynced) = (now, !durable);
        places
    }
}

/// Entries as the blocks that they make behind the last one.
struct Packed {
    first: u64,
    now: Timestamp,
    blocks: Vec<Vec<u8>>,
    places: Vec<Location>,
}

impl Packed {
    fn of(tail: &Tail, now: Timestamp, entries: &[Entry<'_>], keys: &HashKeys) -> Self {
        let (first, now) = (tail.spans.next(), now.max(tail.time));
        let (blocks, places, _) = pack(first, now, entries, keys.into());
        Self { first, now, blocks, places }
    }
}

/// What one more entry adds to what is known of its block.
fn see(seen: &mut Seen, entry: &Entry<'_>, now: Timestamp) {
    if let Meaning::Kept(what, _) = entry.meaning {
        seen.known += entry.bytes.len() as u64;
        seen.due = seen.due.min(look_at(what, entry.expires, now));
    }
}

/// When a record is to be looked at by the sweep.
fn look_at(what: What, expires: Timestamp, now: Timestamp) -> u64 {
    let again = if what == What::Started { now.saturating_add(LOOK_AGAIN) } else { expires };
    again.min(expires).as_millis()
}
