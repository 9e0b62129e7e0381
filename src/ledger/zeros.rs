//! Which bytes of a segment file are known to read as zeros, so that no zeros are written over zeros.
//!
//! Law: pure. redb hands over whole pages, of a power of two, and leaves zeros behind what it has to say: a third of what
//! 64 records take, and nearly all of its own small pages. Of each 4 KiB is known where zeros begin that reach to its end;
//! what was not seen being written is not known, and is written. So the file reads byte for byte as if all had been written.
//! Where only zeros stood, the 4 KiB in which the said bytes end are written whole: a part of them could have the system
//! read the rest from the disk first.

use super::extent::{PAGE_BYTES, index};

const UNKNOWN: u16 = 4096;

/// Where zeros begin, page by page; two bytes for each 4 KiB of the file.
#[derive(Debug, Default)]
pub(super) struct Zeros {
    begin: Vec<u16>,
}

impl Zeros {
    /// A file whose first `len` bytes are zeros.
    pub(super) fn of_file(len: u64) -> Self {
        Self { begin: vec![0; index(len / PAGE_BYTES)] }
    }

    /// How many of the first of `len` bytes are to be written at `offset` for all of them to be read there, if the first
    /// `said` of them are followed by zeros alone.
    pub(super) fn needed(&self, offset: u64, len: usize, said: usize) -> usize {
        let (end, said) = (offset + len as u64, offset + said as u64);
        let mut page = end.div_ceil(PAGE_BYTES);
        while page * PAGE_BYTES > said {
            page -= 1;
            let other = page * PAGE_BYTES + u64::from(self.begin(page));
            if other > said.max(page * PAGE_BYTES) {
                return index(other.min(end) - offset);
            }
        }
        let was_zeros = said > offset && self.begin(said / PAGE_BYTES) == 0;
        let until = if was_zeros { said.next_multiple_of(PAGE_BYTES).min(end) } else { said };
        index(until - offset)
    }

    /// They are read at `offset` from now on.
    pub(super) fn note(&mut self, offset: u64, len: usize, said: usize) {
        let (end, said) = (offset + len as u64, offset + said as u64);
        for page in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let within = |at: u64| at.saturating_sub(page * PAGE_BYTES).min(PAGE_BYTES);
            let (from, to) = (within(offset), within(end));
            let before = u64::from(self.begin(page));
            if before <= to {
                let begin = if within(said) > from { within(said) } else { before.min(from) };
                self.set(page, u16::try_from(begin).expect("it lies within a page"));
            }
        }
    }

    /// What stands in these bytes is not known any more.
    pub(super) fn forget(&mut self, offset: u64, len: usize) {
        for page in offset / PAGE_BYTES..(offset + len as u64).div_ceil(PAGE_BYTES) {
            self.set(page, UNKNOWN);
        }
    }

    fn begin(&self, page: u64) -> u16 {
        self.begin.get(index(page)).copied().unwrap_or(UNKNOWN)
    }

    fn set(&mut self, page: u64, begin: u16) {
        let place = index(page);
        if place >= self.begin.len() {
            self.begin.resize(place + 1, UNKNOWN);
        }
        self.begin[place] = begin;
    }
}

