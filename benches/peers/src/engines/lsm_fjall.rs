//! fjall: one keyspace, one batch for a commit, its journal synced before the batch is seen.
//!
//! Its own settings otherwise, the filter that answers for absent keys included. Its background threads flush and
//! compact while others have their turn; bytes that they write are counted in whatever turn they fall into.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::CACHE_BYTES;
use crate::batched::Engine;
use crate::handover::Record;

pub(crate) struct Fjall {
    database: Database,
    tokens: Keyspace,
}

impl Fjall {
    pub(crate) fn create(home: &Path) -> Self {
        let builder = Database::builder(home.join("fjall")).cache_size(CACHE_BYTES as u64);
        let database = builder.open().expect("the disk works");
        let tokens = database.keyspace("tokens", KeyspaceCreateOptions::default).expect("the disk works");
        Self { database, tokens }
    }
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn get(&self, token: &str) -> Option<Vec<u8>> {
        self.tokens.get(token).expect("the disk works").map(|outcome| outcome.to_vec())
    }

    fn commit(&self, records: &[Record]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for record in records {
            batch.insert(&self.tokens, record.token.as_str(), record.outcome.as_slice());
        }
        batch.commit().expect("the disk works");
    }
}
