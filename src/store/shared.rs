//! What all handles of one store share.
//!
//! Law: the wings meet here. A stripe's lock is taken after the log's, if both are. What is published has been
//! committed. Whoever leaves (finished, released, refused) gives back what was set aside for it, exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::quota::Tally;
use super::stats::Home;
use super::stripe::{Stripe, Stripes};
use crate::comparing::Comparer;
use crate::digest::{ParameterLimits, Secret};
use crate::distribution::Measured;
use crate::error::{Error, ErrorKind, Result};
use crate::inflight::{Gate, Phase, Slot, Timer, Written};
use crate::ledger::{Entry, Ground, House, Job, Queue, Room};
use crate::options::Builder;
use crate::outcome::Replay;
use crate::record::{HashKeys, Location, Weight};
use crate::sync::{CachePadded, Event, JoinHandle, Mutex, MutexGuard, RwLock, Sender, holds};
use crate::time::Chronometer;
use crate::token::Key;

/// What all handles share.
pub(super) struct Shared {
    pub(super) options: Builder,
    pub(super) limits: ParameterLimits,
    pub(super) ground: Ground,
    pub(super) home: Home,
    pub(super) stripes: Arc<Stripes>,
    pub(super) room: Arc<Room>,
    pub(super) keys: HashKeys,
    pub(super) chronometer: Chronometer,
    pub(super) timer: Timer,
    /// The way to the disk; `None` while it is being reopened, or after that failed, or once closed.
    pub(super) engine: RwLock<Option<Engine>>,
    /// New requests are refused: the store is closing, or closed.
    pub(super) closing: AtomicBool,
    /// The index is not whole: the store is being reopened. Read under a stripe's lock.
    pub(super) reopening: AtomicBool,
    /// Number of a segment with fingerprints that do not read, or 0 (contract 5.9).
    pub(super) blind: AtomicU64,
    /// Held while a sweep or a backup runs, and by whoever wants none to.
    pub(super) sweeping: Mutex<()>,
    pub(super) hurry: AtomicBool,
    /// Tells the sweeper that a spare is wanted.
    pub(super) nudge: Sender<()>,
    /// Somebody left while the store was closing.
    pub(super) left: Event,
    /// Apart from what each request reads beside them.
    pub(super) counters: CachePadded<Counters>,
    /// Releases that were handed over while the way to the disk was shut: sent when it is open again.
    pub(super) late: Mutex<Vec<(Entry<'static>, Tag)>>,
    /// Secrets that it was rotated to since it was opened, the current one last.
    pub(super) rotated: Mutex<Vec<Secret>>,
    pub(super) process: u32,
}

/// One opening of the ledger, with its writer.
pub(super) struct Engine {
    pub(super) ledger: Arc<House>,
    pub(super) queue: Queue<Tag>,
    pub(super) writer: Option<JoinHandle<()>>,
    pub(super) comparer: Arc<Comparer>,
}

impl Engine {
    /// Hands a record to the writer; the tag comes back where there is none any more.
    pub(super) fn send(&self, entry: &Entry<'_>, durable: bool, tag: Tag) -> Result<(), Tag> {
        let Entry { hash, expires, meaning, .. } = *entry;
        self.queue.hand_over(Job { hash, expires, meaning, durable, tag }, |out| {
            out.extend_from_slice(&entry.bytes);
        })
    }
}

/// There is nobody who would write it.
pub(super) fn no_writer(_tag: Tag) -> Error {
    ErrorKind::Stopped { operation: "writing" }.into()
}

/// What belongs to a record on its way through the writer.
pub(super) struct Tag {
    pub(super) hash: u64,
    pub(super) fence: u64,
    /// Where the one who handed it over waits for it; nobody does in a lent transaction.
    pub(super) written: Option<Arc<Written>>,
    pub(super) weight: Weight,
    pub(super) deed: Deed,
}

/// What a record does to its reservation.
pub(super) enum Deed {
    /// Ends it with an outcome.
    Finish(Replay),
    /// Starts it, or keeps a checkpoint; disk room was taken for the record itself.
    Start {
        room: u64,
    },
    Checkpoint {
        room: u64,
    },
    /// Ends it without one.
    Release,
    /// Ends an interrupted one from outside.
    Settle,
    /// Nothing: the record at this place is no longer to be known.
    Forget {
        target: Location,
    },
}

/// Counts since the store was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) replays: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) mismatches: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) taken_over: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) started: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) resolved: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) commits: Measured,
    pub(super) batches: Measured,
    pub(super) waits: Measured,
    pub(super) executions: Measured,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) { Err(ErrorKind::Closed.into()) } else { Ok(()) }
    }

    /// Whether the writer can be waited for here: in its own process, on a thread that does not hold it up.
    pub(super) fn check_process(&self) -> Result<()> {
        self.check_forked()?;
        self.check_thread()
    }

    pub(super) fn check_forked(&self) -> Result<()> {
        if std::process::id() == self.process { Ok(()) } else { Err(ErrorKind::Forked.into()) }
    }

    /// Whether this thread can wait for the writer: not where it holds the lent transaction (contract 6.4).
    pub(super) fn check_thread(&self) -> Result<()> {
        self.ground.check_thread()
    }

    /// Whether a call may sleep here: not in a waker, on a thread that others wait for (contract 5.11).
    pub(super) fn check_may_wait(&self) -> Result<()> {
        if self.is_writing_here() || self.timer.is_here() { Err(ErrorKind::OwnThread.into()) } else { Ok(()) }
    }

    /// Whether this is the writer's thread.
    pub(super) fn is_writing_here(&self) -> bool {
        holds(std::ptr::from_ref(self))
    }

    /// Calls with the way to the disk.
    pub(super) fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        self.engine.read().as_ref().map_or_else(|| Err(self.no_engine()), call)
    }

    /// Hands a release to the writer without ever waiting: a drop does not wait for a store that is being reopened.
    pub(super) fn send_without_waiting(&self, entry: Entry<'static>, tag: Tag) {
        self.late.lock().push((entry, tag));
        self.send_late();
    }

    /// Hands on what came while the way to the disk was shut; whoever shut it calls this.
    pub(super) fn send_late(&self) {
        let Some(engine) = self.engine.try_read() else { return };
        let gone = self.closing.load(Ordering::Acquire);
        if engine.is_none() && !gone {
            return;
        }
        let failed: Vec<_> = {
            let mut late = self.late.lock();
            let send = |(entry, tag): (Entry<'_>, Tag)| match engine.as_ref() {
                Some(engine) => engine.send(&entry, true, tag).err(),
                None => Some(tag),
            };
            late.drain(..).filter_map(send).collect()
        };
        drop(engine);
        for tag in failed {
            self.publish_failed(tag).tell();
        }
    }

    pub(super) fn ledger(&self) -> Result<Arc<House>> {
        self.with_engine(|engine| Ok(Arc::clone(&engine.ledger)))
    }

    fn no_engine(&self) -> Error {
        let closed = self.closing.load(Ordering::Acquire);
        if closed { ErrorKind::Closed.into() } else { ErrorKind::Stopped { operation: "reopening" }.into() }
    }

    pub(super) fn scope_hash(&self, key: &Key) -> u64 {
        self.keys.fingerprint(key.scope())
    }

    /// Counts a holder who is told that it lost its reservation.
    pub(super) fn count_lost<T>(&self, told: Result<T>) -> Result<T> {
        if matches!(&told, Err(error) if error.is_reservation_lost()) {
            count(&self.counters.lost);
        }
        told
    }

    /// Gives back what was set aside for a reservation.
    pub(super) fn dismiss(&self, slot: &Slot) {
        let mut tally = Tally::default();
        self.leave(slot, &mut tally);
        self.settle(&tally);
    }

    /// The same, once it is settled.
    pub(super) fn leave(&self, slot: &Slot, tally: &mut Tally) {
        if slot.durable.as_ref().is_some_and(|own| own.counted) {
            self.stripes.quota.end_start(|| self.scope_hash(&slot.key));
        }
        self.stripes.quota.leave(|| self.scope_hash(&slot.key), slot.declared, tally);
        tally.room += slot.room;
    }

    /// Counts what was summed up.
    pub(super) fn settle(&self, tally: &Tally) {
        self.stripes.quota.settle(tally);
        if tally.completed > 0 {
            self.counters.completed.fetch_add(tally.completed, Ordering::Relaxed);
        }
        if tally.room > 0 {
            self.room.give_back(tally.room);
        }
        if tally.is_leaving() && self.closing.load(Ordering::Acquire) {
            self.left.notify(usize::MAX);
        }
    }

    /// Ends a reservation without an outcome. If others wait, exactly one of them is woken to take it.
    pub(super) fn release(&self, hash: u64, fence: u64, attempt: u32) -> Result<()> {
        let mut stripe = self.stripes.lock(hash);
        if stripe.slots.held(hash, fence).is_none_or(|slot| !slot.is_held()) {
            return Err(ErrorKind::ReservationLost { attempt }.into());
        }
        if let Some(gate) = self.vacate(stripe, hash, fence) {
            gate.wake_one();
        }
        Ok(())
    }

    /// The key is free again, or promised to those who wait for it: then one is to be woken, at this gate.
    pub(super) fn vacate(
        &self,
        mut stripe: MutexGuard<'_, Stripe>,
        hash: u64,
        fence: u64,
    ) -> Option<Arc<Gate>> {
        self.stripes.interrupt(&mut stripe, hash, fence);
        let Stripe { slots, released, .. } = &mut *stripe;
        let slot = slots.held(hash, fence)?;
        *released += 1;
        if let (Some(gate), true) = (&slot.gate, slot.waiters > 0) {
            let gate = Arc::clone(gate);
            slot.phase = Phase::Vacant;
            slot.replaces.clear();
            self.dismiss(slot);
            return Some(gate);
        }
        // Under the lock, so that whoever sees the key free sees the counts of that.
        let slot = stripe.slots.remove(hash, fence)?;
        self.dismiss(&slot);
        None
    }
}
