//! The writer: one thread that commits for everybody.
//!
//! Law: whatever queued while the last commit synced goes into the next one; there is no other delay, but that what need
//! not be on the disk before its answer waits as long as more of it comes, until it fills a block: small commits take as
//! long as large ones, and more of the disk. A group is appended and published while the log is held, then answered, in
//! that order: disk first, then tongue. If its commit fails, every job of the group is told so, and none is tried again.
//! Caller's code (the clock, wakers) runs outside the log. Room for what is reserved is made ahead after the answers, so
//! that `begin` need not. The queue ends when its handle is gone: what was handed over is still written.

use std::time::Duration;

use super::House;
use super::log::{Entry, Meaning};
use super::queue::{Group, Jobs};
use super::room::COMMON_VALUE_BYTES;
use crate::record::Location;
use crate::sync::{Alarm, after, select, yield_now};
use crate::time::Now;

/// One commit takes this much at most; of what queued beyond it, the next ones.
const COMMIT_BYTES: usize = 8 << 20;
/// So often others are given way to before nothing more is taken to come: some microseconds.
const PATIENCE: usize = 4;

/// What becomes of a job.
pub(crate) trait Settle<T> {
    /// What the callers of one are told with.
    type Answer;
    /// The store's time.
    fn now(&self) -> Now;
    /// Publishes a group in its order, under the log; of a job without a place the commit failed.
    fn publish(&self, group: impl Iterator<Item = (T, Option<Location>)>, answers: &mut Vec<Self::Answer>);
    /// A group of so many jobs was committed and published, and that took so long.
    fn committed(&self, jobs: usize, took: Duration);
    /// Tells those who wait for one.
    fn answer(&self, answer: Self::Answer);
    /// The segment comes to its end soon: somebody else should make the next one's space.
    fn want_spare(&self);
}

/// Runs until the queue ends.
pub(crate) fn run<T>(ledger: &House, queue: &Jobs<T>, lag: Duration, store: &impl Settle<T>) {
    // Rings when something relaxed has waited long enough for its sync (contract 5.2).
    let mut alarm: Option<Alarm> = None;
    let mut group = Group::default();
    let mut answers = Vec::new();
    while rung(ledger, queue, &mut alarm) {
        gather(queue, yield_now);
        group = queue.take(group);
        if group.is_empty() {
            continue;
        }
        let (now, jobs) = (store.now(), group.len());
        let mut log = ledger.log();
        log.rotate_if_full(now.time);
        let durable = group.is_durable();
        let entries = group.entries();
        let (mut places, mut rest) = (Vec::with_capacity(entries.len()), &entries[..]);
        while !rest.is_empty() {
            let (own, later) = rest.split_at(share(rest));
            // Every later call is told *stopped*; the jobs from here on, that their outcome is unknown.
            let Ok(own) = log.append(now.time, own, durable) else { break };
            places.extend(own.into_iter().map(Some));
            rest = later;
        }
        drop(entries);
        let places = places.into_iter().chain(std::iter::repeat(None));
        store.publish(group.drain().zip(places), &mut answers);
        alarm = if log.is_unsynced() { alarm.or_else(|| Some(after(lag))) } else { None };
        drop(log);
        store.committed(jobs, store.now().tick.saturating_sub(now.tick));
        answers.drain(..).for_each(|answer| store.answer(answer));
        ledger.keep_room();
        if ledger.wants_spare() {
            store.want_spare();
        }
    }
}

/// Waits until something was handed over; `false` at the queue's end. Syncs when the alarm rings.
fn rung<T>(ledger: &House, jobs: &Jobs<T>, alarm: &mut Option<Alarm>) -> bool {
    while let Some(ring) = &alarm {
        select! {
            recv(ring) -> _ => {
                // A failed sync has stopped the ledger, which everybody is told at their next call.
                drop(ledger.log().sync());
                *alarm = None;
            },
            recv(jobs.bell) -> bell => return bell.is_ok(),
        }
    }
    jobs.bell.recv().is_ok()
}

