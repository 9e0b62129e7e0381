//! Running a closure or a future once, over an engine.
//!
//! Law: as in the embedded store: a value is written with bincode and read back before it is kept, and one over the outcome
//! limit is kept without its body. The lease is renewed while the operation runs (contract 11).

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::request::Request;
use super::{Answer, Reservation};
use crate::error::{ErrorKind, Result};
use crate::outcome::Outcome;
use crate::store::{Executed, OperationError, read, written};
use crate::sync::block_on;

pub(super) fn run<T, E>(
    request: Request<'_>,
    operation: impl FnOnce(&Reservation) -> Result<T, E>,
) -> Result<Executed<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: OperationError,
{
    let format = request.terms.format;
    let mut reservation = match request.begin()? {
        Answer::Fresh(reservation) => reservation,
        other => return already(other, format),
    };
    reservation.keep_renewed();
    let result = operation(&reservation);
    block_on(keep(reservation, result))
}

pub(super) async fn run_async<T, E>(
    request: Request<'_>,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<Executed<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: OperationError,
{
    let format = request.terms.format;
    let mut reservation = match request.begin_async().await? {
        Answer::Fresh(reservation) => reservation,
        other => return already(other, format),
    };
    reservation.keep_renewed();
    let result = operation.await;
    keep(reservation, result).await
}

/// Keeps what an operation returned; what is retryable is released.
async fn keep<T, E>(reservation: Reservation, result: Result<T, E>) -> Result<Executed<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: OperationError,
{
    let attempts = reservation.attempt();
    match written(&result)? {
        Some(outcome) if is_too_large(&reservation, &outcome) => {
            reservation.complete_without_body_async(outcome).await?;
        }
        Some(outcome) => {
            reservation.complete_async(outcome).await?;
        }
        None => drop(reservation),
    }
    Ok(Executed { result, replayed: false, attempts })
}

fn is_too_large(reservation: &Reservation, outcome: &Outcome) -> bool {
    outcome.size() > reservation.store.shared().options.outcome_bytes_max
}

/// Somebody else ran it, or still does.
fn already<T, E>(answer: Answer, format: u32) -> Result<Executed<T, E>>
where
    T: DeserializeOwned,
    E: OperationError,
{
    match answer {
        Answer::Replay(replay) => read(replay, format),
        Answer::InFlight(other) => {
            let (attempt, lease_left) = (other.attempt(), other.lease_left());
            Err(ErrorKind::InFlight { attempt, lease_left }.into())
        }
        // Not reached: a fresh answer is run by those who call this. Dropping it releases the key.
        Answer::Fresh(held) => Err(ErrorKind::InFlight { attempt: held.attempt(), lease_left: None }.into()),
    }
}
