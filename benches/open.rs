//! How long does opening take, after SIGKILL and after a clean close, and what does that follow: the store or its
//! active segment?
//!
//! A child fills a store: so many records in sealed segments, so many in the active one; then it is killed. For
//! each round another child opens it, completes one token and is killed, so that every opening measured finds
//! an unclean active segment. All files are in the page cache: what is measured is work, not the disk.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oncekey::{Builder, Store};

use support::callers::as_tasks;
use support::fill::{complete, fill};
use support::report::{line, median, title};
use support::{Form, home};

const FULL: &[Shape] = &[
    Shape { kept: 100_000, active: 10_000 },
    Shape { kept: 1_000_000, active: 10_000 },
    Shape { kept: 100_000, active: 100_000 },
    Shape { kept: 1_000_000, active: 100_000 },
];
const SHORT: &[Shape] = &[Shape { kept: 50_000, active: 20_000 }, Shape { kept: 500_000, active: 20_000 }];
const TEST: &[Shape] = &[Shape { kept: 300, active: 100 }];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, home, shape @ ..] = &arguments[..]
        && child == CHILD
    {
        be_child(home, shape);
    }
    let form = Form::asked();
    let home = home();
    compare(form, home.path());

    let mut criterion = form.criterion();
    let store = home.path().join("criterion");
    make(&store, form.pick(Shape { kept: 100_000, active: 10_000 }, TEST[0], TEST[0]));
    let mut group = criterion.benchmark_group("open");
    for (at, name) in ["killed", "closed"].into_iter().enumerate() {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let rounds = iterations.min(10);
                let time: Duration = (0..rounds).map(|_| open_both(&store)[at]).sum();
                time.mul_f64(support::report::float(iterations) / support::report::float(rounds))
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn compare(form: Form, home: &Path) {
    title("opening, ms", &["SIGKILL", "closed", "the kill adds"]);
    let mut opened = Vec::new();
    for (number, &shape) in form.pick(FULL, SHORT, TEST).iter().enumerate() {
        let own = home.join(format!("opening-{number}"));
        make(&own, shape);
        let rounds: Vec<_> = (0..form.rounds()).map(|_| open_both(&own)).collect();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let of = |at: usize| median(rounds.iter().map(|round| millis(round[at])).collect());
        let added = median(rounds.iter().map(|round| millis(round[0]) - millis(round[1])).collect());
        let label = format!("{} kept, {} active", shape.kept, shape.active);
        line(&label, &[of(0), of(1), added].map(|millis| format!("{millis:.1}")), "");
        opened.push((shape, [of(0), of(1), added]));
        std::fs::remove_dir_all(own).expect("it is ours");
    }
    for (at, (small, small_times)) in opened.iter().enumerate() {
        for (large, large_times) in &opened[at + 1..] {
            let label = if small.active == large.active {
                format!("  x {} kept, {} active", large.kept / small.kept, small.active)
            } else if small.kept == large.kept {
                format!("  x {} active, {} kept", large.active / small.active, small.kept)
            } else {
                continue;
            };
            let ratios = [0, 1, 2].map(|at| format!("{:.2}", large_times[at] / small_times[at]));
            line(&label, &ratios, "");
        }
    }
}

/// The first argument of a child.
const CHILD: &str = "--oncekey-child";

/// A store on disk: how many records in all, and how many of them in the active segment.
#[derive(Clone, Copy)]
struct Shape {
    kept: usize,
    active: usize,
}

fn settings() -> Builder {
    // Segments end here by age alone, when `sweep` is called by hand.
    Store::builder()
        .background_sweep(false)
        .segment_bytes_max(1 << 30)
        .segment_age_max(Duration::from_secs(1))
}

/// Makes a store of this shape in the directory, and leaves it killed.
fn make(home: &Path, shape: Shape) {
    run_and_kill(home, &[&shape.kept.to_string(), &shape.active.to_string()]);
}

/// One round: opening after SIGKILL, then opening after a clean close.
fn open_both(home: &Path) -> [Duration; 2] {
    run_and_kill(home, &[]);
    [(); 2].map(|()| {
        let start = Instant::now();
        let store = settings().open(home).expect("the store opens");
        let time = start.elapsed();
        store.close(Duration::ZERO).expect("the disk works");
        time
    })
}

fn run_and_kill(home: &Path, shape: &[&str]) {
    let executable = std::env::current_exe().expect("this is a program");
    let mut command = Command::new(executable);
    let mut child =
        command.arg(CHILD).arg(home).args(shape).stdout(Stdio::piped()).spawn().expect("it starts itself");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut said).expect("the child speaks");
    child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    assert_eq!(said, "ready\n", "the child came to its end");
}

/// What a child does, until it is killed.
fn be_child(home: &str, shape: &[String]) -> ! {
    let store = settings().open(home).expect("the store opens");
    if let [kept, active] = shape {
        let number = |text: &String| text.parse::<usize>().expect("the parent gives numbers");
        let (kept, active) = (number(kept), number(active));
        // Not more than a default segment's worth at a time.
        let mut sealed = kept - active;
        while sealed > 0 {
            let part = sealed.min(150_000);
            fill(&store, part);
            thread::sleep(Duration::from_millis(1100));
            store.sweep().expect("the disk works");
            sealed -= part;
        }
        fill(&store, active);
    } else {
        // Another process's tokens: this one is made of its number.
        let token = format!("touch-{}", std::process::id());
        as_tasks(1, async |_| complete(&store, &token, false).await);
    }
    println!("ready");
    loop {
        thread::park();
    }
}
