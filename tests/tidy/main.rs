//! Goal: the architecture that STYLE lays down can't go stale (habits 1, 7, 15). Method: the sources are read as
//! text, comments and literals blanked out, and held against the tables below. Each complaint names file, line,
//! what stands there and the rule. Modules of the table that do not exist yet are passed over; modules that
//! exist and stand on no floor are complaints. The last test feeds each rule a source that breaks it.

mod lexer;
mod paths;
mod source;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use lexer::without_attributes;
use paths::{first, paths, words};
use source::{Source, mark_test_files, relative, sources, walk};

/// A top-level module, its floor, and the modules that it may name; each of them stands on a lower floor.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("error", 0, &[]),
    ("time", 0, &[]),
    ("sync", 0, &[]),
    ("distribution", 0, &[]),
    ("digest", 1, &["error"]),
    ("encryption", 1, &["error"]),
    ("outcome", 1, &["time"]),
    ("token", 1, &["error"]),
    ("trace", 1, &["error"]),
    ("codec", 1, &[]),
    ("options", 2, &["digest", "encryption", "error", "outcome", "time", "token"]),
    ("record", 2, &["codec", "digest", "encryption", "error", "outcome", "time", "token"]),
    ("verdict", 3, &["digest", "error", "outcome", "record", "time"]),
    // The wing that forgets names the plain values of a record and never the wing that remembers.
    ("inflight", 3, &["digest", "error", "outcome", "record", "sync", "time", "token"]),
    ("comparing", 4, &["digest", "error", "record", "token", "verdict"]),
    (
        "ledger",
        3,
        &["codec", "digest", "encryption", "error", "options", "outcome", "record", "sync", "time", "token"],
    ),
    // The other wing that remembers: engines of other makers, behind one seam.
    ("engine", 4, &["error", "sync", "time", "token"]),
    ("sweep", 4, &["error", "ledger", "options", "record", "sync", "time"]),
    (
        "store",
        5,
        &[
            "codec",
            "comparing",
            "digest",
            "distribution",
            "encryption",
            "error",
            "inflight",
            "ledger",
            "options",
            "outcome",
            "record",
            "sweep",
            "sync",
            "time",
            "token",
            "trace",
            "verdict",
        ],
    ),
    (
        "distributed",
        6,
        &[
            "comparing",
            "digest",
            "encryption",
            "engine",
            "error",
            "inflight",
            "ledger",
            "options",
            "outcome",
            "record",
            "store",
            "sync",
            "time",
            "token",
            "verdict",
        ],
    ),
    ("http", 7, &["digest", "distributed", "error", "options", "outcome", "store", "sync", "token"]),
    ("metrics", 8, &["distribution", "http", "store"]),
    // A page to read.
    ("modes", 0, &[]),
    ("guide", 0, &[]),
    // The specification: no disk, no threads.
    ("reference", 5, &["digest", "error", "options", "outcome", "time", "token"]),
    // The operator's tool; and the program, which calls it and names nothing else.
    (
        "cli",
        7,
        &[
            "digest",
            "distributed",
            "encryption",
            "error",
            "ledger",
            "options",
            "outcome",
            "record",
            "store",
            "sync",
            "time",
            "token",
        ],
    ),
    ("bin", 8, &[]),
    // What fuzzing checks, of every room.
    (
        "laws",
        6,
        &[
            "digest",
            "encryption",
            "error",
            "ledger",
            "options",
            "outcome",
            "record",
            "reference",
            "store",
            "sync",
            "time",
            "token",
        ],
    ),
];

/// A path that only the given top-level modules may name: (paths, modules, whether tests may too, rule).
const DOORS: &[(&[&str], &[&str], bool, &str)] = &[
    (&["redb"], &["ledger"], false, "only `ledger` names redb"),
    (&["bincode"], &["codec"], false, "only `codec` names bincode"),
    (&["deadpool_postgres", "tonic", "prost"], &["engine"], false, "only `engine` names drivers of engines"),
    (&["Instant::now", "SystemTime"], &["time"], false, "only `time` asks the system for the time (7.3)"),
    (
        &[
            "std::thread",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "std::sync::Condvar",
            "std::sync::Barrier",
            "std::sync::mpsc",
            "parking_lot",
            "crossbeam",
            "crossbeam_channel",
            "crossbeam_utils",
            "event_listener",
        ],
        &["sync", "time"],
        true,
        "threads and locks come through `sync`",
    ),
];

