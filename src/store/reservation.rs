//! The right to run an operation, and its end.
//!
//! Law: the guard is the interface. Completing consumes it; dropping it releases the key; and whichever comes
//! first, the fence is compared, so that a holder whose lease lapsed and whose key was taken over changes nothing
//! (contract 4.4). Once a completion was handed to the writer, nothing but its commit decides (4.1).

#![expect(clippy::result_large_err, reason = "a refusal hands the reservation back by value, and is rare")]

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::Store;
use super::asking::{Given, Past, Terms};
use super::completing::{Completed, Completing, Pending, Refused};
use super::shared::{Deed, Engine, Shared, Tag};
use crate::comparing::{Outlined, bytes_of};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::inflight::{Alarm, Phase, Slot, Written, between_renewals};
use crate::ledger::{Job, Meaning, Room, What};
use crate::outcome::{Class, Kept, Omitted, Outcome, Replay};
use crate::record::{Bound, Finished, Weight, beyond_limit};
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;
use crate::trace::Span;

/// The right to run the operation of one key, held by one caller at a time (contract 3.6).
///
/// [Complete](Reservation::complete) it with what the operation returned. Dropping it, by an early return, `?` or
/// a panic, releases the key without an outcome, and a retry runs afresh (contract 4.3). A
/// [durable](Reservation::is_durable) one is released once that is on disk, and in flight until then; its attempt and
/// checkpoint are remembered; dropped by a panic it is interrupted.
#[must_use = "dropping a reservation at once releases the key: run the operation, then `complete`"]
pub struct Reservation {
    pub(super) store: Store,
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) fence: u64,
    pub(super) attempt: u32,
    pub(super) since: Timestamp,
    pub(super) digest: Digest,
    pub(super) outline: Outlined,
    pub(super) terms: Terms,
    /// Disk room set aside for its outcome, in bytes.
    pub(super) room: u64,
    /// What earlier attempts left, and whether this one is durable.
    pub(super) past: Option<Box<Past>>,
    pub(super) armed: bool,
    pub(super) span: Span,
    /// Renews its lease, until it ends.
    pub(super) renewal: Option<Box<Alarm>>,
}

impl Reservation {
    pub(super) fn new(store: Store, key: Key, hash: u64, given: Given, terms: Terms) -> Self {
        let Given { fence, attempt, since, digest, outline, room, past } = given;
        let resumed = past.as_ref().is_some_and(|own| own.interrupted);
        let mut own = Self {
            store,
            key,
            hash,
            fence,
            attempt,
            since,
            digest,
            outline,
            terms,
            room,
            past,
            armed: true,
            span: Span::default(),
            renewal: None,
        };
        // A subscriber is caller's code: if it panics, the reservation is dropped as any other.
        own.span = Span::of_attempt(hash, attempt, terms.start_durably, resumed);
        own
    }

    /// Whose right it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Which attempt this is, from 1: one more than the one whose lapsed lease it took over (contract 4.4).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Keeps what the operation returned, and waits until it is on disk (contract 4.1). A retryable outcome is
    /// not kept: the key is released (4.2).
    ///
    /// # Errors
    /// Outcome too large: the reservation comes back, still held (4.5); so it does where the outcome is larger than
    /// was declared and the disk is *full* (5.10). *Reservation lost*: another caller took over, nothing was
    /// changed (4.4). *Unknown outcome*: the commit failed (5.1). *Store stopped* and *closed*, and *lent* on a thread that
    /// holds the lent transaction (6.4): the reservation comes back.
    pub fn complete(self, outcome: Outcome) -> Result<Completed, Refused> {
        self.complete_here(outcome, false)
    }

