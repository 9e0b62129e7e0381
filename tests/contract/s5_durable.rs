//! Section 5, durable reservations (5.4), beside volatile ones (5.3); and how a durable one is released (4.3).
//!
//! Goal: the start is on disk before the reservation is given, on every way to one; what its end leaves there is known.
//! Method: as in `every/s3_interrupted`; a disk that fails happens to a child.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use oncekey::{Answer, ErrorKind, Guarantees, Known, Limit, OnInterrupted, Outcome, Store};

use crate::support::child::{part, start_limited, tell, while_the_disk_fails};
use crate::support::tasks::{Task, block_on, until};
use crate::support::{
    Home, LONG, asked, assert_free, assert_replays, close, crash, fresh, in_every_home, in_flight, kept, key,
    plain, refused, replay, run, secs, soon, started, with_clock,
};

fn attempt_interrupted(store: &Store, number: usize) -> Option<u32> {
    match store.get(&key(number)).expect("known") {
        Known::Interrupted { attempt, .. } => Some(attempt),
        _ => None,
    }
}

#[test]
fn a_durable_start_is_interrupted_after_a_crash_and_a_volatile_one_is_gone_5_3_5_4() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = (started(&store, &key(0)), fresh(store.begin(&key(1), &asked())));
    assert!(!held.1.is_durable());
    let store = crash(&home, store, held, plain());
    assert_eq!(attempt_interrupted(&store, 0), Some(1));
    assert_free(&store, &key(1));
    assert_eq!(fresh(store.begin(&key(1), &asked())).attempt(), 1);
}

#[test]
fn what_was_interrupted_is_known_at_once_without_any_time_out_5_4() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = builder.lease(secs(1_000_000)).start_durably(true);
    let store = home.open(builder.clone());
    let held = fresh(store.begin(&key(0), &asked()));
    let store = crash(&home, store, held, builder);
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 2);
    clock.advance(secs(0));
}

#[test]
fn an_async_begin_is_ready_only_when_its_start_is_on_disk_5_4() {
    let home = Home::directory();
    let store = home.open(plain());
    let (own, parameters) = (key(0), asked());
    let held = fresh(block_on(store.request(&own, &parameters).start_durably().begin_async()));
    let store = crash(&home, store, held, plain());
    assert_eq!(attempt_interrupted(&store, 0), Some(1));
}

#[test]
fn a_waiter_that_becomes_the_holder_has_its_start_on_disk_5_4() {
    let home = Home::directory();
    let store = home.open(plain());
    let (own, parameters) = (key(0), asked());
    let first = fresh(store.begin(&own, &parameters));
    let mut waiter = Task::new(store.request(&own, &parameters).start_durably().wait(LONG).begin_async());
    assert!(waiter.poll().is_pending());
    drop(first);
    let held = fresh(waiter.finish());
    let store = crash(&home, store, held, plain());
    assert_eq!(
        attempt_interrupted(&store, 0),
        Some(1),
        "the volatile attempt before it was never counted on disk"
    );
}

#[test]
fn one_that_takes_over_has_its_start_on_disk_with_the_higher_attempt_5_4_4_4() {
    for first_durable in [true, false] {
        let home = Home::directory();
        let (builder, clock) = with_clock();
        let store = home.open(builder.clone());
        let (own, parameters) = (key(0), asked());
        let first = store.request(&own, &parameters).lease(secs(5));
        let first = fresh(if first_durable { first.start_durably() } else { first }.begin());
        clock.advance(secs(5));
        // Who takes a durable one over is durable too.
        let second = store.request(&own, &parameters);
        let second = fresh(if first_durable { second } else { second.start_durably() }.begin());
        assert_eq!((second.attempt(), second.is_durable(), second.is_resumed()), (2, true, false));
        assert!(first.release().expect_err("lost").is_reservation_lost());
        let store = crash(&home, store, second, builder);
        assert_eq!(attempt_interrupted(&store, 0), Some(2));
        assert_eq!(store.stats().kept_records, 1);
    }
}

#[test]
fn a_begin_that_is_dropped_before_its_start_is_on_disk_gives_the_key_back_5_4() {
    in_every_home(|home| {
        let store = home.open(plain());
        let (own, parameters) = (key(0), asked());
        for _ in 0..20 {
            let mut begin =
                Task::new(store.request(&own, &parameters).wait(LONG).start_durably().begin_async());
            drop(begin.poll());
        }
        drop(soon(&store, &own));
        until("nobody holds it", || store.stats().live_reservations == 0);
        assert_free(&store, &own);
    });
}