/// Never outside tests, and never at all.
const UNWRAP: &str = ".unwrap()";
const NEVER: &[&str] = &["todo!", "unimplemented!", "dbg!"];
const MARKS: &[&str] = &["TODO", "FIXME"];

const LINES_MAX: usize = 500;
const LINES_GOOD: usize = 350;
/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[("src/error.rs", "one list: each kind stands beside its sentence")];

/// How an absolute path of somebody's machine begins (cut in two, since this file is read too).
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("C:\\", "Users"),
];
const TEXT_FILES: &[&str] = &["rs", "toml", "md", "yml", "yaml", "py", "sh", "json", "txt"];

#[test]
fn modules_name_only_the_floors_below_them() {
    assert_tidy(&floors(&sources()));
}

#[test]
fn a_module_of_the_table_names_only_modules_of_lower_floors() {
    for (module, floor, may) in FLOORS {
        for name in *may {
            let below = FLOORS.iter().find(|(own, ..)| own == name).map(|(_, floor, _)| floor);
            assert!(below.is_some_and(|below| below < floor), "{module} may not name {name}");
        }
    }
}

#[test]
fn disk_time_and_threads_each_enter_by_one_door() {
    assert_tidy(&doors(&sources()));
}

#[test]
fn lib_rs_only_re_exports() {
    assert_tidy(&lib(&sources()));
}

#[test]
fn every_source_begins_with_its_law() {
    assert_tidy(&heads(&sources()));
}

#[test]
fn no_source_is_longer_than_a_sitting() {
    let sources = sources();
    for source in sources.iter().filter(|source| source.text.lines().count() > LINES_GOOD) {
        println!("{}: {} lines; look for the second noun", source.path, source.text.lines().count());
    }
    assert_tidy(&lengths(&sources));
}

#[test]
fn nothing_is_unwrapped_or_left_undone() {
    assert_tidy(&leftovers(&sources()));
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let mut files = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    let text = |path: &PathBuf| {
        let extension = path.extension().is_some_and(|own| TEXT_FILES.iter().any(|text| own == *text));
        extension.then(|| (relative(path), fs::read_to_string(path).unwrap_or_default()))
    };
    let files: Vec<_> = files.iter().filter_map(text).collect();
    assert_tidy(&machine_paths(&files));
}

fn floors(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !source.modules().is_empty()) {
        let top = source.top();
        let Some((_, floor, may)) = FLOORS.iter().find(|(name, ..)| *name == top) else {
            complaints.push(source.complaint(0, top, "every module has a floor in tests/tidy.rs"));
            continue;
        };
        for (line, name) in crate_names(source) {
            if name != top && !may.contains(&name.as_str()) {
                let rule =
                    format!("{top} stands on floor {floor} and names only {may:?}, by the module itself");
                complaints.push(source.complaint(line, &format!("names {name}"), &rule));
            }
        }
    }
    complaints
}

/// What a source names of the crate's root, by `crate::` or by enough `super::`.
fn crate_names(source: &Source) -> Vec<(usize, String)> {
    let absolute = paths(&source.code, "crate").into_iter();
    let mut names: Vec<_> =
        absolute.map(|(at, path)| (source.line_of(at), first(&path).to_owned())).collect();
    for (at, path) in paths(&source.code, "super") {
        let line = source.line_of(at);
        let ups = 1 + path.split("::").take_while(|part| *part == "super").count();
        if ups == source.modules().len() + source.inline[line] {
            names.push((line, path.split("::").nth(ups - 1).unwrap_or_default().to_owned()));
        }
    }
    names.retain(|(_, name)| name != "self");
    names
}

fn doors(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !source.modules().is_empty()) {
        for (doors, modules, tests_may, rule) in DOORS {
            if modules.contains(&source.top()) {
                continue;
            }
            for (line, door) in doors.iter().flat_map(|door| named(source, door)) {
                if !(*tests_may && source.test[line]) {
                    complaints.push(source.complaint(line, &format!("names {door}"), rule));
                }
            }
        }
    }
    complaints
}

