//! Places among those who wait for a key.
//!
//! Law: who sits is counted under the stripe's lock and leaves under it, once. A key that was released while others
//! wait is promised to them: only one who sits there may claim it, and a newcomer finds it running (contract 3.7);
//! so no newcomer, with other parameters perhaps, slips in between the wake-up and the claim. The promise ends with
//! the lease of the one who released, so that waiters who are never polled again hold nobody up for ever.

use std::sync::Arc;

use super::asking::Ask;
use super::shared::Shared;
use crate::error::{ErrorKind, Limit, Result};
use crate::inflight::{Listener, Phase, Slot};
use crate::time::Now;

/// What an asker is ready to do where the answer is *in flight*.
#[derive(Default)]
pub(super) struct Patience {
    /// Take a place among the waiters.
    pub(super) wait: bool,
    /// The place he sits on already.
    pub(super) seat: Option<Seat>,
}

impl Patience {
    /// Whether a slot is there to be taken by this asker.
    pub(super) fn may_claim(&self, slot: &Slot, now: Now) -> bool {
        let sits = || self.seat.as_ref().is_some_and(|seat| seat.is_at(slot));
        slot.phase == Phase::Vacant && (slot.lease_end <= now.tick || sits())
    }
}

/// A place among those who wait for a key. Leaving it changes nothing (contract 3.7).
pub(super) struct Seat {
    shared: Arc<Shared>,
    hash: u64,
    pub(super) listener: Listener,
}

impl Seat {
    fn is_at(&self, slot: &Slot) -> bool {
        slot.gate.as_ref().is_some_and(|gate| Arc::ptr_eq(gate, self.listener.gate()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.listener.gate().is_finished() {
            return;
        }
        let mut stripe = self.shared.stripes.lock(self.hash);
        let Some(slot) = stripe.slots.find_by(self.hash, |slot| self.is_at(slot)) else { return };
        slot.waiters -= 1;
        if slot.phase == Phase::Vacant && slot.waiters == 0 {
            let fence = slot.fence;
            stripe.slots.remove(self.hash, fence);
        } else if slot.phase == Phase::Vacant {
            // Perhaps it was this one who was woken, and who is refused, or leaves by a panic of the caller's clock: wake
            // another.
            drop(stripe);
            self.listener.gate().wake_one();
        }
    }
}

impl Shared {
    /// A place at this slot for one who wants to wait: the one he has, or a new one if there is any left (8.1).
    pub(super) fn seat(
        self: &Arc<Self>,
        slot: &mut Slot,
        ask: &Ask<'_>,
        patience: &mut Patience,
    ) -> Result<Option<Seat>> {
        if !patience.wait {
            return Ok(None);
        }
        if let Some(mut seat) = patience.seat.take_if(|seat| seat.is_at(slot)) {
            seat.listener.again();
            return Ok(Some(seat));
        }
        let limit = self.options.waiters_per_key_max;
        if slot.waiters >= limit {
            let measured = slot.waiters + 1;
            return Err(ErrorKind::Overloaded { what: Limit::WaitersPerKey, measured, limit }.into());
        }
        slot.waiters += 1;
        let listener = slot.gate().listen();
        Ok(Some(Seat { shared: Arc::clone(self), hash: ask.hash, listener }))
    }
}
