//! Section 8, limits of what is kept, and of what a completion declares.
//!
//! Goal and method: as in `every/s8_limits`. An engine provides its room itself: it has none of these limits.

use oncekey::{ErrorKind, Key, Limit, Outcome, Reservation, Store, Timestamp};

use crate::every::s8_limits::{scoped, too_large};
use crate::support::{
    Home, asked, asked_otherwise, assert_free, assert_replays, close, crash, fresh, in_every_home, in_flight,
    kept, key, plain, refused, replay, run, secs, started, with_clock,
};

fn full(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::Full { what, measured, limit }
}

fn declare(store: &Store, key: &Key, bytes: u64) -> oncekey::Result<Reservation> {
    store.request(key, &asked()).declare(bytes).begin().map(|answer| fresh(Ok(answer)))
}

fn finish(store: &Store, key: &Key, body: usize) {
    let held = declare(store, key, body as u64).expect("there is room");
    kept(held.complete(Outcome::new(vec![b'x'; body])));
}

#[test]
fn the_bytes_declared_for_an_outcome_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().outcome_bytes_max(5000));
        drop(declare(&store, &key(0), 5000).expect("at the bound"));
        let error = declare(&store, &key(0), 5001).expect_err("beyond");
        assert_eq!(error.kind(), &too_large(Limit::OutcomeBytes, 5001, 5000));
    });
}

#[test]
fn declaring_too_much_comes_before_every_state_of_the_key_3_1() {
    in_every_home(|home| {
        let store = home.open(plain().outcome_bytes_max(5000));
        let refuses = |state: &str| {
            let error = declare(&store, &key(0), u64::MAX).expect_err(state);
            assert_eq!(error.kind(), &too_large(Limit::OutcomeBytes, u64::MAX, 5000), "{state}");
        };
        refuses("never seen");
        assert_free(&store, &key(0));
        let held = declare(&store, &key(0), 5000).expect("at the bound");
        refuses("running");
        kept(held.complete(Outcome::new("done")));
        refuses("finished");
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn kept_records_in_all_with_those_that_live_reservations_may_become_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().kept_records_max(3));
        run(&store, &key(0), "done");
        run(&store, &key(1), "done");
        let held = fresh(store.begin(&key(2), &asked()));
        let error = refused(store.begin(&key(3), &asked()));
        assert_eq!(error.kind(), &full(Limit::KeptRecords, 4, 3));
        assert!(error.is_full() && error.is_retryable());
        kept(held.complete(Outcome::new("what was admitted completes")));
        assert_eq!(refused(store.begin(&key(3), &asked())).kind(), &full(Limit::KeptRecords, 4, 3));
        assert_replays(&store, &key(0), "done");
        assert!(store.forget(&key(1)).expect("forgotten"));
        run(&store, &key(3), "done");
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn kept_records_of_one_scope_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().kept_records_per_scope_max(Some(1)));
        run(&store, &scoped("a", 0), "done");
        let error = refused(store.begin(&scoped("a", 1), &asked()));
        assert_eq!(error.kind(), &full(Limit::KeptRecordsPerScope, 2, 1));
        run(&store, &scoped("b", 0), "done");
        assert!(store.forget(&scoped("a", 0)).expect("forgotten"));
        run(&store, &scoped("a", 1), "done");
    });
}

/// Bytes of `scoped("a", 0)`: scope and token.
const KEY_BYTES: u64 = 1 + 7;

#[test]
fn kept_bytes_in_all_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().kept_bytes_max(200).declared_outcome_bytes(0));
        finish(&store, &scoped("a", 0), 92);
        assert_eq!(store.stats().kept_bytes, 92 + KEY_BYTES);
        drop(declare(&store, &scoped("a", 1), 100).expect("at the bound"));
        let error = declare(&store, &scoped("a", 1), 101).expect_err("beyond");
        assert_eq!(error.kind(), &full(Limit::KeptBytes, 201, 200));
        let held = declare(&store, &scoped("a", 1), 60).expect("room");
        let error =
            declare(&store, &scoped("a", 2), 41).expect_err("live ones count with what they declared");
        assert_eq!(error.kind(), &full(Limit::KeptBytes, 201, 200));
        drop(held);
        drop(declare(&store, &scoped("a", 2), 100).expect("given back"));
    });
}

#[test]
fn kept_bytes_of_one_scope_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().kept_bytes_per_scope_max(Some(200)).declared_outcome_bytes(0));
        finish(&store, &scoped("a", 0), 92);
        let error = declare(&store, &scoped("a", 1), 101).expect_err("beyond");
        assert_eq!(error.kind(), &full(Limit::KeptBytesPerScope, 201, 200));
        drop(declare(&store, &scoped("a", 1), 100).expect("at the bound"));
        drop(declare(&store, &scoped("b", 1), 200).expect("another scope"));
    });
}

