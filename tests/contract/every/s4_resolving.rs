//! Section 4, settling an interrupted key from outside (4.6).
//!
//! Goal: `resolve` and `forget` end an interruption durably and touch nothing else; until then the key is kept. Method:
//! as in `s3_interrupted`.

use oncekey::{Completed, ErrorKind, Known, Limit, OnInterrupted, Outcome};

use super::support::tasks::{Task, block_on};
use super::support::{
    Answer, Home, LONG, Store, asked, asked_otherwise, assert_replays, crash, embedded, fresh, kept, key,
    let_go, plain, refused, replay, run, soon, started,
};

/// A store that does not resume, in which key 0 was interrupted after a checkpoint.
fn interrupted(home: &Home) -> Store {
    let builder = || plain().on_interrupted(OnInterrupted::Refuse);
    let store = home.open(builder());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    crash(home, store, held, builder())
}

pub(crate) fn is_interrupted(store: &Store, number: usize) -> bool {
    matches!(store.get(&key(number)).expect("known"), Known::Interrupted { .. })
}

#[test]
fn a_resolved_key_replays_what_somebody_found_out_4_6() {
    let home = Home::lasting();
    let store = interrupted(&home);
    let resolved = store.resolve(&key(0), Outcome::http(201, "it went through")).expect("resolved");
    assert!(matches!(resolved, Completed::Kept { .. }));
    let store = crash(&home, store, (), plain());
    let replay = replay(store.begin(&key(0), &asked()));
    assert_eq!((replay.outcome().status(), replay.attempts()), (Some(201), 1));
    assert_eq!(replay.outcome().body(), b"it went through");
    assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
    assert_eq!(store.interrupted().count(), 0);
    embedded(&store, |store| assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0)));
}

#[test]
fn resolving_as_retryable_lets_a_retry_run_with_attempt_and_checkpoint_4_6_4_2() {
    let home = Home::lasting();
    let store = interrupted(&home);
    let resolved = block_on(store.resolve_async(&key(0), Outcome::http(503, "it never arrived")));
    assert_eq!(resolved, Ok(Completed::Released));
    embedded(&store, |store| assert_eq!(store.stats().resolved, 1));
    let store = crash(&home, store, (), plain().on_interrupted(OnInterrupted::Refuse));
    assert_eq!(store.get(&key(0)), Ok(Known::Absent));
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), held.is_resumed()), (2, false));
    assert_eq!(held.last_checkpoint().expect("it survived").bytes(), b"half");
}

#[test]
fn only_an_interrupted_key_is_resolved_4_6() {
    let home = Home::lasting();
    let store = interrupted(&home);
    run(&store, &key(1), "kept");
    let_go(&store, started(&store, &key(2)));
    let_go(&store, soon(&store, &key(2)));
    for number in 1..4 {
        let error = store.resolve(&key(number), Outcome::new("x")).expect_err("nothing to resolve");
        assert_eq!(error.kind(), &ErrorKind::NotInterrupted, "{number}");
    }
    assert_replays(&store, &key(1), "kept");
    assert_eq!(fresh(store.begin(&key(3), &asked())).attempt(), 1, "asking for it left nothing behind");
    let held = started(&store, &key(4));
    for error in [store.resolve(&key(4), Outcome::new("x")).map(drop), store.forget(&key(4)).map(drop)] {
        assert!(error.expect_err("it runs").is_in_flight());
    }
    kept(held.complete(Outcome::new("untouched")));
}

#[test]
fn an_outcome_over_the_limit_does_not_resolve_4_6_4_5() {
    let home = Home::lasting();
    let store = interrupted(&home);
    drop(store);
    let store = home.open(plain().outcome_bytes_max(10).declared_outcome_bytes(10));
    let error = store.resolve(&key(0), Outcome::new("eleven long")).expect_err("too large");
    let too_large = ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured: 11, limit: 10 };
    assert_eq!(error.kind(), &too_large);
    assert!(is_interrupted(&store, 0));
    assert_eq!(store.stats().live_reservations, 0);
}

#[test]
fn a_forgotten_interruption_is_as_never_seen_4_6() {
    let home = Home::lasting();
    let store = interrupted(&home);
    assert_eq!(store.forget(&key(0)), Ok(true));
    assert_eq!(store.forget(&key(0)), Ok(false));
    let store = crash(&home, store, (), plain());
    assert_eq!(store.interrupted().count(), 0);
    embedded(&store, |store| assert_eq!(store.stats().kept_records, 0));
    let held = fresh(store.begin(&key(0), &asked_otherwise()));
    assert_eq!((held.attempt(), held.last_checkpoint()), (1, None));
}

#[test]
fn forgetting_a_released_key_forgets_its_attempts_and_tells_that_nothing_was_kept_4_6() {
    let home = Home::lasting();
    let store = home.open(plain());
    let_go(&store, started(&store, &key(0)));
    let_go(&store, soon(&store, &key(0)));
    assert_eq!(store.forget(&key(0)), Ok(false));
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 1);
}

#[test]
fn one_who_waits_for_a_resolution_gets_the_replay_4_6_3_7() {
    let home = Home::lasting();
    let store = interrupted(&home);
    let (own, parameters) = (key(0), asked());
    // Handed over at its first poll: asked meanwhile, or already resolved, the answer is never a second run.
    let resolving = Task::begun(store.resolve_async(&own, Outcome::new("found")));
    let resume = store.request(&own, &parameters).on_interrupted(OnInterrupted::Resume).wait(LONG);
    match resume.begin().expect("an answer") {
        Answer::Replay(replay) => {
            assert_eq!(replay.outcome().body(), b"found");
            assert!(matches!(resolving.finish(), Ok(Completed::Kept { .. })));
        }
        // It came first, and the resolution is told so.
        Answer::Fresh(held) => {
            embedded(&store, |_| panic!("handed over at its first poll, it is there"));
            assert!(resolving.finish().is_err_and(|error| error.is_in_flight()));
            kept(held.complete(Outcome::new("resumed")));
        }
        other => panic!("unexpected {other:?}"),
    }
}
