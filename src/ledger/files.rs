//! Segment files: what they are called, and how a new one comes to be.
//!
//! Law: a file gets its name only when its first block, the manifest, is on disk: temporary name, first commit,
//! sync, rename, directory sync (contract 10.1). A file under a temporary name is a leftover and means nothing.

use std::io::ErrorKind as IoKind;
use std::sync::Arc;

use super::backend::{Backend, Written};
use super::disk::{Disk, DiskFile};
use super::fault::{Fault, io_error};
use super::log::{Entry, Note, pack};
use super::page::Identity;
use super::segment::Segment;
use crate::error::Result;
use crate::record::{HashKeys, Location};
use crate::time::Timestamp;

/// A segment as a manifest lists it: number, first block, last block.
pub(crate) type Listed = (u64, u64, u64);

/// Makes segments of one store.
#[derive(Clone)]
pub(crate) struct Maker {
    store: [u8; 16],
    keys: HashKeys,
    two_phase: bool,
    written: Arc<Written>,
}

impl Maker {
    pub(super) fn new(store: [u8; 16], keys: HashKeys, two_phase: bool) -> Self {
        Self { store, keys, two_phase, written: Arc::default() }
    }

    pub(super) fn keys(&self) -> &HashKeys {
        &self.keys
    }

    pub(super) fn two_phase(&self) -> bool {
        self.two_phase
    }

    pub(super) fn written(&self) -> &Arc<Written> {
        &self.written
    }

    pub(super) fn identity(&self, segment: u64) -> Identity {
        Identity { store: self.store, segment }
    }

    /// A new segment on `disk`, whose first block lists the older ones, and these records, with their places; still
    /// under its temporary name. `spare` is a file of zeros under that name.
    #[expect(clippy::too_many_arguments, reason = "all that a segment begins with")]
    pub(super) fn create(
        &self,
        disk: &dyn Disk,
        number: u64,
        first: u64,
        now: Timestamp,
        listed: Vec<Listed>,
        carried: &[Entry<'_>],
        spare: Option<Arc<dyn DiskFile>>,
    ) -> Result<(Segment, Vec<Location>)> {
        let temporary = segment_name_new(number);
        if spare.is_none() {
            remove_if_there(disk, &temporary)?;
        }
        let create = || {
            let file = spare.map_or_else(|| disk.create(&temporary), Ok)?;
            let backend = Backend::create(file, self.identity(number), Arc::clone(&self.written))?;
            let segment = Segment::create(number, first, backend, self.keys)?;
            let (mut blocks, ..) = pack(first, now, &[Note::Manifest(listed).entry()], &self.keys);
            let (copies, places, expires) = pack(first + blocks.len() as u64, now, carried, &self.keys);
            blocks.extend(copies);
            segment.append(&blocks, true, self.two_phase)?;
            segment.stretch(expires);
            Ok((segment, places))
        };
        create().map_err(|fault: Fault| fault.in_segment(number, "creating a segment"))
    }
}

/// Gives a new segment its name, durably: from here on it counts.
pub(super) fn give_name(disk: &dyn Disk, segment: &Segment) -> Result<()> {
    let named = disk.rename(&segment_name_new(segment.number), &segment_name(segment.number));
    named.and_then(|()| disk.sync()).map_err(io_error("naming a segment"))
}

/// Removes a file that a crash may have left behind.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != IoKind::NotFound => Err(io_error("removing a leftover")(error)),
        _ => Ok(()),
    }
}

pub(super) fn segment_name(number: u64) -> String {
    format!("segment-{number:010}")
}

/// The name of a segment that is still being made.
pub(super) fn segment_name_new(number: u64) -> String {
    format!("segment-{number:010}.new")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("segment-")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_segments() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        for other in ["segment-7", "segment-0000000007.new", "segment-", "segment-00000000x7", "other"] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
