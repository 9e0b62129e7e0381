//! The desk: what this process knows of the keys that it is about at this moment.
//!
//! Law: at most one asks an engine for a key at a time; who comes meanwhile waits for what he hears (so that one claim for
//! each key and process crosses the network). He has his turn until the engine has answered, on its thread: a caller who is
//! never polled again holds nobody up. What is held here is answered here. A lock is held for a few memory accesses,
//! never across a call of an engine or a caller's code. A place without holder, asker and waiters is gone.
//!
//! | a held key's phase | begun by | ends by |
//! | --- | --- | --- |
//! | running | a granted claim | completing; leaving; another claim over it, once its lease has lapsed |
//! | completing | `complete`, from then on nothing but the engine's answer decides (contract 4.1) | answered → gone; not heard → unknown |
//! | unknown | the answer was lost | the engine says what became of it → gone |
//! | leaving | a release on its way | answered, or given up → gone |

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::shared::Shared;
use crate::comparing::Outlined;
use crate::digest::Digest;
use crate::engine::Held;
use crate::error::{ErrorKind, Limit, Result};
use crate::inflight::{Ended, Gate, Listener};
use crate::options::Builder;
use crate::sync::{CachePadded, Mutex, MutexGuard};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// Locks that share the keys.
const SHARDS: usize = 64;

pub(super) struct Desk {
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    load: Load,
}

#[derive(Default)]
pub(super) struct Shard {
    places: HashMap<Key, Place>,
}

/// What is known of a key here.
#[derive(Default)]
pub(super) struct Place {
    pub(super) held: Option<Slot>,
    /// Somebody asks the engine at this moment.
    round: Option<Arc<Round>>,
    /// Where those sleep who wait for a run, here or elsewhere.
    gate: Option<Arc<Gate>>,
    waiters: u64,
    /// The fence of the claim elsewhere whose end is told here.
    watched: Option<u64>,
}

/// A reservation of this process.
pub(super) struct Slot {
    pub(super) fence: u64,
    pub(super) phase: Phase,
    pub(super) digest: Digest,
    pub(super) outline: Outlined,
    pub(super) attempt: u32,
    pub(super) since: Timestamp,
    /// On the monotonic clock of this process, counted from before the claim was sent.
    pub(super) lease_end: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Completing,
    Unknown,
    Leaving,
}

/// What an engine has of a key that was not granted.
#[derive(Clone)]
pub(super) enum Found {
    Record(Arc<[u8]>),
    Held(Held),
}

/// One asking of the engine, and those who came meanwhile.
#[derive(Default)]
pub(super) struct Round {
    gate: Arc<Gate>,
    heard: OnceLock<Result<Found>>,
}

impl Round {
    /// What the one heard who asked, or why he heard nothing; `None` where he got the key, or has to look again himself.
    pub(super) fn heard(&self) -> Option<&Result<Found>> {
        self.heard.get()
    }
}

/// The right to ask the engine; whoever drops it has heard.
pub(super) struct Turn {
    shared: Arc<Shared>,
    hash: u64,
    key: Key,
    round: Arc<Round>,
}

/// A place among those who wait. Leaving it changes nothing (contract 3.7).
pub(super) struct Seat {
    shared: Arc<Shared>,
    hash: u64,
    key: Key,
    pub(super) listener: Listener,
}

