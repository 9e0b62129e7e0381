//! A completion on its way to the disk, for the one who completes.
//!
//! Law: it is handed to the writer when it is first asked for, and from then on nothing but its commit decides
//! (contract 4.1): giving up the wait changes nothing. A future of our own, since callers hold thousands of them: it is as
//! large as a reservation with its outcome, and no larger.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::reservation::Reservation;
use crate::error::{Error, Result};
use crate::inflight::Written;
use crate::outcome::{Outcome, Replay};
use crate::time::Timestamp;
use crate::trace::Span;

/// What a completion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completed {
    /// The outcome is kept, and replayed until it expires.
    Kept {
        /// When it was completed.
        completed: Timestamp,
        /// From when on the key counts as never seen.
        expires: Timestamp,
    },
    /// The outcome was retryable (contract 4.2): not kept, and the key is free for the retry.
    Released,
}

/// A completion that was refused. Where the reservation still stands, it is handed back (contract 4.5).
#[derive(Debug)]
pub struct Refused<R = Reservation> {
    /// Why.
    pub error: Error,
    /// The reservation, still held; `None` where it was lost, its outcome is unknown, or its release could not be written
    /// (then its key is interrupted, or free).
    pub reservation: Option<R>,
}

impl<R> fmt::Display for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<R: fmt::Debug> std::error::Error for Refused<R> {}

impl<R> From<Refused<R>> for Error {
    fn from(refused: Refused<R>) -> Self {
        refused.error
    }
}

/// An end on its way to the disk, and what it comes to.
pub(super) struct Pending {
    written: Arc<Written>,
    completed: Completed,
    /// Held for nothing but its drop: memory is given back by the thread that took it, and not by the writer.
    _replay: Option<Replay>,
    span: Span,
}

/// | state | next |
/// | --- | --- |
/// | held | handed over → pending; refused, or released at once → ended |
/// | pending | its commit → ended |
/// | ended | |
#[expect(
    clippy::large_enum_variant,
    reason = "it begins as the large one, and a box would be one more allocation"
)]
pub(super) enum Completing {
    Held { reservation: Reservation, outcome: Outcome, without_body: bool },
    Pending(Pending),
    Ended,
}

impl Completing {
    pub(super) fn begin(reservation: Reservation, outcome: Outcome, without_body: bool) -> Self {
        Self::Held { reservation, outcome, without_body }
    }
}

impl Future for Completing {
    type Output = Result<Completed, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Self::Held { .. } = *self
            && let Self::Held { reservation, outcome, without_body } =
                std::mem::replace(&mut *self, Self::Ended)
        {
            match reservation.hand_over(outcome, without_body)? {
                Some(pending) => *self = Self::Pending(pending),
                None => return Poll::Ready(Ok(Completed::Released)),
            }
        }
        // One that has ended is not to be polled again; if it is, it never ends.
        let Self::Pending(pending) = &*self else { return Poll::Pending };
        let told = ready!(pending.poll(context));
        *self = Self::Ended;
        Poll::Ready(told.map_err(|error| Refused { error, reservation: None }))
    }
}

impl Pending {
    pub(super) fn new(written: Arc<Written>, completed: Completed, replay: Option<Replay>) -> Self {
        Self { written, completed, _replay: replay, span: Span::default() }
    }

    /// The attempt whose end it is.
    pub(super) fn within(self, span: Span) -> Self {
        Self { span, ..self }
    }

    pub(super) async fn wait(self) -> Result<Completed> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Completed>> {
        self.written.poll(context).map(|told| {
            let how = if matches!(self.completed, Completed::Released) { "released" } else { "kept" };
            self.span.ended(told.as_ref().map(|()| how));
            told.map(|()| self.completed)
        })
    }
}
