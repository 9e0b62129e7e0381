//! Section 3: one answer for each state of a key, in the order of precedence.
//!
//! Goal: every row of the table, with equal and with other parameters. Method: bring a key into the state, ask,
//! and look at all that the answer tells.

use oncekey::{ErrorKind, Key, Known, Outcome, Parameters, Replay, Timestamp};

use super::support::{
    Reservation, Store, asked, asked_otherwise, assert_free, assert_replays, close, embedded, fresh,
    in_every_home, in_flight, kept, key, let_go, millis, plain, refused, replay, run, secs,
};

fn complete(reservation: Reservation, body: &str) -> Timestamp {
    kept(reservation.complete(Outcome::new(body))).0
}

#[test]
fn broken_limits_come_before_every_state_of_the_key_3_1() {
    in_every_home(|home| {
        let store = home.open(plain().parameter_count_max(2).parameter_bytes_max(40).token_bytes_max(20));
        let small = Parameters::pairs([("a", "1")]);
        let broken: [(Parameters<'_>, &str); 3] = [
            (Parameters::pairs([("a", "1"), ("b", "2"), ("c", "3")]), "count"),
            (Parameters::bytes(&[b'x'; 41]), "bytes"),
            (Parameters::json(b"{"), "form"),
        ];
        let each = |store: &Store, state: &str| {
            for (parameters, what) in &broken {
                let error = refused(store.begin(&key(0), parameters));
                assert!(error.is_bad_input(), "{state}, {what}: {error}");
            }
        };
        each(&store, "never seen");
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &small));
        each(&store, "running");
        complete(held, "done");
        each(&store, "finished");
        replay(store.begin(&key(0), &small));
        let long = Key::new("account-1", "x".repeat(21)).expect("sound by the default");
        assert!(refused(store.begin(&long, &small)).is_bad_input());
    });
}

#[test]
fn a_running_key_is_in_flight_since_when_which_attempt_and_how_long_3_2() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(10)));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(3));
        let other = in_flight(store.begin(&key(0), &asked()));
        assert_eq!(other.since(), Timestamp::from_millis(1_800_000_000_000));
        assert_eq!((other.since(), other.attempt()), (held.since(), held.attempt()));
        assert_eq!((other.attempt(), other.lease_left()), (1, Some(secs(7))));
        assert_eq!(
            store.get(&key(0)).expect("known"),
            Known::InFlight { since: held.since(), attempt: 1, lease_left: Some(secs(7)) }
        );
    });
}

#[test]
fn a_running_key_with_other_parameters_is_a_mismatch_3_2() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let error = refused(store.begin(&key(0), &asked_otherwise()));
        assert!(error.is_mismatch() && !error.is_retryable());
        let waiting = store.request(&key(0), &asked_otherwise()).wait(super::support::LONG).begin();
        assert!(refused(waiting).is_mismatch(), "it never waits for an answer that it can't get");
        complete(held, "done");
    });
}

#[test]
fn a_finished_key_is_replayed_byte_for_byte_3_3() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder);
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let outcome = Outcome::http(201, body.clone())
            .with_metadata("Content-Type", "application/octet-stream")
            .with_metadata("Set-Cookie", "a")
            .with_metadata("Set-Cookie", "b")
            .with_metadata("", "\0\u{1F600}");
        let held = fresh(store.begin(&key(0), &asked()));
        clock.advance(millis(7));
        let (completed, expires) = kept(held.complete(outcome.clone()));
        assert_eq!(completed, Timestamp::from_millis(1_800_000_000_007));
        assert_eq!(expires, completed.saturating_add(secs(24 * 3600)));
        clock.advance(secs(60));
        let check = |replay: Replay| {
            assert_eq!(replay.outcome(), &outcome);
            assert_eq!((replay.outcome().status(), replay.outcome().body()), (Some(201), &body[..]));
            assert_eq!((replay.completed(), replay.expires(), replay.attempts()), (completed, expires, 1));
            assert_eq!((replay.omitted(), replay.format()), (None, 0));
        };
        check(replay(store.begin(&key(0), &asked())));
        check(replay(store.request(&key(0), &asked()).wait(secs(1)).begin()));
        match store.get(&key(0)).expect("known") {
            Known::Finished(replay) => check(replay),
            other => panic!("expected a finished key, got {other:?}"),
        }
    });
}

#[test]
fn an_outcome_without_status_or_bytes_is_replayed_as_it_was_3_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        fresh(store.begin(&key(0), &asked())).complete(Outcome::new("")).expect("kept");
        let replay = replay(store.begin(&key(0), &asked()));
        assert_eq!((replay.outcome().status(), replay.outcome().body()), (None, &b""[..]));
        assert_eq!(replay.into_outcome(), Outcome::new(""));
    });
}

