//! Section 4, first half: completing, releasing, forgetting (4.1, 4.2, 4.3, 4.5, 4.6).
//!
//! Goal: what was completed is kept and what was not leaves no trace. Method: each way in which a reservation can
//! end, and what the next request is told.

use std::task::Poll;

use oncekey::{Class, Completed, ErrorKind, Known, Limit, Omitted, Outcome, Parameters, Timestamp, classify};

use super::support::tasks::{Task, block_on};
use super::support::{
    Home, Store, asked, asked_otherwise, assert_free, assert_replays, close, embedded, fresh, in_every_home,
    in_flight, kept, key, plain, refused, replay, run, secs,
};

#[test]
fn when_complete_returns_replays_see_the_outcome_4_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let (completed, expires) = kept(held.complete(Outcome::new("done")));
        assert!(completed > Timestamp::default() && expires > completed);
        assert_replays(&store, &key(0), "done");
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn dropping_the_future_of_a_completion_after_one_poll_changes_nothing_4_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        for number in 0..20 {
            let held = fresh(store.begin(&key(number), &asked()));
            let mut task = Task::new(held.complete_async(Outcome::new("done")));
            if let Poll::Ready(done) = task.poll() {
                kept(done);
            }
            drop(task);
            let answer = store.request(&key(number), &asked()).wait(super::support::LONG).begin();
            assert_eq!(replay(answer).outcome().body(), b"done");
        }
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn dropping_the_future_of_a_completion_before_it_is_polled_releases_4_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        drop(held.complete_async(Outcome::new("never")));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked()));
        kept(block_on(held.complete_async(Outcome::new("done"))));
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn a_final_outcome_is_kept_and_a_retryable_one_releases_4_2() {
    in_every_home(|home| {
        let store = home.open(plain());
        let ends = |outcome: Outcome| {
            let held = fresh(store.begin(&key(0), &asked()));
            let completed = held.complete(outcome).expect("an end");
            if completed == Completed::Released {
                assert_free(&store, &key(0));
                return false;
            }
            replay(store.begin(&key(0), &asked()));
            store.forget(&key(0)).expect("forgotten")
        };
        for status in [200, 201, 204, 301, 400, 404, 409, 410, 422, 451] {
            assert!(ends(Outcome::http(status, "no")), "{status} is kept");
        }
        for status in [401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(!ends(Outcome::http(status, "no")), "{status} is not kept");
        }
        assert!(ends(Outcome::new("no status")));
        assert!(!ends(Outcome::http(400, "the resource is busy, please try it later")));
        assert!(!ends(Outcome::http(400, "").with_code("Throttling.User")));
        assert!(ends(Outcome::http(400, "").with_code("InvalidParameter")));
        assert!(ends(Outcome::http(503, "").finally()));
        assert!(!ends(Outcome::http(200, "").retryable()));
        assert_eq!(classify(&Outcome::http(429, "")), Class::Retryable);
    });
}

#[test]
fn the_classifier_can_be_replaced_4_2() {
    in_every_home(|home| {
        let only_500 = |outcome: &Outcome| match outcome.status() {
            Some(500) => Class::Final,
            _ => Class::Retryable,
        };
        let store = home.open(plain().classifier(only_500));
        let held = fresh(store.begin(&key(0), &asked()));
        assert_eq!(held.complete(Outcome::http(200, "")).expect("an end"), Completed::Released);
        kept(fresh(store.begin(&key(0), &asked())).complete(Outcome::http(500, "kept")));
        kept(fresh(store.begin(&key(1), &asked())).complete(Outcome::http(200, "kept").finally()));
    });
}

#[test]
fn dropping_a_reservation_releases_it_without_an_outcome_4_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        let early = |store: &Store| -> Result<(), std::num::ParseIntError> {
            let held = fresh(store.begin(&key(0), &asked()));
            let number: u8 = "not a number".parse()?;
            drop(held.complete(Outcome::new(number.to_string())));
            Ok(())
        };
        early(&store).expect_err("the operation fails");
        assert_free(&store, &key(0));
        fresh(store.begin(&key(0), &asked())).release().expect("still held");
        assert_free(&store, &key(0));
        assert_eq!((store.stats().live_reservations, store.stats().released), (0, 2));
        assert_eq!(fresh(store.begin(&key(0), &asked_otherwise())).attempt(), 1);
    });
}

#[test]
fn an_outcome_at_the_limit_is_kept_and_one_beyond_hands_the_reservation_back_4_5() {
    in_every_home(|home| {
        let store = home.open(plain().outcome_bytes_max(100).declared_outcome_bytes(100));
        let held = fresh(store.begin(&key(0), &asked()));
        let with = |body: usize| Outcome::http(200, vec![b'x'; body]).with_metadata("name", "value1");
        let refusal = held.complete(with(91)).expect_err("too large");
        let expected = ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured: 101, limit: 100 };
        assert_eq!(refusal.error.kind(), &expected);
        let held = refusal.reservation.expect("it is handed back, still held");
        drop(in_flight(store.begin(&key(0), &asked())));
        kept(held.complete(with(90)));
        assert_eq!(replay(store.begin(&key(0), &asked())).outcome(), &with(90));
    });
}

