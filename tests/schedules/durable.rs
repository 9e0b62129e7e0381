//! Programs of the disk: group commits, failed ones, relaxed and durable, reopening and closing (contract 4.1, 5, 11).

use std::io::ErrorKind as IoKind;
use std::time::Duration;

use shuttle::thread;

use super::explorer::Program;
use super::world::{
    LONG, World, ask, check_settled, hold, joined, key, other_key, outcome, parameters, replayed, spawned,
    world, world_of,
};
use crate::error::ErrorKind;
use crate::ledger::Failure;
use crate::store::{Answer, Known, Store};

pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "completions_that_share_a_group_are_each_kept_4_1", run: grouped },
    Program { name: "a_failed_commit_wakes_waiters_with_unknown_outcome_5_1", run: failed },
    Program { name: "reopening_settles_an_unknown_outcome_while_others_ask_5_5", run: failed_and_reopened },
    Program { name: "relaxed_and_durable_completions_share_a_writer_5_2", run: relaxed },
    Program { name: "a_dropped_durable_reservation_is_released_once_and_remembered_4_3", run: durable_drop },
    Program { name: "of_durable_callers_at_once_one_starts_5_4", run: durable_starts },
    Program {
        name: "a_released_key_is_forgotten_or_run_again_and_never_half_4_6",
        run: forgotten_or_run_again,
    },
    Program { name: "a_resolution_and_a_resumption_exclude_each_other_4_6", run: resolved_or_resumed },
    Program { name: "reopening_in_place_loses_nothing_while_others_complete_5_5", run: reopened },
    Program { name: "closing_answers_everybody_and_keeps_what_was_acknowledged_11", run: closed },
    Program { name: "closing_tells_those_who_wait_11", run: closed_with_waiters },
    Program { name: "the_last_handle_goes_while_a_completion_is_on_its_way_4_1", run: last_handle },
];

fn grouped() {
    let World { store, .. } = world();
    let caller = |key: fn() -> crate::token::Key, body: &'static str| {
        spawned(&store, move |store| {
            hold(store, &key()).complete(outcome(body)).unwrap();
            assert_eq!(
                replayed(store.begin(&key(), &parameters()).unwrap()),
                body,
                "acknowledged, so replayed"
            );
        })
    };
    let callers = [caller(key, "one"), caller(other_key, "two")];
    joined(callers);
    check_settled(&store);
}

/// One completes on a disk that begins to fail at some moment; another waits for it, a third completes another key.
fn fail_somewhere(world: &World) {
    let World { store, disk, .. } = world;
    hold(store, &other_key()).complete(outcome("before")).unwrap();
    let held = hold(store, &key());
    let disk = disk.clone();
    let completer =
        thread::spawn(move || held.complete(outcome("doubtful")).err().map(|refused| refused.error));
    let waiter = spawned(store, |store| store.request(&key(), &parameters()).wait(LONG).begin());
    let breaker = thread::spawn(move || {
        let (asked, ..) = disk.asked();
        disk.fail(Some(Failure::From(asked + 1, IoKind::Other)));
    });
    breaker.join().unwrap();
    let told = completer.join().unwrap();
    match (&told, waiter.join().unwrap()) {
        (None, answer) => assert_eq!(replayed(answer.unwrap()), "doubtful"),
        (Some(error), Err(other)) => {
            assert!(error.is_unknown_outcome() && other.is_unknown_outcome(), "{error}, {other}");
        }
        (Some(error), Ok(answer)) => panic!("{error}, and its waiter: {answer:?}"),
    }
    let again = store.begin(&key(), &parameters());
    assert_eq!(again.is_ok(), told.is_none(), "unknown until it is reopened");
    assert_eq!(replayed(store.begin(&other_key(), &parameters()).unwrap()), "before", "on disk, so replayed");
}

fn failed() {
    let world = world();
    fail_somewhere(&world);
    check_settled(&world.store);
}

