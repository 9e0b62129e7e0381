//! What the tests of all sections share.
//!
//! Goal: a test says what it means in few words. Method: asking helpers that end the test with a sentence when
//! the answer is another, both homes behind one closure, futures polled by hand.

#[cfg(feature = "redb-transactions")]
pub(crate) mod bank;
pub(crate) mod child;
pub(crate) mod files;
pub(crate) mod tasks;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oncekey::{
    Answer, Builder, Completed, Error, InFlight, Key, Known, ManualClock, Outcome, Parameters, Replay,
    Reservation, Store, Timestamp,
};
use tempfile::TempDir;

/// Where a store under test lives.
pub(crate) struct Home {
    dir: Option<TempDir>,
}

impl Home {
    pub(crate) fn directory() -> Self {
        Self { dir: Some(tempfile::tempdir().expect("a temporary directory")) }
    }

    pub(crate) fn memory() -> Self {
        Self { dir: None }
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.dir.is_none()
    }

    /// The store's own directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.as_ref().expect("a store in a directory").path().join("store")
    }

    /// A path beside the store.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.as_ref().expect("a store in a directory").path().join(name)
    }

    pub(crate) fn open(&self, builder: Builder) -> Store {
        match &self.dir {
            Some(_) => builder.open(self.path()).expect("the store opens"),
            None => builder.open_in_memory().expect("the store opens"),
        }
    }
}

/// Runs a test in a directory and in memory.
pub(crate) fn in_both_homes(test: impl Fn(&Home)) {
    for home in [Home::directory(), Home::memory()] {
        println!("in memory: {}", home.is_memory());
        test(&home);
    }
}

/// Sound defaults without a sweep of its own, so that only the test sweeps.
pub(crate) fn plain() -> Builder {
    Store::builder().background_sweep(false)
}

/// [`plain`] and a clock that stands still.
pub(crate) fn with_clock() -> (Builder, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    (plain().clock(clock.clone()), clock)
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
pub(crate) fn kept(completed: Result<Completed, oncekey::Refused>) -> (Timestamp, Timestamp) {
    match completed.expect("a completion") {
        Completed::Kept { completed, expires } => (completed, expires),
        other => panic!("expected it to be kept, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_replays(store: &Store, key: &Key, body: &str) {
    assert_eq!(replay(store.begin(key, &asked())).outcome().body(), body.as_bytes());
}

#[track_caller]
pub(crate) fn assert_free(store: &Store, key: &Key) {
    assert_eq!(store.get(key).expect("known"), Known::Absent);
}

pub(crate) fn close(store: Store) {
    store.close(LONG).expect("the store closes");
}

/// A durable reservation: its start is on disk.
#[track_caller]
pub(crate) fn started(store: &Store, key: &Key) -> Reservation {
    let held = fresh(store.request(key, &asked()).start_durably().begin());
    assert!(held.is_durable());
    held
}

/// What a process leaves that dies now, while `held` lives: the store, opened again on its files of this moment.
pub(crate) fn crash<T>(home: &Home, store: Store, held: T, builder: Builder) -> Store {
    let left = files::read_all(&home.path());
    drop((held, store));
    files::put_back(&home.path(), &left);
    home.open(builder)
}

/// The reservation of a key whose holder has just gone: a durable one's release is on its way to the disk.
#[track_caller]
pub(crate) fn soon(store: &Store, key: &Key) -> Reservation {
    fresh(store.request(key, &asked()).wait(LONG).begin())
}

/// The error of opening `path`.
#[track_caller]
pub(crate) fn refusal(builder: Builder, path: &Path) -> Error {
    builder.open(path).expect_err("the store is refused")
}
