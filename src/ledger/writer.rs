//! The writer: one thread that commits for everybody.
//!
//! Law: whatever queued while the last commit synced goes into the next one; there is no other delay. A group
//! is appended, published and answered while the log is held, in that order: disk first, then tongue. If its
//! commit fails, every job of the group is told so, and none is tried again. Caller's code (the clock) is asked
//! outside the log. The queue ends when all its senders are gone: what was handed over is still written.

use std::time::Duration;

use super::Ledger;
use super::log::Entry;
use crate::error::Result;
use crate::record::Location;
use crate::sync::{Alarm, Receiver, after, select};
use crate::time::Timestamp;

/// A group is closed at this size; what is left goes into the next one.
const GROUP_BYTES: usize = 8 << 20;
const GROUP_JOBS: usize = 16_384;

/// A record handed over, and what belongs to it.
pub(crate) struct Job<T> {
    pub(crate) entry: Entry,
    pub(crate) durable: bool,
    pub(crate) tag: T,
}

/// Runs until the queue ends. `settle` publishes one job and answers its caller.
pub(crate) fn run<T>(
    ledger: &Ledger,
    queue: &Receiver<Job<T>>,
    lag: Duration,
    now: impl Fn() -> Timestamp,
    settle: impl Fn(T, Result<Location>),
) {
    // Rings when something relaxed has waited long enough for its sync (contract 5.2).
    let mut alarm: Option<Alarm> = None;
    while let Some(first) = next(ledger, queue, &mut alarm) {
        let (entries, tags, durable) = gather(first, queue);
        let now = now();
        let mut log = ledger.log();
        let done = ledger.append(&mut log, now, &entries, durable);
        alarm = if log.is_unsynced() { alarm.or_else(|| Some(after(lag))) } else { None };
        match done {
            Ok(places) => tags.into_iter().zip(places).for_each(|(tag, at)| settle(tag, Ok(at))),
            Err(error) => tags.into_iter().for_each(|tag| settle(tag, Err(error.clone()))),
        }
    }
}

/// The next job; `None` at the queue's end. Syncs when the alarm rings.
fn next<T>(ledger: &Ledger, queue: &Receiver<Job<T>>, alarm: &mut Option<Alarm>) -> Option<Job<T>> {
    while let Some(ring) = &alarm {
        select! {
            recv(ring) -> _ => {
                // A failed sync has stopped the ledger, which everybody is told at their next call.
                drop(ledger.sync(&mut ledger.log()));
                *alarm = None;
            }
            recv(queue) -> job => return job.ok(),
        }
    }
    queue.recv().ok()
}

fn gather<T>(first: Job<T>, queue: &Receiver<Job<T>>) -> (Vec<Entry>, Vec<T>, bool) {
    let mut bytes = first.entry.bytes.len();
    let mut durable = first.durable;
    let (mut entries, mut tags) = (vec![first.entry], vec![first.tag]);
    while bytes < GROUP_BYTES && entries.len() < GROUP_JOBS {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.entry.bytes.len();
        durable |= job.durable;
        entries.push(job.entry);
        tags.push(job.tag);
    }
    (entries, tags, durable)
}
