//! The contract as a small model: one thread, no disk, no locks, no clock of its own. Test your own store
//! against it: do the same to both, and compare the answers.
//!
//! Law: [`Model::begin`] is the table of contract 3, row by row; everything else only changes which row a key
//! stands in. A key stands in exactly one:
//!
//! | state | `slots` | `records` | asked again, same parameters | other parameters |
//! | --- | --- | --- | --- | --- |
//! | free | - | none, or expired | reservation, if the limits allow (3.5) | reservation |
//! | running, lease left | running | none, or expired | in flight (3.2) | mismatch |
//! | running, lease lapsed | running | none, or expired | taken over, attempt + 1 (4.4) | mismatch |
//! | in doubt | doubt | none, or expired | unknown outcome (3.9) | mismatch |
//! | finished | - | finished, not expired | replay (3.3) | mismatch |
//! | interrupted | - | started | resumed, attempt + 1, or unknown outcome (3.4) | mismatch |
//! | released | - | released, not expired | reservation, attempt + 1, with its checkpoint (4.3) | reservation, attempt + 1 |
//!
//! A durable reservation that runs has both: a running slot, and a started record. A crash takes the slot.
//!
//! *Waiting* is no state of its own: a waiter asks again whenever anything happened, in order of arrival,
//! until the answer is another than *in flight* or its patience ends (3.7). What a real environment chooses is
//! an argument: whether a failed commit reached the disk, how many relaxed completions a crash left, which
//! waiter is first.
//!
//! Deliberately absent: damage (3.10, 5.9); the caller's own writes (6.1, 6.2); room on the disk (5.10); and how a digest is made (2): parameters come as a
//! [`Fingerprint`].
//!
//! ```
//! use std::time::Duration;
//! use oncekey::Outcome;
//! use oncekey::reference::{Answer, Fingerprint, Model, Refusal, Settings, Waited};
//!
//! let mut model = Model::new(Settings::default());
//! let key = model.key("account-1", "5f0e9a").unwrap();
//! let large = Fingerprint::of("large disk");
//!
//! let Ok(Answer::Fresh(reservation)) = model.begin(&key, large) else { panic!("first asked") };
//! let Ok(Waited::Waiting(waiter)) = model.wait(&key, large, Duration::from_secs(5)) else { panic!("it runs") };
//! assert_eq!(model.begin(&key, Fingerprint::of("small disk")), Err(Refusal::Mismatch));
//!
//! model.complete(&reservation, Outcome::http(201, "d-1")).unwrap();
//! let woken = model.woken();
//! assert_eq!(woken[0].waiter, waiter);
//! assert!(matches!(&woken[0].answer, Ok(Answer::Replay(replay)) if replay.outcome().body() == b"d-1"));
//! model.validate();
//! ```

mod audit;
mod epochs;
mod explaining;
mod finishing;
mod interrupted;
mod waiting;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use explaining::Named;
pub use words::{
    Answer, Asking, Attempt, Completed, Fence, Fingerprint, Known, OnDisk, Refusal, Reservation, Running,
    Settings, Usage, Waited, WaiterId, Woken,
};

use crate::error::{Limit, ScopeFault, TokenFault};
use crate::options::OnInterrupted;
use crate::outcome::{Checkpoint, Replay};
use crate::time::Timestamp;
use crate::token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX};

/// A store without disk and threads. See the [module](self).
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    condition: Condition,
    time: Time,
    last_fence: Fence,
    /// Memory that forgets: a crash empties it, but for doubts, which the disk will settle.
    slots: BTreeMap<Key, Slot>,
    /// What is kept, as memory knows it.
    records: BTreeMap<Key, Record>,
    /// What a crash leaves of `records` at least, and what may be left besides, in order (5.2, 5.8).
    disk: BTreeMap<Key, Record>,
    unsynced: Vec<(Key, Record)>,
    waiters: BTreeMap<WaiterId, Waiter>,
    waiters_ever: u64,
    preferred: Option<WaiterId>,
    woken: Vec<Woken>,
    settings_replaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Open,
    /// A commit failed: replays go on, nothing new is taken on (5.5).
    Stopped,
    /// Closed or crashed: everybody is answered *closed* (11).
    Shut,
}

/// The store's time goes with the monotonic clock from `start`, whatever the wall clock does (7.2).
#[derive(Clone, Debug)]
struct Time {
    wall: Timestamp,
    monotonic: Duration,
    start: Timestamp,
    start_monotonic: Duration,
    last_on_disk: Timestamp,
}

