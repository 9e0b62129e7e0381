//! A file of lines, each an entry as JSON.
//!
//! Law: an entry is synced before `append` returns. A crash can cut off the last line only, and what it cuts was told to
//! nobody: it is removed at opening. Any other line that does not read is damage. After a failed write nobody knows what
//! stands in the file, so nothing more is written until it is opened again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) struct Log {
    file: File,
    is_in_doubt: bool,
    path: PathBuf,
}

impl Log {
    /// Opens the file, or makes it; gives its entries too.
    pub(crate) fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<T>)> {
        let mut file = File::options().create(true).read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.sync_all()?;
        }
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from));
        let entries = entries.collect::<io::Result<_>>()?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok((Self { file, is_in_doubt: false, path: path.to_owned() }, entries))
    }

    pub(crate) fn append(&mut self, entry: &impl Serialize) -> io::Result<()> {
        if self.is_in_doubt {
            return Err(io::Error::other("an earlier write failed"));
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.is_in_doubt = true;
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.is_in_doubt = false;
        Ok(())
    }

    /// Copies it to a new file.
    pub(crate) fn copy(&self, target: &Path) -> io::Result<()> {
        std::fs::copy(&self.path, target)?;
        File::open(target)?.sync_all()
    }
}

#[test]
fn a_last_line_that_was_cut_off_is_removed_and_what_follows_is_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    std::fs::write(&path, "1\n2\n3").expect("written");
    let (mut log, entries) = Log::open::<u32>(&path).expect("opened");
    assert_eq!(entries, [1, 2]);
    log.append(&4).expect("appended");
    assert_eq!(Log::open::<u32>(&path).expect("opened").1, [1, 2, 4]);
    std::fs::write(&path, "1\nx\n3\n").expect("written");
    assert!(Log::open::<u32>(&path).is_err(), "damage is not passed over");
}
