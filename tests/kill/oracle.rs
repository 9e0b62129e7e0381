//! What was acknowledged, and what an opened store must say of it.

use std::collections::BTreeMap;

use oncekey::{Answer, Known, Parameters, Store};

use crate::load::{key, outcome};

/// By key.
pub(crate) type All = BTreeMap<String, Acknowledged>;

/// Takes note of what a child said.
pub(crate) fn note(acknowledged: &mut All, lines: Vec<String>) {
    for line in lines {
        let (what, name) = line.split_once(' ').unwrap_or_default();
        let before = acknowledged.get(name).copied();
        if let Some(what) = Acknowledged::and(before, what) {
            acknowledged.insert(name.to_owned(), what);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Acknowledged {
    Kept,
    Forgotten,
    /// Durably started so many times, and whether it noted anything.
    Started(u32, bool),
    Released(u32, bool),
}

impl Acknowledged {
    /// What is acknowledged once one more line was said of a key.
    fn and(before: Option<Self>, word: &str) -> Option<Self> {
        Some(match (word, before) {
            ("kept", _) => Self::Kept,
            ("forgotten", _) => Self::Forgotten,
            ("started", _) => Self::Started(1, false),
            ("restarted", Some(Self::Started(attempts, noted))) => Self::Started(attempts + 1, noted),
            ("noted", Some(Self::Started(attempts, _))) => Self::Started(attempts, true),
            ("released", Some(Self::Started(attempts, noted))) => Self::Released(attempts, noted),
            _ => return None,
        })
    }
}

pub(crate) fn check(store: &Store, acknowledged: &mut All, context: &str) {
    for (name, what) in &*acknowledged {
        let known = store.get(&key(name)).unwrap_or_else(|error| panic!("{context}: {name}: {error}"));
        match (what, known) {
            (Acknowledged::Kept, Known::Finished(replay)) => {
                let body = replay.outcome().body();
                assert_eq!(body, outcome(name, body.len()), "{context}: {name}");
                assert!([200, 3000].contains(&body.len()), "{context}: {name} is whole");
            }
            (
                Acknowledged::Forgotten | Acknowledged::Started(..) | Acknowledged::Released(..),
                Known::Absent,
            ) => {}
            // Started and not ended, as far as was told: its end may have been on its way, but it is never unknown.
            (Acknowledged::Started(..), Known::Finished(replay)) => {
                assert_eq!(replay.outcome().body(), outcome(name, 200), "{context}: {name}");
            }
            (Acknowledged::Started(least, noted), Known::Interrupted { attempt, checkpoint, .. }) => {
                assert!((*least..=least + 1).contains(&attempt), "{context}: {name}: attempt {attempt}");
                let seen = checkpoint.as_ref().map(oncekey::Checkpoint::bytes);
                assert!(seen.is_none_or(|note| note == name.as_bytes()), "{context}: {name}: {seen:?}");
                assert!(!noted || seen.is_some(), "{context}: {name}: its checkpoint is gone");
            }
            (what, known) => panic!("{context}: {name} was {what:?}, found {known:?}"),
        }
    }
    check_resuming(store, acknowledged, context);
    let Some((name, _)) = acknowledged.iter().find(|(_, what)| **what == Acknowledged::Kept) else { return };
    let parameters = Parameters::bytes(name.as_bytes());
    assert!(matches!(store.begin(&key(name), &parameters), Ok(Answer::Replay(_))), "{context}: {name}");
    let mismatch = store.begin(&key(name), &Parameters::none()).expect_err("other parameters");
    assert!(mismatch.is_mismatch(), "{context}: {mismatch}");
}

/// What was started runs again as a later attempt, never as the first one; where it was released, too.
fn check_resuming(store: &Store, acknowledged: &mut All, context: &str) {
    let mut listed: Vec<String> =
        store.interrupted().map(|own| own.expect("readable").key().token().to_owned()).collect();
    let count = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!((listed.len() as u64, count), (store.stats().interrupted, listed.len()), "{context}");
    for (name, what) in acknowledged {
        let (Acknowledged::Started(least, noted) | Acknowledged::Released(least, noted)) = *what else {
            continue;
        };
        let interrupted = matches!(store.get(&key(name)), Ok(Known::Interrupted { .. }));
        assert_eq!(interrupted, listed.binary_search(name).is_ok(), "{context}: {name} is listed");
        match store.begin(&key(name), &Parameters::bytes(name.as_bytes())) {
            Ok(Answer::Fresh(held)) => {
                assert!(held.attempt() > least, "{context}: {name}: attempt {} anew", held.attempt());
                assert_eq!(held.is_resumed(), interrupted, "{context}: {name}");
                assert!(!noted || held.last_checkpoint().is_some(), "{context}: {name}");
                // Dropped, a resumed one is released; a volatile one leaves what was.
                if held.is_durable() {
                    *what = Acknowledged::Released(held.attempt(), noted);
                }
            }
            Ok(Answer::Replay(replay)) => {
                assert_eq!(replay.outcome().body(), outcome(name, 200), "{context}");
            }
            other => panic!("{context}: {name} was {what:?}: {other:?}"),
        }
    }
}
