//! The tests of the copy, one by one: how long each takes, and which mutants it reaches.
//!
//! Law: a test that never asks for a mutant can't tell it from the sound source. So a mutant meets only the tests that
//! reach it, the fastest first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::copy::Copy;
use crate::trial::{End, Seat};

/// The targets whose tests are asked; the last ones without the feature, for they know nothing of it.
const TARGETS: &[(&str, bool)] = &[
    ("lib", true),
    ("contract", true),
    ("conformance", true),
    ("model", true),
    ("histories", true),
    (SCHEDULES, false),
];
/// One program whose tests have no names.
const SCHEDULES: &str = "schedules";
/// No test takes longer.
const LONGEST: Duration = Duration::from_secs(900);

/// A test.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) program: PathBuf,
    /// `None`: the whole program.
    pub(crate) test: Option<String>,
    pub(crate) takes: Duration,
    pub(crate) reaches: BTreeSet<u32>,
}

/// Builds all targets and runs all their tests without a mutant, once, so many at a time; without those
/// that take longer than this.
pub(crate) fn units(copy: &Copy, longest: Duration, at_a_time: usize) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    for (target, program) in build(copy, longest > LONGEST)? {
        if target == SCHEDULES {
            units.push(Unit { program, test: None, takes: Duration::MAX, reaches: BTreeSet::new() });
            continue;
        }
        let said = std::process::Command::new(&program).args(["--list"]).output();
        let said = said.map_err(|error| format!("{}: {error}", program.display()))?;
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            // Those of engines start servers, and reach nothing of the core that others don't.
            if let Some(test) = line.strip_suffix(": test").filter(|test| !test.starts_with("engine::")) {
                let (program, test) = (program.clone(), Some(test.to_owned()));
                units.push(Unit { program, test, takes: Duration::MAX, reaches: BTreeSet::new() });
            }
        }
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cells: Vec<_> = units.into_iter().map(Mutex::new).collect();
    std::thread::scope(|scope| {
        for name in 0..at_a_time {
            let (next, wrong, cells) = (&next, &wrong, &cells);
            scope.spawn(move || {
                let own = Seat::new(&copy.folder, &format!("reach{name}")).expect("a folder");
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut unit = cell.lock().expect("nobody panics with it");
                    if let Err(said) = measure(&mut unit, &own, longest.min(LONGEST)) {
                        wrong.lock().expect("nobody panics with it").push(said);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics with it");
    if !wrong.is_empty() {
        return Err(format!("without a mutant: {}", wrong.join(", ")));
    }
    let mut units: Vec<_> = cells.into_iter().map(|own| own.into_inner().expect("as above")).collect();
    units.retain(|own| own.takes <= longest.min(LONGEST));
    units.sort_by_key(|own| own.takes);
    Ok(units)
}

fn measure(unit: &mut Unit, seat: &Seat, longest: Duration) -> Result<(), String> {
    let name = unit.test.clone().unwrap_or_default();
    let _ = fs::remove_file(seat.reached());
    let arguments: Vec<&str> =
        unit.test.iter().flat_map(|own| ["--exact", "--test-threads=2", own.as_str()]).collect();
    let begun = Instant::now();
    let end =
        seat.run(&unit.program, &arguments, None, longest).map_err(|error| format!("{name}: {error}"))?;
    if end == End::Hung && longest < LONGEST {
        return Ok(());
    }
    if end != End::Passed {
        let log = fs::read_to_string(seat.own.join("log")).unwrap_or_default();
        return Err(format!("{name}: {end:?}: {}", log.chars().take(2000).collect::<String>()));
    }
    unit.takes = begun.elapsed();
    let reached = fs::read_to_string(seat.reached()).unwrap_or_default();
    unit.reaches = reached.lines().filter_map(|own| own.parse().ok()).collect();
    Ok(())
}

/// The programs of the test targets, by name.
fn build(copy: &Copy, schedules: bool) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut programs = BTreeMap::new();
    for all_features in [true, false].into_iter().filter(|all| *all || schedules) {
        let mut cargo = copy.cargo();
        cargo.args(["test", "--quiet", "--no-run", "--message-format=json"]);
        if all_features {
            cargo.arg("--all-features");
        }
        for (target, _) in TARGETS.iter().filter(|(_, all)| *all == all_features) {
            if *target == "lib" {
                cargo.arg("--lib")
            } else {
                cargo.args(["--test", target])
            };
        }
        let said = cargo.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let Ok(own) = serde_json::from_str::<Value>(line) else { continue };
            if own["message"]["level"] == "error" {
                println!("{}", own["message"]["rendered"].as_str().unwrap_or_default());
            }
            let is_test = own["profile"]["test"] == true;
            if let (true, Some(program), Some(name)) =
                (is_test, own["executable"].as_str(), own["target"]["name"].as_str())
            {
                let name = if name == "oncekey" { "lib" } else { name };
                programs.insert(name.to_owned(), PathBuf::from(program));
            }
        }
        if !said.status.success() {
            return Err("the copy does not compile".to_owned());
        }
    }
    Ok(programs)
}
