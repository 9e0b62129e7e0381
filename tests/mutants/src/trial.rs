//! Runs tests of the copy, with one mutant or with none.
//!
//! Law: a mutant may do anything. So its tests run in a process group of their own, with bounded memory and time and a
//! folder of their own for what they write, and the whole group is ended with them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Addresses that a test may have, in KiB.
const MEMORY: u64 = 6 << 20;
const STEP: Duration = Duration::from_millis(4);

const FAILED: &str = " ... FAILED";

/// How tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed,
    /// They wait for what never comes.
    Hung,
}

/// A place where tests run: one at a time.
pub(crate) struct Seat {
    /// Of the copy.
    pub(crate) folder: PathBuf,
    /// For what is written down of a run, and what the tests themselves write.
    pub(crate) own: PathBuf,
}

impl Seat {
    pub(crate) fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let own = std::env::temp_dir().join(format!("oncekey-mutants-{}-{name}", std::process::id()));
        fs::create_dir_all(&own)?;
        Ok(Self { folder: folder.to_owned(), own })
    }

    pub(crate) fn reached(&self) -> PathBuf {
        self.own.join("reached")
    }

    /// Runs a program, with this mutant or, where it is `None`, noting which ones are asked for.
    pub(crate) fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        mutant: Option<u32>,
        patience: Duration,
    ) -> io::Result<End> {
        let (scratch, log) = (self.own.join("scratch"), self.own.join("log"));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        let out = File::create(&log)?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh"]).arg(program).args(arguments);
        command.current_dir(&self.folder).process_group(0);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        command.env_remove("ONCEKEY_MUTANT").env_remove("ONCEKEY_REACHED");
        command.env("RUST_BACKTRACE", "0").env("TMPDIR", &scratch);
        command.env("ONCEKEY_SCHEDULES", "150").env("ONCEKEY_SIMULATIONS", "500");
        match mutant {
            Some(number) => command.env("ONCEKEY_MUTANT", number.to_string()),
            None => command.env("ONCEKEY_REACHED", self.reached()),
        };
        let mut child = command.spawn()?;
        let end = wait(&mut child, &log, patience)?;
        let group = format!("-{}", child.id());
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
        child.wait()?;
        let _ = fs::remove_dir_all(&scratch);
        Ok(end)
    }

    /// The tests that failed last.
    pub(crate) fn failed(&self) -> Vec<String> {
        let log = fs::read(self.own.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let named = log.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(FAILED));
        named.map(str::to_owned).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.own);
    }
}

fn wait(child: &mut Child, log: &Path, patience: Duration) -> io::Result<End> {
    let begun = Instant::now();
    let mut steps = 0_u32;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { End::Passed } else { End::Failed });
        }
        // One has failed and the others go on: that is enough.
        steps += 1;
        if steps.is_multiple_of(50) && fs::read(log).is_ok_and(|own| has_failed(&own)) {
            return Ok(End::Failed);
        }
        if begun.elapsed() > patience {
            return Ok(End::Hung);
        }
        std::thread::sleep(STEP);
    }
}

fn has_failed(log: &[u8]) -> bool {
    String::from_utf8_lossy(log).contains(FAILED)
}
