//! Where do the figures go? Onto the screen as they come, MISSED where missed, and into `results.json`.
//!
//! A figure stands under `figures` only if it was measured as its goal means it; what was measured otherwise (with
//! fewer records kept, say) stands under `beside`. Nothing is filled in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::durable::Cell;
use crate::form::Form;
use crate::report::Goal;
use crate::series::Series;
use crate::weigh::Weight;

#[derive(Default)]
pub(crate) struct Results {
    figures: Map<String, Value>,
    beside: Map<String, Value>,
}

impl Results {
    /// A figure of the list, with its goal.
    pub(crate) fn figure(&mut self, id: &str, series: &Series, goal: Goal, unit: &str, note: &str) {
        let bound = match goal {
            Goal::None => Value::Null,
            Goal::AtLeast(bound) => json!(format!(">= {bound}")),
            Goal::AtMost(bound) => json!(format!("<= {bound}")),
        };
        let value = series.median();
        crate::report::line(
            id,
            &[format!("{value:.2}")],
            &format!("{unit}; {}; {note}", goal.verdict(value)),
        );
        let figure = json!({
            "value": value, "goal": bound, "unit": unit, "spread": series.spread(), "rounds": series.0.len(),
            "note": note,
        });
        self.figures.insert(id.to_owned(), figure);
    }

    /// Something else that was measured.
    pub(crate) fn beside(&mut self, id: &str, series: &Series, unit: &str, note: &str) {
        let value = series.median();
        crate::report::line(id, &[format!("{value:.2}")], &format!("{unit}; no figure of the list: {note}"));
        let figure = json!({ "value": value, "unit": unit, "spread": series.spread(), "note": note });
        self.beside.insert(id.to_owned(), figure);
    }

    pub(crate) fn write(
        &self,
        home: &Path,
        form: Form,
        cells: &[Cell],
        weights: &[Weight],
    ) -> io::Result<()> {
        let all = json!({
            "command": form.command(),
            "machine": machine(),
            "versions": versions(),
            "figures": self.figures,
            "beside": self.beside,
            "private_bytes_per_record":
                weights.iter().map(|own| (own.name, own.bytes)).collect::<BTreeMap<_, _>>(),
            "durable": cells.iter().map(shown).collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&all).expect("plain values");
        fs::write(home.join("results.json"), text + "\n")
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
    const SHOWN: [&str; 7] =
        ["oncekey", "redb", "dashmap", "fjall", "rusqlite", "libsqlite3-sys", "lmdb-rkv"];
    let lock = include_str!("../Cargo.lock");
    let quoted = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let lines: Vec<&str> = lock.lines().collect();
    let packages = lines.windows(2).filter(|pair| pair[0].starts_with("name = "));
    let mut all: Map<String, Value> = packages
        .map(|pair| (quoted(pair[0]), Value::String(quoted(pair[1]))))
        .filter(|(name, _)| SHOWN.contains(&name.as_str()))
        .collect();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    all.insert("rustc".to_owned(), Value::String(rustc.unwrap_or_default()));
    Value::Object(all)
}
