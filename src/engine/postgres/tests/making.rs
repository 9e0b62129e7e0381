//! The schema and its partitions, and what the sweep takes.

use std::time::Duration;

use super::server::{Bench, LATER, ask, claim, completion, fence, key, run};
use crate::engine::postgres::partitions::{bounds, bucket};
use crate::engine::{Change, Claim, Count, Engine, Fault, Standing};
use crate::error::ErrorKind;
use crate::time::Timestamp;

const PARTITIONS: &str = "SELECT count(*) FROM pg_inherits WHERE inhparent = '{s}.records'::regclass";

#[test]
fn of_eight_who_find_the_schema_missing_at_once_all_find_it_made() {
    let Some(bench) = Bench::new() else { return };
    let make = |nth: u64| {
        let bench = &bench;
        move || {
            run(async {
                // Each would have it another way; the first decides.
                let engine = bench.engine();
                let engine = match nth {
                    0 => engine.unpartitioned(),
                    _ => engine.partitions(Duration::from_secs(3600 * nth)),
                };
                assert_eq!(engine.identity().await.unwrap(), None);
                let epoch = engine.begin_epoch(None).await.unwrap().answer;
                ask(&engine, claim(nth, fence(epoch, 1))).await;
                let own = completion(nth, fence(epoch, 1), LATER, b"done");
                assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
                epoch
            })
        }
    };
    let mut epochs = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|nth| scope.spawn(make(nth))).collect();
        all.into_iter().map(|own| own.join().unwrap()).collect::<Vec<_>>()
    });
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 8, "no epoch is given twice");
    run(async {
        let client = bench.client().await;
        assert_eq!(bench.number(&client, "SELECT count(*) FROM {s}.records").await, 8);
        assert_eq!(bench.number(&client, "SELECT count(*) FROM {s}.store").await, 1);
        assert!(bench.number(&client, PARTITIONS).await <= 1, "all follow the first");
    });
}

#[test]
fn a_schema_of_a_newer_library_is_not_touched() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        bench.made().await;
        bench.sql(&bench.client().await, "INSERT INTO {s}.migrations VALUES (2)").await;
        let Err(Fault::Refused(error)) = bench.engine().identity().await else { panic!("it was opened") };
        assert_eq!(error.kind(), &ErrorKind::NewerFormat { found: 2, supported: 1 });
    });
}

#[test]
fn every_expiry_lies_in_one_bucket_up_to_the_last() {
    for width in [1, 1000, 6 * 3600 * 1000, 400 * 24 * 3600 * 1000] {
        for expires in [0, 999, 1000, 1001, LATER, u64::MAX / 2 - 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let own = bucket(Timestamp::from_millis(expires), width);
            let (begin, end) = bounds(own, width);
            let clamped = i64::try_from(expires).unwrap_or(i64::MAX);
            assert!(begin <= clamped && end.is_none_or(|end| clamped < end), "{width} {expires}");
            assert_eq!(
                own.checked_sub(1).map_or(Some(0), |one| bounds(one, width).1),
                Some(begin).filter(|_| own > 0).or(Some(0))
            );
        }
        assert_eq!(bounds(bucket(Timestamp::MAX, width), width).1, None);
    }
}

#[test]
fn partitions_are_made_when_they_are_needed_and_dropped_when_all_has_expired() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let engine = bench.engine().partitions(Duration::from_secs(1));
        engine.identity().await.unwrap();
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        let client = bench.client().await;
        bench.stop_clock(&client, 10_000).await;
        let expiries = [("a", 10_500), ("b", 10_999), ("c", 11_000), ("d", u64::MAX), ("e", u64::MAX / 2)];
        let claims: Vec<Claim> =
            (1..).zip(expiries).map(|(at, (name, _))| claim(name, fence(epoch, at))).collect();
        engine.claim(&claims).await.unwrap();
        let own: Vec<_> = (1..)
            .zip(expiries)
            .map(|(at, (name, expires))| completion(name, fence(epoch, at), expires, b"x"))
            .collect();
        assert_eq!(engine.complete(&own).await.unwrap(), [true; 5]);
        assert_eq!(bench.number(&client, PARTITIONS).await, 3, "those that never expire share one");

        bench.set_clock(&client, 10_999).await;
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 0);
        assert_eq!(
            engine.count().await.unwrap(),
            Count { live_reservations: 0, kept_records: 5 },
            "expired or not"
        );
        bench.set_clock(&client, 11_000).await;
        // A reader that is still at it is not waited for.
        bench.sql(&client, "BEGIN; SELECT count(*) FROM {s}.records").await;
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 0);
        bench.sql(&client, "COMMIT").await;
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 2);
        assert_eq!(bench.number(&client, PARTITIONS).await, 2);

        // Another engine may believe that it is still there.
        let late = Claim { lease: Duration::from_secs(1), ..claim("f", fence(epoch, 6)) };
        ask(&engine, late).await;
        engine.house().unwrap().partitions.lock().insert(10);
        let own = completion("f", fence(epoch, 6), 10_700, b"x");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
        assert_eq!(bench.number(&client, PARTITIONS).await, 3);
        bench.set_clock(&client, u64::MAX / 2).await;
        assert_eq!(engine.sweep(Duration::from_secs(1)).await.unwrap(), 2, "all but what never expires");
    });
}

