//! Waiting for somebody else's run (3.7), with futures polled by hand.
//!
//! Goal: who waits is woken by the outcome, without polling, and who gives up changes nothing. Method: a manual
//! clock, so that no deadline comes by itself, and wakers that count.

use std::task::Poll;

use oncekey::{ErrorKind, Limit, Outcome};

use super::support::tasks::{Task, block_on, until};
use super::support::{
    Answer, Home, LONG, Reservation, asked, asked_otherwise, assert_free, assert_replays, embedded,
    first_woken, fresh, in_every_home, in_flight, kept, key, let_go, millis, plain, refused, replay, secs,
};

/// The one of several waiters who got the key, and the rest, who wait on.
fn one_holder(
    mut tasks: Vec<Task<'_, oncekey::Result<Answer>>>,
) -> (Reservation, Vec<Task<'_, oncekey::Result<Answer>>>) {
    let mut holder = None;
    until("one gets the key", || {
        holder = tasks.iter_mut().enumerate().find_map(|(at, task)| match task.poll() {
            Poll::Ready(answer) => Some((at, fresh(answer))),
            Poll::Pending => None,
        });
        holder.is_some()
    });
    let (at, holder) = holder.expect("one got it");
    drop(tasks.remove(at));
    // Whatever else woke them, they go to sleep again.
    tasks.iter_mut().for_each(pending);
    (holder, tasks)
}

fn pending<T>(task: &mut Task<'_, T>) {
    assert!(task.poll().is_pending(), "nothing has happened yet");
}

#[test]
fn a_waiting_future_is_woken_by_the_outcome_and_gets_the_replay_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let parameters = asked();
        let own = key(0);
        let held = fresh(store.begin(&own, &parameters));
        let mut tasks: Vec<_> =
            (0..5).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        tasks.iter_mut().for_each(pending);
        assert!(tasks.iter().all(|task| task.times_woken() == 0));
        held.complete(Outcome::new("done")).expect("kept");
        for mut task in tasks {
            assert!(task.times_woken() > 0, "woken without being polled");
            match task.poll() {
                Poll::Ready(answer) => assert_eq!(replay(answer).outcome().body(), b"done"),
                Poll::Pending => panic!("the outcome is there"),
            }
        }
    });
}

#[test]
fn a_release_wakes_exactly_one_waiting_future_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut tasks: Vec<_> =
            (0..5).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        tasks.iter_mut().for_each(pending);
        drop(held);
        embedded(&store, |_| assert_eq!(tasks.iter().filter(|task| task.times_woken() > 0).count(), 1));
        let (holder, waiting) = one_holder(tasks);
        assert_eq!((holder.attempt(), waiting.len()), (1, 4));
        kept(holder.complete(Outcome::new("done")));
        for task in waiting {
            assert_eq!(replay(task.finish()).outcome().body(), b"done");
        }
    });
}

#[test]
fn a_woken_waiter_that_gives_up_passes_the_key_on_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut tasks: Vec<_> =
            (0..3).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        tasks.iter_mut().for_each(pending);
        drop(held);
        drop(first_woken(&mut tasks, "one is woken"));
        let next = first_woken(&mut tasks, "the wake-up is passed on");
        drop(fresh(next.finish()));
        drop(fresh(tasks.remove(0).finish()));
        assert_free(&store, &own);
    });
}

#[test]
fn the_last_waiter_leaving_a_released_key_leaves_it_free_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut task = Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        pending(&mut task);
        drop(held);
        drop(task);
        assert_free(&store, &own);
        assert_eq!(store.stats().live_reservations, 0);
        assert_eq!(fresh(store.begin(&own, &asked_otherwise())).attempt(), 1);
    });
}

#[test]
fn a_waiter_that_gives_up_changes_nothing_and_frees_its_place_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder.waiters_per_key_max(1));
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        for _ in 0..3 {
            let mut task = Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
            pending(&mut task);
            let error = refused(store.request(&own, &parameters).wait(LONG).begin());
            let expected = ErrorKind::Overloaded { what: Limit::WaitersPerKey, measured: 2, limit: 1 };
            assert_eq!(error.kind(), &expected);
            drop(task);
        }
        assert_eq!(in_flight(store.begin(&own, &parameters)).attempt(), 1);
        held.complete(Outcome::new("done")).expect("kept");
        assert_replays(&store, &own, "done");
    });
}

#[test]
fn a_waiter_whose_deadline_comes_is_told_in_flight_3_7() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(100)));
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut task = Task::new(store.request(&own, &parameters).wait(secs(5)).begin_async());
        pending(&mut task);
        clock.advance(millis(4999));
        pending(&mut task);
        clock.advance(millis(1));
        until("the deadline wakes it", || task.times_woken() > 0);
        assert_eq!(in_flight(task.finish()).lease_left(), Some(secs(95)));
        held.complete(Outcome::new("done")).expect("kept");
    });
}

