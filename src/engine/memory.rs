//! An engine in memory, for tests of a server's own that has several processes: all that claim on clones of it are one
//! store, and it is gone with the last of them.
//!
//! Law: it does what the table of the seam says, under one lock, on one clock; nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
use super::Fault;
use super::{
    At, Change, Claim, Claimed, Completion, Count, Engine, FENCE_BITS, Forget, Held, Page, Reply, Sight,
    Standing, Watch,
};
use crate::sync::Mutex;
use crate::time::{Chronometer, Clock, SystemClock, Timestamp};
use crate::token::Key;

/// An engine in memory. Clones are one engine.
///
/// ```
/// use oncekey::distributed::Memory;
/// use oncekey::{Answer, Outcome, Parameters, Store};
///
/// let engine = Memory::default();
/// let [one, other] = [Store::builder().connect(engine.clone())?, Store::builder().connect(engine)?];
/// let key = one.key("account-1", "token-1")?;
/// let parameters = Parameters::query("Amount=7");
///
/// let Answer::Fresh(reservation) = one.begin(&key, &parameters)? else { panic!("never seen") };
/// assert!(matches!(other.begin(&key, &parameters)?, Answer::InFlight(_)));
/// reservation.complete(Outcome::http(200, "paid"))?;
/// let Answer::Replay(replay) = other.begin(&key, &parameters)? else { panic!("finished") };
/// assert_eq!(replay.outcome().body(), b"paid");
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    chronometer: Chronometer,
    #[cfg(test)]
    pub(crate) faults: Arc<Mutex<std::collections::VecDeque<(Fault, bool)>>>,
}

#[derive(Default)]
struct State {
    identity: Option<Vec<u8>>,
    /// By number from 1: its node, and whether it has ended.
    epochs: Vec<(Option<String>, bool)>,
    claims: BTreeMap<Key, Stood>,
    records: BTreeMap<Key, Kept>,
}

struct Stood {
    fence: u64,
    standing: Standing,
    lease_end: Timestamp,
    started: Arc<[u8]>,
}

struct Kept {
    fence: u64,
    expires: Timestamp,
    record: Arc<[u8]>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::on(SystemClock::new())
    }
}

impl Memory {
    /// One whose time begins with this clock's time of day, and goes on with its monotonic time.
    #[must_use]
    pub fn on(clock: impl Clock) -> Self {
        Self {
            state: Arc::default(),
            chronometer: Chronometer::starting_at(clock.wall(), Arc::new(clock)),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    /// Calls under the lock, at one moment.
    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&mut State, Timestamp) -> T + Send + 'a,
    ) -> Reply<'a, T> {
        Box::pin(async move {
            let now = self.chronometer.now().time;
            #[cfg(test)]
            if let Some((fault, done)) = self.faults.lock().pop_front() {
                if done {
                    call(&mut self.state.lock(), now);
                }
                return Err(fault);
            }
            Ok(call(&mut self.state.lock(), now))
        })
    }
}

impl State {
    fn held(&self, key: &Key, now: Timestamp) -> Option<Held> {
        let own = self.claims.get(key)?;
        Some(Held {
            fence: own.fence,
            standing: own.standing,
            ended: self.has_ended(own.fence),
            left: own.lease_end.since(now),
            started: Arc::clone(&own.started),
        })
    }

    fn has_ended(&self, fence: u64) -> bool {
        let epoch = usize::try_from(fence >> FENCE_BITS).unwrap_or(usize::MAX);
        epoch.checked_sub(1).and_then(|at| self.epochs.get(at)).is_none_or(|(_, ended)| *ended)
    }

    /// The record, if it has not expired.
    fn record(&self, key: &Key, now: Timestamp) -> Option<Arc<[u8]>> {
        self.records.get(key).filter(|own| own.expires > now).map(|own| Arc::clone(&own.record))
    }

    fn claim(&mut self, claim: &Claim, now: Timestamp) -> Claimed {
        let stood = || Stood {
            fence: claim.fence,
            standing: claim.standing,
            lease_end: now.saturating_add(claim.lease),
            started: Arc::clone(&claim.started),
        };
        match (self.held(&claim.key, now), claim.over) {
            (Some(held), _) if held.fence == claim.fence => Claimed::Granted,
            (Some(held), Some(over)) if held.fence == over && held.is_free() => {
                self.claims.insert(claim.key.clone(), stood());
                Claimed::Granted
            }
            (Some(held), _) => Claimed::Held(held),
            (None, over) => match (self.record(&claim.key, now), over) {
                (Some(record), _) => Claimed::Finished(record),
                (None, Some(_)) => Claimed::Gone,
                (None, None) => {
                    self.claims.insert(claim.key.clone(), stood());
                    Claimed::Granted
                }
            },
        }
    }

    /// The claim of this fence, while it runs.
    fn running(&mut self, key: &Key, fence: u64) -> Option<&mut Stood> {
        self.claims.get_mut(key).filter(|own| own.fence == fence && own.standing.is_running())
    }

    fn complete(&mut self, own: &Completion) -> bool {
        if self.records.get(&own.key).is_some_and(|kept| kept.fence == own.fence) {
            return true;
        }
        if self.claims.get(&own.key).is_none_or(|held| held.fence != own.fence) {
            return false;
        }
        self.claims.remove(&own.key);
        let kept = Kept { fence: own.fence, expires: own.expires, record: Arc::clone(&own.record) };
        self.records.insert(own.key.clone(), kept);
        true
    }

