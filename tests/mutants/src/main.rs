//! Goal: every line of the core is needed, and a test says so. Method: all mutants that cargo-mutants has for the core are
//! grafted into a copy of the crate, in one build, and one is chosen when it runs. Each meets the tests that reach it, the
//! fastest first, until one fails: then it is caught. What is caught by none is missed, unless `exempt.txt` says why
//! nothing has to catch it. What is fixed while compiling has a build of its own each (`fixed`).
//!
//! `bash .ci/mutants [FILE...]` runs those of files whose names contain one of these. What was caught stands in `caught.tsv`
//! beside this package's manifest, and is not run again until its file changes; what is exempt is not run.
//! `ONCEKEY_MUTANTS_SECONDS=n` leaves out tests that take longer.

mod copy;
mod exempt;
mod fixed;
mod graft;
mod list;
mod places;
mod report;
mod trial;
mod units;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use copy::Copy;
use exempt::Exempt;
use graft::{Mutant, Why};
use places::Places;
use report::{Results, Told};
use trial::{End, Seat};
use units::Unit;

/// Mutants at a time.
const AT_A_TIME: usize = 2;
/// Tests in one process: a mutant that is caught by one of them is caught.
const TESTS: usize = 12;
/// Tests have so many times their own time, and this beside it.
const PATIENCE: u32 = 6;
const GRACE: Duration = Duration::from_secs(10);
/// Tests that take longer than one of these meet only what all the faster ones have missed.
const ROUNDS: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::MAX];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let from = own.ancestors().nth(2).ok_or("no crate around it")?.to_owned();
    let folder = from.join("target/mutants");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let exempt = Exempt::read()?;
    let (mut mutants, sources) = mutants(&from)?;
    let results = Results::open(own.join("caught.tsv"), &mutants, &sources);
    let results = results.map_err(|error| format!("caught.tsv: {error}"))?;
    let copy = Copy { folder: folder.join("copy"), from, sources };
    copy.make(&mut mutants)?;
    let longest = std::env::var("ONCEKEY_MUTANTS_SECONDS").ok().and_then(|own| own.parse().ok());
    let longest = longest.map_or(Duration::MAX, Duration::from_secs_f64);
    let units = units::units(&copy, longest, AT_A_TIME)?;
    println!("{} tests in {:.0?}", units.len(), units.iter().map(|own| own.takes).sum::<Duration>());
    let is_wanted =
        |own: &Mutant| wanted.is_empty() || wanted.iter().any(|file| own.file.contains(file.as_str()));
    mutants.retain(is_wanted);
    let failed = |error: io::Error| format!("running: {error}");
    let is_open = |own: &&Mutant| !results.is_caught(own) && !exempt.has(&own.name(), results.nth(own));
    let mut left: Vec<&Mutant> = mutants.iter().filter(|own| own.edit.is_ok()).filter(is_open).collect();
    let mut faster = Duration::ZERO;
    for round in ROUNDS {
        let own = units.iter().filter(|own| faster < own.takes && own.takes <= round);
        left = meet(&copy, &left, &own.collect::<Vec<_>>(), &results).map_err(failed)?;
        println!("{} are left by tests of up to {round:?}", left.len());
        faster = round;
    }
    let is_fixed = |own: &&Mutant| own.edit.as_ref().is_err_and(|why| *why == Why::Constant);
    let left: Vec<&Mutant> = mutants.iter().filter(is_fixed).filter(is_open).collect();
    println!("{} are fixed while compiling", left.len());
    fixed::meet(&copy, &left, &results)?;
    results.settle().map_err(failed)?;
    Ok(report::report(&mutants, &results, &exempt, wanted.is_empty()))
}

