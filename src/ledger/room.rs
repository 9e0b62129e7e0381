//! Disk room for what was promised (contract 5.10).
//!
//! Law: `reserved` is what live reservations may still write, `ready` what lies written ahead in the active
//! segment. A reservation is given only while `reserved` fits into `ready` with a margin for redb's own pages;
//! so what was admitted can complete, and a full disk refuses the next operation before it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::CachePadded;

/// Kept free for redb's tree and bookkeeping pages, in bytes.
pub(crate) const MARGIN_BYTES: u64 = 256 << 10;

/// The page of a block that records share, in bytes.
const COMMON_BYTES: u64 = 64 << 10;

/// What redb adds to a value in its page, at most.
const REDB_BYTES: u64 = 256;

/// Most bytes of a value that fits into a common page.
#[expect(clippy::cast_possible_truncation, reason = "under 64 KiB")]
pub(super) const COMMON_VALUE_BYTES: usize = (COMMON_BYTES - REDB_BYTES) as usize;

/// The page in which redb puts a value of so many bytes, alone.
pub(super) fn page_of(bytes: usize) -> u64 {
    (bytes as u64 + REDB_BYTES).next_power_of_two().max(4096)
}

/// Most bytes of a value that a page of so many bytes holds alone.
pub(super) fn value_of(page: u64) -> usize {
    usize::try_from(page.saturating_sub(REDB_BYTES)).unwrap_or(usize::MAX)
}

/// Room that is set aside for as long as this is held.
#[must_use = "it is given back at once if it is not held"]
pub(crate) struct Aside<'a> {
    pub(super) room: &'a Room,
    pub(super) bytes: u64,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

/// Room in the active segment.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Apart from what is read beside it, since whoever asks changes it.
    reserved: CachePadded<AtomicU64>,
    ready: AtomicU64,
    /// The largest room of one completion so far.
    largest: AtomicU64,
}

impl Room {
    /// What a completion of this many bytes may take: its record, in a page of a power of two as redb allocates
    /// them; twice that where it does not fit a common block, since redb aligns a page to its own size.
    pub(crate) fn of_completion(outcome_bytes: u64) -> u64 {
        let page = (outcome_bytes + 1024).next_power_of_two();
        if page > COMMON_BYTES { 2 * page } else { page }
    }

    /// Reserves; gives the new sum if it needs more than lies ready.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), u64> {
        let reserved = self.reserved.fetch_add(bytes, Ordering::AcqRel) + bytes;
        // One that is larger than all before asks for more than its sum: redb grows farther for it.
        if bytes > self.largest() && self.largest.fetch_max(bytes, Ordering::AcqRel) < bytes {
            return Err(reserved);
        }
        if reserved + MARGIN_BYTES <= self.ready.load(Ordering::Acquire) { Ok(()) } else { Err(reserved) }
    }

    /// Gives back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn largest(&self) -> u64 {
        self.largest.load(Ordering::Acquire)
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Whether any lies ready: never once the ledger has stopped.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) > 0
    }

    pub(crate) fn set_ready(&self, ready: u64) {
        self.ready.store(ready, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_takes_its_page_and_twice_that_where_it_stands_alone_5_10() {
        let common = 64 << 10;
        assert_eq!([0, common - 1024].map(Room::of_completion), [1024, common]);
        assert_eq!(Room::of_completion(common - 1023), 4 * common);
        assert_eq!([0, 4096 - 256, 4096 - 255].map(page_of), [4096, 4096, 8192]);
        assert_eq!(
            [COMMON_VALUE_BYTES, COMMON_VALUE_BYTES + 1].map(page_of),
            [COMMON_BYTES, 2 * COMMON_BYTES]
        );
    }

    #[test]
    fn none_is_ready_until_it_is_said_and_once_the_ledger_has_stopped_5_5() {
        let room = Room::default();
        let ready = [0, 1, 0].map(|bytes| {
            room.set_ready(bytes);
            room.is_ready()
        });
        assert_eq!(ready, [false, true, false]);
    }

    #[test]
    fn room_is_given_only_while_it_lies_ready_5_10() {
        let room = Room::default();
        room.set_ready(MARGIN_BYTES + 100);
        assert_eq!(room.reserve(60), Err(60), "the first is larger than all before");
        assert_eq!(room.largest(), 60);
        room.give_back(60);
        assert_eq!(room.reserve(60), Ok(()));
        assert_eq!(room.reserve(60), Err(120));
        room.give_back(60);
        room.give_back(60);
        assert_eq!((room.reserve(40), room.reserve(60), room.reserved()), (Ok(()), Ok(()), 100));
    }
}
