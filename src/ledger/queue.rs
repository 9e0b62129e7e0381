//! What waits for the writer: records laid one behind the other, as their holders hand them over.
//!
//! Law: whoever hands over writes its bytes into the group that the writer takes next, under one lock that is held for
//! a copy and nothing else, so that what is handed over together is in one group; so nothing is allocated for a record, and nothing that one thread allocated is freed by
//! another. The bell is rung by the first of a group. The queue ends when its handle is gone: what was handed over by
//! then is still taken.

use std::borrow::Cow;
use std::sync::Arc;

use super::log::{Entry, Meaning};
use crate::sync::{Mutex, Receiver, Sender, TrySendError, bounded};
use crate::time::Timestamp;

/// A group keeps the memory it grew to, up to this.
const KEPT_BYTES: usize = 16 << 20;

/// A record handed over, and what belongs to it.
pub(crate) struct Job<T> {
    pub(crate) hash: u64,
    pub(crate) expires: Timestamp,
    pub(crate) meaning: Meaning,
    pub(crate) durable: bool,
    pub(crate) tag: T,
}

/// Where records are handed over.
pub(crate) struct Queue<T> {
    next: Arc<Mutex<Group<T>>>,
    bell: Sender<()>,
}

/// Where the writer takes them.
pub(crate) struct Jobs<T> {
    next: Arc<Mutex<Group<T>>>,
    pub(super) bell: Receiver<()>,
}

/// Records that are committed together.
pub(crate) struct Group<T> {
    bytes: Vec<u8>,
    /// Where each job's bytes end.
    jobs: Vec<(Job<T>, usize)>,
    durable: bool,
}

pub(crate) fn queue<T>() -> (Queue<T>, Jobs<T>) {
    let next = Arc::<Mutex<Group<T>>>::default();
    let (ring, bell) = bounded(1);
    (Queue { next: Arc::clone(&next), bell: ring }, Jobs { next, bell })
}

impl<T> Queue<T> {
    /// Hands a record over; `write` lays its bytes behind what is there.
    ///
    /// # Errors
    /// The tag, where nobody takes it any more.
    pub(crate) fn hand_over(&self, job: Job<T>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), T> {
        self.hand_over_with(job, write, std::iter::empty())
    }

    /// Hands a record over with others behind it: they come to the writer together.
    ///
    /// # Errors
    /// As [`Queue::hand_over`]: the tag of the first.
    pub(crate) fn hand_over_with<'a>(
        &self,
        job: Job<T>,
        write: impl FnOnce(&mut Vec<u8>),
        more: impl Iterator<Item = (Job<T>, &'a [u8])>,
    ) -> Result<(), T> {
        let mut next = self.next.lock();
        let first = next.jobs.is_empty();
        write(&mut next.bytes);
        next.push(job);
        for (job, bytes) in more {
            next.bytes.extend_from_slice(bytes);
            next.push(job);
        }
        if first && matches!(self.bell.try_send(()), Err(TrySendError::Disconnected(()))) {
            next.bytes.clear();
            return next.jobs.drain(..).next().map_or(Ok(()), |(job, _)| Err(job.tag));
        }
        Ok(())
    }
}

impl<T> Jobs<T> {
    /// Bytes that wait; `None` where one of them has to be on the disk before it is answered.
    pub(super) fn relaxed_bytes(&self) -> Option<usize> {
        let next = self.next.lock();
        (!next.durable).then_some(next.bytes.len())
    }

    /// Takes all that waits, in exchange for an empty group.
    pub(super) fn take(&self, empty: Group<T>) -> Group<T> {
        std::mem::replace(&mut *self.next.lock(), empty)
    }
}

