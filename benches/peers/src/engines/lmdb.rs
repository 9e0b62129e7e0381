//! LMDB: one database, one write transaction for a batch, synced at its commit; a read transaction for each lookup.
//!
//! Through `lmdb-rkv`, which can open an environment without `unsafe`, as `heed` can't.

use std::fs;
use std::path::Path;

use lmdb::{Database, Environment, Error, Transaction, WriteFlags};

use crate::batched::Engine;
use crate::handover::Record;

/// Address space, not memory: more than the largest run needs.
const MAP_BYTES: usize = 64 << 30;
/// Threads that may read at the same time.
const READERS_MAX: u32 = 512;

pub(crate) struct Lmdb {
    environment: Environment,
    tokens: Database,
}

impl Lmdb {
    pub(crate) fn create(home: &Path) -> Self {
        let path = home.join("lmdb");
        fs::create_dir(&path).expect("the disk works");
        let mut builder = Environment::new();
        builder.set_map_size(MAP_BYTES).set_max_readers(READERS_MAX);
        let environment = builder.open(&path).expect("the disk works");
        let tokens = environment.open_db(None).expect("a new environment");
        Self { environment, tokens }
    }

    fn write(&self, records: &[Record]) -> Result<(), Error> {
        let mut transaction = self.environment.begin_rw_txn()?;
        for record in records {
            transaction.put(self.tokens, &record.token, &record.outcome, WriteFlags::NO_OVERWRITE)?;
        }
        transaction.commit()
    }
}

impl Engine for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn get(&self, token: &str) -> Option<Vec<u8>> {
        let transaction = self.environment.begin_ro_txn().expect("a reader's slot is free");
        match transaction.get(self.tokens, &token) {
            Ok(outcome) => Some(outcome.to_vec()),
            Err(Error::NotFound) => None,
            Err(error) => panic!("the disk works: {error}"),
        }
    }

    fn commit(&self, records: &[Record]) {
        self.write(records).expect("the disk works");
    }
}
