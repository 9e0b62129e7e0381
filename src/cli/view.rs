//! A store to look at, and keys and secrets out of files.
//!
//! Law: nothing is changed. What is not in view is said on standard error, whatever was asked.

use std::fs;
use std::path::Path;

use super::arguments::{Keys, Place};
use super::failure::{Failure, Status};
use super::output::Out;
use super::words;
use crate::encryption::Keyring;
use crate::ledger::{Directory, Known, Survey, io_error};
use crate::time::{Clock, SystemClock, Timestamp};

/// What is to be seen of a store, and when.
pub(super) struct View {
    pub(super) survey: Survey,
    pub(super) now: Timestamp,
}

impl View {
    /// Looks at a store, and says what it can't see.
    pub(super) fn open(place: &Place, out: &Out) -> Result<Self, Failure> {
        let keys = keyring(&place.keys)?;
        let disk = Directory::to_read(&place.store).map_err(Failure::at(&place.store))?;
        let survey = Survey::open(&disk, keys, place.sealed)?;
        if !survey.is_whole {
            let why = if place.sealed {
                "only sealed segments are looked at"
            } else {
                "another process has the store open"
            };
            out.note(&format!("{why}: the newest records are not in view"));
        }
        for flaw in &survey.flaws {
            out.note(&format!("segment {} is not in view: {}", flaw.segment, flaw.what));
        }
        for own in survey.segments.iter().filter(|own| own.is_blind) {
            let number = own.segment.number;
            out.note(&format!(
                "segment {number}: fingerprints do not read, so a key that is not found may stand there"
            ));
        }
        let now = SystemClock::new().wall().max(survey.last_time());
        Ok(Self { survey, now })
    }

    /// How a command ends that found nothing else.
    pub(super) fn status(&self) -> Status {
        let is_blind = self.survey.segments.iter().any(|own| own.is_blind);
        if self.survey.flaws.is_empty() && !is_blind { Status::Fine } else { Status::Found }
    }

    /// The newest record of each key, in the order of the log.
    pub(super) fn known(&self) -> Result<Vec<Known>, Failure> {
        Ok(self.survey.known(|_| true)?)
    }

    pub(super) fn is_expired(&self, known: &Known) -> bool {
        known.hint.expires <= self.now
    }
}

/// The directory of a store, as its files lie.
pub(super) fn directory(path: &Path) -> Result<Directory, Failure> {
    Ok(Directory::to_read(path).map_err(io_error("opening the directory"))?)
}

/// The keys that were given: the first one is the current one.
#[cfg(feature = "encryption")]
pub(super) fn keyring(keys: &Keys) -> Result<Keyring, Failure> {
    use crate::encryption::EncryptionKey;

    let read = |file: &std::path::PathBuf| secret_bytes(file).map(EncryptionKey::new);
    let mut keys = keys.encryption_key_file.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter();
    Ok(Keyring { current: keys.next(), old: keys.collect() })
}

/// None: this build has no use for them.
#[cfg(not(feature = "encryption"))]
pub(super) fn keyring(keys: &Keys) -> Result<Keyring, Failure> {
    if keys.encryption_key_file.is_empty() {
        return Ok(Keyring::default());
    }
    let why = "--encryption-key-file: this build reads no encrypted store; install it with --features cli,encryption";
    Err(Failure::Use(why.to_owned()))
}

/// 32 bytes out of a file, as they are or as 64 hexadecimal digits.
pub(super) fn secret_bytes(path: &Path) -> Result<[u8; 32], Failure> {
    let bytes = fs::read(path).map_err(Failure::at(path))?;
    if let Ok(own) = <[u8; 32]>::try_from(&bytes[..]) {
        return Ok(own);
    }
    let digits = bytes.trim_ascii();
    words::unhex(digits).ok_or_else(|| {
        Failure::Use(format!(
            "{}: it has {} bytes, and should have 32, or 64 hexadecimal digits",
            path.display(),
            bytes.len()
        ))
    })
}
