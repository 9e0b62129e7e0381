//! Callers that wait, as futures polled by hand (contract 3.7).
//!
//! Law: whoever the model says was woken is woken, within [`WAKING_MAX`] of looking; and nobody else is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::Result;
use crate::reference::WaiterId;
use crate::store::{Answer, InFlight};
use crate::sync::yield_now;
use crate::time::{Clock, SystemClock};
use crate::token::Key;

/// How long a waiter that should be woken may take, in real time.
const WAKING_MAX: Duration = Duration::from_secs(10);

type Waiting = Pin<Box<dyn Future<Output = Result<Answer>>>>;

/// All that wait, one for each key at most.
#[derive(Default)]
pub(super) struct Waiters(Vec<(WaiterId, Key, Waiting)>);

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn waits_for(&self, key: &Key) -> bool {
        self.0.iter().any(|(_, own, _)| own == key)
    }

    pub(super) fn add(&mut self, waiter: WaiterId, key: Key, other: InFlight, patience: Duration) {
        let mut waiting: Waiting = Box::pin(other.wait_async(patience));
        assert!(poll(&mut waiting).is_pending(), "the model waits, the store answers at once");
        self.0.push((waiter, key, waiting));
    }

    /// What the store answers one whom the model has answered.
    pub(super) fn answered(&mut self, waiter: WaiterId) -> Result<Answer> {
        let at = self.0.iter().position(|(own, ..)| *own == waiter).expect("the model has no other waiters");
        let (_, _, mut waiting) = self.0.swap_remove(at);
        let clock = SystemClock::new();
        loop {
            if let Poll::Ready(answer) = poll(&mut waiting) {
                return answer;
            }
            assert!(clock.monotonic() < WAKING_MAX, "a waiter is never woken");
            yield_now();
        }
    }

    /// The others have nothing to wake up for.
    pub(super) fn sleep_on(&mut self) {
        for (_, key, waiting) in &mut self.0 {
            if let Poll::Ready(answer) = poll(waiting) {
                panic!("who waits for {key:?} is woken with {answer:?}, the model lets him sleep");
            }
        }
    }

    /// The last one gives up.
    pub(super) fn pop(&mut self) -> Option<WaiterId> {
        self.0.pop().map(|(waiter, ..)| waiter)
    }

    /// They die with their process.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

fn poll(waiting: &mut Waiting) -> Poll<Result<Answer>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