impl Desk {
    pub(super) fn new(options: &Builder) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            load: Load {
                live: AtomicU64::new(0),
                limit: options.live_reservations_max,
                scopes: options.live_reservations_per_scope_max.map(|limit| (limit, Mutex::default())),
            },
        }
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The top bits; those below make the maps' own hashes no worse.
        self.shards[(hash >> 58) as usize].lock()
    }

    /// Calls with what is known of a key, and forgets what is nothing any more.
    pub(super) fn with<T>(&self, hash: u64, key: &Key, call: impl FnOnce(&mut Place) -> T) -> T {
        let mut shard = self.lock(hash);
        let mut entry = match shard.places.entry(key.clone()) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Place::default()),
        };
        let value = call(entry.get_mut());
        let Place { held, round, waiters, .. } = entry.get();
        let gone = (held.is_none() && round.is_none() && *waiters == 0).then(|| entry.remove());
        drop(shard);
        drop(gone);
        value
    }

    /// Calls with this very reservation, if it still is the key's.
    pub(super) fn with_held<T>(
        &self,
        hash: u64,
        key: &Key,
        fence: u64,
        call: impl FnOnce(&mut Slot) -> T,
    ) -> Option<T> {
        self.with(hash, key, |place| place.held.as_mut().filter(|slot| slot.fence == fence).map(call))
    }

    /// Enters a reservation that was granted; whoever held the key before has lost it.
    pub(super) fn enter(&self, hash: u64, key: &Key, slot: Slot) {
        let before = self.with(hash, key, |place| place.held.replace(slot));
        if before.is_some() {
            self.load.leave(key);
        }
    }

    /// Removes a reservation. The gate of those who wait for its key, where there are any.
    pub(super) fn leave(&self, hash: u64, key: &Key, fence: u64) -> Option<Arc<Gate>> {
        let (gone, gate) = self.with(hash, key, |place| {
            let gone = place.held.take_if(|slot| slot.fence == fence);
            (gone.is_some(), place.gate.clone().filter(|_| place.waiters > 0))
        });
        if gone {
            self.load.leave(key);
        }
        gate
    }

    /// Removes a reservation that was completed, and hands its outcome to those who wait.
    pub(super) fn end(&self, hash: u64, key: &Key, fence: u64, ended: Ended) {
        let (gone, gate) = self.with(hash, key, |place| {
            let gone = place.held.take_if(|slot| slot.fence == fence).is_some();
            // This gate has ended: who waits again finds another.
            let gate = if gone { place.gate.take() } else { None };
            if gate.is_some() {
                place.waiters = 0;
            }
            (gone, gate)
        });
        if gone {
            self.load.leave(key);
        }
        if let Some(gate) = gate {
            gate.end(ended);
        }
    }

    /// Wakes all who wait for keys of this mark, or for any.
    pub(super) fn wake(&self, mark: Option<u64>, mark_of: impl Fn(&Key) -> u64) {
        let shards = self.shards.iter().enumerate();
        let meant = |(at, _): &(usize, _)| mark.is_none_or(|mark| (mark >> 58) as usize == *at);
        for (_, shard) in shards.filter(meant) {
            let gates: Vec<_> = {
                let shard = shard.lock();
                let places = shard.places.iter().filter(|(_, place)| place.waiters > 0);
                let meant = places.filter(|(key, _)| mark.is_none_or(|mark| mark_of(key) == mark));
                meant.filter_map(|(_, place)| place.gate.clone()).collect()
            };
            for gate in &gates {
                gate.wake_all();
            }
        }
    }

    pub(super) fn live(&self) -> u64 {
        self.load.live.load(Ordering::Acquire)
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }
}

impl Place {
    /// The turn to ask for this key, or the round of the one who has it.
    pub(super) fn turn(&mut self, shared: &Arc<Shared>, hash: u64, key: &Key) -> Result<Turn, Joined> {
        if let Some(round) = &self.round {
            return Err(Joined { listener: round.gate.listen(), round: Arc::clone(round) });
        }
        let round = Arc::<Round>::default();
        self.round = Some(Arc::clone(&round));
        Ok(Turn { shared: Arc::clone(shared), hash, key: key.clone(), round })
    }

    /// Whether the end of this claim elsewhere is still to be asked for; once for all who wait here.
    pub(super) fn is_to_be_watched(&mut self, fence: u64) -> bool {
        self.held.is_none() && self.watched.replace(fence) != Some(fence)
    }

