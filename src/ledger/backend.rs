//! A segment file as redb sees it: space written with zeros ahead of need, and a judge's copy.
//!
//! Law: a segment file begins with a page of ours (`page`), then come redb's bytes. Syncing blocks that were written
//! before needs no journal commit of the file system, so the file grows by zeros in steps, ahead of what redb writes;
//! redb is told its own length, kept durably in that page before `set_len` answers. Where the page does not say that
//! the file was closed, it is read from the disk and not from a cache, which after a failed write may hold what the
//! disk does not. How much of what lies ready is the *room* of contract 5.10 says `extent`; what of it reads as zeros
//! anyway, and is not written again, says `zeros`.
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
use super::extent::{Extent, index};
use super::page::{self, Identity, Page};
use super::spots::Spots;
use super::zeros::{Zeros, said};
use crate::encryption::Wrapped;
use crate::error::{ErrorKind, Result};
use crate::sync::beneath::Mutex;

/// Zeros are written ahead in steps of this size.
const STEP_BYTES: u64 = 1 << 20;
pub(super) const ZEROS: &[u8] = &[0; 128 << 10];

/// redb's length is no further ahead of what lies ready than by one growth: to twice as much, or by twice the largest
/// value, which is no more than this. A length beyond that would have the disk filled with zeros (contract 10.4).
const GROWTH_BYTES_MAX: u64 = 2 << 30;

/// What was written to redb's bytes, counted apart.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Bytes of redb's, without the zeros that stood there already.
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
    spots: Spots,
}

#[derive(Debug)]
struct State {
    /// What lies ready of the file, and what redb has taken of it.
    extent: Extent,
    zeros: Zeros,
    page: Page,
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
    /// The length, and the end of what was taken of the file until then.
    SetLen(u64, u64),
    Sync,
}

