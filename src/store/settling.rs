//! Ending a key from outside: forgetting it, and resolving one that was interrupted (contract 4.6).
//!
//! Law: a live reservation is never touched: both answer *in flight*. A key that was interrupted, or durably released, is
//! claimed in the stripe first, so that nobody goes on with it while its end is being written; the claim goes with its
//! guard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::completing::{Completed, Pending};
use super::shared::{Deed, Shared, Tag, no_writer};
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::inflight::{Phase, Slot, Written};
use crate::ledger::{Catalogue, Entry, Meaning, Room, What};
use crate::outcome::{Checkpoint, Class, Outcome};
use crate::record::{Bound, Finished, Forgotten, Kind, Record, Started, Weight};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// An interrupted operation, as its record has it.
#[derive(Clone)]
struct Interrupted {
    bound: Bound,
    since: Timestamp,
    attempt: u32,
    format: u32,
    checkpoint: Option<Checkpoint>,
}

/// A key that nobody goes on with now: its end is being written.
struct Claim<'a> {
    shared: &'a Shared,
    hash: u64,
    fence: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let slot = self.shared.stripes.lock(self.hash).slots.remove(self.hash, self.fence);
        if let Some(slot) = slot {
            self.shared.dismiss(&slot);
            if let Some(gate) = slot.gate {
                gate.wake_all();
            }
        }
    }
}

impl Shared {
    pub(super) fn forget(&self, key: &Key) -> Result<bool> {
        self.check_open()?;
        self.check_process()?;
        let now = self.chronometer.now();
        let hash = self.keys.fingerprint(key.as_framed());
        let ledger = self.ledger()?;
        self.check_not_reserved(key, hash, now)?;
        // A note, or two where a start and its end both stand there; not under the log's lock.
        let _aside = ledger.set_aside(2 * Room::of_completion(0))?;
        let mut log = ledger.log();
        self.check_not_reserved(key, hash, now)?;
        ledger.check_running()?;
        log.rotate_if_full(now.time);
        let (mut notes, mut kept, mut unfinished) = (Vec::new(), false, None);
        for target in self.stripes.find(hash) {
            let own = |record: Record<'_>| {
                let counts = record.kind() != Kind::Released && record.expires() > now.time;
                let unfinished = matches!(record.kind(), Kind::Started | Kind::Released);
                let attempts = unfinished.then(|| record.attempts());
                (record.key() == key.as_framed()).then(|| (counts, attempts, record.weight(&self.keys)))
            };
            if let Some(Some((counts, attempts, weight))) = ledger.read(target, own)? {
                kept |= counts;
                unfinished = unfinished.max(attempts);
                notes.push(Forgotten { time: now.time, target, hash, weight });
            }
        }
        if notes.is_empty() {
            return self.no_record().map(|_| false);
        }
        // So that nobody goes on with an attempt that is being forgotten.
        let _claim = unfinished.map(|attempt| self.claim(key, hash, now, attempt)).transpose()?;
        let entries: Vec<Entry<'_>> = notes.iter().copied().map(Entry::forgotten).collect();
        let appended = log.append(now.time, &entries, true);
        if let Err(error) = appended {
            // The claim wakes those who wait: outside the log.
            drop(log);
            return Err(error);
        }
        for note in &notes {
            self.stripes.remove(hash, note.target, note.weight);
        }
        drop(log);
        Ok(kept)
    }

    /// Settles an interrupted key: with what its operation returned, or, where that is retryable, as released (4.2).
    pub(super) fn hand_over_resolution(&self, key: &Key, outcome: &Outcome) -> Result<Pending> {
        self.check_open()?;
        self.check_process()?;
        let now = self.chronometer.now();
        let hash = self.keys.fingerprint(key.as_framed());
        self.check_not_reserved(key, hash, now)?;
        let found = self.find_interrupted(key, hash)?;
        let class = outcome.class_by(self.options.classifier.as_ref());
        if class == Class::Final {
            self.check_outcome(outcome, outcome.size())?;
        }
        let claim = self.claim(key, hash, now, found.attempt)?;
        // Now that nobody else can end it: is it still the one that was found?
        let found = self.find_interrupted(key, hash)?;
        let expires = now.time.saturating_add(self.options.retention);
        let (entry, weight) = match class {
            Class::Final => self.resolved(key, hash, &found, outcome, now.time, expires),
            Class::Retryable => self.let_go(key, hash, &found, expires),
        };
        let completed = match class {
            Class::Final => Completed::Kept { completed: now.time, expires },
            Class::Retryable => Completed::Released,
        };
        claim.take_room(Room::of_completion(entry.bytes.len() as u64))?;
        claim.hand_over(&entry, weight).map(|written| Pending::new(written, completed, None))
    }

    /// The interrupted operation of this key.
    fn find_interrupted(&self, key: &Key, hash: u64) -> Result<Interrupted> {
        let mut empty = None;
        loop {
            let places = self.stripes.find(hash);
            let read = |_, record: Record<'_>| Interrupted::of(&record);
            let (found, replaces) =
                self.with_engine(|engine| engine.ledger.newest(&places, key.as_framed(), read))?;
            // A sweep may have carried the record on between the look and the reading: then look again.
            if self.stripes.replaced(hash, key, &places, replaces) {
                match found {
                    Some(Some(found)) => return Ok(found),
                    None if empty.as_ref() != Some(&places) => empty = Some(places),
                    None => return self.no_record().and(Err(ErrorKind::NotInterrupted.into())),
                    Some(None) => return Err(ErrorKind::NotInterrupted.into()),
                }
            }
        }
    }

    fn resolved(
        &self,
        key: &Key,
        hash: u64,
        found: &Interrupted,
        outcome: &Outcome,
        completed: Timestamp,
        expires: Timestamp,
    ) -> (Entry<'static>, Weight) {
        let record = Finished {
            key: key.as_framed(),
            bound: found.bound.clone(),
            completed,
            expires,
            attempts: found.attempt,
            format: found.format,
            outcome,
            omitted: None,
        };
        self.to_append(key, hash, (record.encode(), record.weighs()), expires)
    }

    fn let_go(
        &self,
        key: &Key,
        hash: u64,
        found: &Interrupted,
        expires: Timestamp,
    ) -> (Entry<'static>, Weight) {
        let record = Started {
            key: key.as_framed(),
            bound: found.bound.clone(),
            since: found.since,
            attempt: found.attempt,
            format: found.format,
            checkpoint: found.checkpoint.as_ref(),
            released_until: Some(expires),
        };
        self.to_append(key, hash, (record.encode(), record.weighs()), expires)
    }

    /// What is appended of a record's bytes, and what it counts for.
    fn to_append(
        &self,
        key: &Key,
        hash: u64,
        (record, bytes): (Vec<u8>, u32),
        expires: Timestamp,
    ) -> (Entry<'static>, Weight) {
        let weight = Weight { scope: self.scope_hash(key), bytes };
        let meaning = Meaning::Kept(What::Kept, weight);
        (Entry { hash, bytes: record.into(), expires, meaning }, weight)
    }

    fn check_not_reserved(&self, key: &Key, hash: u64, now: Now) -> Result<()> {
        let mut stripe = self.stripes.lock(hash);
        stripe.slots.find(hash, key).map_or(Ok(()), |slot| Err(reserved(slot, now).into()))
    }

    /// Reserves an interrupted key for the one who settles it.
    fn claim(&self, key: &Key, hash: u64, now: Now, attempt: u32) -> Result<Claim<'_>> {
        let mut stripe = self.stripes.lock(hash);
        if self.reopening.load(Ordering::Acquire) {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        }
        if let Some(slot) = stripe.slots.find(hash, key) {
            return Err(reserved(slot, now).into());
        }
        let fence = stripe.next_fence();
        stripe.slots.insert(Slot {
            hash,
            key: key.clone(),
            fence,
            phase: Phase::Settling,
            // Its record has it, bound to the key.
            digest: Digest::from_bytes([0; Digest::BYTES]),
            outline: None,
            attempt,
            since: now.time,
            lease: Duration::ZERO,
            lease_end: now.tick,
            declared: 0,
            room: 0,
            durable: None,
            remembered: None,
            replaces: Vec::new(),
            waiters: 0,
            gate: None,
        });
        drop(stripe);
        self.stripes.quota.enter(|| self.scope_hash(key), 0);
        Ok(Claim { shared: self, hash, fence })
    }
}