    fn change(&mut self, change: &Change, now: Timestamp) -> bool {
        let Some(own) = self.running(&change.key, change.fence) else { return false };
        own.lease_end = change.lease.map_or(own.lease_end, |lease| now.saturating_add(lease));
        own.standing = change.standing.unwrap_or(own.standing);
        own.started = change.started.clone().unwrap_or_else(|| Arc::clone(&own.started));
        true
    }

    fn forget(&mut self, own: &Forget, now: Timestamp) -> bool {
        let held = self.held(&own.key, now).filter(|held| Some(held.fence) == own.over && held.is_free());
        if held.is_some() {
            self.claims.remove(&own.key);
        }
        let kept = self.record(&own.key, now).is_some();
        self.records.remove(&own.key);
        kept || held.is_some_and(|held| held.standing.is_unfinished())
    }

    fn sweep(&mut self, now: Timestamp, grace: Duration) -> u64 {
        let before = self.claims.len() + self.records.len();
        self.records.retain(|_, own| own.expires > now);
        let gone: Vec<Key> = self.claims.keys().cloned().collect();
        for key in gone {
            let Some(held) = self.held(&key, now) else { continue };
            let lapsed = |by: Duration| self.claims[&key].lease_end.saturating_add(by) <= now;
            let remove = match held.standing {
                Standing::Released => lapsed(Duration::ZERO),
                Standing::Volatile => held.ended || lapsed(grace),
                Standing::Over => lapsed(grace),
                Standing::Durable | Standing::Interrupted => false,
            };
            if remove {
                self.claims.remove(&key);
            }
        }
        (before - self.claims.len() - self.records.len()) as u64
    }
}

impl Engine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn identity(&self) -> Reply<'_, Option<Vec<u8>>> {
        self.call(|state, _| state.identity.clone())
    }

    fn replace_identity<'a>(&'a self, old: Option<&'a [u8]>, new: &'a [u8]) -> Reply<'a, bool> {
        self.call(move |state, _| {
            let same = state.identity.as_deref() == old;
            if same {
                state.identity = Some(new.to_vec());
            }
            same
        })
    }

    fn begin_epoch<'a>(&'a self, node: Option<&'a str>) -> Reply<'a, At<u64>> {
        self.call(move |state, now| {
            for (own, ended) in &mut state.epochs {
                *ended |= node.is_some() && own.as_deref() == node;
            }
            state.epochs.push((node.map(str::to_owned), false));
            At { now, answer: state.epochs.len() as u64 }
        })
    }

    fn end_epoch(&self, epoch: u64) -> Reply<'_, ()> {
        self.call(move |state, _| {
            let at = usize::try_from(epoch).ok().and_then(|epoch| epoch.checked_sub(1));
            if let Some((_, ended)) = at.and_then(|at| state.epochs.get_mut(at)) {
                *ended = true;
            }
        })
    }

    fn claim<'a>(&'a self, claims: &'a [Claim]) -> Reply<'a, At<Vec<Claimed>>> {
        self.call(|state, now| At { now, answer: claims.iter().map(|own| state.claim(own, now)).collect() })
    }

    fn complete<'a>(&'a self, completions: &'a [Completion]) -> Reply<'a, Vec<bool>> {
        self.call(|state, _| completions.iter().map(|own| state.complete(own)).collect())
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Reply<'a, Vec<bool>> {
        self.call(|state, now| changes.iter().map(|own| state.change(own, now)).collect())
    }

    fn release<'a>(&'a self, claims: &'a [(Key, u64)]) -> Reply<'a, Vec<bool>> {
        self.call(|state, _| {
            let release = |(key, fence): &(Key, u64)| {
                let held = state.running(key, *fence).is_some();
                if held {
                    state.claims.remove(key);
                }
                held
            };
            claims.iter().map(release).collect()
        })
    }

    fn look_up<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, At<Vec<Sight>>> {
        self.call(|state, now| {
            let sight = |key| Sight { record: state.record(key, now), held: state.held(key, now) };
            At { now, answer: keys.iter().map(sight).collect() }
        })
    }

    fn watch<'a>(&'a self, claims: &'a [Watch]) -> Reply<'a, Vec<bool>> {
        self.call(|state, _| claims.iter().map(|own| state.running(&own.key, own.fence).is_some()).collect())
    }

    fn told(&self) -> Reply<'_, u64> {
        Box::pin(std::future::pending())
    }

    fn forget<'a>(&'a self, keys: &'a [Forget]) -> Reply<'a, Vec<bool>> {
        self.call(|state, now| keys.iter().map(|own| state.forget(own, now)).collect())
    }

    fn page<'a>(&'a self, after: Option<&'a Key>, most: usize) -> Reply<'a, At<Page>> {
        self.call(move |state, now| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let keys = state.claims.range::<Key, _>((from, Bound::Unbounded)).take(most);
            let page = keys.filter_map(|(key, _)| Some((key.clone(), state.held(key, now)?)));
            At { now, answer: page.collect() }
        })
    }

    fn sweep(&self, grace: Duration) -> Reply<'_, u64> {
        self.call(move |state, now| state.sweep(now, grace))
    }

    fn count(&self) -> Reply<'_, Count> {
        self.call(|state, now| {
            let live = |(key, own): (&Key, &Stood)| {
                own.standing.is_running() && state.held(key, now).is_some_and(|held| !held.ended)
            };
            let live = state.claims.iter().filter(|own| live(*own)).count();
            let unfinished = state.claims.values().filter(|own| own.standing != Standing::Volatile).count();
            Count { live_reservations: live as u64, kept_records: (state.records.len() + unfinished) as u64 }
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