#[test]
fn a_completed_durable_reservation_leaves_its_outcome_alone_5_4_5_1() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    kept(held.complete(Outcome::new("done")));
    assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0));
    let store = crash(&home, store, (), plain());
    let replay = replay(store.begin(&key(0), &asked()));
    assert_eq!((replay.outcome().body(), replay.attempts()), (&b"done"[..], 1));
    assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0));
}

#[test]
fn reopening_in_place_leaves_live_durable_reservations_as_they_are_5_4_5_5() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"one").expect("noted");
    store.reopen().expect("reopened");
    assert_eq!(in_flight(store.begin(&key(0), &asked())).attempt(), 1);
    assert_eq!((store.interrupted().count(), store.stats().interrupted), (0, 0));
    held.checkpoint(b"two").expect("noted");
    kept(held.complete(Outcome::new("done")));
    store.reopen().expect("reopened");
    assert_replays(&store, &key(0), "done");
    assert_eq!((store.stats().kept_records, store.stats().interrupted), (1, 0));
}

#[test]
fn what_is_held_while_the_store_closes_is_interrupted_at_the_next_opening_5_4_11() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    store.close(Duration::ZERO).expect("closed");
    drop(held);
    let store = home.open(plain());
    assert_eq!(attempt_interrupted(&store, 0), Some(1));
}

#[test]
fn a_store_whose_last_handle_goes_with_the_reservation_still_logs_its_release_4_3() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    drop(store);
    drop(held);
    let store = home.open(plain());
    assert_free(&store, &key(0));
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 2);
}

#[test]
fn a_dropped_durable_reservation_frees_its_key_and_the_next_attempt_counts_on_4_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        for attempt in 1..4 {
            let held = fresh(store.request(&key(0), &asked()).start_durably().wait(LONG).begin());
            assert_eq!((held.attempt(), held.is_resumed()), (attempt, false));
            held.checkpoint(&[u8::try_from(attempt).expect("small")]).expect("noted");
        }
        let held = soon(&store, &key(0));
        let noted = held.last_checkpoint().expect("it survived").clone();
        assert_eq!((held.attempt(), noted.attempt(), noted.bytes()), (4, 3, &[3][..]));
    });
}

#[test]
fn a_release_survives_a_crash_with_attempt_and_checkpoint_4_3() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"half").expect("noted");
    drop(held);
    until("released", || store.get(&key(0)) == Ok(Known::Absent));
    let store = crash(&home, store, (), plain());
    assert_free(&store, &key(0));
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), held.is_resumed()), (2, false));
    assert_eq!(held.last_checkpoint().expect("it survived").bytes(), b"half");
}

#[test]
fn a_retryable_outcome_releases_a_durable_reservation_on_disk_4_2_4_3() {
    let home = Home::directory();
    let store = home.open(plain());
    let released = started(&store, &key(0)).complete(Outcome::http(503, "busy")).expect("released");
    assert_eq!(released, oncekey::Completed::Released);
    let store = crash(&home, store, (), plain());
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 2);
}

#[test]
fn a_panic_leaves_a_durable_reservation_interrupted_4_3_5_11() {
    in_every_home(|home| {
        let store = home.open(plain().on_interrupted(OnInterrupted::Refuse));
        let held = started(&store, &key(0));
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = held;
            panic!("planned");
        }));
        assert!(panicked.is_err());
        assert_eq!(attempt_interrupted(&store, 0), Some(1));
        assert!(refused(store.begin(&key(0), &asked())).is_unknown_outcome());
        assert_eq!((store.stats().interrupted, store.stats().live_reservations), (1, 0));
        run(&store, &key(1), "another key is unharmed");
    });
}

#[test]
fn an_execute_that_panics_leaves_a_durable_operation_interrupted_4_3_5_11() {
    in_every_home(|home| {
        let store = home.open(plain().start_durably(true));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            store.execute(&key(0), &asked(), |held| -> Result<u8, oncekey::Never> {
                held.checkpoint(b"half").expect("noted");
                panic!("planned")
            })
        }));
        assert!(panicked.is_err());
        let operation = |held: &oncekey::Reservation| {
            assert!(held.is_resumed());
            Ok::<_, oncekey::Never>(held.last_checkpoint().expect("it survived").bytes().to_vec())
        };
        let executed = store.execute(&key(0), &asked(), operation).expect("resumed");
        assert_eq!((executed.result, executed.attempts), (Ok(b"half".to_vec()), 2));
    });
}

