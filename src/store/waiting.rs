//! Waiting for somebody else's run, blocking and async alike (contract 3.7).
//!
//! Law: no polling. A waiter sleeps on the key's gate and on one deadline: its own, or the end of the holder's
//! lease, whichever comes first. Whatever woke it, it asks again and so comes through the one judgement; only an
//! ending that reached it through the gate is taken from there, after its digest was compared and its time looked
//! at. No time left means one look and no sleep.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::asking::{Ask, Asked, Terms, View};
use super::request::Request;
use super::seat::{Patience, Seat};
use super::shared::count;
use super::{Answer, Store};
use crate::comparing::Outlined;
use crate::digest::{Fingerprinted, Parameters};
use crate::error::Result;
use crate::inflight::Ended;
use crate::outcome::Replay;
use crate::sync::{block_on, shielded};
use crate::time::Timestamp;
use crate::token::Key;
use crate::trace::answered;

/// Somebody runs this operation at this moment. Wait for it, or tell the client to come again.
#[must_use = "an operation in flight wants an answer: wait for it, or tell the client to come again"]
pub struct InFlight {
    store: Store,
    key: Key,
    hash: u64,
    parameters: Parameters<'static>,
    digest: Fingerprinted,
    outline: Outlined,
    terms: Terms,
    view: View,
}

impl InFlight {
    /// Since when this attempt runs.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.view.since
    }

    /// Which attempt runs, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.view.attempt
    }

    /// What is left of its lease; `None` while its start, a checkpoint or its end is being written.
    #[must_use]
    pub fn lease_left(&self) -> Option<Duration> {
        self.view.lease_left
    }

    /// Waits until the operation has ended, for at most `limit`: then the answer is in flight again.
    ///
    /// # Errors
    /// As `Store::begin`; *overloaded* where too many wait already.
    pub fn wait(self, limit: Duration) -> Result<Answer> {
        self.store.shared().check_may_wait()?;
        block_on(self.wait_async(limit))
    }

    /// [`InFlight::wait`], for async callers, on any runtime. Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`InFlight::wait`].
    pub async fn wait_async(self, limit: Duration) -> Result<Answer> {
        let (key, parameters) = (self.key, self.parameters);
        let (hash, digest, outline, terms) = (self.hash, self.digest, self.outline, self.terms);
        let ask = Ask { key: &key, hash, parameters: &parameters, digest, outline, terms };
        Answering::within(&self.store, ask, limit).await
    }
}

/// A request until it is answered. A future of our own, since thousands may wait: it is little larger than what they
/// asked.
///
/// | state | next |
/// | --- | --- |
/// | given | its digest made → asking |
/// | asking | *in flight*, with a place → asleep; durable → starting; all else → ended |
/// | asleep | the outcome → ended; any other wake-up → asking |
/// | starting | its start is on disk, or failed → ended |
/// | ended | |
pub(super) enum Answering<'a> {
    Given(Request<'a>),
    Asking(Asking<'a>, Patience),
    Asleep(Asking<'a>, Seat, Duration),
    Starting(Pin<Box<dyn Future<Output = Result<Answer>> + Send>>),
    Ended,
}

/// Who asks what, and until when he waits.
pub(super) struct Asking<'a> {
    store: &'a Store,
    ask: Ask<'a>,
    began: Duration,
    until: Option<Duration>,
}

impl<'a> Answering<'a> {
    /// Asks, and waits for at most `limit` while the answer is *in flight*.
    fn within(store: &'a Store, ask: Ask<'a>, limit: Duration) -> Self {
        let patient = !limit.is_zero();
        let began = if patient { store.shared().chronometer.now().tick } else { Duration::ZERO };
        let until = patient.then(|| began.saturating_add(limit));
        Self::Asking(Asking { store, ask, began, until }, Patience { wait: until.is_some(), seat: None })
    }

    /// What needs no waiting.
    fn step(self) -> Result<ControlFlow<Answer, Self>> {
        match self {
            Self::Given(request) => Self::given(&request).map(ControlFlow::Continue),
            Self::Asking(asking, patience) => asking.ask(patience),
            Self::Asleep(asking, seat, _) => Ok(ControlFlow::Continue(asking.again(seat))),
            other => Ok(ControlFlow::Continue(other)),
        }
    }

    fn given(request: &Request<'a>) -> Result<Self> {
        let Request { store, key, parameters, terms, wait } = *request;
        let ask = store.shared().prepare(key, parameters, terms)?;
        Ok(Self::within(store, ask, wait.unwrap_or_default()))
    }
}

impl Future for Answering<'_> {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            // What goes on waiting is not moved, nor is what was woken by an outcome.
            match &mut *self {
                Self::Asleep(asking, seat, wake_up) => {
                    let deadline = (&asking.store.shared().timer, *wake_up);
                    ready!(seat.listener.poll(context, Some(deadline)));
                    if let Some(replay) = asking.outcome(seat) {
                        *self = Self::Ended;
                        return Poll::Ready(Ok(Answer::Replay(replay)));
                    }
                }
                Self::Starting(start) => {
                    let started = ready!(start.as_mut().poll(context));
                    *self = Self::Ended;
                    return Poll::Ready(started);
                }
                // It is not to be polled again; if it is, it never ends.
                Self::Ended => return Poll::Pending,
                Self::Given(_) | Self::Asking(..) => {}
            }
            match std::mem::replace(&mut *self, Self::Ended).step()? {
                ControlFlow::Continue(next) => *self = next,
                ControlFlow::Break(answer) => return Poll::Ready(Ok(answer)),
            }
        }
    }
}

