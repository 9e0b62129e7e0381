//! How long until a store is there again, after its process was killed and after it was closed?
//!
//! A child process (this program, started again) fills a store with default settings and is killed, and before each round
//! another one adds a record and is killed, so that every opening after a kill finds work. Beside it redb's own repair of
//! one file of the same records, keyed by token. All files are in the page cache, as far as it holds them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::field::{create_one, fill};
use crate::form::{Form, MILLION, TEN_MILLION};
use crate::home;
use crate::report::float;
use crate::results::Results;
use crate::series::Series;

/// What this program is started again with.
const ARGUMENT: &str = "--keep";
/// Tokens of a step of a fill.
const STEP: u64 = 500_000;
/// What the rounds add is numbered from here.
const ADDED: u64 = 1 << 41;

pub(crate) fn compare(form: Form, results: &mut Results) {
    let kept = form.count(form.pick(TEN_MILLION, MILLION, TEN_MILLION));
    crate::report::title(&format!("opening {kept} records"), &["value"]);
    let (ours, kept) = rounds("oncekey", kept, form.rounds().min(5));
    let (redb, repaired) = rounds("redb", kept, form.pick(3, 1, 1));
    let note = format!("{kept} kept");
    for (id, at) in [("open_killed_s_per_10m", 0), ("open_clean_s_per_10m", 1)] {
        let share = float(TEN_MILLION) / float(kept);
        let series = Series(ours[at].0.iter().map(|seconds| seconds * share).collect());
        results.figure_if(!form.is_short(), id, &series, &note);
    }
    let note = format!("{kept} kept, by redb {repaired}");
    results.beside("redb's repair, seconds", &redb[0], "s", &note);
    let ratio = ours[0].median() / redb[0].median();
    results.beside("open after SIGKILL / redb's repair", &Series(vec![ratio]), "times its time", &note);
}

/// Seconds of opening after a kill, and after a close; and how many records it came to keep.
fn rounds(name: &str, kept: u64, rounds: usize) -> ([Series; 2], u64) {
    let home = home();
    let kept = keep_and_kill(home.path(), name, 0, kept);
    let mut all = [const { Series(Vec::new()) }; 2];
    for round in 0..rounds as u64 {
        eprint!("\r  {name} is killed and opened: round {} of {rounds}   ", round + 1);
        keep_and_kill(home.path(), name, ADDED + round, ADDED + round + 1);
        for series in &mut all {
            let start = Instant::now();
            let opened = create_one(name, home.path()).expect("it takes part");
            series.push(start.elapsed().as_secs_f64());
            drop(opened);
        }
    }
    eprint!("\r{:60}\r", "");
    (all, kept)
}

/// Gives how many the child kept.
fn keep_and_kill(home: &Path, name: &str, first: u64, end: u64) -> u64 {
    let program = std::env::current_exe().expect("the system knows what runs");
    let mut command = Command::new(program);
    command.arg(ARGUMENT).arg(home).args([name, &first.to_string(), &end.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts itself");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut said).expect("the child speaks");
    child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    said.trim().parse().expect("the child came to its end")
}

/// What a child does until it is killed; comes back where this process is no such child.
pub(crate) fn be_child() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, argument, home, name, first, end] = &arguments[..] else { return };
    if argument != ARGUMENT {
        return;
    }
    let number = |text: &String| text.parse::<u64>().expect("the parent gives numbers");
    let contender = create_one(name, Path::new(home)).expect("it takes part");
    let (first, end) = (number(first), number(end));
    let kept = if first == 0 { fill(&*contender, end, STEP) } else { end - first };
    if first > 0 {
        contender.fill(first..end);
    }
    println!("{kept}");
    loop {
        std::thread::park();
    }
}
