//! A store's files, as bytes.
//!
//! Goal: to damage, remove and compare files. Method: whole directories are read into memory and put back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub(crate) const IDENTITY: &str = "oncekey.identity";
pub(crate) const LOCK: &str = "oncekey.lock";

/// Name and bytes of every file.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn read_all(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).expect("the directory lists");
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("a plain name");
        (name, fs::read(entry.path()).expect("the file reads"))
    };
    entries.map(|entry| file(entry.expect("an entry"))).collect()
}

/// Makes `dir` hold exactly these files.
pub(crate) fn put_back(dir: &Path, files: &Files) {
    for name in read_all(dir).keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(dir.join(name)).expect("the file goes");
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).expect("the file is written");
    }
}

/// A new directory with these files.
pub(crate) fn make(dir: &Path, files: &Files) {
    fs::create_dir(dir).expect("a new directory");
    put_back(dir, files);
}

/// The store's segment files, oldest first.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = read_all(dir).into_keys().filter(|name| name.starts_with("segment-"));
    names.map(|name| dir.join(name)).collect()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// Where `needle` stands.
pub(crate) fn find_all(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(needle.len()).enumerate();
    windows.filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}
