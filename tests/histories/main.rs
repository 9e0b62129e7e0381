//! Goal: contract 3 and 4, as callers see them: whatever threads ask at once, each key's answers are those of one caller
//! after another. Method: real threads against the real store, in memory, in a directory, and in child processes that
//! are killed; every call's invocation and answer is recorded, and each key's history is given to a checker of
//! linearizability, which has tests of its own. Leases lapse by a clock that a thread of the test moves.
//!
//! `ONCEKEY_HISTORIES=1000000 cargo test --release --test histories` is the long form; `ONCEKEY_SEED` repeats a run's choices,
//! though not its moments.

mod checker;
mod killed;
mod recorder;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use checker::{Call, check};
use oncekey::{ManualClock, Store, Timestamp};
use recorder::{Chance, KEYS, LEASE, Recorder};

const THREADS: u64 = 4;
const CALLS: u64 = 14;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub(crate) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos();
    setting("ONCEKEY_SEED").unwrap_or(u64::from(now))
}

/// Histories of one store: threads that call whatever comes to their minds, and a clock that now and then jumps.
fn histories_of(store: &Store, clock: &ManualClock, seed: u64) -> Vec<Vec<Call>> {
    let count = AtomicU64::new(0);
    let lapses = seed.is_multiple_of(2);
    let recorders = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut own = Recorder::new(store, clock, &count, thread);
                scope.spawn(move || {
                    let mut chance = Chance(seed * THREADS + thread);
                    (0..CALLS).for_each(|_| own.call(&mut chance));
                    own.let_go();
                    own.calls
                })
            })
            .collect();
        while lapses && threads.iter().any(|own| !own.is_finished()) {
            clock.advance(LEASE / 3);
            std::thread::sleep(Duration::from_micros(150));
        }
        let calls = threads.into_iter().map(|own| own.join().expect("no caller panics"));
        calls.collect::<Vec<_>>()
    });
    let mut histories = vec![Vec::new(); KEYS];
    for (key, call) in recorders.into_iter().flatten() {
        histories[key].push(call);
    }
    assert!(count.load(Ordering::Relaxed) > 0);
    histories
}

pub(crate) fn check_all(histories: &[Vec<Call>], context: &str) -> usize {
    let lease = u64::try_from(LEASE.as_nanos()).expect("short");
    for (key, history) in histories.iter().enumerate() {
        check(history, lease).unwrap_or_else(|told| panic!("{context}, key {key}: {told}"));
    }
    histories.len()
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_millis(1_000_000))
}

#[test]
fn histories_of_a_store_in_memory_are_linearizable_3_6() {
    let (wanted, seed) = (setting("ONCEKEY_HISTORIES").unwrap_or(1_800), seed());
    let (mut checked, mut run) = (0, seed);
    while checked < wanted {
        let clock = clock();
        let stripes = [1, 64][usize::from(run.is_multiple_of(3))];
        let builder =
            Store::builder().clock(clock.clone()).lease(LEASE).stripes(stripes).background_sweep(false);
        let store = builder.open_in_memory().expect("a store");
        checked +=
            check_all(&histories_of(&store, &clock, run), &format!("ONCEKEY_SEED={seed}, run {run}")) as u64;
        run += 1;
    }
    println!("histories cases {checked} faults 0 failures 0 seed {seed}");
}

#[test]
fn histories_of_a_store_in_a_directory_are_linearizable_across_closings_3_6() {
    let (wanted, seed) = (setting("ONCEKEY_HISTORIES").unwrap_or(1_000) / 10, seed());
    let directory = tempfile::tempdir().expect("a directory");
    let (mut checked, mut run) = (0, seed);
    while checked < wanted {
        let clock = clock();
        let path = directory.path().join(format!("{run}"));
        let open = || Store::builder().clock(clock.clone()).lease(LEASE).open(&path).expect("it opens");
        let store = open();
        let mut histories = histories_of(&store, &clock, run);
        store.close(Duration::ZERO).expect("it closes");
        recorder::look_again(&open(), &mut histories);
        checked += check_all(&histories, &format!("ONCEKEY_SEED={seed}, run {run}")) as u64;
        run += 1;
    }
    println!("histories cases {checked} faults 0 failures 0 seed {seed}");
}
