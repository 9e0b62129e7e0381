//! What becomes of a reservation when its record is on disk, or when its commit failed.
//!
//! Law: called by the writer in the log's order, under the log's lock, after the commit; nothing here asks a clock or
//! wakes anybody: whom to wake is handed back, and done outside the lock (contract 5.11).

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::quota::Tally;
use super::shared::{Deed, Shared, Tag, count};
use super::stripe::Stripe;
use crate::error::{Error, ErrorKind, Result};
use crate::inflight::{Ended, Gate, Phase, Replaced, Slot, Written};
use crate::ledger::{Catalogue, Settle};
use crate::record::{Location, Weight};
use crate::sync::{Mutex, MutexGuard, Sender, shielded};
use crate::time::{Chronometer, Now};

/// The store, as the writer sees it. It holds the store weakly, so that the last handle's drop ends both.
pub(super) struct Publisher {
    pub(super) shared: Weak<Shared>,
    pub(super) chronometer: Chronometer,
    pub(super) last: Mutex<Now>,
    pub(super) nudge: Sender<()>,
}

/// Whom to tell.
pub(super) struct Told {
    /// The one who handed the record over.
    written: Option<Arc<Written>>,
    result: Result<()>,
    others: Others,
}

/// Those who wait for the key: they have to ask again, or are told how it ended.
#[derive(Default)]
enum Others {
    #[default]
    Nobody,
    Ended(Arc<Gate>, Ended),
    One(Arc<Gate>),
    All(Arc<Gate>),
}

impl Told {
    pub(super) fn tell(self) {
        // Whoever completed finds all others woken.
        match self.others {
            Others::Nobody => {}
            Others::Ended(gate, ended) => gate.end(ended),
            Others::One(gate) => gate.wake_one(),
            Others::All(gate) => gate.wake_all(),
        }
        if let Some(written) = self.written {
            written.tell(self.result);
        }
    }
}

impl Others {
    fn one(gate: Option<Arc<Gate>>) -> Self {
        gate.map_or(Self::Nobody, Self::One)
    }

    fn all(gate: Option<Arc<Gate>>) -> Self {
        gate.map_or(Self::Nobody, Self::All)
    }

    /// Its lease runs again: those who sit there shall sleep no longer than that.
    fn run_on(slot: &Slot) -> Self {
        Self::all(slot.gate.clone().filter(|_| slot.waiters > 0))
    }
}

impl Settle<Tag> for Publisher {
    type Answer = Told;

    fn now(&self) -> Now {
        // A clock that panics harms nobody's completion (contract 5.11).
        let now = shielded(|| self.chronometer.now());
        let mut last = self.last.lock();
        *last = now.unwrap_or(*last);
        *last
    }

    fn publish(&self, group: impl Iterator<Item = (Tag, Option<Location>)>, answers: &mut Vec<Told>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut tally = Tally::default();
        answers.extend(group.map(|(tag, at)| match at {
            Some(at) => shared.publish(tag, at, &mut tally),
            None => shared.publish_failed(tag),
        }));
        shared.settle(&tally);
    }

    fn committed(&self, jobs: usize, took: Duration) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.counters.batches.add(jobs as u64);
        shared.counters.commits.add_time(took);
    }

    fn answer(&self, told: Told) {
        told.tell();
    }

    fn want_spare(&self) {
        // It hears of it already, or there is nobody who sweeps in the background.
        let _ = self.nudge.try_send(());
    }
}

/// Who has to ask again, and the records that it replaced.
type Published = (Others, Replaced);

impl Shared {
    /// Whoever publishes a group settles its tally before he tells anybody.
    pub(super) fn publish(&self, tag: Tag, at: Location, tally: &mut Tally) -> Told {
        let Tag { hash, fence, written, weight, deed } = tag;
        if let Deed::Forget { target } = deed {
            self.stripes.remove(hash, target, weight);
            return Told { written, result: Ok(()), others: Others::Nobody };
        }
        let mut stripe = self.stripes.lock(hash);
        if !matches!(deed, Deed::Start { .. } | Deed::Checkpoint { .. }) {
            stripe.index.insert(self.stripes.fingerprint(hash), at);
        }
        let (others, replaced) = match deed {
            Deed::Finish(replay) => {
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                tally.completed += 1;
                self.stripes.quota.stay(weight, tally);
                slot.inspect(|slot| self.leave(slot, tally)).map_or_else(Published::default, |mut slot| {
                    self.counters.executions.add_time(replay.completed().since(slot.since));
                    let ended = Ended { digest: slot.digest, replay };
                    let others = slot.gate.take().map_or(Others::Nobody, |gate| Others::Ended(gate, ended));
                    (others, slot.take_replaced())
                })
            }
            Deed::Start { room } => {
                count(&self.counters.started);
                self.publish_started(stripe, (hash, fence), room, (at, weight))
            }
            Deed::Checkpoint { room } => {
                count(&self.counters.checkpoints);
                self.publish_started(stripe, (hash, fence), room, (at, weight))
            }
            Deed::Release => {
                let slot = stripe.slots.held(hash, fence);
                let replaced = slot.map(Slot::take_replaced).unwrap_or_default();
                drop(stripe);
                self.stripes.quota.keep(weight);
                self.remove_all(hash, replaced);
                // Last: whoever sees the key free sees the counts of that.
                (Others::one(self.vacate(self.stripes.lock(hash), hash, fence)), Replaced::default())
            }
            Deed::Settle | Deed::Forget { .. } => {
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                count(&self.counters.resolved);
                let others = Others::all(slot.as_ref().and_then(|slot| slot.gate.clone()));
                let replaced = self.left(slot);
                self.stripes.quota.keep(weight);
                (others, replaced)
            }
        };
        self.remove_all(hash, replaced);
        Told { written, result: Ok(()), others }
    }

