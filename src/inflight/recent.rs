//! What was just replayed, by key: one retry is seldom the last one, and the next one reads no disk. What was completed
//! and never asked for again is not remembered: most is, and it would cost the writer a third of its time.
//!
//! Law: a copy, which decides nothing. It stands for the record at one place, and whoever looks names the place: the
//! only one that the index has for the key. So nothing that was forgotten, superseded or carried elsewhere is answered from
//! here, and who asks still compares the digest and looks at the time. Bounded in bytes: when it is full, what was read
//! once is not remembered yet, and what is read twice in a while drives the oldest out, but for those that were
//! asked for meanwhile: they get another round (*second chance*). So a walk through old records costs no more than their
//! reading, and drives nothing out. A plain structure: the stripe's lock is around it.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::Ended;
use crate::outcome::{Kept, Replay};
use crate::record::Location;
use crate::token::Key;

/// What an entry takes beside its key and outcome, with what tables and allocations take for themselves.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Kept>() + 64;

/// An outcome, and whose it is.
struct Entry {
    hash: u64,
    at: Location,
    /// It was asked for since it was put where it stands.
    asked: bool,
    bytes: usize,
    key: Key,
    ended: Ended,
}

/// What was read of late and not remembered, by a bit of its hash; hashes are keyed, so nobody chooses to share one. Beside
/// the bytes that are counted: 256 of a stripe.
#[derive(Default)]
struct Doors {
    /// None until something does not fit any more.
    bits: Option<Box<[u64; Self::WORDS]>>,
    passed: u32,
}

impl Doors {
    const WORDS: usize = 32;
    /// So many after which all are forgotten: an eighth of the bits.
    const WHILE: u32 = 256;

    /// Whether it was here a while ago; from now on it was.
    fn has_seen(&mut self, hash: u64) -> bool {
        let bits = self.bits.get_or_insert_default();
        if self.passed == Self::WHILE {
            (self.passed, **bits) = (0, [0; Self::WORDS]);
        }
        self.passed += 1;
        let place = usize::try_from(hash % (64 * Self::WORDS as u64)).expect("it is small");
        let (word, bit) = (&mut bits[place / 64], 1 << (place % 64));
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }
}

/// Where the entry of this number stands.
fn place(number: u64, first: u64) -> usize {
    usize::try_from(number - first).expect("there are fewer entries than bytes of memory")
}

/// A stripe's share of them.
pub(crate) struct Recent {
    /// Numbers of entries, by hash.
    table: HashTable<u64>,
    /// In the order of their numbers, the next one to be taken first.
    entries: VecDeque<Entry>,
    /// Number of the first one.
    first: u64,
    bytes: usize,
    bytes_max: usize,
    hits: u64,
    doors: Doors,
}

