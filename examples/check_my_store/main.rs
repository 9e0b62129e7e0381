//! Does your idempotency store keep the contract? Whatever it is written in, it is asked over a line protocol.
//!
//! ```sh
//! cargo run --release --example check_my_store -- python3 examples/check_my_store/naive.py
//! cargo run --release --example check_my_store -- ours       # this crate's store, served the same way
//! cargo run --release --example check_my_store -- reference  # and its executable specification
//! ```
//!
//! The command is started once. It reads a request from each line of its standard input and writes the answer to its
//! standard output, both one JSON object on a line; the words are those of `tests/conformance/README.md`, which has a section
//! on the protocol. A word that your store does not know it answers with `{"unsupported": {}}`: what needs it is skipped,
//! and the report says so.
//!
//! | campaign | what it asks | option |
//! | --- | --- | --- |
//! | vectors | the conformance scenarios, rule by rule | |
//! | sequences | every sequence of so many operations over a few keys, parameters and moments, beside the reference | `--depth N` (2) |
//! | histories | so many random histories of calls made at the same time, checked for linearizability | `--histories N` (200), `--seed N` (1) |
//!
//! It ends with 0 if nothing was broken, with 1 if something was, and with 2 if the store could not be asked.

#[path = "../../tests/model/every.rs"]
mod every;
mod history;
#[path = "../../tests/histories/checker.rs"]
mod linearizable;
mod live;
#[path = "../../tests/conformance/reference.rs"]
mod reference;
mod remote;
mod report;
#[path = "../../tests/conformance/runner.rs"]
mod runner;
mod sequences;
mod serve;
#[expect(dead_code, reason = "shared with the conformance vectors, which use all of it")]
#[path = "../../tests/conformance/store.rs"]
mod store;
#[path = "../../tests/conformance/subject.rs"]
mod subject;
#[path = "../../tests/conformance/vector.rs"]
mod vector;

use std::path::Path;
use std::process::ExitCode;

use remote::Remote;
use report::Report;

/// What is asked of the command line.
struct Asked {
    depth: usize,
    histories: u64,
    seed: u64,
    command: Vec<String>,
}

const USAGE: &str =
    "usage: check_my_store [--depth N] [--histories N] [--seed N] COMMAND [ARGUMENT ...] | ours | reference";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, whom] = &arguments[..]
        && word == "--serve"
    {
        return serve::serve(whom);
    }
    let Some(asked) = read(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match check(&asked) {
        Ok(report) => {
            report.print();
            if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("the store could not be asked: {why}");
            ExitCode::from(2)
        }
    }
}

fn read(arguments: Vec<String>) -> Option<Asked> {
    let mut asked = Asked { depth: 2, histories: 200, seed: 1, command: Vec::new() };
    let mut rest = arguments.into_iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--depth" => asked.depth = rest.next()?.parse().ok()?,
            "--histories" => asked.histories = rest.next()?.parse().ok()?,
            "--seed" => asked.seed = rest.next()?.parse().ok()?,
            "ours" | "reference" => asked.command = vec![own_program()?, "--serve".into(), word],
            _ => asked.command = std::iter::once(word).chain(rest.by_ref()).collect(),
        }
    }
    (!asked.command.is_empty()).then_some(asked)
}

/// This program serves the stores that it brings itself.
fn own_program() -> Option<String> {
    Some(std::env::current_exe().ok()?.to_string_lossy().into_owned())
}

fn check(asked: &Asked) -> Result<Report, String> {
    let mut remote = Remote::start(&asked.command)?;
    let mut report = Report::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    for scenario in scenarios(&folder)? {
        let ran = remote.scenario(&scenario)?;
        report.scenario(&scenario, &ran);
    }
    eprintln!("  vectors: asked");
    sequences::check(&mut remote, asked.depth, &mut report)?;
    eprintln!("  sequences: asked");
    history::check(&mut remote, asked.histories, asked.seed, &mut report)?;
    eprintln!("  histories: asked");
    Ok(report)
}

fn scenarios(folder: &Path) -> Result<Vec<vector::Scenario>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|own| own == "json"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let file: vector::File =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if file.schema != vector::SCHEMA {
            return Err(format!("{}: {}: of schema {}", path.display(), file.about, file.schema));
        }
        all.extend(file.scenarios);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    //! Goal: the report tells a sound store from one that is not. Method: the reference, this crate's store and the naive
    //! store beside this file are checked as a user would check them.

    use super::*;

    fn report(command: &[&str]) -> Report {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        check(&Asked { depth: 2, histories: 20, seed: 1, command }).expect("it can be asked")
    }

    /// The program itself: a test's own executable serves nothing.
    fn served(whom: &str) -> Report {
        let mut remote = Remote::serving(whom);
        let mut report = Report::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
        for scenario in scenarios(&folder).unwrap() {
            let ran = remote.scenario(&scenario).unwrap();
            report.scenario(&scenario, &ran);
        }
        sequences::check(&mut remote, 1, &mut report).unwrap();
        history::check(&mut remote, 20, 1, &mut report).unwrap();
        report
    }

    #[test]
    fn the_reference_and_the_store_of_this_crate_keep_every_rule() {
        for whom in ["reference", "ours"] {
            let report = served(whom);
            assert!(report.is_sound(), "{whom}: {report:?}");
            assert!(report.held() > 100, "{whom}: {report:?}");
        }
    }

    #[test]
    fn a_store_that_checks_and_then_acts_is_found_out_by_vectors_and_by_histories() {
        let naive = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/check_my_store/naive.py");
        let report = report(&["python3", naive]);
        assert!(!report.is_sound());
        for rule in ["3.2", "3.6"] {
            assert!(report.broken(rule) > 0, "{rule}: {report:?}");
        }
        assert!(report.broken("histories") > 0, "{report:?}");
        assert!(report.held() > 5, "it keeps what it keeps: {report:?}");
    }
}
