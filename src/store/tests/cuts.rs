//! Goal: contract 5.1, 5.2, 5.6 to 5.8, 7.1 after a power cut at any moment, and after a second one inside the
//! recovery. Method: a workload runs once on a disk that writes everything down; then, for each change in its log,
//! the disks that a cut at that moment may leave are opened and compared with the history. What is found must be
//! the state after some prefix of the history, no shorter than what was acknowledged as durable.
//!
//! `ONCEKEY_CUTS=n` runs n workloads with a cut at every change in every manner.

use super::super::Known;
#[cfg(test)]
use super::setting;
#[cfg(test)]
use super::workload::script;
use super::workload::{Effect, KEYS, Kept, State, Step, World, apply, key};
use super::{check_serving, open};
use crate::ledger::{Chance, Cut, Faulty, Memory, Platter};
use crate::store::Store;
use crate::time::{ManualClock, Timestamp};

#[cfg(test)]
const STEPS: usize = 60;

/// Of a key: the attempt that was interrupted and its checkpoint, or 0 and the outcome.
type Found = (u32, Option<Vec<u8>>);

/// What may be found after a cut.
struct Allowed {
    states: Vec<State>,
    time: Timestamp,
}

impl Allowed {
    fn after(world: &World, changes: usize) -> Self {
        let begun = world.history.iter().take_while(|entry| entry.begun < changes).count();
        let durable = |(at, entry): (usize, &super::workload::Entry)| {
            (entry.durable && entry.acknowledged <= changes).then_some(at + 1)
        };
        let least = world.history.iter().take(begun).enumerate().filter_map(durable).max().unwrap_or(0);
        let mut state = State::new();
        let mut states = Vec::new();
        for at in 0..=begun {
            if at >= least {
                states.push(state.clone());
            }
            if let Some(entry) = world.history.get(at) {
                apply(&mut state, &entry.effect);
            }
        }
        let time = world.times.iter().take_while(|(from, _)| *from <= changes).last().unwrap().1;
        Self { states, time }
    }

    fn check(&self, store: &Store, context: &str) {
        let found: Vec<Option<Found>> = (0..KEYS)
            .map(|number| match store.get(&key(number)) {
                Ok(Known::Finished(replay)) => Some((0, Some(replay.outcome().body().to_vec()))),
                Ok(Known::Interrupted { attempt, checkpoint, .. }) => {
                    Some((attempt, checkpoint.map(|note| note.bytes().to_vec())))
                }
                Ok(Known::Absent) => None,
                other => panic!("{context}: key {number}: {other:?}"),
            })
            .collect();
        let expected = |state: &State| -> Vec<Option<Found>> {
            let kept = |number| match state.get(&number)? {
                Kept::Finished(body, expires) => (*expires > self.time).then(|| (0, Some(body.clone()))),
                Kept::Started(attempt, note) => Some((*attempt, note.clone())),
            };
            (0..KEYS).map(kept).collect()
        };
        if self.states.iter().all(|state| expected(state) != found) {
            let short = |all: &[Option<Found>]| -> Vec<Option<(u32, Option<u64>)>> {
                let run = |body: &Vec<u8>| u64::from_le_bytes(body[..8].try_into().unwrap());
                let brief = |(attempt, body): &Found| (*attempt, body.as_ref().map(run));
                all.iter().map(|own| own.as_ref().map(brief)).collect()
            };
            let states: Vec<_> = self.states.iter().map(|state| short(&expected(state))).collect();
            panic!("{context}: attempts and runs found by key: {:?}, allowed: {states:?}", short(&found));
        }
    }
}

/// Opens what a cut left, and cuts again inside that opening.
fn check_cut(platter: &Platter, cut: Cut, allowed: &Allowed, seed: u64, context: &str) {
    let mut chance = Chance(seed);
    let (disk, clock) = (Faulty::over(platter.cut(cut)), ManualClock::at(allowed.time));
    let context = format!("{context}, {cut:?}");
    let store = open(&disk, &clock).unwrap_or_else(|error| panic!("{context}: {error}"));
    allowed.check(&store, &context);
    let log = disk.log();
    if chance.below(3) == 0 {
        check_serving(&store, &clock, &context);
    }
    drop(store);

    let image: Memory = platter.cut(cut);
    let mut second = Platter::of(&image);
    let changes = chance.below(log.len() as u64 + 1);
    log.iter().zip(0..changes).for_each(|(change, _)| second.apply(change));
    let again = manner(&mut chance);
    let context = format!("{context}, then after {changes} changes of the recovery {again:?}");
    let (disk, clock) = (Faulty::over(second.cut(again)), ManualClock::at(allowed.time));
    let store = open(&disk, &clock).unwrap_or_else(|error| panic!("{context}: {error}"));
    allowed.check(&store, &context);
    if chance.below(3) == 0 {
        check_serving(&store, &clock, &context);
    }
}

