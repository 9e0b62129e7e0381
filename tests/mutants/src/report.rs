//! What became of each mutant: what was caught is kept in a file of the repository, so that runs add up, and told at the end.
//!
//! Law: what was caught counts for as long as the source that it stands in is, byte for byte, the one in which it was: its file
//! without the tests at its end, which may become more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
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
}

/// What is known of all mutants.
pub(crate) struct Results {
    path: PathBuf,
    file: Mutex<File>,
    told: Mutex<HashMap<String, (Told, String)>>,
    keys: HashMap<u32, String>,
    times: HashMap<u32, usize>,
}

impl Results {
    /// What the file says of these mutants, which stand in these sources.
    pub(crate) fn open(
        path: PathBuf,
        mutants: &[Mutant],
        sources: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let times = occurrences(mutants);
        let key = |own: &Mutant| {
            let text =
                sources.get(&own.file).map(|text| fingerprint(without_tests(text))).unwrap_or_default();
            format!("{}\t{}\t{text:016x}", own.name(), times[&own.number])
        };
        let keys: HashMap<u32, String> = mutants.iter().map(|own| (own.number, key(own))).collect();
        let mut told = HashMap::new();
        for line in std::fs::read_to_string(&path).unwrap_or_default().lines() {
            let [word, rest] = line.splitn(2, '\t').collect::<Vec<_>>()[..] else { continue };
            let Some((key, by)) = rest.rsplit_once('\t') else { continue };
            let word = if word == "hung" { Told::Hung } else { Told::Caught };
            told.insert(key.to_owned(), (word, by.to_owned()));
        }
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Self { path, file: Mutex::new(file), told: Mutex::new(told), keys, times })
    }

    /// Which one of its name a mutant is, from 1.
    pub(crate) fn nth(&self, own: &Mutant) -> usize {
        self.times[&own.number]
    }

    pub(crate) fn told(&self, own: &Mutant) -> Option<Told> {
        self.told.lock().expect("nobody panics with it").get(&self.keys[&own.number]).map(|own| own.0)
    }

    pub(crate) fn is_caught(&self, own: &Mutant) -> bool {
        self.told(own).is_some()
    }

    /// Keeps that a mutant was caught, and which tests ran then.
    pub(crate) fn tell(&self, own: &Mutant, told: Told, by: &str) -> io::Result<()> {
        let key = &self.keys[&own.number];
        self.file.lock().expect("nobody panics with it").write_all(line(told, key, by).as_bytes())?;
        self.told.lock().expect("nobody panics with it").insert(key.clone(), (told, by.to_owned()));
        Ok(())
    }

    /// Leaves in the file what counts, in order.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let told = self.told.lock().expect("nobody panics with it");
        let counts = |key: &String| told.get(key).map(|(word, by)| line(*word, key, by));
        let lines: BTreeSet<String> = self.keys.values().filter_map(counts).collect();
        std::fs::write(&self.path, lines.into_iter().collect::<String>())
    }
}

fn line(told: Told, key: &str, by: &str) -> String {
    format!("{}\t{key}\t{by}\n", format!("{told:?}").to_lowercase())
}

/// A source without the tests that it ends with, and without what says when they are compiled. Tests that something stands
/// behind are a part of it.
fn without_tests(text: &str) -> &str {
    let is_head = |line: &&str| {
        !line.starts_with(' ') && (line.ends_with("mod tests {") || line.ends_with("mod tests;"))
    };
    let Some(head) = text.lines().find(is_head) else { return text.trim_end() };
    let at = head.as_ptr().addr() - text.as_ptr().addr();
    let mut behind = text[at..].lines().skip(1);
    if !behind.all(|line| line.is_empty() || line == "}" || line.starts_with(' ')) {
        return text.trim_end();
    }
    let own = text[..at].trim_end();
    let attribute = own.rfind('\n').filter(|at| own[at + 1..].starts_with("#[cfg("));
    own[..attribute.unwrap_or(own.len())].trim_end()
}

/// FNV-1a: it tells texts of one file apart, and is the same wherever it is taken.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[derive(Default)]
struct Count {
    cases: usize,
    caught: usize,
    hung: usize,
    missed: usize,
    exempt: usize,
    unviable: usize,
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
            (Ok(_) | Err(Why::Constant), Some(Told::Caught)) => count.caught += 1,
            (Ok(_) | Err(Why::Constant), Some(Told::Hung)) => count.hung += 1,
            (Ok(_) | Err(Why::Constant), None) => {
                if exempt.has(&name, results.nth(own)) {
                    count.exempt += 1;
                } else {
                    (count.missed, fine) = (count.missed + 1, false);
                    println!("missed {}:{} {} | {}", own.file, own.line, own.function, own.change);
                }
            }
            (Err(_), _) => count.other += 1,
        }
        names.push((name, results.nth(own)));
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
        self.other += own.other;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cases, caught, hung, missed, exempt, unviable, other } = self;
        write!(f, "cases {cases} caught {} missed {missed} unviable {unviable}", caught + hung)?;
        write!(f, " exempt {exempt} hung {hung} apart {other}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_at_the_end_are_no_part_of_a_source_and_what_stands_behind_them_is() {
        let source = "fn a() {}\n";
        for tests in [
            "",
            "\n#[cfg(test)]\nmod tests;\n",
            "\n#[cfg(test)]\nmod tests {\n    fn b() {}\n\n    fn c() {}\n}\n",
            "\n#[cfg(all(test, feature = \"x\"))]\npub(super) mod tests {\n    fn b() {}\n}\n",
        ] {
            let all = [source, tests].concat();
            assert_eq!(without_tests(&all), source.trim_end(), "{tests}");
            let more = [&all, "fn more() {}\n"].concat();
            assert_eq!(without_tests(&more), more.trim_end());
        }
    }
}
