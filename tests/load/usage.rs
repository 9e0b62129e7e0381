//! What a store and its process take.

use std::fs;
use std::path::Path;

use oncekey::Store;

/// A page of the system, in KiB.
const PAGE_KIB: u64 = 4;
/// How much more than the first periods later ones may take: what was taken happens to stand a little differently.
const SLACK_PERCENT: u64 = 25;
const SLACK_MEMORY_KIB: u64 = 16 << 10;

/// Of one moment, or the most of several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// All files of the store, in KiB, as the file system counts them.
    disk_kib: u64,
    segments: u64,
    index_kib: u64,
    /// What the process holds for itself.
    memory_kib: u64,
    descriptors: u64,
}

impl Usage {
    pub(crate) fn of(store: &Path, open: &Store) -> Self {
        use std::os::unix::fs::MetadataExt;
        let blocks = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().blocks();
        let pages: Vec<u64> = fs::read_to_string("/proc/self/statm")
            .unwrap()
            .split_whitespace()
            .map(|own| own.parse().unwrap())
            .collect();
        let stats = open.stats();
        Self {
            disk_kib: fs::read_dir(store).unwrap().map(blocks).sum::<u64>() / 2,
            segments: stats.segments,
            index_kib: stats.index_bytes >> 10,
            memory_kib: (pages[1] - pages[2]) * PAGE_KIB,
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count() as u64,
        }
    }

    pub(crate) fn largest(self, other: Self) -> Self {
        Self {
            disk_kib: self.disk_kib.max(other.disk_kib),
            segments: self.segments.max(other.segments),
            index_kib: self.index_kib.max(other.index_kib),
            memory_kib: self.memory_kib.max(other.memory_kib),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }

    /// Whether this is no more than the earlier one, but for a little.
    pub(crate) fn is_about(self, early: Self) -> bool {
        let within = |late: u64, early: u64| late * 100 <= early * (100 + SLACK_PERCENT);
        within(self.disk_kib, early.disk_kib)
            && self.segments <= early.segments + 2
            && within(self.index_kib, early.index_kib)
            && self.memory_kib <= early.memory_kib + early.memory_kib * SLACK_PERCENT / 100 + SLACK_MEMORY_KIB
            && self.descriptors <= early.descriptors + 2
    }
}
