//! Waiting as explicit steps (contract 3.7).
//!
//! Law: a waiter is a caller that asks again. It holds no place in the key, and its going changes nothing.

use std::time::Duration;

use super::{Answer, Asking, Model, Refusal, Slot, Waited, Waiter, WaiterId, Woken};
use crate::error::Limit;
use crate::token::Key;

impl Model {
    /// Asks, and waits up to `patience` where the operation runs (3.7).
    ///
    /// # Errors
    /// As [`Model::begin`], and [`Refusal::Overloaded`] where too many wait for this key (8.1).
    pub fn wait(
        &mut self,
        key: &Key,
        asking: impl Into<Asking>,
        patience: Duration,
    ) -> Result<Waited, Refusal> {
        let asking = asking.into();
        let answer = self.answer(key, &asking)?;
        if !matches!(answer, Answer::InFlight(_)) || patience.is_zero() {
            return Ok(Waited::Answered(answer));
        }
        let measured = self.waiting(key).count() as u64 + 1;
        let limit = self.settings.waiters_per_key_max;
        if measured > limit {
            return Err(Refusal::Overloaded { what: Limit::WaitersPerKey, measured, limit });
        }
        self.waiters_ever += 1;
        let waiter = WaiterId(self.waiters_ever);
        let deadline = self.time.monotonic.saturating_add(patience);
        self.waiters.insert(waiter, Waiter { key: key.clone(), asking, deadline });
        Ok(Waited::Waiting(waiter))
    }

    /// A waiter gives up, which changes nothing (3.7). `false`: it did not wait any more.
    pub fn give_up(&mut self, waiter: WaiterId) -> bool {
        self.waiters.remove(&waiter).is_some()
    }

    /// The waiters that got their answer since this was last asked, in the order in which they got it.
    #[must_use]
    pub fn woken(&mut self) -> Vec<Woken> {
        std::mem::take(&mut self.woken)
    }

    /// From now on this waiter goes before the earlier ones, as in the store beside which the model runs.
    pub fn prefer(&mut self, waiter: WaiterId) {
        self.preferred = Some(waiter);
    }

    /// The time after which a lapsing lease or an ending patience answers a waiter. Two of these that one
    /// [`Model::advance`] steps over happen one after the other here; a store whose clock jumps may take them
    /// at once. A comparison advances by no more than this.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        let deadlines = self.waiters.values().map(|waiter| waiter.deadline);
        let leases = self.waiters.values().filter_map(|waiter| match self.slots.get(&waiter.key) {
            Some(Slot::Running(live)) => Some(live.lease_end),
            _ => None,
        });
        let times = deadlines.chain(leases).filter(|time| *time > self.time.monotonic);
        times.min().map(|time| time.saturating_sub(self.time.monotonic))
    }

    /// 3.7: every waiter asks again. On a completion all get the replay; on a release or a lapsed lease the
    /// first becomes the holder, so that the rest find the key in flight and wait on.
    pub(super) fn settle(&mut self) {
        let mut order: Vec<WaiterId> = self.waiters.keys().copied().collect();
        order.sort_by_key(|waiter| (Some(*waiter) != self.preferred, *waiter));
        for waiter in order {
            let Waiter { key, asking, deadline } = self.waiters[&waiter].clone();
            let answer = self.answer(&key, &asking);
            if matches!(answer, Ok(Answer::InFlight(_))) && deadline > self.time.monotonic {
                continue;
            }
            self.waiters.remove(&waiter);
            let fresh = matches!(answer, Ok(Answer::Fresh(_)));
            let differs = answer == Err(Refusal::Mismatch);
            let difference = if differs { self.difference(&key, &asking) } else { None };
            let instead_of = if fresh { self.waiting(&key).collect() } else { Vec::new() };
            self.woken.push(Woken { waiter, answer, difference, instead_of });
        }
    }

    fn waiting<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = WaiterId> + 'a {
        self.waiters.iter().filter(move |(_, waiter)| waiter.key == *key).map(|(id, _)| *id)
    }
}
