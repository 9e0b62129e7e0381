//! Section 3, a key that was interrupted (3.4): resumed, or refused until somebody has looked.
//!
//! Goal: an operation that was durably started and never finished is told apart from one never seen, whatever is asked
//! of it. Method: a crash is the store's files of one moment, opened again; a panic unwinds through a reservation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use oncekey::{ErrorKind, Known, OnInterrupted, Outcome};

use super::support::tasks::Task;
use super::support::{
    Answer, Home, LONG, Reservation, Store, asked, asked_otherwise, assert_free, crash, embedded,
    first_woken, fresh, in_every_home, in_flight, kept, key, plain, refused, replay, soon, started,
};

/// A store in which the operation of key 0 was interrupted in its first attempt.
fn interrupted(home: &Home) -> Store {
    let store = home.open(plain());
    let held = started(&store, &key(0));
    crash(home, store, held, plain())
}

/// The holder panics.
fn panic_away(held: Reservation) {
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = held;
        panic!("planned");
    }));
    assert!(panicked.is_err());
}

fn attempt_interrupted(store: &Store, number: usize) -> Option<u32> {
    match store.get(&key(number)).expect("known") {
        Known::Interrupted { attempt, .. } => Some(attempt),
        _ => None,
    }
}

#[test]
fn a_retry_of_an_interrupted_operation_resumes_it_as_the_next_attempt_3_4() {
    let home = Home::lasting();
    let store = interrupted(&home);
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), held.is_resumed(), held.is_durable()), (2, true, true));
    assert_eq!(held.last_checkpoint(), None);
    assert_eq!(in_flight(store.begin(&key(0), &asked())).attempt(), 2);
    kept(held.complete(Outcome::new("at last")));
    assert_eq!(replay(store.begin(&key(0), &asked())).attempts(), 2);
    assert_eq!(store.stats().resumed, 1);
}

#[test]
fn an_operation_that_is_interrupted_again_and_again_counts_its_attempts_3_4() {
    let home = Home::lasting();
    let mut store = interrupted(&home);
    for attempt in 2..6 {
        let held = fresh(store.begin(&key(0), &asked()));
        assert_eq!((held.attempt(), held.is_resumed()), (attempt, true));
        store = crash(&home, store, held, plain());
        assert_eq!(attempt_interrupted(&store, 0), Some(attempt));
    }
    embedded(&store, |store| assert_eq!(store.stats().kept_records, 1, "each start replaces the one before"));
}

#[test]
fn under_the_other_policy_an_interrupted_operation_is_of_unknown_outcome_3_4() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    let refusing = || plain().on_interrupted(OnInterrupted::Refuse);
    let store = crash(&home, store, held, refusing());
    for _ in 0..2 {
        let error = refused(store.begin(&key(0), &asked()));
        assert_eq!(error.kind(), &ErrorKind::Interrupted { attempt: 1 });
        assert!(error.is_unknown_outcome() && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("resolve"), "{error}");
    }
    assert_eq!((store.stats().unknown_outcomes, store.stats().refused), (2, 0));
    drop(store);

    // A request can say otherwise, both ways.
    let store = home.open(refusing());
    let resume = store.request(&key(0), &asked()).on_interrupted(OnInterrupted::Resume).begin();
    assert_eq!(fresh(resume).attempt(), 2);
    let (own, parameters) = (key(1), asked());
    drop(started(&store, &own));
    let refuse = store.request(&own, &parameters).on_interrupted(OnInterrupted::Refuse).wait(LONG);
    assert_eq!(fresh(refuse.begin()).attempt(), 2, "it was released, and not interrupted");
}

#[test]
fn an_interrupted_operation_asked_with_other_parameters_is_a_mismatch_under_either_policy_3_4() {
    let home = Home::lasting();
    let store = interrupted(&home);
    for policy in [OnInterrupted::Resume, OnInterrupted::Refuse] {
        let (own, parameters) = (key(0), asked_otherwise());
        let asked = store.request(&own, &parameters).on_interrupted(policy).begin();
        assert!(refused(asked).is_mismatch());
    }
    assert_eq!(attempt_interrupted(&store, 0), Some(1), "nothing was changed");
}

#[test]
fn of_many_callers_one_resumes_an_interrupted_operation_3_4_3_6() {
    let home = Home::lasting();
    let store = interrupted(&home);
    let together = Barrier::new(8);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = || {
            together.wait();
            store.begin(&key(0), &asked()).expect("an answer")
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("joined")).collect()
    });
    let resumed = answers.iter().filter(|answer| matches!(answer, Answer::Fresh(_))).count();
    assert_eq!((resumed, store.stats().resumed), (1, 1));
    embedded(&store, |store| assert_eq!(store.stats().durable_starts, 1));
}

#[test]
fn get_tells_an_interrupted_operation_and_claims_nothing_3_4_11() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    let since = held.since();
    let store = crash(&home, store, held, plain());
    for _ in 0..2 {
        let Known::Interrupted { since: told, attempt, checkpoint } = store.get(&key(0)).expect("known")
        else {
            panic!("it was interrupted")
        };
        let checkpoint = checkpoint.expect("one was written");
        assert_eq!((told, attempt), (since, 1));
        assert_eq!((checkpoint.attempt(), checkpoint.bytes()), (1, &b"half"[..]));
    }
}

#[test]
fn a_waiter_resumes_what_its_holder_left_by_a_panic_and_the_rest_wait_on_3_4_3_7() {
    in_every_home(|home| {
        let store = home.open(plain());
        let (own, parameters) = (key(0), asked());
        let held = started(&store, &own);
        held.checkpoint(b"half").expect("noted");
        let wait = || Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        let mut waiting: Vec<_> = (0..3).map(|_| wait()).collect();
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        panic_away(held);
        let resumed = fresh(first_woken(&mut waiting, "one is woken").finish());
        assert_eq!((resumed.attempt(), resumed.is_resumed()), (2, true));
        assert_eq!(resumed.last_checkpoint().expect("it survived").bytes(), b"half");
        kept(resumed.complete(Outcome::new("after")));
        for task in waiting {
            assert_eq!(replay(task.finish()).outcome().body(), b"after");
        }
    });
}

#[test]
fn waiters_that_would_not_resume_are_all_told_unknown_outcome_3_4_3_7() {
    in_every_home(|home| {
        let store = home.open(plain().on_interrupted(OnInterrupted::Refuse));
        let (own, parameters) = (key(0), asked());
        let held = started(&store, &own);
        let wait = || Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        let mut waiting: Vec<_> = (0..3).map(|_| wait()).collect();
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        panic_away(held);
        for task in waiting {
            assert!(refused(task.finish()).is_unknown_outcome());
        }
    });
}

#[test]
fn a_resumed_operation_that_is_released_is_interrupted_no_more_3_4_4_3() {
    let home = Home::lasting();
    let store = interrupted(&home);
    drop(fresh(store.begin(&key(0), &asked())));
    let held = soon(&store, &key(0));
    assert_eq!((held.attempt(), held.is_resumed(), held.is_durable()), (3, false, false));
    drop(held);
    assert_free(&store, &key(0));
}
