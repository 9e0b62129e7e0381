//! How fast is oncekey beside every store that one would pick instead, and beside what the machine can do at all?
//!
//! `cargo run --release -- --short` (under ten minutes) or `--full`. Every contender is driven through one trait with
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
mod pictures;
mod reading;
#[path = "../../support/report.rs"]
#[allow(dead_code, reason = "as above")]
mod report;
mod results;
mod series;
#[cfg(feature = "servers")]
mod servers;
#[path = "../../support/waking.rs"]
#[allow(dead_code, clippy::duration_suboptimal_units, reason = "as above")]
mod waking;
mod weigh;
mod work;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use field::Field;
use form::Form;
use results::Results;

fn main() -> ExitCode {
    opening::be_child();
    if let Some(bytes) = weigh::be_child(home().path()) {
        println!("{bytes}");
        return ExitCode::SUCCESS;
    }
    let Some(form) = Form::asked() else {
        eprintln!("usage: cargo run --release -- --short | --full | --smoke");
        return ExitCode::FAILURE;
    };
    run(form).map_or_else(
        |error| {
            eprintln!("the results could not be written: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(form: Form) -> Result<(), Box<dyn Error>> {
    println!("{}", form.command());
    let start = Instant::now();
    let (mut cells, mut weights, mut results) = (Vec::new(), Vec::new(), Results::new(form));
    for &kept in form.kept() {
        let home = home();
        let field = Field::create(home.path());
        field.fill(kept);
        cells.extend(durable::compare(form, &field.all(), kept));
        reading::compare(form, &field, kept, &mut results);
        if kept == form.kept_of_figures() {
            weights = weigh::compare(form, &field.all());
        }
        eprintln!("  {} s so far", start.elapsed().as_secs());
    }
    weigh::index(form, home().path(), &mut results);
    growth::compare(form, home().path(), &mut results);
    opening::compare(form, &mut results);
    lasting::compare(form, &mut results);
    eprintln!("  {} s in all", start.elapsed().as_secs());
    report::title("figures of the durable table", &["value"]);
    figures::durable(form, &cells, &mut results);
    // A smoke test leaves the figures, the pictures and the page of a real run as they are.
    let written = home();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = if form == Form::Smoke { written.path() } else { package };
    let results = results.write(target, &cells, &weights)?;
    pictures::draw(target, form, &cells, &weights)?;
    page::renew(package, form, &results)
}

/// A directory beside this program, below the target directory; gone with its guard.
fn home() -> tempfile::TempDir {
    let program = std::env::current_exe().expect("the system knows what runs");
    tempfile::tempdir_in(program.parent().expect("a file has a directory"))
        .expect("the target directory is ours")
}
