//! Has it become dearer, as far as no clock is needed to tell?
//!
//! Instructions of an operation, counted by valgrind: this program starts itself under it with so many operations and with
//! twice as many, and subtracts. Bytes written for a record, by the store's own count, in batches laid down by
//! hand. Both are held against `counts/expected.json`: what lies outside the tolerance, in either direction, fails, and
//! asks to be explained and renewed: `cargo bench --all-features --bench counts -- --renew`. The gate counts with all features:
//! without `tracing` a reservation takes some 120 instructions less.
//!
//! Instructions depend on the compiler and on what the processor offers (BLAKE3, copies): where these are others than the
//! file names, they are shown and not compared. Without valgrind they are skipped, loudly.

#[path = "counts/batches.rs"]
mod batches;
mod support;
#[path = "counts/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use batches::Batches;
use support::fill::keys;
use support::report::{float, line, title};
use support::{Form, home};
use work::{ALL, OPERATIONS_MAX, settings};

/// Instructions differ from run to run, since hash tables are keyed anew in each.
const INSTRUCTIONS_TOLERANCE: f64 = 0.04;
/// Bytes do not.
const BYTES_TOLERANCE: f64 = 0.01;
/// Records in a commit.
const BATCHES: [(usize, usize); 3] = [(1, 1024), (64, 128), (512, 32)];
/// Batches of 512 before anything is counted: a young store grows at every step.
const BATCHES_BEFORE: usize = 32;
/// The first argument of a child.
const CHILD: &str = "--oncekey-child";

/// What `counts/expected.json` holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    /// Whose instructions they are.
    instructions_of: Machine,
    instructions_per_operation: BTreeMap<String, f64>,
    /// Of about 350 bytes; by records in a commit.
    bytes_written_per_record: BTreeMap<String, f64>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Machine {
    compiler: String,
    processor: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, name, times] = &arguments[..]
        && child == CHILD
    {
        let (_, work) = ALL.iter().find(|(own, _)| own == name).expect("the parent knows them");
        work(times.parse().expect("the parent gives numbers"));
        return ExitCode::SUCCESS;
    }
    if Form::asked() == Form::Test {
        // Other profiles take other instructions: this only asks whether everything runs.
        for (_, work) in ALL {
            work(512);
        }
        return ExitCode::SUCCESS;
    }
    let counted = count();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/expected.json");
    if arguments.iter().any(|argument| argument == "--renew") {
        assert!(!counted.instructions_per_operation.is_empty(), "without valgrind there is nothing to renew");
        let text = serde_json::to_string_pretty(&counted).expect("plain fields");
        std::fs::write(path, text + "\n").expect("the sources are ours");
        println!("\ncounts/expected.json is renewed.");
        return ExitCode::SUCCESS;
    }
    let expected = std::fs::read_to_string(path).expect("counts/expected.json is part of the sources");
    let expected: Counts = serde_json::from_str(&expected).expect("as it was renewed");
    if is_as_expected(&counted, &expected) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count() -> Counts {
    let bytes = bytes_written();
    let bytes = BATCHES.iter().map(|(batch, _)| batch.to_string()).zip(bytes).collect();
    let mut counts = Counts { bytes_written_per_record: bytes, ..Counts::default() };
    if Command::new("valgrind").arg("--version").output().is_ok_and(|said| said.status.success()) {
        counts.instructions_of = machine();
        let per_operation = |(name, _): &(&str, _)| ((*name).to_owned(), instructions_per_operation(name));
        counts.instructions_per_operation = ALL.iter().map(per_operation).collect();
    } else {
        println!(
            "\n!!! INSTRUCTIONS ARE SKIPPED: valgrind is not installed (on Debian: apt-get install valgrind) !!!"
        );
    }
    counts
}