#[test]
fn interrupted_and_long_running_operations_are_listed_5_4() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let store = home.open(builder.clone());
    let held: Vec<_> = (0..600).map(|number| started(&store, &key(number))).collect();
    held[7].checkpoint(b"half").expect("noted");
    let store = crash(&home, store, held, builder);
    let mut seen: Vec<_> = store.interrupted().map(|one| one.expect("readable")).collect();
    assert_eq!((seen.len(), store.stats().interrupted), (600, 600));
    seen.sort_by_key(|one| one.key().token().to_owned());
    seen.dedup_by_key(|one| one.key().token().to_owned());
    assert_eq!(seen.len(), 600, "each once");
    let seventh = seen.iter().find(|one| *one.key() == key(7)).expect("listed");
    assert_eq!((seventh.attempt(), seventh.is_durable(), seventh.lease_left()), (1, true, None));
    assert_eq!(seventh.checkpoint().expect("noted").bytes(), b"half");
    assert_eq!(store.running(Duration::ZERO).count(), 0);

    let old = (fresh(store.begin(&key(7), &asked())), fresh(store.begin(&key(1000), &asked())));
    clock.advance(secs(10));
    let young = fresh(store.begin(&key(1001), &asked()));
    let mut running: Vec<_> = store.running(secs(10)).collect();
    running.sort_by_key(oncekey::Unfinished::attempt);
    assert_eq!(running.len(), 2, "the young one is not among them");
    assert_eq!((running[0].key(), running[0].is_durable(), running[0].attempt()), (&key(1000), false, 1));
    assert_eq!((running[1].key(), running[1].is_durable(), running[1].attempt()), (&key(7), true, 2));
    assert_eq!(running[1].lease_left(), Some(secs(50)));
    assert_eq!(store.running(Duration::ZERO).count(), 3);
    assert_eq!((store.interrupted().count(), store.stats().interrupted), (599, 599));
    drop((old, young));
}

#[test]
fn stats_and_guarantees_tell_the_truth_about_durable_reservations_5_4_11() {
    let told =
        |guarantees: Guarantees| (guarantees.reservations_survive_kill, guarantees.durable_reservations);
    in_every_home(|home| {
        let volatile = home.open(plain());
        assert_eq!(told(volatile.guarantees()), (false, !home.is_memory()));
        close(volatile);
        let durable = home.open(plain().start_durably(true).on_interrupted(OnInterrupted::Refuse));
        assert_eq!(told(durable.guarantees()), (!home.is_memory(), !home.is_memory()));
        assert_eq!(durable.guarantees().on_interrupted, OnInterrupted::Refuse);

        let held = fresh(durable.begin(&key(0), &asked()));
        held.checkpoint(b"half").expect("noted");
        let stats = durable.stats();
        assert_eq!((stats.durable_starts, stats.checkpoints, stats.live_reservations), (1, 1, 1));
        assert_eq!((stats.kept_records, stats.interrupted, stats.resumed), (1, 0, 0));
        assert_eq!(stats.kept_bytes, 9 + 7 + 4, "scope, token and checkpoint");
        let volatile = fresh(durable.request(&key(1), &asked()).start_volatile().begin());
        assert!(!volatile.is_durable());
    });
}

#[test]
fn on_a_full_disk_a_durable_reservation_is_not_given_out_5_4_5_10() {
    let name = "s5_durable::on_a_full_disk_a_durable_reservation_is_not_given_out_5_4_5_10";
    if let Some(path) = part() {
        let store = plain().open(path).expect("opens");
        let mut held = Vec::new();
        let error = loop {
            match store.request(&key(held.len()), &asked()).start_durably().begin() {
                Ok(Answer::Fresh(reservation)) => {
                    reservation.checkpoint(&[1; 3000]).expect("there is room for what the start set aside");
                    held.push(reservation);
                }
                Ok(other) => panic!("expected a reservation, got {other:?}"),
                Err(error) => break error,
            }
            assert!(held.len() < 100_000, "the disk never filled");
        };
        assert!(matches!(error.kind(), ErrorKind::Full { what: Limit::DiskRoom, .. }), "{error}");
        assert_eq!(store.get(&key(held.len())), Ok(Known::Absent), "it was not given out");
        let count = held.len();
        assert!(count > 50, "only {count} were admitted");
        for (number, reservation) in held.into_iter().enumerate() {
            match number % 2 {
                0 => drop(kept(reservation.complete(Outcome::new(vec![b'x'; 4096])))),
                _ => drop(reservation),
            }
        }
        until("all released", || store.stats().live_reservations == 0);
        close(store);
        tell(&format!("admitted {count}"));
        return;
    }
    let home = Home::directory();
    let told = start_limited(name, &home.path(), 4 << 10);
    assert!(told.status.success(), "{}", told.all);
    let count: usize = told.lines[0].trim_start_matches("admitted ").parse().expect("a number");
    let store = home.open(plain());
    assert_eq!(store.interrupted().count(), 0, "each release and completion found its room");
    for number in 0..count {
        let known = store.get(&key(number)).expect("known");
        assert_eq!(matches!(known, Known::Finished(_)), number % 2 == 0, "{number}: {known:?}");
    }
}

