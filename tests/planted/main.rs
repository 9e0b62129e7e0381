//! Goal: the tests are tested: what a store of this kind gets wrong is noticed here. Method: a bank of bugs is planted into
//! a copy of the crate, all of them in one build, and chosen by name when it runs. The test that stands beside a bug in
//! the bank passes without it, and fails with it, within two minutes.
//!
//! `bash .ci/planted [NAME...]` runs the bank, or those whose names contain one of these; plain `cargo test` sees to it
//! that every bug still has its place in the sources.

mod bank;
mod plant;
mod trial;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bank::{BANK, Bug};
use trial::End;

#[test]
fn every_bug_has_its_place_and_its_name() {
    assert!(BANK.len() >= 40, "{} bugs", BANK.len());
    let names: BTreeSet<&str> = BANK.iter().map(|bug| bug.name).collect();
    assert_eq!(names.len(), BANK.len(), "a name is one bug");
    if let Err(wrong) = plant::planted() {
        panic!("{wrong}");
    }
}

#[test]
#[ignore = "compiles the crate once more: bash .ci/planted"]
fn every_planted_bug_is_caught() {
    let chosen: Vec<String> = std::env::var("ONCEKEY_BANK")
        .map_or_else(|_| Vec::new(), |own| own.split_whitespace().map(str::to_owned).collect());
    let wanted = |bug: &&Bug| chosen.is_empty() || chosen.iter().any(|own| bug.name.contains(own.as_str()));
    let bugs: Vec<&Bug> = BANK.iter().filter(wanted).collect();
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    plant::copy_to(&copy).unwrap();
    let targets: BTreeSet<&str> = bugs.iter().map(|bug| bug.caught_by.0).collect();
    let programs = trial::build(&copy, &targets.into_iter().collect::<Vec<_>>()).unwrap();
    let run = |(target, test): (&str, &str), bug| trial::run(&copy, &programs[target], test, bug).unwrap();

    let tests: BTreeSet<(&str, &str)> = bugs.iter().map(|bug| bug.caught_by).collect();
    let tests: Vec<_> = tests.into_iter().collect();
    let without = each(&tests, |test| run(*test, None));
    let unsound: Vec<_> = tests.iter().zip(without).filter(|(_, end)| *end != End::Passed).collect();
    assert!(unsound.is_empty(), "without a bug: {unsound:?}");
    let (mut times, mut missed) = (Vec::new(), Vec::new());
    let ends = each(&bugs, |bug| {
        let end = run(bug.caught_by, Some(bug.name));
        println!("planted {}: {end:?} {}", bug.name, bug.caught_by.1);
        end
    });
    for (bug, end) in bugs.iter().zip(ends) {
        match end {
            End::Failed(time) => times.push(time),
            other => missed.push((bug.name, other)),
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(Duration::ZERO);
    println!(
        "planted cases {} faults {} failures {} median {median:?}",
        times.len() + missed.len(),
        times.len(),
        missed.len()
    );
    assert_eq!(missed, [], "not caught");
}

/// Calls with each, two at a time; what came of them, in their order.
fn each<T: Sync, R: Send>(items: &[T], call: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        taken.map_while(|at| Some((at, call(items.get(at)?)))).collect::<Vec<_>>()
    };
    let mut done = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut done = work();
        done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, end)| end).collect()
}
