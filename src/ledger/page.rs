//! The page of ours that a segment file begins with: which store, which segment, which format, the length that redb
//! believes in, whether the file was closed, and the segment's key where it is encrypted.
//!
//! Law: two slots, a sector each, written in turn, so that a torn write leaves the other; the newer one that passes
//! its checksum counts. A page is durable when its writing returns.

use std::io;

use super::disk::DiskFile;
use crate::encryption::Wrapped;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{FORMAT, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"oncekey\n";
/// Bytes of the page.
pub(super) const BYTES: u64 = 4096;
/// Bytes of a slot: a sector, which a disk writes whole.
const SLOT_BYTES: usize = 512;
const SLOT_USED: usize = 8 + 4 + 4 + 16 + 8 + 8 + 8;
/// The format of a page that the key of its segment follows.
const ENCRYPTED: u32 = FORMAT + 1;

/// Which file this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    pub(crate) segment: u64,
}

/// What the page says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The length that redb believes in.
    pub(super) logical: u64,
    /// Nothing was written since redb closed the file.
    pub(super) closed: bool,
    /// Counts writes of the page.
    turn: u64,
    /// The segment's key, encrypted under the caller's.
    pub(super) key: Option<Wrapped>,
}

impl Page {
    /// The page of a new segment, and its key if it is encrypted.
    pub(super) fn with(key: Option<Wrapped>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Reads the page of a segment file.
    ///
    /// # Errors
    /// *Damaged store*, *newer format*, *not a store* (a segment of another one).
    pub(super) fn read(file: &dyn DiskFile, identity: Identity) -> Result<Self> {
        let damaged =
            || Error::from(ErrorKind::DamagedStore { file: format!("segment {}", identity.segment) });
        let mut page = [0; 2 * SLOT_BYTES];
        file.read(0, &mut page).map_err(|_| damaged())?;
        let sound = page.chunks_exact(SLOT_BYTES).filter(|slot| {
            let (used, checksum) = slot.split_at(used_bytes(u32_at(slot, 8)));
            slot.starts_with(MAGIC) && checksum[..8] == blake3::hash(used).as_bytes()[..8]
        });
        let newest = sound.max_by_key(|slot| u64_at(slot, SLOT_USED - 8)).ok_or_else(damaged)?;
        let format = u32_at(newest, 8);
        if format > ENCRYPTED {
            return Err(ErrorKind::NewerFormat { found: format, supported: ENCRYPTED }.into());
        }
        if newest[16..32] != identity.store || u64_at(newest, 32) != identity.segment {
            let why = "a segment of another store lies among this store's files";
            return Err(ErrorKind::NotAStore(why).into());
        }
        let (logical, turn) = (u64_at(newest, SLOT_USED - 16), u64_at(newest, SLOT_USED - 8));
        let key = newest[SLOT_USED..used_bytes(format)].try_into().ok();
        Ok(Self { logical, closed: u32_at(newest, 12) == 1, turn, key })
    }

    /// Writes magic, format, whether it was closed, store, segment, redb's length, turn, the key if there is one, checksum;
    /// then syncs.
    pub(super) fn write(&mut self, file: &dyn DiskFile, identity: Identity) -> io::Result<()> {
        self.turn += 1;
        let format = if self.key.is_some() { ENCRYPTED } else { FORMAT };
        let mut slot = Vec::with_capacity(used_bytes(format) + 8);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&format.to_le_bytes());
        slot.extend_from_slice(&u32::from(self.closed).to_le_bytes());
        slot.extend_from_slice(&identity.store);
        slot.extend_from_slice(&identity.segment.to_le_bytes());
        slot.extend_from_slice(&self.logical.to_le_bytes());
        slot.extend_from_slice(&self.turn.to_le_bytes());
        slot.extend_from_slice(self.key.as_ref().map_or(&[], Wrapped::as_slice));
        let checksum = blake3::hash(&slot);
        slot.extend_from_slice(&checksum.as_bytes()[..8]);
        file.write(self.turn % 2 * SLOT_BYTES as u64, &slot)?;
        file.sync()
    }
}

