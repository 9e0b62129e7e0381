//! Section 11: `execute`, its typed values and its renewed lease.
//!
//! Goal: a closure or a future runs once, and its value or final error comes back typed ever after. Method: operations
//! that count their runs, that take long, and whose values are too large or of another format.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncekey::{Class, Clock, ErrorKind, Executed, Known, Never, OperationError, Parameters, Timestamp};

use super::support::tasks::{block_on, until};
use super::support::{
    Home, Reservation, Store, asked, asked_otherwise, assert_free, fresh, in_every_home, in_flight, key,
    plain, replay, secs,
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
fn execute_runs_once_and_replays_values_and_final_errors_11() {
    in_every_home(|home| {
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
    in_every_home(|home| {
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
    in_every_home(|home| {
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
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
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

/// A clock that stands still and counts how often it is asked.
struct Counted(Arc<AtomicUsize>);

impl Clock for Counted {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        self.0.fetch_add(1, Ordering::Relaxed);
        Duration::ZERO
    }
}

#[test]
fn a_lease_of_a_moment_keeps_no_thread_busy_11() {
    let asked_for = Arc::new(AtomicUsize::new(0));
    let builder = plain().clock(Counted(Arc::clone(&asked_for))).lease(Duration::from_nanos(2));
    let home = Home::any();
    let store = home.open(builder);
    let operation = |_: &Reservation| {
        std::thread::sleep(Duration::from_millis(50));
        Ok::<u8, Never>(1)
    };
    assert_eq!(store.execute(&key(0), &asked(), operation).expect("executed").result, Ok(1));
    let times = asked_for.load(Ordering::Relaxed);
    assert!(times < 100, "while it stood still the clock was asked {times} times");
}

#[test]
fn a_value_over_the_limit_is_kept_without_its_body_and_never_runs_again_11() {
    in_every_home(|home| {
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
    in_every_home(|home| {
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
    let home = Home::any();
    let store = home.open(plain());
    let operation = |_: &Reservation| Ok::<_, Never>(Untagged::Number(1));
    let error = store.execute(&key(0), &asked(), operation).expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::NotReadableBack);
    assert_free(&store, &key(0));
}
