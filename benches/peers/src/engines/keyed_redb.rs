//! redb keyed by token: one table, one durable commit for a batch, lookups through a held table that is renewed after
//! each commit.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::CACHE_BYTES;
use crate::batched::Engine;
use crate::handover::Record;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("tokens");

pub(crate) type Held = ReadOnlyTable<&'static [u8], &'static [u8]>;

pub(crate) struct KeyedRedb {
    database: Database,
    held: RwLock<Arc<Held>>,
}

impl KeyedRedb {
    pub(crate) fn create(home: &Path) -> Self {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(home.join("keyed.redb")).expect("the disk works");
        write(&database, &[]).expect("the disk works");
        let held = RwLock::new(Arc::new(hold(&database).expect("the table was just made")));
        Self { database, held }
    }

    /// The table as it stands now.
    pub(crate) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read())
    }
}

impl Engine for KeyedRedb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn get(&self, token: &str) -> Option<Vec<u8>> {
        let held = self.held();
        let known = held.get(token.as_bytes()).expect("the disk works");
        known.map(|outcome| outcome.value().to_vec())
    }

    fn commit(&self, records: &[Record]) {
        write(&self.database, records).expect("the disk works");
        *self.held.write() = Arc::new(hold(&self.database).expect("the disk works"));
    }
}

fn write(database: &Database, records: &[Record]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for record in records {
            table.insert(record.token.as_bytes(), record.outcome.as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}

fn hold(database: &Database) -> Result<Held, redb::Error> {
    Ok(database.begin_read()?.open_table(TABLE)?)
}
