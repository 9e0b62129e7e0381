//! How do N callers wait at the same time without being a cost of their own?
//!
//! Up to [`THREADS_MAX`] in flight a caller is a plain thread that blocks. Beyond it callers are futures, polled
//! by one thread: a hand-rolled executor, which knows nothing but a queue of tasks that were woken. Every
//! contender is called the same way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crossbeam_channel::{Sender, unbounded};

/// From here on callers are futures and not threads.
pub(crate) const THREADS_MAX: usize = 64;

/// Calls `caller(0)`, `caller(1)`, … at the same time and waits for all of them.
pub(crate) fn at_once<F: Future<Output = ()>>(callers: usize, caller: impl Fn(usize) -> F + Sync) {
    match callers {
        1 => block_on(caller(0)),
        2..=THREADS_MAX => thread::scope(|scope| {
            for number in 0..callers {
                let caller = &caller;
                scope.spawn(move || block_on(caller(number)));
            }
        }),
        _ => as_tasks(callers, caller),
    }
}

/// The executor: polls whatever was woken, until all have ended.
pub(crate) fn as_tasks<F: Future<Output = ()>>(callers: usize, caller: impl Fn(usize) -> F) {
    struct Woken(usize, Sender<usize>);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            // Nobody listens any more once all have ended.
            let _ = self.1.send(self.0);
        }
    }
    let (wake, woken) = unbounded();
    let wakers: Vec<Waker> =
        (0..callers).map(|number| Waker::from(Arc::new(Woken(number, wake.clone())))).collect();
    let mut tasks: Vec<Option<Pin<Box<F>>>> =
        (0..callers).map(|number| Some(Box::pin(caller(number)))).collect();
    let mut left = callers;
    let mut next: Vec<usize> = (0..callers).rev().collect();
    while left > 0 {
        let number =
            next.pop().unwrap_or_else(|| woken.recv().expect("this thread holds a sender of its own"));
        let Some(task) = &mut tasks[number] else { continue };
        if task.as_mut().poll(&mut Context::from_waker(&wakers[number])).is_ready() {
            tasks[number] = None;
            left -= 1;
        }
    }
}

/// Polls one future on this thread, asleep in between.
pub(crate) fn block_on(future: impl Future<Output = ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
        thread::park();
    }
}
