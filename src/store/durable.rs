//! What a durable reservation writes before its outcome, or instead of one: its start, checkpoints, its release.
//!
//! Law: the start is on disk before the reservation is given (contract 5.4), a checkpoint before its call returns
//! (6.3). All of it goes through the writer's one queue, and under the stripe's lock, so that what stands last in the log
//! was said last; but for the start: until it is written nobody else can say anything of its key. A drop hands its
//! release over and waits for nothing; a panic hands over nothing, and so leaves the key interrupted (4.3). Room for
//! the release is set aside with each checkpoint (5.10).

use std::sync::Arc;

use super::Answer;
use super::reservation::Reservation;
use super::shared::{Deed, Engine, Shared, Tag, no_writer};
use crate::comparing::bytes_of;
use crate::error::{ErrorKind, Limit, Result};
use crate::inflight::{Phase, Slot, Written};
use crate::ledger::{Entry, Job, Meaning, Room, What};
use crate::outcome::Checkpoint;
use crate::record::{Bound, Forgotten, Location, Started, Weight};
use crate::sync::{block_on, is_panicking, shielded};
use crate::time::Timestamp;

impl Reservation {
    /// Whether its start is on disk, so that a crash in the middle of the operation is known as such (contract 5.4).
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.durable)
    }

    /// Whether the attempt before this one was interrupted: by the end of its process, or by a panic (contract 3.4).
    /// How far it came is for the operation to find out; [`Reservation::last_checkpoint`] helps.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.interrupted)
    }

    /// The last checkpoint of the attempts before this one, made with the same parameters (contract 6.3).
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<&Checkpoint> {
        self.past.as_ref()?.checkpoint.as_ref()
    }

    /// Notes how far the operation has come, and waits until that is on disk (contract 6.3). If this attempt does not
    /// end, the next one sees the last note. It does not renew the lease.
    ///
    /// ```
    /// use oncekey::{Answer, Key, Outcome, Parameters, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let key = Key::new("account-1", "token-1")?;
    /// let Answer::Fresh(held) = store.request(&key, &Parameters::none()).start_durably().begin()? else {
    ///     panic!("never seen")
    /// };
    /// held.checkpoint(b"charged: id 77")?;
    /// drop(held); // the operation gave up, and a retry goes on from there:
    ///
    /// let waiting = std::time::Duration::from_secs(5);
    /// let Answer::Fresh(held) = store.request(&key, &Parameters::none()).wait(waiting).begin()? else {
    ///     panic!("released")
    /// };
    /// let noted = held.last_checkpoint().expect("one was written");
    /// assert_eq!((held.attempt(), noted.attempt(), noted.bytes()), (2, 1, &b"charged: id 77"[..]));
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    ///
    /// # Errors
    /// *Not durable*: ask with `start_durably`. *Too large*, *full*: nothing was written. *Reservation lost*: another
    /// caller took over (4.4). *Stopped*: whether it is on disk is known when the store was reopened.
    pub fn checkpoint(&self, note: &[u8]) -> Result<()> {
        self.store.shared().check_may_wait()?;
        block_on(self.hand_over_counted(note)?.wait())
    }

    /// [`Reservation::checkpoint`], for async callers. Once it was polled, dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`Reservation::checkpoint`].
    pub async fn checkpoint_async(&self, note: &[u8]) -> Result<()> {
        self.hand_over_counted(note)?.wait().await
    }

    /// The answer that gives it, once its start is on disk (contract 5.4). Where that can't be written it was never given.
    pub(super) async fn once_started(mut self) -> Result<Answer> {
        let written = self.hand_over_start()?;
        match written.wait().await {
            Ok(()) => Ok(Answer::Fresh(self)),
            Err(error) => {
                self.armed = false;
                Err(error)
            }
        }
    }

    fn hand_over_start(&mut self) -> Result<Arc<Written>> {
        let shared = self.store.shared();
        shared.check_process()?;
        let checkpoint = self.last_checkpoint();
        let room = self.take_room_to_write(shared, checkpoint, self.room)?;
        let handed = shared.with_engine(|engine| {
            let bound = self.bound(engine);
            let record = self.unfinished(bound.clone(), checkpoint, None);
            // The record has what was remembered.
            let outlived = self.outlived(shared, Timestamp::default());
            let written = self.send(shared, engine, &record, Deed::Start { room }, &outlived)?;
            Ok((bound, written))
        });
        let (bound, written) = handed.inspect_err(|_| shared.room.give_back(room))?;
        if let Some(past) = &mut self.past {
            past.started = Some(bound);
        }
        Ok(written)
    }

    fn hand_over_checkpoint(&self, note: &[u8]) -> Result<Arc<Written>> {
        let shared = self.store.shared();
        let bound = self.past.as_ref().and_then(|past| past.started.clone()).ok_or(ErrorKind::NotDurable)?;
        shared.check_process()?;
        let (measured, limit) = (note.len() as u64, shared.options.checkpoint_bytes_max);
        if measured > limit {
            return Err(ErrorKind::TooLarge { what: Limit::CheckpointBytes, measured, limit }.into());
        }
        let checkpoint = Checkpoint { attempt: self.attempt, bytes: note.into() };
        let held = self.with_slot(shared, |slot| slot.room)?;
        let room = self.take_room_to_write(shared, Some(&checkpoint), held)?;
        let handed = shared.with_engine(|engine| {
            engine.ledger.check_running()?;
            self.with_slot(shared, |slot| {
                let record = self.unfinished(bound, Some(&checkpoint), None);
                let written = self.send(shared, engine, &record, Deed::Checkpoint { room }, &[])?;
                slot.phase = Phase::Writing;
                let own = slot.durable.get_or_insert_default();
                own.writes += 1;
                own.checkpoint = Some(checkpoint);
                Ok(written)
            })?
        });
        handed.inspect_err(|_| shared.room.give_back(room))
    }

    fn hand_over_counted(&self, note: &[u8]) -> Result<Arc<Written>> {
        self.store.shared().count_lost(self.hand_over_checkpoint(note))
    }

    /// Takes the room of one more record with this checkpoint; and has the slot answer for what it `held` too little for
    /// its release.
    fn take_room_to_write(&self, shared: &Shared, checkpoint: Option<&Checkpoint>, held: u64) -> Result<u64> {
        let bytes = checkpoint.map_or(0, |own| own.bytes.len() as u64) + bytes_of(&self.outline);
        let room = Room::of_completion(bytes);
        let more = room.saturating_sub(held);
        shared.take_room(room + more)?;
        if more > 0 {
            let kept = self.with_slot(shared, |slot| slot.room += more);
            kept.inspect_err(|_| shared.room.give_back(room + more))?;
        }
        Ok(room)
    }

    fn with_slot<T>(&self, shared: &Shared, call: impl FnOnce(&mut Slot) -> T) -> Result<T> {
        let mut stripe = shared.stripes.lock(self.hash);
        let held = stripe.slots.held(self.hash, self.fence).filter(|slot| slot.is_held());
        held.map(call).ok_or_else(|| ErrorKind::ReservationLost { attempt: self.attempt }.into())
    }

    /// Hands its record to the writer, and with it what that has forgotten.
    fn send(
        &self,
        shared: &Shared,
        engine: &Engine,
        record: &Started<'_>,
        deed: Deed,
        outlived: &[Forgotten],
    ) -> Result<Arc<Written>> {
        let written = Arc::<Written>::default();
        let tag = self.tag_unfinished(shared, &written, record, deed);
        let meaning = Meaning::Kept(What::Started, tag.weight);
        let job = Job { hash: self.hash, expires: record.expires(), meaning, durable: true, tag };
        self.hand_over_with(engine, job, |bytes| record.encode_into(bytes), outlived)?;
        Ok(written)
    }

    /// Its record while it is not finished; released, if it says until when that is remembered.
    fn unfinished<'a>(
        &'a self,
        bound: Bound,
        checkpoint: Option<&'a Checkpoint>,
        released_until: Option<Timestamp>,
    ) -> Started<'a> {
        let (key, since, attempt, format) =
            (self.key.as_framed(), self.since, self.attempt, self.terms.format);
        Started { key, bound, since, attempt, format, checkpoint, released_until }
    }

    /// What belongs to that record.
    fn tag_unfinished(
        &self,
        shared: &Shared,
        written: &Arc<Written>,
        record: &Started<'_>,
        deed: Deed,
    ) -> Tag {
        let weight = Weight { scope: shared.scope_hash(&self.key), bytes: record.weighs() };
        Tag { hash: self.hash, fence: self.fence, written: Some(Arc::clone(written)), weight, deed }
    }

    /// A release that would be remembered longer than the outcome of this attempt: it would come back, with its checkpoint,
    /// at an opening after that outcome has expired. Of one that is durable nobody knows yet how long that is.
    pub(super) fn outlived(&self, shared: &Shared, until: Timestamp) -> Vec<Forgotten> {
        if self.past.as_ref().is_none_or(|past| past.remembered_until <= until) {
            return Vec::new();
        }
        let mut stripe = shared.stripes.lock(self.hash);
        let slot = stripe.slots.held(self.hash, self.fence);
        let (time, hash) = (self.since, self.hash);
        let note = |(target, weight): &(Location, Weight)| Forgotten {
            time,
            target: *target,
            hash,
            weight: *weight,
        };
        slot.map(|slot| slot.replaces.iter().map(note).collect()).unwrap_or_default()
    }

    /// Hands a record to the writer, and what it has forgotten: with one commit, so that a power cut finds both or neither.
    pub(super) fn hand_over_with(
        &self,
        engine: &Engine,
        job: Job<Tag>,
        write: impl FnOnce(&mut Vec<u8>),
        outlived: &[Forgotten],
    ) -> Result<()> {
        let (hash, fence, durable) = (self.hash, self.fence, job.durable);
        let notes: Vec<_> = outlived.iter().map(|note| (note, Entry::forgotten(*note))).collect();
        let notes = notes.iter().map(|(note, entry)| {
            let deed = Deed::Forget { target: note.target };
            let tag = Tag { hash, fence, written: None, weight: note.weight, deed };
            (Job { hash, expires: entry.expires, meaning: entry.meaning, durable, tag }, &*entry.bytes)
        });
        // The queue ends only with the engine, which is borrowed.
        engine.queue.hand_over_with(job, write, notes).map_err(no_writer)
    }

    /// Gives the key back; waits for nothing. What is to be written for that is on its way then.
    pub(super) fn hand_over_release(&mut self) -> Result<Option<Arc<Written>>> {
        self.armed = false;
        let shared = self.store.shared();
        let started = self.past.as_ref().and_then(|past| past.started.clone());
        let handed = match started {
            // Not durable, or not started yet: the disk knows nothing of it.
            None => shared.release(self.hash, self.fence, self.attempt).map(|()| None),
            Some(_) if is_panicking() => shared.abandon(self.hash, self.fence, self.attempt).map(|()| None),
            Some(bound) => self.log_release(shared, bound).map(Some),
        };
        shared.count_lost(handed)
    }

    fn log_release(&self, shared: &Shared, bound: Bound) -> Result<Arc<Written>> {
        let checkpoint = self.with_slot(shared, |slot| {
            slot.phase = Phase::Completing;
            slot.durable.as_ref().and_then(|own| own.checkpoint.clone())
        })?;
        // The clock is the caller's code, and this may be a drop.
        let now = shielded(|| shared.chronometer.now().time).unwrap_or(self.since);
        let until = now.saturating_add(self.terms.retention);
        let record = self.unfinished(bound, checkpoint.as_ref(), Some(until));
        let written = Arc::<Written>::default();
        let tag = self.tag_unfinished(shared, &written, &record, Deed::Release);
        let meaning = Meaning::Kept(What::Kept, tag.weight);
        let bytes = record.encode().into();
        shared.send_without_waiting(Entry { hash: self.hash, bytes, expires: until, meaning }, tag);
        Ok(written)
    }
}

impl Shared {
    /// A durable reservation was dropped by a panic: interrupted, as soon as what is on its way is written (4.3).
    fn abandon(&self, hash: u64, fence: u64, attempt: u32) -> Result<()> {
        let mut stripe = self.stripes.lock(hash);
        let Some(slot) = stripe.slots.held(hash, fence).filter(|slot| slot.is_held()) else {
            return Err(ErrorKind::ReservationLost { attempt }.into());
        };
        if let Some(own) = slot.durable.as_mut().filter(|own| own.writes > 0) {
            own.abandoned = true;
            slot.phase = Phase::Completing;
            return Ok(());
        }
        if let Some(gate) = self.vacate(stripe, hash, fence) {
            gate.wake_one();
        }
        Ok(())
    }
}
