//! Goal: contract 8 at size. A store that works on for many retention periods takes no more disk, memory or descriptors
//! than after the first few; limits are reached, hold, and are left again. Method: real files and the public API, and a
//! clock moved by hand, so that weeks pass in seconds.
//!
//! `ONCEKEY_SOAK=n` does n times the work of the soak: 100 is ten million tokens.
#![cfg(target_os = "linux")]

mod usage;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use oncekey::{
    Answer, Builder, Completed, Key, Known, Limit, ManualClock, Outcome, Parameters, Store, Timestamp,
};
use usage::Usage;

const RETENTION: Duration = Duration::from_secs(24 * 3600);
const PERIODS: usize = 20;
/// A sweep comes so often in a period.
const SWEEPS: usize = 24;
/// New tokens of one period; each tenth is sent again.
const TOKENS: usize = 5_000;
/// Periods in which it may still grow: records of one period are there before the first of them goes.
const EARLY: usize = 4;
const BODY_BYTES: usize = 200;

/// Memory and descriptors are the process's, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn key(number: usize) -> Key {
    Key::new([b'a' + u8::try_from(number % 7).unwrap()], format!("token-{number}")).unwrap()
}

fn asked(number: usize) -> Parameters<'static> {
    Parameters::pairs([("number", number.to_string())])
}

fn body(number: usize) -> Vec<u8> {
    number.to_le_bytes().repeat(BODY_BYTES / size_of::<usize>())
}

fn builder(clock: &ManualClock) -> Builder {
    Store::builder().clock(clock.clone()).background_sweep(false).retention(RETENTION)
}

/// So many new tokens, each tenth sent again a little later; the last of them are on disk when it returns.
fn work(store: &Store, numbers: std::ops::Range<usize>) {
    for number in numbers.clone() {
        let (own, parameters) = (key(number), asked(number));
        match store.request(&own, &parameters).relaxed().begin() {
            Ok(Answer::Fresh(held)) => {
                assert!(matches!(held.complete(Outcome::new(body(number))), Ok(Completed::Kept { .. })));
            }
            other => panic!("token {number} is new: {other:?}"),
        }
        if number % 10 == 9 {
            let earlier = number - (number - numbers.start).min(number % 97);
            match store.begin(&key(earlier), &asked(earlier)) {
                Ok(Answer::Replay(replay)) => assert_eq!(replay.outcome().body(), body(earlier)),
                other => panic!("token {earlier} was completed: {other:?}"),
            }
        }
    }
    store.flush().unwrap();
}

