//! Section 11: manners of a library.
//!
//! Goal: each of the listed methods does what it says. Method: one test or two for each; the secret and `execute`
//! have files of their own.

use std::time::Duration;

use oncekey::{Completed, ErrorKind, Known, Never, Outcome};

use super::support::tasks::until;
use super::support::{
    LONG, asked, asked_otherwise, assert_free, assert_replays, embedded, fresh, in_every_home, in_flight,
    kept, key, plain, refused, replay, run, secs,
};

#[test]
fn get_claims_nothing_and_compares_nothing_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        assert_free(&store, &key(0));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked_otherwise()));
        assert!(matches!(store.get(&key(0)), Ok(Known::InFlight { attempt: 1, .. })));
        kept(held.complete(Outcome::new("done")));
        match store.get(&key(0)).expect("known") {
            Known::Finished(replay) => assert_eq!(replay.outcome().body(), b"done"),
            other => panic!("expected a finished key, got {other:?}"),
        }
        assert_eq!(store.stats().fresh, 1);
    });
}

#[test]
fn close_waits_for_live_reservations_then_everybody_is_told_closed_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        run(&store, &key(0), "done");
        let held = fresh(store.begin(&key(1), &asked()));
        let other = store.clone();
        let closing = std::thread::spawn(move || other.close(LONG));
        until("new requests are refused", || store.begin(&key(2), &asked()).is_err());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!closing.is_finished(), "it waits");
        kept(held.complete(Outcome::new("in time")));
        closing.join().expect("no panic").expect("closed");
        let closed = |error: oncekey::Error| assert_eq!(error.kind(), &ErrorKind::Closed);
        closed(refused(store.begin(&key(0), &asked())));
        closed(refused(store.request(&key(0), &asked()).wait(secs(1)).begin()));
        closed(store.execute(&key(0), &asked(), |_| Ok::<u8, Never>(1)).expect_err("closed"));
        closed(store.get(&key(0)).expect_err("closed"));
        closed(store.forget(&key(0)).expect_err("closed"));
        closed(store.sweep().map(drop).expect_err("closed"));
        embedded(&store, |store| {
            closed(store.flush().expect_err("closed"));
            closed(store.reopen().expect_err("closed"));
            closed(store.rotate_secret(&oncekey::Secret::new([1; 32])).expect_err("closed"));
            closed(store.backup("nowhere").expect_err("closed"));
        });
        if !home.is_memory() {
            let store = home.open(plain());
            assert_replays(&store, &key(1), "in time");
        }
    });
}

#[test]
fn close_gives_up_at_its_limit_and_a_late_completion_is_told_closed_11() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        let held = fresh(store.begin(&key(0), &asked()));
        let other = store.clone();
        let closing = std::thread::spawn(move || other.close(secs(5)));
        until("new requests are refused", || store.get(&key(2)).is_err());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!closing.is_finished(), "the limit is on the store's clock");
        clock.advance(secs(5));
        closing.join().expect("no panic").expect("closed");
        let refusal = held.complete(Outcome::new("late")).expect_err("closed");
        assert_eq!(refusal.error.kind(), &ErrorKind::Closed);
        drop(refusal.reservation.expect("handed back"));
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn those_who_wait_when_the_store_closes_are_told_so_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| refused(store.request(&key(0), &asked()).wait(LONG).begin()));
            until("it waits", || store.stats().in_flight > 0);
            store.clone().close(secs(0)).expect("closed");
            assert_eq!(waiter.join().expect("no panic").kind(), &ErrorKind::Closed);
        });
        drop(held);
    });
}

#[test]
fn stats_count_what_happened_11() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)).live_reservations_max(1));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(3));
        drop(in_flight(store.begin(&key(0), &asked())));
        refused(store.begin(&key(0), &asked_otherwise()));
        refused(store.begin(&key(1), &asked()));
        embedded(&store, |store| assert_eq!(store.stats().oldest_reservation, secs(3)));
        kept(held.complete(Outcome::new("12345")));
        drop(replay(store.begin(&key(0), &asked())));
        drop(replay(store.begin(&key(0), &asked())));
        let lost = fresh(store.begin(&key(1), &asked()));
        clock.advance(secs(10));
        let held = fresh(store.begin(&key(1), &asked()));
        lost.renew().expect_err("lost");
        drop(lost.complete(Outcome::new("late")).expect_err("lost"));
        assert_eq!(held.complete(Outcome::http(503, "")).expect("an end"), Completed::Released);
        let stats = store.stats();
        assert_eq!((stats.replays, stats.in_flight, stats.mismatches, stats.refused), (2, 1, 1, 1));
        assert_eq!((stats.completed, stats.released, stats.taken_over), (1, 1, 1));
        assert_eq!(stats.live_reservations, 0);
        assert_eq!(stats.fresh, 3, "reservations given, the one taken over included");
        assert_eq!(stats.lost, 2, "holders that were told so: by renew and by complete");
        embedded(&store, |store| {
            let stats = store.stats();
            assert_eq!((stats.kept_records, stats.kept_bytes, stats.failed), (1, 9 + 7 + 5, 0));
            assert_eq!(stats.segments, 1);
            assert!(stats.index_bytes > 0 && stats.file_bytes > 0 && stats.bytes_written > 0);
        });
    });
}
