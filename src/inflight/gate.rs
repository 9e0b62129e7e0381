//! Where those who wait for a key sleep.
//!
//! Law: a listener is made under the stripe's lock and awaited outside it, so no wake-up falls between. The end of
//! an operation is written once and wakes everybody; a release wakes exactly one, and if that one gives up
//! first, its wake-up passes on to the next (contract 3.7). Waking runs wakers, which are the caller's code: never under
//! a lock of ours, and a panic of one harms nobody else (contract 5.11).

use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::outcome::Replay;
use crate::sync::{Event, EventListener, shielded};

/// One key's waiting room.
#[derive(Default)]
pub(crate) struct Gate {
    event: Event,
    ended: OnceLock<Arc<Ended>>,
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

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get().map(|ended| &**ended)
    }

    /// Says how it ended and wakes everybody.
    pub(crate) fn end(&self, ended: Arc<Ended>) {
        let _ = self.ended.set(ended);
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