fn failed_and_reopened() {
    let world = world();
    fail_somewhere(&world);
    world.disk.fail(None);
    let World { store, .. } = &world;
    let asker = spawned(store, |store| match store.begin(&key(), &parameters()) {
        Ok(Answer::Replay(replay)) => assert_eq!(replay.outcome().body(), b"doubtful"),
        Ok(Answer::Fresh(held)) => drop(held),
        Ok(Answer::InFlight(other)) => panic!("nobody runs it: {other:?}"),
        Err(error) => {
            let told = matches!(error.kind(), ErrorKind::UnknownOutcome | ErrorKind::Stopped { .. });
            assert!(told, "{error}");
        }
    });
    store.reopen().unwrap();
    asker.join().unwrap();
    assert!(store.begin(&key(), &parameters()).is_ok());
    assert_eq!(replayed(store.begin(&other_key(), &parameters()).unwrap()), "before");
    check_settled(store);
}

fn relaxed() {
    let World { store, .. } = world();
    let caller = |key: fn() -> crate::token::Key, relaxed: bool| {
        spawned(&store, move |store| {
            let (key, parameters) = (key(), parameters());
            let request = store.request(&key, &parameters);
            let request = if relaxed { request.relaxed() } else { request.durable() };
            let Ok(Answer::Fresh(held)) = request.begin() else { panic!("never seen") };
            held.complete(outcome("done")).unwrap();
            assert_eq!(replayed(store.begin(&key, &parameters).unwrap()), "done");
        })
    };
    let callers = [caller(key, true), caller(other_key, false)];
    store.flush().unwrap();
    joined(callers);
    check_settled(&store);
}

fn start(store: &Store) -> crate::error::Result<Answer> {
    store.request(&key(), &parameters()).start_durably().wait(LONG).begin()
}

fn durable_drop() {
    let World { store, .. } = world();
    let Ok(Answer::Fresh(held)) = start(&store) else { panic!("never seen") };
    held.checkpoint(b"half").unwrap();
    let waiter = || {
        spawned(&store, |store| match start(store).unwrap() {
            Answer::Fresh(held) => {
                assert_eq!((held.attempt(), held.is_resumed()), (2, false));
                assert_eq!(held.last_checkpoint().unwrap().bytes(), b"half");
                held.complete(outcome("done")).unwrap();
                true
            }
            answer => {
                assert_eq!(replayed(answer), "done");
                false
            }
        })
    };
    let waiters = [waiter(), waiter()];
    drop(held);
    let runs: u8 = waiters.map(|own| u8::from(own.join().unwrap())).iter().sum();
    assert_eq!(runs, 1);
    check_settled(&store);
}

fn durable_starts() {
    let World { store, .. } = world();
    let caller = || {
        spawned(&store, |store| match start(store).unwrap() {
            Answer::Fresh(held) => {
                held.checkpoint(b"one").unwrap();
                held.complete(outcome("done")).unwrap();
                true
            }
            answer => {
                assert_eq!(replayed(answer), "done");
                false
            }
        })
    };
    let callers = [caller(), caller()];
    let runs: u8 = callers.map(|own| u8::from(own.join().unwrap())).iter().sum();
    assert_eq!((runs, store.stats().durable_starts), (1, 1));
    check_settled(&store);
}

fn resolved_or_resumed() {
    let World { store, .. } = world();
    let Ok(Answer::Fresh(held)) = start(&store) else { panic!("never seen") };
    crate::sync::drop_by_panic(held);
    assert_eq!(store.stats().interrupted, 1);
    let resolver = spawned(&store, |store| store.resolve(&key(), outcome("resolved")));
    let resumer = spawned(&store, |store| match start(store).unwrap() {
        Answer::Fresh(held) => {
            assert_eq!((held.attempt(), held.is_resumed()), (2, true));
            held.complete(outcome("resumed")).unwrap();
            "resumed"
        }
        answer => {
            assert_eq!(replayed(answer), "resolved");
            "resolved"
        }
    });
    let (told, ended) = (resolver.join().unwrap(), resumer.join().unwrap());
    assert_eq!(told.is_ok(), ended == "resolved");
    assert_eq!(replayed(store.begin(&key(), &parameters()).unwrap()), ended);
    assert_eq!(store.stats().interrupted, 0);
    check_settled(&store);
}

