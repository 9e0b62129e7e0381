//! One segment: a redb file with one table, block number to block.
//!
//! Law: a segment is written by one thread and read by any number. Blocks are immutable once committed, so a
//! view of any age that covers a block may serve it; the writer drops old views, since a held view keeps redb
//! from reusing pages. Sealing closes redb cleanly and reopens it read-only, under the write side of the handle's
//! lock, so that no reader meets a closed database. A record of a block whose spot in the file is known is read from there,
//! whatever the handle; it passes its checksum or redb is asked.
//!
//! | handle | append | read |
//! | --- | --- | --- |
//! | writing | yes | through the newest view that covers the block |
//! | sealed | no | through one table held open |
//! | fallen | no | through one table of what is on disk |
//! | closed | no | refused |

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{
    Builder, Database, Durability, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    TableDefinition,
};

use super::backend::Backend;
use super::block::Block;
use super::fault::{Fault, barrier};
use super::hint::{self, Hint};
use crate::codec::{self, Decode, Encode};
use crate::encryption::Cipher;
use crate::record::{HashKeys, Location, Opened, Record, RecordKeys, u32_at};
use crate::sync::{Mutex, RwLock};
use crate::time::Timestamp;

const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
/// Rows from here on are hints; below are blocks.
const HINTS: u64 = 1 << 62;
const FOOTER: u64 = u64::MAX;
const FOOTER_BYTES_MAX: usize = 4096;
const WRITING_CACHE_BYTES: usize = 16 << 20;
const SEALED_CACHE_BYTES: usize = 2 << 20;
/// Read at once of a record that is read alone: most end there.
const NEAR_BYTES: usize = 512;

type Table = ReadOnlyTable<u64, &'static [u8]>;

/// What a sealed segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Footer {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) chunks: u64,
    pub(crate) time: u64,
    pub(crate) expires: u64,
}

/// A segment file, open.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first: u64,
    last: AtomicU64,
    expires: AtomicU64,
    /// When a sweep finds something to do here.
    due: AtomicU64,
    backend: Backend,
    keys: HashKeys,
    /// Its own, where it is encrypted.
    cipher: Option<Cipher>,
    handle: RwLock<Handle>,
}

enum Handle {
    Writing { database: Database, view: Mutex<Option<View>> },
    Sealed { table: Table, chunks: u64, _database: ReadOnlyDatabase },
    Fallen { table: Table, _database: Database },
    Closed,
}

struct View {
    covers: u64,
    table: Arc<Table>,
}

fn builder(cache: usize, check: bool) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache).set_check_integrity_on_open(check);
    builder
}

impl Segment {
    /// A new segment whose first block will be `first`.
    pub(crate) fn create(
        number: u64,
        first: u64,
        backend: Backend,
        keys: HashKeys,
        cipher: Option<Cipher>,
    ) -> Result<Self, Fault> {
        let database =
            barrier(|| Ok(builder(WRITING_CACHE_BYTES, false).create_with_backend(backend.clone())?))?;
        Ok(Self::new(number, (first, first - 1), backend, keys, cipher, Handle::writing(database)))
    }

    /// Takes up a segment to go on writing, redb's repair and check included. `backend` judges, so nothing is
    /// changed yet. `None` for the footer where the segment was not sealed.
    pub(crate) fn take_up(
        number: u64,
        backend: Backend,
        keys: HashKeys,
        cipher: Option<Cipher>,
    ) -> Result<(Self, Option<Footer>), Fault> {
        let (database, first, footer) = barrier(|| {
            let database = builder(WRITING_CACHE_BYTES, true).create_with_backend(backend.clone())?;
            let table = database.begin_read()?.open_table(TABLE)?;
            let footer = read_footer(&table, &keys)?;
            // One commit writes hints and footer: without that a row of theirs hides a block.
            if footer.is_none() && table.range(HINTS..)?.next().is_some() {
                return Err(Fault::Damaged);
            }
            // Blocks are numbered from 1.
            let first = table.first()?.map(|(block, _)| block.value()).filter(|first| *first > 0);
            let first = first.ok_or(Fault::Damaged)?;
            Ok((database, first, footer))
        })?;
        let segment = Self::new(number, (first, first - 1), backend, keys, cipher, Handle::writing(database));
        let last = segment.last_block()?;
        segment.last.store(last, Ordering::Release);
        Ok((segment, footer))
    }

