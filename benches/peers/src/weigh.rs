//! How much memory does a kept record cost?
//!
//! Each contender fills alone in a process of its own (this program, started again): what its private memory grew by,
//! for each record. Caches are in it as far as they filled, pages of mapped files are not. oncekey is also asked what
//! its index takes, at 1, 5 and 10 million and wherever it was worst on the way.

use std::path::Path;
use std::process::Command;

use crate::contender::{Contender, Kind};
use crate::field::{create_one, fill};
use crate::form::Form;
use crate::ours::Ours;
use crate::report::{float, line, title};
use crate::results::Results;
use crate::series::Series;

/// What this program is started again with.
const ARGUMENT: &str = "--weigh";
/// Tokens of a step: few, so that what the filling itself holds is not weighed.
const STEP: u64 = 10_000;
const MILLION: u64 = 1_000_000;

/// Bytes of private memory for each record.
pub(crate) struct Weight {
    pub(crate) name: &'static str,
    pub(crate) bytes: f64,
}

pub(crate) fn compare(form: Form, contenders: &[&dyn Contender]) -> Vec<Weight> {
    let kept = form.pick(MILLION, MILLION, 2000);
    title(&format!("private memory by {kept} records kept, bytes for each"), &["bytes"]);
    let keeping = contenders.iter().filter(|own| own.kind() != Kind::FileLimit && own.is_in_process());
    let weights: Vec<Weight> = keeping
        .map(|contender| {
            let name = contender.name();
            let program = std::env::current_exe().expect("the system knows what runs");
            let child = Command::new(program).args([ARGUMENT, name, &kept.to_string()]).output();
            let said = String::from_utf8_lossy(&child.expect("it starts itself").stdout).into_owned();
            Weight { name, bytes: said.trim().parse().expect("a child weighs itself") }
        })
        .collect();
    for weight in &weights {
        line(weight.name, &[format!("{:.0}", weight.bytes)], "");
    }
    weights
}

/// What a child does: says its weight. `None` where this process is no such child.
pub(crate) fn be_child(home: &Path) -> Option<f64> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, argument, name, kept] = &arguments[..] else { return None };
    if argument != ARGUMENT {
        return None;
    }
    let kept: u64 = kept.parse().ok()?;
    let contender = create_one(name, home)?;
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
pub(crate) fn index(form: Form, home: &Path, results: &mut Results) {
    let ours = Ours::create(home);
    let stops = form.pick(&[1, 5, 10][..], &[1], &[]);
    let Some(most) = stops.last().map(|millions| millions * MILLION) else { return };
    let step = MILLION / 50;
    let (mut worst, mut worst_at, mut at_stops) = (0.0_f64, 0, Vec::new());
    title("memory of oncekey's index, bytes for a kept record", &["bytes"]);
    for first in (0..most).step_by(usize::try_from(step).expect("it is small")) {
        crate::contender::Peer::fill(&ours, first..first + step);
        let (stats, kept) = (ours.store().stats(), first + step);
        let bytes = float(stats.index_bytes) / float(stats.kept_records);
        if kept >= MILLION && bytes > worst {
            (worst, worst_at) = (bytes, kept);
        }
        if stops.iter().any(|millions| millions * MILLION == kept) {
            line(&format!("{kept} kept"), &[format!("{bytes:.1}")], "");
            at_stops.push(bytes);
        }
    }
    let value = Series(vec![at_stops.iter().copied().fold(0.0, f64::max)]);
    let note = format!("worst of {stops:?} million; worst on the way {worst:.1} at {worst_at}");
    results.figure_if(stops.len() == 3, "index_bytes_per_record", &value, &note);
}
