//! What all handles of one process share.
//!
//! Law: nothing here decides who holds a key: the engine does. What this process knows of a key stands at the desk, and is
//! believed only for what it holds itself, until its lease has lapsed on its own clock, which began before the engine's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::clock::EngineTime;
use super::desk::Desk;
use super::moving::Old;
use crate::comparing::Comparer;
use crate::digest::ParameterLimits;
use crate::engine::{FENCE_BITS, Fault, Lanes};
use crate::error::{Error, ErrorKind, Result};
use crate::inflight::Timer;
use crate::options::Builder;
use crate::record::{FORMAT, HashKeys, Kind, Location, Record, Unreadable};
use crate::sync::{Event, block_on};
use crate::token::Key;

/// Where a record stands in an engine, as its checksum has it: the same for all, since each is under its key.
const PLACE: u64 = 0;

pub(super) struct Shared {
    pub(super) options: Builder,
    pub(super) limits: ParameterLimits,
    pub(super) lanes: Lanes,
    pub(super) comparer: Comparer,
    pub(super) keys: HashKeys,
    pub(super) time: EngineTime,
    pub(super) timer: Timer,
    pub(super) desk: Desk,
    /// The store that is moved from.
    pub(super) old: Option<Old>,
    pub(super) epoch: u64,
    pub(super) fences: AtomicU64,
    pub(super) closing: AtomicBool,
    /// Nobody completes any more.
    pub(super) closed: AtomicBool,
    /// Somebody left while the store was closing.
    pub(super) left: Event,
    pub(super) counters: Counters,
}

/// A process's numbers since it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reservations given, those taken over included.
    pub fresh: u64,
    /// Requests answered with a kept outcome.
    pub replays: u64,
    /// Requests told *in flight*.
    pub in_flight: u64,
    /// Requests refused as mismatch.
    pub mismatches: u64,
    /// Requests told *unknown outcome* or *interrupted*.
    pub unknown_outcomes: u64,
    /// Requests refused for any other reason.
    pub refused: u64,
    /// Reservations taken over after their lease had lapsed.
    pub taken_over: u64,
    /// Interrupted operations that were resumed.
    pub resumed: u64,
    /// Holders that were told *reservation lost*.
    pub lost: u64,
    /// Completions that the engine has.
    pub completed: u64,
    /// Reservations released without an outcome.
    pub released: u64,
    /// Completions whose answer was lost, whatever became of them.
    pub answers_lost: u64,
    /// Live reservations of this process.
    pub live_reservations: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        #[derive(Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            fn stats(&self, live_reservations: u64) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* live_reservations }
            }
        }
    };
}

counters!(
    fresh,
    replays,
    in_flight,
    mismatches,
    unknown_outcomes,
    refused,
    taken_over,
    resumed,
    lost,
    completed,
    released,
    answers_lost
);

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        self.counters.stats(self.desk.live())
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) { Err(ErrorKind::Closed.into()) } else { Ok(()) }
    }

    /// Holders may complete for a while after new requests are refused.
    pub(super) fn check_not_closed(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(ErrorKind::Closed.into()) } else { Ok(()) }
    }

    /// Runs a future to its end on this thread, asleep in between.
    pub(super) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.check_may_wait()?;
        block_on(future)
    }

    /// A waker is called on the thread that drives the engine, and can't wait there for what the engine answers; nor for a
    /// deadline on the timer's.
    pub(super) fn check_may_wait(&self) -> Result<()> {
        let is_own = self.lanes.is_driven_here() || self.timer.is_here();
        if is_own { Err(ErrorKind::OwnThread.into()) } else { Ok(()) }
    }

    /// A fence that nobody had before (contract 4.4). An epoch has 2^36 of them: 31 days at 25,000 a second. Then it is over.
    pub(super) fn next_fence(&self) -> Result<u64> {
        let own = self.fences.fetch_add(1, Ordering::Relaxed);
        if own >= 1 << FENCE_BITS {
            return Err(ErrorKind::Closed.into());
        }
        Ok((self.epoch << FENCE_BITS) + own)
    }

    pub(super) fn fault(&self, fault: Fault) -> Error {
        fault.into_error(self.lanes.engine.name())
    }

    /// Sets a record's checksum.
    pub(super) fn seal(&self, bytes: &mut [u8]) {
        crate::record::seal(bytes, Location::from_u64(PLACE), &self.keys);
    }

    /// What an engine gave back for a record, checked (contract 5.9).
    fn open<'a>(&self, key: &Key, kind: Kind, bytes: &'a [u8]) -> Result<Record<'a>> {
        match Record::open(bytes, Location::from_u64(PLACE), &self.keys) {
            Ok(record) if record.kind() == kind && record.key() == key.as_framed() => Ok(record),
            Err(Unreadable::Newer) => {
                Err(ErrorKind::NewerFormat { found: FORMAT + 1, supported: FORMAT }.into())
            }
            Ok(_) | Err(Unreadable::Damaged) => Err(self.damaged()),
        }
    }

    /// The record of how an operation ended.
    pub(super) fn finished<'a>(&self, key: &Key, bytes: &'a [u8]) -> Result<Record<'a>> {
        self.open(key, Kind::Finished, bytes)
    }

    /// The record of one that has not.
    pub(super) fn started<'a>(&self, key: &Key, bytes: &'a [u8]) -> Result<Record<'a>> {
        self.open(key, Kind::Started, bytes)
    }

    pub(super) fn damaged(&self) -> Error {
        ErrorKind::DamagedRecord { engine: self.lanes.engine.name() }.into()
    }
}
