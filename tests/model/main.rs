//! Goal: the store does what the contract says, whatever is asked of it in whatever order. Method: random sequences
//! of operations (begin, wait, give up, complete in every manner, renew, release, drop, get, forget, sweep, clock
//! moves around every deadline, durable starts, checkpoints, panics, resolving, reopening by closing and by crash, in
//! place too, under either policy for what was interrupted) run against the store and against
//! `oncekey::reference`, and after every step both must say the same, to the byte. The subjects are those of the
//! conformance vectors.
//!
//! At most one caller waits for a key at a time here: which of several becomes the holder is free (contract 3.7), and
//! `tests/contract` looks at that with real threads. `PROPTEST_CASES=100000` is the long form. Beside what is random stands
//! every short sequence there is: `exhaustive`.

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

mod every;
mod exhaustive;
mod pair;

use pair::{Op, Pair};
use proptest::prelude::*;
use reference::ReferenceSubject;
use serde_json::json;
use store::StoreSubject;
use vector::{Settings, Tuning};

/// The clock moves by this; leases and retentions are multiples of it, and patience ends between two of them.
const TICK_MS: u64 = 5;

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
        4 => (1..12_u64).prop_map(|ticks| Op::Advance { ms: ticks * TICK_MS }),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenInPlace),
        1 => Just(Op::Crash),
    ]
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
    let mut store = make(&settings);
    let mut pair = Pair::new(ReferenceSubject::new(&settings), &mut store);
    ops.iter().try_for_each(|op| pair.run(*op))
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
