//! What becomes of a reservation when its record is on disk, or when its commit failed.
//!
//! Law: called by the writer in the log's order, under the log's lock, after the commit; nothing here asks a clock or
//! wakes anybody: whom to wake is handed back, and done outside the lock (contract 5.11).

use std::sync::{Arc, Weak};

use super::shared::{Deed, Shared, Tag, count};
use crate::error::ErrorKind;
use crate::inflight::{Ending, Gate, Phase};
use crate::ledger::{Catalogue, Settle};
use crate::record::{Location, Weight};
use crate::sync::{Mutex, shielded};
use crate::time::{Chronometer, Timestamp};

/// The store, as the writer sees it. It holds the store weakly, so that the last handle's drop ends both.
pub(super) struct Publisher {
    pub(super) shared: Weak<Shared>,
    pub(super) chronometer: Chronometer,
    pub(super) last: Mutex<Timestamp>,
}

/// Whom to tell.
pub(super) struct Told {
    /// The one who handed the record over; its waiters too, where that ended the operation.
    gate: Arc<Gate>,
    ending: Ending,
    others: Others,
}

/// Those who wait for the key and have to ask again.
enum Others {
    Nobody,
    One(Arc<Gate>),
    All(Arc<Gate>),
}

impl Settle<Tag> for Publisher {
    type Answer = Option<Told>;

    fn now(&self) -> Timestamp {
        // A clock that panics harms nobody's completion (contract 5.11).
        let now = shielded(|| self.chronometer.now().time);
        let mut last = self.last.lock();
        *last = now.unwrap_or(*last);
        *last
    }

    fn publish(&self, tag: Tag, at: Option<Location>) -> Self::Answer {
        let shared = self.shared.upgrade()?;
        Some(match at {
            Some(at) => shared.publish(tag, at),
            None => shared.publish_failed(tag),
        })
    }

    fn answer(&self, answer: Self::Answer) {
        let Some(Told { gate, ending, others }) = answer else { return };
        gate.end(ending);
        match others {
            Others::Nobody => {}
            Others::One(gate) => gate.wake_one(),
            Others::All(gate) => gate.wake_all(),
        }
    }
}

impl Shared {
    fn publish(&self, tag: Tag, at: Location) -> Told {
        let Tag { hash, fence, gate, weight, deed } = tag;
        let mut stripe = self.stripes.lock(hash);
        stripe.index.insert(self.stripes.fingerprint(hash), at);
        let (mut ending, mut others) = (Ending::Written, Others::Nobody);
        let replaced = match deed {
            Deed::Finish(ended) => {
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                count(&self.counters.completed);
                ending = Ending::Finished(Arc::new(ended));
                slot.inspect(|slot| self.dismiss(slot)).map(|slot| slot.replaces)
            }
            Deed::Settle => {
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                if let Some(gate) = slot.as_ref().and_then(|slot| slot.gate.clone()) {
                    others = Others::All(gate);
                }
                slot.inspect(|slot| self.dismiss(slot)).map(|slot| slot.replaces)
            }
            Deed::Start { room } | Deed::Checkpoint { room } => {
                let replaced = stripe.slots.held(hash, fence).map(|slot| {
                    slot.written();
                    std::mem::replace(&mut slot.replaces, vec![(at, weight)])
                });
                drop(stripe);
                self.stripes.started.insert(at);
                self.room.give_back(room);
                replaced
            }
            Deed::Release => {
                let slot = stripe.slots.held(hash, fence);
                let replaced = slot.map(|slot| std::mem::take(&mut slot.replaces));
                others = self.vacate(stripe, hash, fence).map_or(Others::Nobody, Others::One);
                replaced
            }
        };
        self.stripes.quota.keep(weight);
        self.remove_all(hash, replaced.unwrap_or_default());
        Told { gate, ending, others }
    }

    fn remove_all(&self, hash: u64, places: Vec<(Location, Weight)>) {
        for (place, weight) in places {
            self.stripes.remove(hash, place, weight);
        }
    }

    /// Whether the record is on disk is not known (contract 5.1, 5.5).
    fn publish_failed(&self, tag: Tag) -> Told {
        let Tag { hash, fence, gate, deed, .. } = tag;
        let mut stripe = self.stripes.lock(hash);
        let (mut ending, mut others) =
            (Ending::Failed(ErrorKind::UnknownOutcome.into()), Others::Nobody);
        match deed {
            Deed::Finish(_) | Deed::Settle => {
                if let Some(slot) = stripe.slots.held(hash, fence) {
                    slot.phase = Phase::Unknown;
                    self.dismiss(slot);
                    others = slot.gate.clone().filter(|own| !Arc::ptr_eq(own, &gate)).map_or(Others::Nobody, Others::All);
                }
                count(&self.counters.failed);
            }
            // It was not given out (contract 5.4); if it is on disk all the same, the next opening finds it interrupted.
            Deed::Start { room } => {
                self.room.give_back(room);
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                if let Some(slot) = slot {
                    self.dismiss(&slot);
                    others = slot.gate.map_or(Others::Nobody, Others::All);
                }
                ending = Ending::Failed(ErrorKind::Stopped { operation: "commit" }.into());
            }
            Deed::Checkpoint { room } => {
                self.room.give_back(room);
                if let Some(slot) = stripe.slots.held(hash, fence) {
                    slot.written();
                }
            }
            // It stays on disk as started: interrupted, as after a crash.
            Deed::Release => others = self.vacate(stripe, hash, fence).map_or(Others::Nobody, Others::One),
        }
        Told { gate, ending, others }
    }
}
