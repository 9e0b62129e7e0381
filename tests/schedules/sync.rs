//! The crate's door to threads, locks and wake-ups, as a schedule explorer opens it: what `src/sync.rs` gives, on shuttle.
//!
//! Law: every lock, wake-up and thread of the crate is a step that the explorer orders, but for what is taken inside
//! redb's calls (`beneath`): those are one step. No time passes here: a wait with a limit ends by a wake-up, and an
//! alarm rings whenever the explorer says so.

use std::cell::RefCell;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::thread::{self, ThreadId};

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use shuttle::thread::JoinHandle;

pub(crate) use super::channels::{Receiver, Sender, TrySendError, bounded, select, unbounded};

/// Locks within redb's calls.
pub(crate) mod beneath {
    pub(crate) use parking_lot::{Mutex, RwLock};
}

/// A lock; a panic of its holder does not poison it.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

/// Its guard; empty only while it waits for a [`Condvar`].
pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is held")
    }
}

/// A lock for many readers or one writer; a panic of its holder does not poison it.
#[derive(Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_read(&self) -> Option<shuttle::sync::RwLockReadGuard<'_, T>> {
        self.0.try_read().ok()
    }
}

#[derive(Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Waits on `condvar`; nothing but a notification ends it.
pub(crate) fn wait_for<T>(condvar: &Condvar, guard: &mut MutexGuard<'_, T>, _time: Duration) {
    guard.0 = guard.0.take().map(|own| condvar.0.wait(own).unwrap_or_else(PoisonError::into_inner));
}

/// Wakes those who listen.
#[derive(Default)]
pub(crate) struct Event(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    notified: u64,
    wakers: Vec<Waker>,
}

/// Ready once it was notified since it was made.
pub(crate) struct EventListener(Arc<Mutex<Listeners>>, u64);

impl Event {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn listen(&self) -> EventListener {
        EventListener(Arc::clone(&self.0), self.0.lock().notified)
    }

    /// The crate only ever notifies all.
    pub(crate) fn notify(&self, count: usize) {
        assert_eq!(count, usize::MAX);
        let mut own = self.0.lock();
        own.notified += 1;
        let wakers = std::mem::take(&mut own.wakers);
        drop(own);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Future for EventListener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut own = self.0.lock();
        if own.notified > self.1 {
            return Poll::Ready(());
        }
        own.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

/// Rings once, at a moment of the explorer's choice.
pub(crate) type Alarm = Receiver<()>;

pub(crate) fn after(_time: Duration) -> Alarm {
    let (ring, alarm) = unbounded();
    thread::spawn(move || {
        let _ = ring.try_send(());
    });
    alarm
}

pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, std::io::ErrorKind> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| error.kind())
}

pub(crate) fn yield_now() {
    thread::yield_now();
}

/// One after the other: nothing is shared that an order could tell apart.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], call: impl Fn(&T) -> R + Sync) -> Vec<R> {
    items.iter().map(call).collect()
}

/// Runs a future to its end on this thread, asleep in between; unlike a parked thread it never wakes for nothing, which an
/// explorer of all orders would do for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    shuttle::future::block_on(future)
}

pub(crate) fn shielded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

std::thread_local! {
    // By task: all of them share one thread of the system, whose own word is of no use.
    /// Tasks that unwind, as a program says.
    static UNWINDING: RefCell<Vec<ThreadId>> = const { RefCell::new(Vec::new()) };
    /// What tasks hold.
    static HELD: RefCell<Vec<(ThreadId, usize)>> = const { RefCell::new(Vec::new()) };
}

/// What a task holds, or does, that others wait for.
pub(crate) struct Held(ThreadId, usize);

impl Held {
    pub(crate) fn here<T>(what: *const T) -> Self {
        let own = (thread::current().id(), what.addr());
        HELD.with_borrow_mut(|held| held.push(own));
        Self(own.0, own.1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| held.retain(|other| *other != (self.0, self.1)));
    }
}

pub(crate) fn holds<T>(what: *const T) -> bool {
    let own = thread::current().id();
    HELD.with_borrow(|held| held.contains(&(own, what.addr())))
}

pub(crate) fn is_panicking() -> bool {
    let own = thread::current().id();
    UNWINDING.with_borrow(|unwinding| unwinding.contains(&own))
}

/// Drops `held` as a panic of this task would.
pub(crate) fn drop_by_panic<T>(held: T) {
    let own = thread::current().id();
    UNWINDING.with_borrow_mut(|unwinding| unwinding.push(own));
    drop(held);
    UNWINDING.with_borrow_mut(|unwinding| unwinding.retain(|other| *other != own));
}
