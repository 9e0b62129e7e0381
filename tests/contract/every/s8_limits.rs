//! Section 8: every limit at its bound and one beyond, with the numbers of its error.
//!
//! Goal: what is refused says what was measured, the limit and the remedy; nothing is evicted. Method: small
//! settings, filled exactly, then asked for one more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use oncekey::{Error, ErrorKind, Key, Limit, Outcome, Parameters};

use super::support::tasks::until;
use super::support::{
    Answer, FLOOD, Home, asked, assert_free, embedded, fresh, in_every_home, in_flight, kept, key, let_go,
    plain, refused, secs,
};

pub(crate) fn too_large(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::TooLarge { what, measured, limit }
}

fn overloaded(what: Limit, measured: u64, limit: u64) -> ErrorKind {
    ErrorKind::Overloaded { what, measured, limit }
}

pub(crate) fn scoped(scope: &str, number: usize) -> Key {
    Key::new(scope, format!("token-{number}")).expect("sound")
}

#[test]
fn the_number_of_parameters_8_1() {
    in_every_home(|home| {
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
    in_every_home(|home| {
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
fn live_reservations_in_all_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().live_reservations_max(2));
        let first = fresh(store.begin(&key(0), &asked()));
        let second = fresh(store.begin(&key(1), &asked()));
        let error = refused(store.begin(&key(2), &asked()));
        assert_eq!(error.kind(), &overloaded(Limit::LiveReservations, 3, 2));
        assert!(error.is_overloaded() && error.is_retryable());
        drop(in_flight(store.begin(&key(0), &asked())));
        let_go(&store, first);
        let third = fresh(store.begin(&key(2), &asked()));
        kept(second.complete(Outcome::new("done")));
        let_go(&store, fresh(store.begin(&key(3), &asked())));
        let_go(&store, third);
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn live_reservations_of_one_scope_8_1() {
    in_every_home(|home| {
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
    in_every_home(|home| {
        let store = home.open(plain().live_reservations_per_scope_max(Some(LIVE_MAX)));
        let live = AtomicU64::new(0);
        let flood = &|flooder: usize| {
            let mut held = Vec::new();
            let mut refusals = 0_u64;
            for number in 0..FLOOD {
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
                (0..8).for_each(|number| assert_free(&store, &scoped("calm", number)));
            }
        });
        embedded(&store, |store| assert_eq!(store.stats().live_reservations, 0));
        until("all are given back", || store.stats().live_reservations == 0);
    });
}

#[test]
fn a_lapsed_reservation_still_counts_and_is_not_evicted_8_3() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.live_reservations_max(1).lease(secs(1)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(100));
        assert!(refused(store.begin(&key(1), &asked())).is_overloaded());
        kept(held.complete(Outcome::new("done")));
    });
}

#[test]
fn waiters_of_one_key_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().waiters_per_key_max(0));
        let held = fresh(store.begin(&key(0), &asked()));
        drop(in_flight(store.begin(&key(0), &asked())));
        let error = refused(store.request(&key(0), &asked()).wait(secs(60)).begin());
        assert_eq!(error.kind(), &overloaded(Limit::WaitersPerKey, 1, 0));
        let_go(&store, held);
        drop(fresh(store.request(&key(0), &asked()).wait(secs(60)).begin()));
    });
}

#[test]
fn an_error_names_what_was_measured_the_limit_and_the_remedy_8_1() {
    let home = Home::any();
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
