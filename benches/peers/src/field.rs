//! Who takes part: oncekey, every peer, and the two limits, each in a directory of its own.

use std::path::Path;
use std::time::Instant;

use crate::batched::Batched;
use crate::contender::{Contender, Kind};
use crate::engines::idempotent_crate::InMemory;
use crate::engines::keyed_redb::KeyedRedb;
use crate::engines::lmdb::Lmdb;
use crate::engines::lsm_fjall::Fjall;
use crate::engines::sqlite::Sqlite;
use crate::limits::{HashTable, PlainFile};
use crate::ours::Ours;

/// Tokens of one step of a fill, between two signs of progress.
const FILL_STEP: u64 = 1_000_000;

const IN_MEMORY_MAX: u64 = 1_000_000;

/// How a contender is set up in a directory of its own.
type Create = fn(&Path) -> Box<dyn Contender>;

/// All but oncekey and redb, whose inner doors are asked for as well.
const OTHERS: &[(&str, Create)] = &[
    ("fjall", |home| Box::new(Batched::new(Fjall::create(home)))),
    #[cfg(feature = "rocksdb")]
    ("RocksDB", |home| Box::new(Batched::new(crate::engines::lsm_rocksdb::RocksDb::create(home)))),
    ("LMDB", |home| Box::new(Batched::new(Lmdb::create(home)))),
    ("SQLite", |home| Box::new(Batched::new(Sqlite::create(home)))),
    ("file limit", |home| Box::new(PlainFile::create(home))),
    ("idempotent (memory)", |_| Box::new(InMemory::create())),
    ("memory limit", |_| Box::<HashTable>::default()),
];

pub(crate) struct Field {
    pub(crate) ours: Ours,
    pub(crate) redb: Batched<KeyedRedb>,
    others: Vec<Box<dyn Contender>>,
}

impl Field {
    pub(crate) fn create(home: &Path) -> Self {
        let others = OTHERS.iter().map(|(_, create)| create(home));
        #[cfg(feature = "servers")]
        let others = others.chain(crate::servers::installed(home));
        let others = others.collect();
        Self { ours: Ours::create(home), redb: Batched::new(KeyedRedb::create(home)), others }
    }

    /// oncekey first.
    pub(crate) fn all(&self) -> Vec<&dyn Contender> {
        let first: [&dyn Contender; 2] = [&self.ours, &self.redb];
        first.into_iter().chain(self.others.iter().map(|own| &**own)).collect()
    }

    /// Each keeps the tokens numbered from 0; what keeps only memory leaves it to the others beyond
    /// [`IN_MEMORY_MAX`].
    pub(crate) fn fill(&self, kept: u64) {
        for contender in self.all() {
            let is_in_memory = contender.kind() == Kind::MemoryOnly;
            fill(contender, if is_in_memory { kept.min(IN_MEMORY_MAX) } else { kept }, FILL_STEP);
        }
    }
}

/// One of them alone.
pub(crate) fn create_one(name: &str, home: &Path) -> Option<Box<dyn Contender>> {
    match name {
        "oncekey" => Some(Box::new(Ours::create(home))),
        "redb" => Some(Box::new(Batched::new(KeyedRedb::create(home)))),
        _ => OTHERS.iter().find(|(own, _)| *own == name).map(|(_, create)| create(home)),
    }
}

/// In steps of so many.
pub(crate) fn fill(contender: &dyn Contender, kept: u64, step: u64) {
    let start = Instant::now();
    for first in (0..kept).step_by(usize::try_from(step).expect("it is small")) {
        eprint!("\r  {} fills: {first} of {kept}     ", contender.name());
        contender.fill(first..kept.min(first + step));
    }
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("\r  {} keeps {kept} records after {seconds:.1} s      ", contender.name());
}
