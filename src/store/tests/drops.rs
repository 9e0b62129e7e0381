//! Goal: contract 4.3, a drop only hands over and never waits for a disk. Method: what a disk would hold up is held by
//! the test itself, on the thread that drops: whoever waited would never come back.

use super::super::{Answer, Known, Reservation, Store};
use crate::digest::Parameters;
use crate::sync::yield_now;
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
