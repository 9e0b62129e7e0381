//! Section 4, settling an interrupted key from outside (4.6).
//!
//! Goal: `resolve` and `forget` end an interruption durably and touch nothing else; until then the key is kept. Method:
//! as in `s3_interrupted`.

use oncekey::{Completed, ErrorKind, Known, Limit, OnInterrupted, Outcome, Store};

use crate::support::tasks::{Task, block_on};
use crate::support::{
    Home, LONG, asked, asked_otherwise, assert_replays, close, crash, fresh, kept, key, plain, refused,
    replay, run, secs, soon, started, with_clock,
};

/// A store that does not resume, in which key 0 was interrupted after a checkpoint.
fn interrupted(home: &Home) -> Store {
    let builder = || plain().on_interrupted(OnInterrupted::Refuse);
    let store = home.open(builder());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    crash(home, store, held, builder())
}

fn is_interrupted(store: &Store, number: usize) -> bool {
    matches!(store.get(&key(number)).expect("known"), Known::Interrupted { .. })
}

#[test]
fn a_resolved_key_replays_what_somebody_found_out_4_6() {
    let home = Home::directory();
    let store = interrupted(&home);
    let resolved = store.resolve(&key(0), Outcome::http(201, "it went through")).expect("resolved");
    assert!(matches!(resolved, Completed::Kept { .. }));
    let store = crash(&home, store, (), plain());
    let replay = replay(store.begin(&key(0), &asked()));
    assert_eq!((replay.outcome().status(), replay.attempts()), (Some(201), 1));
    assert_eq!(replay.outcome().body(), b"it went through");
    assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
    assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0));
}

#[test]
fn resolving_as_retryable_lets_a_retry_run_with_attempt_and_checkpoint_4_6_4_2() {
    let home = Home::directory();
    let store = interrupted(&home);
    let resolved = block_on(store.resolve_async(&key(0), Outcome::http(503, "it never arrived")));
    assert_eq!(resolved, Ok(Completed::Released));
    assert_eq!(store.stats().resolved, 1);
    let store = crash(&home, store, (), plain().on_interrupted(OnInterrupted::Refuse));
    assert_eq!(store.get(&key(0)), Ok(Known::Absent));
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), held.is_resumed()), (2, false));
    assert_eq!(held.last_checkpoint().expect("it survived").bytes(), b"half");
}

#[test]
fn only_an_interrupted_key_is_resolved_4_6() {
    let home = Home::directory();
    let store = interrupted(&home);
    run(&store, &key(1), "kept");
    drop(started(&store, &key(2)));
    drop(soon(&store, &key(2)));
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
    let home = Home::directory();
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
    let home = Home::directory();
    let store = interrupted(&home);
    assert_eq!(store.forget(&key(0)), Ok(true));
    assert_eq!(store.forget(&key(0)), Ok(false));
    let store = crash(&home, store, (), plain());
    assert_eq!((store.stats().kept_records, store.interrupted().count()), (0, 0));
    let held = fresh(store.begin(&key(0), &asked_otherwise()));
    assert_eq!((held.attempt(), held.last_checkpoint()), (1, None));
}

#[test]
fn forgetting_a_released_key_forgets_its_attempts_and_tells_that_nothing_was_kept_4_6() {
    let home = Home::directory();
    let store = home.open(plain());
    drop(started(&store, &key(0)));
    drop(soon(&store, &key(0)));
    assert_eq!(store.forget(&key(0)), Ok(false));
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 1);
}

#[test]
fn one_who_waits_for_a_resolution_gets_the_replay_4_6_3_7() {
    let home = Home::directory();
    let store = interrupted(&home);
    let (own, parameters) = (key(0), asked());
    let mut resolving = Task::new(store.resolve_async(&own, Outcome::new("found")));
    // Handed over at its first poll; asked meanwhile, or already resolved, the answer is never a second run.
    drop(resolving.poll());
    let resume = store.request(&own, &parameters).on_interrupted(OnInterrupted::Resume).wait(LONG);
    assert_eq!(replay(resume.begin()).outcome().body(), b"found");
    assert!(matches!(resolving.finish(), Ok(Completed::Kept { .. })));
}

#[test]
fn an_interrupted_key_outlives_every_retention_and_is_carried_forward_4_6() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = builder.retention(secs(100)).on_interrupted(OnInterrupted::Refuse);
    let store = home.open(builder.clone());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    let mut store = crash(&home, store, held, builder.clone());
    for round in 1..6 {
        run(&store, &key(round), "expires");
        clock.advance(secs(101));
        let before = store.stats().segments;
        for _ in 0..2 {
            store.sweep().expect("swept");
        }
        assert!(store.stats().segments <= before.max(2), "the old ones went");
        assert!(is_interrupted(&store, 0), "round {round}");
        assert_eq!((store.interrupted().count(), store.stats().kept_records), (1, 1), "round {round}");
        close(store);
        store = home.open(builder.clone());
    }
    assert!(store.stats().segments <= 2, "{:?}", store.stats());
    store.resolve(&key(0), Outcome::new("found")).expect("resolved");
    assert_replays(&store, &key(0), "found");
    clock.advance(secs(100));
    store.sweep().expect("swept");
    assert_eq!((store.stats().kept_records, store.get(&key(0))), (0, Ok(Known::Absent)));
}

fn staying() -> String {
    "stays for a day ".repeat(60_000)
}

/// Fills a segment with what stays for a day, so that it is neither dropped nor packed for being sparse.
fn stay(store: &Store) {
    for number in 100..105 {
        run(store, &key(number), &staying());
    }
}

