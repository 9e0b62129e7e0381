//! Futures and threads, by hand.
//!
//! Goal: tests that decide at which moment a future is polled, woken or dropped. Method: a waker that counts, and
//! the smallest `block_on` there is.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Counts how often it was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that the test polls.
pub(crate) struct Task<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    woken: Arc<Woken>,
    /// What it was ready with at once.
    ready: Option<T>,
}

impl<'a, T> Task<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), woken: Arc::default(), ready: None }
    }

    /// One whose future was polled once, and is perhaps ready already.
    pub(crate) fn begun(future: impl Future<Output = T> + 'a) -> Self {
        let mut task = Self::new(future);
        if let Poll::Ready(value) = task.poll() {
            task.ready = Some(value);
        }
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn times_woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// Polls until it is ready, asleep in between; ends the test after a minute.
    #[track_caller]
    pub(crate) fn finish(mut self) -> T {
        if let Some(value) = self.ready {
            return value;
        }
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Poll::Ready(value) = self.poll() {
                return value;
            }
            assert!(Instant::now() < end, "the future never became ready");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Polls only when it is woken, so that a lost wake-up hangs, and is told after a minute.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = Box::pin(future);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "nobody woke the future");
        thread::park_timeout(left);
    }
}

/// Waits until something holds; ends the test after a minute.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the call panicked.
pub(crate) fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}
