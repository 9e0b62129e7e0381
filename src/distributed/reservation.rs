//! The right to run an operation, and what its holder can do before it ends.
//!
//! Law: the guard is the interface. Completing consumes it; dropping it releases the key; and whichever comes first, the
//! engine compares the fence, so that a holder whose lease lapsed and whose key was taken over, wherever, changes nothing
//! (contract 4.4).

#![expect(clippy::result_large_err, reason = "a refusal hands the reservation back by value, and is rare")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::asking::{Given, Terms};
use super::desk::Phase;
use super::judging::Past;
use super::shared::{Shared, count};
use super::{Refused, Store};
use crate::comparing::Outlined;
use crate::digest::Digest;
use crate::engine::{Change, Fault};
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::inflight::{Alarm, between_renewals};
use crate::outcome::{Checkpoint, Outcome};
use crate::record::Started;
use crate::store::Completed;
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

/// The right to run the operation of one key, held by one caller in one process at a time (contract 3.6).
///
/// [Complete](Reservation::complete) it with what the operation returned. Dropping it, by an early return, `?` or a panic,
/// releases the key without an outcome, and a retry runs afresh (contract 4.3); dropped by a panic a durable one is
/// interrupted. Where the process dies nobody drops it: see [the module](super).
#[must_use = "dropping a reservation at once releases the key: run the operation, then `complete`"]
pub struct Reservation {
    pub(super) store: Store,
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) fence: u64,
    attempt: u32,
    since: Timestamp,
    pub(super) digest: Digest,
    pub(super) outline: Outlined,
    pub(super) durable: bool,
    pub(super) past: Past,
    pub(super) terms: Terms,
    pub(super) armed: bool,
    /// Renews its lease, until it ends.
    renewal: Option<Alarm>,
}

impl Reservation {
    /// The engine has granted it.
    pub(super) fn granted(store: Store, key: Key, given: Given) -> Self {
        let Given { hash, slot, durable, past, terms } = given;
        let (fence, attempt, since) = (slot.fence, slot.attempt, slot.since);
        let (digest, outline) = (slot.digest, slot.outline.clone());
        store.shared().desk.enter(hash, &key, slot);
        let (armed, renewal) = (true, None);
        Self {
            store,
            key,
            hash,
            fence,
            attempt,
            since,
            digest,
            outline,
            durable,
            past,
            terms,
            armed,
            renewal,
        }
    }