    fn remove_all(&self, hash: u64, replaced: Replaced) {
        for (place, weight) in replaced.records {
            self.stripes.remove(hash, place, weight);
        }
        if let Some(weight) = replaced.started {
            self.stripes.quota.let_go(weight);
        }
    }

    /// A start or a checkpoint is on disk, at this place and with this weight: it replaces what was there before.
    fn publish_started(
        &self,
        mut stripe: MutexGuard<'_, Stripe>,
        (hash, fence): (u64, u64),
        room: u64,
        own: (Location, Weight),
    ) -> Published {
        self.room.give_back(room);
        self.stripes.quota.keep(own.1);
        let Some(slot) = stripe.slots.held(hash, fence) else {
            self.stripes.enter_interrupted(&mut stripe, hash, own.0);
            return (Others::Nobody, Replaced::default());
        };
        let replaced = slot.take_replaced();
        let durable = slot.durable.get_or_insert_default();
        durable.started = Some(own);
        if !std::mem::replace(&mut durable.counted, true) {
            self.stripes.quota.begin_start(|| self.scope_hash(&slot.key));
        }
        if slot.written() {
            return (Others::one(self.vacate(stripe, hash, fence)), replaced);
        }
        (Others::run_on(slot), replaced)
    }

    /// What was to be written before its end failed to be: it runs on, unless it was abandoned.
    fn run_on(&self, mut stripe: MutexGuard<'_, Stripe>, hash: u64, fence: u64) -> Others {
        let Some(slot) = stripe.slots.held(hash, fence) else { return Others::Nobody };
        if slot.written() {
            return Others::one(self.vacate(stripe, hash, fence));
        }
        Others::run_on(slot)
    }

    /// What a slot that is gone had set aside goes back; gives what it replaces.
    fn left(&self, slot: Option<Slot>) -> Replaced {
        slot.inspect(|slot| self.dismiss(slot)).map(|mut slot| slot.take_replaced()).unwrap_or_default()
    }

    /// Whether the record is on disk is not known (contract 5.1, 5.5).
    pub(super) fn publish_failed(&self, tag: Tag) -> Told {
        let Tag { hash, fence, written, deed, .. } = tag;
        let mut stripe = self.stripes.lock(hash);
        let stopped = || Error::from(ErrorKind::Stopped { operation: "commit" });
        let (error, others) = match deed {
            Deed::Finish(_) => {
                (ErrorKind::UnknownOutcome.into(), self.doubt(&mut stripe, (hash, fence), Phase::Unknown))
            }
            Deed::Settle => {
                (ErrorKind::UnknownOutcome.into(), self.doubt(&mut stripe, (hash, fence), Phase::Unsettled))
            }
            // It was not given out (5.4). If it is on disk all the same, the next opening finds it interrupted.
            Deed::Start { room } => {
                self.room.give_back(room);
                self.stripes.interrupt(&mut stripe, hash, fence);
                let slot = stripe.slots.remove(hash, fence);
                drop(stripe);
                let waiters = slot.as_ref().and_then(|slot| slot.gate.clone());
                drop(self.left(slot));
                (stopped(), waiters)
            }
            Deed::Checkpoint { room } => {
                self.room.give_back(room);
                return Told { written, result: Err(stopped()), others: self.run_on(stripe, hash, fence) };
            }
            Deed::Forget { .. } => (stopped(), None),
            // It stays on disk as started: interrupted, as after a crash.
            Deed::Release => {
                let others = Others::one(self.vacate(stripe, hash, fence));
                return Told { written, result: Err(stopped()), others };
            }
        };
        Told { written, result: Err(error), others: Others::all(others) }
    }

    /// Nobody knows what became of it until the store was reopened (contract 3.9). Gives the waiters' gate.
    fn doubt(&self, stripe: &mut Stripe, (hash, fence): (u64, u64), phase: Phase) -> Option<Arc<Gate>> {
        count(&self.counters.failed);
        let slot = stripe.slots.held(hash, fence)?;
        slot.phase = phase;
        self.dismiss(slot);
        slot.gate.clone()
    }
}
