//! Section 7: retention and the store's clock.
//!
//! Goal: a record is never replayed after its time and never forgotten before it, whatever the wall clock does.
//! Method: a manual clock moved to each side of every bound, open and over reopenings.

use std::time::Duration;

use oncekey::{Known, Outcome, Timestamp};

use super::support::{
    Home, asked, assert_free, assert_replays, close, embedded, fresh, in_every_home, kept, key, millis,
    replay, run, secs,
};

const START: u64 = 1_800_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_record_is_replayed_until_the_bound_and_never_at_it_7_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        clock.advance(secs(3));
        run(&store, &key(0), "done");
        clock.advance(millis(9999));
        assert_replays(&store, &key(0), "done");
        assert!(matches!(store.get(&key(0)).expect("known"), Known::Finished(_)));
        clock.advance(millis(1));
        assert_free(&store, &key(0));
        assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 1);
    });
}

#[test]
fn retention_counts_from_completion_and_not_from_the_reservation_7_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)).lease(secs(1000)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(100));
        let (completed, expires) = kept(held.complete(Outcome::new("done")));
        assert_eq!(completed, Timestamp::from_millis(START + 100_000));
        assert_eq!(expires, Timestamp::from_millis(START + 110_000));
        clock.advance(secs(9));
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn the_default_retention_is_24_hours_and_a_request_can_ask_for_another_7_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        run(&store, &key(0), "a day");
        let (own, parameters) = (key(1), asked());
        let week = store.request(&own, &parameters).retention(7 * DAY);
        kept(fresh(week.begin()).complete(Outcome::new("a week")));
        let (own, parameters) = (key(2), asked());
        let ever = store.request(&own, &parameters).retention(Duration::MAX);
        kept(fresh(ever.begin()).complete(Outcome::new("ever")));
        clock.advance(secs(24 * 3600 - 1) + millis(999));
        assert_replays(&store, &key(0), "a day");
        clock.advance(millis(1));
        assert_free(&store, &key(0));
        assert_replays(&store, &key(1), "a week");
        clock.advance(6 * DAY);
        assert_free(&store, &key(1));
        clock.advance(3_000_000 * DAY);
        assert_eq!(replay(store.begin(&key(2), &asked())).expires(), Timestamp::MAX);
    });
}

#[test]
fn a_retention_of_nothing_is_expired_at_once_7_1() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder.retention(secs(0)));
        run(&store, &key(0), "gone");
        assert_free(&store, &key(0));
        run(&store, &key(0), "gone again");
    });
}

#[test]
fn replays_do_not_extend_the_retention_7_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        run(&store, &key(0), "done");
        let first = replay(store.begin(&key(0), &asked())).expires();
        for _ in 0..9 {
            clock.advance(secs(1));
            assert_eq!(replay(store.begin(&key(0), &asked())).expires(), first);
        }
        clock.advance(secs(1));
        assert_free(&store, &key(0));
    });
}

#[test]
fn swept_or_not_the_answers_are_the_same_7_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        run(&store, &key(0), "early");
        clock.advance(secs(5));
        run(&store, &key(1), "late");
        for _ in 0..3 {
            store.sweep().expect("swept");
            assert_replays(&store, &key(0), "early");
        }
        clock.advance(secs(5));
        assert_free(&store, &key(0));
        embedded(&store, |store| assert_eq!(store.sweep().expect("swept").records, 1));
        store.sweep().expect("swept");
        assert_free(&store, &key(0));
        assert_replays(&store, &key(1), "late");
        clock.advance(secs(5));
        store.sweep().expect("swept");
        assert_free(&store, &key(1));
        embedded(&store, |store| assert_eq!(store.stats().kept_records, 0));
    });
}

#[test]
fn retention_goes_on_over_a_reopening_7_1() {
    let home = Home::lasting();
    let (builder, clock) = home.with_clock();
    let store = home.open(builder.clone());
    run(&store, &key(0), "done");
    close(store);
    clock.advance(secs(24 * 3600 - 1) + millis(999));
    let store = home.open(builder.clone());
    assert_replays(&store, &key(0), "done");
    close(store);
    clock.advance(millis(1));
    assert_free(&home.open(builder), &key(0));
}
