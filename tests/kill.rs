//! Goal: contract 5.1, 5.3, 5.4, 5.7, 6.3, 4.3 and 4.6 against a real SIGKILL. Method: this test starts itself as a child that puts a
//! directory store under load (new keys, retries, forgetting, releases, durable starts, checkpoints, resumptions, small
//! segments, sweeps) and writes a line to its output *after* each acknowledgement. The parent kills it at a random moment, now and then while it opens, and
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

/// A durable operation: what was acknowledged of it is told step by step, and it ends in every way there is.
fn act_durably(store: &Store, name: &str, chance: &mut Chance) {
    let (own, parameters) = (key(name), Parameters::bytes(name.as_bytes()));
    let waiting = Duration::from_secs(30);
    let begin = || match store.request(&own, &parameters).start_durably().wait(waiting).begin() {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("{name} is free: {other:?}"),
    };
    let mut held = begin();
    say(&format!("started {name}"));
    for attempt in 1..=1 + chance.below(2) {
        if attempt > 1 {
            drop(held);
            held = begin();
            assert_eq!(u64::from(held.attempt()), attempt, "{name}");
            say(&format!("restarted {name}"));
        }
        for _ in 0..chance.below(3) {
            held.checkpoint(name.as_bytes()).expect("a checkpoint");
            say(&format!("noted {name}"));
        }
    }
    match chance.below(4) {
        // It runs until the kill.
        0 => std::mem::forget(held),
        1 => {
            held.complete(Outcome::http(503, "again")).expect("a release");
            say(&format!("released {name}"));
        }
        _ => {
            held.complete(Outcome::new(outcome(name, 200))).expect("a completion");
            say(&format!("kept {name}"));
        }
    }
}

fn act(store: &Store, next: &AtomicU64, run: u64, chance: &mut Chance) {
    let number = next.fetch_add(1, Ordering::Relaxed);
    let name = format!("{run}-{number}");
    if chance.below(3) == 0 {
        return act_durably(store, &name, chance);
    }
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
    let words = ["kept ", "forgotten ", "started ", "restarted ", "noted ", "released "];
    said.retain(|line| words.iter().any(|word| line.starts_with(word)) || line.ends_with("open"));
    said
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Acknowledged {
    Kept,
    Forgotten,
    /// Durably started so many times, and whether it noted anything.
    Started(u32, bool),
    Released(u32, bool),
}

impl Acknowledged {
    /// What is acknowledged once one more line was said of a key.
    fn and(before: Option<Self>, word: &str) -> Option<Self> {
        Some(match (word, before) {
            ("kept", _) => Self::Kept,
            ("forgotten", _) => Self::Forgotten,
            ("started", _) => Self::Started(1, false),
            ("restarted", Some(Self::Started(attempts, noted))) => Self::Started(attempts + 1, noted),
            ("noted", Some(Self::Started(attempts, _))) => Self::Started(attempts, true),
            ("released", Some(Self::Started(attempts, noted))) => Self::Released(attempts, noted),
            _ => return None,
        })
    }
}

fn check(store: &Store, acknowledged: &mut BTreeMap<String, Acknowledged>, context: &str) {
    for (name, what) in &*acknowledged {
        let known = store.get(&key(name)).unwrap_or_else(|error| panic!("{context}: {name}: {error}"));
        match (what, known) {
            (Acknowledged::Kept, Known::Finished(replay)) => {
                let body = replay.outcome().body();
                assert_eq!(body, outcome(name, body.len()), "{context}: {name}");
                assert!([200, 3000].contains(&body.len()), "{context}: {name} is whole");
            }
            (
                Acknowledged::Forgotten | Acknowledged::Started(..) | Acknowledged::Released(..),
                Known::Absent,
            ) => {}
            // Started and not ended, as far as was told: its end may have been on its way, but it is never unknown.
            (Acknowledged::Started(..), Known::Finished(replay)) => {
                assert_eq!(replay.outcome().body(), outcome(name, 200), "{context}: {name}");
            }
            (Acknowledged::Started(least, noted), Known::Interrupted { attempt, checkpoint, .. }) => {
                assert!((*least..=least + 1).contains(&attempt), "{context}: {name}: attempt {attempt}");
                let seen = checkpoint.as_ref().map(oncekey::Checkpoint::bytes);
                assert!(seen.is_none_or(|note| note == name.as_bytes()), "{context}: {name}: {seen:?}");
                assert!(!noted || seen.is_some(), "{context}: {name}: its checkpoint is gone");
            }
            (what, known) => panic!("{context}: {name} was {what:?}, found {known:?}"),
        }
    }
    check_resuming(store, acknowledged, context);
    let Some((name, _)) = acknowledged.iter().find(|(_, what)| **what == Acknowledged::Kept) else { return };
    let parameters = Parameters::bytes(name.as_bytes());
    assert!(matches!(store.begin(&key(name), &parameters), Ok(Answer::Replay(_))), "{context}: {name}");
    let mismatch = store.begin(&key(name), &Parameters::none()).expect_err("other parameters");
    assert!(mismatch.is_mismatch(), "{context}: {mismatch}");
}

/// What was started runs again as a later attempt, never as the first one; where it was released, too.
fn check_resuming(store: &Store, acknowledged: &mut BTreeMap<String, Acknowledged>, context: &str) {
    let mut listed: Vec<String> =
        store.interrupted().map(|own| own.expect("readable").key().token().to_owned()).collect();
    let count = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!((listed.len() as u64, count), (store.stats().interrupted, listed.len()), "{context}");
    for (name, what) in acknowledged {
        let (Acknowledged::Started(least, noted) | Acknowledged::Released(least, noted)) = *what else {
            continue;
        };
        let interrupted = matches!(store.get(&key(name)), Ok(Known::Interrupted { .. }));
        assert_eq!(interrupted, listed.binary_search(name).is_ok(), "{context}: {name} is listed");
        match store.begin(&key(name), &Parameters::bytes(name.as_bytes())) {
            Ok(Answer::Fresh(held)) => {
                assert!(held.attempt() > least, "{context}: {name}: attempt {} anew", held.attempt());
                assert_eq!(held.is_resumed(), interrupted, "{context}: {name}");
                assert!(!noted || held.last_checkpoint().is_some(), "{context}: {name}");
                // Dropped, a resumed one is released; a volatile one leaves what was.
                if held.is_durable() {
                    *what = Acknowledged::Released(held.attempt(), noted);
                }
            }
            Ok(Answer::Replay(replay)) => {
                assert_eq!(replay.outcome().body(), outcome(name, 200), "{context}");
            }
            other => panic!("{context}: {name} was {what:?}: {other:?}"),
        }
    }
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
            let before = acknowledged.get(name).copied();
            if let Some(what) = Acknowledged::and(before, what) {
                acknowledged.insert(name.to_owned(), what);
            }
        }
        if run % 4 == 0 || run == kills {
            let context = format!("seed {seed}, kill {run}");
            let store = builder().open(&path).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(store.stats().live_reservations, 0, "{context}: volatile ones are gone (5.3)");
            check(&store, &mut acknowledged, &context);
            println!("kill {run} of {kills}: {} acknowledgements hold", acknowledged.len());
        }
    }
    assert!(acknowledged.len() > 100, "the load was real: {} acknowledgements", acknowledged.len());
}
