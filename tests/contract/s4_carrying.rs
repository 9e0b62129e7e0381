//! Section 4, what is carried forward from segment to segment, and what is not (4.6).
//!
//! Goal: an interrupted key outlives every retention, and nothing that ended comes back. Method: segments that are sealed,
//! packed and dropped around it, by sweeps, reopenings and backups.

use oncekey::{Known, OnInterrupted, Outcome, Store};

use crate::every::s4_resolving::is_interrupted;
use crate::support::{
    Home, asked, assert_replays, close, crash, fresh, kept, key, run, secs, started, with_clock,
};

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
