//! The copy of the crate that holds the mutants, and what the compiler says of it.
//!
//! Law: the compiler decides. What it refuses is taken out again, until it takes the rest.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::graft::{Mark, Mutant, Why, graft};

/// What of the crate's folder a build of its tests reads.
const COPIED: &[&str] =
    &["Cargo.toml", "Cargo.lock", "README.md", "src", "tests", "benches", "examples", "fuzz"];
/// What stands there beside it, or is a package of its own.
const LEFT: &[&str] = &["target", "artifacts", "peers", "mutants"];
/// Far more than it takes.
const ROUNDS_MAX: usize = 40;

/// The copy.
pub(crate) struct Copy {
    pub(crate) from: PathBuf,
    pub(crate) folder: PathBuf,
    /// The sources of all mutants, as they were listed.
    pub(crate) sources: BTreeMap<String, String>,
}

impl Copy {
    /// Copies the crate and grafts what can be; what the compiler refuses is marked so.
    pub(crate) fn make(&self, mutants: &mut [Mutant]) -> Result<(), String> {
        let failed = |error: io::Error| format!("copying the crate: {error}");
        fs::create_dir_all(&self.folder).map_err(failed)?;
        for name in COPIED {
            self.copy(name).map_err(failed)?;
        }
        let manifest = fs::read_to_string(self.from.join("Cargo.toml")).map_err(failed)?;
        let manifest =
            manifest.replacen("[dependencies]\n", "[dependencies]\nmutant = { path = \"mutant\" }\n", 1);
        // What surely fails may do so when it runs.
        let allowed = "[lints.rust]\narithmetic_overflow = \"allow\"\nunconditional_panic = \"allow\"\n";
        let manifest = manifest.replacen("[lints.rust]\n", allowed, 1);
        write(&self.folder.join("Cargo.toml"), manifest.as_bytes()).map_err(failed)?;
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("chosen");
        for name in ["Cargo.toml", "src/lib.rs"] {
            let to = self.folder.join("mutant").join(name);
            fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed)?;
            write(&to, &fs::read(own.join(name)).map_err(failed)?).map_err(failed)?;
        }
        self.remember(mutants);
        for _ in 0..ROUNDS_MAX {
            let marks = self.graft(mutants).map_err(failed)?;
            let refused: Vec<_> = [true, false].iter().flat_map(|all| self.check(*all, &marks)).collect();
            if refused.is_empty() {
                return self.note(mutants).map_err(failed);
            }
            let taken = refused.iter().filter(|own| take_out(mutants, own)).count();
            println!("the compiler refuses {taken} mutants");
            if taken == 0 {
                return Err(format!("it refuses what is no mutant: {refused:?}"));
            }
        }
        Err("it goes on and on refusing".to_owned())
    }

    fn refused(&self) -> PathBuf {
        self.folder.with_file_name("refused.tsv")
    }

    /// Takes out what the compiler refused the last time, so that the sources stay as they are if nothing has changed.
    fn remember(&self, mutants: &mut [Mutant]) {
        let noted = fs::read_to_string(self.refused()).unwrap_or_default();
        let noted: BTreeMap<&str, &str> = noted.lines().filter_map(|line| line.rsplit_once('\t')).collect();
        for own in mutants.iter_mut().filter(|own| own.edit.is_ok()) {
            let why = [Why::Constant, Why::Unviable, Why::Method];
            let noted = noted.get(own.name().as_str());
            if let Some(why) = noted.and_then(|said| why.into_iter().find(|why| format!("{why:?}") == **said))
            {
                own.edit = Err(why);
            }
        }
    }

    fn note(&self, mutants: &[Mutant]) -> io::Result<()> {
        let line = |own: &Mutant| own.edit.as_ref().err().map(|why| format!("{}\t{why:?}\n", own.name()));
        fs::write(self.refused(), mutants.iter().filter_map(line).collect::<String>())
    }

    fn graft(&self, mutants: &[Mutant]) -> io::Result<BTreeMap<String, Vec<Mark>>> {
        let mut all = BTreeMap::new();
        for (file, source) in &self.sources {
            let own = mutants.iter().filter(|own| own.file == *file);
            let edits: Vec<_> = own.filter_map(|own| Some((own.number, own.edit.as_ref().ok()?))).collect();
            let (text, marks) = graft(source, &edits);
            write(&self.folder.join(file), text.as_bytes())?;
            all.insert(file.clone(), marks);
        }
        Ok(all)
    }

    /// Copies the crate as it is.
    pub(crate) fn plain(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        COPIED.iter().try_for_each(|name| self.copy(name))?;
        write(&self.folder.join("Cargo.toml"), &fs::read(self.from.join("Cargo.toml"))?)
    }

    /// A cargo that compiles the copy for this alone.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.folder).env("CARGO_TARGET_DIR", self.folder.with_file_name("target"));
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        cargo.stdin(Stdio::null());
        cargo
    }

    /// What the compiler refuses.
    fn check(&self, all_features: bool, marks: &BTreeMap<String, Vec<Mark>>) -> Vec<Refused> {
        let mut cargo = self.cargo();
        cargo.args(["check", "--quiet", "--lib", "--message-format=json"]);
        if all_features {
            cargo.arg("--all-features");
        }
        let Ok(said) = cargo.stderr(Stdio::null()).output() else { return vec![Refused::default()] };
        let mut refused = Vec::new();
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let Ok(own) = serde_json::from_str::<Value>(line) else { continue };
            if own["reason"] == "compiler-message" && own["message"]["level"] == "error" {
                let message = &own["message"];
                if message["spans"].as_array().is_some_and(|spans| !spans.is_empty()) {
                    refused.push(Refused::of(message, marks));
                }
            }
        }
        if refused.is_empty() && !said.status.success() {
            refused.push(Refused { said: "the build of the copy failed".to_owned(), ..Refused::default() });
        }
        refused
    }

    /// Copies a file or a folder, but for the sources that are grafted.
    fn copy(&self, name: &str) -> io::Result<()> {
        let (from, to) = (self.from.join(name), self.folder.join(name));
        if !from.is_dir() {
            let own = from.exists() && !self.sources.contains_key(name) && name != "Cargo.toml";
            // The lock file of the copy has one package more.
            return if own && !(name == "Cargo.lock" && to.exists()) {
                write(&to, &fs::read(from)?)
            } else {
                Ok(())
            };
        }
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let own = entry?.file_name();
            if !LEFT.iter().any(|left| own == *left) {
                self.copy(&format!("{name}/{}", own.to_string_lossy()))?;
            }
        }
        // What an earlier copy has and the crate has no more.
        for entry in fs::read_dir(&to)? {
            let old = entry?;
            if from.join(old.file_name()).exists() {
                continue;
            }
            if old.file_type()?.is_dir() {
                fs::remove_dir_all(old.path())?;
            } else {
                fs::remove_file(old.path())?;
            }
        }
        Ok(())
    }
}

