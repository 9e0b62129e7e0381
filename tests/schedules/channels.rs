//! Channels on shuttle, as much of crossbeam's as the crate uses.
//!
//! Law: a receiver sleeps until something is there or every sender is gone, and is woken by either. `select!` takes
//! the first of its receivers that is ready; one that is disconnected is ready.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(crate) use crossbeam_channel::{RecvError, TrySendError};

use super::sync::{Mutex, block_on};

struct Channel<T> {
    queue: VecDeque<T>,
    bound: usize,
    senders: usize,
    receivers: usize,
    wakers: Vec<Waker>,
}

pub(crate) struct Sender<T>(Arc<Mutex<Channel<T>>>);

pub(crate) struct Receiver<T>(Arc<Mutex<Channel<T>>>);

pub(crate) fn bounded<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Channel { queue: VecDeque::new(), bound, senders: 1, receivers: 1, wakers: Vec::new() };
    let channel = Arc::new(Mutex::new(channel));
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut own = self.0.lock();
        if own.receivers == 0 {
            return Err(TrySendError::Disconnected(value));
        }
        if own.queue.len() >= own.bound {
            return Err(TrySendError::Full(value));
        }
        own.queue.push_back(value);
        let wakers = std::mem::take(&mut own.wakers);
        drop(own);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        block_on(poll_fn(|context| self.poll(context)));
        self.take()
    }

    /// Ready when there is something to take, if only the end.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut own = self.0.lock();
        if !own.queue.is_empty() || own.senders == 0 {
            return Poll::Ready(());
        }
        own.wakers.push(context.waker().clone());
        Poll::Pending
    }

    /// What is there now; the end, if nothing is.
    pub(crate) fn take(&self) -> Result<T, RecvError> {
        self.0.lock().queue.pop_front().ok_or(RecvError)
    }

    /// Tells channels apart.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut own = self.0.lock();
        own.senders -= 1;
        let wakers = if own.senders == 0 { std::mem::take(&mut own.wakers) } else { Vec::new() };
        drop(own);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().receivers -= 1;
    }
}

/// Waits for the first of several receivers.
macro_rules! select {
    ($(recv($from:expr) -> $name:pat => $body:expr),+ $(,)?) => {{
        let ready = $crate::sync::block_on(std::future::poll_fn(|context| {
            $(if $from.poll(context).is_ready() {
                return std::task::Poll::Ready($from.id());
            })+
            std::task::Poll::Pending
        }));
        $(if ready == $from.id() {
            let $name = $from.take();
            $body
        } else)+ {
            unreachable!("one of them was ready")
        }
    }};
}

pub(crate) use select;
