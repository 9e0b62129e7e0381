//! `RocksDB`: one column family, one write batch for a commit, its log synced before the batch is seen.
//!
//! A cache as large as every peer's and the filter of ten bits a key that its guide asks for where keys are looked up;
//! its own settings otherwise. Its background threads flush and compact while others have their turn; bytes that they
//! write are counted in whatever turn they fall into.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DB, Options, WriteBatch, WriteOptions};

use super::CACHE_BYTES;
use crate::batched::Engine;
use crate::handover::Record;

/// Of its filter.
const BITS_A_KEY: f64 = 10.0;

pub(crate) struct RocksDb(DB);

impl RocksDb {
    pub(crate) fn create(home: &Path) -> Self {
        let mut blocks = BlockBasedOptions::default();
        let cache = Cache::new_lru_cache(CACHE_BYTES).expect("a cache can be made");
        blocks.set_block_cache(&cache);
        blocks.set_bloom_filter(BITS_A_KEY, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        Self(DB::open(&options, home.join("rocksdb")).expect("the disk works"))
    }
}

impl Engine for RocksDb {
    fn name(&self) -> &'static str {
        "RocksDB"
    }

    fn get(&self, token: &str) -> Option<Vec<u8>> {
        self.0.get(token).expect("the disk works")
    }

    fn commit(&self, records: &[Record]) {
        let mut batch = WriteBatch::default();
        for record in records {
            batch.put(&record.token, &record.outcome);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.0.write_opt(batch, &options).expect("the disk works");
    }
}
