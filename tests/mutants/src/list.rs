//! What cargo-mutants would do to the core: the list of its mutants, each with the place in the source that it changes.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The core: what decides, forgets, remembers, sweeps, digests and lays out records.
pub(crate) const CORE: &[&str] =
    &["src/verdict.rs", "src/record/**", "src/digest/**", "src/sweep.rs", "src/inflight/**", "src/ledger/**"];
/// Another home, a disk for tests, and what the operator's tool alone sees, whose tests are not asked.
const LEFT: &[&str] =
    &["src/ledger/guest/**", "src/ledger/faulty/**", "src/ledger/outside/**", "**/tests.rs"];

/// A change that cargo-mutants would make.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) file: String,
    /// With the names around it; empty where a constant is changed.
    pub(crate) function: String,
    pub(crate) genre: String,
    pub(crate) replacement: String,
    /// Line and column, from 1.
    pub(crate) start: (usize, usize),
}

/// All of them, in the order of the files.
pub(crate) fn list(crate_folder: &Path) -> Result<Vec<Listed>, String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["mutants", "--list", "--json", "--all-features"]).current_dir(crate_folder);
    cargo.args(CORE.iter().flat_map(|file| ["--file", file]));
    cargo.args(LEFT.iter().flat_map(|file| ["--exclude", file]));
    let said = cargo.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo mutants: {error}"))?;
    if !said.status.success() {
        return Err("cargo mutants: is it installed? cargo install --locked cargo-mutants".to_owned());
    }
    let all: Vec<Value> =
        serde_json::from_slice(&said.stdout).map_err(|error| format!("its list: {error}"))?;
    all.iter().map(|own| listed(own).ok_or_else(|| format!("not as expected: {own}"))).collect()
}

fn listed(own: &Value) -> Option<Listed> {
    let start = |name: &str| usize::try_from(own["span"]["start"][name].as_u64()?).ok();
    Some(Listed {
        file: own["file"].as_str()?.to_owned(),
        function: own["function"]["function_name"].as_str().unwrap_or_default().to_owned(),
        genre: own["genre"].as_str()?.to_owned(),
        replacement: own["replacement"].as_str()?.to_owned(),
        start: (start("line")?, start("column")?),
    })
}
