//! Section 11: manners of a library.
//!
//! Goal: each of the listed methods does what it says. Method: one test or two for each; the secret has a file of
//! its own.

use std::fs;
use std::time::Duration;

use oncekey::{
    Archive, Class, Completed, ErrorKind, Executed, Home as Place, Known, Never, OperationError, Outcome,
    Parameters, Reservation, Store, Token,
};

use crate::support::tasks::{block_on, until};
use crate::support::{
    Home, LONG, asked, asked_otherwise, assert_free, assert_replays, close, fresh, in_both_homes, in_flight,
    kept, key, plain, refused, replay, run, secs, with_clock,
};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Charge {
    Refused(u32),
    Unreachable,
}

impl OperationError for Charge {
    fn class(&self) -> Class {
        match self {
            Charge::Refused(_) => Class::Final,
            Charge::Unreachable => Class::Retryable,
        }
    }
}

#[test]
fn get_claims_nothing_and_compares_nothing_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        assert_free(&store, &key(0));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked_otherwise()));
        assert!(matches!(store.get(&key(0)), Ok(Known::InFlight { attempt: 1, .. })));
        kept(held.complete(Outcome::new("done")));
        match store.get(&key(0)).expect("known") {
            Known::Finished(replay) => assert_eq!(replay.outcome().body(), b"done"),
            other => panic!("expected a finished key, got {other:?}"),
        }
        assert_eq!(store.stats().fresh, 1);
    });
}

#[test]
fn execute_runs_once_and_replays_values_and_final_errors_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        let mut runs = 0;
        let mut execute = |number: usize, result: Result<String, Charge>| -> Executed<String, Charge> {
            let operation = |held: &Reservation| {
                runs += 1;
                assert_eq!(held.attempt(), 1);
                result
            };
            store.execute(&key(number), &asked(), operation).expect("executed")
        };
        let first = execute(0, Ok("receipt".into()));
        assert_eq!((first.result, first.replayed, first.attempts), (Ok("receipt".into()), false, 1));
        let again = execute(0, Ok("another".into()));
        assert_eq!((again.result, again.replayed, again.attempts), (Ok("receipt".into()), true, 1));
        let first = execute(1, Err(Charge::Refused(7)));
        assert_eq!((first.result, first.replayed), (Err(Charge::Refused(7)), false));
        let again = execute(1, Ok("another".into()));
        assert_eq!((again.result, again.replayed), (Err(Charge::Refused(7)), true));
        let first = execute(2, Err(Charge::Unreachable));
        assert_eq!((first.result, first.replayed), (Err(Charge::Unreachable), false));
        let again = execute(2, Ok("at last".into()));
        assert_eq!(
            (again.result, again.replayed),
            (Ok("at last".into()), false),
            "a retryable error is not kept"
        );
        assert_eq!(runs, 4);
    });
}

#[test]
fn execute_async_runs_once_and_a_dropped_one_releases_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        let (own, parameters) = (key(0), asked());
        let mut abandoned =
            Box::pin(store.execute_async::<u8, Never>(&own, &parameters, std::future::pending()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(abandoned.as_mut().poll(&mut context).is_pending());
        drop(in_flight(store.begin(&own, &parameters)));
        drop(abandoned);
        assert_free(&store, &own);
        for replayed in [false, true] {
            let executed = block_on(store.execute_async(&own, &parameters, async { Ok::<_, Never>(7_u8) }));
            let executed = executed.expect("executed");
            assert_eq!((executed.result, executed.replayed), (Ok(7), replayed));
        }
    });
}

#[test]
fn execute_waits_for_somebody_else_and_says_in_flight_after_it_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let operation = |_: &Reservation| Ok::<u8, Never>(1);
        let error = store.request(&key(0), &asked()).wait(Duration::from_millis(5)).execute(operation);
        assert!(error.expect_err("it runs").is_in_flight());
        drop(held);
        assert!(!store.execute(&key(0), &asked(), operation).expect("executed").replayed);
        assert!(refused_execution(&store, &asked_otherwise()).is_mismatch());
    });
}

