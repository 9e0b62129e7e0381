//! Where every kept record is: a table in memory, one per stripe.
//!
//! Law: an entry is 12 bytes, 32 bits of a keyed fingerprint and a [`Location`]. The table is ordered: entries
//! stand by rising fingerprint, each at or behind its home (fingerprint × slots / 2³²), with no gap between
//! the home and the entry. So a search ends at the first larger fingerprint or gap, and growing is one
//! pass in order. Slots need not be a power of two: the table grows by a quarter and shrinks again, and holds at
//! most 17 bytes for each entry at any size worth counting. A fingerprint only says where to look: whoever finds
//! a location reads the record and compares the whole key (contract 1.3).
//!
//! Absent on purpose: expiry (the record has it), keys (the record has them), a lock (the stripe has it).

use crate::record::Location;

/// Filled at most this far, in 1/100.
const FULL_PERCENT: usize = 88;
/// Shrunk when filled less than this, in 1/100.
const SPARSE_PERCENT: usize = 40;
/// After growing or shrinking, filled this far, in 1/100.
const FRESH_PERCENT: usize = 71;
/// Slots behind the last home, for entries that are pushed on.
const TAIL: usize = 32;

/// An entry, or a gap where the location is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    fingerprint: u32,
    location: [u32; 2],
}

impl Slot {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
    fn new(fingerprint: u32, at: Location) -> Self {
        let bits = at.as_u64();
        Self { fingerprint, location: [bits as u32, (bits >> 32) as u32] }
    }

    fn at(self) -> Location {
        Location::from_u64(u64::from(self.location[0]) | u64::from(self.location[1]) << 32)
    }

    fn is_gap(self) -> bool {
        self.location == [0, 0]
    }
}

/// A stripe's share of the index.
#[derive(Default)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    homes: usize,
    len: usize,
}

impl Index {
    /// Entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Where records with this fingerprint are.
    pub(crate) fn find(&self, fingerprint: u32) -> impl Iterator<Item = Location> + '_ {
        let from = self.seek(fingerprint);
        self.slots[from..]
            .iter()
            .take_while(move |slot| !slot.is_gap() && slot.fingerprint == fingerprint)
            .map(|slot| slot.at())
    }

    /// Adds an entry. Equal fingerprints may stand beside each other.
    pub(crate) fn insert(&mut self, fingerprint: u32, at: Location) {
        if (self.len + 1) * 100 > self.homes * FULL_PERCENT {
            self.resize();
        }
        while !self.place(Slot::new(fingerprint, at)) {
            self.resize();
        }
        self.len += 1;
    }

    /// Removes the entry at `at`; whether it was there.
    pub(crate) fn remove(&mut self, fingerprint: u32, at: Location) -> bool {
        let from = self.seek(fingerprint);
        let found = self.slots[from..]
            .iter()
            .take_while(|slot| !slot.is_gap() && slot.fingerprint == fingerprint)
            .position(|slot| slot.at() == at);
        let Some(offset) = found else { return false };
        self.close_gap(from + offset);
        self.len -= 1;
        if self.len * 100 < self.homes * SPARSE_PERCENT {
            self.resize();
        }
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first slot that could hold the fingerprint: the first gap or fingerprint not below it.
    fn seek(&self, fingerprint: u32) -> usize {
        let home = home(fingerprint, self.homes);
        let below = |slot: &&Slot| !slot.is_gap() && slot.fingerprint < fingerprint;
        home + self.slots[home..].iter().take_while(below).count()
    }

    /// Puts an entry in its order, pushing later ones on; `false` where the tail has no gap left.
    fn place(&mut self, entry: Slot) -> bool {
        let at = self.seek(entry.fingerprint);
        let Some(run) = self.slots[at..].iter().position(|slot| slot.is_gap()) else { return false };
        self.slots.copy_within(at..at + run, at + 1);
        self.slots[at] = entry;
        true
    }

    /// Pulls back the entries behind a removed one that do not stand at their home.
    fn close_gap(&mut self, at: usize) {
        let homes = self.homes;
        let displaced = self.slots[at + 1..]
            .iter()
            .enumerate()
            .take_while(|(offset, slot)| !slot.is_gap() && home(slot.fingerprint, homes) < at + 1 + offset)
            .count();
        self.slots.copy_within(at + 1..=at + displaced, at);
        self.slots[at + displaced] = Slot::default();
    }

    /// Makes a table that fits the entries, with room to grow, and moves them in order.
    #[cold]
    fn resize(&mut self) {
        let grown = if self.len * 100 < self.homes * SPARSE_PERCENT { 0 } else { self.homes + 1 };
        self.rebuild((self.len * 100 / FRESH_PERCENT + 1).max(grown));
    }

    /// Makes room for so many more entries at once.
    pub(crate) fn reserve(&mut self, more: usize) {
        let homes = (self.len + more) * 100 / FRESH_PERCENT + 1;
        if homes > self.homes {
            self.rebuild(homes);
        }
    }

    fn rebuild(&mut self, homes: usize) {
        self.homes = homes;
        let mut slots = Vec::new();
        slots.reserve_exact(self.homes + TAIL);
        slots.resize(self.homes + TAIL, Slot::default());
        let mut next = 0;
        for slot in self.slots.iter().filter(|slot| !slot.is_gap()) {
            next = home(slot.fingerprint, self.homes).max(next);
            if next >= slots.len() {
                slots.push(Slot::default());
            }
            slots[next] = *slot;
            next += 1;
        }
        slots.resize(slots.len().max(next + TAIL / 2), Slot::default());
        self.slots = slots;
    }

    /// Recounts from scratch that the law holds.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn validate(&self) {
        let mut count = 0;
        let mut last = 0;
        for (at, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_gap()) {
            let home = home(slot.fingerprint, self.homes);
            assert!(home <= at && slot.fingerprint >= last, "in order, at or behind its home");
            assert!(self.slots[home..at].iter().all(|slot| !slot.is_gap()), "no gap before an entry");
            last = slot.fingerprint;
            count += 1;
        }
        assert_eq!(count, self.len);
    }
}

