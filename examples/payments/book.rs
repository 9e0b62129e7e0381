//! What this server remembers: customers and payments.
//!
//! Law: an object is on disk before anybody is told of it, belongs to one account, and is entered once: who enters an id again
//! gets what stands there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::Log;

/// The file's name, in the server's directory and in a backup's.
pub(crate) const FILE: &str = "book.log";

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    account: String,
    object: Value,
}

pub(crate) struct Book(Mutex<Inner>);

struct Inner {
    log: Log,
    entries: BTreeMap<String, Entry>,
}

impl Book {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let (log, lines) = Log::open::<Entry>(&directory.join(FILE))?;
        let entries = lines.into_iter().map(|entry| (id(&entry.object), entry)).collect();
        Ok(Self(Mutex::new(Inner { log, entries })))
    }

    /// Enters an object, unless its id stands there; gives what does.
    pub(crate) fn enter(&self, account: &str, object: Value) -> io::Result<Value> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = id(&object);
        if let Some(entry) = inner.entries.get(&id) {
            return Ok(entry.object.clone());
        }
        let entry = Entry { account: account.to_owned(), object: object.clone() };
        inner.log.append(&entry)?;
        inner.entries.insert(id, entry);
        Ok(object)
    }

    /// An object of this account's own.
    pub(crate) fn get(&self, account: &str, id: &str) -> Option<Value> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entries.get(id).filter(|entry| entry.account == account).map(|entry| entry.object.clone())
    }

    /// Copies what stands on disk.
    pub(crate) fn copy(&self, directory: &Path) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).log.copy(&directory.join(FILE))
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_owned()
}
