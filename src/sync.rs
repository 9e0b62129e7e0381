//! The only door to threads, locks and wake-ups.
//!
//! Law: no other module names `std::thread`, `parking_lot`, `crossbeam` or `event_listener`, so that a schedule
//! explorer can stand in for all of them here, and does: `tests/schedules` is this crate with another `sync`. Lock order of the whole crate, outermost first: the log, a
//! stripe, then anything smaller (a scope count, the timer, a view); no lock is ever held across caller's code,
//! and no stripe across a disk call.

use std::future::Future;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) use crossbeam_channel::{Receiver, Sender, TrySendError, after, bounded, select, unbounded};
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use event_listener::Event;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::thread::JoinHandle;

/// Locks that are taken inside redb's calls, within locks of redb's own that no explorer knows: under an explorer too
/// these are what they are here, and a call of redb is one step.
pub(crate) mod beneath {
    pub(crate) use parking_lot::{Mutex, RwLock};
}

/// A lock's guard that keeps the lock itself alive. It stays on its thread, as every guard does.
#[cfg(feature = "redb-transactions")]
pub(crate) type ArcMutexGuard<T> = parking_lot::ArcMutexGuard<parking_lot::RawMutex, T>;

/// Rings once, after a time.
pub(crate) type Alarm = Receiver<std::time::Instant>;

/// Starts a thread of ours; the system's refusal comes back as its error kind.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, std::io::ErrorKind> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| error.kind())
}

/// Lets other threads go first.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// Calls with each of the items, on all cores; what came of them, in their order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], call: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let own = taken.map_while(|at| Some((at, call(items.get(at)?))));
        own.collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        // Where the system gives no thread, those that there are do all of it.
        let start =
            |_| thread::Builder::new().name("oncekey helper".to_owned()).spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..cores.min(items.len())).filter_map(start).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs a future to its end on this thread, asleep in between.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Calls code that is not ours and turns a panic of it into `None` (contract 5.9, 5.11).
pub(crate) fn shielded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Whether this thread unwinds.
pub(crate) fn is_panicking() -> bool {
    thread::panicking()
}

/// Waits on `condvar` for at most `time`.
pub(crate) fn wait_for<T>(condvar: &Condvar, guard: &mut MutexGuard<'_, T>, time: Duration) {
    condvar.wait_for(guard, time);
}

pub(crate) use held::{Held, holds};

/// What a thread holds, or does, that others wait for: it can't wait for that itself.
mod held {
    use std::cell::RefCell;
    use std::marker::PhantomData;

    thread_local! {
        static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether this thread holds what stands at this address.
    pub(crate) fn holds<T>(what: *const T) -> bool {
        HELD.with_borrow(|held| held.contains(&what.addr()))
    }

    /// This thread holds what stands at an address, until the guard goes; so the guard never leaves the thread, and what it
    /// is about stays where it is as long.
    pub(crate) struct Held(usize, PhantomData<*const ()>);

    impl Held {
        pub(crate) fn here<T>(what: *const T) -> Self {
            HELD.with_borrow_mut(|held| held.push(what.addr()));
            Self(what.addr(), PhantomData)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            // At a thread's very end there is nothing left to tell it.
            let _ = HELD.try_with(|held| held.borrow_mut().retain(|other| *other != self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_on_sleeps_until_it_is_woken_from_another_thread() {
        let event = Arc::new(Event::new());
        let listener = event.listen();
        let waker = Arc::clone(&event);
        let other = thread::spawn(move || waker.notify(1));
        block_on(listener);
        assert_eq!(other.join().unwrap(), 1);
    }

    #[test]
    fn what_is_done_in_parallel_comes_in_order_and_a_panic_comes_through() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(in_parallel(&items, |own| own * 2), items.iter().map(|own| own * 2).collect::<Vec<_>>());
        assert!(in_parallel(&items[..0], |own| *own).is_empty());
        let panics = |own: &usize| assert!(*own != 500, "a planned panic");
        assert_eq!(shielded(|| in_parallel(&items, panics)), None);
    }

    #[test]
    fn a_shield_keeps_a_panic_from_spreading_5_11() {
        assert_eq!(shielded(|| 7), Some(7));
        assert_eq!(shielded(|| -> u8 { panic!("a planned panic") }), None);
    }
}
