//! How long does opening take, after SIGKILL and after a clean close, and what does that follow: the store or its
//! active segment?
//!
//! A child fills a store: so many records in sealed segments, so many in the active one; then it is killed. For
//! each round another child opens it, completes one token and is killed, so that every opening measured finds
//! an unclean active segment. All files are in the page cache: what is measured is work, not the disk.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oncekey::{Builder, Store};

use crate::callers::as_tasks;
use crate::contest::complete;
use crate::fresh::fill;

/// The first argument of a child.
pub(crate) const CHILD: &str = "--oncekey-child";

/// A store on disk: how many records in all, and how many of them in the active segment.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) kept: usize,
    pub(crate) active: usize,
}

fn settings() -> Builder {
    // Segments end here by age alone, when `sweep` is called by hand.
    Store::builder()
        .background_sweep(false)
        .segment_bytes_max(1 << 30)
        .segment_age_max(Duration::from_secs(1))
}

/// Makes a store of this shape in the directory, and leaves it killed.
pub(crate) fn make(home: &Path, shape: Shape) {
    run_and_kill(home, &[&shape.kept.to_string(), &shape.active.to_string()]);
}

/// One round: opening after SIGKILL, then opening after a clean close.
pub(crate) fn open_both(home: &Path) -> [Duration; 2] {
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
pub(crate) fn be_child(home: &str, shape: &[String]) -> ! {
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
