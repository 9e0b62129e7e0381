//! The store over an engine in memory: several processes' stores on one engine, and an engine whose answers are lost.

mod moving;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Answer, Store};
use crate::digest::{DigestRules, Parameters};
use crate::engine::{Claim, Completion, Fault, Memory, Standing};
use crate::error::ErrorKind;
use crate::options::{Builder, OnInterrupted};
use crate::outcome::Outcome;
use crate::store::Known;
use crate::sync::shielded;
use crate::time::{Clock, ManualClock, Timestamp};
use crate::token::Key;

fn builder(clock: &ManualClock) -> Builder {
    crate::store::Store::builder()
        .clock(clock.clone())
        .patience(Duration::from_millis(100))
        .background_sweep(false)
}

/// Two processes on one engine.
fn two() -> (ManualClock, Memory, [Store; 2]) {
    let clock = ManualClock::default();
    let engine = Memory::on(clock.clone());
    let stores = [(); 2].map(|()| builder(&clock).connect(engine.clone()).unwrap());
    (clock, engine, stores)
}

fn key(store: &Store, token: &str) -> Key {
    store.key("scope", token).unwrap()
}

fn fresh(answer: crate::error::Result<Answer>) -> super::Reservation {
    match answer {
        Ok(Answer::Fresh(reservation)) => reservation,
        other => panic!("{other:?}"),
    }
}

