//! What is counted, as a program that does it so many times and ends.
//!
//! Law: a run prepares for [`OPERATIONS_MAX`] whatever it is asked to do, so that two runs differ by operations alone. The
//! clock stands still and nothing sweeps.

use std::time::Duration;

use oncekey::{Answer, Builder, Key, ManualClock, Store, Timestamp};

use crate::batches::Batches;
use crate::support::fill::{keys, parameters};
use crate::support::home;

/// Most operations of a run: whole batches.
pub(crate) const OPERATIONS_MAX: usize = 4096;
/// Records that are kept while fresh tokens come and recent ones are replayed.
const KEPT: usize = 1024;

type Work = fn(usize);

/// What is counted, by name.
pub(crate) const ALL: [(&str, Work); 5] = [
    ("begin and release", begin_and_release),
    ("replay, recent", replay_recent),
    ("replay, after reopening", replay_reopened),
    ("begin and complete, 64 a batch", |times| complete(times, 64)),
    ("begin and complete, 512 a batch", |times| complete(times, 512)),
];

pub(crate) fn settings() -> Builder {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    Store::builder().clock(clock).background_sweep(false)
}

fn begin_and_release(times: usize) {
    let store = settings().open_in_memory().expect("memory");
    fill(&store, KEPT);
    for key in &keys(OPERATIONS_MAX)[..times] {
        let Ok(Answer::Fresh(held)) = store.begin(key, &parameters()) else { panic!("it is fresh") };
        held.release().expect("it is held");
    }
}

fn replay_recent(times: usize) {
    let store = settings().open_in_memory().expect("memory");
    let kept = fill(&store, KEPT);
    kept.iter().cycle().take(times).for_each(|key| replay(&store, key));
}

/// Each of them once, out of a directory.
fn replay_reopened(times: usize) {
    let home = home();
    let path = home.path().join("store");
    let store = settings().open(&path).expect("a new store");
    let kept = fill(&store, OPERATIONS_MAX);
    store.close(Duration::ZERO).expect("the disk works");
    let store = settings().open(&path).expect("it was closed");
    kept[..times].iter().for_each(|key| replay(&store, key));
}

/// So many keys that are kept.
fn fill(store: &Store, count: usize) -> Vec<Key> {
    let mut batches = Batches::begin(store, &keys(1)[0]);
    let kept = keys(count);
    kept.chunks(64).for_each(|batch| batches.lay(batch));
    kept
}

fn replay(store: &Store, key: &Key) {
    let Ok(Answer::Replay(replay)) = store.begin(key, &parameters()) else { panic!("it was completed") };
    assert_eq!(replay.outcome().body().len(), 200);
}

fn complete(times: usize, batch: usize) {
    let store = settings().open_in_memory().expect("memory");
    let mut batches = Batches::begin(&store, &keys(1)[0]);
    let all = keys(OPERATIONS_MAX);
    all[..times].chunks(batch).for_each(|batch| batches.lay(batch));
}