#[test]
fn a_start_whose_commit_fails_is_not_given_out_and_reopening_looks_5_4_5_5() {
    let name = "s5_durable::a_start_whose_commit_fails_is_not_given_out_and_reopening_looks_5_4_5_5";
    if let Some(path) = part() {
        let store = plain().open(path).expect("opens");
        run(&store, &key(9), "before");
        let live = started(&store, &key(8));
        let error =
            while_the_disk_fails(|| refused(store.request(&key(0), &asked()).start_durably().begin()));
        assert!(matches!(error.kind(), ErrorKind::Stopped { .. }), "{error}");
        assert!(live.checkpoint(b"half").is_err(), "the store has stopped");
        assert_replays(&store, &key(9), "before");
        store.reopen().expect("it opens again");
        let known = store.get(&key(0)).expect("known");
        assert!(matches!(known, Known::Absent | Known::Interrupted { attempt: 1, .. }), "{known:?}");
        live.checkpoint(b"half").expect("noted");
        kept(live.complete(Outcome::new("through it all")));
        let held = fresh(store.request(&key(0), &asked()).start_durably().begin());
        let expected = if known == Known::Absent { 1 } else { 2 };
        assert_eq!(held.attempt(), expected);
        kept(held.complete(Outcome::new("at last")));
        assert_eq!((store.stats().interrupted, store.stats().kept_records), (0, 3));
        tell("done");
        return;
    }
    let home = Home::directory();
    let told = start_limited(name, &home.path(), 64 << 10);
    assert!(told.status.success(), "{}", told.all);
    let store = home.open(plain());
    assert_replays(&store, &key(8), "through it all");
    assert_replays(&store, &key(0), "at last");
}

#[test]
fn a_start_that_was_ended_does_not_come_back_when_its_end_has_expired_and_gone_7_1() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let builder = || builder.clone().background_sweep(false).segment_age_max(secs(1));
    let store = home.open(builder());
    let parameters = asked();
    let request_key = key(0);
    let asked_for = store.request(&request_key, &parameters).start_durably().retention(secs(3)).begin();
    let Ok(Answer::Fresh(held)) = asked_for else { panic!("never seen") };
    run(&store, &key(1), "kept for long, beside the start");
    clock.advance(secs(2));
    store.sweep().expect("sealed");
    let _ = held.complete(Outcome::new("kept for a moment")).expect("completed");
    for _ in 0..3 {
        clock.advance(secs(2));
        store.sweep().expect("swept");
    }
    assert_eq!(store.get(&key(0)).expect("known"), Known::Absent);
    close(store);
    let store = home.open(builder());
    assert_eq!(store.get(&key(0)).expect("known"), Known::Absent);
    assert_replays(&store, &key(1), "kept for long, beside the start");
}

#[test]
fn a_start_that_runs_is_carried_into_every_new_segment_and_the_old_ones_go_5_4() {
    let home = Home::directory();
    let builder = || plain().background_sweep(false);
    let store = home.open(builder());
    let held = started(&store, &key(0));
    run(&store, &key(1), "beside the start");
    for name in ["one", "two"] {
        // A backup begins a new segment.
        store.backup(home.beside(name)).expect("backed up");
        let copy = builder().open(home.beside(name)).expect("opens");
        assert_eq!((attempt_interrupted(&copy, 0), copy.interrupted().count()), (Some(1), 1));
        assert!(store.forget(&key(1)).is_ok(), "nothing else is left");
        store.sweep().expect("swept");
    }
    let (segments, written) = (store.stats().segments, store.stats().bytes_written);
    store.sweep().expect("swept");
    assert_eq!(store.stats().bytes_written, written, "a start alone makes no new segment at each sweep");
    assert!(segments <= 2, "{segments} segments");
    let store = crash(&home, store, held, builder());
    assert_eq!(attempt_interrupted(&store, 0), Some(1));
    let held = fresh(store.begin(&key(0), &asked()));
    kept(held.complete(Outcome::new("resumed")));
    assert_eq!((store.interrupted().count(), store.stats().kept_records), (0, 1));
}
