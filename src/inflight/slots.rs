//! The reservations of one stripe.
//!
//! Law: at most one slot for a key (contract 3.6); whoever acts on it names its fence, and a fence is never used
//! twice (contract 4.4). A plain structure: the stripe's lock is around it.
//!
//! | phase | begun by | ends by |
//! | --- | --- | --- |
//! | running | `begin`, a take-over, a waiter's claim | completing; release → vacant or gone |
//! | completing | `complete` passed its fence | commit → gone; failed commit → unknown; not handed over → running |
//! | vacant | a release while others wait | a waiter's claim → running; the last waiter leaving → gone; its lease |
//! | unknown | a failed commit | reopening → gone |

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::Gate;
use crate::digest::{Digest, Outline};
use crate::record::{Location, Weight};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// Where a slot stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Completing,
    Vacant,
    Unknown,
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
    /// Expired records of this key that its completion will replace.
    pub(crate) replaces: Vec<(Location, Weight)>,
    pub(crate) waiters: u64,
    pub(crate) gate: Option<Arc<Gate>>,
}

impl Slot {
    /// Whether its lease has lapsed: time left 0 has (contract 4.4). One that is completing has passed its fence.
    pub(crate) fn is_lapsed(&self, now: Now) -> bool {
        self.phase == Phase::Running && self.lease_end <= now.tick
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
        self.table.find_mut(hash, |slot| slot.hash == hash && slot.key == *key)
    }

    /// The slot of this fence, if it still is the key's.
    pub(crate) fn held(&mut self, hash: u64, fence: u64) -> Option<&mut Slot> {
        self.table.find_mut(hash, |slot| slot.fence == fence)
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
        self.iter().filter(|slot| matches!(slot.phase, Phase::Running | Phase::Completing))
    }

    /// Removes the slots whose outcome was unknown; the index now says what became of them.
    pub(crate) fn remove_unknown(&mut self) {
        self.table.retain(|slot| slot.phase != Phase::Unknown);
    }
}
