//! Histories across SIGKILLs: a child makes the calls and says each before and after; whoever kills it holds the pen.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oncekey::{Builder, Outcome, Store};

use super::checker::{Began, Call, Forgot, NEVER, Seen, What};
use super::recorder::{Chance, KEYS, began, forgot, key, parameters, seen};
use super::{check_all, seed, setting};

const CHILD: &str = "ONCEKEY_HISTORIES_CHILD";
const THREADS: u64 = 3;
/// Calls of one history: as many as the checker takes in a moment.
const CALLS: usize = 90;

fn builder() -> Builder {
    Store::builder().segment_bytes_max(1 << 20).stripes(4)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Makes calls until it is killed; each thread ends what it began before it begins again.
fn child(path: &Path, run: u64) {
    let store = builder().open(path).expect("opening needs no manual step (5.7)");
    say("open");
    let next = AtomicU64::new(run << 32);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, next) = (&store, &next);
            scope.spawn(move || {
                let mut chance = Chance(run * 31 + thread);
                loop {
                    act(store, next, &mut chance);
                }
            });
        }
    });
}

fn act(store: &Store, next: &AtomicU64, chance: &mut Chance) {
    let at = usize::try_from(chance.below(KEYS as u64)).expect("small");
    let number = || next.fetch_add(1, Ordering::Relaxed);
    let id = number();
    match chance.below(5) {
        0 => {
            say(&format!("call {id} {at} forget"));
            let told = match forgot(store.forget(&key(at))) {
                Forgot::Kept => "kept",
                Forgot::Nothing => "nothing",
                Forgot::InFlight => "flying",
            };
            say(&format!("told {id} {told}"));
        }
        1 => {
            say(&format!("call {id} {at} get"));
            say(&format!("told {id} {}", word(&seen(&store.get(&key(at)).expect("it reads")))));
        }
        _ => {
            let (digest, durable) = (u8::from(chance.below(10) == 0), chance.below(2));
            say(&format!("call {id} {at} begin {digest} {durable}"));
            let (key, parameters) = (key(at), parameters(digest));
            let request = store.request(&key, &parameters).wait(Duration::from_secs(30));
            let request = if durable == 1 { request.start_durably() } else { request };
            let (answer, held) = began(request.begin(), id);
            let told = match answer {
                Began::Fresh { attempt, resumed, .. } => format!("fresh {attempt} {}", u8::from(resumed)),
                Began::Replay(outcome) => format!("replay {outcome}"),
                Began::InFlight => "flying".to_owned(),
                Began::Mismatch => "mismatch".to_owned(),
            };
            say(&format!("told {id} {told}"));
            let Some(held) = held else { return };
            let end = number();
            if chance.below(3) == 0 {
                say(&format!("call {end} {at} release {id}"));
                drop(held);
                return;
            }
            say(&format!("call {end} {at} complete {id} {end}"));
            held.complete(Outcome::new(end.to_le_bytes()).finally()).expect("it is kept");
            say(&format!("told {end} 1"));
        }
    }
}

fn word(seen: &Seen) -> String {
    match seen {
        Seen::Absent => "absent".to_owned(),
        Seen::InFlight => "flying".to_owned(),
        Seen::Interrupted => "interrupted".to_owned(),
        Seen::Finished(outcome) => format!("finished {outcome}"),
    }
}

/// What a child said until it was killed.
fn said(path: &Path, run: u64, delay: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test's own file"))
        .args(["killed::histories_across_kills_are_linearizable_5_1", "--exact", "--nocapture"])
        .env(CHILD, format!("{run} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(delay);
    assert!(child.try_wait().expect("its state").is_none(), "the child ended by itself");
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    reader.join().expect("the reader")
}

/// Writes down what was said, from this count on.
fn write_down(lines: &[String], from: u64, histories: &mut [Vec<Call>]) {
    let mut open: Vec<(u64, usize, usize)> = Vec::new();
    for (made, line) in (from..).zip(lines) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|own| own.parse::<u64>().ok());
        match (words.first(), number(1)) {
            (Some(&"call"), Some(id)) => {
                let (Some(at), Some(what)) = (number(2), called(&words)) else { continue };
                let at = usize::try_from(at).expect("small");
                open.push((id, at, histories[at].len()));
                histories[at].push(Call { made, answered: NEVER, clock: (0, 0), what });
            }
            (Some(&"told"), Some(id)) => {
                let Some((_, at, place)) = open.iter().find(|(own, ..)| *own == id) else { continue };
                let call = &mut histories[*at][*place];
                if answer(&mut call.what, id, &words[2..]) {
                    call.answered = made;
                }
            }
            _ => {}
        }
    }
}

