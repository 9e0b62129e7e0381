//! Goal: contract 5.10 whatever else the store writes: what was admitted completes within what it declared, beside
//! forgetting, sealing, packing, and relaxed completions that are not synced yet; and a store that nobody uses writes
//! nothing. Method: stores on a disk that is full from one moment on.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Answer, Known, Reservation, Store};
use super::script::parameters;
use crate::digest::Parameters;
use crate::ledger::{Disk, Failure, Faulty};
use crate::options::Builder;
use crate::outcome::Outcome;
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

const DECLARED: usize = 4096;

fn key(number: u64) -> Key {
    Key::new("scope", format!("token-{number}")).unwrap()
}

fn asked() -> Parameters<'static> {
    parameters(1)
}

fn fresh(answer: crate::error::Result<Answer>) -> Reservation {
    match answer {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("expected a reservation, got {other:?}"),
    }
}

fn by_hand() -> Builder {
    Store::builder().background_sweep(false)
}

fn on_a_faulty_disk(builder: Builder) -> (Faulty, Store) {
    let disk = Faulty::new();
    let store = builder.open_on(Arc::new(disk.clone())).unwrap();
    (disk, store)
}

fn relaxed(store: &Store, numbers: std::ops::Range<u64>, bytes: usize) {
    for number in numbers {
        let (key, asked) = (key(number), asked());
        fresh(store.request(&key, &asked).relaxed().begin()).complete(Outcome::new(vec![1; bytes])).unwrap();
    }
}

fn fill_up(disk: &Faulty) {
    disk.fail(Some(Failure::Full(disk.asked().0 + 1)));
}

/// Begins new keys until one is refused as full.
fn admit_all(store: &Store) -> Vec<Reservation> {
    let mut held = Vec::new();
    loop {
        match store.begin(&key(1_000_000 + held.len() as u64), &asked()) {
            Ok(Answer::Fresh(one)) => held.push(one),
            Ok(other) => panic!("expected a reservation, got {other:?}"),
            Err(error) => {
                assert!(error.is_full(), "{error}");
                return held;
            }
        }
    }
}

#[track_caller]
fn complete_all(held: Vec<Reservation>) {
    let count = held.len();
    let failed: Vec<String> = held
        .into_iter()
        .filter_map(|own| own.complete(Outcome::new(vec![3; DECLARED])).err())
        .map(|refused| refused.to_string())
        .collect();
    assert!(failed.is_empty(), "{} of {count} failed: {:?}", failed.len(), failed.first());
}

#[test]
fn relaxed_completions_that_are_not_synced_have_taken_their_room_5_10() {
    for (before, flushed) in [(100, false), (1000, false), (3000, true), (3000, false)] {
        let (disk, store) = on_a_faulty_disk(by_hand());
        relaxed(&store, 0..before, 1000);
        if flushed {
            store.flush().unwrap();
        }
        fill_up(&disk);
        complete_all(admit_all(&store));
    }
}

#[test]
fn forgetting_on_a_full_disk_takes_no_room_that_was_promised_5_10() {
    let (disk, store) = on_a_faulty_disk(by_hand());
    relaxed(&store, 0..5000, 1);
    store.flush().unwrap();
    fill_up(&disk);
    let held = admit_all(&store);
    assert!(!held.is_empty());
    let refused = (0..5000).find_map(|number| store.forget(&key(number)).err());
    assert!(refused.is_some_and(|error| error.is_full()), "there is no room beside what was promised");
    complete_all(held);
}

#[test]
fn sealing_and_packing_on_a_full_disk_take_no_room_that_was_promised_5_10() {
    for (bytes, segment_bytes) in [(1, 1 << 20), (1000, 1 << 20), (1, 3 << 20)] {
        let (disk, store) = on_a_faulty_disk(by_hand().segment_bytes_max(segment_bytes));
        let mut number = 0;
        while store.stats().segments < 2 {
            relaxed(&store, number..number + 200, bytes);
            number += 200;
        }
        fresh(store.begin(&key(9_000_000), &asked())).complete(Outcome::new("durable")).unwrap();
        fill_up(&disk);
        let held = admit_all(&store);
        store.sweep().unwrap();
        complete_all(held);
        disk.fail(None);
        store.sweep().unwrap();
        for number in [0, number / 2, number - 1] {
            assert!(matches!(store.get(&key(number)), Ok(Known::Finished(_))));
        }
    }
}

