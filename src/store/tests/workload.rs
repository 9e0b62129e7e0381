//! A workload under way: steps, run against a store that must answer as is written down here, and the history they leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Answer, Known, Reservation, Store};
use super::history::{Effect, Entry, Kept, State};
use super::home::{Home, Opened};
use super::script::{KEYS, RETENTION, START, Step, body, key, parameters};
use crate::ledger::Faulty;
use crate::outcome::Outcome;
use crate::sync::{block_on, shielded};
use crate::time::{Clock, ManualClock, Timestamp};

/// So long a sync takes: whoever acknowledges before it is seen to do so.
const SLOW: Duration = Duration::from_micros(100);

/// A store on a disk that does not fail, and what must have become of every step.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) opened: Option<Opened>,
    pub(crate) clock: ManualClock,
    pub(crate) disk: Faulty,
    pub(crate) history: Vec<Entry>,
    /// The time from so many changes on.
    pub(crate) times: Vec<(usize, Timestamp)>,
    pub(crate) carried: u64,
    pub(crate) removed: u64,
    pub(crate) state: State,
    pub(crate) held: BTreeMap<u8, Reservation>,
    runs: u64,
}

impl World {
    pub(crate) fn new(home: Home) -> Self {
        let (clock, disk) = (ManualClock::at(START), Faulty::over(home.base()));
        disk.slow(SLOW);
        let mut world = Self {
            home,
            opened: None,
            clock,
            disk,
            history: Vec::new(),
            times: Vec::new(),
            carried: 0,
            removed: 0,
            state: State::default(),
            held: BTreeMap::new(),
            runs: 0,
        };
        world.tick();
        world.open();
        world
    }

    fn open(&mut self) {
        self.opened = Some(self.home.open(&self.disk, &self.clock).unwrap());
    }

    /// Closes the store, and its caller's database.
    pub(crate) fn close(&mut self) {
        let begun = self.disk.changes();
        self.opened.take().unwrap().store.close(Duration::ZERO).unwrap();
        self.write_down(Effect::Synced, true, begun);
        // What is held while the store closes was interrupted.
        self.held.clear();
    }

    fn tick(&mut self) {
        self.times.push((self.disk.changes(), self.clock.wall()));
    }

    pub(crate) fn store(&self) -> &Store {
        &self.opened.as_ref().unwrap().store
    }

    /// The next run's number and outcome.
    pub(crate) fn next_run(&mut self, bytes: usize) -> (u64, Arc<[u8]>) {
        self.runs += 1;
        (self.runs, body(self.runs, bytes).into())
    }

    pub(crate) fn write_down(&mut self, effect: Effect, durable: bool, begun: usize) {
        self.state.apply(&effect);
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
                self.removed += swept.bytes;
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
                self.close();
                self.open();
            }
            #[cfg(feature = "redb-transactions")]
            Step::Lend { key, count, bytes, end } => self.lend(key..key + count, bytes, end),
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
                self.write_down(Effect::Started(number, attempt, Some(note.into())), true, begun);
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
                let (_, body) = self.next_run(50);
                self.store().resolve(&key(number), Outcome::new(body.to_vec()).finally()).unwrap();
                let expires = self.clock.wall().saturating_add(Duration::from_secs(24 * 3600));
                self.write_down(Effect::Kept(number, body, expires), true, begun);
            }
            _ => {}
        }
    }

    /// A start that is on disk: one attempt more than was interrupted, which also left the last checkpoint.
    pub(crate) fn start_of(&self, number: u8, held: &Reservation) -> Effect {
        let seen = held.last_checkpoint().map(|note| note.bytes().into());
        match self.state.kept.get(&number) {
            Some(Kept::Started(attempt, note)) => {
                assert_eq!((held.attempt(), held.is_resumed(), &seen), (attempt + 1, true, note));
            }
            _ => assert!(!held.is_resumed()),
        }
        Effect::Started(number, held.attempt(), seen)
    }

    fn is_started(&self, number: u8) -> bool {
        matches!(self.state.kept.get(&number), Some(Kept::Started(..)))
    }

    pub(crate) fn kept(&self, number: u8) -> Option<&[u8]> {
        let now = self.clock.wall();
        match self.state.kept.get(&number)? {
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
                    let (_, body) = self.next_run(bytes);
                    let mut done = Box::pin(held.complete_async(Outcome::new(body.to_vec()).finally()));
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
                    assert_eq!(Some(replay.outcome().body()), self.kept(number));
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
                    let note = checkpoint.map(|note| note.bytes().into());
                    assert_eq!(
                        self.state.kept.get(&number),
                        Some(&Kept::Started(attempt, note)),
                        "after {step:?}"
                    );
                }
                (Known::Absent, None) if !self.is_started(number) => {}
                (Known::Finished(replay), Some(body)) if replay.outcome().body() == body => {}
                (other, _) => panic!("after {step:?}: key {number}: {other:?}"),
            }
        }
        assert_eq!(self.opened.as_ref().unwrap().effects(), self.state.effects, "after {step:?}");
    }
}
