//! The reservations of one stripe.
//!
//! Law: at most one slot for a key (contract 3.6); whoever acts on it names its fence, and a fence is never used
//! twice (contract 4.4). A plain structure: the stripe's lock is around it.
//!
//! | phase | begun by | ends by |
//! | --- | --- | --- |
//! | running | `begin`, a take-over, a waiter's claim | writing; completing; release → vacant or gone |
//! | writing | a durable start, a checkpoint handed over | commit → running; its end handed over → completing |
//! | completing | `complete` passed its fence; the release of a durable one, or its panic, while something is written | commit → gone (released: vacant or gone); failed commit → unknown; not handed over → running |
//! | settling | `resolve` or `forget` of an interrupted key | commit → gone; failed commit → unsettled |
//! | vacant | a release while others wait | a waiter's claim → running; the last waiter leaving → gone; its lease |
//! | unknown | a completion's failed commit | reopening → gone |
//! | unsettled | a `resolve`'s failed commit | reopening → gone |
//!
//! The digest of one that is settling, or unsettled, stands in its record and not here.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::Gate;
use crate::digest::{Digest, Outline};
use crate::outcome::Checkpoint;
use crate::record::{Location, Weight};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// Where a slot stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Writing,
    Completing,
    Settling,
    Vacant,
    Unknown,
    Unsettled,
}

/// What a durable reservation has beside a volatile one (contract 5.4, 6.3).
#[derive(Clone, Default)]
pub(crate) struct Durable {
    /// The last checkpoint, on disk or on its way there.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Starts and checkpoints on their way to the disk.
    pub(crate) writes: u32,
    /// Where its last start or checkpoint stands, and what that counts for: the index does not have it.
    pub(crate) started: Option<(Location, Weight)>,
    /// Whether its start is counted among the records.
    pub(crate) counted: bool,
    /// Its holder panicked while some were: interrupted, once they are there (contract 4.3).
    pub(crate) abandoned: bool,
}

/// What a durable attempt that was released left (contract 4.3).
#[derive(Clone)]
pub(crate) struct Remembered {
    /// Until when its record is kept.
    pub(crate) until: Timestamp,
    /// Made with the same parameters.
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// What a later record of a key stands in the place of.
#[derive(Default)]
pub(crate) struct Replaced {
    /// Records that the index has.
    pub(crate) records: Vec<(Location, Weight)>,
    /// What the started record counts for that only the slot knew.
    pub(crate) started: Option<Weight>,
}

/// One key that is reserved, or was a moment ago.
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) key: Key,
    pub(crate) fence: u64,
    pub(crate) phase: Phase,
    pub(crate) digest: Digest,
    /// Its parameters one by one, where the store was told to explain mismatches.
    pub(crate) outline: Option<Arc<Outline<Digest>>>,
    pub(crate) attempt: u32,
    pub(crate) since: Timestamp,
    pub(crate) lease: Duration,
    pub(crate) lease_end: Duration,
    /// Outcome bytes declared, and disk room set aside for them.
    pub(crate) declared: u64,
    pub(crate) room: u64,
    /// What it has beside a volatile one, if it was durably started.
    pub(crate) durable: Option<Box<Durable>>,
    /// What was released before it and is remembered.
    pub(crate) remembered: Option<Box<Remembered>>,
    /// Records of this key that its completion will replace: expired, started, released.
    pub(crate) replaces: Vec<(Location, Weight)>,
    pub(crate) waiters: u64,
    pub(crate) gate: Option<Arc<Gate>>,
}

impl Slot {
    /// What was written now, or its end, stands in the place of all this.
    pub(crate) fn take_replaced(&mut self) -> Replaced {
        let started = self.durable.as_mut().and_then(|own| own.started.take());
        Replaced { records: std::mem::take(&mut self.replaces), started: started.map(|(_, weight)| weight) }
    }

    /// Its next start is to be written: durable from now on, if it was not.
    pub(crate) fn begin_start(&mut self) {
        let checkpoint = self.remembered.as_ref().and_then(|own| own.checkpoint.clone());
        let first = || Box::new(Durable { checkpoint, ..Durable::default() });
        self.durable.get_or_insert_with(first).writes += 1;
        self.phase = Phase::Writing;
    }

    /// Whether its lease has lapsed: time left 0 has (contract 4.4). One that is completing has passed its fence.
    pub(crate) fn is_lapsed(&self, now: Now) -> bool {
        self.phase == Phase::Running && self.lease_end <= now.tick
    }