    /// Opens a sealed segment to read. `NotFound` as its fault where it was never sealed.
    pub(crate) fn open_sealed(
        number: u64,
        backend: Backend,
        keys: HashKeys,
        cipher: Option<Cipher>,
    ) -> Result<(Self, Footer), Fault> {
        let (handle, footer) = Handle::sealed(&backend, &keys)?;
        let segment = Self::new(number, (footer.first, footer.last), backend, keys, cipher, handle);
        segment.expires.store(footer.expires, Ordering::Release);
        Ok((segment, footer))
    }

    fn new(
        number: u64,
        (first, last): (u64, u64),
        backend: Backend,
        keys: HashKeys,
        cipher: Option<Cipher>,
        handle: Handle,
    ) -> Self {
        let (last, expires, due) = (AtomicU64::new(last), AtomicU64::new(0), AtomicU64::new(0));
        Self { number, first, last, expires, due, backend, keys, cipher, handle: RwLock::new(handle) }
    }

    /// What its records are checked with, and encrypted with if they are.
    pub(crate) fn keys(&self) -> RecordKeys<'_> {
        RecordKeys { hash: &self.keys, cipher: self.cipher.as_ref() }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The last committed block; `first - 1` while there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// When the last of its records expires.
    pub(crate) fn expires(&self) -> Timestamp {
        Timestamp::from_millis(self.expires.load(Ordering::Acquire))
    }

    /// Takes note of a block's expiry.
    pub(crate) fn stretch(&self, expires: Timestamp) {
        self.expires.fetch_max(expires.as_millis(), Ordering::AcqRel);
    }

