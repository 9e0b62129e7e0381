//! What programs begin with: a store, a clock, keys.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread::JoinHandle;

use crate::digest::{Digest, Parameters, Secret};
use crate::inflight::Ended;
use crate::ledger::{Faulty, Memory};
use crate::options::Builder;
use crate::outcome::{Kept, Outcome};
use crate::store::{Answer, Reservation, Store};
use crate::sync::Mutex;
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Longer than any program waits.
pub(crate) const LONG: Duration = Duration::from_secs(1_000_000);

/// When every program begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);

/// A store on a disk of its own, whose time stands still.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) disk: Faulty,
    pub(crate) clock: ManualClock,
}

pub(crate) fn world() -> World {
    world_of(|builder| builder)
}

pub(crate) fn world_of(settings: impl FnOnce(Builder) -> Builder) -> World {
    let clock = ManualClock::at(START);
    let disk = Faulty::new();
    let store = settings(builder(&clock)).open_on(Arc::new(disk.clone())).unwrap();
    World { store, disk, clock }
}

fn builder(clock: &ManualClock) -> Builder {
    let builder = Builder::default().clock(clock.clone()).secret(Secret::new([7; 32]));
    builder.stripes(1).segment_bytes_max(1 << 20).background_sweep(false)
}

/// The store on this disk, after it was closed.
pub(crate) fn reopened(disk: &Faulty, clock: &ManualClock) -> Store {
    builder(clock).open_on(Arc::new(disk.clone())).unwrap()
}

pub(crate) fn key() -> Key {
    Key::new("scope", "token").unwrap()
}

pub(crate) fn other_key() -> Key {
    Key::new("scope", "other").unwrap()
}

pub(crate) fn parameters() -> Parameters<'static> {
    Parameters::bytes(b"parameters")
}

pub(crate) fn other_parameters() -> Parameters<'static> {
    Parameters::bytes(b"others")
}

/// Asks without waiting, and is given the key.
pub(crate) fn hold(store: &Store, key: &Key) -> Reservation {
    match store.begin(key, &parameters()) {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("it is free: {other:?}"),
    }
}

/// Asks, and waits as long as it takes.
pub(crate) fn ask(store: &Store, key: &Key) -> Answer {
    store.request(key, &parameters()).wait(LONG).begin().unwrap()
}

pub(crate) fn outcome(body: &str) -> Outcome {
    Outcome::new(body.to_owned()).finally()
}

/// The body of a replay.
pub(crate) fn replayed(answer: Answer) -> String {
    match answer {
        Answer::Replay(replay) => String::from_utf8(replay.outcome().body().to_vec()).unwrap(),
        other => panic!("it is finished: {other:?}"),
    }
}

/// Runs on a thread of its own, with the store.
pub(crate) fn spawned<T: Send + 'static>(
    store: &Store,
    run: impl FnOnce(&Store) -> T + Send + 'static,
) -> JoinHandle<T> {
    let store = store.clone();
    shuttle::thread::spawn(move || run(&store))
}

/// Moves the clock, as one step among those of others: the clock's own lock is none that the explorer knows.
pub(crate) fn advance(clock: &ManualClock, by: Duration) {
    drop(Mutex::new(()).lock());
    clock.advance(by);
}

/// Waits for all of them.
pub(crate) fn joined(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// After the dust has settled nothing is live, nobody waits, and everything is counted.
pub(crate) fn check_settled(store: &Store) {
    assert_eq!((store.audit(), store.stats().live_reservations), (0, 0), "waiters, and live reservations");
}

/// How an operation ended.
pub(crate) fn ended(body: &[u8]) -> Ended {
    let (completed, expires) = (Timestamp::default(), Timestamp::MAX);
    let kept =
        Kept { outcome: Outcome::new(body), omitted: None, completed, expires, attempts: 1, format: 0 };
    Ended { digest: Digest::from_bytes([0; Digest::BYTES]), replay: kept.into() }
}
