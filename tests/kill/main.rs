//! Goal: contract 5.1, 5.3, 5.4, 5.7, 6.3, 4.3 and 4.6 against a real SIGKILL, and against a real disk. Method: this test
//! starts itself as a child that puts a directory store under load (new keys, retries, forgetting, releases, durable
//! starts, checkpoints, resumptions, small segments, sweeps) and writes a line to its output *after* each
//! acknowledgement. The parent kills it at a random moment, now and then while it opens, and holds what was acknowledged
//! against what the reopened store says. An outcome names its run, so a key that was completed twice would show. In
//! `kernel` the power of its file system goes too, or its syncs fail.
//!
//! `ONCEKEY_KILLS=5000 cargo test --test kill` is the long form; `ONCEKEY_SEED` repeats a run's moments.

mod kernel;
mod load;
mod oracle;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oracle::All;

const CHILD: &str = "ONCEKEY_KILL_CHILD";

/// A small generator of our own, so that a seed repeats a run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % bound
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The seed that was given, or one by the clock.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    number("ONCEKEY_SEED").unwrap_or(u64::try_from(now % 1_000_000_007).expect("small"))
}

/// A child under load, and what it says.
struct Loaded {
    child: Child,
    reader: JoinHandle<Vec<String>>,
}

impl Loaded {
    /// Starts a child, by way of another program if one is named.
    fn start(path: &Path, run: u64, by: &[String], lasts: Option<Duration>) -> Self {
        let own = std::env::current_exe().expect("this test's own file").display().to_string();
        let test = ["a_store_that_is_killed_keeps_all_that_it_acknowledged_5_1", "--exact", "--nocapture"];
        let words: Vec<&str> = by.iter().map(String::as_str).chain([own.as_str()]).chain(test).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(CHILD, format!("{run} {}", path.display()));
        if let Some(lasts) = lasts {
            command.env(load::LASTS, lasts.as_millis().to_string());
        }
        let started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = started.expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        Self { child, reader }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Kills it, if it has not ended, and gives what it said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
        let mut said = self.reader.join().expect("the reader");
        // The last line may be cut short.
        let words = ["kept ", "forgotten ", "started ", "restarted ", "noted ", "released "];
        said.retain(|line| words.iter().any(|word| line.starts_with(word)) || line.ends_with("open"));
        said
    }
}

/// Starts a child, kills it after `delay` (from its opening on, or from its start), and gives what it said.
fn killed(path: &Path, run: u64, delay: Duration, while_opening: bool) -> Vec<String> {
    let mut loaded = Loaded::start(path, run, &[], None);
    if !while_opening {
        // The load begins soon after; a kill before its first acknowledgement is a case too.
        std::thread::sleep(Duration::from_millis(40));
    }
    std::thread::sleep(delay);
    assert!(loaded.is_running(), "the child ended by itself");
    loaded.kill()
}

#[test]
fn a_store_that_is_killed_keeps_all_that_it_acknowledged_5_1() {
    if let Ok(order) = std::env::var(CHILD) {
        let (run, path) = order.split_once(' ').expect("a run and a path");
        return load::child(Path::new(path), run.parse().expect("a number"));
    }
    let kills: u64 = number("ONCEKEY_KILLS").unwrap_or(60);
    let seed = seed();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let (mut chance, mut acknowledged) = (Chance(seed), All::new());
    for run in 1..=kills {
        let while_opening = chance.below(5) == 0;
        let delay = Duration::from_millis(chance.below(if while_opening { 40 } else { 250 }));
        oracle::note(&mut acknowledged, killed(&path, run, delay, while_opening));
        if run % 4 == 0 || run == kills {
            let context = format!("seed {seed}, kill {run}");
            let store = load::builder().open(&path).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(store.stats().live_reservations, 0, "{context}: volatile ones are gone (5.3)");
            oracle::check(&store, &mut acknowledged, &context);
            println!("kill {run} of {kills}: {} acknowledgements hold", acknowledged.len());
        }
    }
    println!("kill cases {} faults {kills} failures 0 seed {seed}", acknowledged.len());
    assert!(acknowledged.len() > 100, "the load was real: {} acknowledgements", acknowledged.len());
}
