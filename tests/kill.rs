//! Goal: contract 5.1, 5.3, 5.7 and 4.6 against a real SIGKILL. Method: this test starts itself as a child that puts a
//! directory store under load (new keys, retries, forgetting, releases, small segments, sweeps) and writes a line to
//! its output *after* each acknowledgement. The parent kills it at a random moment, now and then while it opens, and
//! holds what was acknowledged against what the reopened store says. An outcome names its run, so a key that was
//! completed twice would show.
//!
//! `ONCEKEY_KILLS=5000 cargo test --test kill` is the long form; `ONCEKEY_SEED` repeats a run's moments.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oncekey::{Answer, Builder, Key, Known, Outcome, Parameters, Store};

const CHILD: &str = "ONCEKEY_KILL_CHILD";
const THREADS: u64 = 8;

/// A small generator of our own, so that a seed repeats a run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % bound
    }
}

fn builder() -> Builder {
    Store::builder().segment_bytes_max(1 << 20).segment_age_max(Duration::from_secs(1)).stripes(16)
}

fn key(name: &str) -> Key {
    Key::new("kill", name).expect("a valid key")
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Load without end: the parent ends it.
fn child(path: &Path, run: u64) {
    let store = builder().open(path).expect("opening needs no manual step (5.7)");
    say("open");
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, next) = (&store, &next);
            scope.spawn(move || {
                let mut chance = Chance(run * 31 + thread);
                loop {
                    act(store, next, run, &mut chance);
                }
            });
        }
    });
}

fn act(store: &Store, next: &AtomicU64, run: u64, chance: &mut Chance) {
    let number = next.fetch_add(1, Ordering::Relaxed);
    let name = format!("{run}-{number}");
    let (own, parameters) = (key(&name), Parameters::bytes(name.as_bytes()));
    let Answer::Fresh(held) = store.begin(&own, &parameters).expect("a new key") else {
        panic!("{name} was never seen")
    };
    match chance.below(10) {
        0 => drop(held),
        1 => {
            // Completed and forgotten: it may be there until the forgetting is acknowledged.
            held.complete(Outcome::new(outcome(&name, 40))).expect("a completion");
            assert_eq!(store.forget(&own), Ok(true), "{name}");
            say(&format!("forgotten {name}"));
        }
        2 => {
            let short = store.request(&own, &parameters);
            assert!(matches!(short.begin(), Ok(Answer::InFlight(_))), "{name} runs");
            held.complete(Outcome::new(outcome(&name, 3000))).expect("a completion");
            say(&format!("kept {name}"));
        }
        _ => {
            held.complete(Outcome::new(outcome(&name, 200))).expect("a completion");
            say(&format!("kept {name}"));
            if chance.below(4) == 0 {
                let Ok(Answer::Replay(replay)) = store.begin(&own, &parameters) else {
                    panic!("{name} is kept")
                };
                assert_eq!(replay.outcome().body(), outcome(&name, 200), "{name}");
            }
        }
    }
}

/// Names the key and fills up to a length.
fn outcome(name: &str, bytes: usize) -> Vec<u8> {
    let mut body = name.as_bytes().to_vec();
    body.resize(bytes.max(body.len()), b'.');
    body
}

/// Starts a child, kills it after `delay` (from its opening on, or from its start), and gives what it said.
fn killed(path: &Path, run: u64, delay: Duration, while_opening: bool) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test's own file"))
        .args(["a_store_that_is_killed_keeps_all_that_it_acknowledged_5_1", "--exact", "--nocapture"])
        .env(CHILD, format!("{run} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    if !while_opening {
        // The load begins soon after; a kill before its first acknowledgement is a case too.
        std::thread::sleep(Duration::from_millis(40));
    }
    std::thread::sleep(delay);
    assert!(child.try_wait().expect("its state").is_none(), "the child ended by itself");
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    let mut said = reader.join().expect("the reader");
    // The last line may be cut short.
    said.retain(|line| line.starts_with("kept ") || line.starts_with("forgotten ") || line.ends_with("open"));
    said
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Acknowledged {
    Kept,
    Forgotten,
}

fn check(store: &Store, acknowledged: &BTreeMap<String, Acknowledged>, context: &str) {
    for (name, what) in acknowledged {
        let known = store.get(&key(name)).unwrap_or_else(|error| panic!("{context}: {name}: {error}"));
        match (what, known) {
            (Acknowledged::Kept, Known::Finished(replay)) => {
                let body = replay.outcome().body();
                assert_eq!(body, outcome(name, body.len()), "{context}: {name}");
                assert!([200, 3000].contains(&body.len()), "{context}: {name} is whole");
            }
            (Acknowledged::Forgotten, Known::Absent) => {}
            (what, known) => panic!("{context}: {name} was {what:?}, found {known:?}"),
        }
    }
    let Some((name, _)) = acknowledged.iter().find(|(_, what)| **what == Acknowledged::Kept) else { return };
    let parameters = Parameters::bytes(name.as_bytes());
    assert!(matches!(store.begin(&key(name), &parameters), Ok(Answer::Replay(_))), "{context}: {name}");
    let mismatch = store.begin(&key(name), &Parameters::none()).expect_err("other parameters");
    assert!(mismatch.is_mismatch(), "{context}: {mismatch}");
}

#[test]
fn a_store_that_is_killed_keeps_all_that_it_acknowledged_5_1() {
    if let Ok(order) = std::env::var(CHILD) {
        let (run, path) = order.split_once(' ').expect("a run and a path");
        return child(Path::new(path), run.parse().expect("a number"));
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let kills: u64 = number("ONCEKEY_KILLS").unwrap_or(60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    let seed = number("ONCEKEY_SEED").unwrap_or(u64::try_from(now % 1_000_000_007).expect("small"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let (mut chance, mut acknowledged) = (Chance(seed), BTreeMap::new());
    for run in 1..=kills {
        let while_opening = chance.below(5) == 0;
        let delay = Duration::from_millis(chance.below(if while_opening { 40 } else { 250 }));
        for line in killed(&path, run, delay, while_opening) {
            let (what, name) = line.split_once(' ').unwrap_or_default();
            let what = match what {
                "kept" => Acknowledged::Kept,
                "forgotten" => Acknowledged::Forgotten,
                _ => continue,
            };
            acknowledged.insert(name.to_owned(), what);
        }
        if run % 4 == 0 || run == kills {
            let context = format!("seed {seed}, kill {run}");
            let store = builder().open(&path).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(store.stats().live_reservations, 0, "{context}: volatile ones are gone (5.3)");
            check(&store, &acknowledged, &context);
            println!("kill {run} of {kills}: {} acknowledgements hold", acknowledged.len());
        }
    }
    assert!(acknowledged.len() > 100, "the load was real: {} acknowledgements", acknowledged.len());
}
