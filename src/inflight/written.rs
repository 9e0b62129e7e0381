//! A record on its way to the disk, for the one who handed it over.
//!
//! Law: one waits and one tells, once; so it is one word under a lock of its own, and no waiting room. Wakers are the
//! caller's code: copied, woken and dropped outside that lock, and a panic of one harms nobody else (contract 5.11).

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::sync::{Mutex, shielded};

/// Whether it is on disk.
pub(crate) struct Written {
    state: Mutex<State>,
}

enum State {
    OnItsWay(Option<Waker>),
    Told(Result<()>),
}

impl Written {
    /// Says whether it is on disk, and wakes the one who waits.
    pub(crate) fn tell(&self, told: Result<()>) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Told(told));
        if let State::OnItsWay(Some(waker)) = before {
            let _ = shielded(|| waker.wake());
        }
    }

    /// Waits until that is said. Dropping the future changes nothing.
    ///
    /// # Errors
    /// What was told.
    pub(crate) async fn wait(&self) -> Result<()> {
        poll_fn(|context| self.poll(context)).await
    }

    /// [`Written::wait`], one step of it.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<()>> {
        let waker = context.waker().clone();
        let mut state = self.state.lock();
        let before = match &mut *state {
            State::Told(told) => return Poll::Ready(told.clone()),
            State::OnItsWay(before) => before.replace(waker),
        };
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Default for Written {
    fn default() -> Self {
        Self { state: Mutex::new(State::OnItsWay(None)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::sync::block_on;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_wakes_the_one_who_waits_once_and_tells_him_4_1() {
        let (written, early, late) = (Written::default(), Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut wait = pin!(written.wait());
        for woken in [&early, &late] {
            let waker = Waker::from(Arc::clone(woken));
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        written.tell(Err(ErrorKind::UnknownOutcome.into()));
        assert_eq!((early.0.load(Ordering::Relaxed), late.0.load(Ordering::Relaxed)), (0, 1));
        assert!(block_on(wait).unwrap_err().is_unknown_outcome());
    }

    #[test]
    fn it_is_told_to_one_who_comes_later_too_4_1() {
        let written = Written::default();
        written.tell(Ok(()));
        assert!(block_on(written.wait()).is_ok());
    }

    #[test]
    fn a_waker_that_panics_harms_nobody_else_5_11() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a planned panic");
            }
        }
        let written = Written::default();
        let waker = Waker::from(Arc::new(Panics));
        assert!(pin!(written.wait()).poll(&mut Context::from_waker(&waker)).is_pending());
        written.tell(Ok(()));
        assert!(block_on(written.wait()).is_ok());
    }
}
