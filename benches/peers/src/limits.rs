//! What can't be beaten, so that one knows how near one is: a file that only grows, and a table that only remembers.
//!
//! Neither is a store. [`PlainFile`] appends the bytes that oncekey lays down for a record, behind the same hand-over
//! as every peer, one fdatasync for all that queued; it keeps no index and reserves nothing, and a retry is answered
//! from nothing at no cost. [`HashTable`] is a concurrent table in memory: no disk, gone with its process.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use dashmap::{DashMap, Entry};

use crate::contender::{Kind, Peer};
use crate::fill::{SCOPE, token};
use crate::handover::{Known, Record, Writer};
use crate::work::{Ask, OUTCOME_BYTES, outcome_of};

const TOKEN_BYTES: usize = 36;
/// What oncekey lays down for one of these completions: head, key, outcome, fingerprints.
pub(crate) const LAID_DOWN_BYTES: usize = 84 + 2 + SCOPE.len() + TOKEN_BYTES + OUTCOME_BYTES + 24;

pub(crate) struct PlainFile(Writer);

impl PlainFile {
    pub(crate) fn create(home: &Path) -> Self {
        let mut file = File::create_new(home.join("plain.log")).expect("the disk works");
        let mut bytes = Vec::new();
        Self(Writer::start(move |records| {
            bytes.clear();
            for record in records {
                let end = bytes.len() + LAID_DOWN_BYTES;
                bytes.extend_from_slice(record.token.as_bytes());
                bytes.extend_from_slice(&record.outcome);
                bytes.resize(end, 0);
            }
            file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk works");
            Known::new()
        }))
    }
}

impl Peer for PlainFile {
    fn name(&self) -> &'static str {
        "file limit"
    }

    fn kind(&self) -> Kind {
        Kind::FileLimit
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        let outcome = outcome_of(&ask.token);
        if ask.retry {
            return Some(outcome);
        }
        self.0.write(Record { token: ask.token.clone(), outcome }).await;
        None
    }

    /// It keeps nothing that could be asked for.
    fn fill(&self, _numbers: Range<u64>) {}

    fn look_up(&self, _token: &str) -> Option<Vec<u8>> {
        None
    }
}

#[derive(Default)]
pub(crate) struct HashTable(DashMap<String, Vec<u8>>);

impl Peer for HashTable {
    fn name(&self) -> &'static str {
        "memory limit"
    }

    fn kind(&self) -> Kind {
        Kind::MemoryOnly
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        match self.0.entry(ask.token.clone()) {
            Entry::Occupied(known) => Some(known.get().clone()),
            Entry::Vacant(seat) => {
                seat.insert(outcome_of(&ask.token));
                None
            }
        }
    }

    fn fill(&self, numbers: Range<u64>) {
        for token in numbers.map(token) {
            let outcome = outcome_of(&token);
            self.0.insert(token, outcome);
        }
    }

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        self.0.get(token).map(|known| known.clone())
    }
}
