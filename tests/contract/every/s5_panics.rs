//! Caller's code that panics (5.11): operations, classifiers, clocks, wakers.
//!
//! Goal: it releases its reservation, wakes its waiters and harms no other key; and no caller's code runs under a
//! lock of the store. Method: code that panics at a chosen call, and wakers that call the store back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use oncekey::{Class, Clock, ErrorKind, Key, ManualClock, Never, Outcome, Timestamp};

use super::support::tasks::{Task, block_on, panics};
use super::support::{
    Answer, Home, LONG, Reservation, Store, WAKERS_MAY_WAIT, asked, assert_free, assert_replays, embedded,
    first_woken, fresh, in_every_home, in_flight, kept, key, plain, replay, run, secs,
};

/// The store still works, for this key and for others.
fn unharmed(store: &Store, number: usize) {
    run(store, &key(number), "after");
    assert_replays(store, &key(number), "after");
    run(store, &key(number + 1000), "other");
    assert_eq!(store.stats().live_reservations, 0);
}

#[test]
fn an_operation_that_panics_releases_its_reservation_5_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        assert!(panics(|| {
            store.execute(&key(0), &asked(), |_: &Reservation| -> Result<u8, Never> { panic!("planned") })
        }));
        assert_free(&store, &key(0));
        let operation = async { panic!("planned") };
        assert!(panics(|| block_on(store.execute_async::<u8, Never>(&key(0), &asked(), operation))));
        assert!(panics(|| {
            let _held = fresh(store.begin(&key(0), &asked()));
            panic!("planned");
        }));
        unharmed(&store, 0);
    });
}

#[test]
fn an_operation_that_panics_wakes_its_waiters_5_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut waiting: Vec<_> =
            (0..3).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        assert!(panics(move || {
            let _held = held;
            panic!("planned");
        }));
        let woken = first_woken(&mut waiting, "one is woken");
        kept(fresh(woken.finish()).complete(Outcome::new("after")));
        for task in waiting {
            assert_eq!(replay(task.finish()).outcome().body(), b"after");
        }
    });
}

#[test]
fn a_classifier_that_panics_releases_its_reservation_5_11() {
    in_every_home(|home| {
        let classify =
            |outcome: &Outcome| if outcome.body() == b"panic" { panic!("planned") } else { Class::Final };
        let store = home.open(plain().classifier(classify));
        let held = fresh(store.begin(&key(0), &asked()));
        assert!(panics(|| drop(held.complete(Outcome::new("panic")))));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked()));
        assert!(panics(|| drop(block_on(held.complete_async(Outcome::new("panic"))))));
        unharmed(&store, 0);
    });
}

/// A clock that panics on demand, on the thread of the test alone or everywhere.
#[derive(Clone)]
struct Moody {
    clock: ManualClock,
    here: Arc<AtomicBool>,
    everywhere: Arc<AtomicBool>,
    home: thread::ThreadId,
}

impl Moody {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
        Self { clock, here: Arc::default(), everywhere: Arc::default(), home: thread::current().id() }
    }

    fn panics(&self, call: impl FnOnce()) {
        self.here.store(true, Ordering::SeqCst);
        assert!(panics(call), "the clock was asked and panicked");
        self.here.store(false, Ordering::SeqCst);
    }
}

impl Clock for Moody {
    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    fn monotonic(&self) -> Duration {
        let here = self.here.load(Ordering::SeqCst) && thread::current().id() == self.home;
        assert!(!here && !self.everywhere.load(Ordering::SeqCst), "planned");
        self.clock.monotonic()
    }
}

#[test]
fn a_clock_that_panics_harms_the_call_that_asked_it_and_nobody_else_5_11() {
    in_every_home(|home| {
        let clock = Moody::new();
        let store = home.open(plain().clock(clock.clone()));
        clock.panics(|| drop(store.begin(&key(0), &asked())));
        assert_free(&store, &key(0));
        let held = fresh(store.begin(&key(0), &asked()));
        clock.panics(|| drop(store.begin(&key(0), &asked())));
        clock.panics(|| drop(store.request(&key(0), &asked()).wait(LONG).begin()));
        clock.panics(|| drop(held.renew()));
        clock.panics(|| drop(store.get(&key(0))));
        clock.panics(|| drop(store.forget(&key(1))));
        drop(in_flight(store.begin(&key(0), &asked())));
        clock.panics(move || drop(held.complete(Outcome::new("never"))));
        assert_free(&store, &key(0));
        embedded(&store, |store| {
            clock.panics(|| drop(store.sweep()));
            clock.panics(|| drop(format!("{:?}", store.stats())));
            let target = tempfile::tempdir().expect("a temporary directory");
            clock.panics(|| drop(store.backup(target.path())));
        });
        unharmed(&store, 0);
        store.close(secs(1)).expect("it closes");
    });
}