fn body(answer: crate::error::Result<Answer>) -> Vec<u8> {
    match answer {
        Ok(Answer::Replay(replay)) => replay.outcome().body().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_one_process_holds_the_other_sees_and_gets_3_2_3_3() {
    let (_, _, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::query("a=1"));
    let held = fresh(one.begin(&key, &parameters));
    assert!(matches!(other.begin(&key, &parameters), Ok(Answer::InFlight(_))));
    assert!(other.begin(&key, &Parameters::query("a=2")).unwrap_err().is_mismatch());
    held.complete(Outcome::new("done")).unwrap();
    for store in [&one, &other] {
        assert_eq!(body(store.begin(&key, &parameters)), b"done");
        assert!(store.begin(&key, &Parameters::query("a=2")).unwrap_err().is_mismatch());
    }
}

#[test]
fn a_lapsed_lease_is_taken_over_by_another_process_and_the_late_completion_is_lost_4_4() {
    let (clock, _, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let slow = fresh(one.begin(&key, &parameters));
    clock.advance(Duration::from_secs(60));
    let next = fresh(other.begin(&key, &parameters));
    assert_eq!(next.attempt(), 2);
    assert!(slow.renew().unwrap_err().is_reservation_lost());
    let refused = slow.complete(Outcome::new("late")).unwrap_err();
    assert!(refused.error.is_reservation_lost() && refused.reservation.is_none());
    next.complete(Outcome::new("in time")).unwrap();
    assert_eq!(body(one.begin(&key, &parameters)), b"in time");
}

#[test]
fn a_process_of_the_same_node_ends_what_the_one_before_it_held_5_3_5_4() {
    let clock = ManualClock::default();
    let engine = Memory::on(clock.clone());
    let connect = || builder(&clock).node("a").connect(engine.clone()).unwrap();
    let before = connect();
    let (volatile, durable) = (key(&before, "volatile"), key(&before, "durable"));
    let parameters = Parameters::none();
    let held = fresh(before.begin(&volatile, &parameters));
    let started = fresh(before.request(&durable, &parameters).start_durably().begin());
    started.checkpoint(b"half").unwrap();

    let after = connect();
    assert_eq!(fresh(after.begin(&volatile, &parameters)).attempt(), 1);
    let refusing = after.request(&durable, &parameters).on_interrupted(OnInterrupted::Refuse);
    assert!(refusing.begin().unwrap_err().is_unknown_outcome());
    assert_eq!(after.interrupted().count(), 1);
    let resumed = fresh(after.begin(&durable, &parameters));
    assert_eq!((resumed.attempt(), resumed.is_resumed()), (2, true));
    assert_eq!(resumed.last_checkpoint().unwrap().bytes(), b"half");
    assert!(held.complete(Outcome::new("late")).unwrap_err().error.is_reservation_lost());
    assert!(started.complete(Outcome::new("late")).unwrap_err().error.is_reservation_lost());
}

/// The engine does it and is not heard: found out by asking, without a word to the caller.
#[test]
fn a_completion_whose_answer_was_lost_once_is_found_out_by_asking_5_1() {
    let (_, engine, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let held = fresh(one.begin(&key, &parameters));
    engine.faults.lock().push_back((Fault::Unheard(std::io::ErrorKind::BrokenPipe), true));
    held.complete(Outcome::new("done")).unwrap();
    assert_eq!(body(other.begin(&key, &parameters)), b"done");
}

#[test]
fn a_completion_that_is_not_heard_in_time_is_unknown_until_it_is_3_9_5_1() {
    for done in [false, true] {
        let (_, engine, [one, _]) = two();
        let (key, parameters) = (key(&one, "t"), Parameters::none());
        let held = fresh(one.begin(&key, &parameters));
        let lost = || (Fault::Unheard(std::io::ErrorKind::BrokenPipe), done);
        engine.faults.lock().extend(std::iter::repeat_with(lost).take(10_000));
        let refused = held.complete(Outcome::new("done")).unwrap_err();
        assert_eq!(refused.error.kind(), &ErrorKind::AnswerLost);
        assert!(refused.error.is_unknown_outcome());
        assert!(one.begin(&key, &parameters).unwrap_err().is_unknown_outcome());
        assert!(one.begin(&key, &Parameters::query("a=2")).unwrap_err().is_mismatch());
        assert_eq!(one.get(&key).unwrap(), Known::Unknown);
        assert!(one.forget(&key).unwrap_err().is_unknown_outcome());
        engine.faults.lock().clear();
        let answer = std::iter::repeat_with(|| one.begin(&key, &parameters)).find(Result::is_ok);
        assert_eq!(body(answer.unwrap()), b"done", "whether the engine had done it: {done}");
    }
}

/// What another writes into an engine, or a damaged one gives back.
#[test]
fn damaged_bytes_are_never_an_answer_and_harm_no_other_key_5_9() {
    let (_, _, [one, _]) = two();
    let shared = one.shared();
    let parameters = Parameters::none();
    let sound = key(&one, "sound");
    fresh(one.begin(&sound, &parameters)).complete(Outcome::new("sound")).unwrap();
    let other =
        Arc::<[u8]>::from(&b"something else, as long as a record may be, and of no meaning at all"[..]);
    let elsewhere = crate::sync::block_on(shared.sight(&sound)).unwrap().record.unwrap();
    for (number, bytes) in [Arc::from(&b""[..]), other, elsewhere].into_iter().enumerate() {
        for (kept, standing) in
            [(true, Standing::Volatile), (false, Standing::Volatile), (false, Standing::Durable)]
        {
            let key = key(&one, &format!("{number} {kept} {standing:?}"));
            let (fence, lease) = (shared.next_fence().unwrap(), Duration::from_secs(60));
            let started = Arc::clone(&bytes);
            let claim = Claim { key: key.clone(), fence, over: None, lease, standing, started };
            crate::sync::block_on(shared.lanes.claim(claim)).unwrap();
            if kept {
                let (record, expires) = (Arc::clone(&bytes), Timestamp::MAX);
                let completion = Completion { key: key.clone(), fence, expires, record };
                assert!(crate::sync::block_on(shared.lanes.complete(completion)).unwrap());
            }
            let damaged = ErrorKind::DamagedRecord { engine: "memory" };
            assert_eq!(one.begin(&key, &parameters).unwrap_err().kind(), &damaged);
            assert_eq!(one.get(&key).unwrap_err().kind(), &damaged);
            if kept {
                assert!(one.forget(&key).unwrap());
                drop(fresh(one.begin(&key, &parameters)));
            } else {
                assert_eq!(one.forget(&key).unwrap_err().kind(), &damaged, "it may be held");
                assert!(one.running().any(|own| own.is_err_and(|error| error.is_damaged())));
            }
        }
    }
    assert_eq!(body(one.begin(&sound, &parameters)), b"sound");
}

/// The engine grants it and is not heard: nobody waits for a lease of which nobody knows.
#[test]
fn a_claim_that_was_not_heard_to_be_granted_is_given_back_4_3() {
    let clock = ManualClock::default();
    let engine = Memory::on(clock.clone());
    let connect = || builder(&clock).patience(Duration::from_secs(1)).connect(engine.clone()).unwrap();
    let (one, other) = (connect(), connect());
    let lost = || (Fault::Unheard(std::io::ErrorKind::BrokenPipe), true);
    let parameters = Parameters::none();
    for durable in [false, true] {
        let key = key(&one, if durable { "durable" } else { "volatile" });
        engine.faults.lock().extend(std::iter::repeat_with(lost).take(10_000));
        let request = one.request(&key, &parameters);
        let asked = if durable { request.start_durably().begin() } else { request.begin() };
        assert!(asked.is_err(), "{asked:?}");
        engine.faults.lock().clear();
        if durable {
            // What it may have been made over would go with it.
            assert!(matches!(other.begin(&key, &parameters), Ok(Answer::InFlight(_))));
        } else {
            let again = || {
                std::thread::sleep(Duration::from_millis(1));
                other.begin(&key, &parameters)
            };
            let mut answers = std::iter::repeat_with(again).take(20_000);
            drop(fresh(answers.find(|own| matches!(own, Ok(Answer::Fresh(_)))).expect("it is given back")));
        }
    }
}

#[test]
fn an_engine_that_is_not_reached_is_said_to_be_and_nothing_was_given_out() {
    let (_, engine, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let gone = || (Fault::Unreached(std::io::ErrorKind::ConnectionRefused), false);
    engine.faults.lock().extend(std::iter::repeat_with(gone).take(10_000));
    let error = one.begin(&key, &parameters).unwrap_err();
    assert!(error.is_retryable() && matches!(error.kind(), ErrorKind::Unreachable { .. }), "{error}");
    engine.faults.lock().clear();
    assert_eq!(one.stats().live_reservations, 0);
    assert_eq!(fresh(other.begin(&key, &parameters)).attempt(), 1);
}

#[test]
fn a_request_that_is_dropped_on_its_way_gives_back_what_it_is_granted_4_3() {
    let (_, _, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let mut asking = Box::pin(one.begin_async(&key, &parameters));
    let polled = asking.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    drop((polled, asking));
    let answer = other.request(&key, &parameters).wait(Duration::from_secs(10)).begin();
    assert_eq!(fresh(answer).attempt(), 1);
}

/// Many callers of one process at once: one claim crosses to the engine, and all get the one answer.
#[test]
fn duplicates_within_a_process_and_beyond_it_run_once_3_6_3_7() {
    let (_, _, stores) = two();
    let stores = Arc::new(stores);
    let ran = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let callers: Vec<_> = (0..64)
        .map(|number: usize| {
            let (stores, ran) = (Arc::clone(&stores), Arc::clone(&ran));
            std::thread::spawn(move || {
                let store = &stores[number % 2];
                for token in 0..20 {
                    let key = key(store, &token.to_string());
                    let parameters = Parameters::none();
                    let waiting = store.request(&key, &parameters).wait(Duration::from_secs(20));
                    match waiting.begin().unwrap() {
                        Answer::Fresh(held) => {
                            ran.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            held.complete(Outcome::new(token.to_string())).unwrap();
                        }
                        Answer::Replay(replay) => {
                            assert_eq!(replay.outcome().body(), token.to_string().as_bytes());
                        }
                        Answer::InFlight(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    // The clock stands still: who waits for another process is woken by its moving.
    while callers.iter().any(|caller| !caller.is_finished()) {
        std::thread::sleep(Duration::from_millis(5));
        stores[0].shared().desk.wake(None, |_| 0);
        stores[1].shared().desk.wake(None, |_| 0);
    }
    for caller in callers {
        caller.join().unwrap();
    }
    assert_eq!(ran.load(std::sync::atomic::Ordering::SeqCst), 20);
}

#[test]
fn what_engines_do_not_promise_is_refused_by_name() {
    let hour = Duration::from_secs(3600);
    for (builder, setting) in [
        (crate::store::Store::builder().relaxed(hour), "relaxed"),
        (crate::store::Store::builder().kept_records_max(7), "kept_records_max"),
        (crate::store::Store::builder().clock_jump_max(hour), "clock_jump_max"),
    ] {
        let error = builder.connect(Memory::default()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotPromised { engine: "memory", setting });
    }
}

#[test]
fn a_closed_store_says_so_and_what_it_held_is_nobodys_11() {
    let (_, _, [one, other]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let held = fresh(one.begin(&key, &parameters));
    one.clone().close(Duration::ZERO).unwrap();
    assert_eq!(one.begin(&key, &parameters).unwrap_err().kind(), &ErrorKind::Closed);
    assert_eq!(fresh(other.begin(&key, &parameters)).attempt(), 1);
    drop(held);
}

#[test]
fn a_lent_completion_is_for_engines_with_transactions_6_1() {
    let (_, _, [one, _]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let refused = fresh(one.begin(&key, &parameters)).completion(Outcome::new("done")).unwrap_err();
    assert!(matches!(refused.error.kind(), ErrorKind::WrongHome(_)));
    let again = one.request(&key, &parameters).wait(Duration::from_secs(10)).begin();
    let answer = match again {
        Err(error) if error.is_unknown_outcome() => {
            std::iter::repeat_with(|| one.begin(&key, &parameters)).find(Result::is_ok).unwrap()
        }
        other => other,
    };
    assert_eq!(fresh(answer).attempt(), 1);
}

/// Who comes while a release is on its way waits for that and not for the next one's run.
#[test]
fn many_who_come_while_a_key_is_released_are_all_answered_4_3() {
    let (_, engine, [one, _]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    for _ in 0..20 {
        let held = fresh(one.begin(&key, &parameters));
        // The release has to be sent again.
        engine.faults.lock().push_back((Fault::Unheard(std::io::ErrorKind::BrokenPipe), false));
        drop(held);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| one.begin(&key, &parameters))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap().unwrap()).collect()
        });
        let runs = answers.iter().filter(|answer| matches!(answer, Answer::Fresh(_))).count();
        assert_eq!(runs, 1);
        drop(answers);
    }
}

#[test]
fn nothing_of_a_caller_is_shown_10_2() {
    let (_, engine, [one, _]) = two();
    let canary = one.key("canary", "canary").unwrap();
    let held = fresh(one.begin(&canary, &Parameters::query("canary=canary")));
    let shown =
        format!("{one:?} {engine:?} {held:?} {:?}", one.begin(&canary, &Parameters::query("canary=canary")));
    assert!(!shown.contains("canary"), "{shown}");
}

/// A caller's clock that panics once, when it has been asked so often.
#[derive(Clone)]
struct Faulty(ManualClock, Arc<AtomicI64>);

impl Clock for Faulty {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        assert_ne!(self.1.fetch_sub(1, Ordering::SeqCst), 1, "a planned panic");
        self.0.monotonic()
    }
}

/// Whenever a clock panics: what was held is given back or completed, its waiters are woken, and no other key is harmed.
#[test]
fn a_clock_that_panics_harms_no_key_5_11() {
    const ASKED_MAX: i64 = 30;
    let clock = ManualClock::default();
    let left = Arc::new(AtomicI64::new(0));
    let faulty = Faulty(clock.clone(), Arc::clone(&left));
    let store = builder(&clock).clock(faulty.clone()).connect(Memory::on(faulty)).unwrap();
    let parameters = Parameters::query("a=1");
    let mut panics = 0;
    for at in 1..=ASKED_MAX {
        for (way, token) in ["completed", "dropped", "durable", "again", "resolved"].into_iter().enumerate() {
            let key = key(&store, &format!("{token} {at}"));
            let ask = || {
                let request = store.request(&key, &parameters).first_sent(clock.wall());
                if way >= 2 { request.start_durably().begin() } else { request.begin() }
            };
            if way >= 3 {
                drop(fresh(ask()));
            }
            left.store(at, Ordering::SeqCst);
            let went = shielded(|| {
                let held = fresh(if way == 3 { store.begin(&key, &parameters) } else { ask() });
                held.renew().unwrap();
                match way {
                    0 => drop(held.complete(Outcome::new("done")).unwrap()),
                    4 => {
                        let unwound = shielded(move || {
                            let _held = held;
                            panic!("a planned panic");
                        });
                        assert!(unwound.is_none());
                        drop(store.resolve(&key, Outcome::new("done")));
                    }
                    _ => drop(held),
                }
            });
            panics += u32::from(went.is_none());
            let mut rounds = 0..20_000;
            while store.stats().live_reservations > 0 && rounds.next().is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
            left.store(0, Ordering::SeqCst);
            assert_eq!(store.stats().live_reservations, 0, "{token}, asked {at} times");
            let answer = store.begin(&key, &parameters);
            assert!(matches!(answer, Ok(Answer::Fresh(_) | Answer::Replay(_))), "{token}, {at}: {answer:?}");
        }
    }
    assert!(panics > 20, "{panics}");
}

/// A ready-made digest of the rules that the first one was digested under tells that they are the same, and can't be claimed
/// with.
#[test]
fn a_take_over_that_is_refused_is_refused_once_2_4_4_4() {
    let (clock, old) = (ManualClock::default(), DigestRules::none());
    let engine = Memory::on(clock.clone());
    let before = builder(&clock).rules(old.clone()).connect(engine.clone()).unwrap();
    let (key, parameters) = (key(&before, "t"), Parameters::query("a=1"));
    let _held = fresh(before.request(&key, &parameters).start_durably().begin());
    clock.advance(Duration::from_secs(60));
    let after = builder(&clock).rules(DigestRules::excluding(["x"])).connect(engine).unwrap();
    let ready = Parameters::digest(parameters.digest_under(&old).unwrap());
    // In a thread of its own, since going round for ever is what it may do wrong.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(after.begin(&key, &ready).map(drop)));
    let error = told.recv_timeout(Duration::from_secs(30)).expect("an answer").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CannotCompare(_)), "{error}");
}

/// Who asks and is polled late acts on what is so then.
#[test]
fn what_was_free_when_a_waiter_fell_asleep_is_found_out_anew_6_3_3_4() {
    // Where the engine is so quick that it has taken over already, nobody fell asleep.
    assert!((0..50).any(|_| fell_asleep_and_found_out()));
}

fn fell_asleep_and_found_out() -> bool {
    let (clock, _, [one, _]) = two();
    let (key, parameters) = (key(&one, "t"), Parameters::none());
    let held = fresh(one.request(&key, &parameters).start_durably().begin());
    clock.advance(Duration::from_secs(60));
    let waiting = one.request(&key, &parameters).wait(Duration::from_secs(1000));
    let mut waiter = Box::pin(waiting.begin_async());
    let mut context = Context::from_waker(Waker::noop());
    let slept = waiter.as_mut().poll(&mut context).is_pending();
    std::thread::sleep(Duration::from_millis(20));
    if !slept || held.renew().is_err() {
        return false;
    }
    assert!(waiter.as_mut().poll(&mut context).is_pending());
    held.checkpoint(b"half").unwrap();
    clock.advance(Duration::from_secs(60));
    let polled = (0..2000).find_map(|_| match waiter.as_mut().poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => {
            std::thread::sleep(Duration::from_millis(5));
            None
        }
    });
    let next = fresh(polled.expect("it takes over"));
    assert_eq!(next.attempt(), 2);
    assert_eq!(next.last_checkpoint().unwrap().bytes(), b"half");
    true
}
