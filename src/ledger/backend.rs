//! A segment file as redb sees it: space written with zeros ahead of need, and a judge's copy.
//!
//! Law: a segment file begins with a page of ours (which store, which segment, which format, and the length
//! that redb believes in), then redb's bytes. Syncing blocks that were written before needs no journal commit
//! of the file system, so the file grows by zeros in steps, ahead of what redb writes; redb is told its own
//! length, kept durably before `set_len` answers (two slots of the page in turn, so that a torn write leaves
//! the other). How much of what lies ready is the *room* of contract 5.10 says `extent`.
//!
//! | mode | reads | writes | becomes |
//! | --- | --- | --- | --- |
//! | judging | the file, and over it what was written | kept in memory, in order | live (played into the file), sealed (that failed), dropped |
//! | live | the file | the file | sealed |
//! | sealed | the file | refused | |
//!
//! Judging exists because redb repairs as it opens, and a file that is refused must not be changed (5.6).

use std::io::{self, ErrorKind as IoKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;

use super::disk::DiskFile;
use super::extent::Extent;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{FORMAT, u32_at, u64_at};
use crate::sync::Mutex;

const MAGIC: &[u8; 8] = b"oncekey\n";
/// Bytes of our page, in front of redb's.
const PAGE_BYTES: u64 = 4096;
/// Bytes of a slot of our page: a sector, which a disk writes whole.
const SLOT_BYTES: usize = 512;
const SLOT_USED: usize = 8 + 4 + 4 + 16 + 8 + 8 + 8;
/// Zeros are written ahead in steps of this size.
const STEP_BYTES: u64 = 1 << 20;
const ZEROS: &[u8] = &[0; 128 << 10];

/// Which file this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    pub(crate) segment: u64,
}

/// What was written to redb's bytes, counted apart.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Bytes that redb wrote.
    pub(crate) data: AtomicU64,
    /// Bytes of zeros written ahead.
    pub(crate) zeros: AtomicU64,
}

/// A segment file. Clones are one file.
#[derive(Clone, Debug)]
pub(crate) struct Backend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<dyn DiskFile>,
    identity: Identity,
    written: Arc<Written>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What lies ready of the file, and what redb has taken of it.
    extent: Extent,
    /// Counts writes of our page.
    turn: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Judging(Vec<Step>),
    Live,
    Sealed,
}

