//! Tests that need another process: this test binary, started again for one test alone.
//!
//! Goal: kills and full disks without root. Method: the test named `name` begins with [`part`]; in the child it
//! finds the variable set, plays its part, and tells its parent line by line on standard output.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

const VARIABLE: &str = "ONCEKEY_CONTRACT_CHILD";
const MARK: &str = "child: ";

/// What a child told, and how it ended.
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) all: String,
}

/// In the child: the path it was given.
pub(crate) fn part() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// In the child: tells the parent.
pub(crate) fn tell(line: &str) {
    println!("\n{MARK}{line}");
}

/// Starts this binary for the test `name` alone, which gets `path`.
pub(crate) fn start(name: &str, path: &Path) -> Told {
    finish(Command::new(own()), name, path)
}

/// [`start`], where no file may grow beyond `kibibytes`: writing there fails with EFBIG.
pub(crate) fn start_limited(name: &str, path: &Path, kibibytes: u64) -> Told {
    let mut shell = Command::new("sh");
    // POSIX counts `ulimit -f` in units of 512 bytes.
    shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kibibytes * 2)).arg(own());
    finish(shell, name, path)
}

/// In a child of [`start_limited`]: `body` runs while no write beyond the first bytes of a file succeeds.
pub(crate) fn while_the_disk_fails<T>(body: impl FnOnce() -> T) -> T {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, rustix::process::Rlimit { current: Some(1), ..before })
        .expect("a lower limit");
    let result = body();
    setrlimit(Resource::Fsize, before).expect("the limit as it was");
    result
}

fn own() -> PathBuf {
    std::env::current_exe().expect("the test binary's own path")
}

fn finish(mut command: Command, name: &str, path: &Path) -> Told {
    let output = command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, path)
        .output()
        .expect("the child starts");
    let all = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let lines: Vec<String> =
        all.lines().filter_map(|line| line.strip_prefix(MARK)).map(String::from).collect();
    assert!(!lines.is_empty(), "the child {name} told nothing:\n{all}");
    Told { lines, status: output.status, all }
}
