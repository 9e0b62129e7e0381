//! Sweeping the table: expired records leave the index, their blocks leave from the low end.
//!
//! Law: bounded steps, each at most one small write transaction, and between two of them no lock is held. What is carried
//! stands at its new place, and the index says so, before its old place is removed; so a reader never finds nothing
//! where something is kept. Blocks go only from the low end, so a note that forgets never outlives what it speaks of, and
//! an earlier record of a key never outlives the later one. Where the table as a whole is sparse the low end is
//! carried on even if it is dense there: so one long-lived record holds up nothing, and the table stays within a
//! few times of what is kept. A sweep that is not to wait ends where it would have to (contract 6.4).

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::super::Catalogue;
use super::super::block::Block;
use super::super::fault::{Fault, barrier};
use super::super::hint::What;
use super::super::log::{Entry, Meaning};
use super::floor::Floor;
use super::spans::{Low, SPARSE_PERCENT, Seen};
use super::{Guest, TABLE_NUMBER, Tail, look_at};
use crate::error::Result;
use crate::record::{Kind, Location, Opened, Unreadable, Weight};
use crate::sync::MutexGuard;
use crate::time::Timestamp;

/// A table smaller than this is not sparse as a whole, in bytes.
const TABLE_BYTES_MIN: u64 = 1 << 20;
/// What a record takes beside its weight, in bytes: its head, and its share of a block.
const RECORD_BYTES: u64 = 160;

/// What a sweep of a table did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tidied {
    pub(crate) records: u64,
    pub(crate) carried: u64,
    pub(crate) bytes: u64,
}

/// One sweep of a table.
pub(crate) struct Sweeping<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) catalogue: &'a dyn Catalogue,
    pub(crate) now: Timestamp,
    /// Called between two steps; `false` ends the sweep early.
    pub(crate) pause: &'a dyn Fn() -> bool,
    /// Whether it waits for others who write.
    pub(crate) wait: bool,
    pub(crate) done: Tidied,
}

/// A record in a block, still known.
struct Found {
    hash: u64,
    at: Location,
    what: What,
    expires: Timestamp,
    weight: Weight,
    /// `None` where it does not read.
    bytes: Option<Vec<u8>>,
}