#[test]
fn a_blocked_thread_wakes_at_its_deadline_on_the_stores_clock_3_7() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(100)));
        let held = fresh(store.begin(&key(0), &asked()));
        std::thread::scope(|scope| {
            let waiter =
                scope.spawn(|| in_flight(store.request(&key(0), &asked()).wait(secs(5)).begin()).attempt());
            until("it waits", || store.stats().in_flight > 0);
            std::thread::sleep(millis(20));
            assert!(!waiter.is_finished());
            clock.advance(secs(5));
            assert_eq!(waiter.join().expect("no panic"), 1);
        });
        drop(held);
    });
}

#[test]
fn a_waiter_takes_over_when_the_lease_lapses_3_7() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let (own, parameters) = (key(0), asked());
        let lost = fresh(store.begin(&own, &parameters));
        let mut tasks: Vec<_> =
            (0..4).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        tasks.iter_mut().for_each(pending);
        clock.advance(secs(9));
        lost.renew().expect("still held");
        clock.advance(secs(1));
        std::thread::sleep(millis(20));
        tasks.iter_mut().for_each(pending);
        clock.advance(secs(9));
        until("the lapsed lease wakes them", || tasks.iter().all(|task| task.times_woken() > 0));
        let (holder, waiting) = one_holder(tasks);
        assert_eq!((holder.attempt(), waiting.len()), (2, 3));
        kept(holder.complete(Outcome::new("done")));
        for task in waiting {
            assert_eq!(replay(task.finish()).attempts(), 2);
        }
    });
}

#[test]
fn after_a_wait_other_parameters_are_a_mismatch_3_7() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut tasks: Vec<_> =
            (0..2).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        tasks.iter_mut().for_each(pending);
        let_go(&store, held);
        embedded(&store, |store| {
            // The key is promised to those who wait, until the lease of the one who released has lapsed unclaimed.
            assert!(store.begin(&own, &asked_otherwise()).is_err_and(|error| error.is_mismatch()));
            clock.advance(secs(60));
        });
        let other = fresh(store.begin(&own, &asked_otherwise()));
        assert!(refused(first_woken(&mut tasks, "one is woken").finish()).is_mismatch(), "running");
        other.complete(Outcome::new("otherwise")).expect("kept");
        assert!(refused(tasks.remove(0).finish()).is_mismatch(), "finished");
    });
}

#[test]
fn an_answer_in_flight_can_be_waited_for_later_3_7() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        let held = fresh(store.begin(&key(0), &asked()));
        let other = in_flight(store.begin(&key(0), &asked()));
        let still = in_flight(other.wait(millis(0)));
        clock.advance(secs(1));
        let mut task = Task::new(still.wait_async(LONG));
        pending(&mut task);
        held.complete(Outcome::new("done")).expect("kept");
        assert_eq!(replay(task.finish()).outcome().body(), b"done");
        let held = fresh(store.begin(&key(1), &asked()));
        let other = in_flight(store.begin(&key(1), &asked()));
        held.complete(Outcome::new("before")).expect("kept");
        assert_eq!(replay(other.wait(LONG)).outcome().body(), b"before");
    });
}

#[test]
fn waiters_of_an_outcome_without_body_are_told_so_like_everybody_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut task = Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        pending(&mut task);
        held.complete_without_body(Outcome::new("large")).expect("kept");
        let waited = replay(task.finish());
        assert_eq!(waited, replay(store.begin(&own, &parameters)));
        assert_eq!(waited.omitted().expect("omitted").bytes, 5);
    });
}

#[test]
fn nobody_waits_for_a_key_that_is_free_3_7() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder);
        let (own, parameters) = (key(0), asked());
        let answer = block_on(store.request(&own, &parameters).wait(LONG).begin_async());
        fresh(answer).complete(Outcome::new("done")).expect("kept");
        let mut again = Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        embedded(&store, |_| match again.poll() {
            Poll::Ready(Ok(Answer::Replay(_))) => {}
            other => panic!("expected a replay at once, got {other:?}"),
        });
        assert_replays(&store, &own, "done");
    });
}

#[test]
fn waiting_answers_are_counted_as_what_they_became_11() {
    let home = Home::any();
    let store = home.open(plain());
    let (own, parameters) = (key(0), asked());
    let held = fresh(store.begin(&own, &parameters));
    let mut tasks: Vec<_> =
        (0..3).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
    tasks.iter_mut().for_each(pending);
    held.complete(Outcome::new("done")).expect("kept");
    for task in tasks {
        replay(task.finish());
    }
    assert_eq!(store.stats().replays, 3, "requests answered with a kept outcome");
}