#[test]
fn twenty_retention_periods_take_no_more_than_the_first_few_8_3() {
    let _alone = ALONE.lock();
    let scale = std::env::var("ONCEKEY_SOAK").map_or(1, |own| own.parse().expect("ONCEKEY_SOAK is a number"));
    let step = (TOKENS * scale).div_ceil(SWEEPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let mut store = builder(&clock).open(&path).unwrap();
    let (mut done, mut most) = (0, [Usage::default(); 2]);
    for period in 0..PERIODS {
        for _ in 0..SWEEPS {
            work(&store, done..done + step);
            done += step;
            clock.advance(RETENTION / u32::try_from(SWEEPS).unwrap());
            store.sweep().unwrap();
            assert!(store.stats().kept_records <= ((SWEEPS + 1) * step) as u64, "{:?}", store.stats());
        }
        let now = Usage::of(&path, &store);
        println!("period {period}: {done} tokens, {now:?}");
        let own = &mut most[usize::from(period >= EARLY)];
        *own = own.largest(now);
        if period % 5 == 4 {
            store.close(Duration::ZERO).unwrap();
            store = builder(&clock).open(&path).unwrap();
        }
    }
    let [early, late] = most;
    assert!(late.is_about(early), "the first {EARLY} periods took {early:?}, later ones {late:?}");
    println!("soak cases {done} faults 0 failures 0");
    clock.advance(RETENTION);
    store.sweep().unwrap();
    assert_eq!((store.stats().kept_records, store.stats().live_reservations), (0, 0));
}

/// Completes all of these at once.
fn complete_all(store: &Store, numbers: impl Iterator<Item = usize>, body: impl Fn(usize) -> Vec<u8>) {
    let complete = |number: usize| match store.request(&key(number), &asked(number)).relaxed().begin() {
        Ok(Answer::Fresh(held)) => Box::pin(held.complete_async(Outcome::new(body(number)))),
        other => panic!("token {number} is free: {other:?}"),
    };
    let mut completing: Vec<_> = numbers.map(complete).collect();
    while !completing.is_empty() {
        completing.retain_mut(|own| own.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        std::thread::yield_now();
    }
    store.flush().unwrap();
}

/// From 16 sealed segments and 131,072 records on an opening uses all cores.
#[test]
fn what_is_large_is_opened_as_what_is_small_5_7() {
    const RECORDS: usize = 150_000;
    let _alone = ALONE.lock();
    let clock = ManualClock::default();
    let folder = tempfile::tempdir().unwrap();
    let open = || builder(&clock).segment_bytes_max(1 << 20).open(folder.path().join("store")).unwrap();
    let store = open();
    let started = |number: usize| match store.request(&key(number), &asked(number)).start_durably().begin() {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("token {number} is free: {other:?}"),
    };
    let interrupted: Vec<_> = (RECORDS..RECORDS + 10).map(started).collect();
    complete_all(&store, 0..1000, body);
    clock.advance(RETENTION);
    for first in (0..RECORDS).step_by(2000) {
        // The first thousand for the second time.
        complete_all(&store, first..first + 2000, |number| body(number + 1));
    }
    for number in (0..RECORDS).step_by(1000) {
        assert_eq!(store.forget(&key(number)), Ok(true));
    }
    store.sweep().unwrap();
    let before = store.stats();
    assert!(before.segments > 16, "{before:?}");
    store.close(Duration::ZERO).unwrap();
    drop(interrupted);
    let store = open();
    let after = store.stats();
    assert_eq!((after.kept_records, after.kept_bytes), (before.kept_records, before.kept_bytes));
    assert_eq!((after.kept_records, after.interrupted), ((RECORDS - RECORDS / 1000 + 10) as u64, 10));
    for number in (0..RECORDS).step_by(77) {
        match store.get(&key(number)) {
            Ok(Known::Absent) if number % 1000 == 0 => {}
            Ok(Known::Finished(replay)) => assert_eq!(replay.outcome().body(), body(number + 1)),
            other => panic!("token {number}: {other:?}"),
        }
    }
}

#[test]
fn a_hundred_thousand_live_reservations_are_held_one_more_is_refused_and_all_are_let_go_8_1() {
    const LIVE: usize = 100_000;
    let _alone = ALONE.lock();
    let clock = ManualClock::default();
    let folder = tempfile::tempdir().unwrap();
    let limited = builder(&clock).live_reservations_max(LIVE as u64).declared_outcome_bytes(64);
    let store = limited.open(folder.path().join("store")).unwrap();
    for round in 0..3 {
        let begin = |number: usize| store.begin(&key(number), &asked(number));
        let held: Vec<_> = (0..LIVE).map(begin).collect();
        assert!(held.iter().all(|own| matches!(own, Ok(Answer::Fresh(_)))), "round {round}");
        let error = begin(LIVE).unwrap_err();
        assert!(error.is_overloaded(), "{error}");
        assert!(error.to_string().contains("100001"), "{error}");
        assert_eq!(store.stats().live_reservations, LIVE as u64);
        drop(held);
        assert_eq!(store.stats().live_reservations, 0);
    }
    work(&store, 0..100);
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_wait_for_one_key_one_more_is_refused_and_each_is_answered_and_woken_once_3_7_8_1() {
    const WAITERS: usize = 10_000;
    let _alone = ALONE.lock();
    let clock = ManualClock::default();
    let folder = tempfile::tempdir().unwrap();
    let store =
        builder(&clock).waiters_per_key_max(WAITERS as u64).open(folder.path().join("store")).unwrap();
    let (own, parameters) = (key(0), asked(0));
    let woken: Vec<Arc<Woken>> = (0..WAITERS).map(|_| Arc::new(Woken(AtomicUsize::new(0)))).collect();
    for round in 1..3 {
        let Ok(Answer::Fresh(held)) = store.begin(&own, &parameters) else {
            panic!("round {round}: it is free")
        };
        let wait = || Box::pin(store.request(&own, &parameters).wait(RETENTION).begin_async());
        let mut waiting: Vec<_> = (0..WAITERS).map(|_| wait()).collect();
        let mut poll = |at: usize| {
            waiting[at].as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&woken[at]))))
        };
        assert!((0..WAITERS).all(|at| poll(at).is_pending()));
        let error = store.request(&own, &parameters).wait(RETENTION).begin().unwrap_err();
        assert!(error.is_overloaded() && error.to_string().contains("10001"), "{error}");
        held.complete(Outcome::new(body(round))).unwrap();
        assert!(woken.iter().all(|own| own.0.load(Ordering::Relaxed) == round), "each is woken once");
        for at in 0..WAITERS {
            match poll(at) {
                Poll::Ready(Ok(Answer::Replay(replay))) => assert_eq!(replay.outcome().body(), body(round)),
                other => panic!("round {round}, waiter {at}: {other:?}"),
            }
        }
        store.forget(&own).unwrap();
    }
}

#[test]
fn a_full_store_replays_and_runs_again_once_what_it_kept_has_expired_8_1_8_3() {
    const RECORDS: usize = 20_000;
    let _alone = ALONE.lock();
    let clock = ManualClock::default();
    let folder = tempfile::tempdir().unwrap();
    let store = builder(&clock).kept_records_max(RECORDS as u64).open(folder.path().join("store")).unwrap();
    for round in 0..3 {
        let first = round * RECORDS;
        work(&store, first..first + RECORDS);
        let error = store.begin(&key(first + RECORDS), &asked(first + RECORDS)).unwrap_err();
        let limit = oncekey::ErrorKind::Full { what: Limit::KeptRecords, measured: 20_001, limit: 20_000 };
        assert_eq!(error.kind(), &limit);
        assert!(matches!(store.begin(&key(first), &asked(first)), Ok(Answer::Replay(_))));
        clock.advance(RETENTION);
        assert!(store.begin(&key(first), &asked(first)).is_err_and(|error| error.is_full()), "8.3");
        assert_eq!(store.sweep().unwrap().records, RECORDS as u64);
    }
}
