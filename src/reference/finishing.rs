//! How a reservation ends, and a record too (contract 4).
//!
//! Law: whoever does not hold the present fence of the key changes nothing (4.4); what is refused is still held
//! (4.5).

use super::{Completed, Condition, Live, Model, OnDisk, Record, Refusal, Reservation, Slot, What};
use crate::error::Limit;
use crate::outcome::{Class, Kept, Omitted, Outcome, Replay};
use crate::token::Key;

#[derive(Clone, Copy)]
pub(super) enum Body {
    Kept,
    Omitted,
}

impl Model {
    /// Completes with an outcome, which is kept if it is final (4.1, 4.2).
    ///
    /// # Errors
    /// [`Refusal::ReservationLost`], and nothing is changed; [`Refusal::TooLarge`] and [`Refusal::Stopped`], and
    /// the reservation is still held (4.5); [`Refusal::Closed`].
    pub fn complete(&mut self, reservation: &Reservation, outcome: Outcome) -> Result<Completed, Refusal> {
        self.finish(reservation, outcome, Body::Kept, None)
    }

    /// Completes with everything of the outcome but its body, of which length and digest are kept (4.5).
    ///
    /// # Errors
    /// As [`Model::complete`].
    pub fn complete_without_body(
        &mut self,
        reservation: &Reservation,
        outcome: Outcome,
    ) -> Result<Completed, Refusal> {
        self.finish(reservation, outcome, Body::Omitted, None)
    }

    /// Completes, and the commit fails: nobody knows the outcome before the store is reopened, which then finds
    /// what `on_disk` says; and the store has stopped (5.1, 5.5). A retryable outcome has no commit to fail.
    ///
    /// # Errors
    /// [`Refusal::UnknownOutcome`], or else as [`Model::complete`].
    pub fn complete_failing(
        &mut self,
        reservation: &Reservation,
        outcome: Outcome,
        on_disk: OnDisk,
    ) -> Result<Completed, Refusal> {
        self.finish(reservation, outcome, Body::Kept, Some(on_disk))
    }

    fn finish(
        &mut self,
        reservation: &Reservation,
        outcome: Outcome,
        body: Body,
        failing: Option<OnDisk>,
    ) -> Result<Completed, Refusal> {
        let live = self.held(reservation)?.clone(); // 4.4
        if outcome.class() == Class::Retryable {
            // 4.2; of a durable one the release has to be written, and what is not stays started.
            let written = if live.durable { self.going() } else { Ok(()) };
            self.release(reservation)?;
            return written.map(|()| Completed::Released);
        }
        let (outcome, omitted) = stripped(outcome, body);
        let (measured, limit) = (outcome.size(), self.settings.outcome_bytes_max);
        if measured > limit {
            return Err(Refusal::TooLarge { what: Limit::OutcomeBytes, measured, limit }); // 4.5
        }
        self.going()?; // 5.5

        let completed = self.now();
        let expires = completed.saturating_add(live.retention); // 7.1
        let attempts = live.attempt;
        let replay = Replay::from(Kept { outcome, omitted, completed, expires, attempts, format: 0 });
        let record =
            Record { fingerprint: live.fingerprint, named: live.named, what: What::Finished(replay) };
        let key = reservation.key.clone();
        let answer = if let Some(on_disk) = failing {
            self.slots.insert(key, Slot::Doubt(record, on_disk)); // 5.1
            self.condition = Condition::Stopped;
            if on_disk == OnDisk::Kept {
                self.time.last_on_disk = self.time.last_on_disk.max(completed);
            }
            Err(Refusal::UnknownOutcome)
        } else {
            self.slots.remove(&key);
            self.keep(key, record, live.relaxed);
            Ok(Completed::Kept { completed, expires })
        };
        self.settle();
        answer
    }

    /// Keeps a record, in place of an expired one that may still be there.
    pub(super) fn keep(&mut self, key: Key, record: Record, relaxed: bool) {
        self.records.insert(key.clone(), record.clone());
        self.unsynced.push((key, record));
        if !relaxed {
            self.sync(); // 5.1
        }
    }

    /// Everything up to here is on the disk, in order (5.8).
    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.disk.clone_from(&self.records);
        self.time.last_on_disk = self.time.last_on_disk.max(self.now());
    }

    /// Starts the lease anew. A lapsed reservation that nobody took over can still be renewed.
    ///
    /// # Errors
    /// [`Refusal::ReservationLost`], [`Refusal::Closed`].
    pub fn renew(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        let monotonic = self.time.monotonic;
        let live = self.held(reservation)?;
        live.lease_end = monotonic.saturating_add(live.lease);
        Ok(())
    }

    /// Releases, or drops (4.3): no outcome is recorded, and the key is as one never seen; but of a durable one attempt
    /// and checkpoint are remembered, for as long as its outcome would have been.
    ///
    /// # Errors
    /// [`Refusal::ReservationLost`], [`Refusal::Closed`].
    pub fn release(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        let live = self.held(reservation)?.clone();
        self.slots.remove(&reservation.key);
        if live.durable && self.going().is_ok() {
            self.remember(&reservation.key, live.retention);
        }
        self.settle();
        Ok(())
    }

    /// 4.4: whoever does not hold the key's present fence has lost it.
    pub(super) fn held(&mut self, reservation: &Reservation) -> Result<&mut Live, Refusal> {
        self.open()?;
        match self.slots.get_mut(&reservation.key) {
            Some(Slot::Running(live)) if live.fence == reservation.fence => Ok(live),
            _ => Err(Refusal::ReservationLost { attempt: reservation.attempt }),
        }
    }

    /// Removes a record durably (4.6). `true`: something was known of the key, and is no more.
    ///
    /// # Errors
    /// [`Refusal::InFlight`] of a live reservation, [`Refusal::UnknownOutcome`] of a doubt, [`Refusal::Stopped`],
    /// [`Refusal::Closed`].
    pub fn forget(&mut self, key: &Key) -> Result<bool, Refusal> {
        self.open()?;
        match self.slots.get(key) {
            Some(Slot::Running(live)) => {
                let lease_left = Some(self.lease_left(live));
                return Err(Refusal::InFlight { attempt: live.attempt, lease_left });
            }
            Some(Slot::Doubt(..)) => return Err(Refusal::UnknownOutcome),
            None => self.going()?,
        }
        // Where there is nothing to forget, nothing is written, and nothing that was relaxed is taken along.
        let Some(record) = self.records.remove(key) else { return Ok(false) };
        self.sync();
        Ok(!record.has_expired(self.now()) && !matches!(record.what, What::Released(..)))
    }
}

/// What is kept of an outcome: status, metadata, and the body or what is told of it (4.5).
pub(super) fn stripped(outcome: Outcome, body: Body) -> (Outcome, Option<Omitted>) {
    let mut kept = Outcome::http(outcome.status, Vec::new());
    kept.metadata = outcome.metadata;
    match body {
        Body::Kept => {
            kept.body = outcome.body;
            (kept, None)
        }
        Body::Omitted => {
            let digest = *blake3::hash(&outcome.body).as_bytes();
            (kept, Some(Omitted { bytes: outcome.body.len() as u64, digest }))
        }
    }
}
