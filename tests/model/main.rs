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

#[cfg(feature = "distributed")]
#[expect(dead_code, reason = "shared with the conformance vectors, which use all of it")]
#[path = "../conformance/distributed.rs"]
mod distributed;
#[cfg(feature = "distributed")]
#[path = "../conformance/home.rs"]
mod home;
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
mod ops;
mod pair;

use ops::{op, settings};
use pair::{Op, Pair};
use proptest::prelude::*;
use reference::ReferenceSubject;
use store::StoreSubject;
use vector::{Settings, Tuning};

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

#[cfg(feature = "distributed")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 30_000, ..ProptestConfig::default() })]

    /// Kept records and bytes are the engine's to count: no limits of those.
    #[test]
    fn the_store_over_an_engine_and_the_reference_say_the_same_also_over_crashes_3_4_5_6_7_8(
        refuse: bool,
        explain: bool,
        ops in prop::collection::vec(op(), 1..100)
    ) {
        let unlimited = Settings {
            kept_records_max: None,
            kept_records_per_scope_max: None,
            ..settings(refuse, explain, Tuning::default())
        };
        let home = |clock: &oncekey::ManualClock| {
            Box::new(home::InMemory::on(clock)) as Box<dyn home::Home>
        };
        let mut store = distributed::DistributedSubject::new(&unlimited, home).expect("nothing is not promised");
        let mut pair = Pair::new(ReferenceSubject::new(&unlimited), &mut store).without_counts();
        ops.iter().try_for_each(|op| pair.run(*op))?;
    }
}
