//! Runs one test with one bug.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a test may take to catch its bug: by then, or never.
const CATCHING: Duration = Duration::from_secs(120);
/// And to pass without one.
const PASSING: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(5);

/// How a test ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed(Duration),
    /// It waits for what never comes.
    Hung,
    /// There is no such test.
    Missing,
}

/// The programs of the copy's test targets, by name.
pub(crate) fn build(copy: &Path, targets: &[&str]) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "test",
        "--no-run",
        "--offline",
        "--all-features",
        "--message-format=json-render-diagnostics",
    ]);
    for target in targets {
        if *target == "lib" {
            cargo.arg("--lib")
        } else {
            cargo.args(["--test", target])
        };
    }
    // Where the crate itself is compiled, so that what it depends on is there already.
    let target = copy.ancestors().nth(2).ok_or("no target directory around the copy")?;
    let cargo = cargo
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0");
    let said = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        return Err(format!("the copy does not compile: {why}"));
    }
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let Ok(own) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (Some(program), Some(name)) = (own["executable"].as_str(), own["target"]["name"].as_str()) else {
            continue;
        };
        let is_lib =
            own["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"));
        programs.insert(if is_lib { "lib".to_owned() } else { name.to_owned() }, PathBuf::from(program));
    }
    Ok(programs)
}

/// Runs a test of a program in the copy, with this bug or with none.
pub(crate) fn run(copy: &Path, program: &Path, test: &str, bug: Option<&str>) -> Result<End, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let log = copy.with_extension(format!("{}.log", bug.unwrap_or(test).replace(':', "_")));
    let out = File::create(&log).map_err(failed)?;
    let both = out.try_clone().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["--exact", test]).current_dir(copy).stdin(Stdio::null()).stdout(out).stderr(both);
    command.env_remove("ONCEKEY_PLANTED").env("RUST_BACKTRACE", "0");
    if let Some(bug) = bug {
        command.env("ONCEKEY_PLANTED", bug);
    }
    let budget = if bug.is_some() { CATCHING } else { PASSING };
    let begun = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() > budget {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Ok(End::Hung);
        }
        std::thread::sleep(STEP);
    };
    if !status.success() {
        return Ok(End::Failed(begun.elapsed()));
    }
    let said = std::fs::read_to_string(&log).map_err(failed)?;
    Ok(if said.contains("test result: ok. 1 passed") { End::Passed } else { End::Missing })
}