impl<T> Group<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether one of them has to be on the disk before it is answered.
    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// A job whose bytes were laid down last.
    fn push(&mut self, job: Job<T>) {
        self.durable |= job.durable;
        self.jobs.push((job, self.bytes.len()));
    }

    /// What is to be appended, in the order in which it was handed over.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let mut begin = 0;
        let mut entry = |(job, end): &(Job<T>, usize)| {
            let bytes = Cow::Borrowed(&self.bytes[begin..*end]);
            begin = *end;
            Entry { hash: job.hash, bytes, expires: job.expires, meaning: job.meaning }
        };
        self.jobs.iter().map(&mut entry).collect()
    }

    /// The tags in the same order; the group is empty then and can be filled again.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.durable = false;
        self.jobs.drain(..).map(|(job, _)| job.tag)
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), jobs: Vec::new(), durable: false }
    }
}

#[cfg(test)]
impl<T> Jobs<T> {
    /// Waits for the bell; `false` at the end.
    pub(crate) fn rung(&self) -> bool {
        self.bell.recv().is_ok()
    }

    /// The tags of all that waits.
    pub(crate) fn tags(&self) -> Vec<T> {
        self.take(Group::default()).drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(tag: u8, durable: bool) -> Job<u8> {
        Job { hash: u64::from(tag), expires: Timestamp::default(), meaning: Meaning::Note, durable, tag }
    }

    #[test]
    fn what_is_handed_over_comes_in_order_with_its_own_bytes() {
        let (queue, jobs) = queue();
        queue.hand_over(job(1, false), |bytes| bytes.extend_from_slice(b"first")).unwrap();
        queue.hand_over(job(2, false), |_| {}).unwrap();
        queue.hand_over(job(3, true), |bytes| bytes.extend_from_slice(b"third")).unwrap();
        assert_eq!(jobs.bell.len(), 1, "the first one rings");
        let mut group = jobs.take(Group::default());
        assert_eq!((group.len(), Group::<u8>::default().len()), (3, 0));
        let told: Vec<_> = group.entries().iter().map(|own| (own.hash, own.bytes.to_vec())).collect();
        assert_eq!(told, [(1, b"first".to_vec()), (2, Vec::new()), (3, b"third".to_vec())]);
        assert!(group.is_durable());
        assert_eq!(group.drain().collect::<Vec<_>>(), [1, 2, 3]);
        let more = [(job(5, true), &b"fifth"[..]), (job(6, true), b"sixth")];
        queue
            .hand_over_with(job(4, true), |bytes| bytes.extend_from_slice(b"fourth"), more.into_iter())
            .unwrap();
        let mut group = jobs.take(group);
        let told: Vec<_> = group.entries().iter().map(|own| own.bytes.to_vec()).collect();
        assert_eq!(told, [b"fourth".to_vec(), b"fifth".to_vec(), b"sixth".to_vec()]);
        assert_eq!(group.drain().collect::<Vec<_>>(), [4, 5, 6]);
        assert!(group.is_empty() && group.entries().is_empty() && jobs.take(group).is_empty());
        // A group that is filled again waits for the disk only where its own jobs do.
        for (tag, durable, relaxed) in [(7, false, Some(7)), (8, true, None), (9, false, None)] {
            queue.hand_over(job(tag, durable), |bytes| bytes.extend_from_slice(b"another")).unwrap();
            assert_eq!(jobs.relaxed_bytes(), relaxed);
        }
    }

    #[test]
    fn nothing_is_taken_over_when_the_writer_is_gone() {
        let (queue, jobs) = queue();
        drop(jobs);
        assert_eq!(queue.hand_over(job(1, true), |bytes| bytes.push(1)), Err(1));
        assert_eq!(queue.hand_over(job(2, true), |bytes| bytes.push(1)), Err(2));
    }

    #[test]
    fn what_was_handed_over_before_the_end_is_still_there() {
        let (queue, jobs) = queue();
        queue.hand_over(job(1, true), |_| {}).unwrap();
        drop(queue);
        assert!(jobs.rung() && !jobs.rung());
        assert_eq!(jobs.tags(), [1]);
    }
}
