//! Section 6, checkpoints (6.3).
//!
//! Goal: the next attempt sees the last note, whatever ended the one before, and no other. Method: every end there is: a
//! crash, a panic, a drop, a take-over.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use oncekey::{ErrorKind, Key, Known, Limit, Outcome};

use super::support::tasks::{Task, block_on, until};
use super::support::{
    Home, Reservation, Store, TestClock, asked, asked_otherwise, crash, embedded, fresh, in_every_home, kept,
    key, plain, secs, soon, started,
};

/// Which attempt wrote the last note, and what.
fn seen(held: &Reservation) -> Option<(u32, &[u8])> {
    held.last_checkpoint().map(|noted| (noted.attempt(), noted.bytes()))
}

#[test]
fn a_checkpoint_is_on_disk_when_it_returns_and_the_last_one_counts_6_3() {
    let home = Home::lasting();
    let mut store = home.open(plain());
    for attempt in 1..4 {
        let held = fresh(store.request(&key(0), &asked()).start_durably().begin());
        let before = (attempt > 1).then(|| (attempt - 1, format!("{} b", attempt - 1)));
        assert_eq!(seen(&held), before.as_ref().map(|(by, note)| (*by, note.as_bytes())));
        held.checkpoint(format!("{attempt} a").as_bytes()).expect("noted");
        held.checkpoint(format!("{attempt} b").as_bytes()).expect("noted");
        store = crash(&home, store, held, plain());
    }
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), seen(&held)), (4, Some((3, &b"3 b"[..]))));
    // An attempt that writes none leaves the one before it in place.
    let store = crash(&home, store, held, plain());
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), seen(&held)), (5, Some((3, &b"3 b"[..]))));
    kept(held.complete(Outcome::new("done")));
    embedded(&store, |store| assert_eq!(store.stats().kept_records, 1));
}

#[test]
fn an_empty_checkpoint_is_one_and_a_large_one_comes_back_whole_6_3() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = (started(&store, &key(0)), started(&store, &key(1)));
    held.0.checkpoint(b"").expect("noted");
    let large: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    held.1.checkpoint(&large).expect("noted");
    let store = crash(&home, store, held, plain());
    assert_eq!(seen(&fresh(store.begin(&key(0), &asked()))), Some((1, &b""[..])));
    assert_eq!(seen(&fresh(store.begin(&key(1), &asked()))), Some((1, &large[..])));
}

#[test]
fn a_checkpoint_survives_a_drop_a_panic_and_a_take_over_6_3_4_3_4_4() {
    type End = fn(Reservation, &TestClock);
    let ends: [End; 3] = [
        |held, _| drop(held),
        |held, _| {
            let panicked = catch_unwind(AssertUnwindSafe(move || {
                let _held = held;
                panic!("planned");
            }));
            assert!(panicked.is_err());
        },
        |held, clock| {
            clock.advance(secs(60));
            // It goes on for ever, and has lost its key.
            std::mem::forget(held);
        },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        in_every_home(|home| {
            let (builder, clock) = home.with_clock();
            let store = home.open(builder);
            let held = started(&store, &key(0));
            held.checkpoint(b"half").expect("noted");
            end(held, &clock);
            let held = soon(&store, &key(0));
            assert_eq!((held.attempt(), seen(&held)), (2, Some((1, &b"half"[..]))), "end {number}");
        });
    }
}

#[test]
fn one_who_lost_the_key_writes_no_checkpoint_6_3_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        let first = started(&store, &key(0));
        first.checkpoint(b"first").expect("noted");
        clock.advance(secs(60));
        first.checkpoint(b"lapsed, and not taken over").expect("it still holds the key");
        let second = started(&store, &key(0));
        assert_eq!(seen(&second), Some((1, &b"lapsed, and not taken over"[..])));
        assert!(first.checkpoint(b"lost").expect_err("lost").is_reservation_lost());
        assert_eq!(store.stats().lost, 1);
        drop((first, second));
        let third = soon(&store, &key(0));
        assert_eq!((third.attempt(), seen(&third)), (3, Some((1, &b"lapsed, and not taken over"[..]))));
    });
}

#[test]
fn a_checkpoint_over_the_limit_is_refused_and_changes_nothing_6_3_8_1() {
    in_every_home(|home| {
        let store = home.open(plain().checkpoint_bytes_max(4));
        let held = started(&store, &key(0));
        held.checkpoint(b"four").expect("at the limit");
        let error = held.checkpoint(b"fives").expect_err("over it");
        let too_large = ErrorKind::TooLarge { what: Limit::CheckpointBytes, measured: 5, limit: 4 };
        assert_eq!(error.kind(), &too_large);
        drop(held);
        assert_eq!(seen(&soon(&store, &key(0))), Some((1, &b"four"[..])));
    });
}

#[test]
fn a_volatile_reservation_takes_no_checkpoint_6_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        assert_eq!(held.checkpoint(b"x").expect_err("volatile").kind(), &ErrorKind::NotDurable);
        assert_eq!(
            block_on(held.checkpoint_async(b"x")).expect_err("volatile").kind(),
            &ErrorKind::NotDurable
        );
        kept(held.complete(Outcome::new("done")));
    });
}

#[test]
fn a_checkpoint_belongs_to_its_parameters_6_3_4_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = started(&store, &key(0));
        held.checkpoint(b"of these parameters").expect("noted");
        drop(held);
        until("released", || store.get(&key(0)) == Ok(Known::Absent));
        // Released, the key is free for other parameters too; they never see what was noted for these.
        let (own, other) = (key(0), asked_otherwise());
        let held = fresh(store.begin(&own, &other));
        assert_eq!((held.attempt(), seen(&held)), (2, None));
    });
}

#[test]
fn a_checkpoint_whose_future_is_dropped_is_written_all_the_same_6_3_4_1() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    for number in 0..50_u8 {
        let note = [number];
        let mut noting = Task::new(held.checkpoint_async(&note));
        drop(noting.poll());
    }
    kept_in_order(&store, &key(0), held);
}

/// The holder goes, and the next one sees the last note.
fn kept_in_order(store: &Store, key: &Key, held: Reservation) {
    drop(held);
    embedded(store, |store| until("all is written", || store.stats().checkpoints == 50));
    assert_eq!(seen(&soon(store, key)), Some((1, &[49][..])));
}

#[test]
fn checkpoints_are_counted_and_cost_one_record_at_a_time_6_3_8_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = started(&store, &key(0));
        for _ in 0..10 {
            held.checkpoint(&[7; 100]).expect("noted");
        }
        embedded(&store, |store| {
            let stats = store.stats();
            assert_eq!((stats.checkpoints, stats.kept_records, stats.kept_bytes), (10, 1, 9 + 7 + 100));
        });
        drop(held);
        assert_eq!(seen(&soon(&store, &key(0))), Some((1, &[7; 100][..])));
    });
}

#[test]
fn no_debug_form_shows_what_was_noted_6_3_10_2() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"canary").expect("noted");
    let store = crash(&home, store, held, plain());
    let listed = store.interrupted().next().expect("listed").expect("readable");
    let shown = format!("{:?} {:?} {listed:?}", store.get(&key(0)), listed.checkpoint());
    let held = fresh(store.begin(&key(0), &asked()));
    let mut shown = format!("{shown} {held:?} {:?}", held.last_checkpoint());
    embedded(&store, |store| write!(shown, "{:?}", store.running(secs(0)).next()).expect("written"));
    assert!(
        shown.contains("Checkpoint") && !shown.contains("canary") && !shown.contains("99, 97"),
        "{shown}"
    );
}
