//! The stripes: one lock each over a share of the keys: of what is in flight, of where records are, of recent outcomes.
//!
//! Law: a stripe's lock is held for a few memory accesses, never across a disk call or caller's code. Each
//! stands on cache lines of its own. The stripe is chosen by the top bits of a key's keyed fingerprint, the next
//! 32 bits are its fingerprint in the index.
//!
//! | a started record whose operation | stands in |
//! | --- | --- |
//! | runs | its slot, and nowhere else |
//! | was interrupted, and one that a live slot replaces | the index, and among the interrupted |

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::inflight::{Recent, Slots};
use crate::ledger::{Catalogue, Index, What};
use crate::record::{Location, Weight, share_of};
use crate::sync::{CachePadded, Mutex, MutexGuard};
use crate::token::Key;

use super::quota::{Quota, Tally};

/// One lock and its share of the keys.
pub(super) struct Stripe {
    pub(super) slots: Slots,
    pub(super) index: Index,
    pub(super) recent: Recent,
    /// The last fence given: the epoch, and a counter within it. Never used twice for a key (contract 4.4).
    pub(super) fence: u64,
    /// Reservations given, counted here since the lock is held anyway.
    pub(super) fresh: u64,
    /// Reservations released without an outcome, counted here likewise.
    pub(super) released: u64,
}

impl Stripe {
    fn new(recent_bytes_max: usize) -> Self {
        let (slots, index, recent) = (Slots::default(), Index::default(), Recent::within(recent_bytes_max));
        Self { slots, index, recent, fence: 0, fresh: 0, released: 0 }
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
    /// Where the index has started records: of operations that were interrupted (contract 5.4).
    pub(super) interrupted: Interrupted,
}

/// The places of started records whose operation does not run. Counted apart, so that a store without any never locks it.
#[derive(Default)]
pub(super) struct Interrupted {
    count: AtomicUsize,
    places: Mutex<BTreeSet<Location>>,
}

impl Interrupted {
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

    fn insert(&self, at: Location) {
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
        Self { all, bits: count.trailing_zeros(), quota, interrupted: Interrupted::default() }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits are left")]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        self.all[share_of(hash, self.bits) as usize].lock()
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

    /// Nobody runs this operation any more, and it has not ended: its started record, if it has one, leaves its slot.
    pub(super) fn interrupt(&self, stripe: &mut Stripe, hash: u64, fence: u64) {
        let slot = stripe.slots.held(hash, fence);
        if let Some((at, _)) = slot.and_then(|slot| slot.durable.as_mut()?.started.take()) {
            self.enter_interrupted(stripe, hash, at);
        }
    }

    /// A started record stands there, and nobody runs its operation.
    pub(super) fn enter_interrupted(&self, stripe: &mut Stripe, hash: u64, at: Location) {
        stripe.index.insert(self.fingerprint(hash), at);
        self.interrupted.insert(at);
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

    fn holds(&self, hash: u64, at: Location) -> bool {
        let mut stripe = self.lock(hash);
        stripe.index.find(self.fingerprint(hash)).any(|own| own == at)
            || stripe.slots.started_at(hash, at).is_some()
    }

    fn started(&self) -> Vec<Location> {
        // In this order: what is interrupted meanwhile is met twice, and never missed.
        let running = self.each().flat_map(|stripe| stripe.slots.started().collect::<Vec<_>>());
        let all: BTreeSet<_> = running.chain(self.interrupted.after(None, usize::MAX)).collect();
        all.into_iter().collect()
    }

    fn keep(&self, records: &mut dyn Iterator<Item = Weight>) {
        let mut tally = Tally::default();
        records.for_each(|weight| self.quota.stay(weight, &mut tally));
        self.quota.settle(&tally);
    }

    fn insert(&self, hash: u64, at: Location, what: What) -> Vec<Location> {
        let fingerprint = self.fingerprint(hash);
        let mut stripe = self.lock(hash);
        let others = stripe.index.find(fingerprint).collect();
        stripe.index.insert(fingerprint, at);
        drop(stripe);
        if what == What::Started {
            self.interrupted.insert(at);
        }
        others
    }

    fn carry(&self, hash: u64, from: Location, to: Location) {
        let mut stripe = self.lock(hash);
        if let Some(place) = stripe.slots.started_at(hash, from) {
            *place = to;
            return;
        }
        let fingerprint = self.fingerprint(hash);
        if !stripe.index.remove(fingerprint, from) {
            return;
        }
        stripe.index.insert(fingerprint, to);
        stripe.slots.carry(hash, from, to);
        drop(stripe);
        if self.interrupted.remove(from) {
            self.interrupted.insert(to);
        }
    }

    fn remove(&self, hash: u64, at: Location, weight: Weight) -> bool {
        let removed = self.lock(hash).index.remove(self.fingerprint(hash), at);
        if removed {
            self.quota.let_go(weight);
            self.interrupted.remove(at);
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
    use crate::digest::Digest;
    use crate::inflight::{Durable, Phase, Slot};
    use crate::options::Builder;
    use crate::time::Timestamp;

    fn running(hash: u64, fence: u64, started: Location) -> Slot {
        let started = Some((started, Weight::default()));
        Slot {
            hash,
            key: Key::new("account", "token").unwrap(),
            fence,
            phase: Phase::Running,
            digest: Digest::from_bytes([0; Digest::BYTES]),
            outline: None,
            attempt: 1,
            since: Timestamp::default(),
            lease: std::time::Duration::ZERO,
            lease_end: std::time::Duration::ZERO,
            declared: 0,
            room: 0,
            durable: Some(Box::new(Durable { started, ..Durable::default() })),
            remembered: None,
            replaces: Vec::new(),
            waiters: 0,
            gate: None,
        }
    }

    #[test]
    fn a_start_stands_in_its_slot_while_it_runs_and_in_the_index_once_it_is_interrupted_5_4() {
        let stripes = Stripes::new(4, 0, Quota::new(&Builder::default()));
        let [old, from, to] = [3, 5, 9].map(|block| Location::new(block, 0));
        let (other, own) = (7 << 40, 8 << 40);
        stripes.insert(other, old, What::Started);
        stripes.lock(own).slots.insert(running(own, 1, from));
        assert_eq!(stripes.started(), [old, from]);
        assert!(stripes.holds(other, old) && stripes.holds(own, from) && stripes.find(own).is_empty());

        stripes.carry(own, from, to);
        assert_eq!(stripes.started(), [old, to]);
        assert!(stripes.holds(own, to) && !stripes.holds(own, from) && stripes.find(own).is_empty());

        stripes.interrupt(&mut stripes.lock(own), own, 2);
        assert!(stripes.find(own).is_empty(), "another fence is another reservation");
        stripes.interrupt(&mut stripes.lock(own), own, 1);
        assert_eq!((stripes.started(), stripes.find(own)), (vec![old, to], vec![to]));
        assert_eq!(stripes.interrupted.len(), 2);
    }

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
                stripes.insert(hash, at, What::Kept);
                stripes.keep(&mut std::iter::once(Weight::default()));
                assert_eq!(stripes.find(hash), [at]);
                assert!(stripes.remove(hash, at, Weight::default()));
                assert!(stripes.find(hash).is_empty());
            }
        }
    }
}
