//! Goal: no short sequence of operations is answered otherwise than the contract says. Method: *every* sequence over two
//! scopes, two tokens, two digests, all holders there are, and clock moves to one tick before, to, and one tick behind each
//! deadline, is run beside the reference in a store of its own, and then all keys are looked at. The same sequences are run
//! with one stripe and with many, with recent outcomes in memory and without.
//!
//! Two things make them fewer, and lose none. Scopes, tokens and digests can be exchanged for one another, so the first key
//! that is named is always the same, and so is the first digest: one sequence stands for eight. And what asks nobody
//! anything (completing what is not held) is left out: what remains is a shorter sequence, with which some other one begins.
//!
//! `ONCEKEY_DEPTH=5` is the long form: so many operations.

use serde_json::{Value, json};

use crate::every;
use crate::pair::{Op, Pair};
use crate::reference::ReferenceSubject;
use crate::store::StoreSubject;
use crate::vector::{Settings, Tuning};

const LEASE_MS: u64 = 50;
const RETENTION_MS: u64 = 100;
/// Two tokens under each of two scopes.
const KEYS: [u8; 4] = [0, 1, 3, 4];

/// Some operations, and where every sequence of them is run.
struct Campaign {
    name: &'static str,
    home: fn(&Settings) -> StoreSubject,
    settings: Settings,
    /// How each sequence begins.
    first: Vec<Op>,
    ops: Vec<Op>,
}

impl Campaign {
    /// Runs every sequence of so many operations beside a model of these settings, and tells how many there were.
    fn run(&self, depth: usize, model: &Settings) -> Result<u64, String> {
        let mut picks = vec![0; depth];
        let mut count = 0;
        loop {
            let sequence: Vec<Op> =
                self.first.iter().copied().chain(picks.iter().map(|pick| self.ops[*pick])).collect();
            let idle = self.follow(&sequence, model)?;
            count += 1;
            if !every::next(&mut picks, &idle[self.first.len()..]) {
                return Ok(count);
            }
        }
    }

    /// Follows one of them, and tells which operations would have been idle at each of its places.
    fn follow(&self, sequence: &[Op], model: &Settings) -> Result<Vec<Vec<bool>>, String> {
        let mut store = (self.home)(&self.settings);
        let mut pair = Pair::new(ReferenceSubject::new(model), &mut store);
        let mut idle = Vec::new();
        for (place, op) in sequence.iter().enumerate() {
            let before = &sequence[..place];
            idle.push(self.ops.iter().map(|op| pair.is_idle(*op) || is_twin(before, *op)).collect());
            pair.run(*op).map_err(|error| format!("{}, {:?}: {error}", self.name, &sequence[..=place]))?;
        }
        for key in KEYS {
            let looked = pair.run(Op::Get { key });
            looked.map_err(|error| format!("{}, {sequence:?}, and then key {key}: {error}", self.name))?;
        }
        Ok(idle)
    }

    /// Runs it under each of these tunings, and says how much it was.
    fn hold(mut self, depth: usize, tunings: &[Tuning]) {
        let mut count = 0;
        for tuning in tunings {
            self.settings.tuning = *tuning;
            count += self.run(depth, &self.settings).unwrap_or_else(|difference| panic!("{difference}"));
        }
        let (name, operations) = (self.name, self.first.len() + depth);
        println!("exhaustive cases {count} faults 0 failures 0, {name}, up to {operations} operations");
    }
}

/// Whether another sequence is the same but for the names of scopes, tokens and digests.
fn is_twin(before: &[Op], op: Op) -> bool {
    let later_key = key_of(op).is_some_and(|key| key != KEYS[0]);
    let later_digest = other_of(op).is_some_and(|other| other);
    (later_key && before.iter().all(|op| key_of(*op).is_none()))
        || (later_digest && before.iter().all(|op| other_of(*op).is_none()))
}

fn key_of(op: Op) -> Option<u8> {
    match op {
        Op::Begin { key, .. }
        | Op::Wait { key, .. }
        | Op::Resolve { key, .. }
        | Op::Get { key }
        | Op::Forget { key } => Some(key),
        _ => None,
    }
}

fn other_of(op: Op) -> Option<bool> {
    match op {
        Op::Begin { other, .. } | Op::Wait { other, .. } => Some(other),
        _ => None,
    }
}

// -- operations ---------------------------------------------------------------------------------------------------

/// Modes of `Pair`: as the settings say, or durable.
const PLAIN: u8 = 0;
const DURABLE: u8 = 1;
/// When a request was first sent: not told, or when everything began.
const UNTOLD: u8 = 0;
const AT_FIRST: u8 = 4;

fn begin(key: u8, other: bool, sent: u8, mode: u8) -> Op {
    // Lease and retention as the settings say.
    Op::Begin { key, other, lease: 3, retention: 3, sent, mode }
}

