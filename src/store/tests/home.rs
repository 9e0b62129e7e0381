//! The homes of a store under test, on a disk that a test can cut: files of its own, encrypted or not, or a table in a
//! caller's database.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(feature = "redb-transactions")]
use crate::ledger::{Database, callers};

use super::super::Store;
#[cfg(feature = "redb-transactions")]
use super::lending::lending_script;
use super::script::{Step, builder, script};
use crate::ledger::{Disk, Faulty, Paged};
use crate::options::Builder;
use crate::time::ManualClock;

/// Where a store lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Files,
    #[cfg(feature = "encryption")]
    Encrypted,
    #[cfg(feature = "redb-transactions")]
    Table,
}

/// An opened store, and where its caller's effects are. Clones are one.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    #[cfg(feature = "redb-transactions")]
    pub(crate) database: Option<Arc<Database>>,
}

impl Home {
    /// Whether the store has files of its own.
    pub(crate) fn has_files(self) -> bool {
        match self {
            Self::Files => true,
            #[cfg(feature = "encryption")]
            Self::Encrypted => true,
            #[cfg(feature = "redb-transactions")]
            Self::Table => false,
        }
    }

    /// The disk that a store of this home begins with.
    pub(crate) fn base(self) -> Paged {
        match self {
            Self::Files => Paged::default(),
            #[cfg(feature = "encryption")]
            Self::Encrypted => Paged::default(),
            #[cfg(feature = "redb-transactions")]
            Self::Table => callers::make(),
        }
    }

    /// The steps of a workload there.
    pub(crate) fn script(self, seed: u64, steps: usize) -> Vec<Step> {
        match self {
            Self::Files => script(seed, steps),
            #[cfg(feature = "encryption")]
            Self::Encrypted => script(seed, steps),
            #[cfg(feature = "redb-transactions")]
            Self::Table => lending_script(seed, steps),
        }
    }

    /// Opens the store, and before it its caller's database.
    pub(crate) fn open(self, disk: &Faulty, clock: &ManualClock) -> Result<Opened, String> {
        self.open_on(Arc::new(disk.clone()), clock)
    }

    pub(crate) fn open_on(self, disk: Arc<dyn Disk>, clock: &ManualClock) -> Result<Opened, String> {
        let builder = builder(clock);
        match self {
            Self::Files => Opened::on_files(builder, disk),
            #[cfg(feature = "encryption")]
            Self::Encrypted => {
                let key = crate::encryption::EncryptionKey::new([9; 32]);
                Opened::on_files(builder.encryption_key(key), disk)
            }
            #[cfg(feature = "redb-transactions")]
            Self::Table => {
                let database =
                    callers::open(&*disk).map_err(|error| format!("the caller's database: {error}"))?;
                let store = builder.open_in(Arc::clone(&database), callers::TABLE);
                Ok(Opened { store: store.map_err(|error| error.to_string())?, database: Some(database) })
            }
        }
    }
}

impl Opened {
    fn on_files(builder: Builder, disk: Arc<dyn Disk>) -> Result<Self, String> {
        let store = builder.open_on(disk).map_err(|error| error.to_string())?;
        Ok(Self {
            store,
            #[cfg(feature = "redb-transactions")]
            database: None,
        })
    }

    /// All effects in the caller's table, run to key.
    #[cfg_attr(
        not(feature = "redb-transactions"),
        expect(clippy::unused_self, reason = "files have no callers' table")
    )]
    pub(crate) fn effects(&self) -> BTreeMap<u64, u64> {
        #[cfg(feature = "redb-transactions")]
        if let Some(database) = &self.database {
            return callers::effects(database);
        }
        BTreeMap::new()
    }
}