    /// [`Reservation::complete`], for async callers. Once it was polled, dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`Reservation::complete`].
    pub fn complete_async(
        self,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Completed, Refused>> + Send + use<> {
        Completing::begin(self, outcome, false)
    }

    /// Keeps status, metadata, length and digest of an outcome whose body is too large to keep: a replay says so
    /// (contract 4.5), and the operation does not run again.
    ///
    /// # Errors
    /// As [`Reservation::complete`]; too large if metadata alone exceed the limit.
    pub fn complete_without_body(self, outcome: Outcome) -> Result<Completed, Refused> {
        self.complete_here(outcome, true)
    }

    /// [`Reservation::complete_without_body`], for async callers.
    ///
    /// # Errors
    /// As [`Reservation::complete_without_body`].
    pub fn complete_without_body_async(
        self,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Completed, Refused>> + Send + use<> {
        Completing::begin(self, outcome, true)
    }

    /// Lets the lease begin anew (contract 4.4).
    ///
    /// # Errors
    /// *Reservation lost*, if another caller took over.
    pub fn renew(&self) -> Result<()> {
        let shared = self.store.shared();
        shared.count_lost(shared.renew(self.hash, self.fence, self.attempt))
    }

    /// From now on the lease is renewed by itself, at every third of it, for as long as the reservation is held (contract
    /// 11): for work whose length nobody knows, such as a handler's. A process that hangs holds its keys as long as that.
    pub fn keep_renewed(&mut self) {
        let shared = self.store.shared();
        let third = between_renewals(self.terms.lease);
        let (hash, fence, attempt) = (self.hash, self.fence, self.attempt);
        let first = shared.chronometer.now().tick.saturating_add(third);
        let weak = Arc::downgrade(shared);
        let alarm = shared.timer.run_at(first, move || {
            let shared = weak.upgrade()?;
            shared.renew(hash, fence, attempt).ok()?;
            Some(shared.chronometer.now().tick.saturating_add(third))
        });
        self.renewal = Some(Box::new(alarm));
    }

    /// Gives the key back without an outcome, as dropping does, and says whether it was still held. The release of a
    /// durable reservation is on its way to the disk then.
    ///
    /// # Errors
    /// *Reservation lost*, if another caller took over; nothing was changed.
    pub fn release(mut self) -> Result<()> {
        self.hand_over_release().map(drop)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    #[cfg(feature = "redb-transactions")]
    pub(super) fn fence(&self) -> (u64, u64) {
        (self.hash, self.fence)
    }

    /// `None`: it was released at once, since the outcome is retryable.
    pub(super) fn hand_over(
        mut self,
        outcome: Outcome,
        without_body: bool,
    ) -> Result<Option<Pending>, Refused> {
        match self.end(outcome, without_body) {
            Ok(Some(pending)) => Ok(Some(pending.within(std::mem::take(&mut self.span)))),
            Ok(None) => {
                self.span.ended(Ok("released"));
                Ok(None)
            }
            Err(error) => {
                self.span.ended(Err(&error));
                Err(self.refuse(error))
            }
        }
    }

    fn end(&mut self, outcome: Outcome, without_body: bool) -> Result<Option<Pending>> {
        let shared = self.store.shared();
        shared.check_process()?;
        if outcome.class_by(shared.options.classifier.as_ref()) == Class::Retryable {
            let released = self.hand_over_release()?;
            return Ok(released.map(|written| Pending::new(written, Completed::Released, None)));
        }
        let replay = self.pass_fence(outcome, without_body, false)?;
        let written = Arc::<Written>::default();
        let completed = Completed::Kept { completed: replay.completed(), expires: replay.expires() };
        self.enqueue_outcome(Arc::clone(&written), &replay)
            .inspect_err(|_| self.store.shared().step_back(self.hash, self.fence))?;
        self.armed = false;
        Ok(Some(Pending::new(written, completed, Some(replay))))
    }

    fn complete_here(self, outcome: Outcome, without_body: bool) -> Result<Completed, Refused> {
        match self.store.shared().check_may_wait() {
            Ok(()) => block_on(Completing::begin(self, outcome, without_body)),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// A refusal that hands the reservation back, if it still stands.
    #[cold]
    pub(super) fn refuse(mut self, error: Error) -> Refused {
        if !self.armed {
            return Refused { error, reservation: None };
        }
        let shared = self.store.shared();
        let held = || shared.check_held(self.hash, self.fence, self.attempt);
        let told = if error.is_reservation_lost() { Err(error.clone()) } else { held() };
        match shared.count_lost(told) {
            Ok(()) => Refused { error, reservation: Some(self) },
            Err(lost) => {
                self.armed = false;
                Refused { error: lost, reservation: None }
            }
        }
    }

    /// Passes its fence with an outcome that is to be kept (contract 4.1): what is left to do is to write it. Where
    /// `nothing_on_its_way`, a checkpoint that is still being written is *in flight*: who holds up the writer can't have it
    /// written first.
    pub(super) fn pass_fence(
        &mut self,
        outcome: Outcome,
        without_body: bool,
        nothing_on_its_way: bool,
    ) -> Result<Replay> {
        let shared = self.store.shared();
        let omitted = without_body.then(|| Omitted::of(outcome.body()));
        let kept = outcome.size() - omitted.map_or(0, |own| own.bytes);
        let more = Room::of_completion(kept + bytes_of(&self.outline)).saturating_sub(self.room);
        shared.check_outcome(&outcome, kept)?;
        shared.take_room(more)?;
        let completed = shared.chronometer.now().time;
        shared.pass_fence((self.hash, self.fence), self.attempt, nothing_on_its_way, more)?;
        self.room += more;
        let expires = completed.saturating_add(self.terms.retention);
        let (attempts, format) = (self.attempt, self.terms.format);
        Ok(Replay::from(Kept { outcome, omitted, completed, expires, attempts, format }))
    }

    fn enqueue_outcome(&self, written: Arc<Written>, replay: &Replay) -> Result<()> {
        let shared = self.store.shared();
        shared.with_engine(|engine| {
            let record = self.record(engine, replay);
            let tag = self.tag(shared, Some(written), &record, replay);
            let outlived = if self.is_durable() { Vec::new() } else { self.outlived(shared, record.expires) };
            let (hash, expires, meaning) = (self.hash, record.expires, Meaning::Kept(What::Kept, tag.weight));
            let job = Job { hash, expires, meaning, durable: !self.terms.relaxed, tag };
            self.hand_over_with(engine, job, |bytes| record.encode_into(bytes), &outlived)
        })
    }

    /// The record of its end.
    pub(super) fn record<'a>(&'a self, engine: &Engine, replay: &'a Replay) -> Finished<'a> {
        Finished {
            key: self.key.as_framed(),
            bound: self.bound(engine),
            completed: replay.completed(),
            expires: replay.expires(),
            attempts: replay.attempts(),
            format: replay.format(),
            outcome: replay.outcome(),
            omitted: replay.omitted(),
        }
    }

    /// Its digest as it is kept: as in its start, or bound now.
    pub(super) fn bound(&self, engine: &Engine) -> Bound {
        let started = self.past.as_ref().and_then(|past| past.started.as_ref());
        let bind = || engine.comparer.bind(&self.key, &self.digest, &self.outline);
        started.filter(|own| engine.comparer.is_bound_today(own)).map_or_else(bind, Bound::clone)
    }

    /// What belongs to that record.
    pub(super) fn tag(
        &self,
        shared: &Shared,
        written: Option<Arc<Written>>,
        record: &Finished<'_>,
        replay: &Replay,
    ) -> Tag {
        let weight = Weight { scope: shared.scope_hash(&self.key), bytes: record.weighs() };
        Tag { hash: self.hash, fence: self.fence, written, weight, deed: Deed::Finish(replay.clone()) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.armed {
            self.span.ended(Ok("released"));
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

impl Shared {
    /// Whether an outcome can be kept and the store takes completions.
    pub(super) fn check_outcome(&self, outcome: &Outcome, measured: u64) -> Result<()> {
        if let Some((measured, limit)) = beyond_limit(outcome, measured, self.options.outcome_bytes_max) {
            return Err(ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured, limit }.into());
        }
        self.with_engine(|engine| engine.ledger.check_running())
    }

    /// Whether this holder still is the key's (contract 4.4).
    fn check_held(&self, hash: u64, fence: u64, attempt: u32) -> Result<()> {
        let held = self.stripes.lock(hash).slots.held(hash, fence).is_some();
        if held { Ok(()) } else { Err(ErrorKind::ReservationLost { attempt }.into()) }
    }

    /// Sets aside the disk room that an outcome takes beyond what was declared (contract 5.10).
    pub(super) fn take_room(&self, more: u64) -> Result<()> {
        if more == 0 {
            return Ok(());
        }
        let made = self.room.reserve(more).or_else(|sum| self.with_engine(|own| own.ledger.make_room(sum)));
        made.inspect_err(|_| self.room.give_back(more))
    }

    /// From here on the lease no longer runs and nobody takes over (contract 4.1). The slot answers for `more` room.
    fn pass_fence(
        &self,
        (hash, fence): (u64, u64),
        attempt: u32,
        nothing_on_its_way: bool,
        more: u64,
    ) -> Result<()> {
        let mut stripe = self.stripes.lock(hash);
        let running = stripe.slots.held(hash, fence).filter(|slot| slot.is_held());
        let is_busy =
            |slot: &&mut Slot| nothing_on_its_way && slot.durable.as_ref().is_some_and(|own| own.writes > 0);
        let free = match running {
            None => Err(ErrorKind::ReservationLost { attempt }),
            Some(slot) if is_busy(&slot) => Err(ErrorKind::InFlight { attempt, lease_left: None }),
            Some(slot) => Ok(slot),
        };
        let slot = free.inspect_err(|_| self.room.give_back(more))?;
        slot.phase = Phase::Completing;
        slot.room += more;
        Ok(())
    }

    /// The completion was not handed over after all.
    pub(super) fn step_back(&self, hash: u64, fence: u64) {
        let mut stripe = self.stripes.lock(hash);
        let Some(slot) = stripe.slots.held(hash, fence) else { return };
        slot.run_on();
        let waiting = slot.gate.clone().filter(|_| slot.waiters > 0);
        drop(stripe);
        // Its lease runs again: those who sat down meanwhile shall sleep no longer than that.
        if let Some(gate) = waiting {
            gate.wake_all();
        }
    }

    pub(super) fn renew(&self, hash: u64, fence: u64, attempt: u32) -> Result<()> {
        let now = self.chronometer.now();
        let mut stripe = self.stripes.lock(hash);
        let Some(slot) = stripe.slots.held(hash, fence).filter(|slot| slot.is_held()) else {
            return Err(ErrorKind::ReservationLost { attempt }.into());
        };
        slot.lease_end = now.tick.saturating_add(slot.lease);
        Ok(())
    }
}