/// An error of the compiler, and the mutants that it may be about.
#[derive(Debug, Default)]
struct Refused {
    said: String,
    /// Those in whose own text it stands.
    within: Vec<u32>,
    /// The innermost around it.
    around: Option<u32>,
}

impl Refused {
    fn of(message: &Value, marks: &BTreeMap<String, Vec<Mark>>) -> Self {
        let mut refused =
            Self { said: message["rendered"].as_str().unwrap_or_default().to_owned(), ..Self::default() };
        let spans = message["spans"].as_array().into_iter().flatten();
        let (primary, other): (Vec<_>, Vec<_>) = spans.partition(|span| span["is_primary"] == true);
        for span in primary.iter().chain(&other) {
            let place = |name: &str| span[name].as_u64().and_then(|own| usize::try_from(own).ok());
            let (Some(start), Some(end)) = (place("byte_start"), place("byte_end")) else { continue };
            let Some(marks) = span["file_name"].as_str().and_then(|file| marks.get(file)) else { continue };
            let is_in = |own: &std::ops::Range<usize>| own.start <= start && end <= own.end;
            if refused.within.is_empty() {
                refused.within.extend(marks.iter().filter(|own| is_in(&own.before)).map(|own| own.number));
            }
            let around = marks.iter().filter(|own| is_in(&own.whole)).min_by_key(|own| own.whole.len());
            refused.around = refused.around.or(around.map(|own| own.number));
        }
        refused
    }
}

/// Takes out the mutants that an error is about, if any is left.
fn take_out(mutants: &mut [Mutant], refused: &Refused) -> bool {
    let asking = refused.said.contains("E0015");
    let (numbers, why) = match refused.around {
        _ if !refused.within.is_empty() => {
            (&refused.within[..], if asking { Why::Constant } else { Why::Unviable })
        }
        Some(_) => (refused.around.as_slice(), Why::Method),
        None => {
            // A constant asks a function that is constant no more.
            let name = refused
                .said
                .split("non-const")
                .nth(1)
                .and_then(|own| own.split('`').nth(1))
                .unwrap_or_default();
            let name = name.split('<').next().unwrap_or_default().rsplit("::").next().unwrap_or_default();
            let mut any = false;
            for own in mutants.iter_mut() {
                let is_its = own.function.rsplit("::").next() == Some(name);
                if is_its && own.edit.as_ref().is_ok_and(|edit| edit.without.is_some()) {
                    (own.edit, any) = (Err(Why::Constant), true);
                }
            }
            return any;
        }
    };
    let mut any = false;
    for number in numbers {
        let own = &mut mutants[*number as usize];
        if own.edit.is_ok() {
            (own.edit, any) = (Err(why), true);
        }
    }
    any
}

fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(to).is_ok_and(|own| own == bytes) { Ok(()) } else { fs::write(to, bytes) }
}
