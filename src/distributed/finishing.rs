//! The end of a reservation: with an outcome, or without one.
//!
//! Law: once it was handed over nothing but the engine's answer decides (contract 4.1): giving up the wait changes nothing,
//! and dropping hands over and waits for nobody. A completion whose answer is not heard in time is *answer lost* for who
//! completes, and *unknown outcome* for everybody here, until the engine has said what became of it; it goes on being asked,
//! with the same fence, so that it is completed once or not at all. What is written in the store's own time is the engine's,
//! as it was heard last.

#![expect(clippy::result_large_err, reason = "a refusal hands the reservation back by value, and is rare")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Refused;
use super::desk::{Phase, Slot};
use super::reservation::Reservation;
use super::shared::{Shared, count};
use crate::digest::Digest;
use crate::engine::{Change, Completion, Fault, Standing};
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::inflight::{Ended, Written};
use crate::outcome::{Class, Kept, Omitted, Outcome, Replay};
use crate::record::{Finished, beyond_limit};
use crate::store::Completed;
use crate::sync::{is_panicking, shielded};
use crate::token::Key;

/// How long between two askings of what became of an end.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// An end on its way to the engine, and what it comes to.
pub(super) struct Pending {
    written: Arc<Written>,
    completed: Completed,
}

impl Pending {
    pub(super) async fn wait(self) -> Result<Completed> {
        self.written.wait().await.map(|()| self.completed)
    }
}

/// A completion that passed its fence here, with all that is needed to go on without its reservation.
pub(super) struct Ending {
    pub(super) shared: Arc<Shared>,
    pub(super) hash: u64,
    pub(super) attempt: u32,
    pub(super) digest: Digest,
    pub(super) replay: Replay,
    pub(super) completion: Completion,
}

impl Reservation {
    pub(super) fn hand_over(mut self, outcome: Outcome, without_body: bool) -> Result<Pending, Refused> {
        let shared = Arc::clone(self.store.shared());
        if outcome.class_by(shared.options.classifier.as_ref()) == Class::Retryable {
            return self.hand_over_release().map_err(|error| Refused { error, reservation: None });
        }
        let ending = match self.ending(outcome, without_body) {
            Ok(ending) => ending,
            Err(error) => {
                // What is lost is not handed back.
                let lost = error.is_reservation_lost();
                self.armed = !lost;
                return Err(Refused { error, reservation: (!lost).then_some(self) });
            }
        };
        self.armed = false;
        let written = Arc::<Written>::default();
        let replay = &ending.replay;
        let completed = Completed::Kept { completed: replay.completed(), expires: replay.expires() };
        shared.lanes.spawn(ending.complete(Arc::clone(&written)));
        Ok(Pending { written, completed })
    }

    /// Passes its fence with an outcome that is to be kept: what is left to do is to write it.
    pub(super) fn ending(&mut self, outcome: Outcome, without_body: bool) -> Result<Ending> {
        let shared = Arc::clone(self.store.shared());
        // What is lost is lost, however large its outcome.
        let runs = |slot: &mut Slot| slot.phase == Phase::Running;
        if shared.desk.with_held(self.hash, &self.key, self.fence, runs) != Some(true) {
            return Err(self.lost());
        }
        let omitted = without_body.then(|| Omitted::of(outcome.body()));
        let kept = outcome.size() - omitted.map_or(0, |own| own.bytes);
        check_outcome(&shared, &outcome, kept)?;
        shared.check_not_closed()?;
        // Asked before it passes: a caller's clock may panic (contract 5.11).
        let completed = shared.time.now().time;
        self.pass(Phase::Completing)?;
        let expires = completed.saturating_add(self.terms.retention);
        let (attempts, format) = (self.attempt(), self.terms.format);
        let replay = Replay::from(Kept { outcome, omitted, completed, expires, attempts, format });
        let bound = shared.comparer.bind(&self.key, &self.digest, &self.outline);
        let record = sealed(&shared, &self.key, bound, &replay);
        let completion = Completion { key: self.key.clone(), fence: self.fence, expires, record };
        let (hash, attempt, digest) = (self.hash, self.attempt(), self.digest);
        Ok(Ending { shared, hash, attempt, digest, replay, completion })
    }

    /// What is left of it where it is given back without an outcome; `None`: nothing.
    fn left_behind(&self) -> Option<Change> {
        if !self.durable {
            let remembered = self.past.remembered.as_ref()?;
            let now = shielded(|| self.store.shared().time.now().time).unwrap_or(self.since());
            let left = remembered.until.since(now);
            let (lease, started) = (Some(left), Some(Arc::clone(&remembered.started)));
            let standing = Some(Standing::Released);
            return (!left.is_zero()).then(|| Change { lease, standing, started, ..self.change() });
        }
        let (standing, lease) = if is_panicking() {
            (Standing::Interrupted, None)
        } else {
            (Standing::Released, Some(self.terms.retention))
        };
        Some(Change { lease, standing: Some(standing), ..self.change() })
    }

