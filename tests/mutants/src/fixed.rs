//! Mutants of what is fixed while compiling: lengths of a layout, limits. They can't be chosen when it runs.
//!
//! Law: each has a build of its own, of the unit tests alone, without optimisation and from where the last one left off, so
//! that it takes seconds. What the compiler refuses, by a check that stands in the source, is caught.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::copy::Copy;
use crate::graft::Mutant;
use crate::report::{Results, Told};
use crate::trial::{End, Seat};

/// For the tests of a file, of a room, and for all of them.
const PATIENCE: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(180), Duration::from_secs(900)];
/// They start servers, or go through thousands of failures, which takes long in a build like this one.
const SKIPPED: &[&str] = &[
    "engine::",
    "cli::",
    "store::tests::cuts",
    "store::tests::compound",
    "store::tests::faults",
    "store::tests::lies",
];

/// Lets each of these mutants meet the unit tests; says which are left.
pub(crate) fn meet(copy: &Copy, mutants: &[&Mutant], results: &Results) -> Result<(), String> {
    if mutants.is_empty() {
        return Ok(());
    }
    let folder = copy.folder.with_file_name("fixed").join("copy");
    let own = Copy { folder, from: copy.from.clone(), sources: BTreeMap::new() };
    own.plain().map_err(|error| format!("copying the crate: {error}"))?;
    // What a run that was killed left there was met again as the state of a sound source.
    let _ = fs::remove_dir_all(own.folder.with_file_name("target").join("debug/incremental"));
    let seat = Seat::new(&own.folder, "fixed").map_err(|error| error.to_string())?;
    let sound = build(&own)?.ok_or("the copy does not compile")?;
    let meets = |program: &PathBuf, nth: usize, tests: &[&str]| {
        let skipped = SKIPPED.iter().flat_map(|own| ["--skip", own]);
        let arguments: Vec<&str> =
            ["--test-threads=2"].into_iter().chain(tests.iter().copied()).chain(skipped).collect();
        seat.run(program, &arguments, None, PATIENCE[nth]).map_err(|error| error.to_string())
    };
    if meets(&sound, 2, &[])? != End::Passed {
        let log = fs::read_to_string(seat.own.join("log")).unwrap_or_default();
        return Err(format!("without a mutant: {log}"));
    }
    for mutant in mutants {
        let Some((range, by)) = &mutant.alone else { continue };
        let (path, text) = (own.folder.join(&mutant.file), &copy.sources[&mutant.file]);
        let changed = [&text[..range.start], by, &text[range.end..]].concat();
        fs::write(&path, changed).map_err(|error| error.to_string())?;
        let program = build(&own)?;
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let (module, mut told) = (mutant.module(), None);
        let room = module.split("::").next().map(|room| format!("{room}::")).unwrap_or_default();
        match &program {
            None => told = Some((Told::Caught, "the compiler".to_owned())),
            Some(program) => {
                for (nth, tests) in [&[module.as_str()][..], &[&room], &[]].into_iter().enumerate() {
                    told = match meets(program, nth, tests)? {
                        End::Passed => continue,
                        End::Failed => Some((Told::Caught, seat.failed().join(" "))),
                        End::Hung => Some((Told::Hung, tests.join(" "))),
                    };
                    break;
                }
            }
        }
        match told {
            Some((told, by)) => results.tell(mutant, told, &by).map_err(|error| error.to_string())?,
            None => println!("left {}:{} {}", mutant.file, mutant.line, mutant.change),
        }
    }
    Ok(())
}

/// The program of the unit tests, or nothing where the compiler refuses the source.
///
/// # Errors
/// The build failed for another reason, which says nothing of the source.
fn build(copy: &Copy) -> Result<Option<PathBuf>, String> {
    let mut cargo: Command = copy.cargo();
    cargo.args(["test", "--quiet", "--no-run", "--message-format=json", "--lib", "--all-features"]);
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_INCREMENTAL", "1");
    let said = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    let lines = String::from_utf8_lossy(&said.stdout);
    let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if said.status.success() {
        let program = |own: &Value| {
            own["executable"].as_str().filter(|_| own["profile"]["test"] == true).map(PathBuf::from)
        };
        return Ok(lines.iter().find_map(program));
    }
    let is_refused = |own: &Value| {
        let spans = own["message"]["spans"].as_array();
        own["message"]["level"] == "error" && spans.is_some_and(|spans| !spans.is_empty())
    };
    if lines.iter().any(is_refused) {
        Ok(None)
    } else {
        Err(format!("the build failed: {}", String::from_utf8_lossy(&said.stderr)))
    }
}
