//! Section 5, a disk that is full (5.1, 5.5, 5.10).
//!
//! Goal: a full disk refuses an operation before it runs, breaks no promise given before, and loses nothing that
//! was acknowledged. Method: a child under `ulimit -f`, whose writes beyond the limit fail, tells what it saw; its
//! parent opens the store without the limit.

use std::path::Path;

use oncekey::{Answer, Builder, ErrorKind, Known, Limit, Outcome, Reservation, Store};

use crate::support::child::{part, start_limited, tell, while_the_disk_fails};
use crate::support::tasks::Task;
use crate::support::{
    Home, LONG, asked, asked_otherwise, assert_free, assert_replays, close, fresh, in_flight, kept, key,
    plain, refused, replay, run,
};

const KIBIBYTES: u64 = 4 << 10;
const DECLARED: usize = 4096;

fn settings() -> Builder {
    plain().outcome_bytes_max(64 << 20)
}

fn body(number: usize) -> Vec<u8> {
    number.to_string().into_bytes().into_iter().cycle().take(DECLARED).collect()
}

/// Asks for new keys until one is refused as full; gives those that were admitted.
fn admit_all(store: &Store) -> Vec<Reservation> {
    let mut held = Vec::new();
    loop {
        match store.begin(&key(held.len()), &asked()) {
            Ok(Answer::Fresh(reservation)) => held.push(reservation),
            Ok(other) => panic!("expected a reservation, got {other:?}"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Full { what: Limit::DiskRoom, .. }), "{error}");
                assert!(error.is_full() && error.is_retryable());
                return held;
            }
        }
    }
}

/// How many the child acknowledged.
fn acknowledged(name: &str, path: &Path) -> usize {
    let told = start_limited(name, path, KIBIBYTES);
    assert!(told.status.success(), "{}", told.all);
    told.lines.iter().filter(|line| line.starts_with("acknowledged")).count()
}

#[test]
fn on_a_full_disk_new_keys_are_refused_and_what_was_admitted_completes_5_10() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        let held = admit_all(&store);
        let admitted = held.len();
        assert!(admitted > 50, "only {admitted} were admitted");
        for (number, reservation) in held.into_iter().enumerate() {
            kept(reservation.complete(Outcome::new(body(number))));
            tell(&format!("acknowledged {number}"));
        }
        for number in 0..admitted {
            assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
        }
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        close(store);
        return;
    }
    let home = Home::directory();
    let name = "s5_full_disk::on_a_full_disk_new_keys_are_refused_and_what_was_admitted_completes_5_10";
    let kept = acknowledged(name, &home.path());
    assert!(kept > 50);
    let store = home.open(settings());
    for number in 0..kept {
        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
    }
    assert_eq!(store.stats().kept_records, kept as u64);
    run(&store, &key(1_000_000), "there is room again");
}

#[test]
fn a_store_filled_one_by_one_loses_nothing_and_never_stops_5_10() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        let mut number = 0;
        let error = loop {
            match store.begin(&key(number), &asked()) {
                Ok(Answer::Fresh(held)) => {
                    kept(held.complete(Outcome::new(body(number))));
                    tell(&format!("acknowledged {number}"));
                    number += 1;
                }
                Ok(other) => panic!("expected a reservation, got {other:?}"),
                Err(error) => break error,
            }
        };
        assert!(error.is_full(), "{error}");
        for other in 0..number {
            assert_eq!(replay(store.begin(&key(other), &asked())).outcome().body(), body(other));
        }
        // Forgetting and sweeping on a full disk either works or says so; nothing is lost by it.
        if let Err(error) = store.forget(&key(1_000_000)).map(drop).and_then(|()| store.sweep().map(drop)) {
            tell(&format!("refused: {error}"));
        }
        assert_eq!(replay(store.begin(&key(0), &asked())).outcome().body(), body(0));
        std::process::abort();
    }
    let home = Home::directory();
    let name = "s5_full_disk::a_store_filled_one_by_one_loses_nothing_and_never_stops_5_10";
    let told = start_limited(name, &home.path(), KIBIBYTES);
    let kept = told.lines.iter().filter(|line| line.starts_with("acknowledged")).count();
    assert!(!told.status.success() && kept > 50 && !told.all.contains("panicked"), "{}", told.all);
    let store = home.open(settings());
    for number in 0..kept {
        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
    }
}

#[test]
fn room_that_a_released_reservation_held_is_given_to_others_5_10() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        let mut held = admit_all(&store);
        let admitted = held.len();
        held.truncate(admitted / 2);
        let another = admitted - held.len();
        for number in 0..another {
            held.push(fresh(store.begin(&key(10_000 + number), &asked())));
        }
        assert!(refused(store.begin(&key(20_000), &asked())).is_full());
        drop(held.pop());
        let large = store.request(&key(20_000), &asked()).declare(8 << 20).begin();
        assert!(refused(large).is_full(), "more was declared than there is room");
        tell(&format!("acknowledged {admitted}"));
        return;
    }
    let home = Home::directory();
    let name = "s5_full_disk::room_that_a_released_reservation_held_is_given_to_others_5_10";
    assert_eq!(acknowledged(name, &home.path()), 1);
}

