//! Programs of caller's code that panics: a holder, a waker, the clock (contract 5.11).

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::explorer::Program;
use super::world::{
    LONG, World, ask, check_settled, hold, joined, key, other_key, outcome, parameters, replayed, spawned,
    world, world_of,
};
use crate::store::Answer;
use crate::sync::{drop_by_panic, shielded};
use crate::time::{Clock, ManualClock, Timestamp};

pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "a_holder_that_panics_releases_its_key_and_wakes_one_5_11", run: holder },
    Program { name: "a_durable_holder_that_panics_leaves_its_key_interrupted_5_11", run: durable_holder },
    Program { name: "a_waker_that_panics_harms_no_other_waiter_5_11", run: waker },
    Program { name: "a_clock_that_panics_harms_the_call_that_asked_it_5_11", run: clock },
];

fn holder() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let waiter = spawned(&store, |store| match ask(store, &key()) {
        Answer::Fresh(held) => held.complete(outcome("done")).map(drop).unwrap(),
        answer => panic!("nobody completed it: {answer:?}"),
    });
    let other = spawned(&store, |store| {
        hold(store, &other_key()).complete(outcome("other")).unwrap();
    });
    drop_by_panic(held);
    waiter.join().unwrap();
    other.join().unwrap();
    check_settled(&store);
}

fn durable_holder() {
    let World { store, .. } = world();
    let Ok(Answer::Fresh(held)) = store.request(&key(), &parameters()).start_durably().begin() else {
        panic!("never seen")
    };
    let waiter = || {
        spawned(&store, |store| match ask(store, &key()) {
            Answer::Fresh(held) => {
                assert_eq!((held.attempt(), held.is_resumed()), (2, true));
                held.complete(outcome("resumed")).unwrap();
            }
            answer => assert_eq!(replayed(answer), "resumed"),
        })
    };
    let waiters = [waiter(), waiter()];
    drop_by_panic(held);
    joined(waiters);
    assert_eq!(store.stats().interrupted, 0);
    check_settled(&store);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("a planned panic"));
    }
}

fn waker() {
    let World { store, .. } = world();
    let held = hold(&store, &key());
    let bad = spawned(&store, |store| {
        let (key, parameters) = (key(), parameters());
        let mut waiting = pin!(store.request(&key, &parameters).wait(LONG).begin_async());
        let waker = Waker::from(Arc::new(Panics));
        drop(waiting.as_mut().poll(&mut Context::from_waker(&waker)));
        shuttle::thread::yield_now();
    });
    let waiters = [(); 2].map(|()| spawned(&store, |store| replayed(ask(store, &key()))));
    held.complete(outcome("done")).unwrap();
    bad.join().unwrap();
    assert_eq!(waiters.map(|own| own.join().unwrap()), ["done", "done"]);
    check_settled(&store);
}

/// Panics while it is told to.
#[derive(Clone)]
struct Broken(ManualClock, Arc<AtomicBool>);

impl Clock for Broken {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        if self.1.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a planned panic"));
        }
        self.0.monotonic()
    }

    fn on_jump(&self, wake: std::sync::Weak<dyn Fn() + Send + Sync>) {
        self.0.on_jump(wake);
    }
}

fn clock() {
    let broken = Arc::new(AtomicBool::new(false));
    let manual = ManualClock::at(Timestamp::from_millis(1_000_000));
    let (own, told) = (Broken(manual, Arc::clone(&broken)), Arc::clone(&broken));
    let World { store, .. } = world_of(|builder| builder.clock(own));
    let held = hold(&store, &key());
    // Whoever asked it meanwhile was harmed, and nobody else.
    let waiter = || {
        spawned(&store, |store| {
            let run = || match store.request(&key(), &parameters()).wait(LONG).begin().unwrap() {
                Answer::Fresh(held) => held.complete(outcome("done")).map(drop).unwrap(),
                answer => assert_eq!(replayed(answer), "done"),
            };
            shielded(run);
        })
    };
    let waiters = [waiter(), waiter()];
    let breaker = shuttle::thread::spawn(move || {
        told.store(true, Ordering::Relaxed);
        shuttle::thread::yield_now();
        told.store(false, Ordering::Relaxed);
    });
    held.release().unwrap();
    breaker.join().unwrap();
    match ask(&store, &key()) {
        Answer::Fresh(held) => held.complete(outcome("done")).map(drop).unwrap(),
        answer => assert_eq!(replayed(answer), "done"),
    }
    joined(waiters);
    check_settled(&store);
}
