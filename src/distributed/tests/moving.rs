//! Moving from a store in a directory, whose records are asked for in every manner before they were carried over.

use std::path::Path;
use std::time::Duration;

use super::{builder, fresh, key};
use crate::digest::Parameters;
use crate::distributed::{Answer, Memory, Store};
use crate::engine::{Claim, Claimed, Standing};
use crate::outcome::Outcome;
use crate::store::Known;
use crate::sync::block_on;
use crate::time::ManualClock;
use crate::token::Key;

const TOKENS: [&str; 3] = ["finished", "interrupted", "released"];

fn parameters() -> Parameters<'static> {
    Parameters::query("a=1")
}

/// A closed store with a record of each kind.
fn fill(path: &Path, clock: &ManualClock) {
    let store = builder(clock).open(path).unwrap();
    for token in TOKENS {
        let key = store.key("scope", token).unwrap();
        let crate::store::Answer::Fresh(held) =
            store.request(&key, &parameters()).start_durably().begin().unwrap()
        else {
            panic!("never seen")
        };
        held.checkpoint(token.as_bytes()).unwrap();
        match token {
            "finished" => drop(held.complete(Outcome::new("done")).unwrap()),
            "released" => held.release().unwrap(),
            _ => std::mem::forget(held),
        }
    }
    store.close(Duration::ZERO).unwrap();
}

/// Processes over one engine that move from the same store.
fn moving<const N: usize>(path: &Path, clock: &ManualClock) -> [Store; N] {
    let engine = Memory::on(clock.clone());
    [(); N].map(|()| builder(clock).connect_moving_from(path, engine.clone()).unwrap())
}

#[test]
fn whatever_is_asked_of_a_key_that_was_not_carried_over_is_answered_of_the_old_store_4_6() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    fill(directory.path(), &clock);
    let [asking] = moving(directory.path(), &clock);
    let [finished, interrupted, released] = TOKENS.map(|token| key(&asking, token));
    assert!(matches!(asking.get(&finished).unwrap(), Known::Finished(_)));
    assert!(matches!(asking.get(&interrupted).unwrap(), Known::Interrupted { attempt: 1, .. }));
    assert_eq!(asking.get(&released).unwrap(), Known::Absent);
    let [resolving] = moving(directory.path(), &clock);
    resolving.resolve(&interrupted, Outcome::new("found out")).unwrap();
    assert!(matches!(resolving.begin(&interrupted, &parameters()).unwrap(), Answer::Replay(_)));
    let refused = resolving.resolve(&finished, Outcome::new("no")).unwrap_err();
    assert!(matches!(refused.kind(), crate::error::ErrorKind::NotInterrupted), "{refused}");
}

#[test]
fn what_was_forgotten_is_not_carried_over_again_4_6() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    fill(directory.path(), &clock);
    let [one, two] = moving(directory.path(), &clock);
    for (token, was) in TOKENS.into_iter().zip([true, true, false]) {
        let key = key(&one, token);
        for (store, was) in [(&one, was), (&two, false), (&one, false)] {
            assert_eq!(store.forget(&key).unwrap(), was, "{token}");
            assert_eq!(store.get(&key).unwrap(), Known::Absent, "{token}");
        }
        clock.advance(Duration::from_secs(60 * 60));
        let held = fresh(two.begin(&key, &Parameters::query("other=1")));
        assert_eq!((held.attempt(), held.last_checkpoint(), held.is_resumed()), (1, None, false), "{token}");
        held.complete(Outcome::new("anew")).unwrap();
        assert!(one.begin(&key, &parameters()).unwrap_err().is_mismatch(), "{token}");
    }
}

#[test]
fn a_release_that_is_carried_over_is_remembered_as_long_as_it_was_4_3() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    fill(directory.path(), &clock);
    let [one, two] = moving(directory.path(), &clock);
    let key = key(&one, "released");
    let held = fresh(one.request(&key, &parameters()).begin());
    assert_eq!((held.attempt(), held.is_durable()), (2, false));
    drop(held.release());
    let held = fresh(two.begin(&key, &parameters()));
    assert_eq!((held.attempt(), held.last_checkpoint().unwrap().bytes()), (2, &b"released"[..]));
    held.release().unwrap();
    clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(fresh(one.begin(&key, &parameters())).attempt(), 1, "its retention has passed");
}

/// Claims to carry a record over, and dies of it. The key.
fn dies_carrying(store: &Store, token: &str) -> Key {
    let (key, shared) = (key(store, token), store.shared());
    let claim = Claim {
        key: key.clone(),
        fence: shared.next_fence().unwrap(),
        over: None,
        lease: Duration::from_secs(5),
        standing: Standing::Volatile,
        started: shared.old_of(&key).unwrap().unwrap().claim,
    };
    assert!(matches!(block_on(shared.lanes.claim(claim)).unwrap().1, Claimed::Granted));
    key
}

/// A process that died between the claim that it carried under and what it carried.
#[test]
fn what_one_began_to_carry_and_died_another_carries_on_and_nobody_runs_it_3_3() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    fill(directory.path(), &clock);
    let [dead, alive] = moving(directory.path(), &clock);
    let finished = dies_carrying(&dead, "finished");
    let asking = std::thread::spawn(move || alive.begin(&finished, &parameters()));
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(!asking.is_finished(), "somebody may carry it still");
    }
    clock.advance(Duration::from_secs(5));
    let answer = asking.join().unwrap();
    assert!(matches!(answer, Ok(Answer::Replay(_))), "{answer:?}");
}

#[test]
fn what_has_expired_since_one_died_carrying_it_is_as_never_seen_3_5_7_1() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    fill(directory.path(), &clock);
    let [dead, alive] = moving(directory.path(), &clock);
    let finished = dies_carrying(&dead, "finished");
    clock.advance(Duration::from_secs(24 * 3600));
    // In a thread of its own, since going round for ever is what it may do wrong.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tell.send(fresh(alive.begin(&finished, &Parameters::query("other=1"))).attempt())
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(1));
}