/// What a judged opening wanted of the file, in order.
#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Backend {
    /// Begins a new, empty segment file.
    pub(crate) fn create(
        file: Arc<dyn DiskFile>,
        identity: Identity,
        written: Arc<Written>,
    ) -> io::Result<Self> {
        let state = State { extent: Extent::default(), turn: 0, mode: Mode::Live };
        let backend = Self(Arc::new(Inner { file, identity, written, state: Mutex::new(state) }));
        backend.0.file.write(0, &ZEROS[..index(PAGE_BYTES)])?;
        backend.0.write_page(&mut backend.0.state.lock())?;
        Ok(backend)
    }

    /// Takes up a segment file, to judge it: nothing is written until [`Backend::go_live`].
    pub(crate) fn judge(file: Arc<dyn DiskFile>, identity: Identity, written: Arc<Written>) -> Result<Self> {
        let (turn, logical) = read_page(&*file, identity)?;
        let failed = |error: io::Error| ErrorKind::Io { operation: "reading a segment", kind: error.kind() };
        let ready = file.len().map_err(failed)?.saturating_sub(PAGE_BYTES);
        let mode = Mode::Judging(Vec::new());
        let state = State { extent: Extent::of_file(logical, ready), turn, mode };
        Ok(Self(Arc::new(Inner { file, identity, written, state: Mutex::new(state) })))
    }

    /// Takes up the same file anew, to judge it.
    pub(crate) fn judge_again(&self) -> Result<Self> {
        Self::judge(Arc::clone(&self.0.file), self.0.identity, Arc::clone(&self.0.written))
    }

    /// Plays what judging wrote into the file, in its order, and writes through from now on. If that fails, nothing
    /// more is written: what redb writes as it closes would stand on what was not.
    pub(crate) fn go_live(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let Mode::Judging(steps) = std::mem::replace(&mut state.mode, Mode::Sealed) else { return Ok(()) };
        for step in steps {
            match step {
                Step::Write(offset, data) => self.0.write_through(&mut state, offset, &data)?,
                Step::SetLen(_) => self.0.write_page(&mut state)?,
                Step::Sync => self.0.file.sync()?,
            }
        }
        self.0.file.sync()?;
        state.mode = Mode::Live;
        Ok(())
    }

    /// Refuses writes from now on, and gives back the space beyond redb's length.
    pub(crate) fn seal(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.mode = Mode::Sealed;
        self.0.trim(&mut state)?;
        self.0.file.sync()
    }

    /// Gives back the space beyond redb's length.
    pub(crate) fn trim(&self) -> io::Result<()> {
        self.0.trim(&mut self.0.state.lock())
    }

    /// Refuses writes from now on, whatever the file holds.
    pub(crate) fn refuse_writes(&self) {
        self.0.state.lock().mode = Mode::Sealed;
    }

    /// The same file, judged anew: as if this process had died.
    pub(crate) fn again(&self) -> Result<Self> {
        Self::judge(Arc::clone(&self.0.file), self.0.identity, Arc::clone(&self.0.written))
    }

    /// Bytes that redb can take without another byte of the disk.
    pub(crate) fn room(&self) -> u64 {
        self.0.state.lock().extent.room()
    }

    /// Sees to it that redb can take `room` bytes, and `piece` of them in one.
    pub(crate) fn extend_room(&self, room: u64, piece: u64) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.extent.expect(piece);
        let wanted = state.extent.target(room).next_multiple_of(STEP_BYTES);
        self.0.write_zeros(&mut state, wanted)
    }

    /// Pays a part of redb's next growth, so that it never comes all at once.
    pub(crate) fn extend_ahead(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let wanted = state.extent.ahead();
        self.0.write_zeros(&mut state, wanted)
    }

    /// Copies the file as it is. For sealed files: others change meanwhile.
    pub(crate) fn copy_to(&self, target: &dyn DiskFile) -> io::Result<()> {
        let length = self.0.file.len()?;
        let mut buffer = vec![0; ZEROS.len()];
        let mut offset = 0;
        while offset < length {
            let count = usize::try_from(length - offset).unwrap_or(usize::MAX).min(buffer.len());
            self.0.file.read(offset, &mut buffer[..count])?;
            target.write(offset, &buffer[..count])?;
            offset += count as u64;
        }
        target.sync()
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        PAGE_BYTES + self.0.state.lock().extent.ready
    }

    /// Bytes that redb has taken.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.state.lock().extent.taken_bytes()
    }
}

impl Inner {
    /// Reads the first `count` bytes of `out` from the file; the rest is zeros.
    fn read_padded(&self, offset: u64, out: &mut [u8], count: usize) -> io::Result<()> {
        let (stored, beyond) = out.split_at_mut(count);
        beyond.fill(0);
        if stored.is_empty() { Ok(()) } else { self.file.read(PAGE_BYTES + offset, stored) }
    }

    fn write_through(&self, state: &mut State, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if end > state.extent.ready {
            // Ahead if there is space for it; else just as far as is needed.
            let ahead = self.write_zeros(state, end.next_multiple_of(STEP_BYTES));
            ahead.or_else(|_| self.write_zeros(state, offset))?;
        }
        self.file.write(PAGE_BYTES + offset, data)?;
        self.written.data.fetch_add(data.len() as u64, Ordering::Relaxed);
        state.extent.take(offset, data.len() as u64);
        Ok(())
    }

    fn write_zeros(&self, state: &mut State, until: u64) -> io::Result<()> {
        let ready = &mut state.extent.ready;
        while *ready < until {
            let count = self.zero(*ready, until)?;
            *ready += count;
        }
        Ok(())
    }

    /// Writes zeros from `offset` on, to `until` at most; gives their number.
    fn zero(&self, offset: u64, until: u64) -> io::Result<u64> {
        let count = (until - offset).min(ZEROS.len() as u64);
        self.file.write(PAGE_BYTES + offset, &ZEROS[..index(count)])?;
        self.written.zeros.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }

