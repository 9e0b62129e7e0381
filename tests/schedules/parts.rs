//! The smallest parts alone, in every order there is: a gate, a record on its way, the timer. The writer's queue stands in
//! `handing`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::thread;

use super::explorer::Program;
use super::world::{SECOND, advance, ended};
use crate::error::ErrorKind;
use crate::inflight::{Gate, Listener, Timer, Written};
use crate::sync::block_on;
use crate::time::ManualClock;

pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "every_order_of_an_end_and_one_who_sleeps_3_7", run: gate_end },
    Program { name: "every_order_of_a_wake_up_of_all_and_one_who_sleeps_3_7", run: gate_all },
    Program { name: "every_order_of_a_call_and_one_of_two_who_leaves_3_7", run: gate_call },
    Program { name: "every_order_of_a_deadline_and_the_clock_3_7", run: gate_deadline },
    Program { name: "every_order_of_telling_that_it_is_written_and_waiting_4_1", run: written },
    Program { name: "every_order_of_the_timer_s_end_and_its_clock_5_11", run: timer_end },
];

/// Sleeps until it is woken, or that moment has come.
fn sleep(listener: &Listener, until: Option<(&Timer, Duration)>) {
    block_on(poll_fn(|context| listener.poll(context, until)));
}

fn gate_end() {
    let gate = Arc::<Gate>::default();
    let listener = gate.listen();
    let sleeper = thread::spawn(move || {
        sleep(&listener, None);
        assert!(listener.gate().is_finished());
    });
    gate.end(ended(b"end"));
    sleeper.join().unwrap();
}

fn gate_all() {
    let gate = Arc::<Gate>::default();
    let listener = gate.listen();
    let sleeper = thread::spawn(move || sleep(&listener, None));
    gate.wake_all();
    sleeper.join().unwrap();
}

fn gate_call() {
    let gate = Arc::<Gate>::default();
    let (leaver, stayer) = (gate.listen(), gate.listen());
    let leaver = thread::spawn(move || drop(leaver));
    let stayer = thread::spawn(move || sleep(&stayer, None));
    gate.wake_one();
    leaver.join().unwrap();
    stayer.join().unwrap();
}

fn gate_deadline() {
    let (gate, clock) = (Arc::<Gate>::default(), ManualClock::default());
    let timer = Timer::new(Arc::new(clock.clone()));
    let listener = gate.listen();
    let sleeper = thread::spawn(move || {
        sleep(&listener, Some((&timer, SECOND)));
        assert!(timer.has_come(SECOND));
    });
    advance(&clock, SECOND);
    sleeper.join().unwrap();
}

fn written() {
    let written = Arc::<Written>::default();
    let told = Arc::clone(&written);
    let waiter = thread::spawn(move || {
        // Once dropped, and then waited for.
        let mut first = Box::pin(told.wait());
        let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(first);
        assert!(block_on(pin!(told.wait())).is_err_and(|error| error.is_unknown_outcome()));
    });
    written.tell(Err(ErrorKind::UnknownOutcome.into()));
    waiter.join().unwrap();
}

fn timer_end() {
    let timer = Timer::new(Arc::new(ManualClock::default()));
    timer.run_at(Duration::MAX, || None);
    // Its thread is to end: one that sleeps on is a deadlock.
    drop(timer);
}
