//! Waiting for somebody else's run, blocking and async alike (contract 3.7).
//!
//! Law: no polling. A waiter sleeps on the key's gate and on one deadline: its own, or the end of the holder's
//! lease, whichever comes first. Whatever woke it, it asks again and so comes through the one judgement; only an
//! ending that reached it through the gate is taken from there, after its digest was compared and its time looked
//! at. No time left means one look and no sleep.

use std::fmt;
use std::time::Duration;

use super::asking::{Ask, Asked, Terms, View};
use super::comparing::Outlined;
use super::seat::Patience;
use super::shared::count;
use super::{Answer, Store};
use crate::digest::{Fingerprinted, Parameters};
use crate::error::Result;
use crate::inflight::Ended;
use crate::outcome::Replay;
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

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
        self.store.answer_within(&ask, limit).await
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

impl Store {
    /// Asks, and waits for at most `limit` while the answer is *in flight*.
    pub(super) async fn answer_within(&self, ask: &Ask<'_>, limit: Duration) -> Result<Answer> {
        let shared = self.shared();
        let until =
            if limit.is_zero() { None } else { Some(shared.chronometer.now().tick.saturating_add(limit)) };
        let mut patience = Patience { wait: until.is_some(), seat: None };
        loop {
            let (view, seat) = match shared.ask(ask, patience)? {
                Asked::InFlight(view, seat) => (view, seat),
                other => match self.answer(ask, other) {
                    // Boxed, so that those who only wait are no larger for it.
                    Answer::Fresh(held) if held.is_durable() => {
                        return Box::pin(Answer::Fresh(held).once_started()).await;
                    }
                    answer => return Ok(answer),
                },
            };
            let (Some(mut seat), Some(until)) = (seat, until) else {
                return Ok(self.answer(ask, Asked::InFlight(view, None)));
            };
            let wake_up = view.lease_end.map_or(until, |lease_end| lease_end.min(until));
            seat.listener.sleep(Some((&shared.timer, wake_up))).await;
            if let Some(replay) = seat.listener.gate().ended().and_then(|ended| self.ended(ask, ended)) {
                count(&shared.counters.replays);
                return Ok(Answer::Replay(replay));
            }
            let wait = shared.chronometer.now().tick < until;
            patience = Patience { wait, seat: Some(seat) };
        }
    }

    /// What an ending that came through the gate means for this waiter; `None`: ask again.
    fn ended(&self, ask: &Ask<'_>, ended: &Ended) -> Option<Replay> {
        let kept = ended.replay.expires() > self.shared().chronometer.now().time;
        // A body that was not kept is not handed to waiters either: everybody gets the same answer.
        let same = matches!(ask.digest, Fingerprinted::Digest(digest) if digest == ended.digest);
        (kept && same && ended.replay.omitted().is_none()).then(|| ended.replay.clone())
    }

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