fn refused_execution(store: &Store, parameters: &Parameters<'_>) -> oncekey::Error {
    store.execute(&key(0), parameters, |_| Ok::<u8, Never>(1)).expect_err("refused")
}

#[test]
fn inside_execute_the_lease_is_renewed_11() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.lease(secs(9)));
        let operation = |held: &Reservation| {
            for _ in 0..20 {
                clock.advance(secs(3));
                until("the lease is renewed", || match store.get(held.key()).expect("known") {
                    Known::InFlight { attempt: 1, lease_left: Some(left), .. } => left == secs(9),
                    other => panic!("expected in flight, got {other:?}"),
                });
                drop(in_flight(store.begin(held.key(), &asked())));
            }
            Ok::<u8, Never>(1)
        };
        assert_eq!(store.execute(&key(0), &asked(), operation).expect("executed").attempts, 1);
    });
}

#[test]
fn a_value_over_the_limit_is_kept_without_its_body_and_never_runs_again_11() {
    in_both_homes(|home| {
        let store = home.open(plain().outcome_bytes_max(100).declared_outcome_bytes(100));
        let large = |_: &Reservation| Ok::<_, Never>("x".repeat(1000));
        assert_eq!(
            store.execute(&key(0), &asked(), large).expect("executed").result.expect("a value").len(),
            1000
        );
        let error = store.execute(&key(0), &asked(), large).expect_err("there is no value to give");
        assert!(matches!(error.kind(), ErrorKind::WithoutBody { bytes } if *bytes > 1000), "{error}");
    });
}

#[test]
fn a_kept_value_of_another_format_is_given_as_bytes_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        let operation = |_: &Reservation| Ok::<_, Never>(77_u32);
        let ask = |format| store.request(&key(0), &asked()).format(format).execute(operation);
        assert_eq!(ask(3).expect("executed").result, Ok(77));
        assert_eq!(ask(3).expect("replayed").result, Ok(77));
        assert_eq!(replay(store.begin(&key(0), &asked())).format(), 3);
        match ask(4).expect_err("another format").kind() {
            ErrorKind::UnreadableOutcome { format: 3, bytes } => assert!(!bytes.is_empty()),
            other => panic!("expected an unreadable outcome, got {other}"),
        }
    });
}

#[test]
fn a_value_that_reads_back_otherwise_than_it_was_written_is_found_at_the_first_run_11() {
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    let store = plain().open_in_memory().expect("opens");
    let operation = |_: &Reservation| Ok::<_, Never>(Untagged::Number(1));
    let error = store.execute(&key(0), &asked(), operation).err().expect("refused");
    assert_eq!(error.kind(), &ErrorKind::NotReadableBack);
    assert_free(&store, &key(0));
}