/// A call that has no answer yet.
fn called(words: &[&str]) -> Option<What> {
    let number = |at: usize| words.get(at).and_then(|own| own.parse::<u64>().ok());
    Some(match *words.get(3)? {
        "begin" => {
            let digest = u8::try_from(number(4)?).ok()?;
            What::Begin { digest, durable: number(5)? == 1, waits: true, answer: None }
        }
        "complete" => What::Complete { held: number(4)?, outcome: number(5)?, kept: None },
        "release" => What::Release { held: number(4)?, released: None },
        "get" => What::Get(Seen::Absent),
        "forget" => What::Forget(None),
        _ => return None,
    })
}

/// Adds an answer, if it was not cut short.
fn answer(what: &mut What, id: u64, words: &[&str]) -> bool {
    let number = |at: usize| words.get(at).and_then(|own| own.parse::<u64>().ok());
    let own = match (&*what, words) {
        (What::Complete { held, outcome, .. }, ["1"]) => {
            What::Complete { held: *held, outcome: *outcome, kept: Some(true) }
        }
        (What::Forget(_), ["flying"]) => What::Forget(Some(Forgot::InFlight)),
        (What::Forget(_), ["kept"]) => What::Forget(Some(Forgot::Kept)),
        (What::Forget(_), ["nothing"]) => What::Forget(Some(Forgot::Nothing)),
        (What::Get(_), ["absent"]) => What::Get(Seen::Absent),
        (What::Get(_), ["flying"]) => What::Get(Seen::InFlight),
        (What::Get(_), ["interrupted"]) => What::Get(Seen::Interrupted),
        (What::Get(_), ["finished", _]) => What::Get(Seen::Finished(number(1).expect("a number"))),
        (What::Begin { digest, durable, waits, .. }, _) => {
            let answer = match words {
                ["fresh", attempt, resumed] => {
                    let attempt = attempt.parse().expect("a number");
                    Began::Fresh { held: id, attempt, resumed: *resumed == "1" }
                }
                ["replay", _] => Began::Replay(number(1).expect("a number")),
                ["flying"] => Began::InFlight,
                ["mismatch"] => Began::Mismatch,
                _ => return false,
            };
            What::Begin { digest: *digest, durable: *durable, waits: *waits, answer: Some(answer) }
        }
        _ => return false,
    };
    *what = own;
    true
}

#[test]
fn histories_across_kills_are_linearizable_5_1() {
    if let Ok(order) = std::env::var(CHILD) {
        let (run, path) = order.split_once(' ').expect("a run and a path");
        return child(Path::new(path), run.parse().expect("a number"));
    }
    let (wanted, seed) = (setting("ONCEKEY_HISTORIES").unwrap_or(2_000) / 50, seed());
    let directory = tempfile::tempdir().expect("a directory");
    let (mut checked, mut calls, mut kills, mut chance) = (0, 0, 0, Chance(seed));
    while checked < wanted {
        let path = directory.path().join(format!("{checked}"));
        let (mut histories, mut from) = (vec![Vec::new(); KEYS], 1);
        for run in 0..3 {
            let lines = said(&path, run + 1, Duration::from_millis(20 + chance.below(60)));
            // Of what was said, the first calls; then the kill. A child that was cut off has no calls left to answer.
            let lines = &lines[..lines.len().min(CALLS)];
            let (end, whole) = (from + lines.len() as u64, lines.len() < CALLS);
            write_down(lines, from, &mut histories);
            from = end + 2;
            if !whole {
                break;
            }
            kills += 1;
            for history in &mut histories {
                history.push(Call { made: end, answered: end + 1, clock: (0, 0), what: What::Crash });
            }
        }
        // A reading without an answer says nothing.
        for history in &mut histories {
            history.retain(|call| call.answered != NEVER || !matches!(call.what, What::Get(_)));
            calls += history.len();
        }
        checked += check_all(&histories, &format!("ONCEKEY_SEED={seed}, store {checked}")) as u64;
    }
    println!("histories-killed cases {checked} faults {kills} failures 0 seed {seed}, {calls} calls");
}