/// Lets everything go that a sweep and an opening let go, but for what `holds` its segment.
fn age(
    home: &Home,
    store: Store,
    builder: &oncekey::Builder,
    clock: &oncekey::ManualClock,
    seconds: u64,
) -> Store {
    clock.advance(secs(seconds));
    for _ in 0..3 {
        store.sweep().expect("swept");
        clock.advance(secs(2));
    }
    close(store);
    home.open(builder.clone())
}

#[test]
fn what_has_ended_stays_ended_after_its_outcome_has_expired_and_gone_4_6_7_1() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = builder.segment_age_max(secs(1)).lease(secs(1_000_000));
    let mut store = home.open(builder.clone());
    // Segment by segment: a start beside a record that keeps its segment; then its short-lived end, in a later one.
    let short = |store: &Store, number| {
        fresh(store.request(&key(number), &asked()).start_durably().retention(secs(10)).begin())
    };
    let live: Vec<_> = (0..3).map(|number| short(&store, number)).collect();
    stay(&store);
    for reservation in live {
        clock.advance(secs(2));
        store.sweep().expect("a new segment");
        kept(reservation.complete(Outcome::new("short")));
    }
    for round in 0..4 {
        store = age(&home, store, &builder, &clock, 20);
        for number in 0..3 {
            assert_eq!(store.get(&key(number)), Ok(Known::Absent), "round {round}");
        }
        assert_eq!((store.interrupted().count(), store.stats().interrupted), (0, 0), "round {round}");
        assert_replays(&store, &key(100), &staying());
    }
    assert_eq!(store.stats().kept_records, 5);
    assert_eq!(short(&store, 0).attempt(), 1, "as never seen");
}

#[test]
fn a_release_is_not_remembered_beyond_an_outcome_that_expired_before_it_4_3_7_1() {
    /// What becomes of the attempt behind the released one.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Way {
        Completed,
        TakenOver,
        Interrupted,
    }
    let ways = [Way::Completed, Way::TakenOver, Way::Interrupted];
    for (durable, way) in [true, false].into_iter().flat_map(|durable| ways.map(|way| (durable, way))) {
        let context = format!("{way:?}, durable: {durable}");
        let home = Home::directory();
        let (builder, clock) = with_clock();
        let builder = builder.segment_age_max(secs(1));
        let mut store = home.open(builder.clone());
        let held = started(&store, &key(0));
        held.checkpoint(b"of a life that is over").expect("noted");
        drop(held);
        crate::support::tasks::until("released", || store.get(&key(0)) == Ok(Known::Absent));
        stay(&store);
        clock.advance(secs(2));
        store.sweep().expect("a new segment");
        let begin = |store: &Store, retention, lease| {
            let (own, parameters) = (key(0), asked());
            let request = store.request(&own, &parameters).retention(retention).lease(lease);
            fresh(if durable { request.start_durably() } else { request }.begin())
        };
        let before = (way != Way::Completed)
            .then(|| begin(&store, secs(200_000), secs(u64::from(way == Way::Interrupted))));
        if way == Way::Interrupted {
            store = crash(&home, store, before, builder.clone());
        }
        let held = begin(&store, secs(10), secs(1));
        let attempt = if way == Way::TakenOver || (way == Way::Interrupted && durable) { 3 } else { 2 };
        assert_eq!((held.attempt(), held.last_checkpoint().is_some()), (attempt, true), "{context}");
        kept(held.complete(Outcome::new("short")));
        let store = age(&home, store, &builder, &clock, 20);
        let store = age(&home, store, &builder, &clock, 20);
        assert_eq!(store.stats().kept_records, 5, "{context}");
        let held = fresh(store.begin(&key(0), &asked()));
        assert_eq!((held.attempt(), held.last_checkpoint()), (1, None), "{context}");
    }
}

#[test]
fn many_started_operations_move_from_segment_to_segment_4_6_5_4() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = builder.segment_bytes_max(1 << 20);
    let store = home.open(builder.clone());
    let held: Vec<_> = (0..300).map(|number| started(&store, &key(number))).collect();
    for reservation in &held {
        reservation.checkpoint(&[7; 2000]).expect("noted");
    }
    for number in 1000..1100 {
        run(&store, &key(number), &"x".repeat(50_000));
    }
    let segments = store.stats().segments;
    assert!((3..40).contains(&segments), "{segments} segments");
    let store = crash(&home, store, held, builder.clone());
    assert_eq!((store.interrupted().count(), store.stats().kept_records), (300, 400));
    let copy = home.beside("copy");
    store.backup(&copy).expect("a backup");
    close(store);
    clock.advance(secs(1));
    let copy = builder.open(&copy).expect("the copy is a store");
    assert_eq!(copy.interrupted().count(), 300);
    for number in 0..300 {
        let held = fresh(copy.begin(&key(number), &asked()));
        assert_eq!(held.last_checkpoint().expect("it went along").bytes(), [7; 2000]);
        kept(held.complete(Outcome::new("done")));
    }
    assert_eq!((copy.interrupted().count(), copy.stats().kept_records), (0, 400));
}

#[test]
fn what_is_kept_of_a_live_durable_reservation_is_carried_forward_too_4_6_5_4() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = builder.retention(secs(100)).lease(secs(1_000_000));
    let store = home.open(builder.clone());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    for round in 1..4 {
        run(&store, &key(round), "expires");
        clock.advance(secs(101));
        store.sweep().expect("swept");
        store.sweep().expect("swept");
    }
    assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0));
    kept(held.complete(Outcome::new("done")));
    assert_eq!(store.stats().kept_records, 1, "its start was replaced where it stood");
    let store = crash(&home, store, (), builder);
    assert_replays(&store, &key(0), "done");
    assert_eq!(store.stats().kept_records, 1);
}
