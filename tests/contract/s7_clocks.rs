//! Section 7, the store's clock (7.2): wall clocks that jump, and what is on disk of time.
//!
//! Goal: time never runs backwards, nothing expires early, and a jump is told. Method: a manual clock whose wall time is
//! set, open and over reopenings.

use std::time::Duration;

use oncekey::{Clock, ErrorKind, ManualClock, Outcome, Store, Timestamp};

use crate::support::files::read_all;
use crate::support::{
    Home, asked, assert_free, assert_replays, close, fresh, in_every_home, in_flight, kept, key, millis,
    plain, refused, run, secs, with_clock,
};

const START: u64 = 1_800_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(millis: u64) -> ManualClock {
    ManualClock::at(Timestamp::from_millis(millis))
}

fn open_at(home: &Home, millis: u64) -> (Store, ManualClock) {
    let clock = at(millis);
    (home.open(plain().clock(clock.clone())), clock)
}

#[test]
fn a_wall_clock_that_jumps_while_the_store_is_open_changes_nothing_7_2() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.retention(secs(10)));
        run(&store, &key(0), "done");
        for wall in [0, START - 1, START + 10_000, u64::MAX] {
            clock.set_wall(Timestamp::from_millis(wall));
            assert_replays(&store, &key(0), "done");
            store.sweep().expect("swept");
        }
        clock.advance(secs(9));
        assert_replays(&store, &key(0), "done");
        clock.set_wall(Timestamp::from_millis(0));
        clock.advance(secs(1));
        assert_free(&store, &key(0));
    });
}

#[test]
fn across_epochs_time_starts_no_earlier_than_the_last_time_on_disk_7_2() {
    let home = Home::directory();
    let (store, clock) = open_at(&home, START);
    clock.advance(secs(1000));
    run(&store, &key(0), "done");
    close(store);
    for back in [START + 999_999, START, 0] {
        let (store, clock) = open_at(&home, back);
        let held = fresh(store.begin(&key(1), &asked()));
        assert!(held.since() >= Timestamp::from_millis(START + 1_000_000), "wall {back}: {:?}", held.since());
        assert_replays(&store, &key(0), "done");
        drop(held);
        clock.advance(DAY);
        assert_free(&store, &key(0));
        close(store);
    }
}

#[test]
fn a_note_that_forgets_moves_the_last_time_on_disk_too_7_2() {
    let home = Home::directory();
    let (store, clock) = open_at(&home, START);
    run(&store, &key(0), "done");
    clock.advance(secs(500));
    assert!(store.forget(&key(0)).expect("forgotten"));
    close(store);
    let (store, _) = open_at(&home, START);
    assert!(fresh(store.begin(&key(1), &asked())).since() >= Timestamp::from_millis(START + 500_000));
}

#[test]
fn a_jump_forward_while_closed_beyond_the_limit_is_an_error_until_it_is_accepted_7_2() {
    let home = Home::directory();
    let (store, _) = open_at(&home, START);
    let (own, parameters) = (key(0), asked());
    let ever = store.request(&own, &parameters).retention(Duration::MAX);
    kept(fresh(ever.begin()).complete(Outcome::new("done")));
    close(store);
    let limit = 400 * DAY;
    let bound = START + u64::try_from(limit.as_millis()).expect("small");

    let before = read_all(&home.path());
    let error = plain().clock(at(bound + 1)).open(home.path()).expect_err("a jump");
    assert_eq!(error.kind(), &ErrorKind::ClockJump { ahead: limit + millis(1), limit });
    assert!(before == read_all(&home.path()), "nothing was changed");

    let (store, _) = open_at(&home, bound);
    assert_replays(&store, &key(0), "done");
    close(store);
    let builder = || plain().clock(at(bound + 1)).clock_jump_max(secs(1));
    assert!(builder().open(home.path()).is_err(), "the limit is a setting");
    let store = builder().accept_clock_jump().open(home.path()).expect("accepted");
    assert_replays(&store, &key(0), "done");
    run(&store, &key(1), "later");
    close(store);
    let store = builder().open(home.path()).expect("once accepted and written, it is the last time on disk");
    assert_replays(&store, &key(1), "later");
}

#[test]
fn a_store_without_records_opens_after_a_jump_that_is_accepted_7_2() {
    let home = Home::directory();
    let (store, _) = open_at(&home, START);
    close(store);
    let later = || plain().clock(at(START + 500 * 24 * 3600 * 1000));
    let error = later().open(home.path()).expect_err("a jump");
    assert!(matches!(error.kind(), ErrorKind::ClockJump { .. }), "{error}");
    close(later().accept_clock_jump().open(home.path()).expect("accepted"));
}

#[test]
fn the_age_of_a_request_follows_the_stores_clock_7_2() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.retention(secs(10)));
        clock.set_wall(Timestamp::from_millis(START + 1_000_000));
        let (own, parameters) = (key(0), asked());
        let sent = || store.request(&own, &parameters).first_sent(Timestamp::from_millis(START)).begin();
        drop(fresh(sent()));
        clock.advance(secs(11));
        assert!(refused(sent()).is_expired());
    });
}

#[test]
fn a_record_that_is_carried_forward_keeps_its_time_7_1_8_3() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let store = home.open(builder.clone().retention(secs(100)));
    let (own, parameters) = (key(0), asked());
    let held = fresh(store.request(&own, &parameters).retention(secs(10_000)).begin());
    let (_, expires) = kept(held.complete(Outcome::new("stays")));
    let mut carried = 0;
    for round in 1..6 {
        run(&store, &key(round), &"goes ".repeat(1000));
        // The segment is sealed while both are kept, and sparse when one has gone.
        for wait in [10, 91] {
            clock.advance(secs(wait));
            carried += store.sweep().expect("swept").carried;
        }
        assert_replays(&store, &own, "stays");
    }
    assert!(carried >= 2, "{carried} carried");
    close(store);
    let store = home.open(builder);
    let last = Timestamp::from_millis(expires.as_millis() - 1);
    clock.advance(last.since(clock.wall()));
    store.sweep().expect("swept");
    assert_replays(&store, &own, "stays");
    clock.advance(millis(1));
    assert_free(&store, &own);
}

#[test]
fn leases_follow_the_monotonic_clock_4_4() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.lease(secs(10)));
        let _held = fresh(store.begin(&key(0), &asked()));
        for wall in [0, u64::MAX / 2, 1_900_000_000_000] {
            clock.set_wall(oncekey::Timestamp::from_millis(wall));
            assert_eq!(in_flight(store.begin(&key(0), &asked())).lease_left(), Some(secs(10)));
        }
    });
}

#[test]
fn retention_goes_on_over_a_reopening_on_another_clock_7_1() {
    let home = Home::directory();
    let (store, _) = open_at(&home, START);
    run(&store, &key(0), "done");
    close(store);
    let day = 24 * 3600 * 1000;
    let (store, _) = open_at(&home, START + day - 1);
    assert_replays(&store, &key(0), "done");
    close(store);
    let (store, _) = open_at(&home, START + day);
    assert_free(&store, &key(0));
}
