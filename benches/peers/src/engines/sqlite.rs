//! `SQLite`: write-ahead log, `synchronous=FULL`, one table clustered by token, prepared statements, one transaction for a
//! batch.
//!
//! One connection writes; lookups share a handful of others, so that no reader waits for the writer.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::CACHE_BYTES;
use crate::batched::Engine;
use crate::handover::Record;

pub(crate) struct Sqlite {
    path: PathBuf,
    writing: Mutex<Connection>,
    reading: Mutex<Vec<Connection>>,
}

impl Sqlite {
    pub(crate) fn create(home: &Path) -> Self {
        let path = home.join("sqlite.db");
        let writing = connect(&path).expect("the disk works");
        writing
            .execute("CREATE TABLE tokens (token TEXT PRIMARY KEY, outcome BLOB NOT NULL) WITHOUT ROWID", ())
            .expect("a new database");
        Self { path, writing: Mutex::new(writing), reading: Mutex::default() }
    }
}

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn get(&self, token: &str) -> Option<Vec<u8>> {
        let idle = self.reading.lock().pop();
        let connection = idle.unwrap_or_else(|| connect(&self.path).expect("the disk works"));
        let known = select(&connection, token).expect("the disk works");
        self.reading.lock().push(connection);
        known
    }

    fn commit(&self, records: &[Record]) {
        insert(&mut self.writing.lock(), records).expect("the disk works");
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Negative: in KiB. The file is mapped as well, so that readers share the system's pages.
    connection.pragma_update(None, "cache_size", format!("-{}", CACHE_BYTES / 1024 / 8))?;
    connection.pragma_update(None, "mmap_size", CACHE_BYTES.to_string())?;
    connection.pragma_update(None, "wal_autocheckpoint", "10000")?;
    Ok(connection)
}

fn select(connection: &Connection, token: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut asking = connection.prepare_cached("SELECT outcome FROM tokens WHERE token = ?1")?;
    asking.query_row([token], |row| row.get(0)).optional()
}

fn insert(connection: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut inserting =
            transaction.prepare_cached("INSERT INTO tokens (token, outcome) VALUES (?1, ?2)")?;
        for record in records {
            inserting.execute((record.token.as_str(), record.outcome.as_slice()))?;
        }
    }
    transaction.commit()
}
