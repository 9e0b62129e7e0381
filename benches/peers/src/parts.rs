//! What is measured one at a time: each part measures the figures that it is about, writes them beside what the other
//! parts have measured, and gives its disk and its memory back.
//!
//! The full form is all of them, the short form those that say something with a million records. Up to a million kept all
//! contenders stand in one field; ten million of each would be too much disk, so that there each stands beside oncekey
//! alone: a duel, its ratios taken within its own rounds.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::contender::{Contender, Kind};
use crate::durable;
use crate::engines::keyed_redb::KeyedRedb;
use crate::field::{self, Field, Filled};
use crate::figures;
use crate::form::{Form, MILLION, TEN_MILLION};
use crate::ours::Ours;
use crate::results::Results;
use crate::{batched::Batched, growth, home, lasting, opening, reading, weigh};

/// What a part holds at most, and some room beside it.
const DISK_KIB: u64 = 28 << 20;

/// One part: how it is asked for, and whether the short form has it.
pub(crate) struct Part {
    name: &'static str,
    in_short: bool,
    measure: fn(Form, &Asked, &mut Results),
}

const fn part(name: &'static str, in_short: bool, measure: fn(Form, &Asked, &mut Results)) -> Part {
    Part { name, in_short, measure }
}

const ALL: [Part; 11] = [
    part("durable-0", false, |form, _, results| together(form, 0, results)),
    part("durable-1m", true, |form, _, results| together(form, form.count(MILLION), results)),
    part("durable-10m", false, durable_duels),
    part("reading-10m", false, reading_duels),
    part("memory", true, |form, _, results| weigh::compare(form, results)),
    part("growth", false, |form, _, results| growth::compare(form, home().path(), results)),
    part("opening", true, |form, _, results| opening::compare(form, results)),
    part("expiry", true, |form, _, results| lasting::expiry(form, results)),
    part("space", true, |form, _, results| lasting::space(form, results)),
    part("waking", true, |form, _, results| lasting::waking(form, results)),
    part("engines", true, |form, _, results| over_engines(form, results)),
];

/// What was asked for on the command line: one part or all, in the duels one contender or all.
pub(crate) struct Asked {
    part: Option<String>,
    beside: Option<String>,
}

impl Asked {
    /// `None`: there is no such part.
    pub(crate) fn new() -> Option<Self> {
        let arguments: Vec<String> = std::env::args().collect();
        let after =
            |flag| Some(arguments[1 + arguments.iter().position(|own| own == flag)?..].first()?.clone());
        let asked = Self { part: after("--part"), beside: after("--beside") };
        asked.part.iter().all(|name| ALL.iter().any(|own| own.name == name)).then_some(asked)
    }

    pub(crate) fn usage() -> String {
        let names: Vec<_> = ALL.iter().map(|own| own.name).collect();
        let forms = "cargo run --release -- --short | --full | --smoke [--part NAME [--beside CONTENDER]]";
        format!("usage: {forms}\nparts: {}", names.join(", "))
    }

    fn wants(&self, form: Form, part: &Part) -> bool {
        self.part.as_ref().map_or(part.in_short || !form.is_short(), |name| name == part.name)
    }

    /// What measures this part again.
    fn command(&self, form: Form, part: &Part) -> String {
        let beside = self.beside.as_ref().map(|name| format!(" --beside '{name}'")).unwrap_or_default();
        match (form.is_short(), &self.part) {
            (true, None) => form.command(),
            _ => format!("{} --part {}{beside}", form.command(), part.name),
        }
    }
}

/// Each part that is asked for, its results written once it ends.
pub(crate) fn run(form: Form, asked: &Asked) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let wanted: Vec<_> = ALL.iter().filter(|part| asked.wants(form, part)).collect();
    let mut results = Results::open(form);
    for (place, part) in wanted.iter().enumerate() {
        let command = asked.command(form, part);
        println!("\n{command}");
        eprintln!("part {} of {}: {}", place + 1, wanted.len(), part.name);
        let own = home();
        let free = free_kib(own.path()).filter(|_| form.is_kept()).unwrap_or(u64::MAX);
        if free < DISK_KIB {
            return Err(format!(
                "{} needs {} GiB of disk, {} are free",
                part.name,
                DISK_KIB >> 20,
                free >> 20
            )
            .into());
        }
        results.begin(command);
        (part.measure)(form, asked, &mut results);
        results.write()?;
        eprintln!("{} ends after {} s in all", part.name, start.elapsed().as_secs());
    }
    Ok(())
}

/// Free space where the stores will lie, if the system can be asked.
fn free_kib(home: &Path) -> Option<u64> {
    let said = Command::new("df").args(["--output=avail", "-k"]).arg(home).output().ok()?;
    String::from_utf8_lossy(&said.stdout).lines().nth(1)?.trim().parse().ok()
}

/// The store over engines, beside the engines themselves.
fn over_engines(form: Form, results: &mut Results) {
    #[cfg(feature = "servers")]
    {
        crate::servers::over_postgresql::compare(form, home().path(), results);
        crate::servers::over_etcd::compare(form, home().path(), results);
    }
    #[cfg(not(feature = "servers"))]
    let _ = (form, results);
}

/// All contenders in one field.
fn together(form: Form, kept: u64, results: &mut Results) {
    let home = home();
    let field = Field::create(home.path(), kept);
    let cells = durable::compare(form, &field.all(), kept);
    results.renew("durable", durable::rows(&cells), |row| row["kept"] == kept);
    figures::durable(form, &cells, results);
    if kept > 0 {
        reading::absent(form, &field.all(), kept, results);
        reading::replay(form, &field.ours, &field.redb, kept, results);
        reading::fresh(form, field.ours.store(), kept, results);
    }
}

/// Who is to stand beside oncekey at ten million.
fn rivals(asked: &Asked) -> impl Iterator<Item = &'static str> {
    let names = field::names().filter(|(name, kind)| *name != "oncekey" && *kind != Kind::MemoryOnly);
    names.map(|(name, _)| name).filter(|name| asked.beside.as_ref().is_none_or(|own| own == name))
}

fn durable_duels(form: Form, asked: &Asked, results: &mut Results) {
    let kept = form.count(TEN_MILLION);
    for name in rivals(asked) {
        let home = home();
        let Some(rival) = field::create_one(name, home.path()) else { continue };
        let rival = Filled::new(&*rival, kept);
        // A new one in each duel, since the turns add to it.
        let ours = Ours::create(home.path());
        let both = [Filled::new(&ours, kept), rival];
        let rows = durable::rows(&durable::compare(form, &both, kept));
        let same = |row: &serde_json::Value| {
            row["kept"] == kept && [name, "oncekey"].iter().any(|own| row["name"] == *own)
        };
        results.renew("durable", rows, same);
    }
}

fn reading_duels(form: Form, asked: &Asked, results: &mut Results) {
    let (kept, own) = (form.count(TEN_MILLION), home());
    let ours = Ours::create(own.path());
    let first = Filled::new(&ours, kept);
    for name in rivals(asked) {
        let home = home();
        let mut duel = |rival: &dyn Contender| {
            let both = [first, Filled::new(rival, kept)];
            reading::absent(form, &both, kept, results);
            both[1].kept
        };
        if name == "redb" {
            let redb = Batched::new(KeyedRedb::create(home.path()));
            let kept = duel(&redb);
            reading::replay(form, &ours, &redb, kept, results);
        } else if let Some(rival) =
            field::create_one(name, home.path()).filter(|own| own.kind() == Kind::Peer)
        {
            duel(&*rival);
        }
    }
}