impl Sweeping<'_> {
    /// Does all there is to do now.
    pub(crate) fn run(mut self) -> Result<Tidied> {
        if self.expire()? {
            self.sweep_low_end()?;
        }
        Ok(self.done)
    }

    fn turn(&self) -> Option<MutexGuard<'_, Tail>> {
        if self.wait { Some(self.guest.tail.lock()) } else { self.guest.tail.try_lock() }
    }

    /// Removes what has expired from the index; `false` if the sweep shall end.
    fn expire(&mut self) -> Result<bool> {
        let mut from = 0;
        loop {
            let Some(tail) = self.turn() else { return Ok(false) };
            let Some((blocks, bytes)) = tail.spans.due(from, self.now.as_millis()) else { return Ok(true) };
            drop(tail);
            let mut seen = Seen::default();
            for found in self.known_in(&blocks)? {
                seen.known += found.bytes.as_ref().map_or(1, |bytes| bytes.len() as u64);
                seen.due = seen.due.min(look_at(found.what, found.expires, self.now));
            }
            let Some(mut tail) = self.turn() else { return Ok(false) };
            tail.spans.note(&blocks, bytes, seen);
            drop(tail);
            from = blocks.end;
            if !(self.pause)() {
                return Ok(false);
            }
        }
    }

    fn sweep_low_end(&mut self) -> Result<()> {
        let Some(stop) = self.turn().map(|tail| tail.spans.next()) else { return Ok(()) };
        while self.step(stop)? && (self.pause)() {}
        Ok(())
    }

    /// One step at the low end, below `stop`; `false` where there is nothing more to do.
    fn step(&mut self, stop: u64) -> Result<bool> {
        let guest = self.guest;
        let turn = if self.wait { Some(guest.tail.lock()) } else { guest.tail.try_lock() };
        let Some(mut tail) = turn else { return Ok(false) };
        guest.check_running()?;
        match tail.spans.low(stop, self.is_sparse(&tail)) {
            Low::Done => Ok(false),
            Low::Dead(blocks) => self.remove(&mut tail, &blocks),
            Low::Sparse(blocks) => self.carry(&mut tail, &blocks),
        }
    }

    fn is_sparse(&self, tail: &Tail) -> bool {
        let (records, bytes) = self.catalogue.kept();
        let kept = bytes.saturating_add(records.saturating_mul(RECORD_BYTES));
        let table = tail.spans.bytes();
        table >= TABLE_BYTES_MIN && kept.saturating_mul(100) < table * SPARSE_PERCENT
    }

    /// Removes the lowest blocks, in which nothing is known.
    fn remove(&mut self, tail: &mut Tail, blocks: &Range<u64>) -> Result<bool> {
        let guest = self.guest;
        let floor = Floor { first: blocks.end, time: self.now.max(tail.time) };
        let before = guest.low.swap(blocks.end, Ordering::AcqRel);
        let removed = barrier(|| {
            let Some(transaction) = guest.begin(true, self.wait)? else { return Ok(false) };
            guest.remove(&transaction, blocks, floor)?;
            Ok(transaction.commit().map(|()| true)?)
        });
        match removed {
            Ok(true) => {}
            Ok(false) => {
                guest.low.store(before, Ordering::Release);
                return Ok(false);
            }
            Err(_) => return Err(guest.stop("commit")),
        }
        let bytes = tail.spans.bytes();
        tail.spans.remove_below(blocks.end);
        (tail.time, tail.unsynced) = (floor.time, false);
        self.done.bytes += bytes - tail.spans.bytes();
        guest.bytes.store(tail.spans.bytes(), Ordering::Relaxed);
        Ok(true)
    }

    /// Appends what is known in the lowest blocks again, at the upper end; they are removed by the next step.
    fn carry(&mut self, tail: &mut Tail, blocks: &Range<u64>) -> Result<bool> {
        let found = self.known_in(blocks)?;
        let mut entries = Vec::with_capacity(found.len());
        for own in &found {
            // One that does not read stays where it is, and so do all above it (contract 5.9).
            let Some(bytes) = &own.bytes else { return Ok(false) };
            let meaning = Meaning::Kept(own.what, own.weight);
            entries.push(Entry { hash: own.hash, bytes: bytes.into(), expires: own.expires, meaning });
        }
        if !entries.is_empty() {
            let appended = self.guest.append_within(tail, self.now, &entries, true, self.wait)?;
            let Some(places) = appended else { return Ok(false) };
            for (own, place) in found.iter().zip(places) {
                self.catalogue.carry(own.hash, own.at, place);
                self.done.carried += 1;
            }
        }
        tail.spans.emptied(blocks);
        Ok(true)
    }

    /// What is still known in these blocks. What has expired leaves the index on the way.
    fn known_in(&mut self, blocks: &Range<u64>) -> Result<Vec<Found>> {
        let guest = self.guest;
        let read = barrier(|| {
            let (rows, mut all) = (guest.place.read()?, Vec::new());
            for row in rows.range(blocks.clone())? {
                let (number, bytes) = row?;
                read_block(Block::new(bytes.value(), number.value(), &guest.keys), guest, &mut all)?;
            }
            Ok(all)
        });
        let mut all: Vec<Found> = read.map_err(|fault| fault.in_segment(TABLE_NUMBER, "sweeping"))?;
        all.retain(|own| self.is_known(own));
        Ok(all)
    }

    fn is_known(&mut self, own: &Found) -> bool {
        if own.expires <= self.now {
            self.done.records += u64::from(self.catalogue.remove(own.hash, own.at, own.weight));
            return false;
        }
        // What stands for a block whose fingerprints do not read is never removed.
        own.at.offset() == BLIND || self.catalogue.holds(own.hash, own.at)
    }
}

/// Stands for all records of a block that does not read: none begins at its last byte.
const BLIND: u16 = u16::MAX;

fn read_block(block: Block<'_>, guest: &Guest, all: &mut Vec<Found>) -> Result<(), Fault> {
    let Some(table) = block.table() else {
        let at = Location::new(block.number(), BLIND);
        let (what, expires, weight) = (What::Kept, Timestamp::MAX, Weight::default());
        all.push(Found { hash: 0, at, what, expires, weight, bytes: None });
        return Ok(());
    };
    for (hash, at) in table.entries() {
        let opened = block.record(at);
        let (kind, expires, weight, bytes) = match opened.as_ref().map(Opened::record) {
            Ok(record) if matches!(record.kind(), Kind::Forgotten | Kind::Control) => continue,
            Ok(record) => {
                let bytes = Some(record.bytes().to_vec());
                (record.kind(), record.expires(), record.weight(&guest.keys), bytes)
            }
            Err(Unreadable::Newer) => return Err(Fault::Newer),
            Err(Unreadable::Damaged) => (Kind::Finished, table.head.expires, Weight::default(), None),
        };
        let what = if kind == Kind::Started { What::Started } else { What::Kept };
        all.push(Found { hash, at, what, expires, weight, bytes });
    }
    Ok(())
}
