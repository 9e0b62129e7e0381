//! Goal: contract 5.1, 5.5, 5.7, 5.10 and 10.1 on a real file system that loses its power, that can't write back, or whose
//! syncs fail; and the order of the calls that make a file durable. Method: `.ci/kernel` makes the file system, on a loop
//! device, and starts these tests, which ask it to cut, mend, grow and make anew. What a child acknowledged over its pipe
//! must be there afterwards. `bash .ci/kernel CUTS FULL FAILURES` is the long form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::oracle::{self, All};
use crate::{Chance, Loaded, load, number, seed};

/// Longer than a child takes to notice that its disk has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file system under test.
struct Machine {
    script: PathBuf,
    mount: PathBuf,
}

impl Machine {
    fn by_environment() -> Self {
        let path = |name: &str| {
            PathBuf::from(std::env::var_os(name).expect("started by `bash .ci/kernel`, which sets this"))
        };
        Self { script: path("ONCEKEY_KERNEL"), mount: path("ONCEKEY_KERNEL_MOUNT") }
    }

    /// Asks for one of: `new`, `small`, `cut`, `mend`, `grow`.
    fn ask(&self, what: &str) {
        let done = Command::new("bash").arg(&self.script).arg(what).status().expect("bash");
        assert!(done.success(), "{what}: {done}");
    }

    fn store(&self) -> PathBuf {
        self.mount.join("store")
    }
}

/// Opens what is left, and holds it against what was acknowledged.
fn check(path: &Path, acknowledged: &mut All, context: &str) {
    let store = load::builder().open(path).unwrap_or_else(|error| panic!("{context}: {error}"));
    oracle::check(&store, acknowledged, context);
}

#[test]
#[ignore = "needs root and a file system of its own: bash .ci/kernel"]
fn a_power_cut_of_a_real_file_system_loses_nothing_that_was_acknowledged_5_1_5_7() {
    let (machine, cuts, seed) =
        (Machine::by_environment(), number("ONCEKEY_KERNEL_CUTS").unwrap_or(20), seed());
    let (mut chance, mut acknowledged) = (Chance(seed), All::new());
    machine.ask("new");
    for run in 1..=cuts {
        let context = format!("seed {seed}, cut {run}");
        let loaded = Loaded::start(&machine.store(), run, &[], None);
        // Every fifth cut falls into the opening.
        let least = if run % 5 == 0 { 0 } else { 60 };
        std::thread::sleep(Duration::from_millis(least + chance.below(300)));
        machine.ask("cut");
        // Whatever it says from here on was not acknowledged by a disk that is gone, unless it lies.
        std::thread::sleep(Duration::from_millis(chance.below(30)));
        oracle::note(&mut acknowledged, loaded.kill());
        machine.ask("mend");
        check(&machine.store(), &mut acknowledged, &context);
        println!("cut {run} of {cuts}: {} acknowledgements hold", acknowledged.len());
    }
    println!("kernel-power-cut cases {} faults {cuts} failures 0 seed {seed}", acknowledged.len());
    assert!(acknowledged.len() as u64 > 10 * cuts, "the load was real");
}

#[test]
#[ignore = "needs root and a file system of its own: bash .ci/kernel"]
fn a_disk_that_cannot_write_back_loses_nothing_that_was_acknowledged_5_1_5_5() {
    let (machine, rounds, seed) =
        (Machine::by_environment(), number("ONCEKEY_KERNEL_FULL").unwrap_or(4), seed());
    let (mut failed, mut cases) = (0, 0);
    for round in 1..=rounds {
        let (path, mut acknowledged) = (machine.store(), All::new());
        let context = |what: &str| format!("seed {seed}, round {round}, {what}");
        machine.ask("small");
        // Until its disk fails.
        let mut loaded = Loaded::start(&path, 1, &[], None);
        let until = Instant::now() + PATIENCE;
        while loaded.is_running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        failed += u64::from(!loaded.is_running());
        oracle::note(&mut acknowledged, loaded.kill());
        machine.ask("grow");
        if round % 2 == 0 {
            machine.ask("mend");
        }
        // In odd rounds the cache still holds what never came to the disk.
        check(&path, &mut acknowledged, &context("space again"));
        let loaded = Loaded::start(&path, 2, &[], None);
        std::thread::sleep(Duration::from_millis(400));
        machine.ask("cut");
        oracle::note(&mut acknowledged, loaded.kill());
        machine.ask("mend");
        check(&path, &mut acknowledged, &context("then cut"));
        cases += acknowledged.len();
        println!("round {round} of {rounds}: {} acknowledgements hold", acknowledged.len());
    }
    println!("kernel-write-back cases {cases} faults {failed} failures 0 seed {seed}");
    assert_eq!(failed, rounds, "the disk failed under each child");
}

