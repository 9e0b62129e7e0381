//! Which bytes of a segment file lie ready, and which of them redb has taken (contract 5.10).
//!
//! Law: pure. redb places a page anywhere within the length that it believes in (*logical*); when it finds no place
//! it doubles that length, and it may take a page near the new end long before those in between. So room is not
//! what lies ready behind the farthest byte written: it is what redb has never taken below the farthest length that
//! it can grow to while every byte of it lies ready. What redb gives back and takes again counts as taken all the
//! time, so there is never less room than is said.
//!
//! Deliberately absent: databases of more than one region of redb's (4 GiB), which grow by whole regions. There
//! the room said to be ready may fall short by one growth.

/// redb's page.
pub(super) const PAGE_BYTES: u64 = 4096;
/// What redb's growth falls short of twice the length, at most.
const SHORT_BYTES: u64 = 2 * PAGE_BYTES;

/// The bytes of one segment file behind our page.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// The length that redb believes in.
    pub(super) logical: u64,
    /// How far the file's bytes are written, redb's or zeros.
    pub(super) ready: u64,
    /// Pages that redb has written, a bit each.
    taken: Vec<u64>,
    /// How many they are.
    pages: u64,
    /// The largest room of one completion: redb grows by at least twice that.
    largest: u64,
}

impl Extent {
    /// A file that was read: nobody knows which of its bytes redb has taken, so all of them.
    pub(super) fn of_file(logical: u64, ready: u64) -> Self {
        let mut extent = Self { logical, ready, ..Self::default() };
        extent.take(0, ready.min(logical));
        extent
    }

    /// redb writes `len` bytes at `offset`.
    pub(super) fn take(&mut self, offset: u64, len: u64) {
        self.touch(offset, len);
        self.ready = self.ready.max(offset + len);
    }

    /// redb wanted to, and that failed: something of it may stand there.
    pub(super) fn touch(&mut self, offset: u64, len: u64) {
        for page in offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES) {
            let (word, bit) = (word(page), 1 << (page % 64));
            if self.taken.len() <= word {
                self.taken.resize(word + 1, 0);
            }
            self.pages += u64::from(self.taken[word] & bit == 0);
            self.taken[word] |= bit;
        }
    }

    /// redb takes another length. What is cut is as never taken; it still lies ready if it reads as zeros, which the
    /// caller sees to. Gives the end of what redb had taken.
    pub(super) fn resize(&mut self, logical: u64) -> u64 {
        let taken_end =
            self.taken.iter().rposition(|own| *own != 0).map_or(0, |at| {
                (at as u64 * 64 + 64 - u64::from(self.taken[at].leading_zeros())) * PAGE_BYTES
            });
        if logical < self.logical {
            let last = logical.div_ceil(PAGE_BYTES);
            self.taken.truncate(word(last) + 1);
            if let Some(own) = self.taken.get_mut(word(last)) {
                *own &= (1 << (last % 64)) - 1;
            }
            self.pages = self.taken.iter().map(|own| u64::from(own.count_ones())).sum();
        }
        self.logical = logical;
        taken_end
    }

    /// Bytes that redb has taken.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.pages * PAGE_BYTES
    }

    /// A completion may need this much in one piece.
    pub(super) fn expect(&mut self, piece: u64) {
        self.largest = self.largest.max(piece);
    }

    /// Room for redb without another byte of the disk.
    pub(super) fn room(&self) -> u64 {
        let mut reach = if self.ready < self.logical { 0 } else { self.logical };
        while reach > 0 && self.grown(reach) <= self.ready {
            reach = self.grown(reach) - SHORT_BYTES;
        }
        reach.saturating_sub(self.taken_bytes())
    }

    /// How far bytes have to lie ready for this much room.
    pub(super) fn target(&self, room: u64) -> u64 {
        let wanted = self.taken_bytes().saturating_add(room);
        if self.logical == 0 {
            return wanted;
        }
        let (mut reach, mut target) = (self.logical, self.logical);
        while reach < wanted {
            target = self.grown(reach);
            reach = target - SHORT_BYTES;
        }
        target
    }

    /// How far bytes should lie ready by now, so that the next growth is paid for little by little: nothing of it
    /// while redb has taken half of what it has, all of it at three quarters. None at all where redb has its last
    /// length, see [`Extent::last_length`].
    pub(super) fn ahead(&self, end: u64) -> u64 {
        if self.logical >= self.last_length(end) {
            return self.logical;
        }
        let wanted = (4 * self.taken_bytes()).saturating_sub(self.logical);
        wanted.min(self.grown(self.logical)).max(self.logical)
    }

    /// The length with which a file shall end of which about `end` bytes are written: the last one on redb's way that
    /// is not an eighth longer, so that a file is never grown to twice what it will hold.
    pub(super) fn last_length(&self, end: u64) -> u64 {
        let most = end.saturating_add(end / 8);
        let mut length = self.logical.max(PAGE_BYTES);
        while length < most && self.grown(length) <= most {
            length = self.grown(length);
        }
        length
    }

    /// The farthest that redb grows to in one step from this length.
    fn grown(&self, length: u64) -> u64 {
        let more = length.max(2 * self.largest).max(2 * SHORT_BYTES);
        length.saturating_add(more)
    }
}

