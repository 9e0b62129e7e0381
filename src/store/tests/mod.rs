//! The store on a disk that fails, lies and is cut.
//!
//! The oracles of `cuts` and `faults` are laws of fuzzing too (`crate::laws`), which gives them steps of its own.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `audit` | everything counted again |
//! | `script`, `workload`, `lending` | steps; run against a store that must answer as is written down |
//! | `home` | files of its own, or a table in a caller's database |
//! | `history` | what was begun and acknowledged, and so what may be found |
//! | `cuts`, `life` | a power cut at every change of the disk, and again in what the store does then |
//! | `compound` | a failure in the middle of a recovery |
//! | `campaign` | what a campaign tells |
//! | `faults` | the n-th change or reading fails, for every n |
//! | `early` | a sweep that ends early, a sync that fails |
//! | `lies` | the n-th call is answered with a lie |
//! | `room` | what was promised on a full disk, beside all else that the store writes |
//! | `segments` | segments that come and go, and what is told of them |
//! | `slow` | what goes on while a disk holds the writer up |
//! | `spare` | the next segment's space, made before it is needed |

#![cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "fuzzing takes the oracles and leaves the tests")
)]

mod audit;
mod campaign;
#[cfg(test)]
mod compound;
mod cuts;
#[cfg(test)]
mod early;
mod faults;
pub(crate) mod history;
pub(crate) mod home;
#[cfg(feature = "redb-transactions")]
mod lending;
#[cfg(test)]
mod lies;
mod life;
#[cfg(test)]
mod room;
pub(crate) mod script;
#[cfg(test)]
mod segments;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod spare;
pub(crate) mod workload;

use std::time::Duration;

pub(crate) use cuts::check_cuts;
pub(crate) use faults::check_fault;
use home::Opened;
use script::{KEYS, key, parameters};

use super::{Answer, Known};
use crate::outcome::Outcome;
use crate::time::ManualClock;

/// A store serves: it replays, tells a mismatch, runs what is new, and gives all space back once all has expired.
fn check_serving(opened: &Opened, clock: &ManualClock, context: &str) {
    let store = &opened.store;
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