#[test]
#[ignore = "needs strace and root: bash .ci/kernel"]
fn the_nth_fdatasync_fails_and_nothing_acknowledged_is_lost_5_1_5_5() {
    let (machine, most) = (Machine::by_environment(), number("ONCEKEY_KERNEL_FAILURES").unwrap_or(40));
    let trace = machine.mount.with_extension("trace");
    let (mut failed, mut acknowledged) = (0, All::new());
    machine.ask("new");
    for at in 1..=most {
        let inject = format!("inject=fdatasync:error=EIO:when={at}");
        let by = [
            "strace",
            "-f",
            "-qq",
            "-o",
            &trace.display().to_string(),
            "-e",
            "trace=fdatasync",
            "-e",
            &inject,
        ];
        let by: Vec<String> = by.into_iter().map(str::to_owned).collect();
        let mut loaded = Loaded::start(&machine.store(), at, &by, Some(Duration::from_millis(600)));
        let until = Instant::now() + PATIENCE;
        while loaded.is_running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        oracle::note(&mut acknowledged, loaded.kill());
        let told = std::fs::read_to_string(&trace).expect("what strace saw");
        failed += u64::from(told.contains("(INJECTED)"));
        // The store of a killed child is opened from the cache, and then as a cut leaves it.
        if at % 8 == 0 || at == most {
            machine.ask("cut");
            machine.ask("mend");
        }
        check(&machine.store(), &mut acknowledged, &format!("failure {at}"));
    }
    println!("kernel-fdatasync cases {} faults {failed} failures 0 seed 0", acknowledged.len());
    assert!(failed * 2 > most, "most of them failed: {failed}");
}

/// One call of one thread, once it has returned: its name and its line.
struct Call {
    thread: String,
    line: String,
}

/// The calls that strace saw, in the order in which they returned.
fn calls(told: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in told.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, head);
        } else if call.starts_with("<...") {
            let head = begun.remove(thread).unwrap_or_default();
            calls.push(Call { thread: thread.to_owned(), line: format!("{head} {call}") });
        } else {
            calls.push(Call { thread: thread.to_owned(), line: call.to_owned() });
        }
    }
    calls
}

#[test]
#[ignore = "needs strace: bash .ci/kernel"]
fn data_is_synced_before_the_rename_and_the_directory_before_the_first_acknowledgement_10_1() {
    let machine = Machine::by_environment();
    machine.ask("new");
    let trace = machine.mount.with_extension("trace");
    let traced = "trace=fdatasync,fsync,rename,renameat,renameat2,pwrite64,write,mkdir";
    let by = ["strace", "-f", "-qq", "-y", "-s", "64", "-o", &trace.display().to_string(), "-e", traced];
    let by: Vec<String> = by.into_iter().map(str::to_owned).collect();
    let mut loaded = Loaded::start(&machine.store(), 1, &by, Some(Duration::from_millis(2500)));
    while loaded.is_running() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(loaded.kill().len() > 10, "the load was real");
    let told = std::fs::read_to_string(&trace).expect("what strace saw");
    let (renames, acknowledgements) = check_order(&calls(&told), &machine.store());
    println!("kernel-order cases {acknowledgements} faults {renames} failures 0 seed 0");
    assert!(renames >= 3, "identity, its birth, a segment: {renames}");
}

/// Data sync < rename < directory sync < next acknowledgement, and the directory's own name before any. How many renames
/// and acknowledgements there were.
fn check_order(calls: &[Call], store: &Path) -> (u64, u64) {
    let (directory, parent) =
        (format!("<{}>", store.display()), format!("<{}>", store.parent().unwrap().display()));
    let words = ["\"kept ", "\"started ", "\"forgotten ", "\"noted ", "\"released "];
    // Files written and not synced since, as far as that is data; renames whose directory is not synced yet, with their thread.
    let (mut dirty, mut unnamed) = (BTreeMap::<String, bool>::new(), Vec::<(&str, &str)>::new());
    let (mut renames, mut acknowledgements, mut born) = (0, 0, false);
    for Call { thread, line } in calls {
        let file = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        if line.starts_with("pwrite64(") {
            // Space that is made ahead of need is nobody's data.
            let zeros = line.split('"').nth(1).is_some_and(|data| data.replace("\\0", "").is_empty());
            if !zeros {
                dirty.insert(file(), true);
            }
        } else if line.starts_with("fdatasync(") || line.starts_with("fsync(") {
            // The process has ended meanwhile, and nobody was told of it.
            if line.ends_with("= ?") {
                continue;
            }
            assert!(line.ends_with("= 0"), "{line}");
            born |= line.contains(&parent);
            if line.contains(&directory) {
                unnamed.retain(|(own, _)| own != thread);
            }
            dirty.insert(file(), false);
        } else if line.starts_with("rename") {
            let from = line.split('"').nth(1).unwrap_or_default();
            assert_eq!(dirty.get(from), Some(&false), "synced before its rename: {line}");
            unnamed.push((thread, line));
            renames += 1;
        } else if line.starts_with("write(1<") && words.iter().any(|word| line.contains(word)) {
            assert!(born, "the directory's own name is durable before: {line}");
            assert!(
                acknowledgements > 0 || unnamed.is_empty(),
                "no first acknowledgement before {unnamed:?}: {line}"
            );
            acknowledgements += 1;
        }
        // Whoever renames syncs the directory next, and nothing else before.
        let left = unnamed.iter().find(|(own, rename)| own == thread && rename != line);
        assert!(left.is_none(), "no directory sync after {left:?}, but {line}");
    }
    (renames, acknowledgements)
}
