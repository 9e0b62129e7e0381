//! A caller's own redb database on a disk of a test's: his file, his table of effects.
//!
//! Law: the file is made, and synced, before the test begins: how it comes to be is the caller's business (contract 6.5).
//! An effect is a row, number of the run to number of the key, so that one which is there twice, or without its record,
//! shows.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};

use super::super::disk::{Disk, DiskFile};
use super::Paged;

/// Run to key.
pub(crate) const EFFECTS: TableDefinition<'static, u64, u64> = TableDefinition::new("effects");
/// The store's own table.
pub(crate) const TABLE: &str = "oncekey";
const NAME: &str = "caller.redb";
/// Small, so that pages are written before their commit, too.
const CACHE_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Raw(Arc<dyn DiskFile>);

impl StorageBackend for Raw {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// A disk with an empty database of a caller's.
pub(crate) fn make() -> Paged {
    let disk = Paged::default();
    let file = disk.create(NAME).unwrap();
    drop(Builder::new().create_with_backend(Raw(file)).unwrap());
    disk
}

/// Opens the caller's database on this disk.
pub(crate) fn open(disk: &dyn Disk) -> Result<Arc<Database>, DatabaseError> {
    let file = disk.open(NAME).map_err(redb::StorageError::Io)?;
    Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Raw(file)).map(Arc::new)
}

/// All effects.
pub(crate) fn effects(database: &Database) -> BTreeMap<u64, u64> {
    let Ok(rows) = database.begin_read().unwrap().open_table(EFFECTS) else { return BTreeMap::new() };
    let row = |row: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, u64>), _>| {
        row.map(|(run, key)| (run.value(), key.value())).unwrap()
    };
    rows.iter().unwrap().map(row).collect()
}
