//! Segment files: what they are called, and how a new one comes to be.
//!
//! Law: a file gets its name only when its first block, the manifest, is on disk: temporary name, first commit,
//! sync, rename, directory sync (contract 10.1). A file under a temporary name is a leftover and means nothing. A segment's
//! key goes before its file does.

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

/// A segment as a manifest lists it: number, first block, last block; of the one that it stands in, when that began.
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
        if let Some(cipher) = self.keyring.unwrap(&key, &self.store, segment) {
            return Ok(Some(cipher));
        }
        let no_key = self.keyring.is_empty();
        Err(if no_key { ErrorKind::Encrypted { segment } } else { ErrorKind::WrongEncryptionKey { segment } }
            .into())
    }

    /// Whether a segment is encrypted as a new one would be, or is not as a new one would not.
    pub(super) fn is_current(&self, segment: &Segment) -> bool {
        self.keyring.is_current(segment.keys().cipher)
    }

    /// Removes a segment's file if it is there, and its key before.
    pub(super) fn remove(&self, disk: &dyn Disk, name: &str) -> Result<()> {
        self.destroy_key(disk, name).map_err(io_error("destroying a segment's key"))?;
        remove_if_there(disk, name)
    }

    /// Removes what a crash left behind. Where its key can't be destroyed it stays, and means nothing, until it can: an
    /// opening needs no manual step (contract 5.7).
    pub(super) fn remove_leftover(&self, disk: &dyn Disk, name: &str) -> Result<()> {
        if self.destroy_key(disk, name).is_ok() { remove_if_there(disk, name) } else { Ok(()) }
    }

    /// Overwrites the key of a segment's file, if it has one, durably.
    fn destroy_key(&self, disk: &dyn Disk, name: &str) -> io::Result<()> {
        match disk.open(name).and_then(|file| page::shred(&*file)) {
            // What is no plain file has no key; and where no key was ever given, none is expected.
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::InvalidInput) => Ok(()),
            Err(_) if self.keyring.is_empty() => Ok(()),
            done => done,
        }
    }

    /// A new segment on `disk`, whose first block lists the older ones and itself, and these records, with their places;
    /// still under its temporary name. `spare` is a file of zeros under that name.
    #[expect(clippy::too_many_arguments, reason = "all that a segment begins with")]
    pub(super) fn create(
        &self,
        disk: &dyn Disk,
        number: u64,
        first: u64,
        now: Timestamp,
        mut listed: Vec<Listed>,
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
            let (copies, places, expires) = pack(first + 1, now, carried, segment.keys());
            listed.push((number, first, first + copies.len() as u64));
            let (mut blocks, ..) = pack(first, now, &[Note::Manifest(listed).entry()], segment.keys());
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

/// Removes a file that may be there.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != IoKind::NotFound => Err(io_error("removing a segment")(error)),
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
    use super::super::faulty::{Change, Failure, Faulty};
    use super::super::page::Page;
    use super::*;

    const NAME: &str = "segment-0000000007";

    fn maker(keyring: Keyring) -> Maker {
        Maker::new([4; 16], HashKeys::derive(&[1; 32]), keyring, false)
    }

    /// A disk with a segment whose page has a key.
    fn with_key() -> Faulty {
        let disk = Faulty::new();
        let file = disk.create(NAME).unwrap();
        file.write(0, &[0; 4096]).unwrap();
        Page::with(Some([7; 48])).write(&*file, maker(Keyring::default()).identity(7)).unwrap();
        disk
    }

    #[test]
    fn a_segments_key_is_durably_gone_before_its_file_is_whether_a_key_was_given_or_not() {
        let disk = with_key();
        let before = disk.log().len();
        maker(Keyring::default()).remove(&disk, NAME).unwrap();
        let steps = &disk.log()[before..];
        assert!(matches!(steps, [Change::Write(_, 0, _), Change::Sync(_), Change::Remove(_)]), "{steps:?}");
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn where_a_key_can_not_be_destroyed_its_file_stays_and_no_opening_is_refused_for_it_5_7() {
        let own = crate::encryption::EncryptionKey::new([1; 32]);
        let maker = maker(Keyring { current: Some(own), old: Vec::new() });
        let disk = with_key();
        disk.fail(Some(Failure::From(disk.asked().0 + 1, IoKind::Other)));
        let refused = maker.remove(&disk, NAME).unwrap_err();
        assert!(refused.to_string().starts_with("destroying a segment's key failed"), "{refused}");
        assert_eq!(maker.remove_leftover(&disk, NAME), Ok(()));
        assert_eq!(disk.list().unwrap(), [NAME]);
        disk.fail(None);
        assert_eq!(maker.remove_leftover(&disk, NAME), Ok(()));
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn where_no_key_was_ever_given_none_is_waited_for() {
        let disk = with_key();
        // The first change is the key's end, the second one the file's.
        disk.fail(Some(Failure::Once(disk.asked().0 + 1, IoKind::Other)));
        assert_eq!(maker(Keyring::default()).remove(&disk, NAME), Ok(()));
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_is_removed_and_what_can_not_be_removed_is_an_error() {
        let disk = with_key();
        assert_eq!(remove_if_there(&disk, "other"), Ok(()));
        disk.fail(Some(Failure::From(disk.asked().0 + 1, IoKind::Other)));
        assert!(remove_if_there(&disk, NAME).is_err());
    }

    #[test]
    fn only_exact_names_are_segments() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        for other in ["segment-7", "segment-0000000007.new", "segment-", "segment-00000000x7", "other"] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
