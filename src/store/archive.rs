//! Sealed records, read only: beside the process that owns the store, from a copy, or from a read-only disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

#[cfg(feature = "encryption")]
use crate::encryption::EncryptionKey;
use crate::encryption::Keyring;
use crate::error::Result;
use crate::ledger::{Directory, Segment, io_error, open_sealed};
use crate::outcome::Replay;
use crate::record::{HashKeys, Kind, Location, Record};
use crate::token::Key;

/// The records of a store's sealed segments. What was completed since the last segment was sealed is not in view,
/// and neither is what was forgotten since.
pub struct Archive {
    segments: Vec<Segment>,
    keys: HashKeys,
    /// By fingerprint; which segment, and where in it.
    places: BTreeMap<u64, Vec<(usize, Location)>>,
}

impl Archive {
    /// Reads the store in the directory at `path`. Nothing is locked and nothing is changed.
    ///
    /// # Errors
    /// *Not a store*, *newer format*, *damaged store*, *encrypted*, *io*.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::with(path.as_ref(), Keyring::default())
    }

    /// The same of an encrypted store, with every key that its segments are encrypted under (feature `encryption`).
    ///
    /// # Errors
    /// As of [`Archive::open`], and *wrong encryption key*.
    #[cfg(feature = "encryption")]
    pub fn open_encrypted(
        path: impl AsRef<Path>,
        keys: impl IntoIterator<Item = EncryptionKey>,
    ) -> Result<Self> {
        Self::with(path.as_ref(), Keyring { current: None, old: keys.into_iter().collect() })
    }

    fn with(path: &Path, keyring: Keyring) -> Result<Self> {
        let disk = Directory::to_read(path).map_err(io_error("opening the directory"))?;
        let (sealed, keys) = open_sealed(&disk, keyring)?;
        let mut archive = Self { segments: Vec::new(), keys, places: BTreeMap::new() };
        for (number, (segment, hints)) in sealed.into_iter().enumerate() {
            archive.segments.push(segment);
            for hint in hints {
                let places = archive.places.entry(hint.hash).or_default();
                if hint.is_forgotten() {
                    places.retain(|(_, at)| *at != hint.at);
                } else {
                    places.push((number, hint.at));
                }
            }
        }
        Ok(archive)
    }

    /// The newest record of `key`, whether it has expired or not: [`Replay::expires`] tells.
    ///
    /// # Errors
    /// *Damaged*, *io*.
    pub fn get(&self, key: &Key) -> Result<Option<Replay>> {
        let hash = self.keys.fingerprint(key.as_framed());
        let own = |record: Record<'_>| {
            let finished = record.kind() == Kind::Finished && record.key() == key.as_framed();
            finished.then(|| record.replay()).flatten()
        };
        for (number, at) in self.places.get(&hash).into_iter().flatten().rev() {
            let segment = &self.segments[*number];
            let read =
                segment.read(*at, own).map_err(|fault| fault.in_segment(segment.number, "reading a record"));
            if let Some(replay) = read? {
                return Ok(Some(replay));
            }
        }
        Ok(None)
    }

    /// How many records are in view.
    #[must_use]
    pub fn records(&self) -> usize {
        self.places.values().map(Vec::len).sum()
    }

    /// How many sealed segments are in view.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("segments", &self.segments())
            .field("records", &self.records())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Parameters;
    use crate::outcome::Outcome;
    use crate::store::{Answer, Store};

    #[test]
    fn what_is_sealed_is_read_beside_the_open_store_11() {
        let temporary = tempfile::tempdir().unwrap();
        let (path, copy) = (temporary.path().join("store"), temporary.path().join("copy"));
        let store = Store::open(&path).unwrap();
        let key = Key::new("scope", "token").unwrap();
        let Answer::Fresh(held) = store.begin(&key, &Parameters::none()).unwrap() else {
            panic!("never seen")
        };
        held.complete(Outcome::new("kept")).unwrap();
        assert_eq!(Archive::open(&path).unwrap().get(&key), Ok(None), "the newest records are not in view");
        store.backup(&copy).unwrap();
        for place in [&path, &copy] {
            let archive = Archive::open(place).unwrap();
            assert_eq!((archive.segments(), archive.records()), (1, 1));
            assert_eq!(archive.get(&key).unwrap().unwrap().outcome().body(), b"kept");
            assert_eq!(archive.get(&Key::new("other", "token").unwrap()), Ok(None));
        }
        assert!(Archive::open(temporary.path()).is_err());
    }
}