#[test]
fn an_outcome_without_body_says_its_length_and_digest_4_5() {
    let check = |store: &Store| {
        let replay = replay(store.begin(&key(0), &asked()));
        let digest = *blake3::hash(&[b'x'; 101]).as_bytes();
        assert_eq!(replay.omitted(), Some(Omitted { bytes: 101, digest }));
        assert_eq!(replay.outcome(), &Outcome::http(200, "").with_metadata("a", "b"));
    };
    in_every_home(|home| {
        let store = home.open(plain().outcome_bytes_max(100).declared_outcome_bytes(0));
        let outcome = || Outcome::http(200, [b'x'; 101]).with_metadata("a", "b");
        let held = fresh(store.begin(&key(0), &asked()));
        let held = held.complete(outcome()).expect_err("too large").reservation.expect("handed back");
        kept(held.complete_without_body(outcome()));
        check(&store);
        let held = fresh(store.begin(&key(1), &asked()));
        kept(block_on(held.complete_without_body_async(outcome())));
        let metadata = Outcome::new("").with_metadata("x".repeat(101), "");
        let held = fresh(store.begin(&key(2), &asked()));
        let refusal = held.complete_without_body(metadata).expect_err("the metadata alone is too large");
        refusal.reservation.expect("handed back").release().expect("still held");
    });
}

#[test]
fn an_outcome_without_body_says_so_over_a_reopening_too_4_5() {
    let home = Home::lasting();
    let store = home.open(plain());
    kept(fresh(store.begin(&key(0), &asked())).complete_without_body(Outcome::http(200, [b'x'; 101])));
    let own = replay(store.begin(&key(0), &asked()));
    embedded(&store, |store| assert_eq!(store.stats().kept_bytes, 9 + 7));
    close(store);
    let store = home.open(plain());
    assert_eq!(replay(store.begin(&key(0), &asked())), own);
    assert_eq!(own.omitted().map(|own| own.bytes), Some(101));
    embedded(&store, |store| assert_eq!(store.stats().kept_bytes, 9 + 7));
}

#[test]
fn forgetting_frees_the_key_and_tells_whether_something_was_kept_4_6() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        assert!(!store.forget(&key(0)).expect("nothing to forget"));
        run(&store, &key(0), "first");
        assert!(store.forget(&key(0)).expect("forgotten"));
        assert!(!store.forget(&key(0)).expect("already forgotten"));
        assert_free(&store, &key(0));
        embedded(&store, |store| assert_eq!((store.stats().kept_records, store.stats().kept_bytes), (0, 0)));
        run(&store, &key(0), "second");
        assert_replays(&store, &key(0), "second");
        clock.advance(secs(10));
        assert!(!store.forget(&key(0)).expect("expired"), "the key counts as never seen");
        embedded(&store, |store| assert_eq!(store.stats().kept_records, 0, "and is gone from the count"));
    });
}

#[test]
fn a_forgotten_key_stays_forgotten_over_reopenings_4_6() {
    let home = Home::lasting();
    let store = home.open(plain());
    for number in 0..3 {
        run(&store, &key(number), "done");
    }
    assert!(store.forget(&key(1)).expect("forgotten"));
    close(store);
    for _ in 0..2 {
        let store = home.open(plain());
        assert_free(&store, &key(1));
        assert_replays(&store, &key(0), "done");
        assert_replays(&store, &key(2), "done");
        embedded(&store, |store| assert_eq!(store.stats().kept_records, 2));
        close(store);
    }
    let store = home.open(plain());
    run(&store, &key(1), "anew");
    close(store);
    assert_replays(&home.open(plain()), &key(1), "anew");
}

#[test]
fn forgetting_a_live_reservation_answers_in_flight_4_6() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(4));
        let error = store.forget(&key(0)).expect_err("it runs");
        assert_eq!(error.kind(), &ErrorKind::InFlight { attempt: 1, lease_left: Some(secs(6)) });
        clock.advance(secs(10));
        let error = store.forget(&key(0)).expect_err("it may still complete");
        assert_eq!(error.kind(), &ErrorKind::InFlight { attempt: 1, lease_left: Some(secs(0)) });
        held.complete(Outcome::new("done")).expect("kept");
        assert!(matches!(store.get(&key(0)).expect("known"), Known::Finished(_)));
    });
}

#[test]
fn a_completion_is_bound_to_the_parameters_it_was_begun_with_4_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let text = String::from("a=1");
        let held = fresh(store.begin(&key(0), &Parameters::query(&text)));
        drop(text);
        kept(held.complete(Outcome::new("done")));
        replay(store.begin(&key(0), &Parameters::query("a=1")));
        assert!(refused(store.begin(&key(0), &Parameters::query("a=2"))).is_mismatch());
    });
}
