//! Section 4, second half: leases, take-overs and lost holders (4.1, 4.4).
//!
//! Goal: two completions of one key can't overlap, whatever the old holder does. Method: a manual clock moved to
//! each side of the lease's end, and every verb of the old holder after it.

use std::task::Poll;

use oncekey::{ErrorKind, Known, Outcome};

use super::support::tasks::Task;
use super::support::{
    Answer, Reservation, Store, TestClock, asked, asked_otherwise, assert_free, assert_replays, embedded,
    fresh, in_every_home, in_flight, kept, key, let_go, millis, refused, replay, secs,
};

pub(crate) fn is_lost(error: &oncekey::Error) {
    assert_eq!(error.kind(), &ErrorKind::ReservationLost { attempt: 1 });
    assert!(error.is_reservation_lost());
}

/// A holder of attempt 1 that was taken over, and the one of attempt 2.
fn taken_over(store: &Store, clock: &TestClock, number: usize) -> (Reservation, Reservation) {
    let lost = fresh(store.begin(&key(number), &asked()));
    clock.advance(secs(10));
    let held = fresh(store.begin(&key(number), &asked()));
    assert_eq!((lost.attempt(), held.attempt()), (1, 2));
    (lost, held)
}

#[test]
fn a_lease_of_time_left_0_has_lapsed_and_1_has_not_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let _held = fresh(store.begin(&key(0), &asked()));
        clock.advance(millis(9999));
        assert_eq!(in_flight(store.begin(&key(0), &asked())).lease_left(), Some(millis(1)));
        clock.advance(millis(1));
        assert!(
            matches!(store.get(&key(0)), Ok(Known::InFlight { attempt: 1, lease_left: Some(left), .. }) if left.is_zero())
        );
        assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 2);
    });
}

#[test]
fn a_request_can_ask_for_its_own_lease_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let _long = fresh(store.request(&key(0), &asked()).lease(secs(100)).begin());
        let _none = fresh(store.request(&key(1), &asked()).lease(secs(0)).begin());
        assert_eq!(fresh(store.begin(&key(1), &asked())).attempt(), 2, "a lease of nothing lapses at once");
        clock.advance(secs(99));
        assert_eq!(in_flight(store.begin(&key(0), &asked())).lease_left(), Some(secs(1)));
    });
}

#[test]
fn renewing_lets_the_lease_begin_anew_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        for _ in 0..5 {
            clock.advance(secs(9));
            held.renew().expect("still held");
        }
        assert_eq!(in_flight(store.begin(&key(0), &asked())).lease_left(), Some(secs(10)));
    });
}

#[test]
fn a_take_over_with_other_parameters_is_a_mismatch_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(20));
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        kept(held.complete(Outcome::new("done")));
    });
}

#[test]
fn a_lapsed_holder_that_nobody_took_over_still_holds_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(20));
        held.renew().expect("nobody took over");
        assert_eq!(in_flight(store.begin(&key(0), &asked())).attempt(), 1);
        clock.advance(secs(20));
        kept(held.complete(Outcome::new("late")));
        assert_replays(&store, &key(0), "late");
        let held = fresh(store.begin(&key(1), &asked()));
        clock.advance(secs(20));
        held.release().expect("nobody took over");
        assert_free(&store, &key(1));
    });
}

#[test]
fn a_lost_holder_changes_nothing_while_the_new_one_runs_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let (lost, held) = taken_over(&store, &clock, 0);
        is_lost(&lost.renew().expect_err("lost"));
        let refusal = lost.complete(Outcome::new("the old one's")).expect_err("lost");
        is_lost(&refusal.error);
        assert!(refusal.reservation.is_none());
        assert_eq!(in_flight(store.begin(&key(0), &asked())).attempt(), 2);
        kept(held.complete(Outcome::new("the new one's")));
        assert_replays(&store, &key(0), "the new one's");

        let (lost, held) = taken_over(&store, &clock, 1);
        is_lost(&lost.release().expect_err("lost"));
        assert_eq!(in_flight(store.begin(&key(1), &asked())).attempt(), 2);
        let (dropped, third) = (held, key(1));
        clock.advance(secs(10));
        let latest = fresh(store.begin(&third, &asked()));
        drop(dropped);
        assert_eq!(
            in_flight(store.begin(&third, &asked())).attempt(),
            3,
            "dropping a lost one frees nothing"
        );
        kept(latest.complete_without_body(Outcome::new("done")));

        let (lost, held) = taken_over(&store, &clock, 2);
        let retryable = lost.complete(Outcome::http(503, "")).expect_err("lost");
        is_lost(&retryable.error);
        assert_eq!(in_flight(store.begin(&key(2), &asked())).attempt(), 2);
        let_go(&store, held);
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn a_lost_holder_changes_nothing_after_the_new_one_ended_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let (lost, held) = taken_over(&store, &clock, 0);
        kept(held.complete(Outcome::new("done")));
        is_lost(&lost.complete(Outcome::new("late")).expect_err("lost").error);
        assert_replays(&store, &key(0), "done");

        let (lost, held) = taken_over(&store, &clock, 1);
        drop(held);
        // Free again, and given to a third: the fence is not the first one's.
        let third = fresh(store.begin(&key(1), &asked()));
        assert_eq!(third.attempt(), 1);
        is_lost(&lost.complete(Outcome::new("late")).expect_err("lost").error);
        kept(third.complete(Outcome::new("third")));
        assert_replays(&store, &key(1), "third");
    });
}

#[test]
fn a_completion_handed_over_is_taken_over_by_nobody_4_1() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        for number in 0..20 {
            let held = fresh(store.begin(&key(number), &asked()));
            clock.advance(secs(9));
            let mut task = Task::new(held.complete_async(Outcome::new("done")));
            let at_once = task.poll();
            clock.advance(secs(100));
            let answer = store.begin(&key(number), &asked()).expect("no error");
            match (at_once, answer) {
                (_, Answer::Replay(_)) => {}
                (Poll::Pending, Answer::InFlight(other)) => {
                    assert_eq!((other.attempt(), other.lease_left()), (1, None));
                }
                (_, other) => panic!("expected a replay or in flight, got {other:?}"),
            }
            drop(task);
            let answer = store.request(&key(number), &asked()).wait(super::support::LONG).begin();
            assert_eq!(replay(answer).attempts(), 1);
        }
    });
}

#[test]
fn a_take_over_keeps_waiters_and_counts_itself_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let (lost, held) = taken_over(&store, &clock, 0);
        let stats = store.stats();
        assert_eq!((stats.taken_over, stats.live_reservations), (1, 1));
        drop(lost);
        kept(held.complete(Outcome::new("done")));
        let stats = store.stats();
        assert_eq!((stats.live_reservations, stats.completed), (0, 1));
        embedded(&store, |store| assert_eq!(store.stats().kept_records, 1));
    });
}

#[test]
fn the_new_holder_has_its_own_terms_4_4() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let _lost = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(10));
        let held = fresh(store.request(&key(0), &asked()).lease(secs(50)).retention(secs(7)).begin());
        assert_eq!(in_flight(store.begin(&key(0), &asked())).lease_left(), Some(secs(50)));
        let (completed, expires) = kept(held.complete(Outcome::new("done")));
        assert_eq!(expires, completed.saturating_add(secs(7)));
    });
}
