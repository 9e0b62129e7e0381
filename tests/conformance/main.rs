//! Goal: the contract, as vectors that any implementation in any language can run (README.md beside this file),
//! holds for this crate's own subjects. Method: every file of vectors is run against each subject, skipping
//! loudly what a subject lacks the capability for; the vectors themselves are then checked for gaps, and the
//! runner is shown to fail wherever an expectation is wrong.
//!
//! Modules: `vector` reads the files, `subject` says what can be tested and in which words, `runner` compares,
//! `reference` (and `store`) are what is tested.

#[cfg(feature = "distributed")]
mod distributed;
mod files;
#[cfg(feature = "distributed")]
mod home;
#[cfg(feature = "distributed")]
mod over;
mod reference;
mod runner;
mod store;
mod subject;
mod vector;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reference::ReferenceSubject;
use serde_json::{Value, json};
use store::StoreSubject;
use subject::Subject;
use vector::{SCHEMA, Scenario, Settings};

/// The rules that show through the API, each of which has to be covered. Not among them: 2.5 (what is kept, not
/// what is answered), 3.10, 5.6, 5.7, 5.9 to 5.11, 6.1, 6.2, 6.4, 6.5, 7.3, 8.2, 9 and 10.
const RULES: [&str; 34] = [
    "1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.6", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7",
    "3.8", "3.9", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "5.1", "5.2", "5.3", "5.4", "5.5", "5.8", "6.3",
    "7.1", "7.2", "8.1", "8.3",
];

/// Whole sections without numbered rules.
const SECTIONS: [&str; 1] = ["11"];

/// What a scenario may need of a subject.
const CAPABILITIES: [&str; 4] = ["choose_survivors", "crash", "fail_commit", "reopen"];

const SCENARIOS_MIN: usize = 60;

fn files() -> BTreeMap<PathBuf, vector::File> {
    files::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"))
}

fn scenarios() -> Vec<Scenario> {
    files().into_values().flat_map(|file| file.scenarios).collect()
}

/// Runs everything that the subjects offer, and tells all differences at once.
fn run_all(subject_name: &str, make: impl Fn(&Settings) -> Box<dyn Subject>) {
    let (mut differences, mut skipped, mut ran) = (Vec::new(), 0, 0);
    for scenario in scenarios() {
        let mut subject = make(&scenario.settings);
        if let Some(lacking) = scenario.needs.iter().find(|need| !subject.offers(need)) {
            println!("SKIPPED for {subject_name}, which has no {lacking}: {}", scenario.name);
            skipped += 1;
            continue;
        }
        ran += 1;
        differences.extend(runner::run(&scenario, subject.as_mut()).err());
    }
    println!("{subject_name}: {ran} scenarios, {skipped} skipped");
    assert!(ran >= SCENARIOS_MIN, "{subject_name} ran {ran} scenarios only");
    assert!(differences.is_empty(), "{subject_name}:\n{}", differences.join("\n"));
}

#[test]
fn the_reference_conforms() {
    run_all("the reference", |settings| Box::new(ReferenceSubject::new(settings)));
}

#[cfg(feature = "distributed")]
#[test]
fn the_store_over_an_engine_in_memory_conforms() {
    over::run_over_an_engine("the store over an engine in memory", &scenarios(), &[], |clock| {
        Box::new(home::InMemory::on(clock))
    });
}

#[test]
fn the_store_on_a_directory_conforms() {
    run_all("the store on a directory", |settings| Box::new(StoreSubject::on_a_directory(settings)));
}

#[cfg(feature = "encryption")]
#[test]
fn the_store_in_an_encrypted_directory_conforms() {
    run_all("the store in an encrypted directory", |settings| Box::new(StoreSubject::encrypted(settings)));
}

#[test]
fn the_store_in_memory_conforms() {
    run_all("the store in memory", |settings| Box::new(StoreSubject::in_memory(settings)));
}

#[cfg(feature = "redb-transactions")]
#[test]
fn the_store_in_a_callers_database_conforms() {
    run_all("the store in a caller's database", |settings| Box::new(StoreSubject::in_a_database(settings)));
}