impl Claim<'_> {
    /// Sets aside the disk room of its end, for which the claim answers.
    fn take_room(&self, bytes: u64) -> Result<()> {
        self.shared.take_room(bytes)?;
        if let Some(slot) = self.shared.stripes.lock(self.hash).slots.held(self.hash, self.fence) {
            slot.room += bytes;
        }
        Ok(())
    }

    /// From here on its commit decides.
    fn hand_over(self, entry: &Entry<'_>, weight: Weight) -> Result<Arc<Written>> {
        let written = Arc::<Written>::default();
        let (hash, fence) = (self.hash, self.fence);
        let tag = Tag { hash, fence, written: Some(Arc::clone(&written)), weight, deed: Deed::Settle };
        self.shared.with_engine(|engine| {
            engine.ledger.check_running()?;
            engine.send(entry, true, tag).map_err(no_writer)
        })?;
        std::mem::forget(self);
        Ok(written)
    }
}

impl Interrupted {
    fn of(record: &Record<'_>) -> Option<Self> {
        (record.kind() == Kind::Started).then(|| Self {
            bound: record.bound(),
            since: record.since(),
            attempt: record.attempts(),
            format: record.format(),
            checkpoint: record.checkpoint(),
        })
    }
}

/// What one is told who would end a key that somebody holds.
fn reserved(slot: &Slot, now: Now) -> ErrorKind {
    if slot.is_unknown() {
        return ErrorKind::UnknownOutcome;
    }
    ErrorKind::InFlight { attempt: slot.attempt, lease_left: slot.lease_left(now) }
}