impl Recent {
    /// Holds at most so many bytes.
    pub(crate) fn within(bytes_max: usize) -> Self {
        let (table, entries, doors) = (HashTable::new(), VecDeque::new(), Doors::default());
        Self { table, entries, first: 0, bytes: 0, bytes_max, hits: 0, doors }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often it answered.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    /// The outcome of this key's record at `at`, if `counts` lets it count.
    #[inline]
    pub(crate) fn find(
        &mut self,
        hash: u64,
        key: &Key,
        at: Location,
        counts: impl FnOnce(&Ended) -> bool,
    ) -> Option<&Replay> {
        let place = self.place(hash, key)?;
        let entry = self.entries.get_mut(place).filter(|own| own.at == at && counts(&own.ended))?;
        entry.asked = true;
        self.hits += 1;
        Some(&entry.ended.replay)
    }

    /// Remembers what the record at `at` says, in place of what was known of its key.
    pub(crate) fn insert(&mut self, hash: u64, key: &Key, at: Location, ended: Ended) {
        let bytes = ENTRY_BYTES + key.as_framed().len() + ended.replay.outcome().held_bytes();
        if bytes > self.bytes_max {
            return;
        }
        let known = self.place(hash, key);
        if known.is_none() && self.bytes + bytes > self.bytes_max && !self.doors.has_seen(hash) {
            return;
        }
        self.bytes += bytes;
        if let Some(place) = known {
            let own = &mut self.entries[place];
            let before = std::mem::replace(&mut own.bytes, bytes);
            (own.at, own.ended) = (at, ended);
            self.bytes -= before;
        } else {
            self.push(Entry { hash, at, asked: false, bytes, key: key.clone(), ended });
        }
        while self.bytes > self.bytes_max {
            self.take_one();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { hits: self.hits, ..Self::within(self.bytes_max) };
    }

    /// Where the key's entry stands.
    #[inline]
    fn place(&self, hash: u64, key: &Key) -> Option<usize> {
        let own = |number: &u64| {
            let entry = &self.entries[place(*number, self.first)];
            entry.hash == hash && entry.key == *key
        };
        self.table.find(hash, own).map(|number| place(*number, self.first))
    }

    /// Takes the first one; one that was asked for is put behind the others instead.
    fn take_one(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        if let Ok(found) = self.table.find_entry(entry.hash, |own| *own == number) {
            found.remove();
        }
        if entry.asked {
            self.push(Entry { asked: false, ..entry });
        } else {
            self.bytes -= entry.bytes;
        }
    }

    fn push(&mut self, entry: Entry) {
        let Self { table, entries, first, .. } = self;
        let (hash, number) = (entry.hash, *first + entries.len() as u64);
        entries.push_back(entry);
        table.insert_unique(hash, number, |own| entries[place(*own, *first)].hash);
    }

    /// Recounts from scratch that the law holds.
    #[cfg(test)]
    fn validate(&self) {
        assert!(self.bytes <= self.bytes_max);
        assert_eq!(self.bytes, self.entries.iter().map(|own| own.bytes).sum::<usize>());
        assert_eq!(self.table.len(), self.entries.len());
        for (number, entry) in (self.first..).zip(&self.entries) {
            assert!(self.table.find(entry.hash, |own| *own == number).is_some());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::outcome::Outcome;
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(number: u64) -> Key {
        Key::new("scope", format!("{number:03}")).unwrap()
    }

    pub(crate) fn ended(body: &[u8]) -> Ended {
        let (completed, expires) = (Timestamp::default(), Timestamp::MAX);
        let outcome = Outcome::new(body);
        let kept = Kept { outcome, omitted: None, completed, expires, attempts: 1, format: 0 };
        Ended { digest: Digest::from_bytes([0; Digest::BYTES]), replay: kept.into() }
    }

    fn read_twice(recent: &mut Recent, number: u64) {
        for _ in 0..2 {
            recent.insert(number % 7, &key(number), Location::from_u64(number), ended(&[1; 100]));
        }
    }

    fn body(recent: &mut Recent, number: u64, at: u64) -> Option<Vec<u8>> {
        let found = recent.find(number % 7, &key(number), Location::from_u64(at), |_| true)?;
        Some(found.outcome().body().to_vec())
    }

    #[test]
    fn an_entry_counts_for_what_it_takes_and_little_more_8_3() {
        // With the counts of two allocations, and a share of a table that is not full.
        let least = size_of::<Entry>() + size_of::<Kept>() + 4 * size_of::<usize>();
        assert!((least..=least + 64).contains(&ENTRY_BYTES), "{ENTRY_BYTES} of {least}");
    }

    #[test]
    fn the_oldest_goes_first_and_what_is_asked_for_stays() {
        let room = 20 * (ENTRY_BYTES + 11 + 100);
        let mut recent = Recent::within(room);
        for number in 0..200 {
            read_twice(&mut recent, number);
            assert!(body(&mut recent, 0, 0).is_some(), "{number}");
            recent.validate();
        }
        let held: Vec<u64> = (0..200).filter(|own| body(&mut recent, *own, *own).is_some()).collect();
        assert_eq!(held, [0].into_iter().chain(181..200).collect::<Vec<_>>());
    }

    #[test]
    fn once_it_is_full_what_is_read_once_drives_nothing_out_and_what_is_read_twice_does() {
        let mut recent = Recent::within(3 * (ENTRY_BYTES + 11 + 100));
        let read = |recent: &mut Recent, number: u64| {
            let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            recent.insert(hash, &key(number), Location::from_u64(number), ended(&[1; 100]));
            recent.validate();
            recent.place(hash, &key(number)).is_some()
        };
        assert!((0..3).all(|number| read(&mut recent, number)), "there is room");
        assert!(!read(&mut recent, 3));
        assert!(read(&mut recent, 3), "the second time");
        // What stands there is renewed at once.
        let (hash, elsewhere) = (3u64.wrapping_mul(0x9E37_79B9_7F4A_7C15), Location::from_u64(1000));
        recent.insert(hash, &key(3), elsewhere, ended(&[2; 100]));
        assert!(recent.find(hash, &key(3), elsewhere, |_| true).is_some());
        // So many others that the first time is forgotten.
        assert!(!read(&mut recent, 100));
        let others = (101..101 + u64::from(Doors::WHILE)).filter(|number| read(&mut recent, *number)).count();
        assert!(others < 40, "{others} shared their bit with another");
        assert!(!read(&mut recent, 100));
        assert!(read(&mut recent, 100));
    }

    #[test]
    fn what_is_larger_than_all_of_it_is_not_held_8_2() {
        let mut recent = Recent::within(ENTRY_BYTES + 200);
        recent.insert(1, &key(1), Location::from_u64(1), ended(&[1; 100]));
        recent.insert(2, &key(2), Location::from_u64(2), ended(&[1; 1000]));
        assert_eq!((body(&mut recent, 1, 1).is_some(), body(&mut recent, 2, 2)), (true, None));
        recent.clear();
        assert_eq!((recent.bytes(), body(&mut recent, 1, 1)), (0, None));
    }

    #[test]
    fn what_fits_exactly_is_held_and_one_byte_less_is_too_little_8_1() {
        let mut recent = Recent::within(usize::MAX);
        recent.insert(1, &key(1), Location::from_u64(1), ended(&[1; 100]));
        let bytes = recent.bytes();
        for (room, held) in [(bytes, true), (bytes - 1, false)] {
            let mut recent = Recent::within(room);
            recent.insert(1, &key(1), Location::from_u64(1), ended(&[1; 100]));
            assert_eq!(body(&mut recent, 1, 1).is_some(), held);
        }
    }

    #[test]
    fn one_that_was_asked_for_gets_one_more_round_and_not_another() {
        let mut recent = Recent::within(3 * (ENTRY_BYTES + 11 + 100));
        (0..3).for_each(|number| read_twice(&mut recent, number));
        assert!(body(&mut recent, 0, 0).is_some());
        (3..7).for_each(|number| read_twice(&mut recent, number));
        assert_eq!((body(&mut recent, 0, 0), recent.hits()), (None, 1));
        let held = (0..7).filter(|own| body(&mut recent, *own, *own).is_some());
        assert_eq!(held.collect::<Vec<_>>(), [4, 5, 6]);
        recent.clear();
        assert_eq!((recent.bytes(), recent.hits()), (0, 4), "what it answered stays counted");
    }

    proptest! {
        #[test]
        fn it_gives_what_was_last_put_at_this_very_place_or_nothing(
            ops in proptest::collection::vec((0u64..30, 0u64..3, 0usize..400, any::<bool>()), 0..300)
        ) {
            let (mut recent, mut model) = (Recent::within(ENTRY_BYTES * 8 + 2000), BTreeMap::new());
            for (number, at, length, insert) in ops {
                if insert {
                    let body = vec![u8::try_from(length % 251).unwrap(); length];
                    recent.insert(number % 7, &key(number), Location::from_u64(at), ended(&body));
                    model.insert(number, (at, body));
                } else if let Some(found) = body(&mut recent, number, at) {
                    prop_assert_eq!(Some(&(at, found)), model.get(&number));
                }
                recent.validate();
            }
        }
    }
}
