//! What does it cost to learn that a token was never seen, with a million records kept?
//!
//! `begin` and release of a fresh token, beside insert and remove of the same key in a `DashMap` that holds a
//! million keys too, and in an empty one. Keys are made beforehand for all; the digest is made beforehand
//! (`digest`) or from two pairs at each call (`pairs`). One thread, one token after the other.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use oncekey::{Answer, DigestRules, Key, Parameters, Store};

use crate::callers::as_tasks;
use crate::contest::{SCOPE, complete, tokens};

/// Callers of one filling thread.
const FILLERS: usize = 256;

/// Completes `count` fresh tokens, relaxed and then flushed, from two threads.
pub(crate) fn fill(store: &Store, count: usize) {
    std::thread::scope(|scope| {
        for part in [count / 2, count - count / 2] {
            scope.spawn(move || {
                let tokens = tokens(part);
                as_tasks(FILLERS, async |caller| {
                    for token in tokens.iter().skip(caller).step_by(FILLERS) {
                        complete(store, token, true).await;
                    }
                });
            });
        }
    });
    store.flush().expect("the disk works");
}

/// Fresh keys.
pub(crate) fn keys(count: usize) -> Vec<Key> {
    tokens(count).iter().map(|token| Key::new(SCOPE, token).expect("a sound token")).collect()
}

/// The keys that a store of as many records knows, in a map.
pub(crate) fn map_of(count: usize) -> DashMap<Key, u64> {
    keys(count).into_iter().zip(0..).collect()
}

/// Parameters whose digest was made beforehand.
pub(crate) fn ready_made() -> Parameters<'static> {
    let pairs = Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")]);
    Parameters::digest(pairs.digest_under(&DigestRules::none()).expect("sound pairs"))
}

pub(crate) fn begin_and_release(store: &Store, keys: &[Key], digest: Option<&Parameters<'_>>) -> Duration {
    let begin = |key: &Key, parameters: &Parameters<'_>| match store.begin(key, parameters) {
        Ok(Answer::Fresh(reservation)) => reservation.release().expect("it is held"),
        other => panic!("a token never seen is fresh: {other:?}"),
    };
    let start = Instant::now();
    if let Some(ready) = digest {
        for key in keys {
            begin(key, ready);
        }
    } else {
        for key in keys {
            begin(key, &Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")]));
        }
    }
    start.elapsed()
}

pub(crate) fn insert_and_remove(map: &DashMap<Key, u64>, keys: &[Key]) -> Duration {
    let start = Instant::now();
    for key in keys {
        assert!(map.insert(key.clone(), 1).is_none() && map.remove(key).is_some());
    }
    start.elapsed()
}
