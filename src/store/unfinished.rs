//! What runs, and what was interrupted (contract 3.4, 5.4): for those who look after a store.
//!
//! Law: listed page by page, so that no list holds more than a page in memory and no lock for longer than one. A
//! record that a sweep carries on goes to a later place, so nothing that stays interrupted is missed.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::shared::Shared;
use crate::error::Result;
use crate::inflight::Slot;
use crate::ledger::Catalogue;
use crate::outcome::Checkpoint;
use crate::record::{Kind, Location, Record};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// Records looked at in one step.
const PAGE: usize = 256;

/// An operation that was begun and has not ended: it runs, or was interrupted.
#[derive(Clone, PartialEq, Eq)]
pub struct Unfinished {
    key: Key,
    since: Timestamp,
    attempt: u32,
    durable: bool,
    lease_left: Option<Duration>,
    checkpoint: Option<Checkpoint>,
}

impl Unfinished {
    /// Whose operation it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Since when this attempt runs, or ran.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Which attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether a crash would leave, or has left, it interrupted (contract 5.4).
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// What is left of its lease, where it runs; `None` while something of it is being written, and for one that was
    /// interrupted.
    #[must_use]
    pub fn lease_left(&self) -> Option<Duration> {
        self.lease_left
    }

    /// The last checkpoint (contract 6.3).
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// One that an engine has.
    #[cfg(feature = "distributed")]
    pub(crate) fn elsewhere(
        key: Key,
        record: &Record<'_>,
        durable: bool,
        lease_left: Option<Duration>,
    ) -> Self {
        let (since, attempt, checkpoint) = (record.since(), record.attempts(), record.checkpoint());
        Self { key, since, attempt, durable, lease_left, checkpoint }
    }

    fn running(slot: &Slot, now: Now) -> Self {
        Self {
            key: slot.key.clone(),
            since: slot.since,
            attempt: slot.attempt,
            durable: slot.durable.is_some(),
            lease_left: slot.lease_left(now),
            checkpoint: slot.durable.as_ref().and_then(|own| own.checkpoint.clone()),
        }
    }

    fn interrupted(record: &Record<'_>) -> Option<Self> {
        let (since, attempt, checkpoint) = (record.since(), record.attempts(), record.checkpoint());
        let key = Key::from_framed(record.key())?;
        let started = record.kind() == Kind::Started;
        started.then_some(Self { key, since, attempt, durable: true, lease_left: None, checkpoint })
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished")
            .field("key", &self.key)
            .field("since", &self.since)
            .field("attempt", &self.attempt)
            .field("durable", &self.durable)
            .field("lease_left", &self.lease_left)
            .field("checkpoint", &self.checkpoint)
            .finish()
    }
}

pub(super) fn interrupted(shared: &Shared) -> impl Iterator<Item = Result<Unfinished>> + '_ {
    let (mut page, mut last) = (VecDeque::new(), None);
    std::iter::from_fn(move || {
        loop {
            if page.is_empty() {
                page.extend(shared.stripes.interrupted.after(last, PAGE));
            }
            let at = page.pop_front()?;
            last = Some(at);
            if let Some(found) = shared.interrupted_at(at).transpose() {
                return Some(found);
            }
        }
    })
}

pub(super) fn running(shared: &Shared, age: Duration) -> impl Iterator<Item = Unfinished> + '_ {
    let now = shared.chronometer.now();
    (0..shared.stripes.count()).flat_map(move |number| {
        let stripe = shared.stripes.nth(number);
        let old = stripe.slots.live().filter(|slot| now.time.since(slot.since) >= age);
        old.map(|slot| Unfinished::running(slot, now)).collect::<Vec<_>>()
    })
}

impl Shared {
    /// The operation that was interrupted and whose record stands there; `None` where it runs again, or has ended.
    fn interrupted_at(&self, at: Location) -> Result<Option<Unfinished>> {
        self.check_open()?;
        let read = |record: Record<'_>| Unfinished::interrupted(&record);
        let Some(Some(found)) = self.with_engine(|engine| engine.ledger.read(at, read))? else {
            return Ok(None);
        };
        let hash = self.keys.fingerprint(found.key.as_framed());
        let reserved = self.stripes.lock(hash).slots.find(hash, &found.key).is_some();
        let known = !reserved && self.stripes.find(hash).contains(&at);
        Ok(known.then_some(found))
    }
}
