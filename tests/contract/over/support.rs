//! What the tests in `every` share, for a store over an engine: the counterpart of `support/mod.rs`.
//!
//! Method: one process at a time, under one node's name, so that a killed one's epoch ends when the next one connects. The
//! engine's clock and the process's are moved together. A release takes a round trip: who is to find a key free waits for it.

#[expect(clippy::duplicate_mod, reason = "the same words, of another store")]
#[path = "../support/asking.rs"]
mod asking;
#[expect(clippy::duplicate_mod, reason = "the same words, of another store")]
#[path = "../support/tasks.rs"]
pub(crate) mod tasks;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use asking::*;
pub(crate) use oncekey::distributed::{Answer, InFlight, Refused, Reservation, Store};
use oncekey::{Builder, Error, Key, Known, ManualClock, Timestamp};

pub(crate) use super::FLOOD;
use crate::home::Home as Engine;

/// Where a store under test lives: an engine of its own, and its clock.
pub(crate) struct Home {
    clock: TestClock,
}

/// Moves the time of the engine and that of the process.
#[derive(Clone)]
pub(crate) struct TestClock {
    own: ManualClock,
    engine: Arc<dyn Engine>,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.own.advance(by);
        self.engine.advance(by);
    }
}

impl Home {
    pub(crate) fn any() -> Self {
        let own = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
        let engine = super::engine(&own).into();
        Self { clock: TestClock { own, engine } }
    }

    /// Every engine outlives a store.
    pub(crate) fn lasting() -> Self {
        Self::any()
    }

    #[expect(clippy::unused_self, reason = "a home of the embedded store may be one")]
    pub(crate) fn is_memory(&self) -> bool {
        false
    }

    pub(crate) fn open(&self, builder: Builder) -> Store {
        builder.node("the only one").connect(self.clock.engine.engine()).expect("it connects")
    }

    pub(crate) fn with_clock(&self) -> (Builder, TestClock) {
        (plain().clock(self.clock.own.clone()), self.clock.clone())
    }
}

pub(crate) fn in_every_home(test: impl Fn(&Home)) {
    test(&Home::any());
}

/// Why no store is made with such settings.
pub(crate) fn rejected(builder: Builder) -> Error {
    let home = Home::any();
    builder.connect(home.clock.engine.engine()).expect_err("the settings are refused")
}

/// Free, or about to be.
#[track_caller]
pub(crate) fn assert_free(store: &Store, key: &Key) {
    tasks::until("the key is free", || store.get(key).expect("known") == Known::Absent);
}

/// Drops a reservation, and waits until the engine has heard of it.
pub(crate) fn let_go(store: &Store, held: Reservation) {
    let ended = || store.stats().released + store.stats().lost;
    let before = ended();
    drop(held);
    tasks::until("a release is heard", || ended() > before);
}

/// Takes the first of them that is woken, once the engine has been heard.
#[track_caller]
pub(crate) fn first_woken<'a, T>(tasks: &mut Vec<tasks::Task<'a, T>>, what: &str) -> tasks::Task<'a, T> {
    let woken = |tasks: &[tasks::Task<'a, T>]| tasks.iter().position(|task| task.times_woken() > 0);
    tasks::until(what, || woken(tasks).is_some());
    tasks.remove(woken(tasks).expect("one was"))
}

/// A waker is called on the thread that drives the engine, and is refused what would wait for that.
pub(crate) const WAKERS_MAY_WAIT: bool = false;

/// What the embedded store alone counts.
pub(crate) fn embedded(_: &Store, _: impl FnOnce(&oncekey::Store)) {}

/// What a process leaves that dies now, while `held` lives: the next one of its node, on the same engine.
pub(crate) fn crash<T>(home: &Home, store: Store, held: T, builder: Builder) -> Store {
    mem::forget((held, store));
    home.open(builder)
}
