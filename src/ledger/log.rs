//! The log: what is written, in what order, into which segment.
//!
//! Law: whoever holds the log's lock appends, resolves what an append refers to, and publishes it, before the
//! next one does; so the index always says what the log says. The guard is an argument here, not a comment.
//! What was started and has not ended stands in the newest segment: each new one begins with copies of it. So a
//! started record in an older one says nothing any more, even when the record that ended it has expired and gone.
//! A commit that fails stops the ledger: it is never tried again, since a failed sync may leave pages that read
//! well and are not on the disk (contract 5.5).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ledger;
use super::block::{self, Item};
use super::fault::io_error;
use super::files::{give_name, segment_name, segment_name_new};
use super::hint::{Hint, What};
use super::room::{COMMON_VALUE_BYTES, MARGIN_BYTES, page_of, value_of};
use super::segment::Segment;
use crate::codec::{self, Decode, Encode};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Forgotten, Location, Record, RecordKeys, Weight};
use crate::time::Timestamp;

/// An old view is dropped after this many commits.
const VIEW_COMMITS: u64 = 16;

/// The writing end.
pub(crate) struct Log {
    pub(super) active: Arc<Segment>,
    pub(super) hints: Vec<Hint>,
    /// When the active segment got its first block.
    pub(super) since: Timestamp,
    /// The latest time that was written.
    pub(super) time: Timestamp,
    /// What was committed and not yet synced takes, in redb's pages: they are in no file yet.
    pub(super) unsynced: u64,
    pub(super) commits: u64,
    /// The active segment's bytes and last block when it was new, copies included.
    pub(super) born: (u64, u64),
}

/// One record to append.
pub(crate) struct Entry<'a> {
    pub(crate) hash: u64,
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) expires: Timestamp,
    pub(crate) meaning: Meaning,
}

/// What an entry does to the index.
#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    /// A record of a key stands there.
    Kept(What, Weight),
    Forgotten(Forgotten),
    Note,
}

/// What the ledger says of itself, in control records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Note {
    /// First in every segment, a block of its own: the segments that there are, as number, first and last block. This one is
    /// the last of them, and what it began with has no other copy any more: without that it is damaged.
    Manifest(Vec<(u64, u64, u64)>),
    /// The segment of this number is no longer needed; its file may be there or not.
    Dropped(u64),
}

impl Note {
    /// Most bytes of a note: 40,000 segments.
    pub(super) const BYTES_MAX: usize = 1 << 20;

    pub(super) fn entry(&self) -> Entry<'static> {
        let mut body = Vec::new();
        codec::encode_into(self, &mut body);
        let bytes = record::control(&body).into();
        Entry { hash: 0, bytes, expires: Timestamp::default(), meaning: Meaning::Note }
    }
}

impl Entry<'_> {
    pub(crate) fn forgotten(note: Forgotten) -> Self {
        let bytes = note.encode().into();
        Self { hash: note.hash, bytes, expires: Timestamp::default(), meaning: Meaning::Forgotten(note) }
    }
}

impl Log {
    /// Up to `count` hints of the active segment, from the given one on.
    pub(crate) fn hints_from(&self, at: usize, count: usize) -> Vec<Hint> {
        self.hints.iter().skip(at).take(count).copied().collect()
    }

    /// Room that sealing the active segment takes.
    pub(super) fn sealing_bytes(&self) -> u64 {
        sealing_bytes(self.hints.len())
    }

    /// Whether something was acknowledged that is not yet synced.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced > 0
    }
}