fn begins(keys: &[u8], sent: u8, mode: u8) -> Vec<Op> {
    keys.iter().flat_map(|key| [false, true].map(|other| begin(*key, other, sent, mode))).collect()
}

/// What each of so many holders can do: complete with an outcome that is kept, is retryable, or is too large, and the rest.
fn holding(holders: u8) -> Vec<Op> {
    let own = |pick| {
        let [kept, retryable, large] = [4, 0, 1].map(|manner| Op::Complete { pick, manner });
        let (renew, release) = (Op::Renew { pick }, Op::Release { pick });
        [kept, retryable, large, renew, release, Op::Drop { pick }, Op::Panic { pick }]
    };
    (0..holders).flat_map(own).collect()
}

/// To one tick before each of these deadlines, to it, and to one tick behind it.
fn moves(deadlines: &[u64]) -> Vec<Op> {
    deadlines.iter().flat_map(|at| [at - 1, *at, at + 1].map(|ms| Op::Advance { ms })).collect()
}

fn looking(keys: &[u8]) -> Vec<Op> {
    keys.iter().flat_map(|key| [Op::Get { key: *key }, Op::Forget { key: *key }]).collect()
}

/// What every campaign has: looking, sweeping, and the deadlines of lease and retention.
fn common(keys: &[u8]) -> Vec<Op> {
    [looking(keys), vec![Op::Sweep], moves(&[LEASE_MS, RETENTION_MS])].concat()
}

fn settings(own: &Value) -> Settings {
    let mut all = json!({
        "lease_ms": LEASE_MS, "retention_ms": RETENTION_MS, "outcome_bytes_max": 4096,
        "declared_outcome_bytes": 64, "checkpoint_bytes_max": 6,
    });
    let members = own.as_object().expect("settings have names").clone();
    all.as_object_mut().expect("settings have names").extend(members);
    serde_json::from_value(all).expect("settings as the vectors write them")
}

/// One stripe or many, recent outcomes in memory or none.
fn tunings() -> Vec<Tuning> {
    let of =
        |stripes, recent| Tuning { stripes: Some(stripes), recent_bytes_max: recent, ..Tuning::default() };
    vec![of(1, Some(0)), of(64, None), of(64, Some(0)), of(1, None)]
}

/// So many operations, or as many as `ONCEKEY_DEPTH` says.
fn depth(short: usize) -> usize {
    let asked = std::env::var("ONCEKEY_DEPTH").ok();
    asked.map_or(short, |text| text.parse().expect("ONCEKEY_DEPTH is a number"))
}

#[test]
fn every_short_sequence_is_answered_as_the_reference_says_3_4_7() {
    let ops = [begins(&KEYS, UNTOLD, PLAIN), holding(3), common(&KEYS)].concat();
    let (name, home, settings) = ("volatile", StoreSubject::in_memory, settings(&json!({})));
    Campaign { name, home, settings, first: vec![], ops }.hold(depth(3), &tunings());
}

#[test]
fn every_short_sequence_with_durable_starts_is_answered_as_the_reference_says_3_4_5_4_6_3() {
    let (durable, plain) = (begins(&KEYS, UNTOLD, DURABLE), begins(&KEYS, UNTOLD, PLAIN));
    let notes = (0..3).map(|pick| Op::Checkpoint { pick, bytes: 3 }).collect();
    let resolving = KEYS.iter().flat_map(|key| [2, 0].map(|manner| Op::Resolve { key: *key, manner }));
    let ops = [durable, plain, holding(3), notes, resolving.collect(), common(&KEYS)].concat();
    for (policy, tuning) in ["resume", "refuse"].into_iter().zip(tunings()) {
        let (home, settings) = (StoreSubject::in_memory, settings(&json!({"on_interrupted": policy})));
        let campaign = Campaign { name: "durable", home, settings, first: vec![], ops: ops.clone() };
        campaign.hold(depth(3), &[tuning]);
    }
}

#[test]
fn every_short_sequence_in_a_store_that_is_soon_full_is_answered_as_the_reference_says_3_8_8_1_8_3() {
    let (late, plain) = (begins(&KEYS, AT_FIRST, PLAIN), begins(&KEYS, UNTOLD, PLAIN));
    let ops = [plain, late, holding(3), common(&KEYS)].concat();
    let limits = [
        json!({"live_reservations_max": 1, "kept_records_max": 2}),
        json!({"live_reservations_per_scope_max": 1, "kept_records_per_scope_max": 1}),
    ];
    for (limits, tuning) in limits.iter().zip(tunings()) {
        let (home, settings) = (StoreSubject::in_memory, settings(limits));
        let campaign = Campaign { name: "limits", home, settings, first: vec![], ops: ops.clone() };
        campaign.hold(depth(3), &[tuning]);
    }
}

