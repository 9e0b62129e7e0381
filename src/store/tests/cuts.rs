//! Goal: contract 5.1, 5.2, 5.4, 5.6 to 5.8, 6.1 to 6.3, 7.1 after a power cut at any moment, in both homes. Method: a
//! workload runs once on a disk that writes everything down; then, for each change in its log, the disks that a cut at
//! that moment may leave are opened and compared with the history. What is found must be the state after some prefix of
//! the history, no shorter than what was acknowledged as durable; an effect in the caller's table is there with its
//! record or not at all. Each store that was found goes on living (it is swept, opened in place, closed, written to), and
//! is cut again in the middle of that, and again.
//!
//! The short form takes a few manners of each cut by chance. `ONCEKEY_CUTS=n` runs n workloads with all of them: nothing,
//! all, each pending change missing alone, each alone, each prefix, random subsets, torn; every subset of up to 8.

use super::campaign::{Campaign, seeds};
use super::check_serving;
use super::history::Allowed;
use super::home::Home;
use super::life::{Life, live};
use super::script::Step;
use super::workload::World;
use crate::ledger::{Chance, Cut, Faulty, Paged, Platter};
use crate::time::ManualClock;

const STEPS: usize = 60;
/// Every subset of so many pending changes is tried.
const FEW: usize = 8;
/// A store that was cut is cut again so often at most.
const DEEP: usize = 3;
/// One in so many is asked to serve, which ends it.
const SERVING: u64 = 6;
/// So many workloads carry records forward and give space back, whatever their seeds.
const MANY: usize = 20;

/// One history and what is cut of it.
struct Trial<'a> {
    home: Home,
    allowed: &'a Allowed,
    campaign: &'a mut Campaign,
    chance: Chance,
}

impl Trial<'_> {
    /// Opens what a cut left, compares, and cuts again in what that store does then.
    fn check(&mut self, image: Paged, deep: usize, context: &dyn Fn() -> String) {
        let (disk, clock) = (Faulty::over(image), ManualClock::at(self.allowed.time));
        let opened = self.home.open(&disk, &clock).unwrap_or_else(|error| panic!("{}: {error}", context()));
        self.campaign.cases += 1;
        self.allowed.check(&opened, context);
        if self.chance.below(SERVING) == 0 {
            check_serving(&opened, &clock, &context());
            return;
        }
        if deep == DEEP {
            return;
        }
        let life = Life::by(&mut self.chance);
        let lived = live(life, &opened, &disk, self.home);
        drop(opened);
        let log = disk.log();
        let changes = self.chance.below(log.len() as u64 + 1);
        let mut platter = Platter::of(disk.base());
        log.iter().zip(0..changes).for_each(|(change, _)| platter.apply(change));
        let all = Cut::all(platter.pending(), FEW, &mut self.chance);
        let cut = all[usize::try_from(self.chance.below(all.len() as u64)).unwrap()];
        self.campaign.faults += 1;
        let context =
            || format!("{}, then {life:?}, after {changes} of {} changes {cut:?}", context(), log.len());
        let image = platter.cut(cut);
        lived.check(image.copy(), usize::try_from(changes).unwrap(), &context);
        self.check(image, deep + 1, &context);
    }
}

/// Runs steps to their end, a clean close.
fn lived(home: Home, steps: impl IntoIterator<Item = Step>) -> World {
    let mut world = World::new(home);
    for step in steps {
        world.run(step);
    }
    world.close();
    world
}

/// Runs steps and cuts at these moments: after which share of all changes (of 65,536), in which of all manners, and with
/// which seed for what becomes of the store then.
pub(crate) fn check_cuts(steps: impl IntoIterator<Item = Step>, mut cuts: Vec<(u16, u16, u64)>) {
    let (home, mut campaign) = (Home::Files, Campaign::new("power-cut", "ONCEKEY_CUTS"));
    let world = lived(home, steps);
    cuts.sort_unstable();
    let (mut platter, mut done, log) = (Platter::of(world.disk.base()), 0, world.disk.log());
    for (share, manner, seed) in cuts {
        let moment = log.len() * usize::from(share) / usize::from(u16::MAX);
        log[done..moment].iter().for_each(|change| platter.apply(change));
        done = moment;
        let mut chance = Chance(seed);
        let all = Cut::all(platter.pending(), FEW, &mut chance);
        let cut = all[usize::from(manner) % all.len()];
        let context = || format!("after {moment} of {} changes, {cut:?}", log.len());
        let allowed = Allowed::after(&world, done);
        let mut trial = Trial { home, allowed: &allowed, campaign: &mut campaign, chance };
        trial.check(platter.cut(cut), 1, &context);
    }
}

/// Runs one workload and cuts it after every change, in so many random manners or in all. What was carried forward, and
/// how many bytes were given back.
pub(super) fn each_cut(
    home: Home,
    seed: u64,
    manners: Option<usize>,
    mut check: impl FnMut(Paged, &Allowed, Chance, &dyn Fn() -> String),
) -> (u64, u64) {
    let world = lived(home, home.script(seed, STEPS));
    let (mut platter, mut chance) = (Platter::of(world.disk.base()), Chance(seed ^ 0xc01d));
    let log = world.disk.log();
    for (change, done) in log.iter().zip(1..) {
        platter.apply(change);
        let allowed = Allowed::after(&world, done);
        let mut cuts = Cut::all(platter.pending(), FEW, &mut chance);
        while manners.is_some_and(|manners| cuts.len() > manners) {
            cuts.swap_remove(usize::try_from(chance.below(cuts.len() as u64)).unwrap());
        }
        for cut in cuts {
            let context = || {
                let last: String = format!("{change:?}").chars().take(60).collect();
                let of = log.len();
                format!("{home:?}, seed {seed}, after {done} of {of} changes, the last one {last}, {cut:?}")
            };
            check(platter.cut(cut), &allowed, Chance(chance.next()), &context);
        }
    }
    (world.carried, world.removed)
}

fn campaign(name: &'static str, home: Home, short: u64, manners: usize) {
    let (seeds, long) = seeds("ONCEKEY_CUTS", short);
    let is_many = !long || seeds.clone().count() >= MANY;
    let mut campaign = Campaign::new(name, "ONCEKEY_CUTS");
    let mut sums = (0, 0);
    for seed in seeds {
        campaign.seed = seed;
        let check = |image, allowed: &Allowed, chance, context: &dyn Fn() -> String| {
            campaign.faults += 1;
            Trial { home, allowed, campaign: &mut campaign, chance }.check(image, 1, context);
        };
        let (carried, removed) = each_cut(home, seed, (!long).then_some(manners), check);
        sums = (sums.0 + carried, sums.1 + removed);
        campaign.tell(format_args!("{carried} records carried forward, {removed} bytes given back"));
    }
    assert!(!is_many || sums.0 > 0 && sums.1 > 0, "the workloads carry forward and give back: {sums:?}");
}

#[test]
fn a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8() {
    campaign("power-cut", Home::Files, 5, 4);
}

#[test]
#[cfg(feature = "redb-transactions")]
fn a_power_cut_leaves_effect_and_record_together_or_neither_6_1_6_2_6_3() {
    campaign("power-cut-callers", Home::Table, 5, 8);
}

#[test]
#[cfg(feature = "encryption")]
fn a_power_cut_of_an_encrypted_store_leaves_as_much_5_1_5_7_5_8() {
    campaign("power-cut-encrypted", Home::Encrypted, 3, 2);
}
