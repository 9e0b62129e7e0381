//! Goal: contract 5.9, 10.4 on a disk that lies: a write that goes to another place, a sector as it was before, a flipped
//! bit, a sync that does nothing. Method: a workload runs on a disk whose n-th call is answered with a lie, for n = 1 until
//! none is told any more; then it is opened again, and as power cuts leave it.
//!
//! What can't be promised: such a disk loses what it acknowledged, and the store can't know it where the lie leaves a
//! state that once was. So these laws only: nothing panics, nothing hangs, and what is replayed was an outcome of that
//! very key, byte for byte. Whatever else is wrong is an error, or is not there.
//!
//! `ONCEKEY_FAULTS=n` runs n workloads with every n-th call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Answer, Known, Reservation, Store};
use super::campaign::{Campaign, seeds};
use super::home::{Home, Opened};
use super::script::{KEYS, START, Step, body, key, parameters, script};
use crate::error::Result;
use crate::ledger::{Chance, Cut, Failure, Faulty};
use crate::outcome::Outcome;
use crate::sync::shielded;
use crate::time::ManualClock;

const STEPS: usize = 40;

/// A store on a lying disk, and every outcome that was ever given to it, by key.
struct Trial {
    opened: Option<Opened>,
    clock: ManualClock,
    given: BTreeMap<u8, Vec<Arc<[u8]>>>,
    held: BTreeMap<u8, Reservation>,
    runs: u64,
    refused: u64,
}

impl Trial {
    fn open(&mut self, disk: &Faulty) {
        self.opened = Home::Files.open(disk, &self.clock).ok();
        self.refused += u64::from(self.opened.is_none());
    }

    fn close(&mut self) {
        let Some(opened) = self.opened.take() else { return };
        self.held.clear();
        drop(opened.store.close(Duration::ZERO));
    }

    fn run(&mut self, step: Step, disk: &Faulty) {
        if matches!(step, Step::Restart) || self.opened.is_none() {
            self.close();
            self.open(disk);
        }
        let Some(store) = self.opened.as_ref().map(|own| own.store.clone()) else { return };
        // Whatever is refused is refused: only what is answered counts.
        drop(self.act(&store, step));
        self.check(&store, &format!("{step:?}"));
    }

    fn act(&mut self, store: &Store, step: Step) -> Result<()> {
        match step {
            Step::Complete { key: number, bytes, retention, relaxed } => {
                let (key, parameters) = (key(number), parameters(number));
                let request = store.request(&key, &parameters).retention(retention).declare(bytes as u64 + 8);
                let request = if relaxed { request.relaxed() } else { request.durable() };
                self.complete(number, request.begin()?, bytes)?;
            }
            Step::Batch { key: number, count, .. } => {
                for number in number..number + count {
                    self.complete(number, store.begin(&key(number), &parameters(number))?, 100)?;
                }
            }
            Step::Start { key: number, .. } if !self.held.contains_key(&number) => {
                let (key, parameters) = (key(number), parameters(number));
                if let Answer::Fresh(held) = store.request(&key, &parameters).start_durably().begin()? {
                    self.held.insert(number, held);
                }
            }
            Step::Note { key: number, bytes } => {
                self.held.get(&number).map(|held| held.checkpoint(&vec![1; bytes])).transpose()?;
            }
            Step::Let(number) | Step::Panic(number) | Step::Release(number) => {
                drop(self.held.remove(&number));
            }
            Step::Resolve(number) => {
                let body = self.give(number, 50);
                store.resolve(&key(number), Outcome::new(body.to_vec()).finally())?;
            }
            Step::Forget(number) => drop(store.forget(&key(number))?),
            Step::Advance(by) => self.clock.advance(by),
            Step::Sweep => drop(store.sweep()?),
            Step::Flush => store.flush()?,
            Step::Reopen => store.reopen()?,
            _ => {}
        }
        Ok(())
    }