    fn trim(&self, state: &mut State) -> io::Result<()> {
        state.extent.ready = state.extent.ready.min(state.extent.logical);
        self.file.set_len(PAGE_BYTES + state.extent.ready)
    }

    /// Writes our page: magic, format, segment, store, redb's length, turn, checksum.
    fn write_page(&self, state: &mut State) -> io::Result<()> {
        state.turn += 1;
        let mut slot = Vec::with_capacity(SLOT_USED);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&FORMAT.to_le_bytes());
        slot.extend_from_slice(&0_u32.to_le_bytes());
        slot.extend_from_slice(&self.identity.store);
        slot.extend_from_slice(&self.identity.segment.to_le_bytes());
        slot.extend_from_slice(&state.extent.logical.to_le_bytes());
        slot.extend_from_slice(&state.turn.to_le_bytes());
        let checksum = blake3::hash(&slot);
        slot.extend_from_slice(&checksum.as_bytes()[..8]);
        self.file.write(state.turn % 2 * SLOT_BYTES as u64, &slot)?;
        self.file.sync()
    }
}

/// Reads our page: which slot is the newer, and what redb's length is.
fn read_page(file: &dyn DiskFile, identity: Identity) -> Result<(u64, u64)> {
    let damaged = || Error::from(ErrorKind::DamagedStore { file: format!("segment {}", identity.segment) });
    let mut page = [0; 2 * SLOT_BYTES];
    file.read(0, &mut page).map_err(|_| damaged())?;
    let slots = page.chunks_exact(SLOT_BYTES).map(|slot| &slot[..SLOT_USED + 8]);
    let sound = slots.filter(|slot| {
        slot.starts_with(MAGIC) && slot[SLOT_USED..] == blake3::hash(&slot[..SLOT_USED]).as_bytes()[..8]
    });
    let newest = sound.max_by_key(|slot| u64_at(slot, SLOT_USED - 8)).ok_or_else(damaged)?;
    let format = u32_at(newest, 8);
    if format > FORMAT {
        return Err(ErrorKind::NewerFormat { found: format, supported: FORMAT }.into());
    }
    if newest[16..32] != identity.store || u64_at(newest, 32) != identity.segment {
        return Err(ErrorKind::NotAStore("a segment of another store lies among this store's files").into());
    }
    Ok((u64_at(newest, SLOT_USED - 8), u64_at(newest, SLOT_USED - 16)))
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state.lock().extent.logical)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.state.lock();
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= state.extent.logical);
        end.ok_or(IoKind::UnexpectedEof)?;
        let on_disk =
            usize::try_from(state.extent.ready.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        if !matches!(state.mode, Mode::Judging(_)) {
            drop(state);
            return self.0.read_padded(offset, out, on_disk);
        }
        let file_end = self.0.file.len()?.saturating_sub(PAGE_BYTES);
        let in_file = usize::try_from(file_end.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        self.0.read_padded(offset, out, in_file)?;
        if let Mode::Judging(steps) = &state.mode {
            for step in steps {
                overlay(step, offset, out);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if matches!(state.mode, Mode::Sealed) {
            return Err(IoKind::PermissionDenied.into());
        }
        let taken_end = state.extent.resize(len);
        if let Mode::Judging(steps) = &mut state.mode {
            steps.push(Step::SetLen(len));
            state.extent.ready = state.extent.ready.min(len);
            return Ok(());
        }
        self.0.write_page(&mut state)?;
        // What is cut must read as zeros if it grows again. It is not given back: it may have been promised.
        let mut offset = len;
        while offset < taken_end {
            offset += self.0.zero(offset, taken_end)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if let Mode::Judging(steps) = &mut state.mode {
            steps.push(Step::Sync);
            return Ok(());
        }
        drop(state);
        self.0.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.state.lock();
        match &mut state.mode {
            Mode::Judging(steps) => {
                steps.push(Step::Write(offset, data.to_vec()));
                Ok(())
            }
            Mode::Live => self.0.write_through(&mut state, offset, data),
            Mode::Sealed => Err(IoKind::PermissionDenied.into()),
        }
    }
}

/// A distance within a buffer.
fn index(distance: u64) -> usize {
    usize::try_from(distance).expect("it lies within a buffer in memory")
}

/// Lays one step over bytes that were read from `offset`.
fn overlay(step: &Step, offset: u64, out: &mut [u8]) {
    let end = offset + out.len() as u64;
    match step {
        Step::Write(at, data) => {
            let (from, to) = ((*at).max(offset), (at + data.len() as u64).min(end));
            if from < to {
                let (target, source) = (index(from - offset), index(from - at));
                let count = index(to - from);
                out[target..target + count].copy_from_slice(&data[source..source + count]);
            }
        }
        Step::SetLen(len) if *len < end => out[index(len.saturating_sub(offset))..].fill(0),
        Step::SetLen(_) | Step::Sync => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Disk, Memory};
    use super::*;

    const IDENTITY: Identity = Identity { store: [4; 16], segment: 2 };

    fn fresh() -> (Arc<dyn DiskFile>, Backend) {
        let file = Memory::default().create("segment").unwrap();
        let backend = Backend::create(Arc::clone(&file), IDENTITY, Arc::default()).unwrap();
        (file, backend)
    }

    #[test]
    fn redb_sees_its_own_length_and_zeros_where_it_never_wrote() {
        let (_, backend) = fresh();
        backend.set_len(10_000_000).unwrap();
        backend.write(100, b"data").unwrap();
        assert_eq!(backend.len().unwrap(), 10_000_000);
        assert_eq!(backend.file_bytes(), PAGE_BYTES + STEP_BYTES);
        let mut out = [1; 8];
        backend.read(98, &mut out).unwrap();
        assert_eq!(&out, b"\0\0data\0\0");
        backend.read(9_000_000, &mut out).unwrap();
        assert_eq!(out, [0; 8]);
        assert!(backend.read(9_999_999, &mut out).is_err());
    }

    #[test]
    fn judging_changes_no_byte_of_the_file_and_going_live_plays_it_in_5_6() {
        let (file, backend) = fresh();
        backend.set_len(50).unwrap();
        backend.write(0, b"before").unwrap();
        let mut before = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read(0, &mut before).unwrap();

        let judge = Backend::judge(Arc::clone(&file), IDENTITY, Arc::default()).unwrap();
        judge.write(3, b"after").unwrap();
        judge.set_len(60).unwrap();
        judge.sync_data().unwrap();
        let mut out = [0; 8];
        judge.read(0, &mut out).unwrap();
        assert_eq!(&out, b"befafter");
        let mut after = vec![0; before.len()];
        file.read(0, &mut after).unwrap();
        assert!(before == after && file.len().unwrap() == before.len() as u64);

        judge.go_live().unwrap();
        let again = Backend::judge(file, IDENTITY, Arc::default()).unwrap();
        again.read(0, &mut out).unwrap();
        assert_eq!((&out, again.len().unwrap()), (b"befafter", 60));
    }

    #[test]
    fn a_torn_write_of_the_page_leaves_the_length_before_it_5_7() {
        let (file, backend) = fresh();
        backend.set_len(111).unwrap();
        backend.set_len(222).unwrap();
        let newest = backend.0.state.lock().turn % 2 * SLOT_BYTES as u64;
        file.write(newest + 20, b"torn").unwrap();
        let again = Backend::judge(Arc::clone(&file), IDENTITY, Arc::default()).unwrap();
        assert_eq!(again.len().unwrap(), 111);
        file.write(SLOT_BYTES as u64 - newest + 20, b"torn").unwrap();
        assert!(Backend::judge(file, IDENTITY, Arc::default()).is_err());
    }

    #[test]
    fn a_segment_of_another_store_is_refused_5_6() {
        let (file, _) = fresh();
        let other = Identity { store: [5; 16], ..IDENTITY };
        let error = Backend::judge(file, other, Arc::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotAStore(_)));
    }

    #[test]
    fn a_sealed_file_takes_no_writes_and_holds_no_spare_space() {
        let (_, backend) = fresh();
        backend.set_len(5000).unwrap();
        backend.write(0, b"x").unwrap();
        backend.seal().unwrap();
        assert!(backend.write(0, b"y").is_err() && backend.set_len(9).is_err());
        assert_eq!(backend.file_bytes(), PAGE_BYTES + 5000);
    }
}
