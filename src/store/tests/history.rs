//! What a workload must have come to: what was begun and acknowledged, each with its place in the disk's log; and so what
//! may be found after a cut.
//!
//! Law: what is found is the state after some prefix of the history, no shorter than what was acknowledged as durable.
//! What one transaction writes, records and effects, is one entry: found as a whole or not at all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::super::Known;
use super::home::Opened;
use super::script::{KEYS, key};
use super::workload::World;
use crate::outcome::Checkpoint;
use crate::time::Timestamp;

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Outcome and expiry.
    Finished(Arc<[u8]>, Timestamp),
    /// Attempt, and the last checkpoint.
    Started(u32, Option<Arc<[u8]>>),
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// By key.
    pub(crate) kept: BTreeMap<u8, Kept>,
    /// Effects in the caller's table, run to key.
    pub(crate) effects: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Kept(u8, Arc<[u8]>, Timestamp),
    Started(u8, u32, Option<Arc<[u8]>>),
    Released(u8),
    Forgotten(u8),
    /// An effect in the caller's table.
    #[cfg(feature = "redb-transactions")]
    Row(u64, u64),
    /// What one transaction committed.
    #[cfg(feature = "redb-transactions")]
    Together(Vec<Effect>),
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

impl State {
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Kept(key, body, expires) => {
                drop(self.kept.insert(*key, Kept::Finished(Arc::clone(body), *expires)));
            }
            Effect::Started(key, attempt, note) => {
                drop(self.kept.insert(*key, Kept::Started(*attempt, note.clone())));
            }
            Effect::Released(key) | Effect::Forgotten(key) => drop(self.kept.remove(key)),
            #[cfg(feature = "redb-transactions")]
            Effect::Row(run, key) => drop(self.effects.insert(*run, *key)),
            #[cfg(feature = "redb-transactions")]
            Effect::Together(all) => all.iter().for_each(|own| self.apply(own)),
            Effect::Synced => {}
        }
    }

    /// Whether this is what was found at this time.
    fn is(&self, found: &Found, time: Timestamp) -> bool {
        let fits = |(number, known): (u8, &Known)| match (known, self.kept.get(&number)) {
            (Known::Finished(replay), Some(Kept::Finished(body, expires))) => {
                *expires > time && replay.outcome().body() == &**body
            }
            (Known::Interrupted { attempt, checkpoint, .. }, Some(Kept::Started(own, note))) => {
                attempt == own && checkpoint.as_ref().map(Checkpoint::bytes) == note.as_deref()
            }
            (Known::Absent, Some(Kept::Finished(_, expires))) => *expires <= time,
            (Known::Absent, None) => true,
            _ => false,
        };
        self.effects == found.effects && (0..).zip(&found.known).all(fits)
    }
}

/// What is found after a cut.
struct Found {
    known: Vec<Known>,
    effects: BTreeMap<u64, u64>,
}

/// What may be found after a cut.
pub(crate) struct Allowed {
    states: Vec<State>,
    pub(crate) time: Timestamp,
}

impl Allowed {
    /// After so many changes.
    pub(crate) fn after(world: &World, changes: usize) -> Self {
        let begun = world.history.iter().take_while(|entry| entry.begun < changes).count();
        let durable =
            |(at, entry): (usize, &Entry)| (entry.durable && entry.acknowledged <= changes).then_some(at + 1);
        let least = world.history.iter().take(begun).enumerate().filter_map(durable).max().unwrap_or(0);
        let mut state = State::default();
        let mut states = Vec::new();
        for at in 0..=begun {
            if at >= least {
                states.push(state.clone());
            }
            if let Some(entry) = world.history.get(at) {
                state.apply(&entry.effect);
            }
        }
        let time = world.times.iter().take_while(|(from, _)| *from <= changes).last().unwrap().1;
        Self { states, time }
    }

    /// Whatever is answered was there: for a store that may refuse to answer.
    pub(crate) fn check_answers(&self, opened: &Opened, context: &dyn Fn() -> String) {
        for number in 0..KEYS {
            let Ok(Known::Finished(replay)) = opened.store.get(&key(number)) else { continue };
            let was_there = |state: &State| match state.kept.get(&number) {
                Some(Kept::Finished(body, _)) => replay.outcome().body() == &**body,
                _ => false,
            };
            assert!(self.states.iter().any(was_there), "{}: key {number}: {replay:?}", context());
        }
    }

    pub(crate) fn check(&self, opened: &Opened, context: &dyn Fn() -> String) {
        let get = |number| match opened.store.get(&key(number)) {
            Ok(known @ (Known::Finished(_) | Known::Interrupted { .. } | Known::Absent)) => known,
            other => panic!("{}: key {number}: {other:?}", context()),
        };
        let found = Found { known: (0..KEYS).map(get).collect(), effects: opened.effects() };
        if self.states.iter().any(|state| state.is(&found, self.time)) {
            return;
        }
        let mut told = format!("{}\nfound:   {}\n", context(), brief(&found));
        for state in &self.states {
            writeln!(told, "allowed: {}", state.brief(self.time)).unwrap();
        }
        panic!("{told}");
    }
}

/// Runs found by key, attempts of what was interrupted, and the number of effects.
fn brief(found: &Found) -> String {
    let one = |(number, known): (u8, &Known)| match known {
        Known::Finished(replay) => Some(format!("{number}: run {}", run_of(replay.outcome().body()))),
        Known::Interrupted { attempt, .. } => Some(format!("{number}: attempt {attempt}")),
        _ => None,
    };
    let keys: Vec<_> = (0..).zip(&found.known).filter_map(one).collect();
    format!("{}; effects {:?}", keys.join(", "), found.effects.keys())
}

impl State {
    fn brief(&self, time: Timestamp) -> String {
        let one = |(number, kept): (&u8, &Kept)| match kept {
            Kept::Finished(body, expires) if *expires > time => {
                Some(format!("{number}: run {}", run_of(body)))
            }
            Kept::Finished(..) => None,
            Kept::Started(attempt, _) => Some(format!("{number}: attempt {attempt}")),
        };
        let keys: Vec<_> = self.kept.iter().filter_map(one).collect();
        format!("{}; effects {:?}", keys.join(", "), self.effects.keys())
    }
}

/// The run that an outcome names.
pub(crate) fn run_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}
