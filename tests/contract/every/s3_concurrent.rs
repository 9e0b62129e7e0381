//! Section 3 with real threads: 3.6 and 3.7 under load.
//!
//! Goal: at most one live reservation, one outcome for everybody, no lost wake-up. Method: 64 threads on one key,
//! started by a barrier; counts of what they saw; many rounds where a race needs luck.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use oncekey::Outcome;

use super::support::{
    Answer, LONG, Store, asked, asked_otherwise, assert_replays, fresh, in_every_home, in_flight, key, plain,
    secs,
};

const THREADS: usize = 64;

/// Waits until `count` requests have been told *in flight*, and so are (about to be) asleep.
fn until_waiting(store: &Store, count: u64) {
    super::support::tasks::until("the others never waited", || store.stats().in_flight >= count);
}

#[test]
fn of_64_simultaneous_callers_one_runs_and_63_replay_3_6() {
    in_every_home(|home| {
        let store = home.open(plain());
        let (barrier, runs, replays) = (Barrier::new(THREADS), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    match store.request(&key(0), &asked()).wait(LONG).begin().expect("an answer") {
                        Answer::Fresh(held) => {
                            runs.fetch_add(1, Ordering::SeqCst);
                            thread::sleep(std::time::Duration::from_millis(20));
                            held.complete(Outcome::new("once")).expect("kept");
                        }
                        Answer::Replay(replay) => {
                            assert_eq!(replay.outcome().body(), b"once");
                            replays.fetch_add(1, Ordering::SeqCst);
                        }
                        other => panic!("expected an end, got {other:?}"),
                    }
                });
            }
        });
        assert_eq!((runs.into_inner(), replays.into_inner()), (1, 63));
    });
}

#[test]
fn one_of_many_that_do_not_wait_gets_the_reservation_3_6() {
    in_every_home(|home| {
        let store = home.open(plain());
        for round in 0..50 {
            let barrier = Barrier::new(8);
            let held = thread::scope(|scope| {
                let ask = || {
                    barrier.wait();
                    store.begin(&key(round), &asked())
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                let answers =
                    threads.into_iter().map(|own| own.join().expect("no panic").expect("an answer"));
                let held = answers.filter_map(|answer| match answer {
                    Answer::Fresh(held) => Some(held),
                    _ => None,
                });
                held.collect::<Vec<_>>()
            });
            assert_eq!(held.len(), 1, "round {round}");
        }
    });
}

#[test]
fn after_a_lapsed_lease_one_of_many_takes_over_3_6() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(1)));
        for round in 0..30 {
            let lost = fresh(store.begin(&key(round), &asked()));
            clock.advance(secs(1));
            let (barrier, second) = (Barrier::new(8), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        if let Answer::Fresh(held) = store.begin(&key(round), &asked()).expect("an answer") {
                            assert_eq!(held.attempt(), 2);
                            second.fetch_add(1, Ordering::SeqCst);
                            std::mem::forget(held);
                        }
                    });
                }
            });
            assert_eq!(second.into_inner(), 1, "round {round}");
            assert!(lost.complete(Outcome::new("late")).expect_err("lost").error.is_reservation_lost());
        }
    });
}

#[test]
fn a_release_hands_the_key_to_exactly_one_waiter_and_the_rest_wait_on_3_7() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let (tell, told) = mpsc::channel();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let last = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..16 {
                let tell = tell.clone();
                let (store, running, most, last) = (&store, &running, &most, &last);
                scope.spawn(move || {
                    match store.request(&key(0), &asked()).wait(LONG).begin().expect("an answer") {
                        Answer::Fresh(held) => {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            tell.send(Some(held.attempt())).expect("heard");
                            thread::sleep(std::time::Duration::from_millis(5));
                            running.fetch_sub(1, Ordering::SeqCst);
                            if last.load(Ordering::SeqCst) {
                                held.complete(Outcome::new("done")).expect("kept");
                            } else {
                                held.release().expect("still held");
                            }
                        }
                        Answer::Replay(replay) => {
                            assert_eq!(replay.outcome().body(), b"done");
                            tell.send(None).expect("heard");
                        }
                        other => panic!("expected an end, got {other:?}"),
                    }
                });
            }
            until_waiting(&store, 16);
            held.release().expect("still held");
            for handed in 1..=8 {
                assert_eq!(told.recv_timeout(LONG), Ok(Some(1)), "hand-over {handed}: as one never seen");
            }
            last.store(true, Ordering::SeqCst);
            let rest: Vec<_> = (0..8).map(|_| told.recv_timeout(LONG).expect("everybody ends")).collect();
            let runs = rest.iter().flatten().count();
            assert!(runs <= 1, "the eighth completes, or one more that it had handed on to: {rest:?}");
        });
        assert_eq!(most.into_inner(), 1, "never two at once");
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn a_dropped_holder_and_waiters_that_give_up_lose_no_wake_up_3_7() {
    in_every_home(|home| {
        let store = home.open(plain());
        for round in 0..40 {
            let held = fresh(store.begin(&key(round), &asked()));
            thread::scope(|scope| {
                let wait = |limit| {
                    let store = &store;
                    scope.spawn(move || {
                        match store.request(&key(round), &asked()).wait(limit).begin().expect("an answer") {
                            Answer::Fresh(held) => drop(held.complete(Outcome::new("done")).expect("kept")),
                            Answer::Replay(replay) => assert_eq!(replay.outcome().body(), b"done"),
                            Answer::InFlight(_) => assert!(limit < LONG, "only the impatient give up"),
                            other => panic!("unexpected {other:?}"),
                        }
                    })
                };
                let patient: Vec<_> = (0..3).map(|_| wait(LONG)).collect();
                for _ in 0..5 {
                    wait(std::time::Duration::from_millis(u64::try_from(round % 4).expect("small") + 1));
                }
                thread::sleep(std::time::Duration::from_millis(2));
                drop(held);
                for own in patient {
                    own.join().expect("no panic");
                }
            });
            assert_replays(&store, &key(round), "done");
        }
    });
}

#[test]
fn different_parameters_never_wait_and_never_replay_under_load_3_2() {
    in_every_home(|home| {
        let store = home.open(plain());
        let mismatches = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..32 {
                let (store, mismatches) = (&store, &mismatches);
                scope.spawn(move || {
                    let parameters = if number % 2 == 0 { asked() } else { asked_otherwise() };
                    let body = if number % 2 == 0 { "even" } else { "odd" };
                    match store.request(&key(0), &parameters).wait(LONG).begin() {
                        Ok(Answer::Fresh(held)) => drop(held.complete(Outcome::new(body)).expect("kept")),
                        Ok(Answer::Replay(replay)) => assert_eq!(replay.outcome().body(), body.as_bytes()),
                        Ok(other) => panic!("expected an end, got {other:?}"),
                        Err(error) => {
                            assert!(error.is_mismatch(), "{error}");
                            mismatches.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(mismatches.into_inner(), 16);
    });
}

#[test]
fn keys_do_not_stand_in_each_others_way_3_6() {
    in_every_home(|home| {
        let store = home.open(plain().stripes(2));
        let blocked = fresh(store.begin(&key(1000), &asked()));
        thread::scope(|scope| {
            for number in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for own in 0..25 {
                        super::support::run(store, &key(number * 25 + own), "done");
                    }
                });
            }
        });
        drop(in_flight(store.begin(&key(1000), &asked())));
        assert_eq!(store.stats().completed, 200);
        drop(blocked);
    });
}
