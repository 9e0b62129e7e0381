//! The child: a directory store under load, which says a line after each acknowledgement and not before.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oncekey::{Answer, Builder, Key, Outcome, Parameters, Store};

use crate::{Chance, number};

/// After so many milliseconds the child ends by itself.
pub(crate) const LASTS: &str = "ONCEKEY_KILL_LASTS";
const THREADS: u64 = 8;

pub(crate) fn builder() -> Builder {
    Store::builder().segment_bytes_max(1 << 20).segment_age_max(Duration::from_secs(1)).stripes(16)
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("kill", name).expect("a valid key")
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Load without end: the parent ends it, or a time that the parent has set.
pub(crate) fn child(path: &Path, run: u64) {
    if let Some(left) = number(LASTS).map(Duration::from_millis) {
        // As a kill: nothing is dropped, nothing is closed.
        std::thread::spawn(move || {
            std::thread::sleep(left);
            std::process::exit(0);
        });
    }
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
pub(crate) fn outcome(name: &str, bytes: usize) -> Vec<u8> {
    let mut body = name.as_bytes().to_vec();
    body.resize(bytes.max(body.len()), b'.');
    body
}
