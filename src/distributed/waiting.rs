//! Waiting for somebody else's run, here or in another process (contract 3.7).
//!
//! Law: a waiter sleeps on the key's gate and on one deadline: its own, the end of the lease, or, where it runs elsewhere,
//! the next look. An engine that tells ends wakes it sooner. Whatever woke it, it looks again and so comes through the one
//! judgement; only an ending of this process's own is taken from the gate, its digest compared.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::asking::{Ask, Memory, Step, Terms, View};
use super::desk::Seat;
use super::shared::{Shared, count};
use super::{Answer, Store};
use crate::comparing::Outlined;
use crate::digest::{Fingerprinted, Parameters};
use crate::error::Result;
use crate::outcome::Replay;
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

/// How often one who waits for another process looks again, whether he was told or not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Somebody runs this operation at this moment, in this process or another. Wait for it, or tell the client to come again.
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
    pub(super) fn new(store: Store, ask: &Ask<'_>, view: View) -> Self {
        Self {
            store,
            key: ask.key.clone(),
            hash: ask.hash,
            parameters: ask.parameters.clone().into_owned(),
            digest: ask.digest,
            outline: ask.outline.clone(),
            terms: ask.terms,
            view,
        }
    }

    /// Since when this attempt runs, by the engine's time as its holder knew it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.view.since
    }

    /// Which attempt runs, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.view.attempt
    }

    /// What is left of its lease; `None` while its end is on its way to the engine.
    #[must_use]
    pub fn lease_left(&self) -> Option<Duration> {
        self.view.lease_left
    }

    /// Waits until the operation has ended, for at most `limit`: then the answer is in flight again.
    ///
    /// # Errors
    /// As [`Store::begin`]; *overloaded* where too many wait already.
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
        answer(&self.store, &ask, limit).await
    }
}

/// Asks, and waits for at most `limit` while the answer is *in flight*.
pub(super) async fn answer(store: &Store, ask: &Ask<'_>, limit: Duration) -> Result<Answer> {
    let answer = ask_until(store, ask, limit).await;
    store.shared().count_answer(&answer);
    answer
}

async fn ask_until(store: &Store, ask: &Ask<'_>, limit: Duration) -> Result<Answer> {
    let shared = store.shared();
    let until = shared.time.now().tick.saturating_add(limit);
    let mut memory = Memory::default();
    loop {
        let patient = shared.time.now().tick < until;
        let (view, own) = match shared.step(store, ask, patient, &mut memory).await? {
            Step::Answered(answer) => return Ok(answer),
            Step::Again => continue,
            Step::InFlight(view, None) => {
                if !memory.sat {
                    count(&shared.counters.in_flight);
                }
                return Ok(Shared::in_flight(store, ask, view));
            }
            Step::InFlight(view, Some(own)) => (view, own),
        };
        // One who waits is counted when he sits down.
        if !std::mem::replace(&mut memory.sat, true) {
            count(&shared.counters.in_flight);
        }
        let here = shared.desk.with_held(ask.hash, ask.key, view.fence, |_| ()).is_some();
        let watch = || shared.desk.with(ask.hash, ask.key, |place| place.is_to_be_watched(view.fence));
        if !here && watch() && !shared.watch(ask, view.fence).await {
            // It has ended between the look and this.
            memory.seat = Some(own);
            continue;
        }
        let now = shared.time.now().tick;
        let lease_end = view.lease_left.map(|left| now.saturating_add(left));
        let look = (!here).then(|| now.saturating_add(LOOK_AGAIN));
        let wake_up = [lease_end, look].into_iter().flatten().fold(until, Duration::min);
        let deadline = Some((&shared.timer, wake_up));
        std::future::poll_fn(|context| own.listener.poll(context, deadline)).await;
        if let Some(replay) = ended(shared, ask, &own) {
            return Ok(Answer::Replay(replay));
        }
        memory.seat = Some(own);
    }
}

/// The outcome that woke this waiter, where that is its answer.
fn ended(shared: &Arc<Shared>, ask: &Ask<'_>, seat: &Seat) -> Option<Replay> {
    let ended = seat.listener.gate().ended()?;
    let kept = ended.replay.expires() > shared.time.now().time;
    // A body that was not kept is not handed to waiters either: everybody gets the same answer.
    let same = matches!(ask.digest, Fingerprinted::Digest(digest) if digest == ended.digest);
    (kept && same && ended.replay.omitted().is_none()).then(|| ended.replay.clone())
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

/// Wakes whoever waits for the ends that an engine tells of, for as long as there is a store.
pub(super) async fn listen(shared: std::sync::Weak<Shared>, engine: Arc<dyn crate::engine::Engine>) {
    loop {
        let told = engine.told().await;
        let Some(shared) = shared.upgrade() else { return };
        // Where telling was interrupted something may have been missed: all look again.
        let interrupted = told.is_err();
        shared.desk.wake(told.ok(), |key| shared.keys.fingerprint(key.as_framed()));
        drop(shared);
        if interrupted {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