    /// Whether its holder can end it: it runs, or something before its end is being written.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Writing)
    }

    /// It runs again, or will when what is on its way has been written.
    pub(crate) fn run_on(&mut self) {
        let writes = self.durable.as_ref().map_or(0, |own| own.writes);
        self.phase = if writes > 0 { Phase::Writing } else { Phase::Running };
    }

    /// A start or a checkpoint of it was written, or failed to be. Whether nobody holds it any more.
    pub(crate) fn written(&mut self) -> bool {
        let abandoned = self.durable.as_mut().is_some_and(|own| {
            own.writes = own.writes.saturating_sub(1);
            own.abandoned && own.writes == 0
        });
        if self.phase == Phase::Writing {
            self.run_on();
        }
        abandoned
    }

    /// Whether it is, or should have been, settled from outside: then only its record knows the digest.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Settling | Phase::Unsettled)
    }

    /// Whether nobody knows what became of it (contract 3.9).
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.phase, Phase::Unknown | Phase::Unsettled)
    }

    /// What is left of the lease; `None` once it no longer runs.
    pub(crate) fn lease_left(&self, now: Now) -> Option<Duration> {
        matches!(self.phase, Phase::Running | Phase::Vacant).then(|| self.lease_end.saturating_sub(now.tick))
    }

    /// The waiting room, made when the first one needs it.
    pub(crate) fn gate(&mut self) -> &Arc<Gate> {
        self.gate.get_or_insert_default()
    }
}

/// The slots of one stripe.
#[derive(Default)]
pub(crate) struct Slots {
    table: HashTable<Slot>,
}

impl Slots {
    pub(crate) fn find(&mut self, hash: u64, key: &Key) -> Option<&mut Slot> {
        self.find_by(hash, |slot| slot.hash == hash && slot.key == *key)
    }

    /// The slot of this fence, if it still is the key's.
    pub(crate) fn held(&mut self, hash: u64, fence: u64) -> Option<&mut Slot> {
        self.find_by(hash, |slot| slot.fence == fence)
    }

    /// Among those that may be of this hash, the one that is meant.
    pub(crate) fn find_by(&mut self, hash: u64, is_meant: impl FnMut(&Slot) -> bool) -> Option<&mut Slot> {
        self.table.find_mut(hash, is_meant)
    }

    pub(crate) fn insert(&mut self, slot: Slot) {
        self.table.insert_unique(slot.hash, slot, |slot| slot.hash);
    }

    /// Removes the slot of this fence.
    pub(crate) fn remove(&mut self, hash: u64, fence: u64) -> Option<Slot> {
        let entry = self.table.find_entry(hash, |slot| slot.fence == fence).ok()?;
        Some(entry.remove().0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.table.iter()
    }

    /// The slots of live reservations.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Slot> {
        self.iter().filter(|slot| matches!(slot.phase, Phase::Running | Phase::Writing | Phase::Completing))
    }

    /// Where the started records of live reservations stand.
    pub(crate) fn started(&self) -> impl Iterator<Item = Location> {
        self.iter().filter_map(|slot| slot.durable.as_ref()?.started.map(|(at, _)| at))
    }

    /// The place of a live reservation's started record, if it is this one.
    pub(crate) fn started_at(&mut self, hash: u64, at: Location) -> Option<&mut Location> {
        let places =
            self.table.iter_hash_mut(hash).filter_map(|slot| slot.durable.as_mut()?.started.as_mut());
        places.map(|(place, _)| place).find(|place| **place == at)
    }

    /// A record that a slot is to replace was carried on.
    pub(crate) fn carry(&mut self, hash: u64, from: Location, to: Location) {
        for slot in self.table.iter_hash_mut(hash) {
            for (place, _) in slot.replaces.iter_mut().filter(|(place, _)| *place == from) {
                *place = to;
            }
        }
    }

    /// The index is about to have all started records, those of live reservations too.
    pub(crate) fn leave_started(&mut self) {
        self.table.iter_mut().filter_map(|slot| slot.durable.as_mut()).for_each(|own| own.started = None);
    }