#[test]
fn an_outcome_larger_than_declared_is_refused_on_a_full_disk_and_the_reservation_comes_back_5_10_4_5() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        let mut held = admit_all(&store);
        let refusal = held.pop().expect("some were admitted").complete(Outcome::new(vec![b'x'; 8 << 20]));
        let refusal = refusal.expect_err("there is no room for it");
        assert!(matches!(refusal.error.kind(), ErrorKind::Full { what: Limit::DiskRoom, .. }), "{refusal}");
        let last = refusal.reservation.expect("it comes back");
        let number = held.len();
        drop(in_flight(store.begin(&key(number), &asked())));
        held.push(last);
        for (number, reservation) in held.into_iter().enumerate() {
            kept(reservation.complete(Outcome::new(body(number))));
            tell(&format!("acknowledged {number}"));
        }
        assert_eq!((store.stats().failed, store.stats().completed), (0, number as u64 + 1));
        close(store);
        return;
    }
    let home = Home::directory();
    let name = "s5_full_disk::an_outcome_larger_than_declared_is_refused_on_a_full_disk_and_the_reservation_comes_back_5_10_4_5";
    let kept = acknowledged(name, &home.path());
    let store = home.open(settings());
    for number in 0..kept {
        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
    }
}

/// In the child: a completion whose commit fails.
fn fail_a_commit(store: &Store) {
    let held = fresh(store.begin(&key(500), &asked()));
    let refusal =
        while_the_disk_fails(|| held.complete(Outcome::new(body(500))).expect_err("it can't be written"));
    assert_eq!(refusal.error.kind(), &ErrorKind::UnknownOutcome);
    assert!(refusal.reservation.is_none() && refusal.error.is_unknown_outcome());
}

#[test]
fn a_failed_commit_is_unknown_the_store_stops_and_replays_go_on_5_1_5_5() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        for number in 0..20 {
            kept(fresh(store.begin(&key(number), &asked())).complete(Outcome::new(body(number))));
            tell(&format!("acknowledged {number}"));
        }
        let held = fresh(store.begin(&key(400), &asked()));
        fail_a_commit(&store);
        let new = refused(store.begin(&key(401), &asked()));
        assert!(matches!(new.kind(), ErrorKind::Stopped { .. }), "3.5: {new}");
        let stopped = held.complete(Outcome::new("admitted")).expect_err("completions are refused");
        assert!(matches!(stopped.error.kind(), ErrorKind::Stopped { .. }), "{}", stopped.error);
        let held = stopped.reservation.expect("it is handed back");
        drop(in_flight(store.begin(&key(400), &asked())));

        assert!(refused(store.begin(&key(500), &asked())).is_unknown_outcome(), "3.9");
        assert!(refused(store.begin(&key(500), &asked_otherwise())).is_mismatch(), "3.9");
        assert_eq!(store.get(&key(500)).expect("known"), Known::Unknown);
        assert!(store.forget(&key(500)).expect_err("unknown").is_unknown_outcome());
        assert!(matches!(store.forget(&key(0)).expect_err("stopped").kind(), ErrorKind::Stopped { .. }));
        assert!(matches!(store.flush().expect_err("stopped").kind(), ErrorKind::Stopped { .. }));
        for number in 0..20 {
            assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number), "5.5");
        }
        assert_eq!((store.stats().failed, store.stats().completed), (1, 20));

        store.reopen().expect("opened in place");
        for number in 0..20 {
            assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
        }
        assert_free(&store, &key(500));
        kept(held.complete(Outcome::new(body(20))));
        tell("acknowledged 20");
        match store.begin(&key(500), &asked()) {
            Ok(Answer::Fresh(held)) => drop(kept(held.complete(Outcome::new("smaller")))),
            Ok(other) => panic!("expected a reservation, got {other:?}"),
            // What the failed commit has filled may not be known to be free before the next opening.
            Err(error) => assert!(error.is_full(), "{error}"),
        }
        close(store);
        return;
    }
    let home = Home::directory();
    let name = "s5_full_disk::a_failed_commit_is_unknown_the_store_stops_and_replays_go_on_5_1_5_5";
    assert_eq!(acknowledged(name, &home.path()), 21);
    let store = home.open(settings());
    for number in 0..20 {
        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), body(number));
    }
    assert_eq!(replay(store.begin(&key(400), &asked())).outcome().body(), body(20));
    if store.get(&key(500)).expect("known") == Known::Absent {
        run(&store, &key(500), "smaller");
    }
    assert_replays(&store, &key(500), "smaller");
}

#[test]
fn waiters_of_a_failed_commit_are_told_unknown_outcome_5_5() {
    if let Some(path) = part() {
        let store = settings().open(path).expect("opens");
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut waiting: Vec<_> =
            (0..3).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        while_the_disk_fails(|| held.complete(Outcome::new("lost")).expect_err("it can't be written"));
        for task in waiting {
            assert!(refused(task.finish()).is_unknown_outcome());
        }
        tell("acknowledged");
        std::process::exit(0);
    }
    let home = Home::directory();
    assert_eq!(
        acknowledged("s5_full_disk::waiters_of_a_failed_commit_are_told_unknown_outcome_5_5", &home.path()),
        1
    );
    let store = home.open(settings());
    assert_free(&store, &key(0));
}