/// How many of the first bytes of `data` are not the zeros at its end.
pub(super) fn said(data: &[u8]) -> usize {
    const PAGE: [u8; 4096] = [0; 4096];
    let mut said = data;
    while let Some((before, page)) = said.split_last_chunk::<4096>()
        && *page == PAGE
    {
        said = before;
    }
    while let Some((before, line)) = said.split_last_chunk::<64>()
        && *line == [0; 64]
    {
        said = before;
    }
    said.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fewer bytes are written than come, and the file reads as if all were.
    #[derive(Default)]
    struct File {
        zeros: Zeros,
        bytes: Vec<u8>,
    }

    impl File {
        fn write(&mut self, offset: usize, data: &[u8]) -> usize {
            let (at, said) = (offset as u64, said(data));
            let count = self.zeros.needed(at, data.len(), said);
            self.bytes[offset..offset + count].copy_from_slice(&data[..count]);
            self.zeros.note(at, data.len(), said);
            count
        }
    }

    fn page(said: usize) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[..said].fill(7);
        page
    }

    #[test]
    fn zeros_are_not_written_over_zeros_and_are_over_all_else() {
        let mut file = File { zeros: Zeros::of_file(3 * 4096), bytes: vec![0; 3 * 4096] };
        assert_eq!(file.write(0, &page(100)), 4096, "the first time the 4 KiB are written whole");
        assert_eq!(file.write(0, &page(50)), 100, "what stood there goes");
        assert_eq!(file.write(0, &page(50)), 50);
        assert_eq!(file.write(0, &page(0)), 50);
        assert_eq!(file.write(0, &page(0)), 0);
        let whole = [page(4096), page(0), page(1)].concat();
        assert_eq!(file.write(0, &whole), 3 * 4096);
        assert_eq!(file.write(4096, &[page(0), page(0)].concat()), 4097);
        assert_eq!(file.write(0, &[page(10), page(0), page(0)].concat()), 4096);
        assert_eq!(file.write(4096, &page(4096)[..10]), 10, "no further than it comes");
        assert_eq!(file.write(4096, &page(0)[..20]), 10);
        assert!(file.bytes == [page(10), page(0), page(0)].concat());
        assert_eq!(file.write(8200, &page(0)[..100]), 0, "zeros alone, within a page");
        assert_eq!(file.write(20, &page(0)[..100]), 0);
        assert_eq!(file.write(0, &page(0)), 10, "they began before");
    }

    #[test]
    fn what_nobody_saw_is_written() {
        let mut file = File { zeros: Zeros::default(), bytes: vec![9; 3 * 4096] };
        assert_eq!(file.write(4096, &page(3)), 4096);
        assert_eq!(file.write(4096, &page(3)), 3);
        assert_eq!(
            file.write(0, &page(3)[..4000]),
            4000,
            "a part of a page does not say where its zeros begin"
        );
        assert_eq!(file.write(0, &page(3)[..4000]), 4000);
        file.write(8192, &page(3));
        file.zeros.forget(4095, 2);
        assert_eq!([0, 4096, 8192].map(|offset| file.write(offset, &page(3))), [4096, 4096, 3]);
    }

    #[test]
    fn what_is_said_ends_with_the_last_byte_that_is_no_zero() {
        for end in [0, 1, 63, 64, 65, 4095, 4096, 4097, 10_000] {
            for behind in [0, 1, 63, 64, 4096, 9000] {
                let mut data = vec![0; end + behind];
                if let Some(last) = end.checked_sub(1) {
                    (data[last / 2], data[last]) = (1, 1);
                }
                assert_eq!(said(&data), end, "{behind}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_file_reads_as_if_all_had_been_written_and_nothing_else_is_touched(
            known in 0_u64..40_000,
            writes in proptest::collection::vec(
                (0_usize..30_000, 0_usize..10_000, 0_usize..10_000, any::<bool>(), proptest::option::weighted(0.2, 0_usize..10_000)),
                1..40,
            ),
        ) {
            let mut bytes = vec![9; 40_000];
            bytes[..index(known)].fill(0);
            let (mut model, mut file) = (bytes.clone(), File { zeros: Zeros::of_file(known), bytes });
            for (nth, (offset, len, zeros, aligned, fails_at)) in (1_u8..).zip(writes) {
                let offset = if aligned { offset / 4096 * 4096 } else { offset };
                let mut data = vec![nth; len];
                data[len.saturating_sub(zeros)..].fill(0);
                if let Some(written) = fails_at {
                    // Half of it was written, and nobody says how much: it is as it is.
                    let count = file.zeros.needed(offset as u64, len, said(&data));
                    file.bytes[offset..][..written.min(count)].copy_from_slice(&data[..written.min(count)]);
                    file.zeros.forget(offset as u64, count);
                    model.clone_from(&file.bytes);
                } else {
                    model[offset..offset + len].copy_from_slice(&data);
                    file.write(offset, &data);
                }
                prop_assert!(file.bytes == model);
            }
        }
    }
}