#[test]
fn one_plain_table_is_swept_by_rows() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let engine = bench.engine().unpartitioned().without_notifications();
        engine.identity().await.unwrap();
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        let client = bench.client().await;
        bench.stop_clock(&client, 10_000).await;
        // More than one step.
        let claims: Vec<Claim> = (1000..3500).map(|at| claim(at, fence(epoch, at))).collect();
        engine.claim(&claims).await.unwrap();
        let own: Vec<_> =
            (1000..3500).map(|at| completion(at, fence(epoch, at), 11_000 + at % 2, b"x")).collect();
        assert_eq!(engine.complete(&own).await.unwrap(), [true; 2500]);
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 0);
        bench.set_clock(&client, 11_000).await;
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 1250);
        assert_eq!(engine.count().await.unwrap(), Count { live_reservations: 0, kept_records: 1250 });
        assert_eq!(ask(&engine, claim(1000, fence(epoch, 1))).await, "granted");
        assert_eq!(ask(&engine, claim(1001, fence(epoch, 1))).await, "finished x");
        bench.set_clock(&client, 11_001).await;
        assert_eq!(engine.sweep(Duration::from_secs(60)).await.unwrap(), 1250);
    });
}

#[test]
fn the_sweep_takes_claims_that_nobody_will_ask_for() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let ended = engine.begin_epoch(None).await.unwrap().answer;
        let client = bench.client().await;
        bench.stop_clock(&client, 100_000).await;
        let durable = |name, fence| Claim { standing: Standing::Durable, ..claim(name, fence) };
        let claims = [
            durable("durable", fence(epoch, 1)),
            durable("ended durable", fence(ended, 1)),
            claim("ended volatile", fence(ended, 2)),
            durable("interrupted", fence(epoch, 2)),
            durable("released", fence(epoch, 3)),
            claim("volatile", fence(epoch, 4)),
        ];
        engine.claim(&claims).await.unwrap();
        let stand = |name, nth, standing| Change {
            key: key(name),
            fence: fence(epoch, nth),
            lease: Some(Duration::from_secs(20)),
            standing: Some(standing),
            started: None,
        };
        let changes =
            [stand("interrupted", 2, Standing::Interrupted), stand("released", 3, Standing::Released)];
        engine.change(&changes).await.unwrap();
        engine.end_epoch(ended).await.unwrap();
        let mut left = Vec::new();
        for now in [100_000, 119_999, 120_000, 139_999, 140_000] {
            bench.set_clock(&client, now).await;
            let gone = engine.sweep(Duration::from_secs(30)).await.unwrap();
            left.push((gone, engine.page(None, 99).await.unwrap().answer.len()));
        }
        // At once the one of the ended epoch; the released one after 20 seconds; the lapsed one 30 seconds after its 10.
        assert_eq!(left, [(1, 5), (0, 5), (1, 4), (0, 4), (1, 3)]);
    });
}

#[test]
fn the_sweep_goes_through_more_claims_than_one_step() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let claims: Vec<Claim> =
            (1000..3500).map(|at| Claim { lease: Duration::ZERO, ..claim(at, fence(epoch, at)) }).collect();
        engine.claim(&claims).await.unwrap();
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 2500);
        assert_eq!(engine.count().await.unwrap(), Count::default());
    });
}
