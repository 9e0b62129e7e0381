//! Goal: the contract holds over a real engine, word for word. Method: the vectors of `tests/conformance`, and random
//! operations beside `oncekey::reference`, run against a store over PostgreSQL whose function `clock()` was replaced by one that
//! reads a table, so that the test moves the engine's time. What an engine does not promise is a typed refusal that is
//! counted, not a test that is left out.

#[path = "../../conformance/distributed.rs"]
mod distributed;
#[path = "../../conformance/files.rs"]
mod files;
#[path = "../../conformance/home.rs"]
#[expect(dead_code, reason = "an engine in memory is not for here")]
mod home;
mod homes;
#[path = "../../model/ops.rs"]
mod ops;
#[path = "../../conformance/over.rs"]
mod over;
#[path = "../../model/pair.rs"]
#[expect(dead_code, reason = "shared with the model's own tests, which use all of it")]
mod pair;
#[path = "../../conformance/reference.rs"]
mod reference;
#[path = "../../conformance/runner.rs"]
mod runner;
#[path = "../../conformance/store.rs"]
#[expect(dead_code, reason = "as above")]
mod store;
#[path = "../../conformance/subject.rs"]
mod subject;
#[path = "../../conformance/vector.rs"]
#[expect(dead_code, reason = "as above")]
mod vector;

use std::path::Path;

use distributed::DistributedSubject;
use home::Home;
use homes::Schema;
use oncekey::ManualClock;
use oncekey_engines::postgres::Cluster;
use pair::Pair;
use proptest::prelude::*;
use reference::ReferenceSubject;
use subject::START;
use vector::{Settings, Tuning};

/// Expired records go with their partition, and count until then; of one plain table they go one by one.
const COUNTED: [&str; 2] =
    ["A record is not replayed after its time, swept or not", "Sweeping removes nothing before its time"];

#[test]
fn the_store_over_postgresql_conforms() {
    let cluster = Cluster::shared();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let scenarios = files::files(&folder).into_values().flat_map(|file| file.scenarios);
    let (plain, partitioned): (Vec<_>, Vec<_>) =
        scenarios.partition(|own| COUNTED.contains(&own.name.as_str()));
    assert_eq!(plain.len(), COUNTED.len());
    let home = |is_plain| {
        let cluster = &cluster;
        move |_: &ManualClock| Box::new(Schema::make(cluster, is_plain, START)) as Box<dyn Home>
    };
    over::run_over_an_engine("the store over PostgreSQL", &partitioned, &[], home(false));
    over::run_over_an_engine("the store over PostgreSQL, unpartitioned", &plain, &[], home(true));
}

/// What differs over etcd beside what differs over every engine, and has to.
#[cfg(feature = "etcd")]
const ETCD_DIFFERENCES: [(&str, &str); 4] = [
    (COUNTED[0], "expired records go with their lease in etcd, and count until then"),
    (COUNTED[1], "as above"),
    ("A wall clock set back while the store was closed does not turn its time back", NO_CLOCK),
    ("A wall clock set back during a crash does not turn the store's time back", NO_CLOCK),
];
#[cfg(feature = "etcd")]
const NO_CLOCK: &str = "etcd has no clock to ask: those of the processes are to be kept in step";

#[cfg(feature = "etcd")]
#[test]
fn the_store_over_etcd_conforms() {
    let cluster = oncekey_engines::etcd::Cluster::shared();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let scenarios: Vec<_> = files::files(&folder).into_values().flat_map(|file| file.scenarios).collect();
    let home = |clock: &ManualClock| Box::new(homes::Prefix::make(&cluster, clock)) as Box<dyn Home>;
    over::run_over_an_engine("the store over etcd", &scenarios, &ETCD_DIFFERENCES, home);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Kept records and bytes are the engine's to count: no limits of those.
    #[test]
    fn the_store_over_postgresql_and_the_reference_say_the_same_also_over_crashes_3_4_5_6_7_8(
        refuse: bool,
        explain: bool,
        is_plain: bool,
        ops in prop::collection::vec(ops::op(), 1..60)
    ) {
        let cluster = Cluster::shared();
        say_the_same(refuse, explain, &ops, |_| Box::new(Schema::make(&cluster, is_plain, START)))?;
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn the_store_over_etcd_and_the_reference_say_the_same_also_over_crashes_3_4_5_6_7_8(
        refuse: bool,
        explain: bool,
        ops in prop::collection::vec(ops::op(), 1..60)
    ) {
        let cluster = oncekey_engines::etcd::Cluster::shared();
        say_the_same(refuse, explain, &ops, |clock| Box::new(homes::Prefix::make(&cluster, clock)))?;
    }
}

fn say_the_same(
    refuse: bool,
    explain: bool,
    ops: &[pair::Op],
    home: impl FnOnce(&ManualClock) -> Box<dyn Home>,
) -> Result<(), TestCaseError> {
    let unlimited = Settings {
        kept_records_max: None,
        kept_records_per_scope_max: None,
        ..ops::settings(refuse, explain, Tuning::default())
    };
    let mut store = DistributedSubject::new(&unlimited, home).expect("nothing is not promised");
    let mut pair = Pair::new(ReferenceSubject::new(&unlimited), &mut store).without_counts();
    ops.iter().try_for_each(|op| pair.run(*op))
}