/// All mutants, each with its edit or why it has none, and the sources that they stand in.
fn mutants(from: &Path) -> Result<(Vec<Mutant>, BTreeMap<String, String>), String> {
    let mut sources: BTreeMap<String, (String, Places)> = BTreeMap::new();
    let mut mutants = Vec::new();
    for (own, number) in list::list(from)?.iter().zip(0..) {
        if !sources.contains_key(&own.file) {
            let text =
                fs::read_to_string(from.join(&own.file)).map_err(|error| format!("{}: {error}", own.file))?;
            let places = Places::of(&text)?;
            sources.insert(own.file.clone(), (text, places));
        }
        let (text, places) = &sources[&own.file];
        mutants.push(Mutant::of(own, number, text, places));
    }
    println!("{} mutants", mutants.len());
    Ok((mutants, sources.into_iter().map(|(file, (text, _))| (file, text)).collect()))
}

/// Lets these mutants meet these tests; those that are left.
fn meet<'a>(
    copy: &Copy,
    mutants: &[&'a Mutant],
    units: &[&Unit],
    results: &Results,
) -> io::Result<Vec<&'a Mutant>> {
    let (next, left) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = |name: usize| -> io::Result<()> {
        let own = Seat::new(&copy.folder, &name.to_string())?;
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((told, by)) = trial(&own, mutant, units)? {
                results.tell(mutant, told, &by)?;
            } else {
                println!("left {}:{} {}", mutant.file, mutant.line, mutant.change);
                left.lock().expect("nobody panics with it").push(*mutant);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = (0..AT_A_TIME).map(|name| scope.spawn(move || work(name))).collect();
        all.into_iter().try_for_each(|own| own.join().expect("it does not panic"))
    })?;
    let mut left = left.into_inner().expect("nobody panics with it");
    left.sort_by_key(|own| own.number);
    Ok(left)
}

/// Runs the tests that reach a mutant until one fails, those of its own file first, and says which one that was.
fn trial(seat: &Seat, mutant: &Mutant, units: &[&Unit]) -> io::Result<Option<(Told, String)>> {
    let mut reaching: Vec<&Unit> =
        units.iter().filter(|own| own.reaches.contains(&mutant.number)).copied().collect();
    let module = mutant.module();
    reaching.sort_by_key(|own| !own.test.as_ref().is_some_and(|test| test.starts_with(&module)));
    while let Some(first) = reaching.first().copied() {
        let mut batch = Vec::new();
        let most = (first.takes * 3).max(Duration::from_millis(60));
        reaching.retain(|own| {
            let is_in = own.program == first.program && own.takes <= most && batch.len() < TESTS;
            if is_in {
                batch.push(*own);
            }
            !is_in
        });
        let takes = batch.iter().map(|own| own.takes).sum::<Duration>();
        let run = |tests: &[&str]| {
            let fixed: &[&str] = if tests.is_empty() { &[] } else { &["--exact", "--test-threads=2"] };
            let arguments = [fixed, tests].concat();
            seat.run(&first.program, &arguments, Some(mutant.number), takes * PATIENCE + GRACE)
        };
        let tests: Vec<&str> = batch.iter().filter_map(|own| own.test.as_deref()).collect();
        let told = match run(&tests)? {
            End::Passed => continue,
            End::Failed => Told::Caught,
            End::Hung => Told::Hung,
        };
        // Once more: what fails now and then, whatever the source says, catches nothing.
        let failed = seat.failed();
        let again: Vec<&str> =
            if failed.is_empty() { tests } else { failed.iter().map(String::as_str).collect() };
        if told == Told::Hung || run(&again)? != End::Passed {
            return Ok(Some((told, again.join(" "))));
        }
        println!("fails now and then: {}", again.join(" "));
    }
    Ok(None)
}

/// How many times each name stood before, for those that share it.
fn occurrences(mutants: &[Mutant]) -> HashMap<u32, usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let count = |own: &Mutant| {
        let times = seen.entry(own.name()).or_default();
        *times += 1;
        (own.number, *times)
    };
    mutants.iter().map(count).collect()
}
