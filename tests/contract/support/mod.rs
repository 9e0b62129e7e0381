//! What the tests of all sections share, for the embedded store.
//!
//! Goal: a test says what it means in few words. Method: asking helpers, both homes behind one closure, futures polled by
//! hand. What the tests in `every` need has its counterpart for engines in `over/support.rs`.

mod asking;
#[cfg(feature = "redb-transactions")]
pub(crate) mod bank;
pub(crate) mod child;
pub(crate) mod files;
pub(crate) mod tasks;

use std::path::{Path, PathBuf};

pub(crate) use asking::*;
pub(crate) use oncekey::{Answer, InFlight, ManualClock as TestClock, Refused, Reservation, Store};
use oncekey::{Builder, Error, Key, Known, Timestamp};
use tempfile::TempDir;

/// Where a store under test lives.
pub(crate) struct Home {
    dir: Option<TempDir>,
}

impl Home {
    pub(crate) fn directory() -> Self {
        Self { dir: Some(tempfile::tempdir().expect("a temporary directory")) }
    }

    pub(crate) fn memory() -> Self {
        Self { dir: None }
    }

    /// Where it does not matter.
    pub(crate) fn any() -> Self {
        Self::memory()
    }

    /// One that outlives the store.
    pub(crate) fn lasting() -> Self {
        Self::directory()
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.dir.is_none()
    }

    /// The store's own directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.as_ref().expect("a store in a directory").path().join("store")
    }

    /// A path beside the store.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.as_ref().expect("a store in a directory").path().join(name)
    }

    pub(crate) fn open(&self, builder: Builder) -> Store {
        match &self.dir {
            Some(_) => builder.open(self.path()).expect("the store opens"),
            None => builder.open_in_memory().expect("the store opens"),
        }
    }

    /// [`with_clock`].
    #[expect(clippy::unused_self, reason = "an engine's home has a clock of its own")]
    pub(crate) fn with_clock(&self) -> (Builder, TestClock) {
        with_clock()
    }
}

/// Runs a test in a directory and in memory.
pub(crate) fn in_every_home(test: impl Fn(&Home)) {
    for home in [Home::directory(), Home::memory()] {
        println!("in memory: {}", home.is_memory());
        test(&home);
    }
}

/// [`plain`] and a clock that stands still.
pub(crate) fn with_clock() -> (Builder, TestClock) {
    let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
    (plain().clock(clock.clone()), clock)
}

/// Why no store is made with such settings.
pub(crate) fn rejected(builder: Builder) -> Error {
    builder.open_in_memory().expect_err("the settings are refused")
}

#[track_caller]
pub(crate) fn assert_free(store: &Store, key: &Key) {
    assert_eq!(store.get(key).expect("known"), Known::Absent);
}

/// Drops a reservation. The key of a volatile one is free at once; who comes for a durable one waits for it.
pub(crate) fn let_go(_: &Store, held: Reservation) {
    drop(held);
}

/// Takes the one of them that was woken.
#[track_caller]
pub(crate) fn first_woken<'a, T>(tasks: &mut Vec<tasks::Task<'a, T>>, what: &str) -> tasks::Task<'a, T> {
    tasks.remove(tasks.iter().position(|task| task.times_woken() > 0).expect(what))
}

/// How many requests of one thread are a flood.
pub(crate) const FLOOD: usize = 20_000;

/// A waker is called on the thread of whoever ends a run.
pub(crate) const WAKERS_MAY_WAIT: bool = true;

/// What the embedded store alone counts.
pub(crate) fn embedded(store: &Store, check: impl FnOnce(&Store)) {
    check(store);
}

/// What a process leaves that dies now, while `held` lives: the store, opened again on its files of this moment.
pub(crate) fn crash<T>(home: &Home, store: Store, held: T, builder: Builder) -> Store {
    let left = files::read_all(&home.path());
    drop((held, store));
    files::put_back(&home.path(), &left);
    home.open(builder)
}

/// The error of opening `path`.
#[track_caller]
pub(crate) fn refusal(builder: Builder, path: &Path) -> Error {
    builder.open(path).expect_err("the store is refused")
}
