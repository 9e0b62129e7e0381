//! The store on a disk that fails and is cut.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `audit` | everything counted again |
//! | `workload` | steps, run against a store, with what they must have come to |
//! | `cuts` | a power cut at every change of the disk, and a second one inside the recovery |
//! | `drops` | a drop waits for nothing |
//! | `faults` | the n-th change or reading fails, for every n |
//! | `room` | what was promised on a full disk, beside all else that the store writes |
//! | `spare` | the next segment's space, made before it is needed |

mod audit;
mod cuts;
mod drops;
mod faults;
mod room;
mod spare;
mod workload;

use std::time::Duration;

use workload::{KEYS, builder, key, parameters};

use super::{Answer, Known, Store};
use crate::ledger::Faulty;
use crate::outcome::Outcome;
use crate::time::ManualClock;

/// A number from the environment, for the long forms.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A store serves: it replays, tells a mismatch, runs what is new, and gives all space back once all has expired.
fn check_serving(store: &Store, clock: &ManualClock, context: &str) {
    for number in 0..KEYS {
        let key = key(number);
        let Known::Finished(kept) = store.get(&key).unwrap() else { continue };
        match store.begin(&key, &parameters(number)) {
            Ok(Answer::Replay(replay)) => assert_eq!(replay, kept, "{context}"),
            other => panic!("{context}: key {number}: {other:?}"),
        }
        let other = store.begin(&key, &parameters(number + 1)).unwrap_err();
        assert!(other.is_mismatch(), "{context}: {other}");
    }
    for number in 0..KEYS {
        let Known::Interrupted { attempt, checkpoint, .. } = store.get(&key(number)).unwrap() else {
            continue;
        };
        match number % 3 {
            0 => assert_eq!(store.forget(&key(number)), Ok(true), "{context}"),
            1 => drop(store.resolve(&key(number), Outcome::new("found")).unwrap()),
            _ => {
                let Ok(Answer::Fresh(held)) = store.begin(&key(number), &parameters(number)) else {
                    panic!("{context}: an interrupted key is resumed")
                };
                assert_eq!((held.attempt(), held.is_resumed()), (attempt + 1, true), "{context}");
                assert_eq!(held.last_checkpoint(), checkpoint.as_ref(), "{context}");
                held.complete(Outcome::new("resumed")).unwrap();
            }
        }
    }
    let left: Vec<_> =
        store.interrupted().map(|own| own.map(|own| (own.key().token().to_owned(), own))).collect();
    assert_eq!((left.len(), store.stats().interrupted), (0, 0), "{context}: {left:?}");
    let Ok(Answer::Fresh(held)) = store.begin(&key(KEYS), &parameters(KEYS)) else {
        panic!("{context}: a new key")
    };
    held.complete(Outcome::new("new")).unwrap();
    assert!(matches!(store.get(&key(KEYS)), Ok(Known::Finished(_))), "{context}");
    clock.advance(Duration::from_secs(100_000));
    for _ in 0..4 {
        store.sweep().unwrap();
        clock.advance(Duration::from_secs(2));
    }
    let stats = store.stats();
    assert_eq!((stats.kept_records, stats.kept_bytes), (0, 0), "{context}");
    assert!(stats.segments <= 2, "{context}: {} segments are left", stats.segments);
    assert_eq!((stats.live_reservations, store.audit()), (0, 0), "{context}: reservations, and waiters");
}

/// Opens on this disk.
fn open(disk: &Faulty, clock: &ManualClock) -> crate::error::Result<Store> {
    builder(clock).open_on(std::sync::Arc::new(disk.clone()))
}
