//! The spans and events there are.

#[cfg(feature = "tower")]
use std::future::Future;

use tracing::{Level, event};

use crate::error::{Error, ErrorKind};

/// An attempt, from its reservation to its end.
pub(crate) struct Span(tracing::Span);

impl Default for Span {
    fn default() -> Self {
        Self(tracing::Span::none())
    }
}

impl Span {
    pub(crate) fn of_attempt(hash: u64, attempt: u32, durable: bool, resumed: bool) -> Self {
        let key = format_args!("{hash:016x}");
        Self(
            tracing::span!(target: "oncekey", Level::INFO, "oncekey.attempt", %key, attempt, durable, resumed),
        )
    }

    pub(crate) fn ended(&self, how: Result<&'static str, &Error>) {
        self.0.in_scope(|| match how {
            Ok(how) => event!(target: "oncekey", Level::DEBUG, how, "ended"),
            Err(error) => event!(target: "oncekey", Level::WARN, how = word(error), "ended"),
        });
    }

    /// What runs in it.
    #[cfg(feature = "tower")]
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(work, self.0.clone())
    }
}

/// A request was answered with something else than a reservation.
pub(crate) fn answered(hash: u64, answer: Result<&'static str, &Error>) {
    let key = format_args!("{hash:016x}");
    match answer {
        Ok(answer) => event!(target: "oncekey", Level::DEBUG, %key, answer, "answered"),
        Err(error) if error.is_mismatch() => {
            event!(target: "oncekey", Level::INFO, %key, answer = word(error), "answered");
        }
        Err(error) => event!(target: "oncekey", Level::WARN, %key, answer = word(error), "answered"),
    }
}

/// An error in a word or two.
fn word(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidToken(_) => "invalid token",
        ErrorKind::InvalidScope(_) => "invalid scope",
        ErrorKind::InvalidParameters(_) => "invalid parameters",
        ErrorKind::TooLarge { .. } => "too large",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::CannotCompare(_) => "cannot compare",
        ErrorKind::InFlight { .. } => "in flight",
        ErrorKind::UnknownOutcome => "unknown outcome",
        ErrorKind::Interrupted { .. } => "interrupted",
        ErrorKind::Expired { .. } => "expired",
        ErrorKind::Damaged { .. } => "damaged",
        ErrorKind::ReservationLost { .. } => "reservation lost",
        ErrorKind::Overloaded { .. } => "overloaded",
        ErrorKind::Full { .. } => "full",
        ErrorKind::Stopped { .. } => "stopped",
        ErrorKind::Closed => "closed",
        ErrorKind::Io { .. } => "io",
        _ => "refused",
    }
}
