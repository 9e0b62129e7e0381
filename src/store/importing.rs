//! Records from elsewhere, written as they were (feature `cli`).
//!
//! Law: as with every write, disk first, then index: under the log's lock a group is appended, synced, and published. A
//! record that is known and counts is not overwritten unless that is asked for; a live reservation never is, and there
//! is none: whoever imports is the only one who holds the store.

use std::collections::HashSet;

use super::Store;
use super::shared::Shared;
use crate::error::Result;
use crate::ledger::{Catalogue, Entry, Meaning, Origin, Room, What};
use crate::record::{Record, Weight};
use crate::time::Timestamp;
use crate::token::Key;

/// Records of one commit.
const GROUP: usize = 512;

/// A record from elsewhere.
pub(crate) struct Foreign {
    pub(crate) key: Key,
    /// Without its checksum, as it is appended.
    pub(crate) bytes: Vec<u8>,
    pub(crate) weighs: u32,
    pub(crate) what: What,
    pub(crate) expires: Timestamp,
}

impl Store {
    /// The numbers here of the secrets and rules that records from elsewhere were made under; `None` for a secret that is
    /// not at hand. Those that are new are added, durably; the current ones stay current.
    pub(crate) fn adopt(&self, origin: &Origin) -> Result<(Vec<Option<u16>>, Vec<u16>)> {
        self.shared().ledger()?.adopt(origin)
    }

    /// Keeps records as they are; those whose key is known here, and counts, only if they are to `replace` it. How many
    /// were written.
    pub(crate) fn import(&self, records: &[Foreign], replace: bool) -> Result<u64> {
        records.chunks(GROUP).map(|group| self.shared().import(group, replace)).sum()
    }
}

impl Shared {
    fn import(&self, group: &[Foreign], replace: bool) -> Result<u64> {
        let now = self.chronometer.now().time;
        let ledger = self.ledger()?;
        let room = group.iter().map(|own| Room::of_completion(own.bytes.len() as u64)).sum();
        let _aside = ledger.set_aside(room)?;
        let mut log = ledger.log();
        ledger.check_running()?;
        log.rotate_if_full(now);
        let (mut entries, mut replaced, mut keys) = (Vec::new(), Vec::new(), HashSet::new());
        for own in group.iter().filter(|own| keys.insert(own.key.as_framed())) {
            let hash = self.keys.fingerprint(own.key.as_framed());
            let counts = |_, record: Record<'_>| record.expires() > now;
            let (newest, places) = ledger.newest(&self.stripes.find(hash), own.key.as_framed(), counts)?;
            if newest == Some(true) && !replace {
                continue;
            }
            let weight = Weight { scope: self.scope_hash(&own.key), bytes: own.weighs };
            let meaning = Meaning::Kept(own.what, weight);
            entries.push(Entry { hash, bytes: (&own.bytes[..]).into(), expires: own.expires, meaning });
            replaced.extend(places.into_iter().map(|(at, weight)| (hash, at, weight)));
        }
        let places = log.append(now, &entries, true)?;
        for (entry, at) in entries.iter().zip(places) {
            if let Meaning::Kept(what, weight) = entry.meaning {
                self.stripes.insert(entry.hash, at, what);
                self.stripes.keep(&mut std::iter::once(weight));
            }
        }
        for (hash, at, weight) in replaced {
            self.stripes.remove(hash, at, weight);
        }
        Ok(entries.len() as u64)
    }
}
