//! Where do the figures go? Onto the screen as they come, MISSED where missed, and into `results.json`.
//!
//! A figure stands under `figures` only if it was measured as its goal means it; what was measured otherwise (with
//! fewer records kept, say) stands under `beside`. Every figure and every row says which command measured it, and `runs`
//! says on what machine and of which versions that was. What a part does not measure stays as it is; what nobody
//! has measured yet stands under `absent`. Nothing is filled in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::form::Form;
use crate::goals;
use crate::report::Goal;
use crate::series::Series;
use crate::{page, pictures};

/// Why a figure is not there.
const ABSENT: &str = "measured by the full form alone";
/// What holds rows: of the durable work, of absent lookups, of memory.
const TABLES: [&str; 3] = ["durable", "absent_lookup", "memory"];

/// Everything that was measured by now, here and by earlier runs.
pub(crate) struct Results {
    form: Form,
    command: String,
    all: Map<String, Value>,
}

impl Results {
    /// What stands there. A run that is not kept begins with nothing.
    pub(crate) fn open(form: Form) -> Self {
        let text = fs::read_to_string(package().join("results.json")).ok().filter(|_| form.is_kept());
        let all = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { form, command: String::new(), all }
    }

    /// What comes now is measured by this command.
    pub(crate) fn begin(&mut self, command: String) {
        let run = json!({ "machine": machine(), "versions": versions() });
        self.part("runs").insert(command.clone(), run);
        self.command = command;
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
            "note": note, "command": self.command,
        });
        self.part("figures").insert(id.to_owned(), figure);
    }

    /// Something else that was measured.
    pub(crate) fn beside(&mut self, id: &str, series: &Series, unit: &str, note: &str) {
        let value = series.median();
        crate::report::line(id, &[format!("{value:.2}")], &format!("{unit}; no figure of the list: {note}"));
        let figure = json!({
            "value": value, "unit": unit, "spread": series.spread(), "rounds": series.0.len(), "note": note,
            "command": self.command,
        });
        self.part("beside").insert(id.to_owned(), figure);
    }

    /// As a figure where it `counts` as one, else beside them.
    pub(crate) fn figure_if(&mut self, counts: bool, id: &str, series: &Series, note: &str) {
        if counts {
            self.figure(id, series, note);
        } else {
            let level = note.split(';').next().unwrap_or_default();
            self.beside(&format!("{id}: {level}"), series, goals::of(id).unit, note);
        }
    }

    /// Puts these rows in the place of those that they are `instead` of.
    pub(crate) fn renew(&mut self, table: &str, rows: Vec<Value>, instead: impl Fn(&Value) -> bool) {
        let kept = self.rows(table).iter().filter(|row| !instead(row)).cloned();
        let new = rows.into_iter().map(|mut row| {
            row["command"] = json!(self.command);
            row
        });
        let mut all: Vec<Value> = kept.chain(new).collect();
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_default();
        // Stable: contenders stay in the order in which they came.
        all.sort_by_key(|row| (number(row, "in_flight"), number(row, "kept"), row["name"] != "oncekey"));
        self.all.insert(table.to_owned(), Value::Array(all));
    }

    pub(crate) fn rows(&self, table: &str) -> &[Value] {
        self.all.get(table).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Writes them, draws the pictures and renews the page; a run that is not kept only tries all that.
    pub(crate) fn write(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.forget_runs();
        let missing = goals::ALL.iter().filter(|own| self.all["figures"].get(own.id).is_none());
        let absent: Map<String, Value> = missing.map(|own| (own.id.to_owned(), json!(ABSENT))).collect();
        self.all.insert("absent".to_owned(), Value::Object(absent));
        let all = Value::Object(self.all.clone());
        let tried = crate::home();
        let target = if self.form.is_kept() { package() } else { tried.path().to_path_buf() };
        fs::write(target.join("results.json"), serde_json::to_string_pretty(&all)? + "\n")?;
        pictures::draw(&target, self.form, &all)?;
        page::renew(&package(), self.form, &all)
    }

    /// Drops the runs of which nothing is left.
    fn forget_runs(&mut self) {
        for part in ["figures", "beside", "runs"] {
            self.part(part);
        }
        let named = ["figures", "beside"].into_iter().filter_map(|part| self.all[part].as_object());
        let rows = TABLES.into_iter().flat_map(|table| self.rows(table));
        let all = named.flat_map(Map::values).chain(rows);
        let commands: Vec<String> = all.filter_map(|own| Some(own["command"].as_str()?.to_owned())).collect();
        self.part("runs").retain(|command, _| commands.contains(command));
    }

    fn part(&mut self, name: &str) -> &mut Map<String, Value> {
        let part = self.all.entry(name).or_insert_with(|| json!({}));
        part.as_object_mut().expect("this program wrote it")
    }
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn bound(goal: Goal) -> Value {
    match goal {
        Goal::None => Value::Null,
        Goal::AtLeast(bound) => json!(format!(">= {bound}")),
        Goal::AtMost(bound) => json!(format!("<= {bound}")),
    }
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
