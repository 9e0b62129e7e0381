//! The writer: one thread that commits for everybody.
//!
//! Law: whatever queued while the last commit synced goes into the next one; there is no other delay. A group
//! is appended and published while the log is held, then answered, in that order: disk first, then tongue. If its
//! commit fails, every job of the group is told so, and none is tried again. Caller's code (the clock, wakers) runs
//! outside the log. Room for what is reserved is made ahead after the answers, so that `begin` need not. The queue ends when all its senders are gone: what was handed over is still written.

use std::time::Duration;

use super::Ledger;
use super::log::Entry;
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

/// What becomes of a job.
pub(crate) trait Settle<T> {
    /// What its callers are told with.
    type Answer;
    /// The store's time.
    fn now(&self) -> Timestamp;
    /// Publishes a job, under the log; without a place, its commit failed.
    fn publish(&self, tag: T, at: Option<Location>) -> Self::Answer;
    /// Tells those who wait for it.
    fn answer(&self, answer: Self::Answer);
}

/// Runs until the queue ends.
pub(crate) fn run<T>(ledger: &Ledger, queue: &Receiver<Job<T>>, lag: Duration, store: &impl Settle<T>) {
    // Rings when something relaxed has waited long enough for its sync (contract 5.2).
    let mut alarm: Option<Alarm> = None;
    while let Some(first) = next(ledger, queue, &mut alarm) {
        let (entries, tags, durable) = gather(first, queue);
        let now = store.now();
        let mut log = ledger.log();
        ledger.rotate_if_full(&mut log, now);
        let done = ledger.append(&mut log, now, &entries, durable);
        alarm = if log.is_unsynced() { alarm.or_else(|| Some(after(lag))) } else { None };
        let answers: Vec<_> = match done {
            Ok(places) => {
                tags.into_iter().zip(places).map(|(tag, at)| store.publish(tag, Some(at))).collect()
            }
            // Every later call is told *stopped*; these are told that their outcome is unknown.
            Err(_stopped) => tags.into_iter().map(|tag| store.publish(tag, None)).collect(),
        };
        drop(log);
        for answer in answers {
            store.answer(answer);
        }
        ledger.keep_room();
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