    /// A seat for one who wants to wait: the one he has, or a new one if there is any left (contract 8.1).
    pub(super) fn seat(
        &mut self,
        shared: &Arc<Shared>,
        hash: u64,
        key: &Key,
        own: &mut Option<Seat>,
    ) -> Result<Seat> {
        let gate = self.gate.get_or_insert_default();
        if let Some(mut seat) = own.take_if(|seat| Arc::ptr_eq(seat.listener.gate(), gate)) {
            seat.listener.again();
            return Ok(seat);
        }
        let limit = shared.options.waiters_per_key_max;
        if self.waiters >= limit {
            let measured = self.waiters + 1;
            return Err(ErrorKind::Overloaded { what: Limit::WaitersPerKey, measured, limit }.into());
        }
        self.waiters += 1;
        Ok(Seat { shared: Arc::clone(shared), hash, key: key.clone(), listener: gate.listen() })
    }
}

impl Slot {
    pub(super) fn is_lapsed(&self, now: Now) -> bool {
        self.phase == Phase::Running && self.lease_end <= now.tick
    }

    /// What is left of the lease; `None` once it no longer runs.
    pub(super) fn lease_left(&self, now: Now) -> Option<Duration> {
        (self.phase == Phase::Running).then(|| self.lease_end.saturating_sub(now.tick))
    }
}

impl Turn {
    /// Tells those who came meanwhile what there is, or that the engine does not answer: nobody tries in vain once more.
    pub(super) fn heard(&self, heard: Result<Found>) {
        let _ = self.round.heard.set(heard);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.desk.with(self.hash, &self.key, |place| {
            place.round.take_if(|round| Arc::ptr_eq(round, &self.round));
        });
        self.round.gate.wake_all();
    }
}

/// One who came while another asked.
pub(super) struct Joined {
    pub(super) listener: Listener,
    pub(super) round: Arc<Round>,
}

/// How many reservations this process holds, in all and of each scope.
pub(super) struct Load {
    live: AtomicU64,
    limit: u64,
    scopes: Option<(u64, Mutex<Counts>)>,
}

/// By scope.
type Counts = HashMap<Box<[u8]>, u64>;

impl Load {
    /// Counts one more, if that is within the limits, or `beyond` them.
    pub(super) fn admit(&self, key: &Key, beyond: bool) -> Result<()> {
        let (measured, limit) = (self.live.fetch_add(1, Ordering::AcqRel) + 1, self.limit);
        let refused = |what, measured, limit| {
            self.live.fetch_sub(1, Ordering::AcqRel);
            Err(ErrorKind::Overloaded { what, measured, limit }.into())
        };
        if measured > limit && !beyond {
            return refused(Limit::LiveReservations, measured, limit);
        }
        if let Some((limit, scopes)) = &self.scopes {
            let mut scopes = scopes.lock();
            let live = scopes.get(key.scope()).copied().unwrap_or_default();
            if live >= *limit && !beyond {
                drop(scopes);
                return refused(Limit::LiveReservationsPerScope, live + 1, *limit);
            }
            scopes.insert(key.scope().into(), live + 1);
        }
        Ok(())
    }

    /// Counts one less.
    pub(super) fn leave(&self, key: &Key) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        let Some((_, scopes)) = &self.scopes else { return };
        let mut scopes = scopes.lock();
        if let Some(live) = scopes.get_mut(key.scope()) {
            *live -= 1;
            if *live == 0 {
                scopes.remove(key.scope());
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let others = self.shared.desk.with(self.hash, &self.key, |place| {
            // One whose gate has ended was taken off with it.
            let gate = place.gate.as_ref().filter(|gate| Arc::ptr_eq(gate, self.listener.gate()))?;
            place.waiters = place.waiters.saturating_sub(1);
            let free = place.held.is_none() && place.round.is_none() && place.waiters > 0;
            free.then(|| Arc::clone(gate))
        });
        // Perhaps it was this one who was called to take the key: call another.
        if let Some(gate) = others {
            gate.wake_one();
        }
    }
}
