//! Who takes part: oncekey, every peer, and the two limits, each in a directory of its own.

use std::path::Path;
use std::time::Instant;

use crate::batched::Batched;
use crate::contender::Contender;
use crate::engines::keyed_redb::KeyedRedb;
use crate::engines::lmdb::Lmdb;
use crate::engines::lsm_fjall::Fjall;
use crate::engines::sqlite::Sqlite;
use crate::limits::{HashTable, PlainFile};
use crate::ours::Ours;

/// Tokens of one step of a fill, between two signs of progress.
const FILL_STEP: u64 = 1_000_000;

pub(crate) struct Field {
    pub(crate) ours: Ours,
    pub(crate) redb: Batched<KeyedRedb>,
    others: Vec<Box<dyn Contender>>,
}

impl Field {
    pub(crate) fn create(home: &Path) -> Self {
        let others: Vec<Box<dyn Contender>> = vec![
            Box::new(Batched::new(Fjall::create(home))),
            Box::new(Batched::new(Lmdb::create(home))),
            Box::new(Batched::new(Sqlite::create(home))),
            Box::new(PlainFile::create(home)),
            Box::<HashTable>::default(),
        ];
        Self { ours: Ours::create(home), redb: Batched::new(KeyedRedb::create(home)), others }
    }

    /// oncekey first.
    pub(crate) fn all(&self) -> Vec<&dyn Contender> {
        let ours: [&dyn Contender; 2] = [&self.ours, &self.redb];
        ours.into_iter().chain(self.others.iter().map(|own| &**own)).collect()
    }

    /// Each keeps the tokens numbered from 0.
    pub(crate) fn fill(&self, kept: u64) {
        for contender in self.all() {
            let start = Instant::now();
            for first in (0..kept).step_by(usize::try_from(FILL_STEP).expect("it is small")) {
                contender.fill(first..kept.min(first + FILL_STEP));
                eprint!("\r  filling {}: {} of {kept}", contender.name(), kept.min(first + FILL_STEP));
            }
            eprintln!(
                "\r  {} keeps {kept} records after {:.1} s    ",
                contender.name(),
                start.elapsed().as_secs_f64()
            );
        }
    }
}
