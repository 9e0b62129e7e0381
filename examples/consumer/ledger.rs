//! Where the effects are: somebody else's ledger, which knows a booking again by its token.
//!
//! Law: a token books once. It outlives every life of the consumer, as another service does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a call takes, there and back.
const CALL: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(crate) struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// What was booked, by token.
    booked: BTreeMap<String, u32>,
    asked_again: usize,
}

impl Ledger {
    /// Books an amount, unless it was booked under this token; the booking's number is what the consumer keeps.
    pub(crate) fn book(&self, token: &str, amount: u32) -> usize {
        thread::sleep(CALL);
        let mut inner = self.inner();
        if inner.booked.contains_key(token) {
            inner.asked_again += 1;
        } else {
            inner.booked.insert(token.to_owned(), amount);
        }
        inner.booked.len()
    }

    /// What was booked under this token.
    pub(crate) fn amount(&self, token: &str) -> Option<u32> {
        self.inner().booked.get(token).copied()
    }

    pub(crate) fn effects(&self) -> usize {
        self.inner().booked.len()
    }

    /// How often it was asked for what it had booked.
    pub(crate) fn asked_again(&self) -> usize {
        self.inner().asked_again
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