/// Where a path is named: its last part under the others, spelled out or in a group.
fn named<'a>(source: &Source, door: &'a str) -> Vec<(usize, &'a str)> {
    let Some((root, rest)) = door.split_once("::") else {
        return words(&source.code, door).map(|at| (source.line_of(at), door)).collect();
    };
    let under = |path: &str| path == rest || path.starts_with(&format!("{rest}::"));
    let found = paths(&source.code, root).into_iter().filter(|(_, path)| under(path));
    found.map(|(at, _)| (source.line_of(at), door)).collect()
}

fn lib(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.path == "src/lib.rs") {
        let code = without_attributes(&source.code);
        let mut at = 0;
        for statement in code.split_inclusive(';') {
            let start = at + (statement.len() - statement.trim_start().len());
            at += statement.len();
            let statement = statement.trim();
            let fine = ["mod ", "pub mod ", "pub use "].iter().any(|start| statement.starts_with(start));
            let body = statement.starts_with("mod ") && statement.contains('{');
            if !statement.is_empty() && (!fine || body) {
                let what = statement.lines().next().unwrap_or_default();
                complaints.push(source.complaint(source.line_of(start), what, "lib.rs only re-exports"));
            }
        }
    }
    complaints
}

fn heads(sources: &[Source]) -> Vec<String> {
    let headless = sources.iter().filter(|source| !source.text.starts_with("//!"));
    headless.map(|source| source.complaint(0, "no //! head", "the head of a file states its law")).collect()
}

fn lengths(sources: &[Source]) -> Vec<String> {
    let excused = |source: &Source| LONG.iter().any(|(path, _)| *path == source.path);
    let long = sources.iter().filter(|source| source.text.lines().count() > LINES_MAX && !excused(source));
    let rule = format!("a file has at most {LINES_MAX} lines");
    long.map(|source| source.complaint(LINES_MAX, "goes on and on", &rule)).collect()
}

fn leftovers(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (line, (code, text)) in source.code.lines().zip(source.text.lines()).enumerate() {
            if code.contains(UNWRAP) && !source.test[line] {
                complaints.push(source.complaint(line, UNWRAP, "unwrap only in tests"));
            }
            let left = NEVER.iter().filter(|never| words(code, never).next().is_some());
            for what in left.chain(MARKS.iter().filter(|mark| words(text, mark).next().is_some())) {
                complaints.push(source.complaint(line, what, "finish it, or say in words what is absent"));
            }
        }
    }
    complaints
}

fn machine_paths(files: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in files {
        for (line, content) in text.lines().enumerate() {
            let begins = |at: usize| {
                !content[..at]
                    .ends_with(|before: char| before.is_alphanumeric() || ".-_~>}*/".contains(before))
            };
            let found = |start: &&&str| content.match_indices(**start).any(|(at, _)| begins(at));
            if let Some(start) = MACHINE_PATHS.iter().find(found) {
                complaints.push(format!("{path}:{}: {start}… (rule: no paths of a machine)", line + 1));
            }
        }
    }
    complaints
}

fn assert_tidy(complaints: &[String]) {
    let list = complaints.iter().fold(String::new(), |mut list, complaint| {
        writeln!(list, "{complaint}").unwrap();
        list
    });
    assert!(complaints.is_empty(), "\n{list}");
}

