//! Where do the figures go? Onto the screen as they come, MISSED where missed, and into `results.json`.
//!
//! A figure stands under `figures` only if it was measured as its goal means it; what was measured otherwise (with
//! fewer records kept, say) stands under `beside`. One that this form does not measure is carried over from the results
//! that stood there, marked so and with the command that measured it, or stands under `absent`. Nothing is filled in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::durable::Cell;
use crate::form::Form;
use crate::goals;
use crate::report::Goal;
use crate::series::Series;
use crate::weigh::Weight;

/// Why a figure is not there, where neither this run nor an earlier one has measured it.
const ABSENT: &str = "measured by the full form alone";

pub(crate) struct Results {
    form: Form,
    figures: Map<String, Value>,
    beside: Map<String, Value>,
}

impl Results {
    pub(crate) fn new(form: Form) -> Self {
        Self { form, figures: Map::new(), beside: Map::new() }
    }

    /// A figure of the list, measured as its goal means it.
    pub(crate) fn figure(&mut self, id: &str, series: &Series, note: &str) {
        let (goals::Wanted { goal, unit, .. }, value) = (goals::of(id), series.median());
        crate::report::line(
            id,
            &[format!("{value:.2}")],
            &format!("{unit}; {}; {note}", goal.verdict(value)),
        );
        let figure = json!({
            "value": value, "goal": bound(*goal), "unit": unit, "spread": series.spread(), "rounds": series.0.len(),
            "note": note, "command": self.form.command(),
        });
        self.figures.insert(id.to_owned(), figure);
    }

    /// Something else that was measured.
    pub(crate) fn beside(&mut self, id: &str, series: &Series, unit: &str, note: &str) {
        let value = series.median();
        crate::report::line(id, &[format!("{value:.2}")], &format!("{unit}; no figure of the list: {note}"));
        let figure = json!({
            "value": value, "unit": unit, "spread": series.spread(), "rounds": series.0.len(), "note": note,
        });
        self.beside.insert(id.to_owned(), figure);
    }

    /// As a figure where it `counts` as one, else beside them.
    pub(crate) fn figure_if(&mut self, counts: bool, id: &str, series: &Series, note: &str) {
        if counts {
            self.figure(id, series, note);
        } else {
            self.beside(&format!("{id}: {note}"), series, goals::of(id).unit, note);
        }
    }

    /// Writes them all; a figure that this run does not have is carried over from the file that stands there.
    pub(crate) fn write(mut self, home: &Path, cells: &[Cell], weights: &[Weight]) -> io::Result<Value> {
        let path = home.join("results.json");
        let earlier =
            fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mut absent = Map::new();
        for own in &goals::ALL {
            if self.figures.contains_key(own.id) {
                continue;
            }
            match earlier.as_ref().map(|all| &all["figures"][own.id]).filter(|own| own.is_object()) {
                Some(known) => {
                    let mut known = known.clone();
                    known["carried"] = json!(true);
                    self.figures.insert(own.id.to_owned(), known);
                }
                None => drop(absent.insert(own.id.to_owned(), json!(ABSENT))),
            }
        }
        let all = json!({
            "command": self.form.command(),
            "machine": machine(),
            "versions": versions(),
            "figures": self.figures,
            "absent": absent,
            "beside": self.beside,
            "private_bytes_per_record":
                weights.iter().map(|own| (own.name, own.bytes)).collect::<BTreeMap<_, _>>(),
            "durable": cells.iter().map(shown).collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&all).expect("plain values");
        fs::write(path, text + "\n")?;
        Ok(all)
    }
}

fn bound(goal: Goal) -> Value {
    match goal {
        Goal::None => Value::Null,
        Goal::AtLeast(bound) => json!(format!(">= {bound}")),
        Goal::AtMost(bound) => json!(format!("<= {bound}")),
    }
}

fn shown(cell: &Cell) -> Value {
    json!({
        "name": cell.name,
        "kept": cell.kept,
        "in_flight": cell.in_flight,
        "tokens_per_s": cell.rate.median(),
        "spread": cell.rate.spread(),
        "p50_us": cell.p50.median() / 1e3,
        "p99_us": cell.p99.median() / 1e3,
        "p999_us": cell.p999.median() / 1e3,
        "bytes_per_record": (!cell.written.0.is_empty()).then(|| cell.written.median()),
        "own_count": cell.counted.as_ref().map(|all| all.each_ref().map(Series::mean)),
    })
}

fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": value(&read("/proc/cpuinfo"), "model name"),
        "memory": value(&read("/proc/meminfo"), "MemTotal"),
        "system": std::env::consts::OS,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// Of what is compared, as the lock file has it, and of the compiler.
fn versions() -> Value {
    const SHOWN: [&str; 9] = [
        "oncekey",
        "redb",
        "dashmap",
        "fjall",
        "rusqlite",
        "libsqlite3-sys",
        "lmdb-rkv",
        "rocksdb",
        "idempotent",
    ];
    let lock = include_str!("../Cargo.lock");
    let quoted = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let lines: Vec<&str> = lock.lines().collect();
    let packages = lines.windows(2).filter(|pair| pair[0].starts_with("name = "));
    let mut all: Map<String, Value> = packages
        .map(|pair| (quoted(pair[0]), Value::String(quoted(pair[1]))))
        .filter(|(name, _)| SHOWN.contains(&name.as_str()))
        .filter(|(name, _)| name != "rocksdb" || cfg!(feature = "rocksdb"))
        .collect();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().replace("rustc ", ""));
    all.insert("rustc".to_owned(), Value::String(rustc.unwrap_or_default()));
    Value::Object(all)
}
