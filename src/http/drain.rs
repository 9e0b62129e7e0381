//! Waiting for handlers that nobody waits for any more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::sync::Event;

/// Tells when no handler runs any more. A server's own graceful shutdown waits for its connections; a handler whose client has
/// hung up has none, and runs on in a task of its own.
///
/// ```
/// # async fn end(layer: oncekey::http::IdempotencyLayer, store: oncekey::Store) -> oncekey::Result<()> {
/// // 1. The server takes no more requests, and ends those that have a client: its own graceful shutdown.
/// // 2. The handlers whose clients have gone; with a time-out around it where one may hang:
/// layer.drain().finished().await;
/// // 3. The store, which waits for reservations that are held elsewhere, on a thread that may block:
/// store.close(std::time::Duration::from_secs(1))
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: AtomicUsize,
    ended: Event,
}

/// A handler that runs.
pub(super) struct Running(Drain);

impl Drain {
    pub(super) fn enter(&self) -> Running {
        self.0.running.fetch_add(1, SeqCst);
        Running(self.clone())
    }

    /// How many handlers run at this moment.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// Waits until none runs. Put a time-out around it where a handler may hang.
    pub async fn finished(&self) {
        loop {
            let ended = self.0.ended.listen();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.0.running.fetch_sub(1, SeqCst) == 1 {
            self.0.0.ended.notify(usize::MAX);
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("running", &self.running()).finish_non_exhaustive()
    }
}