#[test]
fn a_clock_that_panics_everywhere_does_not_kill_the_writer_5_11() {
    in_every_home(|home| {
        let clock = Moody::new();
        let store = home.open(plain().clock(clock.clone()));
        let held = fresh(store.begin(&key(0), &asked()));
        let mut task = Task::new(held.complete_async(Outcome::new("done")));
        let early = task.poll();
        clock.everywhere.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        clock.everywhere.store(false, Ordering::SeqCst);
        match early {
            Poll::Ready(done) => drop(kept(done)),
            Poll::Pending => drop(kept(task.finish())),
        }
        unharmed(&store, 1);
    });
}

#[test]
fn a_woken_waiter_whose_clock_panics_passes_the_key_on_5_11() {
    in_every_home(|home| {
        let clock = Moody::new();
        let store = home.open(plain().clock(clock.clone()));
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut waiting: Vec<_> =
            (0..2).map(|_| Task::new(store.request(&own, &parameters).wait(LONG).begin_async())).collect();
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        drop(held);
        let mut unlucky = first_woken(&mut waiting, "one is woken");
        clock.panics(|| drop(unlucky.poll()));
        drop(unlucky);
        let lucky = first_woken(&mut waiting, "the wake-up is passed on");
        assert_eq!(fresh(lucky.finish()).attempt(), 1);
    });
}

/// A waker that asks the store, on whatever thread wakes it.
struct CallsBack {
    store: Store,
    key: Key,
    told: mpsc::SyncSender<&'static str>,
}

impl Wake for CallsBack {
    fn wake(self: Arc<Self>) {
        let answer = self.store.begin(&self.key, &asked()).map(|answer| match answer {
            Answer::Fresh(held) => {
                std::mem::forget(held);
                "fresh"
            }
            Answer::Replay(_) => "replay",
            _ => "in flight",
        });
        let forgotten = self.store.forget(&key(900));
        let told =
            answer.and_then(|answer| forgotten.map(|_| answer)).unwrap_or_else(|error| match error.kind() {
                ErrorKind::OwnThread => "refused",
                _ => "an error",
            });
        self.told.try_send(told).ok();
    }
}

/// Ends a reservation while a future with such a waker waits; what the waker was answered.
fn called_back(store: &Store, end: impl FnOnce(Reservation) + Send + 'static) -> &'static str {
    let (told, hear) = mpsc::sync_channel(8);
    let store = store.clone();
    thread::spawn(move || {
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let mut waiting = Box::pin(store.request(&own, &parameters).wait(LONG).begin_async());
        let waker = Waker::from(Arc::new(CallsBack { store: store.clone(), key: own.clone(), told }));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        end(held);
        // The waiter never asks again; it must not be dropped before its waker was called.
        thread::sleep(Duration::from_secs(20));
    });
    hear.recv_timeout(Duration::from_secs(10)).unwrap_or("stuck: the waker ran under a lock of the store")
}

#[test]
fn a_waker_may_call_the_store_when_a_key_is_released_5_11() {
    let home = Home::any();
    let store = home.open(plain().stripes(1));
    // It is promised to those who wait.
    let told = if WAKERS_MAY_WAIT { "in flight" } else { "refused" };
    assert_eq!(called_back(&store, drop), told);
}

#[test]
fn a_waker_may_call_the_store_when_an_outcome_is_there_5_11() {
    let home = Home::any();
    let store = home.open(plain().stripes(1));
    let told = if WAKERS_MAY_WAIT { "replay" } else { "refused" };
    assert_eq!(called_back(&store, |held| drop(held.complete(Outcome::new("done")))), told);
}

#[test]
fn a_waker_may_call_the_store_when_it_closes_5_11() {
    let home = Home::any();
    let store = home.open(plain().stripes(1));
    let closing = store.clone();
    let end = move |held| {
        drop(closing.close(Duration::from_millis(1)));
        drop(held);
    };
    assert_eq!(called_back(&store, end), "an error", "the store is closed");
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("planned");
    }
}

#[test]
fn a_waker_that_panics_harms_no_other_key_5_11() {
    in_every_home(|home| {
        let store = home.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let (own, parameters) = (key(0), asked());
        let mut waiting = Box::pin(store.request(&own, &parameters).wait(LONG).begin_async());
        let waker = Waker::from(Arc::new(Panics));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut sound = Task::new(store.request(&own, &parameters).wait(LONG).begin_async());
        assert!(sound.poll().is_pending());
        let mut completing = Task::new(held.complete_async(Outcome::new("done")));
        match completing.poll() {
            Poll::Ready(done) => drop(kept(done)),
            Poll::Pending => drop(kept(completing.finish())),
        }
        super::support::tasks::until("another waiter of the key is woken", || sound.times_woken() > 0);
        assert_replays(&store, &key(0), "done");
        run(&store, &key(1), "other");
        assert_replays(&store, &key(1), "other");
    });
}