    fn give(&mut self, number: u8, bytes: usize) -> Arc<[u8]> {
        self.runs += 1;
        let body: Arc<[u8]> = body(self.runs, bytes).into();
        self.given.entry(number).or_default().push(Arc::clone(&body));
        body
    }

    fn complete(&mut self, number: u8, answer: Answer, bytes: usize) -> Result<()> {
        let held = match (self.held.remove(&number), answer) {
            (Some(held), _) | (None, Answer::Fresh(held)) => held,
            (None, Answer::Replay(replay)) => {
                self.check_replay(number, replay.outcome().body(), "begin");
                return Ok(());
            }
            (None, Answer::InFlight(_)) => return Ok(()),
        };
        let body = self.give(number, bytes);
        held.complete(Outcome::new(body.to_vec()).finally())?;
        Ok(())
    }

    fn check(&self, store: &Store, context: &str) {
        for number in 0..KEYS {
            if let Ok(Known::Finished(replay)) = store.get(&key(number)) {
                self.check_replay(number, replay.outcome().body(), context);
            }
        }
    }

    fn check_replay(&self, number: u8, body: &[u8], context: &str) {
        let given = self.given.get(&number).is_some_and(|all| all.iter().any(|own| **own == *body));
        assert!(given, "{context}: key {number} replays {} bytes that were never its outcome", body.len());
    }
}

/// Runs a workload; whether a lie was told, and how often the store was refused.
fn run(seed: u64, lie: Failure) -> (bool, u64) {
    let (clock, disk) = (ManualClock::at(START), Faulty::new());
    let (given, held) = (BTreeMap::new(), BTreeMap::new());
    let mut trial = Trial { opened: None, clock, given, held, runs: 0, refused: 0 };
    disk.fail(Some(lie));
    let all = || {
        for step in script(seed, STEPS) {
            trial.run(step, &disk);
        }
        trial.close();
        let told = disk.asked().2 > 0;
        disk.fail(None);
        let (platter, mut chance) = (disk.platter(), Chance(seed));
        let cuts = [Cut::Lost, Cut::Some(chance.next(), 128)].map(|cut| Faulty::over(platter.cut(cut)));
        for disk in [disk.clone()].into_iter().chain(cuts) {
            for step in [Step::Restart, Step::Sweep].into_iter().chain(script(seed + 1, 5)) {
                trial.run(step, &disk);
            }
            trial.close();
        }
        (told, trial.refused)
    };
    shielded(all).unwrap_or_else(|| panic!("seed {seed}, {lie:?}"))
}

fn lie_everywhere(name: &'static str, stride: u64, lie: impl Fn(u64) -> Failure) {
    let (seeds, long) = seeds("ONCEKEY_FAULTS", 2);
    let mut campaign = Campaign::new(name, "ONCEKEY_FAULTS");
    let stride = if long { 1 } else { stride };
    for seed in seeds {
        campaign.seed = seed;
        let (mut at, mut refusals) = (1 + seed % stride, 0);
        loop {
            let (told, refused) = run(seed, lie(at));
            if !told {
                break;
            }
            campaign.cases += 1;
            campaign.faults += 1;
            refusals += refused;
            at += stride;
        }
        campaign.tell(format_args!("{at} calls, {refusals} openings refused"));
    }
    assert!(campaign.faults > 0);
}

#[test]
fn a_write_that_goes_elsewhere_shows_no_wrong_outcome_5_9_10_4() {
    lie_everywhere("lie-misdirected", 13, Failure::Misdirected);
}

#[test]
fn a_sector_that_is_read_as_it_was_shows_no_wrong_outcome_5_9_10_4() {
    lie_everywhere("lie-stale", 13, Failure::Stale);
}

#[test]
fn a_bit_that_is_read_flipped_shows_no_wrong_outcome_5_9_10_4() {
    lie_everywhere("lie-flipped", 13, Failure::Flipped);
}

#[test]
fn a_sync_that_does_nothing_shows_no_wrong_outcome_5_9_10_4() {
    lie_everywhere("lie-sync", 4, Failure::Lying);
}
