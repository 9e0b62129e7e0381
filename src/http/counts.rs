//! How often a layer answered what.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::refusal::Refusal;

/// How often a layer answered what, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Handlers that were called under a reservation.
    pub ran: u64,
    /// Requests answered with a kept answer.
    pub replayed: u64,
    /// Requests told that the first one is still being processed.
    pub in_flight: u64,
    /// Requests whose token came with another request before.
    pub mismatches: u64,
    /// Requests refused for any other reason of their own: no token, a refused one, a body that is too large.
    pub refused: u64,
    /// Requests refused because the store could not take them, or does not know.
    pub unavailable: u64,
    /// Requests that ran unprotected, since the store could not take them, or whose answer it could not keep
    /// ([`super::LayerBuilder::run_unprotected`]).
    pub unprotected: u64,
    /// Answers that were too large to keep, and retries that were told so.
    pub too_large: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    ran: AtomicU64,
    replayed: AtomicU64,
    in_flight: AtomicU64,
    mismatches: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    unprotected: AtomicU64,
    too_large: AtomicU64,
}

impl Counters {
    pub(super) fn ran(&self) {
        self.ran.fetch_add(1, Relaxed);
    }

    pub(super) fn replayed(&self) {
        self.replayed.fetch_add(1, Relaxed);
    }

    pub(super) fn unprotected(&self) {
        self.unprotected.fetch_add(1, Relaxed);
    }

    pub(super) fn too_large(&self) {
        self.too_large.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::InFlight { .. } => &self.in_flight,
            Refusal::Mismatch(_) => &self.mismatches,
            Refusal::Unavailable | Refusal::Unknown => &self.unavailable,
            // Counted when it was answered, and again with each retry.
            Refusal::NotKept { .. } => &self.too_large,
            _ => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            ran: self.ran.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            mismatches: self.mismatches.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            unprotected: self.unprotected.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
        }
    }
}