/// A waiter's patience ends before the lease of the one who holds, or behind it.
#[test]
fn every_short_sequence_beside_a_waiter_is_answered_as_the_reference_says_3_7() {
    let keys = [KEYS[0], KEYS[2]];
    let wait = |other| [1, 2].map(|patience| Op::Wait { key: KEYS[0], other, patience, mode: PLAIN });
    let waits = [wait(false), wait(true)].concat();
    let ops = [begins(&keys, UNTOLD, PLAIN), waits, vec![Op::GiveUp { pick: 0 }], holding(3)].concat();
    let ops = [ops, looking(&keys), moves(&[23, LEASE_MS, 57])].concat();
    for patience in wait(false) {
        let (home, settings) = (StoreSubject::in_memory, settings(&json!({})));
        let first = vec![begin(KEYS[0], false, UNTOLD, PLAIN), patience];
        Campaign { name: "waiting", home, settings, first, ops: ops.clone() }
            .hold(depth(3) - 1, &tunings()[..1]);
    }
}

fn over_crashes(name: &'static str, home: fn(&Settings) -> StoreSubject) {
    let keys = [KEYS[0], KEYS[2]];
    let (durable, plain) = (begins(&keys, UNTOLD, DURABLE), begins(&keys, UNTOLD, PLAIN));
    let notes = (0..2).map(|pick| Op::Checkpoint { pick, bytes: 3 }).collect();
    let resolving = keys.map(|key| Op::Resolve { key, manner: 2 }).to_vec();
    let reopening = vec![Op::Crash, Op::Reopen, Op::ReopenInPlace];
    let ops = [durable, plain, reopening, holding(2), notes, resolving, common(&keys)].concat();
    // A disk takes its time: begun, completed and killed in every manner, and then all there is.
    let next = [vec![], vec![Op::Complete { pick: 0, manner: 4 }], vec![Op::Crash]];
    for (mode, next) in [PLAIN, DURABLE].into_iter().flat_map(|mode| next.each_ref().map(|next| (mode, next)))
    {
        let settings = settings(&json!({}));
        let first = [vec![begin(KEYS[0], false, UNTOLD, mode)], next.clone()].concat();
        Campaign { name, home, settings, first, ops: ops.clone() }.hold(depth(3) - 2, &tunings()[..1]);
    }
}

#[test]
fn every_short_sequence_on_a_disk_and_over_crashes_is_answered_as_the_reference_says_5_7() {
    over_crashes("directory", StoreSubject::on_a_directory);
}

#[cfg(feature = "redb-transactions")]
#[test]
fn every_short_sequence_in_a_callers_database_is_answered_as_the_reference_says_5_6_1() {
    over_crashes("callers-database", StoreSubject::in_a_database);
}

#[test]
fn a_store_that_is_one_tick_or_one_record_away_from_the_contract_is_found_out() {
    let ops = [begins(&KEYS, UNTOLD, PLAIN), holding(3), common(&KEYS)].concat();
    let wrong = [
        json!({"lease_ms": LEASE_MS + 1}),
        json!({"lease_ms": LEASE_MS - 1}),
        json!({"retention_ms": RETENTION_MS + 1}),
        json!({"retention_ms": RETENTION_MS - 1}),
        json!({"live_reservations_max": 2}),
        json!({"kept_records_per_scope_max": 1}),
        json!({"outcome_bytes_max": 5000}),
    ];
    for own in wrong {
        let (home, settings, ops) = (StoreSubject::in_memory, settings(&own), ops.clone());
        let campaign = Campaign { name: "found out", home, settings, first: vec![], ops };
        let right = self::settings(&json!({}));
        assert!(campaign.run(3, &right).is_err(), "{own} goes unnoticed");
    }
}

#[test]
fn one_sequence_stands_for_eight_and_none_is_lost() {
    let of = |ops| Campaign {
        name: "counted",
        home: StoreSubject::in_memory,
        settings: settings(&json!({})),
        first: vec![],
        ops,
    };
    let count = |ops, depth| of(ops).run(depth, &settings(&json!({}))).unwrap();
    assert_eq!(count(begins(&KEYS, UNTOLD, PLAIN), 3), 8 * 8 * 8 / 8);
    // Of looks alone four are one; moves have no names.
    assert_eq!(count(looking(&KEYS), 2), 8 * 8 / 4);
    assert_eq!(count(moves(&[LEASE_MS]), 3), 3 * 3 * 3);
    // Nobody to complete, before somebody began.
    let ops = vec![begin(KEYS[0], false, UNTOLD, PLAIN), Op::Complete { pick: 0, manner: 4 }];
    assert_eq!(count(ops, 3), 3);
}
