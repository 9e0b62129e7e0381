//! Programs of asking and waiting (contract 3.6, 3.7).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use shuttle::thread;

use super::explorer::Program;
use super::world::{
    LONG, SECOND, World, advance, ask, hold, joined, key, other_key, other_parameters, outcome, parameters,
    replayed, spawned, world, world_of,
};
use crate::store::{Answer, Never, Store};
use crate::sync::block_on;

pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "of_three_callers_at_once_one_gets_the_key_3_6", run: one_gets_it },
    Program { name: "callers_of_two_keys_and_two_digests_stay_apart_3_6", run: keys_and_digests },
    Program { name: "all_waiters_are_woken_by_the_outcome_and_replay_it_3_7", run: woken_by_the_outcome },
    Program { name: "a_waiter_with_other_parameters_is_told_a_mismatch_3_7", run: mismatched_waiter },
    Program { name: "after_a_release_exactly_one_waiter_runs_it_3_7", run: woken_by_a_release },
    Program { name: "a_waiter_that_gives_up_changes_nothing_3_7", run: one_gives_up },
    Program { name: "a_waiter_that_never_sleeps_again_holds_nobody_up_3_7", run: one_is_dropped_called },
    Program { name: "a_deadline_ends_the_waiting_3_7", run: deadline },
    Program { name: "of_three_executions_one_runs_3_6", run: executions },
    Program { name: "a_limit_of_one_live_reservation_holds_8_1", run: one_live },
];

fn one_gets_it() {
    let World { store, .. } = world();
    let callers = (0..3).map(|_| spawned(&store, |store| store.begin(&key(), &parameters()).unwrap()));
    let callers: Vec<_> = callers.collect();
    let answers: Vec<_> = callers.into_iter().map(|own| own.join().unwrap()).collect();
    let fresh = answers.iter().filter(|own| matches!(own, Answer::Fresh(_))).count();
    let flying = answers.iter().filter(|own| matches!(own, Answer::InFlight(_))).count();
    assert_eq!((fresh, flying), (1, 2));
}

fn keys_and_digests() {
    let World { store, .. } = world_of(|own| own.stripes(64));
    let caller = |key: crate::token::Key, others: bool| {
        spawned(&store, move |store| {
            let parameters = if others { other_parameters() } else { parameters() };
            store.begin(&key, &parameters)
        })
    };
    let callers = [caller(key(), false), caller(key(), true), caller(other_key(), true)];
    let [one, two, apart] = callers.map(|own| own.join().unwrap());
    assert!(matches!(apart, Ok(Answer::Fresh(_))));
    match (one, two) {
        (Ok(Answer::Fresh(_)), Err(error)) | (Err(error), Ok(Answer::Fresh(_))) => {
            assert!(error.is_mismatch());
        }
        other => panic!("one runs, the other differs: {other:?}"),
    }
}

fn woken_by_the_outcome() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let waiters: Vec<_> = (0..2).map(|_| spawned(&store, |store| replayed(ask(store, &key())))).collect();
    held.complete(outcome("done")).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), "done");
    }
}

fn mismatched_waiter() {
    let World { store, clock, .. } = world_of(|own| own.lease(SECOND));
    let held = hold(&store, &key());
    let same =
        spawned(&store, |store| match store.request(&key(), &parameters()).lease(LONG).wait(LONG).begin() {
            Ok(Answer::Fresh(held)) => held.complete(outcome("mine")).map(drop).unwrap(),
            Ok(answer) => panic!("an outcome of other parameters: {answer:?}"),
            Err(error) => assert!(error.is_mismatch()),
        });
    held.release().unwrap();
    // The promise to the one who waits ends with the lease; then one with other parameters comes and completes it.
    advance(&clock, SECOND);
    if let Ok(Answer::Fresh(held)) = store.begin(&key(), &other_parameters()) {
        held.complete(outcome("others'")).unwrap();
    }
    same.join().unwrap();
    let kept = store.begin(&key(), &parameters()).is_ok();
    assert_ne!(kept, store.begin(&key(), &other_parameters()).is_ok(), "it was completed under one of both");
}

