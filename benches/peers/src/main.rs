//! How fast is oncekey beside every store that one would pick instead, and beside what the machine can do at all?
//!
//! `cargo run --release -- --short` (under ten minutes) or `--full`, all of it or a part. Every contender is driven through one trait with
//! the same work, in interleaved rounds of one run; what is claimed are ratios. It prints tables, writes
//! `results.json` beside this package's manifest, draws `pictures` and renews the tables of the page *Performance*. What
//! misses its goal is printed as *MISSED*. README.md says what is compared how, and what is unfair.

mod batched;
#[path = "../../support/callers.rs"]
mod callers;
mod contender;
mod durable;
mod engines;
#[path = "../../support/expiring.rs"]
#[allow(clippy::duration_suboptimal_units, reason = "the crate's oldest Rust has no others")]
mod expiring;
mod field;
mod figures;
#[path = "../../support/fill.rs"]
#[allow(dead_code, reason = "shared with the benches of the crate; each takes what it needs")]
mod fill;
mod form;
mod goals;
mod growth;
mod handover;
mod lasting;
mod limits;
mod opening;
mod ours;
mod page;
mod parts;
mod pictures;
mod reading;
#[path = "../../support/report.rs"]
#[allow(dead_code, reason = "as above")]
mod report;
mod rest;
mod results;
mod series;
#[cfg(feature = "servers")]
mod servers;
#[path = "../../support/waking.rs"]
#[allow(dead_code, clippy::duration_suboptimal_units, reason = "as above")]
mod waking;
mod weigh;
mod work;

use std::process::ExitCode;

use form::Form;
use parts::Asked;

fn main() -> ExitCode {
    opening::be_child();
    if let Some(bytes) = weigh::be_child(home().path()) {
        println!("{bytes}");
        return ExitCode::SUCCESS;
    }
    let (Some(form), Some(asked)) = (Form::asked(), Asked::new()) else {
        eprintln!("{}", Asked::usage());
        return ExitCode::FAILURE;
    };
    parts::run(form, &asked).map_or_else(
        |error| {
            eprintln!("the run ends early: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// A directory beside this program, below the target directory; gone with its guard.
fn home() -> tempfile::TempDir {
    let program = std::env::current_exe().expect("the system knows what runs");
    tempfile::tempdir_in(program.parent().expect("a file has a directory"))
        .expect("the target directory is ours")
}
