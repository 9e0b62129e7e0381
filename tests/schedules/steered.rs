//! Bytes as an order of steps: what a fuzzer steers, and what plain tests replay of `fuzz/corpus/schedule`.
//!
//! Law: any bytes are one order of one program, the same each time. The first byte chooses the program; each one after it
//! a step: 0 goes on with who runs, any other one chooses among those who can. Behind the last byte whoever runs goes on
//! until it waits, and then the next one, in a circle: an order that comes to an end.

#[cfg(not(fuzzing))]
use std::{
    fs,
    path::{Path, PathBuf},
};

use shuttle::Runner;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

#[cfg(not(fuzzing))]
use super::explorer::is_chosen;
use super::explorer::{Program, config};

/// One order, of which bytes choose the steps.
struct Steered {
    steps: std::vec::IntoIter<u8>,
    begun: bool,
}

impl Scheduler for Steered {
    fn new_execution(&mut self) -> Option<Schedule> {
        let first = !std::mem::replace(&mut self.begun, true);
        first.then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let running = runnable.iter().position(|own| Some(own.id()) == current);
        let next = match (self.steps.next(), running) {
            (Some(step), _) if step > 0 => usize::from(step - 1) % runnable.len(),
            (_, Some(running)) if !is_yielding => running,
            _ => runnable.iter().position(|own| Some(own.id()) > current).unwrap_or(0),
        };
        Some(runnable[next].id())
    }

    /// What a program draws: only those that simulate do, and these do not.
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// Runs the order that bytes say.
///
/// # Panics
/// Where the program fails in that order.
pub(crate) fn run(programs: &[Program], bytes: &[u8]) {
    let Some((program, steps)) = bytes.split_first() else { return };
    let program = programs[usize::from(*program) % programs.len()];
    let steered = Steered { steps: Vec::from(steps).into_iter(), begun: false };
    Runner::new(steered, config()).run(program.run);
}

/// What replays the cases, by its name.
#[cfg(not(fuzzing))]
const REPLAY: &str = "every_known_case_of_schedule_holds_3_4_5";

/// Replays every known case of the fuzz target `schedule`; a crate that was packaged has none.
///
/// # Panics
/// With the file's name, where one fails.
#[cfg(not(fuzzing))]
pub(crate) fn replay(programs: &[Program]) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !is_chosen(REPLAY) || !fuzz.join("Cargo.toml").is_file() {
        return;
    }
    let files = fs::read_dir(fuzz.join("corpus/schedule")).expect("the target has a corpus");
    let mut files: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of `schedule` is empty");
    for file in &files {
        let case = fs::read(file).expect("a case");
        let held = std::panic::catch_unwind(|| run(programs, &case));
        assert!(held.is_ok(), "{} fails", file.display());
    }
    println!("{REPLAY} ... ok, {} cases", files.len());
}
