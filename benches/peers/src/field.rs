//! Who takes part: oncekey, every peer, and the two limits, each in a directory of its own.

use std::path::Path;
use std::time::{Duration, Instant};

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
const FILL_STEP: u64 = 250_000;
/// What a fill may take: who is slower keeps fewer, and the tables say how many.
const FILL_MAX: Duration = Duration::from_mins(10);

/// How a contender is set up in a directory of its own; `None` where it is not installed.
type Create = fn(&Path) -> Option<Box<dyn Contender>>;

/// All but oncekey and redb, whose inner doors are asked for as well.
const OTHERS: &[(&str, Kind, Create)] = &[
    ("fjall", Kind::Peer, |home| Some(Box::new(Batched::new(Fjall::create(home))))),
    #[cfg(feature = "rocksdb")]
    ("RocksDB", Kind::Peer, |home| {
        Some(Box::new(Batched::new(crate::engines::lsm_rocksdb::RocksDb::create(home))))
    }),
    ("LMDB", Kind::Peer, |home| Some(Box::new(Batched::new(Lmdb::create(home))))),
    ("SQLite", Kind::Peer, |home| Some(Box::new(Batched::new(Sqlite::create(home))))),
    ("file limit", Kind::FileLimit, |home| Some(Box::new(PlainFile::create(home)))),
    ("idempotent (memory)", Kind::MemoryOnly, |_| Some(Box::new(InMemory::create()))),
    ("memory limit", Kind::MemoryOnly, |_| Some(Box::<HashTable>::default())),
    #[cfg(feature = "servers")]
    ("PostgreSQL", Kind::Peer, crate::servers::postgresql),
    #[cfg(feature = "servers")]
    ("Redis", Kind::Peer, crate::servers::redis),
];

/// Everybody, oncekey first.
pub(crate) fn names() -> impl Iterator<Item = (&'static str, Kind)> {
    let first = [("oncekey", Kind::Ours), ("redb", Kind::Peer)];
    first.into_iter().chain(OTHERS.iter().map(|(name, kind, _)| (*name, *kind)))
}

/// One of them alone.
pub(crate) fn create_one(name: &str, home: &Path) -> Option<Box<dyn Contender>> {
    match name {
        "oncekey" => Some(Box::new(Ours::create(home))),
        "redb" => Some(Box::new(Batched::new(KeyedRedb::create(home)))),
        _ => OTHERS.iter().find(|(own, ..)| *own == name).and_then(|(.., create)| create(home)),
    }
}

/// A contender, and the tokens numbered from 0 that it was given beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Filled<'a> {
    pub(crate) contender: &'a dyn Contender,
    pub(crate) kept: u64,
}

impl<'a> Filled<'a> {
    pub(crate) fn new(contender: &'a dyn Contender, kept: u64) -> Self {
        Self { contender, kept: fill(contender, kept, FILL_STEP) }
    }
}

/// All of them, filled.
pub(crate) struct Field {
    pub(crate) ours: Ours,
    pub(crate) redb: Batched<KeyedRedb>,
    others: Vec<Box<dyn Contender>>,
    /// What each keeps, in their order.
    kept: Vec<u64>,
}

impl Field {
    pub(crate) fn create(home: &Path, kept: u64) -> Self {
        let others = OTHERS.iter().filter_map(|(.., create)| create(home)).collect();
        let (ours, redb) = (Ours::create(home), Batched::new(KeyedRedb::create(home)));
        let mut field = Self { ours, redb, others, kept: Vec::new() };
        field.kept = field.contenders().map(|own| fill(own, kept, FILL_STEP)).collect();
        field
    }

    fn contenders(&self) -> impl Iterator<Item = &dyn Contender> {
        let first: [&dyn Contender; 2] = [&self.ours, &self.redb];
        first.into_iter().chain(self.others.iter().map(|own| &**own))
    }

    /// oncekey first.
    pub(crate) fn all(&self) -> Vec<Filled<'_>> {
        let kept = self.kept.iter().copied();
        self.contenders().zip(kept).map(|(contender, kept)| Filled { contender, kept }).collect()
    }
}

/// In steps of so many, until all are kept or the time is over; gives how many are.
pub(crate) fn fill(contender: &dyn Contender, kept: u64, step: u64) -> u64 {
    let (start, mut first) = (Instant::now(), 0);
    while first < kept && start.elapsed() < FILL_MAX {
        eprint!("\r  {} fills: {first} of {kept}     ", contender.name());
        let end = kept.min(first + step);
        contender.fill(first..end);
        first = end;
    }
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("\r  {} keeps {first} of {kept} records after {seconds:.1} s      ", contender.name());
    first
}