fn word(page: u64) -> usize {
    index(page / 64)
}

/// A number of bytes within a buffer, or of pages within a file.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).expect("memory has more bytes than a buffer, and than a file has pages")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(logical: u64, ready: u64) -> Extent {
        Extent { logical, ready, ..Extent::default() }
    }

    #[test]
    fn a_page_taken_far_out_leaves_the_room_in_between_5_10() {
        let mut extent = extent(MIB, MIB);
        extent.take(0, MIB / 4);
        extent.take(MIB - 4096, 4096);
        assert_eq!(extent.room(), MIB - MIB / 4 - 4096);
        extent.take(MIB - 4096, 4096);
        extent.take(100, 1);
        assert_eq!(extent.taken_bytes(), MIB / 4 + 4096, "a page is taken once");
    }

    #[test]
    fn only_a_whole_growth_that_lies_ready_is_room_5_10() {
        let mut extent = extent(MIB, 2 * MIB - 1);
        assert_eq!(extent.room(), MIB);
        extent.ready += 1;
        assert_eq!(extent.room(), 2 * MIB - SHORT_BYTES);
        extent.expect(MIB);
        assert_eq!(extent.room(), MIB, "a large piece makes redb grow farther");
        extent.ready = 3 * MIB;
        assert_eq!(extent.room(), 3 * MIB - SHORT_BYTES);
        extent.ready = MIB - 1;
        assert_eq!(extent.room(), 0, "redb may place the next page in what does not lie ready");
        assert_eq!(self::extent(MIB, MIB - 1).room(), 0);
    }

    #[test]
    fn no_more_is_made_ready_than_is_wanted_and_redb_grows_by_16_kib_at_least_5_10() {
        assert_eq!(extent(MIB, MIB).target(MIB), MIB);
        assert_eq!(extent(PAGE_BYTES, 0).target(PAGE_BYTES + 1), PAGE_BYTES + (16 << 10));
    }

    #[test]
    fn what_is_made_ready_up_to_the_target_gives_the_room_5_10() {
        for (logical, taken, wanted, piece) in [
            (73_728, 40_960, 270_336, 8192),
            (MIB, MIB / 2, MIB / 4, 0),
            (MIB, MIB, 10 * MIB, MIB),
            (64 * MIB, 63 * MIB, 2 * MIB, 16 * MIB),
        ] {
            let mut extent = extent(logical, logical);
            extent.take(0, taken);
            extent.expect(piece);
            extent.ready = extent.target(wanted);
            assert!(extent.room() >= wanted, "{extent:?}");
            assert!(extent.ready >= logical);
        }
    }

    #[test]
    fn what_is_cut_is_as_never_taken() {
        let mut extent = Extent::of_file(MIB, 2 * MIB);
        assert_eq!((extent.taken_bytes(), extent.room()), (MIB, MIB - SHORT_BYTES));
        assert_eq!(extent.resize(MIB / 2 + 4096), MIB);
        assert_eq!((extent.taken_bytes(), extent.ready), (MIB / 2 + 4096, 2 * MIB));
        extent.ready = 4 * MIB;
        assert_eq!(extent.resize(4 * MIB), MIB / 2 + 4096);
        assert_eq!(extent.room(), 4 * MIB - MIB / 2 - 4096);
    }

    #[test]
    fn the_next_growth_is_paid_for_between_one_half_and_three_quarters() {
        let mut extent = extent(4 * MIB, 4 * MIB);
        extent.take(0, 2 * MIB);
        assert_eq!(extent.ahead(u64::MAX), 4 * MIB);
        extent.take(0, 5 * MIB / 2);
        assert_eq!(extent.ahead(u64::MAX), 6 * MIB);
        extent.take(0, 3 * MIB);
        assert_eq!(extent.ahead(u64::MAX), 8 * MIB);
        extent.take(0, 4 * MIB);
        assert_eq!(extent.ahead(8 * MIB), 8 * MIB);
        assert_eq!(extent.ahead(7 * MIB), 4 * MIB, "the file ends before it has to grow");
    }

    #[test]
    fn a_file_ends_with_a_length_that_redb_comes_by_and_that_it_fills() {
        let last = |logical, end| extent(logical, logical).last_length(end);
        assert_eq!(last(64 << 10, 64 * MIB), 64 * MIB);
        assert_eq!(last(192 << 10, 64 * MIB), 48 * MIB);
        assert_eq!(last(9 * MIB, 64 * MIB), 72 * MIB);
        assert_eq!(last(100 * MIB, 64 * MIB), 100 * MIB, "it is longer already");
    }
}
