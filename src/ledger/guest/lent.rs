//! The write transaction of the caller's database, in the caller's hands (contract 6.1).
//!
//! Law: who borrows it holds the log's lock, so nobody else appends meanwhile and block numbers are given in order; and
//! it stays on the thread that borrowed it, which is known, so that this thread is refused whatever would wait for it
//! (6.4). It ends with its commit or with its drop; the lock goes after what was not committed.
//!
//! | fate | what is known |
//! | --- | --- |
//! | committed | the caller's rows and ours are on disk |
//! | aborted | something failed before the commit: nothing of it is, or ever will be |
//! | unknown | the commit failed: they are on disk together, or not at all (6.2) |

use std::panic::Location as Caller;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::{
    MultimapTable, MultimapTableDefinition, MultimapTableHandle, Table, TableDefinition, TableError,
    TableHandle, WriteTransaction,
};

use super::super::fault::{Fault, barrier};
use super::super::log::Entry;
use super::{BUFFER_BYTES, Column, Guest, Packed, TABLE_NUMBER, Tail, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Location;
use crate::sync::{ArcMutexGuard, Held, Mutex, is_panicking};
use crate::time::Timestamp;

/// A lent write transaction.
pub(crate) struct Lent {
    // Dropped in this order.
    transaction: WriteTransaction,
    turn: Turn,
    guest: Arc<Guest>,
}

/// The log's lock, for as long as what was committed is being published.
pub(crate) struct Turn {
    tail: ArcMutexGuard<Tail>,
    _held: Held,
}

/// How it ended.
pub(crate) enum Fate {
    Committed(Vec<Location>),
    Aborted(Error),
    Unknown,
}

impl Guest {
    /// Lends the write transaction; waits until nobody else writes.
    pub(crate) fn lend(self: &Arc<Self>) -> Result<Lent> {
        self.place.check_thread()?;
        let tail = Mutex::lock_arc(&self.tail);
        if self.retired.load(Ordering::Acquire) {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        }
        self.check_running()?;
        let turn = Turn { tail, _held: self.place.hold() };
        let begun = barrier(|| self.begin(true, true)?.ok_or(Fault::Io(std::io::ErrorKind::WouldBlock)));
        let transaction =
            begun.map_err(|fault| fault.in_segment(TABLE_NUMBER, "beginning a write transaction"))?;
        Ok(Lent { transaction, turn, guest: Arc::clone(self) })
    }
}

impl Turn {
    /// Keeps the memory of this transaction's records for the next one.
    pub(crate) fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES);
        self.tail.buffer = buffer;
    }
}

impl Lent {
    /// Memory to lay its records in.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.turn.tail.buffer)
    }

    #[track_caller]
    pub(crate) fn open_table<'a, K: Column + 'static, V: Value + 'static>(
        &'a self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Table<'a, K, V>, TableError> {
        self.check_name(definition.name())?;
        self.transaction.open_table(definition)
    }

    #[track_caller]
    pub(crate) fn open_multimap_table<'a, K: Column + 'static, V: Column + 'static>(
        &'a self,
        definition: MultimapTableDefinition<'_, K, V>,
    ) -> Result<MultimapTable<'a, K, V>, TableError> {
        self.check_name(definition.name())?;
        self.transaction.open_multimap_table(definition)
    }

    #[track_caller]
    pub(crate) fn delete_table(&self, table: impl TableHandle) -> Result<bool, TableError> {
        self.check_name(table.name())?;
        self.transaction.delete_table(table)
    }

    #[track_caller]
    pub(crate) fn delete_multimap_table(&self, table: impl MultimapTableHandle) -> Result<bool, TableError> {
        self.check_name(table.name())?;
        self.transaction.delete_multimap_table(table)
    }

    /// The tables of stores are theirs: they have them open.
    #[track_caller]
    fn check_name(&self, name: &str) -> Result<(), TableError> {
        if self.guest.place.is_taken(name) {
            return Err(TableError::TableAlreadyOpen(name.to_owned(), Caller::caller()));
        }
        Ok(())
    }

    /// Commits the caller's changes and these entries together.
    pub(crate) fn commit(self, now: Timestamp, entries: &[Entry<'_>]) -> (Fate, Turn) {
        let Self { transaction, mut turn, guest } = self;
        let tail = &mut *turn.tail;
        let packed = Packed::of(tail, now, entries, &guest.keys);
        let laid = barrier(|| if entries.is_empty() { Ok(()) } else { guest.lay(&transaction, &packed) });
        if let Err(fault) = laid {
            // What was not committed is not there, whatever this says.
            let _ = barrier(|| Ok(transaction.abort()?));
            return (Fate::Aborted(fault.in_segment(TABLE_NUMBER, "writing the records")), turn);
        }
        let committed = barrier(|| Ok(transaction.commit()?)).is_ok();
        let fate = if committed {
            Fate::Committed(guest.grow(tail, entries, packed, true))
        } else {
            guest.stop("commit");
            Fate::Unknown
        };
        (fate, turn)
    }

    /// Gives up: nothing of it was kept.
    pub(crate) fn abort(self) -> Result<()> {
        let Self { transaction, turn, .. } = self;
        // On a thread that unwinds redb wants to be dropped: it does not trust what it was in the middle of.
        let aborted = if is_panicking() {
            drop(transaction);
            Ok(())
        } else {
            barrier(|| Ok(transaction.abort()?))
        };
        drop(turn);
        aborted.map_err(|fault| fault.in_segment(TABLE_NUMBER, "aborting a write transaction"))
    }
}
