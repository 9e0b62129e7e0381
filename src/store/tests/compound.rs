//! Goal: contract 5.5 to 5.8, 6.2 when a disk fails in the middle of a recovery. Method: what a power cut left is opened on
//! a disk whose n-th call fails. That opening may be refused, but it never panics and never shows what was not there. Then
//! the disk is healed: opened again as it is (a new process, the cache still there), and as a second cut leaves it, the
//! store is again what the history allows.
//!
//! `ONCEKEY_CUTS=n` runs n workloads with every manner of cut.

use std::io::ErrorKind as IoKind;
use std::time::Duration;

use super::campaign::{Campaign, seeds};
use super::cuts::each_cut;
use super::history::Allowed;
use super::home::Home;
use crate::ledger::{Chance, Cut, Failure, Faulty, Paged};
use crate::sync::shielded;
use crate::time::ManualClock;

/// What may fail, at the n-th call of its kind.
fn failure(home: Home, chance: &mut Chance) -> Failure {
    let at = 1 + chance.below(24);
    let io = IoKind::Other;
    match chance.below(8) {
        0 => Failure::Once(at, io),
        1 => Failure::InDoubt(at, io),
        2 => Failure::From(at, io),
        3 => Failure::From(at, IoKind::StorageFull),
        4 => Failure::Full(at),
        5 => Failure::Short(at, io),
        // Which cache a caller's database reads from is the caller's business.
        6 if home.has_files() => Failure::SyncLost(1 + at / 4, io),
        _ => Failure::Read(at, io),
    }
}

/// Opens an image on a failing disk, and then on the healed one. Whether anything failed.
fn open_failing(home: Home, image: Paged, allowed: &Allowed, chance: &mut Chance, context: &str) -> bool {
    let (disk, clock) = (Faulty::over(image), ManualClock::at(allowed.time));
    let failure = failure(home, chance);
    disk.fail(Some(failure));
    let context = format!("{context}, then {failure:?} while it opens");
    let once = || {
        let Ok(opened) = home.open(&disk, &clock) else { return };
        allowed.check_answers(&opened, &|| context.clone());
        // What it does with a ledger that has stopped is its business, as long as nothing of it shows.
        drop(opened.store.sweep());
        drop(opened.store.clone().close(Duration::ZERO));
    };
    shielded(once).unwrap_or_else(|| panic!("{context}: a panic came out"));
    let failed = disk.asked().2 > 0;
    disk.fail(None);
    let left = disk.platter();
    let all = Cut::all(left.pending(), 8, chance);
    let cut = all[usize::try_from(chance.below(all.len() as u64)).unwrap()];
    for (disk, how) in [(disk, "healed".to_owned()), (Faulty::over(left.cut(cut)), format!("{cut:?}"))] {
        let context = || format!("{context}, then {how}");
        let opened = home.open(&disk, &clock).unwrap_or_else(|error| panic!("{}: {error}", context()));
        allowed.check(&opened, &context);
    }
    failed
}

fn campaign(name: &'static str, home: Home, short: u64, manners: usize) {
    let (seeds, long) = seeds("ONCEKEY_CUTS", short);
    let mut campaign = Campaign::new(name, "ONCEKEY_CUTS");
    for seed in seeds {
        campaign.seed = seed;
        each_cut(home, seed, (!long).then_some(manners), |image, allowed, mut chance, context| {
            let failed = open_failing(home, image, allowed, &mut chance, &context());
            campaign.cases += 2;
            campaign.faults += u64::from(failed);
        });
        campaign.tell(format_args!("{} failures while it opened", campaign.faults));
    }
    assert!(campaign.faults > 100, "failures were met: {}", campaign.faults);
}

#[test]
fn a_failure_in_the_middle_of_a_recovery_loses_nothing_5_5_5_7() {
    campaign("compound-faults", Home::Files, 2, 1);
}

#[test]
#[cfg(feature = "redb-transactions")]
fn a_failure_in_the_middle_of_a_callers_recovery_leaves_effect_and_record_one_6_2() {
    campaign("compound-faults-callers", Home::Table, 2, 1);
}

#[test]
#[cfg(feature = "encryption")]
fn a_failure_in_the_middle_of_an_encrypted_stores_recovery_loses_nothing_5_5_5_7() {
    campaign("compound-faults-encrypted", Home::Encrypted, 1, 1);
}
