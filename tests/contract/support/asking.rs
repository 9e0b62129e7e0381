//! Asking, in few words.
//!
//! Goal: a test says what it means. Method: helpers that end the test with a sentence when the answer is another. They are
//! the same for every store: what a store and its guards are called stands in the room that this one belongs to.

use std::time::Duration;

use oncekey::{Builder, Completed, Error, Key, Outcome, Parameters, Replay, Timestamp};

use super::{Answer, InFlight, Refused, Reservation, Store};

/// Sound defaults without a sweep of its own, so that only the test sweeps.
pub(crate) fn plain() -> Builder {
    oncekey::Store::builder().background_sweep(false)
}

pub(crate) fn key(number: usize) -> Key {
    Key::new("account-1", format!("token-{number}")).expect("a sound key")
}

pub(crate) fn asked() -> Parameters<'static> {
    Parameters::pairs([("Action", "CreateGroup"), ("MinSize", "1")])
}

pub(crate) fn asked_otherwise() -> Parameters<'static> {
    Parameters::pairs([("Action", "CreateGroup"), ("MinSize", "2")])
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A limit that only a hanging test meets.
pub(crate) const LONG: Duration = Duration::from_secs(60);

#[track_caller]
pub(crate) fn fresh(answer: oncekey::Result<Answer>) -> Reservation {
    match answer.expect("an answer") {
        Answer::Fresh(reservation) => reservation,
        other => panic!("expected a reservation, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn replay(answer: oncekey::Result<Answer>) -> Replay {
    match answer.expect("an answer") {
        Answer::Replay(replay) => replay,
        other => panic!("expected a replay, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn in_flight(answer: oncekey::Result<Answer>) -> InFlight {
    match answer.expect("an answer") {
        Answer::InFlight(other) => other,
        other => panic!("expected in flight, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(answer: oncekey::Result<Answer>) -> Error {
    match answer {
        Err(error) => error,
        Ok(other) => panic!("expected an error, got {other:?}"),
    }
}

/// Runs the operation of `key` to its end with `body` as its outcome.
#[track_caller]
pub(crate) fn run(store: &Store, key: &Key, body: &str) {
    let reservation = fresh(store.begin(key, &asked()));
    kept(reservation.complete(Outcome::new(body)));
}

/// When it was completed, and when it expires.
#[track_caller]
pub(crate) fn kept(completed: Result<Completed, Refused>) -> (Timestamp, Timestamp) {
    match completed.expect("a completion") {
        Completed::Kept { completed, expires } => (completed, expires),
        other => panic!("expected it to be kept, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_replays(store: &Store, key: &Key, body: &str) {
    assert_eq!(replay(store.begin(key, &asked())).outcome().body(), body.as_bytes());
}

pub(crate) fn close(store: Store) {
    store.close(LONG).expect("the store closes");
}

/// A durable reservation: its start is kept.
#[track_caller]
pub(crate) fn started(store: &Store, key: &Key) -> Reservation {
    let held = fresh(store.request(key, &asked()).start_durably().begin());
    assert!(held.is_durable());
    held
}

/// The reservation of a key whose holder has just gone: a durable one's release is on its way.
#[track_caller]
pub(crate) fn soon(store: &Store, key: &Key) -> Reservation {
    fresh(store.request(key, &asked()).wait(LONG).begin())
}
