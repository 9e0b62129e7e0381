//! The place of a store in the caller's database: which database, which table.
//!
//! Law: within a process a table belongs to one opening at a time, until its guard goes (contract 5.6); another process
//! is kept out by redb's own lock on the caller's file. Two stores in one database share its one writer: so it is the
//! database, and not the store, whose lent transaction a thread holds (contract 6.4).

use std::fmt;
use std::sync::Arc;

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition, TransactionError,
    WriteTransaction,
};

use super::super::fault::Fault;
use crate::error::{ErrorKind, Result};
use crate::sync::{Held, Mutex, holds};

/// Block number, or one of the reserved rows, to bytes.
pub(super) type Definition<'a> = TableDefinition<'a, u64, &'static [u8]>;
pub(super) type Rows = ReadOnlyTable<u64, &'static [u8]>;

/// Every table that is open in this process, with its database.
static TAKEN: Mutex<Vec<(usize, Arc<str>)>> = Mutex::new(Vec::new());

/// Which database, which table.
#[derive(Clone)]
pub(crate) struct Place {
    database: Arc<Database>,
    table: Arc<str>,
}

/// The table is this opening's, until this goes.
pub(super) struct Taken(Place);

impl Drop for Taken {
    fn drop(&mut self) {
        let own = (self.0.id(), &self.0.table);
        TAKEN.lock().retain(|(database, table)| (*database, table) != own);
    }
}

impl Place {
    pub(crate) fn new(database: Arc<Database>, table: &str) -> Self {
        Self { database, table: table.into() }
    }

    /// Takes the table for one opening.
    pub(super) fn take(&self) -> Result<Taken> {
        let mut taken = TAKEN.lock();
        if taken.iter().any(|(database, table)| *database == self.id() && *table == self.table) {
            return Err(ErrorKind::Locked.into());
        }
        taken.push((self.id(), Arc::clone(&self.table)));
        Ok(Taken(self.clone()))
    }

    /// Whether a table of this name belongs to a store that is open in this database.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        TAKEN.lock().iter().any(|(database, table)| *database == self.id() && **table == *name)
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.database).addr()
    }

    /// This thread holds the lent transaction of this database.
    pub(super) fn hold(&self) -> Held {
        Held::here(Arc::as_ptr(&self.database))
    }

    /// Whether this thread can wait for the database's writer: not where it is the writer (contract 6.4).
    pub(crate) fn check_thread(&self) -> Result<()> {
        if holds(Arc::as_ptr(&self.database)) { Err(ErrorKind::Lent.into()) } else { Ok(()) }
    }

    pub(super) fn definition(&self) -> Definition<'_> {
        TableDefinition::new(&self.table)
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Fault> {
        Ok(self.database.begin_read()?)
    }

    /// The table as it was last committed.
    pub(super) fn read(&self) -> Result<Rows, Fault> {
        Ok(self.begin_read()?.open_table(self.definition())?)
    }

    /// Begins to write; `None` if somebody else writes and this one is not to `wait`.
    pub(super) fn write(&self, wait: bool) -> Result<Option<WriteTransaction>, Fault> {
        let begun = if wait { self.database.begin_write() } else { self.database.try_begin_write() };
        match begun {
            Ok(transaction) => Ok(Some(transaction)),
            Err(TransactionError::WouldBlock) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("table", &self.table).finish_non_exhaustive()
    }
}
