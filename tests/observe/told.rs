//! What `stats()` says, and what a recorder is told of it.

use metrics_exporter_prometheus::PrometheusBuilder;
use oncekey::metrics::Publisher;

use crate::{CANARY, live, store};

#[test]
fn stats_tell_what_was_done_without_any_feature_11() {
    let (store, clock) = store(|own| own);
    live(&store, &clock);
    let stats = store.stats();
    let counts =
        (stats.fresh, stats.replays, stats.in_flight, stats.mismatches, stats.expired, stats.refused);
    assert_eq!(counts, (3, 2, 1, 1, 1, 0), "what breaks a limit is refused before it is asked");
    assert_eq!((stats.completed, stats.released), (1, 2));
    assert_eq!((stats.executions.count(), stats.executions.sum()), (1, 5000));
    assert_eq!((stats.batches.count(), stats.batches.sum()), (1, 1));
    assert_eq!((stats.commits.count(), stats.waits.count()), (1, 0));
    assert!(!format!("{stats:?}").contains(CANARY));
}

#[test]
fn a_wait_is_measured_from_its_beginning_to_its_answer_3_7() {
    let (store, clock) = store(|own| own);
    let oncekey::Answer::Fresh(held) = store.begin(&crate::key("k"), &crate::asked()).unwrap() else {
        panic!("never seen")
    };
    let other = store.clone();
    let waiter = std::thread::spawn(move || {
        let (key, parameters) = (crate::key("k"), crate::asked());
        other.request(&key, &parameters).wait(std::time::Duration::from_secs(60)).begin().map(drop)
    });
    while store.stats().in_flight == 0 {
        std::thread::yield_now();
    }
    clock.advance(std::time::Duration::from_millis(7));
    held.complete(oncekey::Outcome::new("done")).unwrap();
    waiter.join().unwrap().unwrap();
    let waits = store.stats().waits;
    assert_eq!((waits.count(), waits.sum()), (1, 7000));
}

#[test]
fn a_recorder_is_told_every_name_there_is_and_the_same_numbers_11() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let (store, clock) = store(|own| own);
        let layer =
            oncekey::http::IdempotencyLayer::draft(store.clone(), oncekey::http::Scope::single(CANARY));
        let mut publisher = Publisher::new(&store).label("store", "payments").layer(&layer.build().unwrap());
        publisher.publish();
        live(&store, &clock);
        publisher.publish();
        publisher.publish();
    });
    let said = handle.render();
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .filter(|name| name.starts_with("oncekey_"))
        .collect();
    assert_eq!(names.len(), 41, "every number is described: {names:?}");
    for name in names {
        let is_told = said.lines().any(|line| line.starts_with(name) && line.contains("store=\"payments\""));
        assert!(is_told, "{name} is never told:\n{said}");
    }
    for line in [
        "oncekey_fresh_total{store=\"payments\"} 3",
        "oncekey_replays_total{store=\"payments\"} 2",
        "oncekey_mismatches_total{store=\"payments\"} 1",
        "oncekey_kept_records{store=\"payments\"} 1",
        "oncekey_execution_seconds_count{store=\"payments\"} 1",
        "oncekey_records_per_commit_sum{store=\"payments\"} 1",
    ] {
        assert!(said.lines().any(|own| own == line), "{line} is missing in\n{said}");
    }
    assert!(!said.contains(CANARY), "{said}");
}

#[test]
fn what_begins_anew_when_a_store_is_reopened_is_added_to_what_was_told_5_5() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let written = || -> u64 {
        let said = handle.render();
        let line = said.lines().find(|line| line.starts_with("oncekey_written_bytes_total ")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    metrics::with_local_recorder(&recorder, || {
        let (store, clock) = store(|own| own);
        let mut publisher = Publisher::new(&store);
        live(&store, &clock);
        let first = store.stats().bytes_written;
        publisher.publish();
        assert_eq!(written(), first);
        store.reopen().unwrap();
        let second = store.stats().bytes_written;
        assert!(second < first, "it begins anew: {second} after {first}");
        publisher.publish();
        assert_eq!(written(), first + second);
    });
}