#[test]
fn a_finished_key_with_other_parameters_is_a_mismatch_3_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        run(&store, &key(0), "done");
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn a_replay_counts_the_attempts_that_it_took_3_3() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.lease(secs(1)));
        let mut lost = vec![fresh(store.begin(&key(0), &asked()))];
        for attempt in 2..=4 {
            clock.advance(secs(1));
            lost.push(fresh(store.begin(&key(0), &asked())));
            assert_eq!(lost.last().expect("held").attempt(), attempt);
        }
        complete(lost.pop().expect("the last holder"), "done");
        assert_eq!(replay(store.begin(&key(0), &asked())).attempts(), 4);
    });
}

#[test]
fn a_key_never_seen_expired_or_released_gives_a_reservation_to_any_parameters_3_5() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked()));
        assert_eq!((held.attempt(), held.key()), (1, &key(0)));
        let_go(&store, held);
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked_otherwise()));
        assert_eq!(held.attempt(), 1, "a released key is as one never seen");
        complete(held, "otherwise");
        clock.advance(secs(10));
        assert_free(&store, &key(0));
        complete(fresh(store.begin(&key(0), &asked())), "anew");
        assert_replays(&store, &key(0), "anew");
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
    });
}

#[test]
fn an_expired_key_that_runs_anew_and_is_released_stays_expired_3_5() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(10)));
        run(&store, &key(0), "old");
        clock.advance(secs(10));
        let_go(&store, fresh(store.begin(&key(0), &asked())));
        assert_free(&store, &key(0));
        run(&store, &key(0), "new");
        assert_replays(&store, &key(0), "new");
        embedded(&store, |store| {
            assert_eq!(store.stats().kept_records, 1, "the expired record was replaced");
        });
    });
}

#[test]
fn expired_and_overloaded_are_asked_of_new_keys_alone_3_5() {
    in_every_home(|home| {
        let (builder, _clock) = home.with_clock();
        let store = home.open(builder.live_reservations_max(1));
        run(&store, &key(0), "done");
        let held = fresh(store.begin(&key(1), &asked()));
        let ancient = Timestamp::from_millis(1);
        assert!(refused(store.begin(&key(2), &asked())).is_overloaded());
        assert!(refused(store.request(&key(2), &asked()).first_sent(ancient).begin()).is_expired());
        drop(in_flight(store.request(&key(1), &asked()).first_sent(ancient).begin()));
        assert!(refused(store.begin(&key(1), &asked_otherwise())).is_mismatch());
        complete(held, "done");
        assert_replays(&store, &key(0), "done");
        replay(store.request(&key(1), &asked()).first_sent(ancient).begin());
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
    });
}

#[test]
fn a_taken_over_key_is_not_asked_for_its_age_or_the_load_3_5() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.live_reservations_max(1).lease(secs(1)));
        let lost = fresh(store.begin(&key(0), &asked()));
        clock.advance(secs(1));
        let held = fresh(store.request(&key(0), &asked()).first_sent(Timestamp::from_millis(1)).begin());
        assert_eq!(held.attempt(), 2);
        drop(lost);
        complete(held, "done");
    });
}

#[test]
fn a_request_first_sent_before_the_retention_is_expired_3_8() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(100)));
        let sent = Timestamp::from_millis(1_800_000_000_000);
        clock.advance(millis(99999));
        let_go(&store, fresh(store.request(&key(0), &asked()).first_sent(sent).begin()));
        clock.advance(millis(2));
        let error = refused(store.request(&key(0), &asked()).first_sent(sent).begin());
        let age = secs(100) + millis(1);
        assert_eq!(error.kind(), &ErrorKind::Expired { age, retention: secs(100) });
        assert!(error.is_expired());
        assert_free(&store, &key(0));
        let own = store.request(&key(0), &asked()).first_sent(sent).retention(secs(200)).begin();
        let_go(&store, fresh(own));
        let future = Timestamp::from_millis(u64::MAX);
        drop(fresh(store.request(&key(0), &asked()).first_sent(future).begin()));
    });
}

#[test]
fn a_record_made_when_the_request_was_sent_and_expired_is_not_run_again_3_8() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.retention(secs(100)));
        let sent = Timestamp::from_millis(1_800_000_000_000);
        run(&store, &key(0), "done");
        clock.advance(secs(100));
        assert_free(&store, &key(0));
        let error = refused(store.request(&key(0), &asked()).first_sent(sent).begin());
        assert!(error.is_expired(), "the retention can't remember an operation of exactly its age: {error}");
    });
}

#[test]
fn answers_stay_the_same_over_a_reopening_3_3() {
    let home = super::support::Home::lasting();
    let store = home.open(plain());
    let (completed, expires) =
        kept(fresh(store.begin(&key(0), &asked())).complete(Outcome::http(404, "no such group")));
    close(store);
    let store = home.open(plain());
    let again = replay(store.begin(&key(0), &asked()));
    assert_eq!((again.completed(), again.expires(), again.attempts()), (completed, expires, 1));
    assert_eq!(again.outcome(), &Outcome::http(404, "no such group"));
    assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
}