impl<'a> Asking<'a> {
    fn ask(self, patience: Patience) -> Result<ControlFlow<Answer, Answering<'a>>> {
        let has_waited = patience.seat.is_some();
        let asked = self.store.shared().ask(&self.ask, patience);
        if has_waited && !matches!(asked, Ok(Asked::InFlight(_, Some(_)))) {
            self.waited();
        }
        let (view, seat) = match asked? {
            Asked::InFlight(view, seat) => (view, seat),
            other => {
                return Ok(match self.store.answer(&self.ask, other) {
                    Answer::Fresh(held) if held.is_durable() => {
                        ControlFlow::Continue(Answering::Starting(Box::pin(held.once_started())))
                    }
                    answer => ControlFlow::Break(answer),
                });
            }
        };
        let (Some(seat), Some(until)) = (seat, self.until) else {
            let answer = self.store.answer(&self.ask, Asked::InFlight(view, None));
            return Ok(ControlFlow::Break(answer));
        };
        let wake_up = view.lease_end.map_or(until, |lease_end| lease_end.min(until));
        Ok(ControlFlow::Continue(Answering::Asleep(self, seat, wake_up)))
    }

    /// The outcome that woke him, where that is his answer.
    fn outcome(&self, seat: &Seat) -> Option<Replay> {
        let ended = seat.listener.gate().ended()?;
        // One reading for both: a second one was a sixth of what a woken waiter takes.
        let now = self.store.shared().chronometer.now();
        let replay = ended_for(&self.ask, ended, now.time)?;
        count(&self.store.shared().counters.replays);
        answered(self.ask.hash, Ok("replay"));
        self.waited_until(now.tick);
        Some(replay)
    }

    /// His wait is over.
    fn waited(&self) {
        // He has his answer: a clock that panics takes nothing of it (contract 5.11).
        if let Some(now) = shielded(|| self.store.shared().chronometer.now()) {
            self.waited_until(now.tick);
        }
    }

    fn waited_until(&self, tick: Duration) {
        self.store.shared().counters.waits.add_time(tick.saturating_sub(self.began));
    }

    /// He was woken by anything else.
    fn again(self, seat: Seat) -> Answering<'a> {
        let now = self.store.shared().chronometer.now().tick;
        let wait = self.until.is_some_and(|until| now < until);
        Answering::Asking(self, Patience { wait, seat: Some(seat) })
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("key", &self.key)
            .field("since", &self.view.since)
            .field("attempt", &self.view.attempt)
            .field("lease_left", &self.view.lease_left)
            .finish_non_exhaustive()
    }
}

/// What an ending that came through the gate means for this waiter; `None`: ask again.
fn ended_for(ask: &Ask<'_>, ended: &Ended, now: Timestamp) -> Option<Replay> {
    let kept = ended.replay.expires() > now;
    // A body that was not kept is not handed to waiters either: everybody gets the same answer.
    let same = matches!(ask.digest, Fingerprinted::Digest(digest) if digest == ended.digest);
    (kept && same && ended.replay.omitted().is_none()).then(|| ended.replay.clone())
}

impl Store {
    /// The public form of an answer.
    pub(super) fn answer(&self, ask: &Ask<'_>, asked: Asked) -> Answer {
        match asked {
            Asked::Fresh(given) => {
                let (key, terms) = (ask.key.clone(), ask.terms);
                Answer::Fresh(super::Reservation::new(self.clone(), key, ask.hash, given, terms))
            }
            Asked::Replay(replay) => Answer::Replay(replay),
            Asked::InFlight(view, _) => Answer::InFlight(InFlight {
                store: self.clone(),
                key: ask.key.clone(),
                hash: ask.hash,
                parameters: ask.parameters.clone().into_owned(),
                digest: ask.digest,
                outline: ask.outline.clone(),
                terms: ask.terms,
                view,
            }),
        }
    }
}