/// Bytes of a slot in front of its checksum.
fn used_bytes(format: u32) -> usize {
    if format == ENCRYPTED { SLOT_USED + size_of::<Wrapped>() } else { SLOT_USED }
}

/// Overwrites the page if a key stands in it, and syncs: what the disk still has of the segment's records is noise from then
/// on.
pub(super) fn shred(file: &dyn DiskFile) -> io::Result<()> {
    let mut page = [0; 2 * SLOT_BYTES];
    let length = usize::try_from(file.len()?).map_or(page.len(), |length| length.min(page.len()));
    file.read(0, &mut page[..length])?;
    if page.chunks_exact(SLOT_BYTES).all(|slot| u32_at(slot, 8) != ENCRYPTED) {
        return Ok(());
    }
    file.write(0, &[0; 2 * SLOT_BYTES])?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Disk, Memory};
    use super::*;
    use std::sync::Arc;

    const IDENTITY: Identity = Identity { store: [4; 16], segment: 2 };

    fn written(pages: &[u64]) -> Arc<dyn DiskFile> {
        let file = Memory::default().create("segment").unwrap();
        file.write(0, &[0; 4096]).unwrap();
        let mut page = Page::default();
        for logical in pages {
            page.logical = *logical;
            page.write(&*file, IDENTITY).unwrap();
        }
        file
    }

    #[test]
    fn a_torn_write_of_the_page_leaves_the_length_before_it_5_7() {
        let file = written(&[111, 222]);
        assert_eq!(Page::read(&*file, IDENTITY).unwrap(), Page { logical: 222, turn: 2, ..Page::default() });
        file.write(20, b"torn").unwrap();
        assert_eq!(Page::read(&*file, IDENTITY).unwrap().logical, 111);
        file.write(SLOT_BYTES as u64 + 20, b"torn").unwrap();
        assert!(Page::read(&*file, IDENTITY).is_err());
    }

    #[test]
    fn the_key_of_a_segment_stands_in_both_slots_until_the_page_is_shredded() {
        let file = Memory::default().create("segment").unwrap();
        file.write(0, &[0; 4096]).unwrap();
        let mut page = Page { key: Some([7; 48]), ..Page::default() };
        for _ in 0..2 {
            page.write(&*file, IDENTITY).unwrap();
            assert_eq!(Page::read(&*file, IDENTITY).unwrap(), page);
        }
        file.write(SLOT_USED as u64 + 3, b"torn").unwrap();
        assert_eq!(Page::read(&*file, IDENTITY).unwrap().key, Some([7; 48]), "the other slot has it too");
        shred(&*file).unwrap();
        assert!(Page::read(&*file, IDENTITY).is_err());
        let mut bytes = [1; 4096];
        file.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4096]);
    }

    #[test]
    fn what_has_no_key_is_not_overwritten() {
        let file = written(&[111, 222]);
        let before = Page::read(&*file, IDENTITY).unwrap();
        shred(&*file).unwrap();
        assert_eq!(Page::read(&*file, IDENTITY).unwrap(), before);
        for length in [0, 10] {
            let file = Memory::default().create("segment").unwrap();
            file.write(0, &[2; 10][..length]).unwrap();
            shred(&*file).unwrap();
            assert_eq!(file.len().unwrap(), length as u64);
        }
    }

    #[test]
    fn both_formats_of_the_page_are_pinned() {
        let of = |key| {
            let file = Memory::default().create("segment").unwrap();
            file.write(0, &[0; 4096]).unwrap();
            Page { logical: 5, ..Page::with(key) }.write(&*file, IDENTITY).unwrap();
            let mut bytes = [0; 4096];
            file.read(0, &mut bytes).unwrap();
            blake3::hash(&bytes).to_hex()[..16].to_owned()
        };
        assert_eq!(
            (of(None), of(Some([7; 48]))),
            ("6cceacae3721d787".to_owned(), "dabf7f37abc54587".to_owned())
        );
    }

    #[test]
    fn a_segment_of_another_store_is_refused_5_6() {
        let file = written(&[111]);
        let other = Identity { store: [5; 16], ..IDENTITY };
        let error = Page::read(&*file, other).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotAStore(_)));
    }
}