impl Ledger {
    /// Commits entries as one group, and gives their places in the same order.
    ///
    /// # Errors
    /// *Stopped*, where the commit failed now or before: whether the entries are on disk is then unknown.
    pub(crate) fn append(
        &self,
        log: &mut Log,
        now: Timestamp,
        entries: &[Entry<'_>],
        durable: bool,
    ) -> Result<Vec<Location>> {
        self.check_running()?;
        let now = now.max(log.time);
        let first = log.active.last() + 1;
        let (blocks, places, expires) = pack(first, now, entries, log.active.keys());
        if let Err(_fault) = log.active.append(&blocks, durable, self.maker.two_phase()) {
            log.active.fall_back();
            return Err(self.stop("commit"));
        }
        log.time = now;
        log.active.stretch(expires);
        log.hints.extend(entries.iter().zip(&places).filter_map(|(entry, at)| hint(entry, *at)));
        let pages = blocks.iter().map(|block| page_of(block.len())).sum::<u64>();
        log.unsynced = if durable { 0 } else { log.unsynced + pages.max(1) };
        log.commits += 1;
        if log.commits.is_multiple_of(VIEW_COMMITS) {
            log.active.drop_view();
        }
        self.tell_room(log);
        Ok(places)
    }

    /// Makes durable what was committed relaxed.
    pub(crate) fn sync(&self, log: &mut Log) -> Result<()> {
        self.check_running()?;
        if log.unsynced > 0 {
            if let Err(_fault) = log.active.append(&[], true, self.maker.two_phase()) {
                log.active.fall_back();
                return Err(self.stop("sync"));
            }
            log.unsynced = 0;
            self.tell_room(log);
        }
        Ok(())
    }

    /// Begins a new segment. The old one is sealed later, by [`Ledger::seal_one`]. On an error nothing has
    /// changed and the old one goes on, unless the ledger has stopped. A file left under its temporary name is none.
    pub(crate) fn rotate(&self, log: &mut Log, now: Timestamp) -> Result<()> {
        self.sync(log)?;
        let number = log.active.number + 1;
        let first = log.active.last() + 1;
        let (from, entries): (Vec<_>, Vec<_>) = self.started()?.into_iter().unzip();
        let (fresh, places) = self.successor(number, first, now, &entries).inspect_err(|_| {
            // A disk that is full wants its space back; what can't be removed now is a leftover.
            drop(self.maker.remove(&*self.disk, &segment_name_new(number)));
        })?;
        let fresh = Arc::new(fresh);
        if give_name(&*self.disk, &fresh).is_err() {
            // It may be found at the next opening, so the old one must not grow beyond what it says of it.
            return Err(self.stop("rotation"));
        }
        let old = std::mem::replace(&mut log.active, Arc::clone(&fresh));
        self.tell_room(log);
        self.segments.write().push(fresh);
        let copies = entries.iter().zip(&places).filter_map(|(entry, at)| hint(entry, *at)).collect();
        for ((entry, from), to) in entries.iter().zip(from).zip(places) {
            self.catalogue.carry(entry.hash, from, to);
        }
        // Last: from here on it may be sealed, with the hints of what is still known to stand there.
        self.unsealed.lock().push((old, std::mem::replace(&mut log.hints, copies)));
        (log.since, log.time) = (now, now);
        log.born = (log.active.backend().used_bytes(), log.active.last());
        Ok(())
    }

    /// A new segment that begins with these records, with room for what is reserved, still under its temporary name.
    fn successor(
        &self,
        number: u64,
        first: u64,
        now: Timestamp,
        carried: &[Entry<'_>],
    ) -> Result<(Segment, Vec<Location>)> {
        let listed = self.segments.read().iter().map(|own| (own.number, own.first, own.last())).collect();
        let spare = self.take_spare(number);
        let made = self.maker.create(&*self.disk, number, first, now, listed, carried, spare)?;
        let wanted = self.room.reserved() + MARGIN_BYTES + sealing_bytes(carried.len());
        let extended = made.0.backend().extend_room(wanted, self.room.largest());
        extended.map_err(io_error("making room in a new segment")).map(|()| made)
    }

    /// Copies of the records that were started and have not ended, and where they stand.
    pub(super) fn started(&self) -> Result<Vec<(Location, Entry<'static>)>> {
        let copy = |record: Record<'_>| Entry {
            hash: self.keys().fingerprint(record.key()),
            bytes: record.bytes().to_vec().into(),
            expires: record.expires(),
            meaning: Meaning::Kept(What::Started, record.weight(self.keys())),
        };
        let read = |at| self.read_sound(at, copy).map(|entry| entry.map(|entry| (at, entry)));
        self.catalogue.started().into_iter().filter_map(|at| read(at).transpose()).collect()
    }

    /// Rotates if that is possible now; if not, the active segment just grows on.
    pub(crate) fn rotate_or_go_on(&self, log: &mut Log, now: Timestamp) {
        if self.rotate(log, now).is_err() {
            self.failed_rotations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Rotates if the active segment is full. Before a commit and never after it: what that holds has to be published
    /// first, so that the copies are those that count. Started records stand elsewhere then.
    pub(crate) fn rotate_if_full(&self, log: &mut Log, now: Timestamp) {
        self.rotate_if_used(log, now, self.segment_bytes_max);
    }

    /// Rotates if so many bytes of the active segment are used, and most of them not by what it was born with.
    pub(super) fn rotate_if_used(&self, log: &mut Log, now: Timestamp, limit: u64) {
        let (limit, now) = (limit.max(2 * log.born.0), now.max(log.time));
        if log.active.backend().used_bytes() >= limit && self.check_running().is_ok() {
            self.rotate_or_go_on(log, now);
        }
    }

    /// Rotates if the active segment holds something and is old enough.
    pub(crate) fn rotate_if_old(&self, log: &mut Log, now: Timestamp) {
        let grown = log.active.last() > log.born.1;
        if grown && !log.hints.is_empty() && now.since(log.since) >= self.segment_age_max {
            self.rotate_or_go_on(log, now);
        }
    }

    /// Seals one segment that is no longer written. Whether there was one.
    pub(crate) fn seal_one(&self, now: Timestamp) -> Result<bool> {
        let Some((segment, hints)) = self.unsealed.lock().pop() else { return Ok(false) };
        let known = |hint: &Hint| {
            if hint.is_forgotten() { self.is_kept(hint.at) } else { self.catalogue.holds(hint.hash, hint.at) }
        };
        let mut hints: Vec<Hint> = hints.into_iter().filter(known).collect();
        // As the index lies: opening then goes through both from end to end. Stable, as in `recovery`.
        hints.sort_by_key(|hint| hint.hash);
        let wanted = sealing_bytes(hints.len());
        if segment.backend().room() < wanted && segment.backend().extend_room(wanted, 0).is_err() {
            // A full disk: it is read as it is, and sealed when there is space.
            self.unsealed.lock().push((segment, hints));
            return Ok(false);
        }
        match segment.seal(now, &hints) {
            Ok(()) => Ok(true),
            Err(fault) => {
                self.stop("seal");
                Err(fault.in_segment(segment.number, "sealing a segment"))
            }
        }
    }

    /// Says durably that a segment is no longer needed, then removes its file.
    pub(crate) fn drop_segment(&self, log: &mut Log, now: Timestamp, segment: &Segment) -> Result<()> {
        // First: no later manifest lists it, so that the note may stand in any segment.
        self.segments.write().retain(|own| own.number != segment.number);
        self.append(log, now, &[Note::Dropped(segment.number).entry()], true)?;
        segment.close().map_err(|fault| fault.in_segment(segment.number, "closing a segment"))?;
        self.maker.remove(&*self.disk, &segment_name(segment.number))
    }

    /// Stops: nothing is written any more until the store is opened again (contract 5.5).
    pub(super) fn stop(&self, operation: &'static str) -> Error {
        let _ = self.stopped.set(operation);
        // Without room every new reservation comes by `make_room`, and is told there.
        self.room.set_ready(0);
        ErrorKind::Stopped { operation: self.stopped.get().copied().unwrap_or(operation) }.into()
    }

    pub(crate) fn check_running(&self) -> Result<()> {
        match self.stopped.get() {
            None => Ok(()),
            Some(operation) => Err(ErrorKind::Stopped { operation }.into()),
        }
    }
}

/// Room that sealing a segment of so many hints takes.
fn sealing_bytes(hints: usize) -> u64 {
    super::hint::room(hints) + MARGIN_BYTES
}

/// The blocks that entries make from block `first` on, the entries' places, and when the last of them expires.
pub(super) fn pack(
    first: u64,
    now: Timestamp,
    entries: &[Entry<'_>],
    keys: RecordKeys<'_>,
) -> (Vec<Vec<u8>>, Vec<Location>, Timestamp) {
    let (mut blocks, mut places) = (Vec::new(), Vec::with_capacity(entries.len()));
    let mut latest = Timestamp::default();
    let mut rest = entries;
    for number in first.. {
        let (own, more) = rest.split_at(fitting(rest, keys.tag_bytes()).0);
        if own.is_empty() {
            break;
        }
        let expires = own.iter().map(|entry| entry.expires).max().unwrap_or_default();
        let items: Vec<Item<'_>> =
            own.iter().map(|entry| Item { hash: entry.hash, bytes: &entry.bytes }).collect();
        blocks.push(block::encode(number, now, expires, &items, keys, &mut places));
        latest = latest.max(expires);
        rest = more;
    }
    (blocks, places, latest)
}

/// How many of the entries go into the next block, and the bytes of pages that it takes with the rest of what fits a common
/// page: all that fits, but at least one; and only what half the page holds, where that saves an eighth of it. redb's pages
/// are powers of two, and a block more costs a little, too.
fn fitting(entries: &[Entry<'_>], tag_bytes: usize) -> (usize, u64) {
    let (count, bytes) = within(COMMON_VALUE_BYTES, entries, tag_bytes);
    let page = page_of(bytes);
    let (less, own) = within(value_of(page / 2), entries, tag_bytes);
    if (1..count).contains(&less) {
        let pages = page_of(own) + fitting(&entries[less..count], tag_bytes).1;
        if pages <= page / 8 * 7 {
            return (less, pages);
        }
    }
    (count.max(1).min(entries.len()), page)
}

/// How many of the entries a block of at most so many bytes holds, and its bytes with these.
fn within(most: usize, entries: &[Entry<'_>], tag_bytes: usize) -> (usize, usize) {
    let per_record = block::overhead(1) - block::overhead(0) + tag_bytes;
    let (mut count, mut bytes) = (0, block::overhead(0));
    for entry in entries {
        let more = bytes + entry.bytes.len() + per_record;
        if more > most {
            break;
        }
        (count, bytes) = (count + 1, more);
    }
    (count, bytes)
}

fn hint(entry: &Entry<'_>, at: Location) -> Option<Hint> {
    match entry.meaning {
        Meaning::Kept(what, weight) => {
            Some(Hint { what, hash: entry.hash, at, expires: entry.expires, weight })
        }
        Meaning::Forgotten(note) => Some(Hint::of_forgotten(&note)),
        Meaning::Note => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::HashKeys;

    fn entries(sizes: &[usize]) -> Vec<Entry<'static>> {
        let (expires, meaning) = (Timestamp::default(), Meaning::Note);
        let entry = |size: &usize| Entry { hash: 0, bytes: vec![0; *size].into(), expires, meaning };
        sizes.iter().map(entry).collect()
    }

    #[test]
    fn a_block_takes_what_fits_a_common_page_and_one_record_whatever_its_size() {
        let (alone, each) =
            (COMMON_VALUE_BYTES - block::overhead(1), block::overhead(1) - block::overhead(0));
        let taken = [
            (&[][..], 0),
            (&[1], 1),
            (&[alone, 0], 1),
            (&[alone - each, 0], 2),
            (&[alone - each, 1], 1),
            (&[alone - 2 * each, 0, 0, 0], 3),
            (&[10 * COMMON_VALUE_BYTES, 1], 1),
        ];
        for (sizes, count) in taken {
            assert_eq!(fitting(&entries(sizes), 0).0, count, "{sizes:?}");
        }
        // Each becomes so much longer.
        assert_eq!(fitting(&entries(&[alone - each - 32, 0]), 16).0, 2);
        assert_eq!(fitting(&entries(&[alone - each - 31, 0]), 16).0, 1);
    }

    #[test]
    fn what_half_a_page_holds_goes_alone_where_that_saves_an_eighth() {
        let (each, empty) = (block::overhead(1) - block::overhead(0), block::overhead(0));
        // What fills a page of so many KiB alone.
        let filling = |kib: u64| value_of(kib << 10) - empty - each;
        let cut = |sizes: &[usize]| fitting(&entries(sizes), 0).0;
        let behind = [(1, 1), (filling(4), 1), (filling(8), 1), (filling(8) + 1, 2), (filling(16), 2)];
        for (behind, count) in behind {
            assert_eq!(cut(&[filling(16), behind]), count, "{behind} behind 16 KiB");
        }
        // Where whole records do not fill the half, what is left is more.
        assert_eq!(cut(&[filling(16) - 100, 101, filling(8) - 101 - each]), 1);
        assert_eq!(cut(&[filling(16) - 5000, 5001, filling(8)]), 3);
        // What does not fit half a page is not divided, nor are two of redb's smallest.
        assert_eq!(cut(&[filling(16) + 1, 1]), 2);
        assert_eq!(cut(&[1000, 1000, 1000, 1000]), 4);

        // Small records, by the pages that they fill: 15 would be four blocks for a sixteenth less.
        let kib = [4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 64];
        for (pages, kib) in (1..).zip(kib) {
            let sizes = vec![100; (pages * 4096 - 1400) / (100 + each)];
            let own = entries(&sizes);
            assert_eq!(fitting(&own, 0).1, kib << 10, "{pages} pages");
            let (blocks, places, _) =
                pack(1, Timestamp::default(), &own, (&HashKeys::derive(&[1; 32])).into());
            let taken = blocks.iter().map(|own| page_of(own.len())).sum::<u64>();
            assert_eq!((taken, places.len()), (kib << 10, sizes.len()), "{pages} pages");
        }
    }

    #[test]
    fn blocks_hold_all_entries_in_order_and_say_when_the_last_expires_5_8() {
        let keys = HashKeys::derive(&[1; 32]);
        let mut own: Vec<Entry<'_>> = (0..5_u8)
            .map(|at| Entry {
                hash: at.into(),
                bytes: record::control(&vec![at; 20_000]).into(),
                expires: Timestamp::from_millis([5, 9, 7, 1, 2][usize::from(at)]),
                meaning: Meaning::Note,
            })
            .collect();
        let (blocks, places, expires) = pack(7, Timestamp::from_millis(3), &own, (&keys).into());
        assert_eq!((blocks.len(), places.len(), expires.as_millis()), (2, 5, 9));
        let tables: Vec<_> = (7..)
            .zip(&blocks)
            .map(|(number, bytes)| block::Block::new(bytes, number, &keys).table().unwrap())
            .collect();
        let heads = tables.iter().map(|own| (own.head.number, own.head.expires.as_millis(), own.head.count));
        assert_eq!(heads.collect::<Vec<_>>(), [(7, 9, 3), (8, 2, 2)]);
        let read = tables.iter().flat_map(block::Table::entries);
        assert_eq!(read.collect::<Vec<_>>(), (0..).zip(places).collect::<Vec<_>>());
        own.clear();
        assert!(pack(7, Timestamp::default(), &own, (&keys).into()).0.is_empty());
    }
}
