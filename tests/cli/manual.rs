//! Goal: completions, manual pages and `bench` are there, and wrong use ends with 2 and says why. Method: each is asked for.

use std::fs;

use crate::support::{Place, Ran, program};

fn run(words: &[&str]) -> Ran {
    Ran::of(program().args(words).output().unwrap())
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).ended(0).out;
        assert!(script.contains("oncekey") && script.contains("show-outcome"), "{shell}");
    }
}

#[test]
fn the_manual_page_and_those_of_all_commands_are_made() {
    let page = run(&["man"]).ended(0).out;
    assert!(page.contains(".TH oncekey 1") && page.contains("Exit status"), "{page}");
    let place = Place::new();
    run(&["man", "--out", place.path("man").to_str().unwrap()]).ended(0);
    let names: Vec<_> =
        fs::read_dir(place.path("man")).unwrap().map(|own| own.unwrap().file_name()).collect();
    for name in ["oncekey.1", "oncekey-verify.1", "oncekey-resolve.1"] {
        assert!(names.iter().any(|own| own == name), "{name}: {names:?}");
    }
}

#[test]
fn wrong_use_ends_with_2_and_says_why() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["burn"], "unrecognized subcommand"),
        (&["inspect"], "--store"),
        (&["get", "--store", "x", "scope"], "TOKEN"),
        (&["list", "--store", "x", "--state", "odd"], "invalid value"),
        (&["list", "--store", "x", "--older-than", "yesterday"], "invalid value"),
        (&["list", "--store", "x", "--limit", "0"], "invalid value"),
        (&["forget", "--store", "x", "scope"], "TOKEN"),
        (&["resolve", "--store", "x", "s", "t"], "--outcome-file"),
        (&["bench", "--seconds", "0"], "invalid value"),
        (&["bench", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["completions", "tcsh"], "invalid value"),
    ];
    for (words, why) in cases {
        let ran = run(words).ended(2);
        assert!(ran.err.contains(why), "{words:?}: {ran:?}");
    }
    let place = Place::closed();
    let long = "t".repeat(256);
    for (scope, token) in [("", "t"), ("s", ""), ("s", &long), (&long, "t"), ("s", "t\u{e9}")] {
        let ran = place.run(&["get", scope, token]).ended(2);
        assert!(ran.err.contains("refused"), "{ran:?}");
    }
    // Wider than the default rule: a store may have a wider one.
    place.run(&["get", "s", &"t".repeat(200)]).ended(1);
}

#[test]
fn help_says_what_shows_outcomes_and_how_a_run_ends_10_2() {
    let help = run(&["--help"]).ended(0).out;
    for part in ["Exit status", "OUTCOMES INCLUDED", "only with", "newest records", "change nothing on disk"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(run(&["--version"]).ended(0).out.starts_with("oncekey "));
}

#[test]
fn bench_measures_both_sides_and_leaves_nothing_behind() {
    let place = Place::new();
    let home = place.path("");
    let told = run(&["bench", home.to_str().unwrap(), "--seconds", "1", "--json"]).json(0);
    let rates = told["rates"].as_array().unwrap();
    assert_eq!(rates.iter().map(|own| own["callers"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 64, 512]);
    for own in rates {
        assert!(own["oncekey_records_per_second"].as_u64() > Some(0), "{told}");
        assert!(own["ratio"].as_f64() > Some(0.0), "{told}");
    }
    assert!(told["sync_median_us"].as_u64() <= told["sync_p99_us"].as_u64(), "{told}");
    assert_eq!(fs::read_dir(home).unwrap().count(), 0);
}

#[test]
fn bench_told_to_end_removes_what_it_made() {
    let place = Place::new();
    let home = place.path("");
    let mut child = program().args(["bench", home.to_str().unwrap(), "--seconds", "60"]).spawn().unwrap();
    while fs::read_dir(&home).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    let own = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(fs::read_dir(home).unwrap().count(), 0);
}

#[cfg(not(feature = "encryption"))]
#[test]
fn a_build_that_reads_no_encrypted_store_says_so() {
    let place = Place::closed();
    let ran = place.run(&["inspect", "--encryption-key-file", "x"]).ended(2);
    assert!(ran.err.contains("--features cli,encryption"), "{ran:?}");
}
