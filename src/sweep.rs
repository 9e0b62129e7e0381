//! Removing what has expired, and packing what is sparse (*TTL compaction*).
//!
//! Law: bounded steps. Between two steps no lock is held, so callers never wait for a sweep longer than for one
//! small commit. A record leaves the index at its own expiry; its bytes go with its segment: unlinked when
//! nothing in it is known any more, or when it has become sparse and the rest was carried forward. A note that
//! forgets is carried as long as the segment that it speaks of is there. Nothing unexpired is ever dropped
//! (contract 8.3).

use crate::error::Result;
use crate::ledger::{Catalogue, Entry, Hint, House, Ledger, Log, Meaning, Room, Segment};
#[cfg(feature = "redb-transactions")]
use crate::ledger::{Sweeping, Tidied};
use crate::record::{Forgotten, Location, Record};
use crate::time::Timestamp;

/// Hints looked at in one step.
const STEP_HINTS: usize = 1500;
/// Records carried forward in one step.
const STEP_CARRIED: usize = 256;
/// A segment is sparse when what is known in it weighs less than this share of what was known when it was sealed, in
/// 1/100.
const SPARSE_PERCENT: u64 = 25;
/// Or when it fills so little of a large file, in 1/100: most of it was dead when it was sealed. Far below what a file of
/// records that were just carried is filled by, so that none is carried again and again.
const HOLLOW_PERCENT: u64 = 6;
const LARGE_BYTES: u64 = 1 << 20;
/// What a record takes beside its weight: head, checksum, fingerprints.
const RECORD_BYTES: u64 = 128;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Expired records that left the index.
    pub records: u64,
    /// Records carried forward out of sparse segments, or from the low end of a table in the caller's database.
    pub carried: u64,
    /// Segment files removed.
    pub segments: u64,
    /// Bytes of disk that they gave back, or of blocks that left a table in the caller's database.
    pub bytes: u64,
}

/// Sweeps all there is to sweep now. `pause` is called between two steps; where it says `false` the sweep ends early.
/// Without `wait` it ends, too, where it would have to wait for a caller who writes (contract 6.4).
#[cfg_attr(not(feature = "redb-transactions"), expect(unused_variables, reason = "no caller writes here"))]
pub(crate) fn sweep(
    house: &House,
    catalogue: &dyn Catalogue,
    now: Timestamp,
    pause: &dyn Fn() -> bool,
    wait: bool,
) -> Result<Swept> {
    match house {
        House::Files(ledger) => Sweep { ledger, catalogue, now, pause }.run(),
        #[cfg(feature = "redb-transactions")]
        House::Guest(guest) => {
            let sweeping = Sweeping { guest, catalogue, now, pause, wait, done: Tidied::default() };
            let Tidied { records, carried, bytes } = sweeping.run()?;
            Ok(Swept { records, carried, segments: 0, bytes })
        }
    }
}

/// One sweep of segments, from step to step.
struct Sweep<'a> {
    ledger: &'a Ledger,
    catalogue: &'a dyn Catalogue,
    now: Timestamp,
    pause: &'a dyn Fn() -> bool,
}

/// What is still known in a segment.
#[derive(Default)]
struct Known {
    records: Vec<Hint>,
    notes: Vec<Hint>,
    /// What they weigh, and what all did that were known when it was sealed.
    bytes: u64,
    held: u64,
    first_expiry: Option<Timestamp>,
}

impl Known {
    /// Whether the rest is to be carried forward, out of a file of this size.
    fn is_sparse(&self, file: u64) -> bool {
        let hollow = file > LARGE_BYTES && self.bytes * 100 < file * HOLLOW_PERCENT;
        self.records.is_empty() || self.bytes * 100 < self.held * SPARSE_PERCENT || hollow
    }
}