impl Written {
    pub(super) fn add_zeros(&self, bytes: u64) {
        self.zeros.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Backend {
    /// Begins a new segment file, in one that is empty or holds nothing but zeros; `key` is kept in its page.
    pub(crate) fn create(
        file: Arc<dyn DiskFile>,
        identity: Identity,
        written: Arc<Written>,
        key: Option<Wrapped>,
    ) -> io::Result<Self> {
        let ready = file.len()?.saturating_sub(page::BYTES);
        let (extent, zeros) = (Extent::of_file(0, ready), Zeros::of_file(ready));
        let state = State { extent, zeros, page: Page::with(key), mode: Mode::Live };
        let backend = Self::of(file, identity, written, state);
        backend.0.file.write(0, &ZEROS[..index(page::BYTES)])?;
        backend.0.write_page(&mut backend.0.state.lock())?;
        Ok(backend)
    }

    /// Takes up a segment file, to judge it: nothing is written until [`Backend::go_live`].
    pub(crate) fn judge(file: Arc<dyn DiskFile>, identity: Identity, written: Arc<Written>) -> Result<Self> {
        let page = Page::read(&*file, identity)?;
        let failed = |error: io::Error| ErrorKind::Io { operation: "reading a segment", kind: error.kind() };
        if !page.closed {
            // A cache may hold what the disk does not, if a write failed.
            file.read_anew();
        }
        let ready = file.len().map_err(failed)?.saturating_sub(page::BYTES);
        if page.logical > ready.saturating_mul(2).saturating_add(GROWTH_BYTES_MAX) {
            return Err(ErrorKind::DamagedStore { file: format!("segment {}", identity.segment) }.into());
        }
        let (extent, zeros) = (Extent::of_file(page.logical, ready), Zeros::default());
        let state = State { extent, zeros, page, mode: Mode::Judging(Vec::new()) };
        Ok(Self::of(file, identity, written, state))
    }

    fn of(file: Arc<dyn DiskFile>, identity: Identity, written: Arc<Written>, state: State) -> Self {
        let (state, spots) = (Mutex::new(state), Spots::default());
        Self(Arc::new(Inner { file, identity, written, state, spots }))
    }

    /// Takes up the same file anew, to judge it: as if this process had died.
    pub(crate) fn judge_again(&self) -> Result<Self> {
        Self::judge(Arc::clone(&self.0.file), self.0.identity, Arc::clone(&self.0.written))
    }

    /// Plays what judging wrote into the file, in its order, and writes through from now on. If that fails, nothing
    /// more is written: what redb writes as it closes would stand on what was not.
    pub(crate) fn go_live(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let Mode::Judging(steps) = std::mem::replace(&mut state.mode, Mode::Sealed) else { return Ok(()) };
        if std::mem::take(&mut state.page.closed) {
            self.0.write_page(&mut state)?;
        }
        let mut played_end = 0;
        for step in steps {
            match step {
                Step::Write(offset, data) => {
                    self.0.write_through(&mut state, offset, &data)?;
                    played_end = played_end.max(offset + data.len() as u64);
                }
                Step::SetLen(len, taken_end) => {
                    self.0.write_page(&mut state)?;
                    self.0.clear(&mut state, len, taken_end.max(played_end))?;
                }
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

    /// Says that redb has closed the file, and gives back the space beyond redb's length.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.page.closed = true;
        state.mode = Mode::Sealed;
        self.0.trim(&mut state)?;
        self.0.write_page(&mut state)
    }

    /// Refuses writes from now on, whatever the file holds, and reads nothing beside redb any more.
    pub(crate) fn refuse_writes(&self) {
        self.0.state.lock().mode = Mode::Sealed;
        self.0.spots.close();
    }

    /// Blocks are about to be written from this number on: what may lie in the file under one of them is another's.
    pub(crate) fn begin_blocks(&self, first: u64) {
        self.0.spots.forget_from(first);
    }

    /// Bytes of `block` from `offset` on, as many as fit into `near`, and the block's length: if it is known where it lies.
    /// They are not checked, and may be anything.
    pub(crate) fn peek<'a>(
        &self,
        block: u64,
        offset: usize,
        near: &'a mut [u8],
    ) -> Option<(&'a [u8], usize)> {
        let spot = self.0.spots.of(block)?;
        let length = spot.length as usize;
        let count = length.checked_sub(offset)?.min(near.len());
        self.0.file.read(page::BYTES.checked_add(spot.offset)? + offset as u64, &mut near[..count]).ok()?;
        Some((&near[..count], length))
    }

    /// The segment's key as its page keeps it, if it is encrypted.
    pub(crate) fn key(&self) -> Option<Wrapped> {
        self.0.state.lock().page.key
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

    /// Pays a part of redb's next growth, so that it never comes all at once; `end` is where the file is to end.
    pub(crate) fn extend_ahead(&self, end: u64) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let wanted = state.extent.ahead(end);
        self.0.write_zeros(&mut state, wanted)
    }

    /// The length with which the file shall end, of which about `end` bytes are written.
    pub(crate) fn last_length(&self, end: u64) -> u64 {
        self.0.state.lock().extent.last_length(end)
    }

    /// Copies the file as it is. For sealed files: others change meanwhile.
    pub(crate) fn copy_to(&self, target: &dyn DiskFile) -> io::Result<()> {
        copy(&*self.0.file, target)
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        page::BYTES + self.0.state.lock().extent.ready
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
        if stored.is_empty() { Ok(()) } else { self.file.read(page::BYTES + offset, stored) }
    }

    fn write_through(&self, state: &mut State, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if end > state.extent.ready {
            // Ahead if there is space for it; else just as far as is needed.
            let ahead = self.write_zeros(state, end.next_multiple_of(STEP_BYTES));
            ahead.or_else(|_| self.write_zeros(state, offset))?;
        }
        let (len, written) = (data.len() as u64, self.write_said(state, offset, data, said(data)));
        let count = written.inspect_err(|_| state.extent.touch(offset, len))?;
        self.spots.note(offset, data);
        self.written.data.fetch_add(count, Ordering::Relaxed);
        state.extent.take(offset, len);
        Ok(())
    }

    /// Writes what does not stand there already of bytes of which the first `said` are followed by zeros alone; gives how
    /// many that were.
    fn write_said(&self, state: &mut State, offset: u64, data: &[u8], said: usize) -> io::Result<u64> {
        let count = state.zeros.needed(offset, data.len(), said);
        if count > 0 {
            let written = self.file.write(page::BYTES + offset, &data[..count]);
            written.inspect_err(|_| state.zeros.forget(offset, count))?;
        }
        state.zeros.note(offset, data.len(), said);
        Ok(count as u64)
    }

    fn write_zeros(&self, state: &mut State, until: u64) -> io::Result<()> {
        while state.extent.ready < until {
            state.extent.ready += self.zero(state, state.extent.ready, until)?;
        }
        Ok(())
    }

    /// Sees to zeros from `offset` on, to `until` at most; gives their number.
    fn zero(&self, state: &mut State, offset: u64, until: u64) -> io::Result<u64> {
        let count = (until - offset).min(ZEROS.len() as u64);
        let written = self.write_said(state, offset, &ZEROS[..index(count)], 0)?;
        self.written.add_zeros(written);
        Ok(count)
    }

    /// What is cut must read as zeros if it grows again. It is not given back: it may have been promised.
    fn clear(&self, state: &mut State, mut offset: u64, taken_end: u64) -> io::Result<()> {
        while offset < taken_end {
            offset += self.zero(state, offset, taken_end)?;
        }
        Ok(())
    }

    /// Keeps redb's length durably.
    fn write_page(&self, state: &mut State) -> io::Result<()> {
        state.page.logical = state.extent.logical;
        state.page.write(&*self.file, self.identity)
    }

    fn trim(&self, state: &mut State) -> io::Result<()> {
        state.zeros = Zeros::default();
        state.extent.ready = state.extent.ready.min(state.extent.logical);
        self.file.set_len(page::BYTES + state.extent.ready)
    }
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
        if !matches!(&state.mode, Mode::Judging(steps) if !steps.is_empty()) {
            drop(state);
            self.0.read_padded(offset, out, on_disk)?;
            self.0.spots.note(offset, out);
            return Ok(());
        }
        let file_end = self.0.file.len()?.saturating_sub(page::BYTES);
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
            steps.push(Step::SetLen(len, taken_end));
            state.extent.ready = state.extent.ready.min(len);
            return Ok(());
        }
        self.0.write_page(&mut state)?;
        self.0.clear(&mut state, len, taken_end)
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

/// Copies a file as it is, durably.
pub(super) fn copy(file: &dyn DiskFile, target: &dyn DiskFile) -> io::Result<()> {
    let length = file.len()?;
    let mut buffer = vec![0; ZEROS.len()];
    let mut offset = 0;
    while offset < length {
        let count = usize::try_from(length - offset).unwrap_or(usize::MAX).min(buffer.len());
        file.read(offset, &mut buffer[..count])?;
        target.write(offset, &buffer[..count])?;
        offset += count as u64;
    }
    target.sync()
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
        Step::SetLen(len, _) if *len < end => out[index(len.saturating_sub(offset))..].fill(0),
        Step::SetLen(..) | Step::Sync => {}
    }
}

#[cfg(test)]
mod tests;
