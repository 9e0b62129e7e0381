//! Running a closure or a future once, and giving back a typed value whether it ran or was replayed.
//!
//! Law: a value is written with bincode and read back *before* it is kept, so that a type which can be written and
//! not read is an error at the first run and not at the replay. It carries the caller's format version; what can't
//! be read any more is *unreadable outcome* with its bytes. A value over the outcome limit is kept without its
//! body, so that the operation never runs twice for being large. The lease is renewed while the operation runs
//! (contract 11). A completion that failed is an error, never a silent success.

use std::fmt;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::request::Request;
use super::{Answer, Reservation};
use crate::codec;
use crate::error::{ErrorKind, Result};
use crate::outcome::{Class, Outcome, Replay};

/// An operation's own error, kept or released by what it says of itself.
///
/// ```
/// use oncekey::{Class, OperationError};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// enum Charge {
///     CardRefused,
///     BankUnreachable,
/// }
///
/// impl OperationError for Charge {
///     fn class(&self) -> Class {
///         match self {
///             Charge::CardRefused => Class::Final,
///             Charge::BankUnreachable => Class::Retryable,
///         }
///     }
/// }
/// ```
pub trait OperationError: Serialize + DeserializeOwned {
    /// Final: it would come again, so it is kept and replayed. Retryable: a retry runs afresh (contract 4.2).
    fn class(&self) -> Class;
}

/// The error of operations that can't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Never {}

impl OperationError for Never {
    fn class(&self) -> Class {
        match *self {}
    }
}

/// What `execute` gives back. `Debug` says whether it is a value or an error, never which (contract 10.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Executed<T, E> {
    /// What the operation returned, now or the first time.
    pub result: Result<T, E>,
    /// Whether it is the first answer, given again.
    pub replayed: bool,
    /// How many attempts it took, from 1.
    pub attempts: u32,
}

impl<T, E> fmt::Debug for Executed<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executed")
            .field("is_ok", &self.result.is_ok())
            .field("replayed", &self.replayed)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The first byte of a kept value: which side of the result follows.
const VALUE: u8 = 0;
const ERROR: u8 = 1;

pub(super) fn run<T, E>(
    request: Request<'_>,
    operation: impl FnOnce(&Reservation) -> Result<T, E>,
) -> Result<Executed<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: OperationError,
{
    request.store.shared().check_may_wait()?;
    let format = request.terms.format;
    let mut reservation = match request.begin()? {
        Answer::Fresh(reservation) => reservation,
        other => return already(other, format),
    };
    // What could not be recorded here does not run.
    reservation.store().shared().check_thread()?;
    reservation.keep_renewed();
    let result = operation(&reservation);
    let attempts = reservation.attempt();
    match written(&result)? {
        Some(outcome) if is_too_large(&reservation, &outcome) => {
            reservation.complete_without_body(outcome)?;
        }
        Some(outcome) => {
            reservation.complete(outcome)?;
        }
        None => drop(reservation),
    }
    Ok(Executed { result, replayed: false, attempts })
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
    reservation.store().shared().check_thread()?;
    reservation.keep_renewed();
    let result = operation.await;
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

/// What is kept of a result; `None` where it is retryable, so that dropping the reservation releases it.
pub(crate) fn written<T, E>(result: &Result<T, E>) -> Result<Option<Outcome>>
where
    T: Serialize + DeserializeOwned,
    E: OperationError,
{
    let (side, value) = match result {
        Ok(value) => {
            (VALUE, codec::write_value(value).filter(|bytes| codec::read_value::<T>(bytes).is_some()))
        }
        Err(error) if error.class() == Class::Retryable => return Ok(None),
        Err(error) => {
            (ERROR, codec::write_value(error).filter(|bytes| codec::read_value::<E>(bytes).is_some()))
        }
    };
    let mut body = vec![side];
    body.extend(value.ok_or(ErrorKind::NotReadableBack)?);
    Ok(Some(Outcome::new(body).finally()))
}

fn is_too_large(reservation: &Reservation, outcome: &Outcome) -> bool {
    outcome.size() > reservation.store().shared().options.outcome_bytes_max
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

/// The value of a kept outcome.
pub(crate) fn read<T, E>(replay: Replay, format: u32) -> Result<Executed<T, E>>
where
    T: DeserializeOwned,
    E: OperationError,
{
    if let Some(omitted) = replay.omitted() {
        return Err(ErrorKind::WithoutBody { bytes: omitted.bytes }.into());
    }
    let result = match replay.outcome().body().split_first() {
        _ if replay.format() != format => None,
        Some((&VALUE, value)) => codec::read_value(value).map(Ok),
        Some((&ERROR, error)) => codec::read_value(error).map(Err),
        _ => None,
    };
    let (attempts, kept) = (replay.attempts(), replay.format());
    result.map(|result| Executed { result, replayed: true, attempts }).ok_or_else(|| {
        let bytes = replay.into_outcome().body.into();
        ErrorKind::UnreadableOutcome { format: kept, bytes }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::Never;
    use crate::digest::Parameters;
    use crate::outcome::Outcome;
    use crate::store::{Answer, Store};

    #[test]
    fn what_has_ended_is_renewed_no_more_and_takes_no_memory_11() {
        let store = Store::in_memory().unwrap();
        let parameters = Parameters::none();
        let key = |number: u32| store.key("scope", number.to_string()).unwrap();
        let entries = || store.shared().timer.entries();
        for number in 0..100 {
            let ran = store.execute(&key(number), &parameters, |held| {
                assert_eq!(entries(), 1, "this one's");
                Ok::<_, Never>(held.attempt())
            });
            assert_eq!(ran.unwrap().result, Ok(1));
        }
        let Ok(Answer::Fresh(mut held)) = store.begin(&key(100), &parameters) else { panic!("never seen") };
        held.keep_renewed();
        held.keep_renewed();
        assert_eq!(entries(), 1);
        held.complete(Outcome::new("done")).unwrap();
        assert_eq!(entries(), 0);
    }
}
