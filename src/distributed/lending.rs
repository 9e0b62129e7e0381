//! A completion within the caller's own transaction (contract 6, over a network): his writes and the record are committed
//! together, or neither is.
//!
//! Law: the store never commits and never guesses. Where it was not told how the transaction ended, the engine is asked: a
//! claim that still can be released then was not ended by it, and one that can't has its record, or has been lost.

#![expect(clippy::result_large_err, reason = "a refusal hands the reservation back by value, and is rare")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Refused;
use super::finishing::{Ending, PAUSE};
use super::reservation::Reservation;
use crate::engine::{Fault, Sight, unpanicked};
use crate::error::ErrorKind;
use crate::outcome::Outcome;
use crate::store::Completed;

/// A completion that stands in the caller's transaction, or is about to. Say how that ended: until then the key is in flight for
/// who asks here, and dropping this has the engine asked.
#[must_use = "the store has to be told how the transaction ended"]
pub struct Lent {
    ending: Option<Ending>,
    sql: String,
}

impl Reservation {
    /// The completion as one statement for a transaction of the caller's own, by whichever driver: it gives one row where the
    /// reservation still is the key's, and none where it was lost, whereupon the transaction is to be rolled back. Under
    /// `REPEATABLE READ` and `SERIALIZABLE` the transaction has to begin after the reservation was given: an older snapshot
    /// does not see it.
    ///
    /// # Errors
    /// As [`Reservation::complete`]; *wrong home* where the engine has no transactions of SQL.
    pub fn completion(self, outcome: Outcome) -> Result<Lent, Refused> {
        self.blocking(|own| own.completion_async(outcome))
    }

    /// [`Reservation::completion`], for async callers.
    ///
    /// # Errors
    /// As [`Reservation::completion`].
    pub async fn completion_async(mut self, outcome: Outcome) -> Result<Lent, Refused> {
        let ending = match self.ending(outcome, false) {
            Ok(ending) => ending,
            Err(error) => {
                self.armed = !error.is_reservation_lost();
                let reservation = self.armed.then_some(self);
                return Err(Refused { error, reservation });
            }
        };
        self.armed = false;
        let (shared, completion) = (Arc::clone(&ending.shared), ending.completion.clone());
        let mut lent = Lent { ending: Some(ending), sql: String::new() };
        let (engine, patience) = (Arc::clone(&shared.lanes.engine), shared.lanes.patience);
        let statement = shared
            .lanes
            .run(async move { patience.tries(|| engine.statement(&completion)).await })
            .await
            .map_err(|fault| shared.fault(fault))
            .and_then(|sql| {
                sql.ok_or_else(|| ErrorKind::WrongHome("the engine has no transactions of SQL").into())
            });
        match statement {
            Ok(sql) => lent.sql = sql,
            Err(error) => return Err(Refused { error, reservation: None }),
        }
        Ok(lent)
    }

    /// Completes within a transaction of tokio-postgres (feature `postgres`), which the caller then commits.
    ///
    /// # Errors
    /// As [`Reservation::completion`]; *reservation lost*, and *io* where the statement failed: the transaction is to be rolled
    /// back.
    #[cfg(feature = "postgres")]
    pub async fn complete_in(
        self,
        transaction: &tokio_postgres::Transaction<'_>,
        outcome: Outcome,
    ) -> Result<Lent, Refused> {
        let attempt = self.attempt();
        let lent = self.completion_async(outcome).await?;
        let refused = |kind: ErrorKind| Refused { error: kind.into(), reservation: None };
        let rows = transaction.query(lent.sql(), &[]).await.map_err(|_| {
            refused(ErrorKind::Io {
                operation: "completing in a transaction",
                kind: std::io::ErrorKind::Other,
            })
        })?;
        if rows.is_empty() { Err(refused(ErrorKind::ReservationLost { attempt })) } else { Ok(lent) }
    }
}

impl Lent {
    /// The statement. It holds the outcome: it is the caller's to keep out of logs.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The transaction was committed: from here on the outcome is replayed here too.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is said whether anybody wants to know the expiry or not"
    )]
    pub fn committed(mut self) -> Completed {
        match self.ending.take() {
            Some(ending) => {
                ending.publish();
                let (completed, expires) = (ending.replay.completed(), ending.replay.expires());
                Completed::Kept { completed, expires }
            }
            // Not reached: it is taken when this is consumed or dropped.
            None => Completed::Released,
        }
    }

    /// The transaction was rolled back: the key is released. The engine is asked all the same.
    pub fn rolled_back(self) {}
}

impl Ending {
    /// Finds out what became of a transaction.
    async fn find_out(self) {
        let (shared, key, fence) = (&self.shared, &self.completion.key, self.completion.fence);
        loop {
            // Waits for the caller's transaction, where that is still open; so not in the lane of the others.
            let claim = [(key.clone(), fence)];
            match unpanicked(shared.lanes.engine.release(&claim)).await.as_deref() {
                Ok([true]) => {
                    if let Some(gate) = shared.desk.leave(self.hash, key, fence) {
                        gate.wake_all();
                    }
                    return;
                }
                Ok(_) => match shared.lanes.look_up(key.clone()).await {
                    Ok((_, Sight { record: Some(record), .. })) if record == self.completion.record => {
                        return self.publish();
                    }
                    Ok(_) => return self.lose(),
                    Err(_) => self.doubt(),
                },
                Err(Fault::Refused(_)) => return self.lose(),
                Err(_) => self.doubt(),
            }
            if shared.closing.load(Ordering::Acquire) {
                return self.lose();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(ending) = self.ending.take() {
            let lanes = ending.shared.lanes.clone();
            lanes.spawn(ending.find_out());
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}