    /// Gives the key back: a durable one is remembered, or interrupted where its holder panics (contract 4.3).
    pub(super) fn hand_over_release(&mut self) -> Result<Pending> {
        self.armed = false;
        let shared = Arc::clone(self.store.shared());
        if shared.closed.load(Ordering::Acquire) {
            // Its epoch has ended: it is nobody's, and a durable one interrupted.
            if let Some(gate) = shared.desk.leave(self.hash, &self.key, self.fence) {
                gate.wake_all();
            }
            return Err(ErrorKind::Closed.into());
        }
        self.pass(Phase::Leaving)?;
        let change = self.left_behind();
        let written = Arc::<Written>::default();
        let (hash, key, fence, attempt) = (self.hash, self.key.clone(), self.fence, self.attempt());
        let (own, told) = (Arc::clone(&shared), Arc::clone(&written));
        shared.lanes.spawn(async move {
            let released = match change {
                Some(change) => own.lanes.change(change).await,
                None => own.lanes.release(key.clone(), fence).await,
            };
            // Unknown, where the caller's clock panics.
            let now = shielded(|| own.time.now().tick);
            let lapsed = own.desk.with_held(hash, &key, fence, |slot| now.map(|now| slot.lease_end <= now));
            // Where the engine was not heard it lapses with its lease. All look again, since among those who sleep here are some
            // who would not wait for the next run.
            if let Some(gate) = own.desk.leave(hash, &key, fence) {
                gate.wake_all();
            }
            own.left.notify(usize::MAX);
            told.tell(match released {
                // Sent again behind an answer that was lost, it finds nothing left to end; before the lease lapsed nobody
                // else can have ended it.
                Ok(held) if held || lapsed == Some(Some(false)) => {
                    count(&own.counters.released);
                    Ok(())
                }
                Ok(_) => {
                    count(&own.counters.lost);
                    Err(ErrorKind::ReservationLost { attempt }.into())
                }
                Err(fault) => Err(own.fault(fault)),
            });
        });
        Ok(Pending { written, completed: Completed::Released })
    }
}

impl Ending {
    /// Completes, until the engine has said what became of it.
    async fn complete(self, written: Arc<Written>) {
        let (shared, key, fence) = (&self.shared, &self.completion.key, self.completion.fence);
        loop {
            match shared.lanes.complete(self.completion.clone()).await {
                Ok(true) => {
                    self.publish();
                    return written.tell(Ok(()));
                }
                Ok(false) => {
                    self.lose();
                    return written.tell(Err(ErrorKind::ReservationLost { attempt: self.attempt }.into()));
                }
                // The engine can't keep it, and says so each time; the key is given back.
                Err(Fault::Refused(error)) => {
                    drop(shared.lanes.release(key.clone(), fence).await);
                    self.lose();
                    return written.tell(Err(error));
                }
                Err(_) => {
                    count(&shared.counters.answers_lost);
                    self.doubt();
                    written.tell(Err(ErrorKind::AnswerLost.into()));
                    if shared.closing.load(Ordering::Acquire) {
                        return self.lose();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The engine has it: disk first, then tongue.
    pub(super) fn publish(&self) {
        let shared = &self.shared;
        count(&shared.counters.completed);
        let ended = Ended { digest: self.digest, replay: self.replay.clone() };
        shared.desk.end(self.hash, &self.completion.key, self.completion.fence, ended);
        shared.left.notify(usize::MAX);
    }

    /// Nobody knows, until the engine is heard again. Who waits is told so.
    pub(super) fn doubt(&self) {
        let Completion { key, fence, .. } = &self.completion;
        let desk = &self.shared.desk;
        desk.with_held(self.hash, key, *fence, |slot| slot.phase = Phase::Unknown);
        desk.wake(Some(self.hash), |key| self.shared.keys.fingerprint(key.as_framed()));
    }

    /// It is another's by now, or free.
    pub(super) fn lose(&self) {
        let Completion { key, fence, .. } = &self.completion;
        count(&self.shared.counters.lost);
        if let Some(gate) = self.shared.desk.leave(self.hash, key, *fence) {
            gate.wake_all();
        }
        self.shared.left.notify(usize::MAX);
    }
}

/// The record of an outcome, sealed.
pub(super) fn sealed(shared: &Shared, key: &Key, bound: crate::record::Bound, replay: &Replay) -> Arc<[u8]> {
    let record = Finished {
        key: key.as_framed(),
        bound,
        completed: replay.completed(),
        expires: replay.expires(),
        attempts: replay.attempts(),
        format: replay.format(),
        outcome: replay.outcome(),
        omitted: replay.omitted(),
    };
    let mut bytes = record.encode();
    shared.seal(&mut bytes);
    bytes.into()
}

/// Whether an outcome can be kept.
pub(super) fn check_outcome(shared: &Shared, outcome: &Outcome, measured: u64) -> Result<()> {
    match beyond_limit(outcome, measured, shared.options.outcome_bytes_max) {
        Some((measured, limit)) => {
            Err(Error::from(ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured, limit }))
        }
        None => Ok(()),
    }
}
