//! What became of each mutant: kept in a file, so that a run can be stopped and gone on with, and told at the end.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use crate::exempt::Exempt;
use crate::graft::{Mutant, Why};
use crate::occurrences;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Caught,
    /// It was caught as it did not end.
    Hung,
    Missed,
}

/// What is known of all mutants.
pub(crate) struct Results {
    file: Mutex<File>,
    told: Mutex<HashMap<String, Told>>,
    times: HashMap<u32, usize>,
}

impl Results {
    pub(crate) fn open(path: &Path, mutants: &[Mutant]) -> io::Result<Self> {
        let mut told = HashMap::new();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let Some((word, rest)) = line.split_once('\t') else { continue };
            let key = rest.splitn(5, '\t').take(4).collect::<Vec<_>>().join("\t");
            match word {
                "caught" => told.insert(key, Told::Caught),
                "hung" => told.insert(key, Told::Hung),
                _ => told.remove(&key),
            };
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file: Mutex::new(file), told: Mutex::new(told), times: occurrences(mutants) })
    }

    fn key(&self, own: &Mutant) -> String {
        format!("{}\t{}", own.name(), self.times[&own.number])
    }

    pub(crate) fn told(&self, own: &Mutant) -> Option<Told> {
        self.told.lock().expect("nobody panics with it").get(&self.key(own)).copied()
    }

    pub(crate) fn is_caught(&self, own: &Mutant) -> bool {
        matches!(self.told(own), Some(Told::Caught | Told::Hung))
    }

    /// Keeps what became of a mutant, and which tests ran when it was caught.
    pub(crate) fn tell(&self, own: &Mutant, told: Told, by: &str) -> io::Result<()> {
        let (key, word) = (self.key(own), format!("{told:?}").to_lowercase());
        let line = format!("{word}\t{key}\t{}\t{by}\n", own.line);
        self.file.lock().expect("nobody panics with it").write_all(line.as_bytes())?;
        self.told.lock().expect("nobody panics with it").insert(key, told);
        Ok(())
    }
}

#[derive(Default)]
struct Count {
    cases: usize,
    caught: usize,
    hung: usize,
    missed: usize,
    exempt: usize,
    unviable: usize,
    constants: usize,
    other: usize,
}

/// Says what became of all; whether none was missed that is not exempt, and every exemption is one.
pub(crate) fn report(mutants: &[Mutant], results: &Results, exempt: &Exempt, all: bool) -> bool {
    let (mut rooms, mut fine): (BTreeMap<&str, Count>, bool) = (BTreeMap::new(), true);
    let mut names = Vec::new();
    for own in mutants {
        let room = own.file.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        let name = own.name();
        let count = rooms.entry(room).or_default();
        count.cases += 1;
        match (&own.edit, results.told(own)) {
            (Err(Why::Unviable), _) => count.unviable += 1,
            (Err(Why::Constant), _) => count.constants += 1,
            (Err(_), _) => count.other += 1,
            (Ok(_), Some(Told::Caught)) => count.caught += 1,
            (Ok(_), Some(Told::Hung)) => count.hung += 1,
            (Ok(_), _) => {
                if exempt.has(&name) {
                    count.exempt += 1;
                } else {
                    (count.missed, fine) = (count.missed + 1, false);
                    println!("missed {}:{} {} | {}", own.file, own.line, own.function, own.change);
                }
            }
        }
        names.push(name);
    }
    if all {
        for name in exempt.unmatched(&names) {
            fine = false;
            println!("exempt.txt names what is no mutant: {}", name.replace('\t', " | "));
        }
    }
    let mut total = Count::default();
    for (room, own) in &rooms {
        println!("{room}: {own}");
        total.add(own);
    }
    println!("mutants {total}");
    fine
}

impl Count {
    fn add(&mut self, own: &Self) {
        self.cases += own.cases;
        self.caught += own.caught;
        self.hung += own.hung;
        self.missed += own.missed;
        self.exempt += own.exempt;
        self.unviable += own.unviable;
        self.constants += own.constants;
        self.other += own.other;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cases, caught, hung, missed, exempt, unviable, constants, other } = self;
        write!(f, "cases {cases} caught {} missed {missed} unviable {unviable}", caught + hung)?;
        write!(f, " exempt {exempt} hung {hung} constants {constants} apart {other}")
    }
}
