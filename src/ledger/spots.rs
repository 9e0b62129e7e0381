//! Where blocks lie in a segment file, as seen in what redb writes there and reads.
//!
//! Law: a hint and no more. What stands at a spot counts only if it passes the record's own checksum, which is keyed and
//! over its place, so it is the very record wherever it was found; redb may have moved the block since, and is asked
//! where it does not pass. So one record of a block of many is read without the block. Small blocks are not noted: redb
//! reads little more than them, and what is noted stays under a hundredth of the file.
//!
//! Of a commit that a power cut took, blocks may lie in the file whose numbers are given again, and redb looks at them when it
//! repairs: what is known of a number is forgotten before a block is written under it.

use std::collections::BTreeMap;

use super::block;
use crate::sync::beneath::RwLock;

/// Blocks in smaller pages are not noted.
const PAGE_BYTES_MIN: usize = 8 << 10;

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Its first byte, counted as redb counts.
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// The spots of one file; none any more once they were closed.
#[derive(Debug)]
pub(super) struct Spots(RwLock<Option<BTreeMap<u64, Spot>>>);

impl Default for Spots {
    fn default() -> Self {
        Self(RwLock::new(Some(BTreeMap::new())))
    }
}

impl Spots {
    pub(super) fn of(&self, block: u64) -> Option<Spot> {
        self.0.read().as_ref()?.get(&block).copied()
    }

    /// Takes note of the block in a page that lies at `offset`.
    pub(super) fn note(&self, offset: u64, page: &[u8]) {
        if page.len() < PAGE_BYTES_MIN {
            return;
        }
        let Some((number, at, length)) = block::glimpse(page) else { return };
        if length as usize > page.len() - at {
            return;
        }
        let Some(offset) = offset.checked_add(at as u64) else { return };
        if let Some(own) = self.0.write().as_mut() {
            own.insert(number, Spot { offset, length });
        }
    }

    /// Forgets the blocks from this one on.
    pub(super) fn forget_from(&self, block: u64) {
        if let Some(own) = self.0.write().as_mut() {
            own.split_off(&block);
        }
    }

    /// Forgets all, for good.
    pub(super) fn close(&self) {
        *self.0.write() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::block::{Item, encode};
    use crate::record::{HashKeys, control};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn page(bytes: usize) -> Vec<u8> {
        let (keys, now, record) = (HashKeys::derive(&[1; 32]), Timestamp::default(), control(&[7; 4000]));
        let items = [Item { hash: 1, bytes: &record }];
        let block = encode(9, now, now, &items, (&keys).into(), &mut Vec::new());
        let mut page = vec![0; 16];
        page.extend_from_slice(&block);
        page.resize(bytes, 0);
        page
    }

    #[test]
    fn a_block_is_noted_where_it_lies_until_all_is_closed() {
        let spots = Spots::default();
        spots.note(4096, &page(PAGE_BYTES_MIN));
        assert_eq!(spots.of(9).map(|spot| spot.offset), Some(4096 + 16));
        assert!(spots.of(8).is_none());
        spots.forget_from(10);
        assert!(spots.of(9).is_some());
        spots.forget_from(9);
        assert!(spots.of(9).is_none());
        spots.close();
        spots.note(4096, &page(PAGE_BYTES_MIN));
        assert!(spots.of(9).is_none());
    }

    #[test]
    fn a_block_is_noted_if_all_of_it_stands_in_its_page_10_4() {
        let (keys, now, record) = (HashKeys::derive(&[1; 32]), Timestamp::default(), control(&[7; 9000]));
        let items = [Item { hash: 1, bytes: &record }];
        let page = [&[0; 16][..], &encode(9, now, now, &items, (&keys).into(), &mut Vec::new())].concat();
        for (length, noted) in [(page.len(), true), (page.len() - 1, false)] {
            let spots = Spots::default();
            spots.note(0, &page[..length]);
            assert_eq!(spots.of(9).is_some(), noted);
        }
    }

    #[test]
    fn small_pages_and_blocks_that_do_not_fit_theirs_are_not_noted_10_4() {
        let spots = Spots::default();
        spots.note(0, &page(PAGE_BYTES_MIN)[..PAGE_BYTES_MIN - 1]);
        let mut torn = page(PAGE_BYTES_MIN);
        torn[16 + 4..16 + 8].fill(0xff);
        spots.note(0, &torn);
        assert!(spots.of(9).is_none());
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic_10_4(start in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..150) {
            let mut page = vec![0; PAGE_BYTES_MIN];
            page[..start.len()].copy_from_slice(&start);
            page[at..at + 4].copy_from_slice(b"oKb1");
            Spots::default().note(u64::MAX - 9, &page[..]);
        }
    }
}
