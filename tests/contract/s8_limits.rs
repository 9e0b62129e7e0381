//! Section 8: every limit at its bound and one beyond, with the numbers of its error.
//!
//! Goal: what is refused says what was measured, the limit and the remedy; nothing is evicted. Method: small
//! settings, filled exactly, then asked for one more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use oncekey::{Answer, Error, ErrorKind, Key, Limit, Outcome, Parameters, Reservation, Store};

use crate::support::{
    Home, asked, assert_replays, close, fresh, in_both_homes, in_flight, kept, key, plain, refused, replay,
    run, secs, with_clock,
};

fn too_large(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::TooLarge { what, measured, limit }
}

fn overloaded(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::Overloaded { what, measured, limit }
}

fn full(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::Full { what, measured, limit }
}

fn scoped(scope: &str, number: usize) -> Key {
    Key::new(scope, format!("token-{number}")).expect("sound")
}

fn declare(store: &Store, key: &Key, bytes: u64) -> oncekey::Result<Reservation> {
    store.request(key, &asked()).declare(bytes).begin().map(|answer| fresh(Ok(answer)))
}

fn finish(store: &Store, key: &Key, body: usize) {
    let held = declare(store, key, body as u64).expect("there is room");
    kept(held.complete(Outcome::new(vec![b'x'; body])));
}

#[test]
fn the_number_of_parameters_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().parameter_count_max(3));
        let pairs = |count: usize| Parameters::pairs((0..count).map(|number| (number.to_string(), "x")));
        drop(fresh(store.begin(&key(0), &pairs(3))));
        let expected = too_large(Limit::ParameterCount, 4, 3);
        assert_eq!(refused(store.begin(&key(0), &pairs(4))).kind(), &expected);
        drop(fresh(store.begin(&key(0), &Parameters::query("a&b&c"))));
        assert_eq!(refused(store.begin(&key(0), &Parameters::query("a&b&c&d"))).kind(), &expected);
        drop(fresh(store.begin(&key(0), &Parameters::json(br#"{"a":1,"b":2,"c":3}"#))));
        let json = Parameters::json(br#"{"a":1,"b":2,"c":3,"d":4}"#);
        assert_eq!(refused(store.begin(&key(0), &json)).kind(), &expected);
    });
}

#[test]
fn the_bytes_of_parameters_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().parameter_bytes_max(10));
        drop(fresh(store.begin(&key(0), &Parameters::bytes(&[0; 10]))));
        let expected = too_large(Limit::ParameterBytes, 11, 10);
        assert_eq!(refused(store.begin(&key(0), &Parameters::bytes(&[0; 11]))).kind(), &expected);
        assert_eq!(
            refused(store.begin(&key(0), &Parameters::pairs([("12345", "678901")]))).kind(),
            &expected
        );
        assert_eq!(refused(store.begin(&key(0), &Parameters::query("1234567890="))).kind(), &expected);
    });
}

#[test]
fn the_bytes_declared_for_an_outcome_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().outcome_bytes_max(5000));
        drop(declare(&store, &key(0), 5000).expect("at the bound"));
        let error = declare(&store, &key(0), 5001).expect_err("beyond");
        assert_eq!(error.kind(), &too_large(Limit::OutcomeBytes, 5001, 5000));
    });
}

#[test]
fn live_reservations_in_all_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().live_reservations_max(2));
        let first = fresh(store.begin(&key(0), &asked()));
        let second = fresh(store.begin(&key(1), &asked()));
        let error = refused(store.begin(&key(2), &asked()));
        assert_eq!(error.kind(), &overloaded(Limit::LiveReservations, 3, 2));
        assert!(error.is_overloaded() && error.is_retryable());
        drop(in_flight(store.begin(&key(0), &asked())));
        drop(first);
        let third = fresh(store.begin(&key(2), &asked()));
        kept(second.complete(Outcome::new("done")));
        drop(fresh(store.begin(&key(3), &asked())));
        drop(third);
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn live_reservations_of_one_scope_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().live_reservations_per_scope_max(Some(1)));
        let held = fresh(store.begin(&scoped("a", 0), &asked()));
        let error = refused(store.begin(&scoped("a", 1), &asked()));
        assert_eq!(error.kind(), &overloaded(Limit::LiveReservationsPerScope, 2, 1));
        let other = fresh(store.begin(&scoped("b", 0), &asked()));
        kept(held.complete(Outcome::new("done")));
        drop(fresh(store.begin(&scoped("a", 1), &asked())));
        drop(other);
    });
}

#[test]
fn a_scope_that_floods_is_held_to_its_limit_and_leaves_the_others_alone_8_1() {
    const LIVE_MAX: u64 = 8;
    in_both_homes(|home| {
        let store = home.open(plain().live_reservations_per_scope_max(Some(LIVE_MAX)));
        let live = AtomicU64::new(0);
        let flood = &|flooder: usize| {
            let mut held = Vec::new();
            let mut refusals = 0_u64;
            for number in 0..20_000 {
                match store.begin(&scoped("flood", flooder << 32 | number), &asked()) {
                    Ok(Answer::Fresh(own)) => {
                        held.push(own);
                        assert!(live.fetch_add(1, Ordering::AcqRel) < LIVE_MAX);
                    }
                    other => {
                        assert!(refused(other).is_overloaded());
                        refusals += 1;
                        live.fetch_sub(held.len() as u64, Ordering::AcqRel);
                        held.clear();
                    }
                }
            }
            assert!(refusals > 0);
            live.fetch_sub(held.len() as u64, Ordering::AcqRel);
        };
        std::thread::scope(|scope| {
            let floods: Vec<_> = (0..4).map(|flooder| scope.spawn(move || flood(flooder))).collect();
            while !floods.iter().all(ScopedJoinHandle::is_finished) {
                let begin = |number| fresh(store.begin(&scoped("calm", number), &asked()));
                drop((0..8).map(begin).collect::<Vec<_>>());
            }
        });
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn a_lapsed_reservation_still_counts_and_is_not_evicted_8_3() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.live_reservations_max(1).lease(secs(1)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(100));
        assert!(refused(store.begin(&key(1), &asked())).is_overloaded());
        kept(held.complete(Outcome::new("done")));
    });
}

#[test]
fn waiters_of_one_key_8_1() {
    in_both_homes(|home| {
        let store = home.open(plain().waiters_per_key_max(0));
        let held = fresh(store.begin(&key(0), &asked()));
        drop(in_flight(store.begin(&key(0), &asked())));
        let error = refused(store.request(&key(0), &asked()).wait(secs(60)).begin());
        assert_eq!(error.kind(), &overloaded(Limit::WaitersPerKey, 1, 0));
        drop(held);
        drop(fresh(store.request(&key(0), &asked()).wait(secs(60)).begin()));
    });
}

#[test]
fn kept_records_in_all_with_those_that_live_reservations_may_become_8_1() {
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
    in_both_homes(|home| {
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
fn an_error_names_what_was_measured_the_limit_and_the_remedy_8_1() {
    let home = Home::memory();
    let store = home.open(plain().live_reservations_max(1).parameter_bytes_max(7));
    let _held = fresh(store.begin(&key(0), &Parameters::none()));
    let overloaded: Error = refused(store.begin(&key(1), &Parameters::none()));
    let large = refused(store.begin(&key(1), &Parameters::bytes(b"12345678")));
    for (error, words) in [
        (overloaded, ["live reservations", "2", "the limit is 1", "raise the limit"]),
        (large, ["parameters' bytes", "8", "the limit is 7", "raise the limit"]),
    ] {
        let sentence = error.to_string();
        assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
    }
}