#[test]
fn every_rule_that_shows_is_covered_by_a_vector() {
    let covered: BTreeSet<String> = scenarios().into_iter().flat_map(|scenario| scenario.rules).collect();
    let expected: BTreeSet<String> = RULES.iter().chain(&SECTIONS).map(ToString::to_string).collect();
    assert_eq!(covered, expected);
}

#[test]
fn there_are_enough_scenarios_and_each_has_a_sentence_of_its_own_for_a_name() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= SCENARIOS_MIN, "{} scenarios", scenarios.len());
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names.len(), scenarios.len(), "two scenarios of one name");
    for scenario in &scenarios {
        assert!(scenario.name.split(' ').count() >= 3, "not a sentence: {:?}", scenario.name);
        assert!(!scenario.rules.is_empty() && !scenario.steps.is_empty(), "empty: {:?}", scenario.name);
        for need in &scenario.needs {
            assert!(CAPABILITIES.contains(&need.as_str()), "{:?} needs an unknown {need:?}", scenario.name);
        }
    }
}

#[test]
fn a_scenario_names_what_it_needs() {
    use vector::Do;
    for scenario in scenarios() {
        let crashes = scenario.steps.iter().any(|step| step.action == Do::Crash);
        let needed = |step: &vector::Step| match step.action {
            Do::Crash if step.survivors.is_some() => Some("choose_survivors"),
            Do::Crash => Some("crash"),
            Do::FailCommit => Some("fail_commit"),
            Do::Reopen if !crashes => Some("reopen"),
            _ => None,
        };
        for need in scenario.steps.iter().filter_map(needed) {
            assert!(scenario.needs.iter().any(|given| given == need), "{:?} needs {need}", scenario.name);
        }
    }
}

#[test]
fn every_file_is_of_this_schema_and_says_what_it_is_about() {
    for (path, file) in files() {
        assert_eq!(file.schema, SCHEMA, "{}", path.display());
        assert!(file.about.starts_with("Contract "), "{}", path.display());
    }
}

/// Whatever a vector expects, a subject that answers otherwise is found out: each expectation of each step is
/// made wrong, one at a time, and the run has to fail.
#[test]
fn each_single_expectation_can_fail() {
    let mut tried = 0;
    let mut fails = |scenario: &Scenario| {
        tried += 1;
        let difference = runner::run(scenario, &mut ReferenceSubject::new(&scenario.settings));
        assert!(difference.is_err(), "passes with a wrong expectation: {:?}", scenario.name);
    };
    for scenario in scenarios() {
        for number in 0..scenario.steps.len() {
            let mut wrong = scenario.clone();
            wrong.steps[number].expect = Some(json!({"something else": {}}));
            wrong.steps[number].expect_any.clear();
            fails(&wrong);
            for woken in 0..scenario.steps[number].woken.len() {
                let mut wrong = scenario.clone();
                wrong.steps[number].woken.remove(woken);
                fails(&wrong);
                let mut wrong = scenario.clone();
                wrong.steps[number].woken[woken].expect = json!({"something else": {}});
                fails(&wrong);
            }
        }
    }
    assert!(tried > 500, "tried {tried} only");
}

#[test]
fn each_single_member_of_an_expectation_can_fail() {
    for scenario in scenarios() {
        for number in 0..scenario.steps.len() {
            let Some(expected) = &scenario.steps[number].expect else { continue };
            for wrong_expected in with_one_leaf_wrong(expected) {
                let mut wrong = scenario.clone();
                wrong.steps[number].expect = Some(wrong_expected.clone());
                let difference = runner::run(&wrong, &mut ReferenceSubject::new(&wrong.settings));
                assert!(difference.is_err(), "{:?} passes with {wrong_expected}", scenario.name);
            }
        }
    }
}

/// All values that differ from this one in one leaf.
fn with_one_leaf_wrong(value: &Value) -> Vec<Value> {
    let members = match value {
        Value::Object(members) if !runner::is_bytes(value) => members,
        _ => return vec![json!("something else")],
    };
    let wrong = members.iter().flat_map(|(name, member)| {
        with_one_leaf_wrong(member).into_iter().map(move |wrong| {
            let mut members = members.clone();
            members.insert(name.clone(), wrong);
            Value::Object(members)
        })
    });
    wrong.collect()
}
