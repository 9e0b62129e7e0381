//! The stripes: one lock each over a share of the keys: of what is in flight, of where records are, of recent outcomes.
//!
//! Law: a stripe's lock is held for a few memory accesses, never across a disk call or caller's code. Each
//! stands on cache lines of its own. The stripe is chosen by the top bits of a key's keyed fingerprint, the next
//! 32 bits are its fingerprint in the index.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::inflight::{Recent, Slots};
use crate::ledger::{Catalogue, Index, What};
use crate::record::{Location, Weight};
use crate::sync::{CachePadded, Mutex, MutexGuard};
use crate::token::Key;

use super::quota::Quota;

/// One lock and its share of the keys.
pub(super) struct Stripe {
    pub(super) slots: Slots,
    pub(super) index: Index,
    pub(super) recent: Recent,
    /// The last fence given: the epoch, and a counter within it. Never used twice for a key (contract 4.4).
    pub(super) fence: u64,
    /// Reservations given, counted here since the lock is held anyway.
    pub(super) fresh: u64,
}

impl Stripe {
    fn new(recent_bytes_max: usize) -> Self {
        let (slots, index, recent) = (Slots::default(), Index::default(), Recent::within(recent_bytes_max));
        Self { slots, index, recent, fence: 0, fresh: 0 }
    }

    pub(super) fn next_fence(&mut self) -> u64 {
        self.fence += 1;
        self.fence
    }
}

/// All stripes, and what they hold counted together.
pub(super) struct Stripes {
    all: Box<[CachePadded<Mutex<Stripe>>]>,
    bits: u32,
    pub(super) quota: Quota,
    /// Where started records stand: operations that run or were interrupted (contract 5.4).
    pub(super) started: Started,
}

/// The places of started records. Counted apart, so that a store without durable reservations never locks it.
#[derive(Default)]
pub(super) struct Started {
    count: AtomicUsize,
    places: Mutex<BTreeSet<Location>>,
}

impl Started {
    /// Up to `count` places behind this one.
    pub(super) fn after(&self, last: Option<Location>, count: usize) -> Vec<Location> {
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.lock().range((behind, Bound::Unbounded)).take(count).copied().collect()
    }

    /// How many of these places are among them.
    pub(super) fn count_of(&self, places: &[(Location, Weight)]) -> usize {
        if self.len() == 0 || places.is_empty() {
            return 0;
        }
        let own = self.places.lock();
        places.iter().filter(|(at, _)| own.contains(at)).count()
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn clear(&self) {
        self.change(BTreeSet::clear);
    }

    pub(super) fn insert(&self, at: Location) {
        self.change(|places| places.insert(at));
    }

    /// Whether it was there.
    fn remove(&self, at: Location) -> bool {
        self.len() > 0 && self.change(|places| places.remove(&at))
    }

    fn change<T>(&self, with: impl FnOnce(&mut BTreeSet<Location>) -> T) -> T {
        let mut places = self.places.lock();
        let done = with(&mut places);
        self.count.store(places.len(), Ordering::Release);
        done
    }
}

impl Stripes {
    /// `count` stripes, a power of two, which hold so many bytes of recent outcomes in all.
    pub(super) fn new(count: usize, recent_bytes_max: u64, quota: Quota) -> Self {
        let share = usize::try_from(recent_bytes_max).unwrap_or(usize::MAX) / count;
        let all = (0..count).map(|_| CachePadded::new(Mutex::new(Stripe::new(share)))).collect();
        Self { all, bits: count.trailing_zeros(), quota, started: Started::default() }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits are left")]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        let number = hash.checked_shr(64 - self.bits).unwrap_or(0);
        self.all[number as usize].lock()
    }

    /// The 32 bits below those that chose the stripe.
    #[inline]
    pub(super) fn fingerprint(&self, hash: u64) -> u32 {
        (hash << self.bits >> 32) as u32
    }

    /// What was read at these places, of this key, is what its slot replaces; `false` if the index has moved on since.
    pub(super) fn replaced(
        &self,
        hash: u64,
        key: &Key,
        places: &[Location],
        replaces: Vec<(Location, Weight)>,
    ) -> bool {
        let mut stripe = self.lock(hash);
        let still = stripe.index.find(self.fingerprint(hash)).eq(places.iter().copied());
        if let (true, Some(slot)) = (still, stripe.slots.find(hash, key)) {
            slot.replaces = replaces;
        }
        still
    }

    /// How many stripes there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn nth(&self, number: usize) -> MutexGuard<'_, Stripe> {
        self.all[number].lock()
    }

    /// Every stripe in turn.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Stripe>> {
        self.all.iter().map(|stripe| stripe.lock())
    }
}

impl Catalogue for Stripes {
    fn reserve(&self, more: usize) {
        self.each().for_each(|mut stripe| stripe.index.reserve(more >> self.bits));
    }

    fn find(&self, hash: u64) -> Vec<Location> {
        self.lock(hash).index.find(self.fingerprint(hash)).collect()
    }

    fn started(&self) -> Vec<Location> {
        self.started.after(None, usize::MAX)
    }

    fn insert(&self, hash: u64, at: Location, what: What, weight: Weight) {
        self.lock(hash).index.insert(self.fingerprint(hash), at);
        self.quota.keep(weight);
        if what == What::Started {
            self.started.insert(at);
        }
    }

    fn carry(&self, hash: u64, from: Location, to: Location) {
        let mut stripe = self.lock(hash);
        let fingerprint = self.fingerprint(hash);
        if !stripe.index.remove(fingerprint, from) {
            return;
        }
        stripe.index.insert(fingerprint, to);
        stripe.slots.carry(hash, from, to);
        drop(stripe);
        if self.started.remove(from) {
            self.started.insert(to);
        }
    }

    fn remove(&self, hash: u64, at: Location, weight: Weight) -> bool {
        let removed = self.lock(hash).index.remove(self.fingerprint(hash), at);
        if removed {
            self.quota.let_go(weight);
            self.started.remove(at);
        }
        removed
    }

    #[cfg(feature = "redb-transactions")]
    fn kept(&self) -> (u64, u64) {
        (self.quota.kept_records(), self.quota.kept_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Builder;

    #[test]
    fn stripes_stand_on_cache_lines_of_their_own() {
        assert!(align_of::<CachePadded<Mutex<Stripe>>>() >= 64);
    }

    #[test]
    fn one_stripe_and_many_find_the_same() {
        for count in [1, 2, 256, 65_536] {
            let stripes = Stripes::new(count, 0, Quota::new(&Builder::default()));
            for hash in [0, 1, u64::MAX, 0x8000_0000_0000_0000, 0x1234_5678_9abc_def0] {
                let at = Location::new(7, 7);
                stripes.insert(hash, at, What::Kept, Weight::default());
                assert_eq!(stripes.find(hash), [at]);
                assert!(stripes.remove(hash, at, Weight::default()));
                assert!(stripes.find(hash).is_empty());
            }
        }
    }
}
