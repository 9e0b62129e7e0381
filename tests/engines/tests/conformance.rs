//! Goal: the contract holds over a real engine, word for word. Method: the vectors of `tests/conformance`, and random
//! operations beside `oncekey::reference`, run against a store over PostgreSQL whose function `clock()` was replaced by one that
//! reads a table, so that the test moves the engine's time. What an engine does not promise is a typed refusal that is
//! counted, not a test that is left out.

#[path = "../../conformance/distributed.rs"]
#[expect(dead_code, reason = "an engine in memory is not for here")]
mod distributed;
#[path = "../../conformance/files.rs"]
mod files;
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
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use distributed::{DistributedSubject, Home};
use oncekey::ManualClock;
use oncekey::distributed::{Engine, Postgres};
use oncekey_engines::postgres::Cluster;
use pair::Pair;
use proptest::prelude::*;
use reference::ReferenceSubject;
use subject::START;
use vector::{Settings, Tuning};

/// A schema of its own, and its clock.
struct Schema {
    cluster: Arc<Cluster>,
    name: String,
    /// Its records lie in one plain table.
    is_plain: bool,
}

impl Schema {
    fn make(cluster: &Arc<Cluster>, is_plain: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vectors_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let own = Self { cluster: Arc::clone(cluster), name, is_plain };
        // Makes the tables; then the clock is the test's.
        let first =
            oncekey::Store::builder().background_sweep(false).connect(own.engine()).expect("it connects");
        first.close(Duration::ZERO).expect("it closes");
        let (name, start) = (&own.name, START.as_millis());
        own.cluster.ask(&format!(
            "CREATE TABLE {name}.moved (ms bigint); INSERT INTO {name}.moved VALUES ({start});
             CREATE OR REPLACE FUNCTION {name}.clock() RETURNS bigint LANGUAGE sql
             AS 'SELECT ms FROM {name}.moved'"
        ));
        own
    }
}

impl Home for Schema {
    fn engine(&self) -> Engine {
        let engine = Postgres::at(&self.cluster.url()).expect("an address").schema(&self.name);
        if self.is_plain { engine.unpartitioned().into() } else { engine.into() }
    }

    fn advance(&self, by: Duration) {
        self.cluster.ask(&format!("UPDATE {}.moved SET ms = ms + {}", self.name, by.as_millis()));
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        self.cluster.ask(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name));
    }
}

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
        move |_: &ManualClock| Box::new(Schema::make(cluster, is_plain)) as Box<dyn Home>
    };
    over::run_over_an_engine("the store over PostgreSQL", &partitioned, home(false));
    over::run_over_an_engine("the store over PostgreSQL, unpartitioned", &plain, home(true));
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
        let unlimited = Settings {
            kept_records_max: None,
            kept_records_per_scope_max: None,
            ..ops::settings(refuse, explain, Tuning::default())
        };
        let cluster = Cluster::shared();
        let home = |_: &ManualClock| Box::new(Schema::make(&cluster, is_plain)) as Box<dyn Home>;
        let mut store = DistributedSubject::new(&unlimited, home).expect("nothing is not promised");
        let mut pair = Pair::new(ReferenceSubject::new(&unlimited), &mut store).without_counts();
        ops.iter().try_for_each(|op| pair.run(*op))?;
    }
}