/// Waits while what is relaxed grows, and gives way to whoever hands over.
fn gather<T>(queue: &Jobs<T>, mut give_way: impl FnMut()) {
    let (mut before, mut still) = (0, 0);
    while still < PATIENCE {
        let Some(bytes) = queue.relaxed_bytes().filter(|bytes| *bytes < COMMON_VALUE_BYTES) else { return };
        still = if bytes > before { 0 } else { still + 1 };
        before = bytes;
        give_way();
    }
}

/// How many of the entries go into one commit: as many as it takes, but at least one; and with a record what it has
/// forgotten, so that a power cut finds both or neither.
fn share(entries: &[Entry<'_>]) -> usize {
    let mut bytes = 0;
    let fit = entries.iter().take_while(|entry| {
        bytes += entry.bytes.len();
        bytes <= COMMIT_BYTES
    });
    let fit = fit.count().max(1);
    let hash = entries.get(fit - 1).map(|entry| entry.hash);
    let forgotten =
        |entry: &&Entry<'_>| matches!(entry.meaning, Meaning::Forgotten(_)) && Some(entry.hash) == hash;
    fit + entries[fit..].iter().take_while(forgotten).count()
}

#[cfg(test)]
mod tests {
    use super::super::queue::{Job, queue};
    use super::*;
    use crate::record::{Forgotten, Weight};
    use crate::time::Timestamp;

    /// How often others were given way to, where one record is handed over each of the first `times`.
    fn given_way(times: usize, bytes: usize, durable: bool) -> usize {
        let (queue, jobs) = queue();
        let hand_over = || {
            let (expires, meaning) = (Timestamp::default(), Meaning::Note);
            let job = Job { hash: 0, expires, meaning, durable, tag: () };
            queue.hand_over(job, |own| own.resize(own.len() + bytes, 0)).unwrap();
        };
        let mut given = 0;
        hand_over();
        gather(&jobs, || {
            given += 1;
            if given <= times {
                hand_over();
            }
        });
        given
    }

    #[test]
    fn what_is_relaxed_waits_while_more_of_it_comes_until_it_fills_a_block() {
        for times in 0..20 {
            assert_eq!(given_way(times, 100, false), 1 + times + PATIENCE);
            assert_eq!(given_way(times, 100, true), 0, "what has to be on the disk waits for nothing");
        }
        assert_eq!(given_way(20, COMMON_VALUE_BYTES / 4, false), 3);
        assert_eq!(given_way(20, COMMON_VALUE_BYTES, false), 0);
    }

    #[test]
    fn a_commit_takes_what_it_may_and_one_record_whatever_its_size() {
        let bytes = vec![0; COMMIT_BYTES + 1];
        let (expires, meaning) = (Timestamp::default(), Meaning::Note);
        for (sizes, count) in [
            (&[1, 1][..], 2),
            (&[COMMIT_BYTES - 1, 1, 1], 2),
            (&[COMMIT_BYTES, 1], 1),
            (&[COMMIT_BYTES + 1, 1], 1),
        ] {
            let entry = |size: &usize| Entry { hash: 0, bytes: bytes[..*size].into(), expires, meaning };
            assert_eq!(share(&sizes.iter().map(entry).collect::<Vec<_>>()), count, "{sizes:?}");
        }
    }

    #[test]
    fn a_commit_that_is_full_takes_what_its_last_record_has_forgotten_and_no_more() {
        let full = vec![0; COMMIT_BYTES];
        let record = |hash| Entry {
            hash,
            bytes: full[..].into(),
            expires: Timestamp::default(),
            meaning: Meaning::Note,
        };
        let forgotten = |hash| {
            let (target, weight) = (Location::from_u64(1), Weight::default());
            Entry::forgotten(Forgotten { time: Timestamp::default(), target, hash, weight })
        };
        assert_eq!(share(&[record(7), forgotten(7), forgotten(7), forgotten(8)]), 3);
        assert_eq!(share(&[record(7), forgotten(8), forgotten(7)]), 1);
        assert_eq!(share(&[record(7), record(7)]), 1);
        assert_eq!(share(&[record(7), forgotten(7), record(9)]), 2);
    }
}
