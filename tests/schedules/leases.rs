//! Programs of dropping, leases and take-overs (contract 4.3, 4.4), and of what ends a key from outside (4.6).

use shuttle::thread;

use super::explorer::Program;
use super::world::{
    LONG, SECOND, World, advance, ask, check_settled, hold, key, other_key, outcome, parameters, replayed,
    spawned, world, world_of,
};
use crate::store::{Answer, Known};

pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "a_drop_frees_the_key_for_whoever_comes_or_waits_4_3", run: dropped },
    Program { name: "two_runs_may_overlap_and_two_completions_cannot_4_4", run: take_over },
    Program { name: "a_late_holder_is_lost_to_renewing_completing_and_releasing_4_4", run: late_holder },
    Program { name: "a_renewed_lease_is_not_taken_over_4_4", run: renewed },
    Program { name: "a_waiter_takes_over_when_the_lease_lapses_4_4", run: waiter_takes_over },
    Program { name: "an_expired_record_is_swept_or_run_anew_and_not_replayed_7_1", run: expired },
    Program { name: "a_key_is_forgotten_before_or_after_and_never_half_4_6", run: forgotten },
];

fn dropped() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let waiter = spawned(&store, |store| match ask(store, &key()) {
        Answer::Fresh(held) => drop(held),
        answer => panic!("nobody completes it: {answer:?}"),
    });
    let dropper = thread::spawn(move || drop(held));
    match store.begin(&key(), &parameters()).unwrap() {
        Answer::Fresh(_) | Answer::InFlight(_) => {}
        Answer::Replay(_) => panic!("nobody completes it"),
    }
    waiter.join().unwrap();
    dropper.join().unwrap();
    assert_eq!(store.get(&key()), Ok(Known::Absent));
    check_settled(&store);
}

fn take_over() {
    let World { store, clock, .. } = world_of(|own| own.lease(SECOND));
    let held = hold(&store, &key());
    let first = thread::spawn(move || held.complete(outcome("first")).is_ok());
    let second = || {
        spawned(&store, |store| match store.begin(&key(), &parameters()).unwrap() {
            Answer::Fresh(held) => {
                assert!(held.attempt() >= 2);
                held.complete(outcome("second")).is_ok()
            }
            _ => false,
        })
    };
    let others = [second(), second()];
    advance(&clock, SECOND);
    let first = first.join().unwrap();
    let others = others.map(|own| own.join().unwrap());
    match store.begin(&key(), &parameters()).unwrap() {
        Answer::Replay(replay) => {
            let won = if first { &b"first"[..] } else { b"second" };
            assert_eq!(replay.outcome().body(), won);
            assert_eq!(u8::from(first) + others.map(u8::from).iter().sum::<u8>(), 1);
        }
        answer => panic!("one of them completed it: {answer:?}"),
    }
    check_settled(&store);
}

fn late_holder() {
    let World { store, clock, .. } = world_of(|own| own.lease(SECOND));
    let held = hold(&store, &key());
    advance(&clock, SECOND);
    let taker = spawned(&store, |store| match store.begin(&key(), &parameters()).unwrap() {
        Answer::Fresh(held) => {
            let over = held.attempt() == 2;
            assert_eq!(held.renew(), Ok(()));
            held.complete(outcome("taken over")).unwrap();
            (true, over)
        }
        Answer::InFlight(_) => (false, false),
        Answer::Replay(_) => panic!("the late one released it"),
    });
    let renewed = held.renew();
    let released = held.release();
    let (given, over) = taker.join().unwrap();
    // Renewed first, it was not taken over; lost once, it stays lost; released, it was given anew.
    match (&renewed, &released) {
        (Ok(()), Ok(())) => assert!(!over),
        (Err(lost), Err(too)) => assert!(lost.is_reservation_lost() && too.is_reservation_lost() && over),
        other => panic!("lost for one of two calls: {other:?}"),
    }
    assert_eq!(matches!(store.get(&key()), Ok(Known::Finished(_))), given);
    check_settled(&store);
}

fn renewed() {
    let World { store, clock, .. } = world_of(|own| own.lease(2 * SECOND));
    let held = hold(&store, &key());
    let time = thread::spawn(move || {
        advance(&clock, SECOND);
        clock
    });
    let waiter = spawned(&store, |store| replayed(ask(store, &key())));
    let clock = time.join().unwrap();
    held.renew().unwrap();
    advance(&clock, SECOND);
    held.complete(outcome("renewed")).unwrap();
    assert_eq!(waiter.join().unwrap(), "renewed");
    check_settled(&store);
}

fn waiter_takes_over() {
    let World { store, clock, .. } = world_of(|own| own.lease(SECOND));
    let held = hold(&store, &key());
    let waiter = || {
        spawned(&store, |store| {
            match store.request(&key(), &parameters()).lease(LONG).wait(LONG).begin().unwrap() {
                Answer::Fresh(held) => {
                    assert_eq!(held.attempt(), 2);
                    held.complete(outcome("over")).unwrap();
                    true
                }
                answer => {
                    assert_eq!(replayed(answer), "over");
                    false
                }
            }
        })
    };
    let waiters = [waiter(), waiter()];
    advance(&clock, SECOND);
    let runs: u8 = waiters.map(|own| u8::from(own.join().unwrap())).iter().sum();
    assert_eq!(runs, 1);
    assert!(held.release().unwrap_err().is_reservation_lost());
    check_settled(&store);
}

fn expired() {
    let World { store, clock, .. } = world_of(|own| own.retention(SECOND).recent_bytes_max(1 << 20));
    hold(&store, &key()).complete(outcome("old")).unwrap();
    hold(&store, &other_key()).complete(outcome("other")).unwrap();
    let time = thread::spawn(move || advance(&clock, SECOND));
    let sweeper = spawned(&store, |store| store.sweep().map(|_| ()).unwrap());
    let caller = spawned(&store, |store| match store.begin(&key(), &parameters()).unwrap() {
        Answer::Fresh(held) => held.complete(outcome("new")).map(drop).unwrap(),
        answer => assert_eq!(replayed(answer), "old"),
    });
    time.join().unwrap();
    match store.begin(&other_key(), &parameters()).unwrap() {
        Answer::Fresh(held) => drop(held),
        answer => panic!("its time is over: {answer:?}"),
    }
    caller.join().unwrap();
    sweeper.join().unwrap();
    check_settled(&store);
}

fn forgotten() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let completer = thread::spawn(move || held.complete(outcome("done")).map(drop).unwrap());
    let forgetter = spawned(&store, |store| store.forget(&key()));
    let waiter = spawned(&store, |store| match ask(store, &key()) {
        Answer::Fresh(held) => {
            drop(held);
            true
        }
        answer => {
            assert_eq!(replayed(answer), "done");
            false
        }
    });
    completer.join().unwrap();
    let (forgotten, ran) = (forgetter.join().unwrap(), waiter.join().unwrap());
    match forgotten {
        Ok(kept) => assert!(kept, "it was in flight until it was kept"),
        Err(ref error) => assert!(error.is_in_flight() && !ran),
    }
    assert_eq!(matches!(store.get(&key()), Ok(Known::Finished(_))), forgotten.is_err());
    check_settled(&store);
}