#[derive(Clone, Debug)]
enum Slot {
    Running(Live),
    /// A completion whose commit failed, and whether the disk has it, which nobody knows before it is reopened.
    Doubt(Record, OnDisk),
}

#[derive(Clone, Debug)]
struct Live {
    fence: Fence,
    attempt: u32,
    since: Timestamp,
    fingerprint: Fingerprint,
    named: Option<Named>,
    lease: Duration,
    /// On the monotonic clock (4.4).
    lease_end: Duration,
    retention: Duration,
    declared: u64,
    relaxed: bool,
    /// Its start is a record, too (5.4).
    durable: bool,
    /// What it sees of the attempts before it (6.3).
    checkpoint: Option<Checkpoint>,
    /// It was resumed, so that no limit was asked.
    beyond_limits: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    fingerprint: Fingerprint,
    named: Option<Named>,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Finished(Replay),
    /// Durably started: it runs, where a slot says so, or else was interrupted (3.4). Kept until it ends (4.6).
    Started(Attempt),
    /// Released, and remembered until then, so that attempts count on (4.3).
    Released(Attempt, Timestamp),
}

/// What a key's past leaves to the next attempt.
#[derive(Clone, Debug, Default)]
struct Past {
    attempts: u32,
    checkpoint: Option<Checkpoint>,
    interrupted: bool,
}

#[derive(Clone, Debug)]
struct Waiter {
    key: Key,
    asking: Asking,
    /// On the monotonic clock.
    deadline: Duration,
}

