//! Where those who wait for a key sleep, its holder included while the disk works.
//!
//! Law: a listener is made under the stripe's lock and awaited outside it, so no wake-up falls between. The end of
//! an operation is written once and wakes everybody; a release wakes exactly one, and if that one gives up
//! first, its wake-up passes on to the next (contract 3.7). Waking runs wakers, which are the caller's code: never under
//! a lock of ours, and a panic of one harms nobody else (contract 5.11).

use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::Replay;
use crate::sync::{Event, EventListener, shielded};

/// One key's waiting room.
#[derive(Default)]
pub(crate) struct Gate {
    event: Event,
    ending: OnceLock<Ending>,
}

/// How it ended.
#[derive(Clone)]
pub(crate) enum Ending {
    /// The record is where it was promised.
    Finished(Arc<Ended>),
    /// What was to be written before its end is on disk: a durable start, a checkpoint.
    Written,
    /// Its commit failed: whether it is there is unknown.
    Failed(Error),
}

/// A finished operation, for those who waited.
pub(crate) struct Ended {
    pub(crate) digest: Digest,
    pub(crate) replay: Replay,
}

impl Gate {
    /// Begins to listen. Call it under the stripe's lock.
    pub(crate) fn listen(&self) -> EventListener {
        self.event.listen()
    }

    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Says how it ended and wakes everybody.
    pub(crate) fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.wake_all();
    }

    /// Wakes everybody, to ask again.
    pub(crate) fn wake_all(&self) {
        let _ = shielded(|| self.event.notify(usize::MAX));
    }

    /// Wakes one more, to take the key over.
    pub(crate) fn wake_one(&self) {
        let _ = shielded(|| self.event.notify_additional(1));
    }
}