fn manner(chance: &mut Chance) -> Cut {
    match chance.below(6) {
        0 => Cut::Lost,
        1 => Cut::Kept,
        2 | 3 => Cut::Prefix(chance.next()),
        _ => Cut::Some(chance.next(), [20, 128, 236][usize::try_from(chance.below(3)).unwrap()]),
    }
}

/// Runs steps to their end, a clean close; the world, and how many changes of its disk that were.
fn lived(steps: impl IntoIterator<Item = Step>) -> (World, usize) {
    let mut world = World::new();
    for step in steps {
        world.run(step);
    }
    let begun = world.disk.changes();
    world.store.take().unwrap().close(std::time::Duration::ZERO).unwrap();
    let end = world.disk.changes();
    world.history.push(super::workload::Entry {
        effect: Effect::Synced,
        durable: true,
        begun,
        acknowledged: end,
    });
    (world, end)
}

/// Runs steps and cuts at these moments: after which share of all changes (of 65,536), in which manner, and with which
/// seed for the second cut.
pub(crate) fn check_cuts(steps: impl IntoIterator<Item = Step>, mut cuts: Vec<(u16, Cut, u64)>) {
    let (world, end) = lived(steps);
    cuts.sort_by_key(|(share, ..)| *share);
    let (mut platter, mut done, log) = (Platter::of(&Memory::default()), 0, world.disk.log());
    for (share, cut, seed) in cuts {
        let moment = end * usize::from(share) / usize::from(u16::MAX);
        log[done..moment].iter().for_each(|change| platter.apply(change));
        done = moment;
        let context = format!("after {done} of {end} changes");
        check_cut(&platter, cut, &Allowed::after(&world, done), seed, &context);
    }
}

/// Runs one workload and cuts it after every change, in one random manner or in all. How many cuts that were.
#[cfg(test)]
fn cut_everywhere(seed: u64, all: bool) -> (u64, u64, u64) {
    let (world, end) = lived(script(seed, STEPS));
    let (mut platter, mut chance, mut cuts) = (Platter::of(&Memory::default()), Chance(seed ^ 0xc01d), 0);
    for (change, done) in world.disk.log().iter().zip(1..) {
        platter.apply(change);
        let allowed = Allowed::after(&world, done);
        let context = format!("seed {seed}, after {done} of {end} changes, the last one {}", brief(change));
        let manners = if all {
            vec![
                Cut::Lost,
                Cut::Kept,
                Cut::Prefix(chance.next()),
                Cut::Prefix(chance.next()),
                Cut::Some(chance.next(), 20),
                Cut::Some(chance.next(), 128),
                Cut::Some(chance.next(), 236),
            ]
        } else {
            vec![manner(&mut chance)]
        };
        for cut in manners {
            check_cut(&platter, cut, &allowed, chance.next(), &context);
            cuts += 2;
        }
    }
    (cuts, world.carried, world.unlinked)
}

#[cfg(test)]
fn brief(change: &impl std::fmt::Debug) -> String {
    format!("{change:?}").chars().take(60).collect()
}

#[test]
fn a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8() {
    let long = setting("ONCEKEY_CUTS", 0);
    let (first, count) = (setting("ONCEKEY_SEED", 1), if long == 0 { 5 } else { long });
    let mut sums = (0, 0, 0);
    for seed in first..first + count {
        let (cuts, carried, unlinked) = cut_everywhere(seed, long > 0);
        sums = (sums.0 + cuts, sums.1 + carried, sums.2 + unlinked);
        println!("seed {seed}: {cuts} cuts, {carried} records carried forward, {unlinked} segments unlinked");
    }
    println!("{} cuts in all", sums.0);
    assert!(sums.1 > 0 && sums.2 > 0, "the workloads carry forward and unlink: {sums:?}");
}
