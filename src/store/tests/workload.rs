//! Steps, and the history that they leave: what was begun, what was acknowledged, each with its place in the
//! disk's log.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{Answer, Known, Reservation, Store};
use super::open;
use crate::digest::Parameters;
use crate::ledger::{Chance, Faulty, Memory};
use crate::options::Builder;
use crate::outcome::Outcome;
use crate::sync::{block_on, shielded};
use crate::time::{Clock, ManualClock, Timestamp};
use crate::token::Key;

pub(crate) const KEYS: u8 = 14;
/// Of outcomes of durable reservations.
const RETENTION: Duration = Duration::from_secs(20);
pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Complete {
        key: u8,
        bytes: usize,
        retention: Duration,
        relaxed: bool,
    },
    /// So many keys from this one on are completed at once.
    Batch {
        key: u8,
        count: u8,
        relaxed: bool,
    },
    Release(u8),
    /// Durably started, and held from then on; an interrupted one is resumed.
    Start {
        key: u8,
        relaxed: bool,
    },
    /// A checkpoint of what is held.
    Note {
        key: u8,
        bytes: usize,
    },
    /// What is held is dropped.
    Let(u8),
    /// What is held is dropped by a panic.
    Panic(u8),
    Resolve(u8),
    Forget(u8),
    Advance(Duration),
    Sweep,
    Flush,
    Reopen,
    Restart,
}

/// About 60 steps: few keys, short and long retentions, large and small outcomes, and time going on.
#[cfg(test)]
pub(crate) fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut chance = Chance(seed);
    (0..steps).map(|_| Step::of(|bound| chance.below(bound))).collect()
}

impl Step {
    /// A step of choices; `below` gives a number below its bound.
    pub(crate) fn of(mut below: impl FnMut(u64) -> u64) -> Self {
        let key = u8::try_from(below(u64::from(KEYS))).unwrap();
        let relaxed = below(4) == 0;
        match below(100) {
            0..34 => {
                let bytes = [10, 200, 5_000, 60_000, 300_000][usize::try_from(below(5)).unwrap()];
                let seconds = [2, 5, 30, 3600][usize::try_from(below(4)).unwrap()];
                Self::Complete { key, bytes, retention: Duration::from_secs(seconds), relaxed }
            }
            34..40 => Self::Start { key, relaxed },
            40..44 => Self::Note { key, bytes: [0, 30, 5_000, 70_000][usize::try_from(below(4)).unwrap()] },
            44..46 => Self::Let(key),
            46 => Self::Panic(key),
            47 => Self::Resolve(key),
            48..52 => Self::Batch { key: key.min(KEYS - 5), count: 5, relaxed },
            52..56 => Self::Release(key),
            56..66 => Self::Forget(key),
            66..80 => Self::Advance(Duration::from_millis([300, 1100, 2500, 6000][usize::from(key) % 4])),
            80..92 => Self::Sweep,
            92..94 => Self::Flush,
            94..97 => Self::Reopen,
            _ => Self::Restart,
        }
    }
}

pub(crate) fn builder(clock: &ManualClock) -> Builder {
    Store::builder()
        .clock(clock.clone())
        .background_sweep(false)
        .segment_bytes_max(1 << 20)
        .segment_age_max(Duration::from_secs(1))
        .stripes(4)
        .declared_outcome_bytes(64)
        .secret(crate::digest::Secret::new([7; 32]))
        .relaxed(Duration::from_secs(100_000))
}

pub(crate) fn key(number: u8) -> Key {
    Key::new([b'a' + number % 3], format!("token-{number}")).unwrap()
}

pub(crate) fn parameters(number: u8) -> Parameters<'static> {
    Parameters::of(&number).unwrap()
}

/// An outcome that no other run has.
pub(crate) fn body(run: u64, bytes: usize) -> Vec<u8> {
    let mut body = run.to_le_bytes().to_vec();
    let mut chance = Chance(run);
    while body.len() < bytes {
        body.extend_from_slice(&chance.next().to_le_bytes());
    }
    body
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Outcome and expiry.
    Finished(Vec<u8>, Timestamp),
    /// Attempt, and the last checkpoint.
    Started(u32, Option<Vec<u8>>),
}

/// What is kept, by key.
pub(crate) type State = BTreeMap<u8, Kept>;

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Kept(u8, Vec<u8>, Timestamp),
    Started(u8, u32, Option<Vec<u8>>),
    Released(u8),
    Forgotten(u8),
    /// All before it is durable.
    Synced,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) effect: Effect,
    pub(crate) durable: bool,
    /// Changes of the disk before it was begun, and when it was acknowledged.
    pub(crate) begun: usize,
    pub(crate) acknowledged: usize,
}