impl Sweep<'_> {
    /// Does all there is to do now.
    fn run(&self) -> Result<Swept> {
        let mut swept = Swept::default();
        self.sweep_active(&mut swept);
        self.ledger.rotate_if_old(&mut self.ledger.log(), self.now);
        while self.ledger.seal_one(self.now)? {
            if !(self.pause)() {
                return Ok(swept);
            }
        }
        let segments = self.ledger.segments();
        for segment in segments.iter().filter(|segment| segment.is_sealed() && segment.is_due(self.now)) {
            if !(self.pause)() || !self.sweep_sealed(segment, &mut swept)? {
                break;
            }
        }
        Ok(swept)
    }

    /// Removes what has expired in the segment that is being written; begins a new one if no record is left in it,
    /// so that its file can go.
    fn sweep_active(&self, swept: &mut Swept) {
        let (mut at, mut records, mut known) = (0, 0_u64, 0_u64);
        loop {
            let mut log = self.ledger.log();
            let hints = log.hints_from(at, STEP_HINTS);
            if hints.is_empty() {
                if records > 0 && known == 0 {
                    self.ledger.rotate_or_go_on(&mut log, self.now);
                }
                return;
            }
            drop(log);
            at += hints.len();
            for hint in hints.iter().filter(|hint| !hint.is_forgotten()) {
                records += 1;
                known += u64::from(!self.expire(hint, swept) && self.is_known(hint));
            }
            if !(self.pause)() {
                return;
            }
        }
    }

    /// Goes through a sealed segment; `false` if the sweep shall end.
    fn sweep_sealed(&self, segment: &Segment, swept: &mut Swept) -> Result<bool> {
        let mut known = Known::default();
        let Some(chunks) = segment.chunks() else { return Ok(true) };
        for chunk in 0..chunks {
            // A chunk that does not read: the segment stays until the operator restores it (contract 5.9).
            let Ok(hints) = segment.hints(chunk) else { return Ok(true) };
            for hint in hints {
                self.look(hint, &mut known, swept);
            }
            if !(self.pause)() {
                return Ok(false);
            }
        }
        if known.is_sparse(segment.backend().file_bytes()) {
            // Block by block, and not by fingerprint as hints lie.
            known.records.sort_unstable_by_key(|hint| hint.at);
            let all = self.carry(&known.records, swept)? && self.carry_notes(&known.notes)?;
            if all {
                return self.drop_segment(segment, swept).map(|()| true);
            }
        }
        segment.look_again_at(known.first_expiry.unwrap_or(Timestamp::MAX));
        Ok(true)
    }

    fn look(&self, hint: Hint, known: &mut Known, swept: &mut Swept) {
        if hint.is_forgotten() {
            if self.ledger.is_kept(hint.at) {
                known.notes.push(hint);
            }
            return;
        }
        let weighs = u64::from(hint.weight.bytes) + RECORD_BYTES;
        known.held += weighs;
        if !self.expire(&hint, swept) && self.is_known(&hint) {
            known.bytes += weighs;
            known.first_expiry =
                Some(known.first_expiry.map_or(hint.expires, |first| first.min(hint.expires)));
            known.records.push(hint);
        }
    }

    /// Removes a record from the index if it has expired; whether it had.
    fn expire(&self, hint: &Hint, swept: &mut Swept) -> bool {
        let expired = hint.expires <= self.now;
        if expired && self.catalogue.remove(hint.hash, hint.at, hint.weight) {
            swept.records += 1;
        }
        expired
    }

    fn is_known(&self, hint: &Hint) -> bool {
        self.catalogue.holds(hint.hash, hint.at)
    }

    /// Appends records again, at the log's end; `false` if one does not read and so has to stay where it is, or if the
    /// disk has no room for them beside what was promised (contract 5.10).
    fn carry(&self, hints: &[Hint], swept: &mut Swept) -> Result<bool> {
        for group in hints.chunks(STEP_CARRIED) {
            let room = group.iter().map(|hint| Room::of_completion(u64::from(hint.weight.bytes))).sum();
            let Ok(_aside) = self.ledger.set_aside(room) else { return Ok(false) };
            let mut log = self.ledger.log();
            let mut entries = Vec::with_capacity(group.len());
            let mut known = Vec::with_capacity(group.len());
            for hint in group.iter().filter(|hint| self.is_known(hint)) {
                let Ok(Some(bytes)) = self.ledger.read(hint.at, |record: Record<'_>| record.bytes().to_vec())
                else {
                    return Ok(false);
                };
                let meaning = Meaning::Kept(hint.what, hint.weight);
                entries.push(Entry { hash: hint.hash, bytes: bytes.into(), expires: hint.expires, meaning });
                known.push(hint);
            }
            let places = self.append(&mut log, &entries)?;
            for (hint, place) in known.into_iter().zip(places) {
                self.catalogue.carry(hint.hash, hint.at, place);
                swept.carried += 1;
            }
            drop(log);
            if !(self.pause)() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn carry_notes(&self, hints: &[Hint]) -> Result<bool> {
        for group in hints.chunks(STEP_CARRIED) {
            let again = |hint: &Hint| {
                Entry::forgotten(Forgotten {
                    time: self.now,
                    target: hint.at,
                    hash: hint.hash,
                    weight: hint.weight,
                })
            };
            let entries: Vec<Entry<'_>> = group.iter().map(again).collect();
            let room = group.iter().map(|_| Room::of_completion(0)).sum();
            let Ok(_aside) = self.ledger.set_aside(room) else { return Ok(false) };
            self.append(&mut self.ledger.log(), &entries)?;
        }
        Ok(true)
    }

    fn append(&self, log: &mut Log, entries: &[Entry<'_>]) -> Result<Vec<Location>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.ledger.rotate_if_full(log, self.now);
        self.ledger.append(log, self.now, entries, true)
    }

    fn drop_segment(&self, segment: &Segment, swept: &mut Swept) -> Result<()> {
        let bytes = segment.backend().file_bytes();
        self.ledger.drop_segment(&mut self.ledger.log(), self.now, segment)?;
        swept.segments += 1;
        swept.bytes += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::What;
    use crate::record::Weight;

    /// What is known in a segment that holds a record.
    fn known(bytes: u64, held: u64) -> Known {
        let (expires, weight) = (Timestamp::MAX, Weight::default());
        let hint = Hint { what: What::Kept, hash: 1, at: Location::new(1, 64), expires, weight };
        Known { records: vec![hint], bytes, held, ..Known::default() }
    }

    #[test]
    fn a_segment_is_sparse_below_its_shares_and_not_at_them_8_3() {
        assert!(known(24, 100).is_sparse(0) && !known(25, 100).is_sparse(0), "of what it held");
        let file = 50 << 20;
        let share = file * HOLLOW_PERCENT / 100;
        assert!(
            known(share - 1, share).is_sparse(file) && !known(share, share).is_sparse(file),
            "of its file"
        );
        assert!(
            known(1, 1).is_sparse(LARGE_BYTES + 1) && !known(1, 1).is_sparse(LARGE_BYTES),
            "if that is large"
        );
        assert!(Known { records: Vec::new(), ..known(100, 100) }.is_sparse(0), "there is nothing left in it");
    }
}
