//! What a store does that came up after a cut: so that the next cut falls into a recovery, a sealing, a carrying
//! forward, a reopening in place, a close, or new completions.
//!
//! Law: none of it changes what is known of the workload's keys, so the same is allowed after the next cut; and what is
//! acknowledged meanwhile is kept.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Answer, Known, Store};
use super::home::{Home, Opened};
use super::script::{KEYS, START, key, parameters};
use crate::ledger::{Chance, Faulty, Paged};
use crate::outcome::Outcome;
use crate::time::ManualClock;

/// Less than the time after which a store that serves has forgotten all.
const RETENTION: Duration = Duration::from_secs(50_000);
/// Keys of this life alone.
const OWN: std::ops::Range<u8> = KEYS + 1..KEYS + 5;

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    /// Opened, and dropped.
    Short,
    Close,
    Sweep,
    Reopen,
    /// New completions of so many bytes, then a sweep.
    Complete(usize),
}

impl Life {
    pub(super) fn by(chance: &mut Chance) -> Self {
        match chance.below(32) {
            0..4 => Self::Close,
            4..8 => Self::Sweep,
            8..12 => Self::Reopen,
            12..15 => Self::Complete(100),
            15 => Self::Complete(400_000),
            _ => Self::Short,
        }
    }
}

/// What was acknowledged in a life: after so many changes, this key.
pub(super) struct Lived {
    home: Home,
    acknowledged: Vec<(usize, u8, usize)>,
}

/// Lives on, to the end of the store.
pub(super) fn live(life: Life, opened: &Opened, disk: &Faulty, home: Home) -> Lived {
    let mut lived = Lived { home, acknowledged: Vec::new() };
    match life {
        Life::Short => {}
        Life::Close => opened.store.clone().close(Duration::ZERO).unwrap(),
        Life::Sweep => drop(opened.store.sweep().unwrap()),
        Life::Reopen => opened.store.reopen().unwrap(),
        Life::Complete(bytes) => {
            for number in OWN {
                // A life before this one may have completed it.
                if complete(&opened.store, number, bytes) {
                    lived.acknowledged.push((disk.changes(), number, bytes));
                }
            }
            opened.store.sweep().unwrap();
        }
    }
    lived
}

fn complete(store: &Store, number: u8, bytes: usize) -> bool {
    let (key, parameters) = (key(number), parameters(number));
    let request = store.request(&key, &parameters).retention(RETENTION).durable();
    let Answer::Fresh(held) = request.declare(bytes as u64).begin().unwrap() else { return false };
    held.complete(Outcome::new(vec![number; bytes])).unwrap();
    true
}

impl Lived {
    /// Opens an image of a cut after so many changes, and looks for what had been acknowledged.
    pub(super) fn check(&self, image: Paged, changes: usize, context: &dyn Fn() -> String) {
        let mut kept = self.acknowledged.iter().filter(|(at, ..)| *at <= changes).peekable();
        if kept.peek().is_none() {
            return;
        }
        let opened = self.home.open_on(Arc::new(image), &ManualClock::at(START));
        let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", context()));
        for (_, number, bytes) in kept {
            match opened.store.get(&key(*number)) {
                Ok(Known::Finished(replay)) if replay.outcome().body() == vec![*number; *bytes] => {}
                other => panic!("{}: key {number} was acknowledged: {other:?}", context()),
            }
        }
    }
}
