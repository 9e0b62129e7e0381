//! How much memory does a kept record cost?
//!
//! Each contender fills alone in a process of its own (this program, started again): what its private memory grew by,
//! for each record. Caches are in it as far as they filled, pages of mapped files are not. oncekey is also asked what
//! its index takes, at 1, 5 and 10 million and wherever it was worst on the way.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::contender::Kind;
use crate::field::{self, create_one, fill};
use crate::form::{Form, MILLION};
use crate::home;
use crate::ours::Ours;
use crate::report::{float, line, title};
use crate::results::Results;
use crate::series::Series;

/// What this program is started again with.
const ARGUMENT: &str = "--weigh";
/// Tokens of a step: few, so that what the filling itself holds is not weighed.
const STEP: u64 = 10_000;

pub(crate) fn compare(form: Form, results: &mut Results) {
    let kept = form.count(MILLION);
    title(&format!("private memory by {kept} records kept, bytes for each"), &["bytes"]);
    let mut rows = Vec::new();
    for (name, _) in field::names().filter(|(_, kind)| *kind != Kind::FileLimit) {
        let program = std::env::current_exe().expect("the system knows what runs");
        let child = Command::new(program).args([ARGUMENT, name, &kept.to_string()]).output();
        let said = String::from_utf8_lossy(&child.expect("it starts itself").stdout).into_owned();
        // A server's memory is not the child's, who then says nothing.
        if let Ok(bytes) = said.trim().parse::<f64>() {
            line(name, &[format!("{bytes:.0}")], "");
            rows.push(json!({ "name": name, "kept": kept, "bytes_per_record": bytes }));
        }
    }
    results.renew("memory", rows, |_| true);
    index(form, home().path(), results);
}

/// What a child does: says its weight. `None` where this process is no such child.
pub(crate) fn be_child(home: &Path) -> Option<f64> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, argument, name, kept] = &arguments[..] else { return None };
    if argument != ARGUMENT {
        return None;
    }
    let kept: u64 = kept.parse().ok()?;
    let contender = create_one(name, home).filter(|own| own.is_in_process())?;
    let before = private_bytes();
    fill(&*contender, kept, STEP);
    Some((float(private_bytes()) - float(before)) / float(kept))
}

/// As Linux counts it; zero where it can't be asked.
fn private_bytes() -> u64 {
    let said = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = said.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// What the index says of itself while a store fills.
fn index(form: Form, home: &Path, results: &mut Results) {
    let ours = Ours::create(home);
    let stops = form.pick(&[1, 5, 10][..], &[1], &[1, 5, 10]);
    let million = form.count(MILLION);
    let most = stops.last().map_or(0, |millions| millions * million);
    let step = (million / 50).max(1);
    let (mut worst, mut worst_at, mut at_stops) = (0.0_f64, 0, Vec::new());
    title("memory of oncekey's index, bytes for a kept record", &["bytes"]);
    for first in (0..most).step_by(usize::try_from(step).expect("it is small")) {
        crate::contender::Peer::fill(&ours, first..first + step);
        let (stats, kept) = (ours.store().stats(), first + step);
        let bytes = float(stats.index_bytes) / float(stats.kept_records);
        if kept >= million && bytes > worst {
            (worst, worst_at) = (bytes, kept);
        }
        if stops.iter().any(|millions| millions * million == kept) {
            line(&format!("{kept} kept"), &[format!("{bytes:.1}")], "");
            at_stops.push(bytes);
        }
    }
    let value = Series(vec![at_stops.iter().copied().fold(0.0, f64::max)]);
    let each: Vec<String> = at_stops.iter().map(|bytes| format!("{bytes:.1}")).collect();
    let (each, stops) = (each.join(", "), format!("{stops:?}"));
    let note = format!("worst of {each} at {stops} million; worst on the way {worst:.1} at {worst_at}");
    results.figure_if(!form.is_short(), "index_bytes_per_record", &value, &note);
}