    /// Whether a sweep finds something to do here.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.due.load(Ordering::Acquire) <= now.as_millis()
    }

    /// A sweep finds nothing to do here before `time`.
    pub(crate) fn look_again_at(&self, time: Timestamp) {
        self.due.store(time.as_millis(), Ordering::Release);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.chunks().is_some()
    }

    /// Commits blocks under the numbers that follow the last one.
    pub(crate) fn append(&self, blocks: &[Vec<u8>], durable: bool, two_phase: bool) -> Result<(), Fault> {
        let handle = self.handle.read();
        let Handle::Writing { database, .. } = &*handle else {
            return Err(Fault::Io(std::io::ErrorKind::BrokenPipe));
        };
        let last = self.last();
        self.backend.begin_blocks(last + 1);
        barrier(|| commit(database, durable, two_phase, (last + 1..).zip(blocks.iter().map(Vec::as_slice))))?;
        self.last.fetch_add(blocks.len() as u64, Ordering::AcqRel);
        Ok(())
    }

    /// Lets redb reuse the pages that an old view holds.
    pub(crate) fn drop_view(&self) {
        if let Handle::Writing { view, .. } = &*self.handle.read() {
            *view.lock() = None;
        }
    }

    /// Reads the record at `at`, checked: alone, if it is known where its block lies.
    pub(crate) fn read<T>(&self, at: Location, use_it: impl FnOnce(Record<'_>) -> T) -> Result<T, Fault> {
        let (mut near, mut far) = ([0; NEAR_BYTES], Vec::new());
        if let Some(opened) = self.peek(at, &mut near, &mut far) {
            return barrier(|| Ok(use_it(opened.record())));
        }
        let block = at.block();
        self.with_block(block, |bytes| Ok(use_it(Block::new(bytes, block, self.keys()).record(at)?.record())))
    }

    /// The record at `at`, read beside redb; `None` where redb is to be asked.
    fn peek<'a>(
        &'a self,
        at: Location,
        near: &'a mut [u8; NEAR_BYTES],
        far: &'a mut Vec<u8>,
    ) -> Option<Opened<'a>> {
        let (block, offset) = (at.block(), usize::from(at.offset()));
        let (bytes, block_bytes) = self.backend.peek(block, offset, near)?;
        let length = u32_at(bytes.get(..4)?, 0) as usize;
        if length <= bytes.len() {
            return Opened::open(bytes, at, self.keys()).ok();
        }
        // A block's length was bounded when it was seen; what stands in it is not longer.
        if offset + length > block_bytes {
            return None;
        }
        far.resize(length, 0);
        let (bytes, _) = self.backend.peek(block, offset, far)?;
        Opened::open(bytes, at, self.keys()).ok()
    }

    /// Reads the bytes of a block, not yet checked.
    pub(crate) fn with_block<T>(
        &self,
        block: u64,
        use_it: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let handle = self.handle.read();
        barrier(|| match &*handle {
            Handle::Sealed { table, .. } => use_it(table.get(block)?.ok_or(Fault::Damaged)?.value()),
            Handle::Writing { database, view } => {
                let table = covering(database, view, block, self.last())?;
                use_it(table.get(block)?.ok_or(Fault::Damaged)?.value())
            }
            // What is not there was acknowledged relaxed and never synced: not damaged, but not at hand either.
            Handle::Fallen { table, .. } => {
                use_it(table.get(block)?.ok_or(Fault::Io(std::io::ErrorKind::BrokenPipe))?.value())
            }
            Handle::Closed => Err(Fault::Io(std::io::ErrorKind::BrokenPipe)),
        })
    }

    /// After a failed commit redb answers nothing any more; reads go on from what is on the disk (contract 5.5),
    /// recovered in memory alone. Where that fails too, they say so.
    pub(crate) fn fall_back(&self) {
        self.fall(&mut self.handle.write());
    }

    fn fall(&self, handle: &mut Handle) {
        let Handle::Writing { .. } = *handle else { return };
        self.backend.refuse_writes();
        let dead = std::mem::replace(handle, Handle::Closed);
        let opened = barrier(|| {
            drop(dead);
            let backend = self.backend.judge_again().map_err(|_| Fault::Damaged)?;
            let database = builder(WRITING_CACHE_BYTES, true).create_with_backend(backend)?;
            let table = database.begin_read()?.open_table(TABLE)?;
            Ok(Handle::Fallen { table, _database: database })
        });
        if let Ok(opened) = opened {
            *handle = opened;
        }
    }

    /// The numbers of all blocks.
    pub(crate) fn blocks(&self) -> RangeInclusive<u64> {
        self.first..=self.last()
    }

    /// Writes hints and footer, closes redb cleanly and goes on read-only. Where that fails, what is on
    /// the disk is still read.
    pub(crate) fn seal(&self, time: Timestamp, hints: &[Hint]) -> Result<(), Fault> {
        let mut rows: Vec<(u64, Vec<u8>)> = (HINTS..)
            .zip(hints.chunks(hint::CHUNK))
            .map(|(row, chunk)| (row, hint::encode(row, chunk, &self.keys)))
            .collect();
        let footer = Footer {
            first: self.first,
            last: self.last(),
            chunks: rows.len() as u64,
            time: time.as_millis(),
            expires: self.expires().as_millis(),
        };
        let mut bytes = vec![0; 8];
        codec::encode_into(&footer, &mut bytes);
        let checksum = self.keys.checksum(FOOTER, &[&bytes[8..]]);
        bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        rows.push((FOOTER, bytes));

        let mut handle = self.handle.write();
        let Handle::Writing { database, .. } = &*handle else { return Ok(()) };
        let rows = rows.iter().map(|(row, bytes)| (*row, bytes.as_slice()));
        let written = barrier(|| commit(database, true, false, rows));
        match written {
            Ok(()) => self.go_read_only(&mut handle),
            Err(fault) => {
                self.fall(&mut handle);
                Err(fault)
            }
        }
    }

    /// Ends a sealing that was cut short after its footer was written.
    pub(crate) fn finish_seal(&self) -> Result<(), Fault> {
        self.go_read_only(&mut self.handle.write())
    }

    /// Closes redb cleanly and opens the file again to read. Where that fails, what is on disk is still read, through
    /// a backend that keeps in memory what redb repairs (contract 5.5).
    fn go_read_only(&self, handle: &mut Handle) -> Result<(), Fault> {
        let Handle::Writing { database, view } = std::mem::replace(handle, Handle::Closed) else {
            return Ok(());
        };
        drop(view);
        let closed = barrier(|| Ok(database.close()?)).and_then(|()| Ok(self.backend.seal()?));
        match closed.and_then(|()| Handle::sealed(&self.backend, &self.keys)) {
            Ok((sealed, _)) => *handle = sealed,
            Err(fault) => {
                self.backend.refuse_writes();
                let judge = self.backend.judge_again().map_err(|_| fault)?;
                let opened = barrier(|| Ok(builder(SEALED_CACHE_BYTES, true).create_with_backend(judge)?));
                *handle = Handle::writing(opened.map_err(|_| fault)?);
                return Err(fault);
            }
        }
        Ok(())
    }

    /// The hints of one chunk of a sealed segment.
    pub(crate) fn hints(&self, chunk: u64) -> Result<Vec<Hint>, Fault> {
        let row = HINTS + chunk;
        self.with_block(row, |bytes| hint::decode(row, bytes, &self.keys).ok_or(Fault::Damaged))
    }

    /// How many chunks of hints a sealed segment has; `None` where it is not sealed.
    pub(crate) fn chunks(&self) -> Option<u64> {
        match *self.handle.read() {
            Handle::Sealed { chunks, .. } => Some(chunks),
            _ => None,
        }
    }

    /// Closes redb cleanly and reports what that says.
    pub(crate) fn close(&self) -> Result<(), Fault> {
        match std::mem::replace(&mut *self.handle.write(), Handle::Closed) {
            Handle::Writing { database, view } => {
                drop(view);
                barrier(|| Ok(database.close()?))?;
                // What is left stands beyond redb's length and harms nobody.
                drop(self.backend.close());
                Ok(())
            }
            Handle::Sealed { .. } | Handle::Fallen { .. } | Handle::Closed => Ok(()),
        }
    }

    fn last_block(&self) -> Result<u64, Fault> {
        let handle = self.handle.read();
        let Handle::Writing { database, .. } = &*handle else { return Ok(self.last()) };
        barrier(|| {
            let table = database.begin_read()?.open_table(TABLE)?;
            let last = table.range(..HINTS)?.next_back().ok_or(Fault::Damaged)??;
            Ok(last.0.value())
        })
    }
}