fn home(fingerprint: u32, homes: usize) -> usize {
    ((u64::from(fingerprint) * homes as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spread(i: u64) -> u32 {
        (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    #[test]
    fn a_kept_record_costs_at_most_20_bytes_at_any_size_and_24_are_promised() {
        let mut index = Index::default();
        let mut worst = 0;
        for i in 1..=200_000_u64 {
            index.insert(spread(i), Location::from_u64(i));
            if i >= 4096 {
                worst = worst.max(index.bytes() as u64 * 100 / i);
            }
        }
        index.validate();
        assert!(worst <= 2000, "{worst} hundredths of a byte per record at the worst moment");
    }

    #[test]
    fn a_table_with_room_takes_rising_fingerprints_without_growing() {
        let mut fingerprints: Vec<u32> = (1..=4000).map(spread).collect();
        fingerprints.sort_unstable();
        let mut index = Index::default();
        index.reserve(4000);
        let bytes = index.bytes();
        (1..).zip(&fingerprints).for_each(|(at, own)| index.insert(*own, Location::from_u64(at)));
        index.validate();
        assert_eq!(index.bytes(), bytes);
        assert!((4000 * 12..=4000 * 17 + TAIL * size_of::<Slot>()).contains(&bytes));
        assert_eq!(index.homes, 4000 * 100 / 71 + 1);
    }

    #[test]
    fn an_entry_is_removed_only_under_its_own_fingerprint() {
        let mut index = Index::default();
        (1..=3).for_each(|at| index.insert(7 + u32::try_from(at).unwrap(), Location::from_u64(at)));
        assert!(!index.remove(8, Location::from_u64(2)) && !index.remove(7, Location::from_u64(1)));
        assert_eq!(index.len(), 3);
        assert!(index.remove(8, Location::from_u64(1)));
    }

    #[test]
    fn a_table_gives_memory_back_when_its_entries_go() {
        let mut index = Index::default();
        (1..=50_000).for_each(|i| index.insert(spread(i), Location::from_u64(i)));
        let full = index.bytes();
        (1..=50_000).for_each(|i| assert!(index.remove(spread(i), Location::from_u64(i))));
        index.validate();
        assert!(index.len() == 0 && index.bytes() * 20 < full);
    }

    /// A table of so many homes with these entries.
    fn table(homes: usize, fingerprints: impl IntoIterator<Item = u32>) -> Index {
        let mut index = Index::default();
        index.rebuild(homes);
        (1..).zip(fingerprints).for_each(|(at, own)| index.insert(own, Location::from_u64(at)));
        index.validate();
        index
    }

    #[test]
    fn a_table_grows_when_it_is_filled_and_shrinks_when_it_is_sparse_and_not_before() {
        let spread = |at| at * (u32::MAX / 100);
        let mut index = table(100, (0..88).map(spread));
        assert_eq!((index.homes, index.slots.len()), (100, 100 + TAIL));
        assert_eq!(index.bytes(), index.slots.capacity() * 12);
        index.insert(spread(88), Location::from_u64(100));
        assert!(index.homes > 100);

        let mut index = table(100, (0..41).map(spread));
        assert!(index.remove(0, Location::from_u64(1)));
        assert_eq!(index.homes, 100);
        assert!(index.remove(spread(1), Location::from_u64(2)));
        assert_eq!((index.homes, index.slots.len()), (39 * 100 / 71 + 1, 39 * 100 / 71 + 1 + TAIL));
        index.clear();
        assert_eq!((index.len(), index.bytes(), index.find(spread(5)).count()), (0, 0, 0));
    }

    #[test]
    fn a_table_whose_last_slots_are_taken_grows_and_holds_as_many_of_one_fingerprint_as_come() {
        let mut index = table(100, (0..7).chain([u32::MAX; TAIL + 1]));
        assert_eq!(index.homes, 100);
        (8..100).for_each(|at| index.insert(u32::MAX, Location::new(1 << 40, at)));
        index.validate();
        assert_eq!((index.find(u32::MAX).count(), index.len()), (TAIL + 1 + 92, 7 + TAIL + 1 + 92));
        assert!(index.find(u32::MAX).any(|at| at == Location::new(1 << 40, 99)), "none of its bits is lost");
        let mut index = table(100, (0..7).chain([u32::MAX; TAIL + 1]));
        index.insert(u32::MAX, Location::from_u64(100));
        assert_eq!((index.homes, index.slots.len()), (101, 101 + TAIL + TAIL / 2));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_whatever_is_asked(
            ops in proptest::collection::vec((any::<bool>(), 0u32..40, 1u64..12, any::<bool>()), 0..600)
        ) {
            let mut index = Index::default();
            let mut model = BTreeSet::new();
            for (insert, fingerprint, at, high) in ops {
                let fingerprint = if high { u32::MAX - fingerprint } else { fingerprint * 3 };
                let location = Location::from_u64(at);
                if insert && model.insert((fingerprint, at)) {
                    index.insert(fingerprint, location);
                } else if !insert {
                    prop_assert_eq!(index.remove(fingerprint, location), model.remove(&(fingerprint, at)));
                }
                index.validate();
                let found: BTreeSet<u64> = index.find(fingerprint).map(Location::as_u64).collect();
                let expected: BTreeSet<u64> =
                    model.iter().filter(|(f, _)| *f == fingerprint).map(|(_, at)| *at).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