#[test]
fn one_who_takes_over_and_declares_more_has_room_for_it_or_is_refused_5_10() {
    const LARGE: usize = 8 << 20;
    let (disk, store) = on_a_faulty_disk(by_hand().outcome_bytes_max(64 << 20));
    let asked = asked();
    let [taken, other] = [1, 2].map(key);
    let first = fresh(store.request(&taken, &asked).lease(Duration::ZERO).begin());
    let second = fresh(store.request(&taken, &asked).lease(Duration::ZERO).declare(LARGE as u64).begin());
    fill_up(&disk);
    let third = fresh(store.request(&taken, &asked).declare(LARGE as u64).begin());
    assert!(store.request(&other, &asked).declare(LARGE as u64).begin().unwrap_err().is_full());
    assert!(first.complete(Outcome::new("late")).unwrap_err().error.is_reservation_lost());
    drop(second);
    assert_eq!(third.attempt(), 3);
    third.complete(Outcome::new(vec![1; LARGE])).unwrap();

    let (disk, store) = on_a_faulty_disk(by_hand().outcome_bytes_max(64 << 20));
    let first = fresh(store.request(&taken, &asked).lease(Duration::ZERO).begin());
    fill_up(&disk);
    assert!(store.request(&taken, &asked).declare(LARGE as u64).begin().unwrap_err().is_full());
    first.complete(Outcome::new("nobody took over")).unwrap();
}

#[test]
fn a_store_that_nobody_uses_is_packed_once_and_then_left_alone() {
    for (token_bytes, bytes, count) in [(8, 1, 40_000), (36, 16, 30_000)] {
        let temporary = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
        let builder = by_hand().segment_bytes_max(4 << 20).clock(clock.clone());
        let store = builder.open(temporary.path().join("store")).unwrap();
        for number in 0..count {
            let key = Key::new("a", format!("{number:0token_bytes$}")).unwrap();
            let asked = asked();
            let held = fresh(store.request(&key, &asked).relaxed().begin());
            held.complete(Outcome::new(vec![1; bytes])).unwrap();
        }
        store.sweep().unwrap();
        let carried = (0..3).map(|_| {
            clock.advance(Duration::from_secs(1));
            store.sweep().unwrap().carried
        });
        assert_eq!(carried.sum::<u64>(), 0, "{:?}", store.stats());
    }
}

#[test]
fn a_segment_that_is_dropped_after_a_refused_rotation_is_missed_by_nobody_5_6() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let builder = || by_hand().segment_bytes_max(1 << 20).clock(clock.clone());
    let (disk, store) = on_a_faulty_disk(builder());
    let asked = asked();
    let body = vec![1; 60 << 10];
    let mut number = 0;
    while store.stats().segments < 2 {
        let own = key(number);
        let held = fresh(store.request(&own, &asked).retention(Duration::from_secs(10)).begin());
        held.complete(Outcome::new(body.clone())).unwrap();
        number += 1;
    }
    let held: Vec<Reservation> = (0..24)
        .map(|number| fresh(store.request(&key(1000 + number), &asked).declare(60 << 10).begin()))
        .collect();
    fill_up(&disk);
    for own in held {
        own.complete(Outcome::new(body.clone())).unwrap();
    }
    disk.fail(None);
    clock.advance(Duration::from_secs(100));
    store.sweep().unwrap();
    store.close(Duration::ZERO).unwrap();
    assert!(!disk.list().unwrap().is_empty());
    let store = builder().open_on(Arc::new(disk)).unwrap();
    assert!(matches!(store.get(&key(1000)), Ok(Known::Finished(_))));
}