    /// Whose right it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Which attempt this is, from 1 (contract 4.4).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Since when, by the engine's time.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the end of its process in the middle of the operation is known as such (contract 5.4).
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether the attempt before this one was interrupted (contract 3.4).
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.past.interrupted
    }

    /// The last checkpoint of the attempts before this one, made with the same parameters (contract 6.3).
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<&Checkpoint> {
        self.past.checkpoint.as_ref()
    }

    /// Keeps what the operation returned, and waits until the engine has it (contract 4.1). A retryable outcome is not
    /// kept: the key is released (4.2).
    ///
    /// # Errors
    /// *Too large*, *closed*, *engine's thread*: the reservation comes back, still held. *Reservation lost*: another caller took
    /// over, nothing was changed (4.4). [*Answer lost*](ErrorKind::AnswerLost): the engine was not heard in time, and goes on
    /// being asked.
    pub fn complete(self, outcome: Outcome) -> Result<Completed, Refused> {
        self.blocking(|own| own.complete_async(outcome))
    }

    /// [`Reservation::complete`], for async callers. Once it was polled, dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`Reservation::complete`].
    pub async fn complete_async(self, outcome: Outcome) -> Result<Completed, Refused> {
        told(self.hand_over(outcome, false)?.wait().await)
    }

    /// Keeps status, metadata, length and digest of an outcome whose body is too large to keep: a replay says so
    /// (contract 4.5), and the operation does not run again.
    ///
    /// # Errors
    /// As [`Reservation::complete`]; too large if metadata alone exceed the limit.
    pub fn complete_without_body(self, outcome: Outcome) -> Result<Completed, Refused> {
        self.blocking(|own| own.complete_without_body_async(outcome))
    }

    /// [`Reservation::complete_without_body`], for async callers.
    ///
    /// # Errors
    /// As [`Reservation::complete_without_body`].
    pub async fn complete_without_body_async(self, outcome: Outcome) -> Result<Completed, Refused> {
        told(self.hand_over(outcome, true)?.wait().await)
    }

    /// Lets the lease begin anew (contract 4.4).
    ///
    /// # Errors
    /// *Reservation lost*, if another caller took over; *unreachable*.
    pub fn renew(&self) -> Result<()> {
        self.store.shared().wait(self.renew_async())
    }

    /// [`Reservation::renew`], for async callers.
    ///
    /// # Errors
    /// As [`Reservation::renew`].
    pub async fn renew_async(&self) -> Result<()> {
        let shared = self.store.shared();
        let renewed = renew(shared, self.hash, &self.key, self.fence, self.terms.lease).await;
        self.still(renewed.map_err(|fault| shared.fault(fault))?)
    }

    /// From now on the lease is renewed by itself, at every third of it, for as long as the reservation is held (contract
    /// 11). A process that hangs holds its keys as long as that.
    pub fn keep_renewed(&mut self) {
        let shared = self.store.shared();
        let third = between_renewals(self.terms.lease);
        let (hash, key, fence, lease) = (self.hash, self.key.clone(), self.fence, self.terms.lease);
        let first = shared.time.now().tick.saturating_add(third);
        let weak = Arc::downgrade(shared);
        self.renewal = Some(shared.timer.run_at(first, move || {
            let shared = weak.upgrade()?;
            shared.desk.with_held(hash, &key, fence, |_| ())?;
            let (own, key) = (Arc::clone(&shared), key.clone());
            // What is not heard in time is tried again a third later, counted from here.
            let next = shared.time.now().tick.saturating_add(third);
            shared.lanes.spawn(async move { drop(renew(&own, hash, &key, fence, lease).await) });
            Some(next)
        }));
    }

    /// Notes how far the operation has come, and waits until the engine has it (contract 6.3). If this attempt does not
    /// end, the next one sees the last note. It does not renew the lease.
    ///
    /// # Errors
    /// *Not durable*: ask with `start_durably`. *Too large*. *Reservation lost*: another caller took over (4.4).
    /// *Unreachable*: whether the engine has it is not known.
    pub fn checkpoint(&self, note: &[u8]) -> Result<()> {
        self.store.shared().wait(self.checkpoint_async(note))
    }

    /// [`Reservation::checkpoint`], for async callers.
    ///
    /// # Errors
    /// As [`Reservation::checkpoint`].
    pub async fn checkpoint_async(&self, note: &[u8]) -> Result<()> {
        let shared = self.store.shared();
        if !self.durable {
            return Err(ErrorKind::NotDurable.into());
        }
        let (measured, limit) = (note.len() as u64, shared.options.checkpoint_bytes_max);
        if measured > limit {
            return Err(ErrorKind::TooLarge { what: Limit::CheckpointBytes, measured, limit }.into());
        }
        let checkpoint = Checkpoint { attempt: self.attempt, bytes: note.into() };
        let record = Started {
            key: self.key.as_framed(),
            bound: shared.comparer.bind(&self.key, &self.digest, &self.outline),
            since: self.since,
            attempt: self.attempt,
            format: self.terms.format,
            checkpoint: Some(&checkpoint),
            released_until: None,
        };
        let mut started = record.encode();
        shared.seal(&mut started);
        let change = Change { started: Some(started.into()), ..self.change() };
        self.still(shared.lanes.change(change).await.map_err(|fault| shared.fault(fault))?)
    }

    /// Gives the key back without an outcome, as dropping does, and says whether it was still held.
    ///
    /// # Errors
    /// *Reservation lost*, if another caller took over; nothing was changed. *Unreachable*: then it lapses with its lease.
    pub fn release(self) -> Result<()> {
        self.store.shared().check_may_wait()?;
        block_on(self.release_async())
    }

    /// [`Reservation::release`], for async callers. Once it was polled, dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`Reservation::release`].
    pub async fn release_async(mut self) -> Result<()> {
        self.hand_over_release()?.wait().await.map(drop)
    }

    /// Waits on this thread until it has ended, where that may wait.
    pub(super) fn blocking<T, F>(self, end: impl FnOnce(Self) -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<T, Refused>>,
    {
        match self.store.shared().check_may_wait() {
            Ok(()) => block_on(end(self)),
            Err(error) => Err(Refused { error, reservation: Some(self) }),
        }
    }

    /// Nothing of its claim is changed yet.
    pub(super) fn change(&self) -> Change {
        Change { key: self.key.clone(), fence: self.fence, lease: None, standing: None, started: None }
    }

    pub(super) fn lost(&self) -> Error {
        count(&self.store.shared().counters.lost);
        ErrorKind::ReservationLost { attempt: self.attempt }.into()
    }

    /// What the engine says of whether it still is the key's.
    fn still(&self, held: bool) -> Result<()> {
        if held {
            return Ok(());
        }
        let shared = self.store.shared();
        if let Some(gate) = shared.desk.leave(self.hash, &self.key, self.fence) {
            gate.wake_all();
        }
        Err(self.lost())
    }

    /// Whether it stands at this process's desk, in this phase.
    pub(super) fn pass(&self, to: Phase) -> Result<()> {
        let shared = self.store.shared();
        let passed = shared.desk.with_held(self.hash, &self.key, self.fence, |slot| {
            let running = slot.phase == Phase::Running;
            if running {
                slot.phase = to;
            }
            running
        });
        if passed == Some(true) { Ok(()) } else { Err(self.lost()) }
    }
}

fn told(result: Result<Completed>) -> Result<Completed, Refused> {
    result.map_err(|error| Refused { error, reservation: None })
}

/// Has the lease begin anew. Here it begins before it does at the engine.
async fn renew(
    shared: &Arc<Shared>,
    hash: u64,
    key: &Key,
    fence: u64,
    lease: Duration,
) -> Result<bool, Fault> {
    let lease_end = shared.time.now().tick.saturating_add(lease);
    let change = Change { key: key.clone(), fence, lease: Some(lease), standing: None, started: None };
    let held = shared.lanes.change(change).await?;
    if held {
        shared.desk.with_held(hash, key, fence, |slot| slot.lease_end = slot.lease_end.max(lease_end));
    }
    Ok(held)
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.armed {
            // Where it was lost meanwhile there is nothing to give back.
            drop(self.hand_over_release());
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("key", &self.key)
            .field("attempt", &self.attempt)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}