impl Model {
    /// An empty store, open, in its first epoch.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let wall = settings.wall;
        let zero = Duration::ZERO;
        Self {
            condition: Condition::Open,
            time: Time { wall, monotonic: zero, start: wall, start_monotonic: zero, last_on_disk: wall },
            last_fence: Fence { epoch: 1, counter: 0 },
            slots: BTreeMap::new(),
            records: BTreeMap::new(),
            disk: BTreeMap::new(),
            unsynced: Vec::new(),
            waiters: BTreeMap::new(),
            waiters_ever: 0,
            preferred: None,
            woken: Vec::new(),
            settings_replaced: false,
            settings,
        }
    }

    /// The key of a token under a scope (1.1, 1.2). Scope before token, in each: empty, too long, not ASCII.
    ///
    /// # Errors
    /// [`Refusal::InvalidScope`], [`Refusal::InvalidToken`].
    pub fn key(&self, scope: impl AsRef<[u8]>, token: impl AsRef<[u8]>) -> Result<Key, Refusal> {
        let (scope, token) = (scope.as_ref(), token.as_ref());
        let scope_max = self.settings.scope_bytes_max.min(SCOPE_BYTES_MAX);
        let token_max = self.settings.token_bytes_max.min(TOKEN_BYTES_MAX);
        if scope.is_empty() {
            return Err(Refusal::InvalidScope(ScopeFault::Empty));
        }
        if scope.len() > scope_max {
            return Err(Refusal::InvalidScope(ScopeFault::TooLong {
                measured: scope.len(),
                limit: scope_max,
            }));
        }
        if token.is_empty() {
            return Err(Refusal::InvalidToken(TokenFault::Empty));
        }
        if token.len() > token_max {
            return Err(Refusal::InvalidToken(TokenFault::TooLong {
                measured: token.len(),
                limit: token_max,
            }));
        }
        if let Some(position) = token.iter().position(|byte| *byte >= 0x80) {
            return Err(Refusal::InvalidToken(TokenFault::NotAscii { position }));
        }
        Ok(checked_key(scope, token))
    }

    /// Asks, without waiting: the table of contract 3, in its order.
    ///
    /// # Errors
    /// The errors of that table, and [`Refusal::Closed`].
    pub fn begin(&mut self, key: &Key, asking: impl Into<Asking>) -> Result<Answer, Refusal> {
        self.answer(key, &asking.into())
    }

    fn answer(&mut self, key: &Key, asking: &Asking) -> Result<Answer, Refusal> {
        let now = self.now();
        self.open()?; // 11
        match self.slots.get(key) {
            Some(Slot::Running(live)) if live.fingerprint != asking.fingerprint => {
                return Err(Refusal::Mismatch);
            } // 3.2
            Some(Slot::Doubt(record, _)) if record.fingerprint != asking.fingerprint => {
                return Err(Refusal::Mismatch); // 3.9
            }
            Some(Slot::Doubt(..)) => return Err(Refusal::UnknownOutcome), // 3.9
            Some(Slot::Running(live)) if self.lease_left(live).is_zero() => {
                // 4.4: time left 0 has lapsed. It replaces a live one, so that no limit is asked, and no more room is
                // set aside than was.
                let (declared, durable) = (live.declared, live.durable);
                // 6.3: the next holder sees what this one wrote, or saw.
                let checkpoint = if durable { self.checkpoint_of(key) } else { live.checkpoint.clone() };
                let past = Past { attempts: live.attempt, checkpoint, interrupted: false };
                self.going()?; // 5.5
                return Ok(Answer::Fresh(self.reserve(key, asking, past, declared, durable)));
            }
            Some(Slot::Running(live)) => return Ok(Answer::InFlight(self.running(live))), // 3.2
            None => {}
        }
        let declared = asking.declared.unwrap_or(self.settings.declared_outcome_bytes);
        let mut past = Past::default();
        if let Some(record) = self.records.get(key).filter(|record| !record.has_expired(now)) {
            let same = record.fingerprint == asking.fingerprint;
            match &record.what {
                What::Released(last, _) => {
                    // 4.3: free for any parameters, but a checkpoint belongs to those that it was made with.
                    past.attempts = last.attempt;
                    past.checkpoint = last.checkpoint.clone().filter(|_| same);
                }
                _ if !same => return Err(Refusal::Mismatch), // 3.3, 3.4
                What::Finished(replay) => return Ok(Answer::Replay(replay.clone())), // 3.3, also of a full store (3.5)
                What::Started(last) => {
                    let (attempt, checkpoint) = (last.attempt, last.checkpoint.clone());
                    let policy = asking.on_interrupted.unwrap_or(self.settings.on_interrupted);
                    if policy == OnInterrupted::Refuse {
                        return Err(Refusal::Interrupted { attempt }); // 3.4
                    }
                    self.going()?; // 5.5; it was admitted before, so that no limit is asked
                    let past = Past { attempts: attempt, checkpoint, interrupted: true };
                    return Ok(Answer::Fresh(self.reserve(key, asking, past, declared, true)));
                }
            }
        }
        // 7.1: what has expired is as never seen, swept or not.
        self.admit(key, asking, declared)?;
        Ok(Answer::Fresh(self.reserve(key, asking, past, declared, false))) // 3.5
    }

    /// What is asked of a key that is free, and of no other (3.5), in this order.
    fn admit(&self, key: &Key, asking: &Asking, declared: u64) -> Result<(), Refusal> {
        let settings = &self.settings;
        let retention = asking.retention.unwrap_or(settings.retention);
        let age = asking.first_sent.map(|first_sent| self.now().since(first_sent));
        if let Some(age) = age.filter(|age| *age >= retention) {
            return Err(Refusal::Expired { age, retention }); // 3.8: by 7.1 its record would be expired by now
        }
        self.going()?; // 5.5

        let (all, scope) = (self.usage(), self.usage_of_scope(key.scope()));
        let live = |usage: Usage| usage.live_reservations + 1;
        // The start of a live reservation is one record, and its outcome will be the same one.
        let records = |usage: Usage| usage.kept_records + usage.live_reservations + 1 - usage.live_starts;
        let bytes =
            |usage: Usage| usage.kept_bytes.saturating_add(usage.declared_bytes).saturating_add(declared);
        let overloaded = |what, measured, limit| match limit {
            Some(limit) if measured > limit => Err(Refusal::Overloaded { what, measured, limit }),
            _ => Ok(()),
        };
        let full = |what, measured, limit| match limit {
            Some(limit) if measured > limit => Err(Refusal::Full { what, measured, limit }),
            _ => Ok(()),
        };
        // 8.1: nothing is evicted.
        overloaded(Limit::LiveReservations, live(all), Some(settings.live_reservations_max))?;
        overloaded(Limit::LiveReservationsPerScope, live(scope), settings.live_reservations_per_scope_max)?;
        full(Limit::KeptRecords, records(all), settings.kept_records_max)?;
        full(Limit::KeptBytes, bytes(all), settings.kept_bytes_max)?;
        full(Limit::KeptRecordsPerScope, records(scope), settings.kept_records_per_scope_max)?;
        full(Limit::KeptBytesPerScope, bytes(scope), settings.kept_bytes_per_scope_max)
    }

    fn reserve(
        &mut self,
        key: &Key,
        asking: &Asking,
        past: Past,
        declared: u64,
        durable: bool,
    ) -> Reservation {
        let Past { attempts, checkpoint, interrupted } = past;
        let (attempt, last_checkpoint) = (attempts.saturating_add(1), checkpoint.clone());
        let taken_over = matches!(self.slots.get(key), Some(Slot::Running(live)) if live.beyond_limits);
        let beyond_limits = interrupted || taken_over;
        let durable = durable || asking.start_durably.unwrap_or(self.settings.start_durably);
        self.last_fence.counter += 1; // 4.4: never used twice
        let (fence, since) = (self.last_fence, self.now());
        let lease = asking.lease.unwrap_or(self.settings.lease);
        let named = self.named(key, asking);
        let live = Live {
            fence,
            attempt,
            since,
            fingerprint: asking.fingerprint,
            named: named.clone(),
            lease,
            lease_end: self.time.monotonic.saturating_add(lease),
            retention: asking.retention.unwrap_or(self.settings.retention),
            declared,
            relaxed: asking.relaxed.unwrap_or(self.settings.relaxed),
            durable,
            checkpoint: checkpoint.clone(),
            beyond_limits,
        };
        self.slots.insert(key.clone(), Slot::Running(live)); // 3.6: one slot for each key
        if durable {
            // 5.4: on disk before it is given
            let started = What::Started(Attempt { attempt, since, checkpoint });
            self.keep(key.clone(), Record { fingerprint: asking.fingerprint, named, what: started }, false);
        }
        let (key, resumed) = (key.clone(), interrupted);
        Reservation { key, fence, attempt, since, durable, resumed, last_checkpoint }
    }

    /// What is kept of the parameters one by one, where it is: who comes without takes over what is known.
    fn named(&self, key: &Key, asking: &Asking) -> Option<Named> {
        let known = match self.slots.get(key) {
            Some(Slot::Running(live)) => live.named.clone(),
            _ => None,
        };
        asking.named.clone().filter(|_| self.settings.explain_mismatches).or(known)
    }

    /// What is known of a key, without claiming it (11).
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    pub fn get(&self, key: &Key) -> Result<Known, Refusal> {
        self.open()?;
        let kept = self.records.get(key).filter(|record| !record.has_expired(self.now()));
        Ok(match (self.slots.get(key), kept.map(|record| &record.what)) {
            (Some(Slot::Running(live)), _) => Known::InFlight(self.running(live)),
            (Some(Slot::Doubt(..)), _) => Known::Unknown,
            (None, Some(What::Finished(replay))) => Known::Finished(replay.clone()),
            (None, Some(What::Started(attempt))) => Known::Interrupted(attempt.clone()),
            (None, Some(What::Released(..)) | None) => Known::Absent,
        })
    }

    fn open(&self) -> Result<(), Refusal> {
        if self.condition == Condition::Shut { Err(Refusal::Closed) } else { Ok(()) }
    }

    fn going(&self) -> Result<(), Refusal> {
        if self.condition == Condition::Stopped { Err(Refusal::Stopped) } else { Ok(()) }
    }

    fn running(&self, live: &Live) -> Running {
        Running { since: live.since, attempt: live.attempt, lease_left: self.lease_left(live) }
    }

    fn lease_left(&self, live: &Live) -> Duration {
        live.lease_end.saturating_sub(self.time.monotonic)
    }
}

impl Record {
    /// 7.1; what was started and never ended does not expire (4.6).
    fn has_expired(&self, now: Timestamp) -> bool {
        match &self.what {
            What::Finished(replay) => now >= replay.expires(),
            What::Started(_) => false,
            What::Released(_, until) => now >= *until,
        }
    }

    /// When it was written, and which attempt wrote it.
    fn written(&self) -> (Timestamp, u32) {
        match &self.what {
            What::Finished(replay) => (replay.completed(), replay.attempts()),
            What::Started(attempt) | What::Released(attempt, _) => (attempt.since, attempt.attempt),
        }
    }

    /// What it counts for beside its key (8.1).
    fn size(&self) -> u64 {
        match &self.what {
            What::Finished(replay) => replay.outcome().size(),
            What::Started(attempt) | What::Released(attempt, _) => {
                attempt.checkpoint.as_ref().map_or(0, |own| own.bytes().len() as u64)
            }
        }
    }
}

/// A key of which everything was asked that can be asked.
fn checked_key(scope: &[u8], token: &[u8]) -> Key {
    Key::within(scope, token, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX).expect("scope and token were checked")
}
