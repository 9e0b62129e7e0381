//! Plants the whole bank into a copy of the crate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bank::{BANK, Bug};

/// What of the crate's folder a build of its tests reads.
const COPIED: &[&str] =
    &["Cargo.toml", "Cargo.lock", "README.md", "src", "tests", "benches", "examples", "fuzz"];
/// What stands there beside it, or is a package of its own.
const LEFT: &[&str] = &["target", "artifacts", "peers"];

/// The crate's folder.
fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a bug says of a source that is not as it expects, with the whole bank before it planted.
fn plant(bug: &Bug, file: &str, source: &mut String) -> Result<(), String> {
    for edit in bug.edits.iter().filter(|edit| edit.file == file) {
        let found = source.matches(edit.sound).count();
        if found != 1 {
            return Err(format!("{}: {found} times in src/{file}, and not once: {}", bug.name, edit.sound));
        }
        let chosen = format!(
            "({{ static CHOSEN: std::sync::OnceLock<bool> = std::sync::OnceLock::new(); \
             *CHOSEN.get_or_init(|| std::env::var(\"ONCEKEY_PLANTED\").is_ok_and(|own| own == \"{}\")) }})",
            bug.name
        );
        let planted = edit.planted.replace("SOUND", edit.sound).replace("PLANTED", &chosen);
        *source = source.replacen(edit.sound, &planted, 1);
    }
    Ok(())
}

/// All files of the bank with their bugs planted; what does not fit any more, if anything.
pub(crate) fn planted() -> Result<Vec<(PathBuf, String)>, String> {
    let mut names: Vec<&str> = BANK.iter().flat_map(|bug| bug.edits.iter().map(|edit| edit.file)).collect();
    names.sort_unstable();
    names.dedup();
    let read = |name: &str| fs::read_to_string(crate_folder().join("src").join(name));
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for name in names {
        let mut source = read(name).map_err(|error| format!("src/{name}: {error}"))?;
        wrong.extend(BANK.iter().filter_map(|bug| plant(bug, name, &mut source).err()));
        all.push((Path::new("src").join(name), source));
    }
    if wrong.is_empty() { Ok(all) } else { Err(wrong.join("\n")) }
}

/// Makes `folder` a copy of the crate with the bank planted, and of nothing else. What is there already stays as it is, so
/// that it is not compiled again.
pub(crate) fn copy_to(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
    let copied = COPIED.iter().try_for_each(|name| copy(&crate_folder().join(name), &folder.join(name)));
    copied.map_err(|error| format!("copying the crate: {error}"))?;
    for (name, source) in planted()? {
        write(&folder.join(name), source.as_bytes()).map_err(|error| format!("planting: {error}"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        let is_planted = BANK
            .iter()
            .flat_map(|bug| bug.edits)
            .any(|edit| from.ends_with(Path::new("src").join(edit.file)));
        return if from.exists() && !is_planted { write(to, &fs::read(from)?) } else { Ok(()) };
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if !LEFT.iter().any(|left| name == *left) {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    // What an earlier copy has and the crate has no more.
    for entry in fs::read_dir(to)? {
        let old = entry?;
        if from.join(old.file_name()).exists() {
            continue;
        }
        if old.file_type()?.is_dir() { fs::remove_dir_all(old.path())? } else { fs::remove_file(old.path())? }
    }
    Ok(())
}

fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(to).is_ok_and(|own| own == bytes) { Ok(()) } else { fs::write(to, bytes) }
}
