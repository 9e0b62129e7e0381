//! Durable starts and what becomes of them: checkpoints, interruptions, and how those are settled (contract 3.4, 4.3,
//! 4.6, 5.4, 6.3).
//!
//! Law: a started record stands until the operation ends; whoever is gone without a word leaves it there.

use std::time::Duration;

use super::finishing::{Body, stripped};
use super::{Completed, Model, Record, Refusal, Reservation, Slot, What};
use crate::error::Limit;
use crate::outcome::{Checkpoint, Class, Kept, Outcome, Replay};
use crate::token::Key;

impl Model {
    /// Notes how far the operation has come, durably (6.3).
    ///
    /// # Errors
    /// [`Refusal::NotDurable`], [`Refusal::TooLarge`], [`Refusal::ReservationLost`], [`Refusal::Stopped`],
    /// [`Refusal::Closed`]; nothing is changed.
    pub fn checkpoint(&mut self, reservation: &Reservation, note: &[u8]) -> Result<(), Refusal> {
        if !reservation.durable {
            return Err(Refusal::NotDurable);
        }
        let (measured, limit) = (note.len() as u64, self.settings.checkpoint_bytes_max);
        if measured > limit {
            return Err(Refusal::TooLarge { what: Limit::CheckpointBytes, measured, limit });
        }
        self.held(reservation)?; // 4.4
        self.going()?; // 5.5
        if let Some(mut record) = self.records.get(&reservation.key).cloned() {
            if let What::Started(own) = &mut record.what {
                own.checkpoint = Some(Checkpoint { attempt: own.attempt, bytes: note.into() });
            }
            self.keep(reservation.key.clone(), record, false);
        }
        Ok(())
    }

    /// The holder panics: nothing is recorded, and a durable operation is interrupted (4.3).
    ///
    /// # Errors
    /// [`Refusal::ReservationLost`], [`Refusal::Closed`].
    pub fn panic(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        self.held(reservation)?;
        self.slots.remove(&reservation.key);
        self.settle();
        Ok(())
    }

    /// Settles an interrupted key (4.6): with what its operation returned, kept for the settings' retention; or, where
    /// that is retryable, as released (4.2).
    ///
    /// # Errors
    /// [`Refusal::InFlight`] of a live reservation, [`Refusal::UnknownOutcome`] of a doubt, [`Refusal::NotInterrupted`],
    /// [`Refusal::TooLarge`], [`Refusal::Stopped`], [`Refusal::Closed`].
    pub fn resolve(&mut self, key: &Key, outcome: Outcome) -> Result<Completed, Refusal> {
        self.open()?;
        match self.slots.get(key) {
            Some(Slot::Running(live)) => {
                let lease_left = Some(self.lease_left(live));
                return Err(Refusal::InFlight { attempt: live.attempt, lease_left });
            }
            Some(Slot::Doubt(..)) => return Err(Refusal::UnknownOutcome),
            None => {}
        }
        let Some(Record { fingerprint, named, what: What::Started(started) }) =
            self.records.get(key).cloned()
        else {
            return Err(Refusal::NotInterrupted);
        };
        if outcome.class() == Class::Retryable {
            self.going()?; // 5.5
            self.remember(key, self.settings.retention);
            return Ok(Completed::Released);
        }
        let (outcome, omitted) = stripped(outcome, Body::Kept);
        let (measured, limit) = (outcome.size(), self.settings.outcome_bytes_max);
        if measured > limit {
            return Err(Refusal::TooLarge { what: Limit::OutcomeBytes, measured, limit }); // 4.5
        }
        self.going()?; // 5.5
        let completed = self.now();
        let expires = completed.saturating_add(self.settings.retention); // 7.1
        let replay =
            Replay::from(Kept { outcome, omitted, completed, expires, attempts: started.attempt, format: 0 });
        self.keep(key.clone(), Record { fingerprint, named, what: What::Finished(replay) }, false);
        Ok(Completed::Kept { completed, expires })
    }

    /// The last checkpoint of a key's present attempt, or of one before it.
    pub(super) fn checkpoint_of(&self, key: &Key) -> Option<Checkpoint> {
        match &self.records.get(key)?.what {
            What::Started(own) => own.checkpoint.clone(),
            What::Finished(_) | What::Released(..) => None,
        }
    }

    /// What was started is released: attempt and checkpoint are remembered (4.3).
    pub(super) fn remember(&mut self, key: &Key, retention: Duration) {
        let until = self.now().saturating_add(retention);
        let Some(record) = self.records.get(key).cloned() else { return };
        if let What::Started(own) = record.what {
            self.keep(key.clone(), Record { what: What::Released(own, until), ..record }, false);
        }
    }
}