pub(crate) fn apply(state: &mut State, effect: &Effect) {
    match effect {
        Effect::Kept(key, body, expires) => drop(state.insert(*key, Kept::Finished(body.clone(), *expires))),
        Effect::Started(key, attempt, note) => {
            drop(state.insert(*key, Kept::Started(*attempt, note.clone())));
        }
        Effect::Released(key) | Effect::Forgotten(key) => drop(state.remove(key)),
        Effect::Synced => {}
    }
}

/// A store on a disk that does not fail, and what must have become of every step.
pub(crate) struct World {
    pub(crate) store: Option<Store>,
    pub(crate) clock: ManualClock,
    pub(crate) disk: Faulty,
    pub(crate) history: Vec<Entry>,
    /// The time from so many changes on.
    pub(crate) times: Vec<(usize, Timestamp)>,
    pub(crate) carried: u64,
    pub(crate) unlinked: u64,
    state: State,
    held: BTreeMap<u8, Reservation>,
    runs: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let (clock, disk) = (ManualClock::at(START), Faulty::over(Memory::default()));
        let mut world = Self {
            store: None,
            clock,
            disk,
            history: Vec::new(),
            times: Vec::new(),
            carried: 0,
            unlinked: 0,
            state: State::new(),
            held: BTreeMap::new(),
            runs: 0,
        };
        world.tick();
        world.store = Some(open(&world.disk, &world.clock).unwrap());
        world
    }

    fn tick(&mut self) {
        self.times.push((self.disk.changes(), self.clock.wall()));
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn write_down(&mut self, effect: Effect, durable: bool, begun: usize) {
        apply(&mut self.state, &effect);
        self.history.push(Entry { effect, durable, begun, acknowledged: self.disk.changes() });
    }

    pub(crate) fn run(&mut self, step: Step) {
        self.tick();
        let begun = self.disk.changes();
        match step {
            Step::Complete { key, bytes, retention, relaxed } => {
                self.complete(&[key], bytes, retention, relaxed);
            }
            Step::Batch { key, count, relaxed } => {
                let keys: Vec<_> = (key..key + count).collect();
                self.complete(&keys, 100, Duration::from_secs(20), relaxed);
            }
            Step::Start { .. } | Step::Note { .. } | Step::Let(_) | Step::Panic(_) | Step::Resolve(_) => {
                self.run_durably(step);
            }
            // Of what is held or interrupted, other steps take care.
            Step::Release(number) | Step::Forget(number) if self.held.contains_key(&number) => {}
            Step::Release(number) if self.is_started(number) => {}
            Step::Release(number) => {
                if let Answer::Fresh(held) = self.store().begin(&key(number), &parameters(number)).unwrap() {
                    held.release().unwrap();
                }
            }
            Step::Forget(number) => {
                let kept = self.kept(number).is_some() || self.is_started(number);
                assert_eq!(self.store().forget(&key(number)).unwrap(), kept);
                if kept {
                    self.write_down(Effect::Forgotten(number), true, begun);
                }
            }
            Step::Advance(by) => self.clock.advance(by),
            Step::Sweep => {
                let swept = self.store().sweep().unwrap();
                self.carried += swept.carried;
                self.unlinked += swept.segments;
            }
            Step::Flush => {
                self.store().flush().unwrap();
                self.write_down(Effect::Synced, true, begun);
            }
            Step::Reopen => {
                self.store().reopen().unwrap();
                self.write_down(Effect::Synced, true, begun);
            }
            Step::Restart => {
                self.store.take().unwrap().close(Duration::ZERO).unwrap();
                self.write_down(Effect::Synced, true, begun);
                // What is held while the store closes was interrupted.
                self.held.clear();
                self.store = Some(open(&self.disk, &self.clock).unwrap());
            }
        }
        self.check(step);
    }

    /// The steps of durable reservations.
    fn run_durably(&mut self, step: Step) {
        let begun = self.disk.changes();
        match step {
            Step::Start { key: number, relaxed } if !self.held.contains_key(&number) => {
                let (key, parameters) = (key(number), parameters(number));
                let store = self.store().clone();
                let request = store.request(&key, &parameters).start_durably().retention(RETENTION);
                let request = if relaxed { request.relaxed() } else { request.durable() };
                if let Answer::Fresh(held) = request.begin().unwrap() {
                    let start = self.start_of(number, &held);
                    self.write_down(start, true, begun);
                    self.held.insert(number, held);
                }
            }
            Step::Note { key: number, bytes } => {
                let Some(held) = self.held.get(&number) else { return };
                self.runs += 1;
                let (attempt, note) = (held.attempt(), body(self.runs, bytes));
                held.checkpoint(&note).unwrap();
                self.write_down(Effect::Started(number, attempt, Some(note)), true, begun);
            }
            Step::Let(number) => {
                let Some(held) = self.held.remove(&number) else { return };
                held.complete(Outcome::new("").retryable()).unwrap();
                self.write_down(Effect::Released(number), true, begun);
            }
            Step::Panic(number) => {
                let Some(held) = self.held.remove(&number) else { return };
                assert!(
                    shielded(move || {
                        let _held = held;
                        std::panic::resume_unwind(Box::new("planned"));
                    })
                    .is_none()
                );
            }
            Step::Resolve(number) if self.is_started(number) && !self.held.contains_key(&number) => {
                self.runs += 1;
                let body = body(self.runs, 50);
                self.store().resolve(&key(number), Outcome::new(body.clone()).finally()).unwrap();
                let expires = self.clock.wall().saturating_add(Duration::from_secs(24 * 3600));
                self.write_down(Effect::Kept(number, body, expires), true, begun);
            }
            _ => {}
        }
    }

    /// A start that is on disk: one attempt more than was interrupted, which also left the last checkpoint.
    fn start_of(&self, number: u8, held: &Reservation) -> Effect {
        let seen = held.last_checkpoint().map(|note| note.bytes().to_vec());
        match self.state.get(&number) {
            Some(Kept::Started(attempt, note)) => {
                assert_eq!((held.attempt(), held.is_resumed(), &seen), (attempt + 1, true, note));
            }
            _ => assert!(!held.is_resumed()),
        }
        Effect::Started(number, held.attempt(), seen)
    }

    fn is_started(&self, number: u8) -> bool {
        matches!(self.state.get(&number), Some(Kept::Started(..)))
    }

    fn kept(&self, number: u8) -> Option<&Vec<u8>> {
        let now = self.clock.wall();
        match self.state.get(&number)? {
            Kept::Finished(body, expires) if *expires > now => Some(body),
            _ => None,
        }
    }

    /// Completes what is new of these keys, handed over in this order before any is awaited.
    fn complete(&mut self, keys: &[u8], bytes: usize, retention: Duration, relaxed: bool) {
        let begun = self.disk.changes();
        let store = self.store().clone();
        let mut pending = Vec::new();
        for number in keys.iter().copied() {
            let (key, parameters) = (key(number), parameters(number));
            let request = store.request(&key, &parameters).retention(retention).declare(bytes as u64 + 8);
            let request = if relaxed { request.relaxed() } else { request.durable() };
            let (mut durable, mut kept_for, mut start) = (!relaxed, retention, None);
            let answer = match self.held.remove(&number) {
                Some(held) => {
                    (durable, kept_for) = (!held.terms().relaxed, RETENTION);
                    Answer::Fresh(held)
                }
                None => match request.begin().unwrap() {
                    Answer::Fresh(held) if held.is_durable() => {
                        // In the order in which they were handed over.
                        start = Some(self.start_of(number, &held));
                        Answer::Fresh(held)
                    }
                    answer => answer,
                },
            };
            match answer {
                Answer::Fresh(held) => {
                    assert_eq!(self.kept(number), None, "key {number} runs again");
                    self.runs += 1;
                    let body = body(self.runs, bytes);
                    let mut done = Box::pin(held.complete_async(Outcome::new(body.clone()).finally()));
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    let ready = done.as_mut().poll(&mut context).is_ready();
                    pending.push((
                        number,
                        body,
                        if ready { None } else { Some(done) },
                        durable,
                        kept_for,
                        start,
                    ));
                }
                Answer::Replay(replay) => {
                    assert_eq!(Some(replay.outcome().body()), self.kept(number).map(Vec::as_slice));
                }
                Answer::InFlight(_) => panic!("nobody else runs it"),
            }
        }
        for (number, body, done, durable, retention, start) in pending {
            if let Some(start) = start {
                self.write_down(start, true, begun);
            }
            if let Some(done) = done {
                block_on(done).unwrap();
            }
            let expires = self.clock.wall().saturating_add(retention);
            self.write_down(Effect::Kept(number, body, expires), durable, begun);
        }
    }

    fn check(&self, step: Step) {
        for number in 0..KEYS {
            match (self.store().get(&key(number)).unwrap(), self.kept(number)) {
                (Known::InFlight { .. }, None) if self.held.contains_key(&number) => {}
                (Known::Interrupted { attempt, checkpoint, .. }, None) => {
                    let note = checkpoint.map(|note| note.bytes().to_vec());
                    assert_eq!(
                        self.state.get(&number),
                        Some(&Kept::Started(attempt, note)),
                        "after {step:?}"
                    );
                }
                (Known::Absent, None) if !self.is_started(number) => {}
                (Known::Finished(replay), Some(body)) if replay.outcome().body() == body => {}
                (other, _) => panic!("after {step:?}: key {number}: {other:?}"),
            }
        }
    }
}