/// What a durable attempt left is gone for whoever comes behind the forgetting; one who came before it holds it off.
fn forgotten_or_run_again() {
    let World { store, .. } = world();
    let Ok(Answer::Fresh(held)) = start(&store) else { panic!("never seen") };
    held.complete(outcome("again later").retryable()).unwrap();
    let forgetter = spawned(&store, |store| store.forget(&key()));
    let caller = spawned(&store, |store| match store.begin(&key(), &parameters()).unwrap() {
        Answer::Fresh(held) => Some(held),
        _ => None,
    });
    let (forgot, held) = (forgetter.join().unwrap(), caller.join().unwrap());
    match (forgot, held.as_ref().map(crate::store::Reservation::attempt)) {
        (Ok(kept), None | Some(1)) => assert!(!kept, "it was released"),
        (Err(error), Some(2)) => assert!(matches!(error.kind(), ErrorKind::InFlight { .. }), "{error}"),
        other => panic!("half forgotten: {other:?}"),
    }
    drop(held);
    check_settled(&store);
}

fn reopened() {
    let World { store, .. } = world();
    hold(&store, &other_key()).complete(outcome("before")).unwrap();
    let held = hold(&store, &key());
    let completer = thread::spawn(move || {
        let mut held = held;
        loop {
            match held.complete(outcome("done")) {
                Ok(_) => return,
                Err(refused) => {
                    assert!(matches!(refused.error.kind(), ErrorKind::Stopped { .. }), "{}", refused.error);
                    held = refused.reservation.expect("it is handed back");
                    thread::yield_now();
                }
            }
        }
    });
    let asker = spawned(&store, |store| match store.begin(&other_key(), &parameters()) {
        Ok(answer) => assert_eq!(replayed(answer), "before"),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Stopped { .. }), "{error}"),
    });
    store.reopen().unwrap();
    completer.join().unwrap();
    asker.join().unwrap();
    assert_eq!(replayed(store.begin(&key(), &parameters()).unwrap()), "done");
    assert_eq!(replayed(store.begin(&other_key(), &parameters()).unwrap()), "before");
    check_settled(&store);
}

fn closed() {
    let World { store, disk, clock } = world();
    let caller = |key: fn() -> crate::token::Key| {
        spawned(&store, move |store| match store.begin(&key(), &parameters()) {
            Ok(Answer::Fresh(held)) => match held.complete(outcome("done")) {
                Ok(_) => true,
                Err(refused) => {
                    assert_eq!(refused.error.kind(), &ErrorKind::Closed);
                    false
                }
            },
            Ok(other) => panic!("nobody else asks: {other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::Closed);
                false
            }
        })
    };
    let callers = [caller(key), caller(other_key)];
    let other = store.clone();
    store.close(Duration::ZERO).unwrap();
    assert_eq!(other.begin(&key(), &parameters()).unwrap_err().kind(), &ErrorKind::Closed);
    let done = callers.map(|own| own.join().unwrap());
    drop(other);
    let again = super::world::reopened(&disk, &clock);
    for (key, done) in [key(), other_key()].iter().zip(done) {
        assert_eq!(matches!(again.get(key), Ok(Known::Finished(_))), done, "acknowledged, so kept");
    }
    check_settled(&again);
}

fn closed_with_waiters() {
    let World { store, .. } = world_of(|own| own);
    let held = hold(&store, &key());
    let waiter = || spawned(&store, |store| store.request(&key(), &parameters()).wait(LONG).begin());
    let waiters = [waiter(), waiter()];
    let closer = thread::spawn(move || store.close(LONG).unwrap());
    held.complete(outcome("done")).unwrap();
    for waiter in waiters {
        match waiter.join().unwrap() {
            Ok(answer) => assert_eq!(replayed(answer), "done"),
            Err(error) => assert_eq!(error.kind(), &ErrorKind::Closed),
        }
    }
    closer.join().unwrap();
}

fn last_handle() {
    let World { store, disk, clock } = world();
    let held = hold(&store, &key());
    drop(store);
    let completer = thread::spawn(move || {
        let mut done = Box::pin(held.complete_async(outcome("done")));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = done.as_mut().poll(&mut context);
    });
    completer.join().unwrap();
    let again = super::world::reopened(&disk, &clock);
    assert_eq!(replayed(ask(&again, &key())), "done", "handed over, so written");
}