#[test]
fn metadata_counts_as_kept_bytes_and_counts_are_the_same_over_a_reopening_8_1() {
    let home = Home::directory();
    let store = home.open(plain().kept_records_per_scope_max(Some(100)));
    let outcomes = [
        Outcome::new(""),
        Outcome::http(200, "12345"),
        Outcome::http(200, "12345").with_metadata("name", "value"),
        Outcome::http(200, "").with_metadata("a", "").with_metadata("", "b").with_metadata("cc", "dd"),
    ];
    let mut bytes = 0;
    for (number, outcome) in outcomes.iter().enumerate() {
        let own = scoped("a", number);
        kept(fresh(store.begin(&own, &asked())).complete(outcome.clone()));
        let metadata: usize = outcome.metadata().iter().map(|(name, value)| name.len() + value.len()).sum();
        bytes += KEY_BYTES + (outcome.body().len() + metadata) as u64;
        assert_eq!(store.stats().kept_bytes, bytes, "{number}");
    }
    kept(fresh(store.begin(&scoped("a", 9), &asked())).complete_without_body(outcomes[2].clone()));
    let counts = (store.stats().kept_records, store.stats().kept_bytes);
    assert_eq!(counts, (5, bytes + KEY_BYTES + 9));
    close(store);
    for limit in [5, 6] {
        let store = home.open(plain().kept_records_per_scope_max(Some(limit)));
        assert_eq!((store.stats().kept_records, store.stats().kept_bytes), counts);
        assert_eq!(
            store.begin(&scoped("a", 10), &asked()).is_ok(),
            limit == 6,
            "limits hold over a reopening"
        );
        close(store);
    }
}

#[test]
fn an_expired_record_counts_until_it_is_swept_8_3() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_max(2).retention(secs(10)));
        run(&store, &key(0), "early");
        clock.advance(secs(5));
        run(&store, &key(1), "late");
        clock.advance(secs(5));
        assert_eq!(refused(store.begin(&key(2), &asked())).kind(), &full(Limit::KeptRecords, 3, 2));
        assert_eq!(store.stats().kept_records, 2);
        assert_eq!(store.sweep().expect("swept").records, 1);
        run(&store, &key(2), "done");
        assert_replays(&store, &key(1), "late");
        assert!(refused(store.begin(&key(3), &asked())).is_full());
    });
}

#[test]
fn nothing_is_evicted_to_make_room_8_3() {
    in_every_home(|home| {
        let store = home.open(plain().kept_records_max(50));
        for number in 0..50 {
            run(&store, &key(number), "done");
        }
        for number in 50..100 {
            assert!(refused(store.begin(&key(number), &asked())).is_full());
        }
        store.sweep().expect("swept");
        (0..50).for_each(|number| drop(replay(store.begin(&key(number), &asked()))));
    });
}

#[test]
fn limits_are_asked_in_their_order_8_1() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_max(1).live_reservations_max(1).retention(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(20));
        let sent = oncekey::Timestamp::from_millis(1);
        assert!(refused(store.request(&key(1), &asked()).first_sent(sent).begin()).is_expired());
        assert!(refused(store.begin(&key(1), &asked())).is_overloaded(), "before fullness");
        kept(held.complete(Outcome::new("done")));
        assert!(refused(store.begin(&key(1), &asked())).is_full());
    });
}

#[test]
fn a_taken_over_key_is_not_asked_for_fullness_3_5() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_max(1).live_reservations_max(1).lease(secs(1)));
        let lost = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(1));
        let held = fresh(store.request(&key(0), &asked()).first_sent(Timestamp::from_millis(1)).begin());
        assert_eq!(held.attempt(), 2);
        drop(lost);
        kept(held.complete(Outcome::new("done")));
    });
}

#[test]
fn full_expired_and_overloaded_are_asked_of_new_keys_alone_3_5() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_max(2).live_reservations_max(1));
        run(&store, &key(0), "done");
        let held = fresh(store.begin(&key(1), &asked()));
        let ancient = Timestamp::from_millis(1);
        assert!(refused(store.begin(&key(2), &asked())).is_overloaded());
        drop(in_flight(store.request(&key(1), &asked()).first_sent(ancient).begin()));
        assert!(refused(store.begin(&key(1), &asked_otherwise())).is_mismatch());
        kept(held.complete(Outcome::new("done")));
        assert!(refused(store.begin(&key(2), &asked())).is_full());
        assert_replays(&store, &key(0), "done");
        replay(store.request(&key(1), &asked()).first_sent(ancient).begin());
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        clock.advance(secs(1));
        assert_eq!(store.stats().kept_records, 2);
    });
}

#[test]
fn a_store_at_its_limits_resumes_what_it_admitted_before_3_4_3_5() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    run(&store, &key(1), "kept");
    let narrow = || plain().kept_records_max(1).live_reservations_max(1);
    let store = crash(&home, store, held, narrow());
    assert!(refused(store.begin(&key(2), &asked())).is_full());
    kept(fresh(store.begin(&key(0), &asked())).complete(Outcome::new("resumed")));
    assert_replays(&store, &key(0), "resumed");
}