#[test]
fn flush_syncs_and_lag_is_a_promise_11() {
    in_both_homes(|home| {
        let store = home.open(plain().relaxed(Duration::from_millis(50)));
        assert_eq!(store.guarantees().lag, Duration::from_millis(50));
        run(&store, &key(0), "done");
        store.flush().expect("flushed");
        store.flush().expect("nothing is left to flush");
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn a_backup_is_a_store_and_the_original_goes_on_11() {
    let home = Home::directory();
    let store = home.open(plain());
    for number in 0..20 {
        run(&store, &key(number), "before");
    }
    assert!(store.forget(&key(3)).expect("forgotten"));
    let held = fresh(store.begin(&key(20), &asked()));
    store.backup(home.beside("backup")).expect("backed up");
    kept(held.complete(Outcome::new("after")));
    run(&store, &key(21), "after");

    let copy = plain().open(home.beside("backup")).expect("opened beside the original");
    for number in (0..20).filter(|number| *number != 3) {
        assert_replays(&copy, &key(number), "before");
        assert_replays(&store, &key(number), "before");
    }
    for number in [3, 20, 21] {
        assert_free(&copy, &key(number));
    }
    assert_eq!(copy.stats().kept_records, 19);
    run(&copy, &key(21), "in the copy");
    assert_replays(&store, &key(21), "after");
    close(copy);
    assert_replays(&plain().open(home.beside("backup")).expect("opens"), &key(21), "in the copy");
    close(store);
    assert_replays(&home.open(plain()), &key(20), "after");
}

#[test]
fn a_backup_goes_into_an_empty_directory_alone_11() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "done");
    fs::create_dir(home.beside("taken")).expect("made");
    fs::write(home.beside("taken").join("notes"), "mine").expect("written");
    for taken in [home.beside("taken"), home.path()] {
        let error = store.backup(&taken).expect_err("not empty");
        assert!(matches!(error.kind(), ErrorKind::NotAStore(_)), "{error}");
    }
    fs::create_dir(home.beside("empty")).expect("made");
    store.backup(home.beside("empty")).expect("backed up");
    assert_replays(&plain().open(home.beside("empty")).expect("opens"), &key(0), "done");
    assert_eq!(fs::read(home.beside("taken").join("notes")).expect("read"), b"mine");
}

#[test]
fn sealed_records_are_read_beside_the_open_store_11() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "sealed");
    store.backup(home.beside("backup")).expect("a backup seals what there is");
    run(&store, &key(1), "not yet");
    let archive = Archive::open(home.path()).expect("read only");
    assert_eq!(archive.get(&key(0)).expect("read").expect("kept").outcome().body(), b"sealed");
    assert_eq!(archive.get(&key(1)).expect("read"), None);
    assert!(Archive::open(home.beside("nowhere")).is_err());
    assert!(!home.beside("nowhere").exists(), "reading makes nothing");
}

#[test]
fn close_waits_for_live_reservations_then_everybody_is_told_closed_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        run(&store, &key(0), "done");
        let held = fresh(store.begin(&key(1), &asked()));
        let other = store.clone();
        let closing = std::thread::spawn(move || other.close(LONG));
        until("new requests are refused", || store.begin(&key(2), &asked()).is_err());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!closing.is_finished(), "it waits");
        kept(held.complete(Outcome::new("in time")));
        closing.join().expect("no panic").expect("closed");
        let closed = |error: oncekey::Error| assert_eq!(error.kind(), &ErrorKind::Closed);
        closed(refused(store.begin(&key(0), &asked())));
        closed(refused(store.request(&key(0), &asked()).wait(secs(1)).begin()));
        closed(store.execute(&key(0), &asked(), |_| Ok::<u8, Never>(1)).expect_err("closed"));
        closed(store.get(&key(0)).expect_err("closed"));
        closed(store.forget(&key(0)).expect_err("closed"));
        closed(store.flush().expect_err("closed"));
        closed(store.sweep().expect_err("closed"));
        closed(store.reopen().expect_err("closed"));
        closed(store.rotate_secret(&oncekey::Secret::new([1; 32])).expect_err("closed"));
        closed(store.backup("nowhere").expect_err("closed"));
        if !home.is_memory() {
            let store = home.open(plain());
            assert_replays(&store, &key(1), "in time");
        }
    });
}

#[test]
fn close_gives_up_at_its_limit_and_a_late_completion_is_told_closed_11() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder);
        let held = fresh(store.begin(&key(0), &asked()));
        let other = store.clone();
        let closing = std::thread::spawn(move || other.close(secs(5)));
        until("new requests are refused", || store.get(&key(2)).is_err());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!closing.is_finished(), "the limit is on the store's clock");
        clock.advance(secs(5));
        closing.join().expect("no panic").expect("closed");
        let refusal = held.complete(Outcome::new("late")).expect_err("closed");
        assert_eq!(refusal.error.kind(), &ErrorKind::Closed);
        drop(refusal.reservation.expect("handed back"));
        assert_eq!(store.stats().live_reservations, 0);
    });
}

#[test]
fn those_who_wait_when_the_store_closes_are_told_so_11() {
    in_both_homes(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| refused(store.request(&key(0), &asked()).wait(LONG).begin()));
            until("it waits", || store.stats().in_flight > 0);
            store.clone().close(secs(0)).expect("closed");
            assert_eq!(waiter.join().expect("no panic").kind(), &ErrorKind::Closed);
        });
        drop(held);
    });
}

