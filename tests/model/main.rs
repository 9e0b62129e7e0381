//! Goal: the store does what the contract says, whatever is asked of it in whatever order. Method: random sequences
//! of operations (begin, wait, give up, complete in every manner, renew, release, drop, get, forget, sweep, clock
//! moves around every deadline, durable starts, checkpoints, panics, resolving, reopening by closing and by crash, in
//! place too, under either policy for what was interrupted) run against the store and against
//! `oncekey::reference`, and after every step both must say the same, to the byte. The subjects are those of the
//! conformance vectors.
//!
//! At most one caller waits for a key at a time here: which of several becomes the holder is free (contract 3.7), and
//! `tests/contract` looks at that with real threads. `PROPTEST_CASES=100000` is the long form.

#[path = "../conformance/reference.rs"]
mod reference;
#[path = "../conformance/store.rs"]
mod store;
#[expect(dead_code, reason = "shared with the conformance vectors, which use all of it")]
#[path = "../conformance/subject.rs"]
mod subject;
#[expect(dead_code, reason = "shared with the conformance vectors, which use all of it")]
#[path = "../conformance/vector.rs"]
mod vector;

use std::collections::BTreeMap;
use std::time::Duration;

use oncekey::Outcome;
use proptest::prelude::*;
use reference::ReferenceSubject;
use serde_json::{Value, json};
use store::StoreSubject;
use subject::Subject;
use vector::{Settings, Step, Tuning};

/// The clock moves by this; leases and retentions are multiples of it, and patience ends between two of them.
const TICK_MS: u64 = 5;

#[derive(Clone, Debug)]
enum Op {
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
    Advance { ticks: u8 },
    Reopen,
    ReopenInPlace,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..5_u8;
    prop_oneof![
        7 => (key.clone(), prop::bool::weighted(0.15), 0..3_u8, 0..3_u8, 0..4_u8, 0..6_u8).prop_map(
            |(key, other, lease, retention, sent, mode)| Op::Begin { key, other, lease, retention, sent, mode }
        ),
        3 => (key.clone(), prop::bool::weighted(0.1), 0..3_u8, 0..6_u8)
            .prop_map(|(key, other, patience, mode)| Op::Wait { key, other, patience, mode }),
        1 => any::<u8>().prop_map(|pick| Op::GiveUp { pick }),
        5 => (any::<u8>(), 0..8_u8).prop_map(|(pick, manner)| Op::Complete { pick, manner }),
        1 => any::<u8>().prop_map(|pick| Op::Renew { pick }),
        2 => any::<u8>().prop_map(|pick| Op::Release { pick }),
        1 => any::<u8>().prop_map(|pick| Op::Drop { pick }),
        1 => any::<u8>().prop_map(|pick| Op::Panic { pick }),
        3 => (any::<u8>(), 0..8_u8).prop_map(|(pick, bytes)| Op::Checkpoint { pick, bytes }),
        1 => (key.clone(), 0..6_u8).prop_map(|(key, manner)| Op::Resolve { key, manner }),
        2 => key.clone().prop_map(|key| Op::Get { key }),
        1 => key.prop_map(|key| Op::Forget { key }),
        1 => Just(Op::Sweep),
        4 => (1..12_u8).prop_map(|ticks| Op::Advance { ticks }),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenInPlace),
        1 => Just(Op::Crash),
    ]
}

/// The store and the reference, side by side.
struct Pair<'a> {
    model: &'a mut dyn Subject,
    store: &'a mut dyn Subject,
    /// Who holds a reservation, or held one.
    held: Vec<String>,
    /// Who waits, by key.
    waiting: BTreeMap<u8, String>,
    named: u32,
    now: u64,
}

impl Pair<'_> {
    fn run(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Begin { key, other, lease, retention, sent, mode } => {
                let name = self.name();
                let lease_ms = [20, 50, 0][usize::from(lease)];
                let retention_ms = [40, 100, 0][usize::from(retention)];
                let first_sent = [None, Some(0), Some(45), Some(200)][usize::from(sent)];
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
            Op::Advance { ticks } => {
                // While somebody waits, no deadline is jumped over: what is left of a lease is told to the millisecond.
                let until = self.now + u64::from(ticks) * TICK_MS;
                while self.now < until {
                    let by = if self.waiting.is_empty() { until - self.now } else { 1 };
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
        self.both(|subject| subject.usage()).map(drop)
    }

    /// What holders do.
    fn hold(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
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
        let (expected, seen) = (ask(self.model), ask(self.store));
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

/// One stripe or many, recent outcomes in memory or none, small segments or large ones: no answer may tell them apart.
fn tuning() -> impl Strategy<Value = Tuning> {
    let stripes = prop::option::of(prop_oneof![Just(1_usize), Just(64)]);
    let (recent, segment) = (prop::option::of(Just(0_u64)), prop::option::of(Just(1_u64 << 20)));
    (stripes, recent, segment).prop_map(|(stripes, recent_bytes_max, segment_bytes_max)| Tuning {
        stripes,
        recent_bytes_max,
        segment_bytes_max,
    })
}

/// Of the two policies for what was interrupted; with mismatches explained or not.
fn settings(refuse: bool, explain: bool, tuning: Tuning) -> Settings {
    let settings: Settings = serde_json::from_value(json!({
        "on_interrupted": if refuse { "refuse" } else { "resume" }, "checkpoint_bytes_max": 6,
        "retention_ms": 100, "lease_ms": 50, "outcome_bytes_max": 4096, "declared_outcome_bytes": 64,
        "live_reservations_max": 4, "kept_records_max": 6, "kept_records_per_scope_max": 4,
        "explain_mismatches": explain,
    }))
    .expect("settings as the vectors write them");
    Settings { tuning, ..settings }
}

fn agree(
    make: impl Fn(&Settings) -> StoreSubject,
    (refuse, explain, tuning): (bool, bool, Tuning),
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let settings = settings(refuse, explain, tuning);
    let (mut store, mut model) = (make(&settings), ReferenceSubject::new(&settings));
    let store = &mut store;
    let now = subject::START.as_millis();
    let (held, waiting) = (Vec::new(), BTreeMap::new());
    let mut pair = Pair { model: &mut model, store, held, waiting, named: 0, now };
    ops.iter().try_for_each(|op| pair.run(op))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_memory_and_the_reference_say_the_same_3_4_6_7_8(
        refuse: bool,
        explain: bool,
        tuning in tuning(),
        ops in prop::collection::vec(op(), 1..200)
    ) {
        agree(StoreSubject::in_memory, (refuse, explain, tuning), &ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_a_directory_and_the_reference_say_the_same_also_over_crashes_5(
        refuse: bool,
        explain: bool,
        tuning in tuning(),
        ops in prop::collection::vec(op(), 1..100)
    ) {
        agree(StoreSubject::on_a_directory, (refuse, explain, tuning), &ops)?;
    }
}

#[cfg(feature = "redb-transactions")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_a_callers_database_and_the_reference_say_the_same_also_over_crashes_6(
        refuse: bool,
        explain: bool,
        tuning in tuning(),
        ops in prop::collection::vec(op(), 1..100)
    ) {
        agree(StoreSubject::in_a_database, (refuse, explain, tuning), &ops)?;
    }
}

#[cfg(feature = "encryption")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_an_encrypted_directory_and_the_reference_say_the_same_also_over_crashes_5(
        refuse: bool,
        explain: bool,
        tuning in tuning(),
        ops in prop::collection::vec(op(), 1..100)
    ) {
        agree(StoreSubject::encrypted, (refuse, explain, tuning), &ops)?;
    }
}