fn woken_by_a_release() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let runs = Arc::new(AtomicU64::new(0));
    let waiter = || {
        let runs = Arc::clone(&runs);
        spawned(&store, move |store| match ask(store, &key()) {
            Answer::Fresh(held) => {
                assert_eq!((runs.fetch_add(1, Ordering::Relaxed), held.attempt()), (0, 1));
                held.complete(outcome("second")).unwrap();
            }
            answer => assert_eq!(replayed(answer), "second"),
        })
    };
    let waiters = [waiter(), waiter(), waiter()];
    held.release().unwrap();
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

/// Waits, looks twice at most, and drops the future.
fn wait_a_little(store: &Store) {
    let (key, parameters) = (key(), parameters());
    let mut waiting = pin!(store.request(&key, &parameters).wait(LONG).begin_async());
    let answer = block_on(poll_fn(|context| {
        if let Poll::Ready(answer) = waiting.as_mut().poll(context) {
            return Poll::Ready(Some(answer.unwrap()));
        }
        thread::yield_now();
        Poll::Ready(None)
    }));
    drop(answer);
}

fn one_gives_up() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let leaver = spawned(&store, wait_a_little);
    let stayer = spawned(&store, |store| match ask(store, &key()) {
        Answer::Fresh(held) => held.complete(outcome("stayed")).map(drop).unwrap(),
        answer => panic!("nobody completed it: {answer:?}"),
    });
    held.release().unwrap();
    leaver.join().unwrap();
    stayer.join().unwrap();
    assert_eq!(replayed(ask(&store, &key())), "stayed");
}

fn one_is_dropped_called() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let leavers = [spawned(&store, wait_a_little), spawned(&store, wait_a_little)];
    drop(held);
    // Whoever comes finds it free in the end, or is called.
    match ask(&store, &key()) {
        Answer::Fresh(held) => drop(held),
        answer => panic!("nobody completed it: {answer:?}"),
    }
    joined(leavers);
}

fn deadline() {
    let World { store, clock, .. } = world();
    let held = hold(&store, &key());
    let over = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&over);
    let waiter = spawned(&store, move |store| {
        let (key, parameters) = (key(), parameters());
        let answer = store.request(&key, &parameters).wait(SECOND).begin().unwrap();
        tell.store(true, Ordering::Relaxed);
        matches!(&answer, Answer::InFlight(_)).then_some(()).ok_or_else(|| replayed(answer))
    });
    let patient = spawned(&store, |store| replayed(ask(store, &key())));
    // Whenever it begins to wait, its time is over a second later.
    while !over.load(Ordering::Relaxed) {
        advance(&clock, SECOND);
        thread::yield_now();
    }
    let told = waiter.join().unwrap();
    assert_eq!(told, Ok(()), "nothing was completed by then");
    held.complete(outcome("late")).unwrap();
    assert_eq!(patient.join().unwrap(), "late");
}

fn executions() {
    let World { store, .. } = world();
    let runs = Arc::new(AtomicU64::new(0));
    let execution = || {
        let runs = Arc::clone(&runs);
        spawned(&store, move |store| {
            let run = |_: &_| Ok::<_, Never>(runs.fetch_add(1, Ordering::Relaxed));
            store.execute(&key(), &parameters(), run).unwrap().result
        })
    };
    let all = [execution(), execution(), execution()].map(|own| own.join().unwrap());
    assert_eq!((all, runs.load(Ordering::Relaxed)), ([Ok(0); 3], 1));
}

fn one_live() {
    let World { store, .. } = world_of(|own| own.live_reservations_max(1));
    let caller = |key: fn() -> crate::token::Key| {
        spawned(&store, move |store| match store.begin(&key(), &parameters()) {
            Ok(Answer::Fresh(held)) => {
                assert_eq!(store.stats().live_reservations, 1);
                held.complete(outcome("later").retryable()).unwrap();
                1
            }
            other => {
                assert!(other.is_err_and(|error| error.is_overloaded()));
                0
            }
        })
    };
    let done = [caller(key), caller(other_key)].map(|own| own.join().unwrap());
    assert!(done.iter().sum::<u64>() >= 1);
    assert_eq!(store.stats().live_reservations, 0);
    drop(hold(&store, &key()));
}
