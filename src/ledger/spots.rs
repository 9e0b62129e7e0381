//! Where blocks lie in a segment file, as seen in what redb writes there and reads.
//!
//! Law: a hint and no more. What stands at a spot counts only if it passes the record's own checksum, which is keyed and
//! over its place, so it is the very record wherever it was found; redb may have moved the block since, and is asked
//! where it does not pass. So one record of a block of many is read without the block. Small blocks are not noted: redb
//! reads little more than them. Blocks that follow each other are noted together, so that finding one of many waits for
//! memory once; what is noted stays under a hundredth of the file, and under a twentieth of one that was made to be
//! hard to note.
//!
//! Of a commit that a power cut took, blocks may lie in the file whose numbers are given again, and redb looks at them when it
//! repairs: what is known of a number is forgotten before a block is written under it.

use std::collections::BTreeMap;

use super::block;
use crate::sync::beneath::RwLock;

/// Blocks in smaller pages are not noted.
const PAGE_BYTES_MIN: usize = 8 << 10;

/// Blocks that are noted together.
const TOGETHER: usize = 16;

/// Where a block lies; nowhere, if it has no length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    /// Its first byte, counted as redb counts.
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// The spots of one file, by number; none any more once they were closed.
#[derive(Debug)]
pub(super) struct Spots(RwLock<Option<BTreeMap<u64, Box<[Spot; TOGETHER]>>>>);

impl Default for Spots {
    fn default() -> Self {
        Self(RwLock::new(Some(BTreeMap::new())))
    }
}

impl Spots {
    pub(super) fn of(&self, block: u64) -> Option<Spot> {
        let (group, nth) = place(block);
        self.0.read().as_ref()?.get(&group).map(|own| own[nth]).filter(|own| own.length > 0)
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
            let (group, nth) = place(number);
            own.entry(group).or_default()[nth] = Spot { offset, length };
        }
    }

    /// Forgets the blocks from this one on.
    pub(super) fn forget_from(&self, block: u64) {
        if let Some(own) = self.0.write().as_mut() {
            let (group, nth) = place(block);
            if let Some(mut spots) = own.split_off(&group).remove(&group).filter(|_| nth > 0) {
                spots[nth..].fill(Spot::default());
                own.insert(group, spots);
            }
        }
    }

    /// Forgets all, for good.
    pub(super) fn close(&self) {
        *self.0.write() = None;
    }
}

/// The group that a block is noted with, and its place there.
fn place(block: u64) -> (u64, usize) {
    let nth = block % TOGETHER as u64;
    (block - nth, usize::try_from(nth).expect("it is small"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::block::{Item, encode};
    use crate::record::{HashKeys, control};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn page(bytes: usize) -> Vec<u8> {
        page_of(9, bytes)
    }

    fn page_of(number: u64, bytes: usize) -> Vec<u8> {
        let (keys, now, record) = (HashKeys::derive(&[1; 32]), Timestamp::default(), control(&[7; 4000]));
        let items = [Item { hash: 1, bytes: &record }];
        let block = encode(number, now, now, &items, (&keys).into(), &mut Vec::new());
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

    proptest! {
        #[test]
        fn what_is_noted_is_found_until_it_is_forgotten(
            ops in proptest::collection::vec((0u64..80, 0u64..100, any::<bool>()), 0..200)
        ) {
            let (spots, mut model) = (Spots::default(), BTreeMap::new());
            for (number, offset, is_noted) in ops {
                if is_noted {
                    let own = page_of(number, PAGE_BYTES_MIN);
                    spots.note(offset, &own);
                    model.insert(number, offset + 16);
                } else {
                    spots.forget_from(number);
                    model.split_off(&number);
                }
                for number in 0..80 {
                    prop_assert_eq!(spots.of(number).map(|own| own.offset), model.get(&number).copied());
                }
            }
        }
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