/// By records in a commit, as in [`BATCHES`]; one store, which grows over all of them.
fn bytes_written() -> Vec<f64> {
    let home = home();
    let store = settings().open(home.path().join("store")).expect("a new store");
    let mut batches = Batches::begin(&store, &keys(1)[0]);
    keys(512 * BATCHES_BEFORE).chunks(512).for_each(|batch| batches.lay(batch));
    let mut per_record = |(batch, times): (usize, usize)| {
        let before = store.stats().bytes_written;
        keys(batch * times).chunks(batch).for_each(|batch| batches.lay(batch));
        (float(store.stats().bytes_written - before) / float((batch * times) as u64)).round()
    };
    BATCHES.map(&mut per_record).to_vec()
}

fn instructions_per_operation(name: &str) -> f64 {
    let [half, whole] = [OPERATIONS_MAX / 2, OPERATIONS_MAX].map(|times| instructions(name, times));
    ((whole - half) / float(OPERATIONS_MAX as u64 / 2)).round()
}

/// Of the whole program, the least of three: threads that wait for each other a little longer count a little more.
fn instructions(name: &str, times: usize) -> f64 {
    (0..3).map(|_| instructions_once(name, times)).fold(f64::INFINITY, f64::min)
}

fn instructions_once(name: &str, times: usize) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    valgrind.arg(std::env::current_exe().expect("this is a program")).args([CHILD, name, &times.to_string()]);
    let said = valgrind.output().expect("it has just told its version");
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{name} under valgrind: {text}");
    let line = text.lines().find_map(|line| line.split_once("I   refs:").or(line.split_once("I refs:")));
    let (_, count) = line.unwrap_or_else(|| panic!("valgrind has counted nothing: {text}"));
    count.trim().replace(',', "").parse().expect("a number")
}

fn machine() -> Machine {
    let rustc = Command::new("rustc").arg("--version").output();
    let compiler = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let processor = if cfg!(target_arch = "x86_64") && std::arch::is_x86_feature_detected!("avx2") {
        "x86_64 with AVX2".to_owned()
    } else {
        std::env::consts::ARCH.to_owned()
    };
    Machine { compiler: compiler.unwrap_or_default(), processor }
}

/// Shows all and says what lies outside.
fn is_as_expected(counted: &Counts, expected: &Counts) -> bool {
    let bytes = (&counted.bytes_written_per_record, &expected.bytes_written_per_record);
    let mut all = show("bytes written for a record, by records in a commit", bytes, BYTES_TOLERANCE);
    let instructions = (&counted.instructions_per_operation, &expected.instructions_per_operation);
    if instructions.0.is_empty() {
        return all;
    }
    let same = counted.instructions_of == expected.instructions_of;
    let tolerance = if same { INSTRUCTIONS_TOLERANCE } else { f64::INFINITY };
    all &= show("instructions of an operation", instructions, tolerance);
    if !same {
        let (here, there) = (&counted.instructions_of, &expected.instructions_of);
        println!(
            "\n!!! INSTRUCTIONS ARE NOT COMPARED: here {here:?}, expected.json has those of {there:?} !!!"
        );
    }
    all
}

fn show(
    what: &str,
    (counted, expected): (&BTreeMap<String, f64>, &BTreeMap<String, f64>),
    tolerance: f64,
) -> bool {
    title(what, &["counted", "expected", "change"]);
    let mut is_sound = true;
    for (name, count) in counted {
        let before = expected.get(name).copied().unwrap_or(f64::NAN);
        let change = count / before - 1.0;
        // Also what was expected and never counted.
        let inside = change.abs() <= tolerance;
        is_sound &= inside;
        let row = [format!("{count:.0}"), format!("{before:.0}"), format!("{:+.1} %", 100.0 * change)];
        line(name, &row, if inside { "" } else { "CHANGED" });
    }
    if !is_sound {
        println!(
            "CHANGED by more than {:.0} %: explain it in the change, then `cargo bench --bench counts -- --renew`",
            100.0 * tolerance
        );
    }
    is_sound
}
