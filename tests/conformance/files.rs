//! The files of vectors in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::vector::File;

/// All files of a folder, each as it stands.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, File> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let vectors = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = vectors.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    });
    read.collect()
}