#[test]
fn a_store_reopened_in_place_knows_what_it_knew_and_live_reservations_stay_5_5() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_per_scope_max(Some(3)));
        run(&store, &key(0), "done");
        run(&store, &key(1), "gone");
        assert!(store.forget(&key(1)).expect("forgotten"));
        let held = fresh(store.begin(&key(2), &asked()));
        for _ in 0..3 {
            clock.advance(secs(1));
            store.reopen().expect("opened in place");
            assert_replays(&store, &key(0), "done");
            assert_free(&store, &key(1));
            assert_eq!(in_flight(store.begin(&key(2), &asked())).attempt(), 1);
            assert_eq!((store.stats().kept_records, store.stats().live_reservations), (1, 1));
        }
        let (completed, _) = kept(held.complete(Outcome::new("done")));
        assert_eq!(completed.as_millis(), 1_800_000_003_000);
        run(&store, &key(3), "done");
        assert!(refused(store.begin(&key(4), &asked())).is_full());
    });
}

#[test]
fn stats_count_what_happened_11() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.lease(secs(10)).live_reservations_max(1));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(3));
        drop(in_flight(store.begin(&key(0), &asked())));
        refused(store.begin(&key(0), &asked_otherwise()));
        refused(store.begin(&key(1), &asked()));
        assert_eq!(store.stats().oldest_reservation, secs(3));
        kept(held.complete(Outcome::new("12345")));
        drop(replay(store.begin(&key(0), &asked())));
        drop(replay(store.begin(&key(0), &asked())));
        let lost = fresh(store.begin(&key(1), &asked()));
        clock.advance(secs(10));
        let held = fresh(store.begin(&key(1), &asked()));
        lost.renew().expect_err("lost");
        drop(lost.complete(Outcome::new("late")).expect_err("lost"));
        assert_eq!(held.complete(Outcome::http(503, "")).expect("an end"), Completed::Released);
        let stats = store.stats();
        assert_eq!((stats.replays, stats.in_flight, stats.mismatches, stats.refused), (2, 1, 1, 1));
        assert_eq!((stats.completed, stats.released, stats.taken_over, stats.failed), (1, 1, 1, 0));
        assert_eq!((stats.kept_records, stats.kept_bytes), (1, 9 + 7 + 5));
        assert_eq!((stats.live_reservations, stats.segments), (0, 1));
        assert_eq!(stats.fresh, 3, "reservations given, the one taken over included");
        assert_eq!(stats.lost, 2, "holders that were told so: by renew and by complete");
        assert!(stats.index_bytes > 0 && stats.file_bytes > 0 && stats.bytes_written > 0);
    });
}

#[test]
fn guarantees_say_what_this_store_promises_11() {
    in_both_homes(|home| {
        let directory = !home.is_memory();
        let store = home.open(plain().retention(secs(77)));
        let given = store.guarantees();
        assert_eq!(given.home, if directory { Place::Directory } else { Place::Memory });
        assert_eq!((given.survives_kill, given.survives_power_cut), (directory, directory));
        assert_eq!((given.room_set_aside, given.private_files), (directory, directory));
        assert!(given.one_completion && !given.reservations_survive_kill && !given.callers_secret);
        assert_eq!((given.lag, given.retention), (Duration::ZERO, secs(77)));
    });
    let relaxed = plain().relaxed(secs(1)).open_in_memory().expect("opens").guarantees();
    assert_eq!((relaxed.lag, relaxed.survives_power_cut), (secs(1), false));
}

#[test]
fn a_random_token_is_sound_and_never_the_same_11() {
    let tokens: std::collections::HashSet<Token> = (0..1000).map(|_| Token::random()).collect();
    assert_eq!(tokens.len(), 1000);
    for token in tokens {
        assert!(oncekey::Key::new("s", &token).is_ok());
        assert_eq!(Token::parse(token.as_str()).expect("sound"), token);
    }
}