impl Handle {
    fn writing(database: Database) -> Self {
        Self::Writing { database, view: Mutex::new(None) }
    }

    /// What was sealed, open to read. `NotFound` as its fault where it has no footer.
    fn sealed(backend: &Backend, keys: &HashKeys) -> Result<(Self, Footer), Fault> {
        barrier(|| {
            let database = builder(SEALED_CACHE_BYTES, false).open_read_only_with_backend(backend.clone())?;
            let table = database.begin_read()?.open_table(TABLE)?;
            let footer = read_footer(&table, keys)?.ok_or(Fault::Io(std::io::ErrorKind::NotFound))?;
            Ok((Self::Sealed { table, chunks: footer.chunks, _database: database }, footer))
        })
    }
}

/// The newest view, made anew if it does not cover `block`.
fn covering(
    database: &Database,
    view: &Mutex<Option<View>>,
    block: u64,
    last: u64,
) -> Result<Arc<Table>, Fault> {
    let mut view = view.lock();
    let wanted = if block < HINTS { block } else { 0 };
    if let Some(held) = view.as_ref().filter(|held| held.covers >= wanted) {
        return Ok(Arc::clone(&held.table));
    }
    let table = Arc::new(database.begin_read()?.open_table(TABLE)?);
    *view = Some(View { covers: last, table: Arc::clone(&table) });
    Ok(table)
}

fn commit<'a>(
    database: &Database,
    durable: bool,
    two_phase: bool,
    rows: impl Iterator<Item = (u64, &'a [u8])>,
) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(two_phase);
    let durability = if durable { Durability::Immediate } else { Durability::None };
    transaction.set_durability(durability).map_err(|_| Fault::Damaged)?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for (row, bytes) in rows {
            table.insert(row, bytes)?;
        }
    }
    Ok(transaction.commit()?)
}

fn read_footer(table: &Table, keys: &HashKeys) -> Result<Option<Footer>, Fault> {
    let Some(row) = table.get(FOOTER)? else { return Ok(None) };
    let (checksum, body) = row.value().split_at_checked(8).ok_or(Fault::Damaged)?;
    if checksum != keys.checksum(FOOTER, &[body]).to_le_bytes() {
        return Err(Fault::Damaged);
    }
    codec::decode::<_, FOOTER_BYTES_MAX>(body).map(Some).ok_or(Fault::Damaged)
}

#[cfg(test)]
mod tests;