    /// Removes the slots whose outcome was unknown; the index now says what became of them.
    pub(crate) fn remove_unknown(&mut self) {
        self.table.retain(|slot| !slot.is_unknown());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(hash: u64, token: &str, fence: u64) -> Slot {
        Slot {
            hash,
            key: Key::new("scope", token).unwrap(),
            fence,
            phase: Phase::Running,
            digest: Digest::from_bytes([0; Digest::BYTES]),
            outline: None,
            attempt: 1,
            since: Timestamp::default(),
            lease: Duration::ZERO,
            lease_end: Duration::ZERO,
            declared: 0,
            room: 0,
            durable: None,
            remembered: None,
            replaces: Vec::new(),
            waiters: 0,
            gate: None,
        }
    }

    fn writing(writes: u32, abandoned: bool) -> Slot {
        let durable = Some(Box::new(Durable { writes, abandoned, ..Durable::default() }));
        Slot { phase: Phase::Writing, durable, ..slot(1, "t", 1) }
    }

    #[test]
    fn keys_of_one_hash_are_told_apart_by_all_of_the_key_1_3() {
        let mut slots = Slots::default();
        for (token, fence) in [("a", 1), ("b", 2)] {
            slots.insert(slot(7, token, fence));
        }
        let mut fence = |hash, token| {
            let found = slots.find(hash, &Key::new("scope", token).unwrap());
            found.map(|own| own.fence)
        };
        assert_eq!([fence(7, "a"), fence(7, "b"), fence(7, "c")], [Some(1), Some(2), None]);
        assert_eq!(slots.held(7, 2).map(|own| own.fence), Some(2));
        assert_eq!(slots.remove(7, 1).map(|own| own.fence), Some(1));
        assert!(slots.held(7, 1).is_none() && slots.held(7, 2).is_some());
    }

    #[test]
    fn it_runs_again_when_the_last_of_its_writes_is_on_disk_5_4() {
        let mut own = writing(2, false);
        assert!(!own.written());
        assert_eq!(own.phase, Phase::Writing);
        assert!(!own.written());
        assert_eq!(own.phase, Phase::Running);
        own.phase = Phase::Completing;
        own.run_on();
        assert_eq!(own.phase, Phase::Running, "it was not handed over");
        let mut volatile = Slot { phase: Phase::Completing, ..slot(1, "t", 1) };
        volatile.run_on();
        assert_eq!(volatile.phase, Phase::Running);
    }

    #[test]
    fn a_start_that_is_begun_is_one_more_write_on_its_way_5_4() {
        let mut own = slot(1, "t", 1);
        for writes in [1, 2] {
            own.begin_start();
            assert_eq!((own.phase, own.durable.as_ref().unwrap().writes), (Phase::Writing, writes));
        }
    }

    #[test]
    fn an_abandoned_one_is_nobodys_once_the_last_of_its_writes_is_on_disk_4_3() {
        let mut own = writing(2, true);
        assert_eq!([own.written(), own.written()], [false, true]);
        assert!(!writing(1, false).written());
    }

    #[test]
    fn what_a_slot_replaces_is_carried_on_and_nothing_else() {
        let at = |block| (Location::new(block, 64), Weight::default());
        let mut slots = Slots::default();
        slots.insert(Slot { replaces: vec![at(1), at(2)], ..slot(7, "a", 1) });
        slots.insert(Slot { replaces: vec![at(3)], ..slot(7, "b", 2) });
        slots.carry(7, at(2).0, at(9).0);
        let mut replaces = |fence| slots.held(7, fence).unwrap().replaces.clone();
        assert_eq!((replaces(1), replaces(2)), (vec![at(1), at(9)], vec![at(3)]));
    }

    #[test]
    fn phases_say_who_may_end_it_and_what_is_known_of_it() {
        use Phase::{Completing, Running, Settling, Unknown, Unsettled, Vacant, Writing};
        let of = |asked: fn(&Slot) -> bool| {
            let all = [Running, Writing, Completing, Settling, Vacant, Unknown, Unsettled];
            let all = all.into_iter().filter(|phase| asked(&Slot { phase: *phase, ..slot(1, "t", 1) }));
            all.collect::<Vec<_>>()
        };
        assert_eq!(of(Slot::is_held), [Running, Writing]);
        assert_eq!(of(Slot::is_settled), [Settling, Unsettled]);
        assert_eq!(of(Slot::is_unknown), [Unknown, Unsettled]);
        let at = |tick| Now { tick, time: Timestamp::default() };
        let second = Duration::from_secs(1);
        assert_eq!(of(|own| own.is_lapsed(Now { tick: own.lease_end, time: own.since })), [Running]);
        let leased = Slot { lease_end: 2 * second, ..slot(1, "t", 1) };
        assert_eq!((leased.lease_left(at(second)), leased.is_lapsed(at(second))), (Some(second), false));
        assert_eq!(
            of(|own| own.lease_left(Now { tick: own.lease_end, time: own.since }).is_some()),
            [Running, Vacant]
        );
    }
}
