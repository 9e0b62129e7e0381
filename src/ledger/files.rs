//! Segment files: what they are called, and how a new one comes to be.
//!
//! Law: a file gets its name only when its first block, the manifest, is on disk: temporary name, first commit,
//! sync, rename, directory sync (contract 10.1). A file under a temporary name is a leftover and means nothing.

use std::io::{self, ErrorKind as IoKind};
use std::sync::Arc;

use super::backend::{Backend, Written};
use super::disk::{Disk, DiskFile};
use super::fault::{Fault, io_error};
use super::log::{Entry, Note, pack};
use super::page::{self, Identity};
use super::segment::Segment;
use crate::encryption::{Cipher, Keyring};
use crate::error::{ErrorKind, Result};
use crate::record::{HashKeys, Location};
use crate::time::Timestamp;

/// A segment as a manifest lists it: number, first block, last block.
pub(crate) type Listed = (u64, u64, u64);

/// Makes segments of one store.
#[derive(Clone)]
pub(crate) struct Maker {
    store: [u8; 16],
    keys: HashKeys,
    keyring: Keyring,
    two_phase: bool,
    written: Arc<Written>,
}

impl Maker {
    pub(super) fn new(store: [u8; 16], keys: HashKeys, keyring: Keyring, two_phase: bool) -> Self {
        Self { store, keys, keyring, two_phase, written: Arc::default() }
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

    /// The key of the segment in this file, if it is encrypted.
    ///
    /// # Errors
    /// *Encrypted*, *wrong encryption key*.
    pub(super) fn cipher(&self, backend: &Backend, segment: u64) -> Result<Option<Cipher>> {
        let Some(key) = backend.key() else { return Ok(None) };
        let cipher = self.keyring.unwrap(&key, &self.store, segment);
        let locked = if self.keyring.is_empty() {
            ErrorKind::Encrypted { segment }
        } else {
            ErrorKind::WrongEncryptionKey { segment }
        };
        cipher.map(Some).ok_or(locked.into())
    }

    /// Whether a segment is encrypted as a new one would be, or is not as a new one would not.
    pub(super) fn is_current(&self, segment: &Segment) -> bool {
        self.keyring.is_current(segment.keys().cipher)
    }

    /// Removes a segment's file if it is there, and its key first if it may have one.
    pub(super) fn remove(&self, disk: &dyn Disk, name: &str) -> Result<()> {
        if !self.keyring.is_empty() {
            let shredded = disk.open(name).and_then(|file| page::shred(&*file));
            // What is no plain file has no key.
            let done = unless(&[IoKind::NotFound, IoKind::InvalidInput], shredded);
            done.map_err(io_error("destroying a segment's key"))?;
        }
        unless(&[IoKind::NotFound], disk.remove(name)).map_err(io_error("removing a segment"))
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
            self.remove(disk, &temporary)?;
        }
        let (cipher, wrapped) = self.keyring.new_cipher(&self.store, number)?.unzip();
        let create = || {
            let file = spare.map_or_else(|| disk.create(&temporary), Ok)?;
            let written = Arc::clone(&self.written);
            let backend = Backend::create(file, self.identity(number), written, wrapped)?;
            let segment = Segment::create(number, first, backend, self.keys, cipher)?;
            let (mut blocks, ..) = pack(first, now, &[Note::Manifest(listed).entry()], segment.keys());
            let (copies, places, expires) = pack(first + blocks.len() as u64, now, carried, segment.keys());
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

/// What was done, where it is no error that it failed for one of these reasons.
fn unless(reasons: &[IoKind], done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if reasons.contains(&error.kind()) { Ok(()) } else { Err(error) })
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
