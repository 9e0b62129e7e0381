//! The store and the reference, side by side, and what can be asked of them.
//!
//! Goal: one machine for random sequences and for all short ones. Method: each operation is done to both, and what they
//! say, who was woken and what is held must be the same, to the byte. At most one caller waits for a key at a time: which
//! of several becomes the holder is free (contract 3.7).

use std::collections::BTreeMap;
use std::time::Duration;

use oncekey::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::reference::ReferenceSubject;
use crate::subject::{self, START, Subject};
use crate::vector::Step;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Begin { key: u8, other: bool, lease: u8, retention: u8, sent: u8, mode: u8 },
    Wait { key: u8, other: bool, patience: u8, mode: u8 },
    GiveUp { pick: u8 },
    Complete { pick: u8, manner: u8 },
    Renew { pick: u8 },
    Release { pick: u8 },
    Drop { pick: u8 },
    Panic { pick: u8 },
    Checkpoint { pick: u8, bytes: u8 },
    Resolve { key: u8, manner: u8 },
    Get { key: u8 },
    Forget { key: u8 },
    Sweep,
    Advance { ms: u64 },
    Reopen,
    ReopenInPlace,
    Crash,
}

/// The store and the reference, side by side.
pub(crate) struct Pair<'a> {
    model: ReferenceSubject,
    store: &'a mut dyn Subject,
    /// Who holds a reservation, or held one.
    held: Vec<String>,
    /// Who waits, by key.
    waiting: BTreeMap<u8, String>,
    named: u32,
    now: u64,
    /// Whether they count what is kept in the same way.
    counts: bool,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(model: ReferenceSubject, store: &'a mut dyn Subject) -> Self {
        let (held, waiting) = (Vec::new(), BTreeMap::new());
        Self { model, store, held, waiting, named: 0, now: START.as_millis(), counts: true }
    }

    /// An engine counts otherwise what has expired, and what was released.
    #[cfg(feature = "distributed")]
    pub(crate) fn without_counts(self) -> Self {
        Self { counts: false, ..self }
    }

    /// Whether this asks nobody anything now: nothing is held so far down, nobody waits, or somebody does already.
    pub(crate) fn is_idle(&self, op: Op) -> bool {
        match op {
            Op::Complete { pick, .. }
            | Op::Renew { pick }
            | Op::Release { pick }
            | Op::Drop { pick }
            | Op::Panic { pick }
            | Op::Checkpoint { pick, .. } => usize::from(pick) >= self.held.len(),
            Op::GiveUp { pick } => usize::from(pick) >= self.waiting.len(),
            Op::Wait { key, .. } => self.waiting.contains_key(&key),
            Op::Reopen => !self.waiting.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn run(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Begin { key, other, lease, retention, sent, mode } => {
                let name = self.name();
                let lease_ms = [Some(20), Some(50), Some(0), None][usize::from(lease)];
                let retention_ms = [Some(40), Some(100), Some(0), None][usize::from(retention)];
                let first_sent = [None, Some(0), Some(45), Some(200), Some(self.now - START.as_millis())]
                    [usize::from(sent)];
                let step = step(json!({
                    "do": "begin", "key": of(key), "parameters": asked(other),
                    "lease_ms": lease_ms,
                    "retention_ms": retention_ms,
                    "start_durably": durably(mode),
                    "on_interrupted": policy(mode),
                    "first_sent": first_sent.map(|ago: u64| self.now.saturating_sub(ago)),
                }));
                let seen = self.both(|subject| subject.begin(&step, &name))?;
                self.note(&seen, &name);
            }
            Op::Wait { key, other, patience, mode } if !self.waiting.contains_key(&key) => {
                let name = self.name();
                let patience = [0, 23, 57][usize::from(patience)];
                let step = step(json!({
                    "do": "wait", "key": of(key), "parameters": asked(other), "patience_ms": patience,
                    "start_durably": durably(mode), "on_interrupted": policy(mode),
                }));
                let seen = self.both(|subject| subject.wait(&step, &name))?;
                self.note(&seen, &name);
                if seen == subject::waiting() {
                    self.waiting.insert(key, name);
                }
            }
            Op::GiveUp { pick } => {
                let key = self.waiting.keys().nth(usize::from(pick) % self.waiting.len().max(1)).copied();
                if let Some(waiter) = key.and_then(|key| self.waiting.remove(&key)) {
                    self.both(|subject| subject.give_up(&waiter))?;
                }
            }
            Op::Complete { .. }
            | Op::Renew { .. }
            | Op::Release { .. }
            | Op::Drop { .. }
            | Op::Panic { .. }
            | Op::Checkpoint { .. } => self.hold(op)?,
            Op::Resolve { key, manner } => {
                let (scope, token) = parts(key);
                let found = match manner {
                    0 => Outcome::http(503, "it never arrived"),
                    1 => Outcome::http(200, vec![7; 5000]),
                    _ => Outcome::http(201, "it went through"),
                };
                self.both(|subject| subject.resolve(scope, token.as_bytes(), found.clone()))?;
            }
            Op::Get { key } => {
                let (scope, token) = parts(key);
                self.both(|subject| subject.get(scope, token.as_bytes()))?;
            }
            Op::Forget { key } => {
                let (scope, token) = parts(key);
                self.both(|subject| subject.forget(scope, token.as_bytes()))?;
            }
            Op::Sweep => drop(self.both(|subject| subject.sweep())?),
            Op::Advance { ms } => {
                // While somebody waits, no deadline is jumped over: the model takes one after the other.
                let until = self.now + ms;
                while self.now < until {
                    let next = self.model.model.next_event().map_or(u128::MAX, |next| next.as_millis());
                    let by = u64::try_from(next).unwrap_or(u64::MAX).min(until - self.now);
                    self.now += by;
                    self.both(|subject| {
                        subject.advance(Duration::from_millis(by));
                        Value::Null
                    })?;
                    self.woken()?;
                }
            }
            Op::Reopen if self.offer("reopen") && self.waiting.is_empty() => {
                self.both(|subject| subject.close())?;
                self.both(|subject| subject.reopen(None))?;
                self.held.clear();
                self.sweep_both();
            }
            Op::ReopenInPlace if self.offer("reopen") => {
                self.both(|subject| subject.reopen(None))?;
                self.sweep_both();
            }
            Op::Crash if self.offer("crash") => {
                self.both(|subject| {
                    subject.crash(None);
                    Value::Null
                })?;
                self.both(|subject| subject.reopen(None))?;
                self.held.clear();
                self.waiting.clear();
                self.sweep_both();
            }
            Op::Wait { .. } | Op::Reopen | Op::ReopenInPlace | Op::Crash => {}
        }
        self.woken()?;
        if self.counts { self.both(|subject| subject.usage()).map(drop) } else { Ok(()) }
    }

    /// What holders do.
    fn hold(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Complete { pick, manner } => {
                let body = vec![b'x'; usize::from(pick)];
                let done = Outcome::http(200, body).with_metadata("pick", pick.to_string());
                self.with_held(pick, handed_back, |subject, own| match manner {
                    0 => subject.complete(own, Outcome::http(503, "busy")),
                    1 => subject.complete(own, Outcome::http(200, vec![7; 5000])),
                    2 => subject.complete_without_body(own, Outcome::http(200, vec![7; 5000])),
                    3 => subject.complete(own, Outcome::http(400, "no")),
                    _ => subject.complete(own, done.clone()),
                })?;
            }
            Op::Renew { pick } => self.with_held(pick, |_| true, |subject, own| subject.renew(own))?,
            Op::Release { pick } => self.with_held(pick, |_| false, |subject, own| subject.release(own))?,
            Op::Drop { pick } => self.with_held(
                pick,
                |_| false,
                |subject, own| {
                    subject.drop_reservation(own);
                    Value::Null
                },
            )?,
            Op::Panic { pick } => self.with_held(
                pick,
                |_| false,
                |subject, own| {
                    subject.panic(own);
                    Value::Null
                },
            )?,
            Op::Checkpoint { pick, bytes } => {
                let note = vec![pick; usize::from(bytes)];
                self.with_held(pick, |_| true, |subject, own| subject.checkpoint(own, &note))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks both, and they must say the same.
    fn both(&mut self, ask: impl Fn(&mut dyn Subject) -> Value) -> Result<Value, TestCaseError> {
        let (expected, seen) = (ask(&mut self.model), ask(self.store));
        prop_assert_eq!(&seen, &expected, "the store, and what the reference says");
        Ok(seen)
    }

    /// What was swept before an opening may be counted again until it is swept again: its bytes are still there.
    fn sweep_both(&mut self) {
        self.model.sweep();
        self.store.sweep();
    }

    /// Asks both with a reservation that is held, or was: it stays in the pool where it was renewed or handed back.
    fn with_held(
        &mut self,
        pick: u8,
        stays: impl Fn(&Value) -> bool,
        ask: impl Fn(&mut dyn Subject, &str) -> Value,
    ) -> Result<(), TestCaseError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let own = self.held.swap_remove(usize::from(pick) % self.held.len());
        let seen = self.both(|subject| ask(subject, &own))?;
        if stays(&seen) {
            self.held.push(own);
        }
        Ok(())
    }

    /// Who was woken, and with what: the same on both sides.
    fn woken(&mut self) -> Result<(), TestCaseError> {
        let mut expected = self.model.woken(0);
        let mut seen = self.store.woken(expected.len());
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        prop_assert_eq!(&seen, &expected, "who was woken");
        for (name, answer) in seen {
            self.waiting.retain(|_, waiter| *waiter != name);
            self.note(&answer, &name);
        }
        Ok(())
    }

    fn note(&mut self, seen: &Value, name: &str) {
        if seen.get("fresh").is_some() {
            self.held.push(name.to_owned());
        }
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("caller {}", self.named)
    }

    fn offer(&self, capability: &str) -> bool {
        self.store.offers(capability) && self.model.offers(capability)
    }
}

/// Whether a refused completion handed its reservation back (contract 4.5).
fn handed_back(seen: &Value) -> bool {
    seen.to_string().contains("too_large")
}

/// Two scopes; the same token under both is two keys.
fn parts(key: u8) -> (&'static [u8], String) {
    (if key < 3 { b"acme" } else { b"other" }, format!("t-{}", key % 3))
}

fn of(key: u8) -> Value {
    let (scope, token) = parts(key);
    json!([String::from_utf8_lossy(scope), token])
}

fn asked(other: bool) -> Value {
    if other {
        json!({"pairs": [["Size", "41"], ["Zone", "z"], ["Name", "n"]]})
    } else {
        json!({"query": "Size=40&Name=n&Tag="})
    }
}

/// Volatile, durable, or as the settings say; and what a retry of an interrupted operation asks for.
fn durably(mode: u8) -> Option<bool> {
    [None, Some(true), Some(true), Some(true), Some(false), Some(false)][usize::from(mode)]
}

fn policy(mode: u8) -> Option<&'static str> {
    [None, None, Some("resume"), Some("refuse"), None, Some("refuse")][usize::from(mode)]
}

fn step(value: Value) -> Step {
    serde_json::from_value(value).expect("a step as the vectors write it")
}
