//! Goal: while a disk holds the writer up, a drop waits for nothing (contract 4.3), and what is being written is compared
//! as ever (3.2, 4.1), and nobody goes on with what is being forgotten (4.6). Method: what a disk would hold up is held by
//! the test itself, on its own thread, or happens in the middle of a sync: whoever waited would never come back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::super::{Answer, Completed, Known, Reservation, Store};
use crate::digest::Parameters;
use crate::ledger::Faulty;
use crate::outcome::Outcome;
use crate::sync::{block_on, unbounded, yield_now};
use crate::token::Key;

fn key() -> Key {
    Key::new("scope", "token").unwrap()
}

fn started(store: &Store) -> Reservation {
    match store.request(&key(), &Parameters::none()).start_durably().begin() {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("never seen: {other:?}"),
    }
}

fn until_absent(store: &Store) {
    while store.get(&key()) != Ok(Known::Absent) {
        yield_now();
    }
}

#[test]
fn a_drop_does_not_wait_while_the_log_is_held_by_another_4_3() {
    let store = Store::in_memory().unwrap();
    let held = started(&store);
    let ledger = store.shared().ledger().unwrap();
    let log = ledger.log();
    drop(held);
    assert!(matches!(store.get(&key()), Ok(Known::InFlight { attempt: 1, lease_left: None, .. })));
    drop(log);
    until_absent(&store);
}

#[test]
fn a_drop_does_not_wait_for_a_store_that_is_being_reopened_and_is_logged_after_it_4_3_5_5() {
    let store = Store::in_memory().unwrap();
    let held = started(&store);
    let shared = store.shared();
    // As `reopen` holds it while it reads the disk.
    let engine = shared.engine.write();
    drop(held);
    assert_eq!(shared.late.lock().len(), 1);
    drop(engine);
    store.reopen().unwrap();
    assert!(shared.late.lock().is_empty());
    until_absent(&store);
    assert_eq!(store.interrupted().count(), 0);
}

#[test]
fn what_is_being_written_is_in_flight_and_with_other_parameters_a_mismatch_3_2_4_1() {
    let store = Store::in_memory().unwrap();
    let Ok(Answer::Fresh(held)) = store.begin(&key(), &Parameters::none()) else { panic!("never seen") };
    let ledger = store.shared().ledger().unwrap();
    let log = ledger.log();
    let mut completing = pin!(held.complete_async(Outcome::new("done")));
    assert!(completing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let asked = |parameters| store.begin(&key(), &parameters);
    assert!(matches!(asked(Parameters::none()), Ok(Answer::InFlight(own)) if own.lease_left().is_none()));
    assert!(asked(Parameters::pairs([("size", "40")])).is_err_and(|error| error.is_mismatch()));
    drop(log);
    assert!(matches!(block_on(completing), Ok(Completed::Kept { .. })));
    assert!(matches!(asked(Parameters::none()), Ok(Answer::Replay(_))));
    assert!(asked(Parameters::pairs([("size", "40")])).is_err_and(|error| error.is_mismatch()));
}

#[test]
fn while_what_an_attempt_left_is_being_forgotten_nobody_goes_on_with_it_4_6() {
    let disk = Faulty::new();
    let store = Store::builder().open_on(Arc::new(disk.clone())).unwrap();
    started(&store).complete(Outcome::new("again later").retryable()).unwrap();
    let (tell, told) = unbounded();
    let other = store.clone();
    disk.during_sync(move || {
        tell.send(
            other.begin(&key(), &Parameters::none()).map(|answer| matches!(answer, Answer::InFlight(_))),
        )
        .unwrap();
    });
    assert_eq!(store.forget(&key()), Ok(false), "it was released");
    assert_eq!(told.recv(), Ok(Ok(true)));
    let again = store.begin(&key(), &Parameters::none());
    assert!(matches!(again, Ok(Answer::Fresh(held)) if held.attempt() == 1));
}
