//! Section 3: what was just replayed is answered from memory, and is answered the same.
//!
//! Goal: no copy in memory outlives what the record says: its digest, its time, its end. Method: the same story with and
//! without memory for recent outcomes, in both homes; the store's counts tell from where it answered.

use oncekey::{ErrorKind, Outcome, Parameters, Store};

use crate::support::{
    asked, asked_otherwise, assert_free, assert_replays, close, fresh, in_every_home, kept, key, plain,
    refused, replay, run, secs, with_clock,
};

/// How many of the replays were answered from memory.
fn recent(store: &Store) -> (u64, u64) {
    let stats = store.stats();
    (stats.recent_replays, stats.replays)
}

#[test]
fn what_was_just_replayed_is_replayed_from_memory_and_is_the_same_as_from_the_disk_3_3() {
    in_every_home(|home| {
        let [with, without] = [64 << 20, 0].map(|bytes| {
            let store = home.open(plain().recent_bytes_max(bytes));
            let number = usize::from(bytes == 0);
            let held = fresh(store.begin(&key(number), &asked()));
            let outcome = Outcome::http(201, "made").with_metadata("a", "1").with_code("Code").finally();
            kept(held.complete(outcome));
            let read = replay(store.begin(&key(number), &asked()));
            assert_eq!(recent(&store), (0, 1));
            assert_eq!(store.stats().recent_bytes > 0, bytes > 0);
            let own = replay(store.begin(&key(number), &asked()));
            assert_eq!(recent(&store), (u64::from(bytes > 0), 2));
            assert_eq!(read.outcome(), own.outcome());
            close(store);
            own
        });
        assert_eq!(with.outcome(), without.outcome());
        assert_eq!((with.attempts(), with.format()), (without.attempts(), without.format()));
        assert!(with.omitted().is_none() && with.expires() > with.completed());
    });
}

#[test]
fn what_was_read_once_is_replayed_from_memory_and_a_body_that_is_not_kept_never_is_3_3_4_5() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        kept(held.complete_without_body(Outcome::new("too large")));
        for hits in 0..3 {
            let own = replay(store.begin(&key(0), &asked()));
            assert_eq!((own.outcome().body(), own.omitted().map(|own| own.bytes)), (&b""[..], Some(9)));
            assert_eq!(recent(&store), (hits, hits + 1), "the first one is read");
        }
    });
}

#[test]
fn other_parameters_are_a_mismatch_however_recent_it_is_3_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        run(&store, &key(0), "kept");
        assert_replays(&store, &key(0), "kept");
        assert_replays(&store, &key(0), "kept");
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        assert!(refused(store.begin(&key(0), &Parameters::none())).is_mismatch());
        assert_replays(&store, &key(0), "kept");
        assert_eq!(recent(&store), (2, 3));
    });
}

#[test]
fn what_is_forgotten_or_has_expired_is_not_replayed_from_memory_4_6_7_1() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.retention(secs(10)));
        let replays = |outcome: &str| (0..2).for_each(|_| assert_replays(&store, &key(0), outcome));
        run(&store, &key(0), "first");
        replays("first");
        assert_eq!(store.forget(&key(0)), Ok(true));
        assert_free(&store, &key(0));
        run(&store, &key(0), "second");
        replays("second");
        clock.advance(secs(10));
        run(&store, &key(0), "third");
        replays("third");
        clock.advance(secs(10));
        store.sweep().expect("a sweep");
        assert_free(&store, &key(0));
        drop(fresh(store.begin(&key(0), &asked())));
        assert_eq!(recent(&store), (3, 6));
    });
}

#[test]
fn what_stands_in_memory_is_bounded_and_what_is_larger_is_read_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().stripes(1).recent_bytes_max(16 << 10));
        for number in 0..100 {
            run(&store, &key(number), &"x".repeat(1000));
            assert_replays(&store, &key(number), &"x".repeat(1000));
            assert!((1000..=16 << 10).contains(&store.stats().recent_bytes));
        }
        run(&store, &key(100), &"y".repeat(16 << 10));
        let hits = recent(&store).0;
        (0..3).for_each(|_| assert_replays(&store, &key(100), &"y".repeat(16 << 10)));
        assert_eq!(recent(&store), (hits, 103), "what is larger than all of it is read");
        // It is full: which ones stand there is not said, but what is read twice does then.
        for number in [0, 50, 99] {
            (0..2).for_each(|_| assert_replays(&store, &key(number), &"x".repeat(1000)));
            let hits = recent(&store).0;
            assert_replays(&store, &key(number), &"x".repeat(1000));
            assert_eq!(recent(&store).0, hits + 1, "{number}");
            assert!((1000..=16 << 10).contains(&store.stats().recent_bytes));
        }
    });
}

#[test]
fn a_store_that_is_closed_answers_nothing_from_memory_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        run(&store, &key(0), "kept");
        assert_replays(&store, &key(0), "kept");
        let other = store.clone();
        close(store);
        assert_eq!(refused(other.begin(&key(0), &asked())).kind(), &ErrorKind::Closed);
    });
}