#[test]
fn each_rule_sees_what_breaks_it_and_nothing_else() {
    type Rule = fn(&[Source]) -> Vec<String>;
    let at = |rule: Rule, path: &str, text: &str| -> Vec<String> {
        let complaints = rule(&[Source::new(path, text)]);
        complaints.iter().map(|complaint| complaint.split(" (rule").next().unwrap().to_owned()).collect()
    };
    let cases: &[(Rule, &str, &str, &[&str])] = &[
        (floors, "src/digest/v1.rs", "use crate::error::Error;\nuse super::super::error;", &[]),
        (floors, "src/digest/v1.rs", "\nuse crate::token::Key;", &["src/digest/v1.rs:2: names token"]),
        (floors, "src/digest/v1.rs", "use super::super::token;", &["src/digest/v1.rs:1: names token"]),
        (floors, "src/digest/v1.rs", "mod tests {\nuse super::super::token;\n}", &[]),
        (floors, "src/digest/mod.rs", "use super::{error, time};", &["src/digest/mod.rs:1: names time"]),
        (
            floors,
            "src/token.rs",
            "use crate::{error::{Error, Result}, record::{self as r}, Key};",
            &["src/token.rs:1: names record", "src/token.rs:1: names Key"],
        ),
        (floors, "src/token.rs", "//! crate::store\nconst A: &str = \"crate::store\"; // crate::store", &[]),
        (
            floors,
            "src/token.rs",
            "pub(crate) fn f(e: crate::error::Error) -> super::time::T {}",
            &["src/token.rs:1: names time"],
        ),
        (floors, "src/attic.rs", "", &["src/attic.rs:1: attic"]),
        (
            doors,
            "src/store/mod.rs",
            "fn redb_like() {}\n/* redb */\nuse redb::Database;",
            &["src/store/mod.rs:3: names redb"],
        ),
        (
            doors,
            "src/ledger/a.rs",
            "use redb::Database; use bincode::Encode;",
            &["src/ledger/a.rs:1: names bincode"],
        ),
        (
            doors,
            "src/sync.rs",
            "use std::time::Instant;\nlet a = Instant::now();",
            &["src/sync.rs:2: names Instant::now"],
        ),
        (
            doors,
            "src/inflight/a.rs",
            "use std::{fmt, thread::{self}};",
            &["src/inflight/a.rs:1: names std::thread"],
        ),
        (
            doors,
            "src/inflight/a.rs",
            "use std::sync::{Arc, Mutex as M};",
            &["src/inflight/a.rs:1: names std::sync::Mutex"],
        ),
        (
            doors,
            "src/inflight/a.rs",
            "#[cfg(test)]\nmod tests {\nfn f() { std::thread::yield_now() }\n}",
            &[],
        ),
        (lib, "src/lib.rs", "//! x\n#![allow(x)]\nmod a;\n#[cfg(test)]\nmod b;\npub use a::{B,\nC};", &[]),
        (lib, "src/lib.rs", "mod a;\nfn f() {}", &["src/lib.rs:2: fn f() {}"]),
        (lib, "src/lib.rs", "mod a {\nfn f() { x; }}", &["src/lib.rs:1: mod a {", "src/lib.rs:2: }}"]),
        (heads, "src/a.rs", "use x;\n//! late", &["src/a.rs:1: no //! head"]),
        (lengths, "src/a.rs", &"\n".repeat(501), &["src/a.rs:501: goes on and on"]),
        (lengths, "src/a.rs", &"\n".repeat(500), &[]),
        (
            leftovers,
            "src/a.rs",
            "/// a.unwrap()\nlet a = '\"'; b.unwrap(); let c = \"\";",
            &["src/a.rs:2: .unwrap()"],
        ),
        (
            leftovers,
            "src/a.rs",
            "#[cfg(all(test, unix))]\nfn f<'a>() { b.unwrap() }\nfn g() { b.unwrap() }",
            &["src/a.rs:3: .unwrap()"],
        ),
        (leftovers, "src/a.rs", "#[cfg(not(test))]\nfn f() { r#\"\"#.unwrap() }", &["src/a.rs:2: .unwrap()"]),
        (leftovers, "src/a.rs", "// TODO later\ndbg!(1);", &["src/a.rs:1: TODO", "src/a.rs:2: dbg!"]),
    ];
    for (rule, path, text, expected) in cases {
        assert_eq!(at(*rule, path, text), *expected, "{text}");
    }

    let file = |text: String| machine_paths(&[(String::from("a.md"), text)]).len();
    assert_eq!(file(format!("see `{}me/x`", "/ho")), 1);
    assert_eq!(file(format!("see https://example.com{}me/x", "/ho")), 0);
}

#[test]
fn a_file_declared_for_tests_alone_may_unwrap() {
    let mut sources = [
        Source::new("src/a/mod.rs", "#[cfg(test)]\nmod tests;\nmod b;"),
        Source::new("src/a/tests.rs", "x.unwrap()"),
        Source::new("src/a/b.rs", "x.unwrap()"),
    ];
    mark_test_files(&mut sources);
    let complaints = leftovers(&sources);
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].starts_with("src/a/b.rs:1"));
}
