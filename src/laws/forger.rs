//! Changes of a store's segment files, small and large, and what guards them made good again.
//!
//! Law: one tape, one forgery. A forger without the store's keys repairs checksums that need no key: those of our page
//! and of the database's pages. One with the keys repairs those of blocks, records, hints and footers too, so that what
//! reads them meets what no writer wrote; such a forgery may say anything, and is only to do no harm.

use super::pages::{Found, OURS, Pages, SLOTS};
use super::tape::Tape;
use crate::ledger::{Disk, Paged};
use crate::record::{self, HashKeys, Location, u16_at, u32_at, u64_at};

/// Bytes of the head of a block, and of an entry of its table.
const HEAD: usize = 48;
const ENTRY: usize = 10;
/// Rows from here on are hints, and the last one is the footer.
const HINTS: u64 = 1 << 62;

/// What is made good after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    Nothing,
    Pages,
    All,
}

/// A store's files, to be changed.
pub(super) struct Forger<'a, 't> {
    pub(super) tape: &'a mut Tape<'t>,
    pub(super) repair: Repair,
    pub(super) keys: HashKeys,
}

impl Forger<'_, '_> {
    /// Changes one file of `disk`.
    pub(super) fn forge(&mut self, disk: &Paged) {
        let names: Vec<String> =
            disk.list().unwrap().into_iter().filter(|name| name.starts_with("segment")).collect();
        // Mostly the newest one, which is read in full.
        let back = [0, 0, 0, 1, 2, 3, 4, 5][usize::from(self.tape.byte()) % 8];
        let Some(name) = names.iter().rev().nth(back).or(names.last()) else { return };
        let file = disk.open(name).unwrap();
        let mut bytes = read(disk, name);
        match self.tape.byte() {
            0..4 => return disk.remove(name).unwrap(),
            4..12 => {
                let other = self.tape.pick(&names.iter().collect::<Vec<_>>());
                bytes = read(disk, other);
            }
            12..20 => {
                let length = self.tape.below(bytes.len() as u64 * 2);
                bytes.resize(usize::try_from(length).unwrap(), 0);
            }
            choice => self.change(&mut bytes, choice),
        }
        if self.repair == Repair::All {
            self.seal(&mut bytes);
        }
        if self.repair != Repair::Nothing {
            Pages::repair(&mut bytes);
        }
        file.set_len(0).unwrap();
        file.write(0, &bytes).unwrap();
    }

    /// Changes bytes in place.
    fn change(&mut self, bytes: &mut [u8], choice: u8) {
        if bytes.len() < OURS + 4096 {
            return;
        }
        let found = Pages::of(bytes);
        match choice {
            20..40 => {
                let at = [0, 512][usize::from(choice % 2)] + usize::from(self.tape.byte()) % 64;
                self.word(bytes, at);
            }
            40..60 => {
                let at = OURS + usize::from(self.tape.u16()) % 320;
                self.word(bytes, at);
            }
            // The other commit counts.
            60..66 => bytes[OURS + 9] ^= 1,
            66..72 => bytes[OURS + 9] ^= 1 << (self.tape.byte() % 8),
            72..80 => {
                let (one, other) = (OURS + SLOTS[0], OURS + SLOTS[1]);
                let own = bytes[one..one + 128].to_vec();
                if choice.is_multiple_of(2) {
                    bytes.copy_within(other..other + 128, one);
                }
                bytes[other..other + 128].copy_from_slice(&own);
            }
            _ if found.is_empty() => {}
            80..120 => self.move_pages(bytes, &found, choice),
            120..160 => self.change_value(bytes, &found),
            _ => {
                let page = self.page(&found);
                let reach = if choice < 200 { page.used.len().min(64) } else { page.used.len() };
                let at = page.used.start + usize::try_from(self.tape.below(reach as u64)).unwrap();
                self.word(bytes, at);
            }
        }
    }

    fn page(&mut self, found: &[Found]) -> Found {
        found[usize::try_from(self.tape.below(found.len() as u64)).unwrap()].clone()
    }

    /// A page in place of another, or pointed to in place of another.
    fn move_pages(&mut self, bytes: &mut [u8], found: &[Found], choice: u8) {
        let (one, other, third) = (self.page(found), self.page(found), self.page(found));
        let count = one.used.len().min(other.used.len());
        match choice % 4 {
            0 => bytes.copy_within(one.used.start..one.used.start + count, other.used.start),
            1 => bytes[one.used].fill(0),
            // Whatever points to the one points to the other.
            2 => replace(bytes, third.used, one.number, other.number),
            _ => replace(bytes, OURS + SLOTS[0]..OURS + SLOTS[1] + 128, one.number, other.number),
        }
    }

    /// A row or a value of the log.
    fn change_value(&mut self, bytes: &mut [u8], found: &[Found]) {
        let leaves: Vec<&Found> = found.iter().filter(|page| !page.values.is_empty()).collect();
        if leaves.is_empty() {
            return;
        }
        let leaf = leaves[usize::try_from(self.tape.below(leaves.len() as u64)).unwrap()];
        let pairs = u16::try_from(leaf.values.len()).unwrap();
        let nth = usize::try_from(self.tape.below(leaf.values.len() as u64)).unwrap();
        let (row, value) = leaf.values[nth].clone();
        let row_at = leaf.used.start + 4 + 4 * usize::from(pairs) + 8 * nth;
        match self.tape.byte() % 8 {
            // Fewer pairs than there are.
            0 => bytes[leaf.used.start + 2..leaf.used.start + 4].copy_from_slice(&(pairs - 1).to_le_bytes()),
            1 => {
                let other = [row.wrapping_add(1), row.wrapping_sub(1), u64::MAX, HINTS, self.tape.u64()];
                bytes[row_at..row_at + 8].copy_from_slice(&self.tape.pick(&other).to_le_bytes());
            }
            2 => {
                let (_, other) = leaf.values[usize::try_from(self.tape.below(pairs.into())).unwrap()].clone();
                let count = value.len().min(other.len());
                bytes.copy_within(other.start..other.start + count, value.start);
            }
            3 if !value.is_empty() => {
                let at = value.start + usize::try_from(self.tape.below(value.len() as u64)).unwrap();
                bytes[at..value.end].fill(0);
            }
            // Where the two tables, the first record and the lengths stand.
            choice => {
                let reach = if choice < 6 { value.len().min(200) } else { value.len() };
                let at = usize::try_from(self.tape.below(reach as u64)).unwrap();
                let at = if choice == 5 { value.end - at.min(value.len()) } else { value.start + at };
                self.word(bytes, at);
            }
        }
    }

    /// Changes one to eight bytes.
    fn word(&mut self, bytes: &mut [u8], at: usize) {
        let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= 8) else { return };
        match self.tape.byte() % 8 {
            0..3 => rest[0] ^= 1 << (self.tape.byte() % 8),
            3 => rest[0] = self.tape.byte(),
            4 => rest[0] = rest[0].wrapping_add(1),
            5 => {
                let word = [0, u32::MAX, 1 << 31, 4096, self.tape.u32()];
                rest[..4].copy_from_slice(&self.tape.pick(&word).to_le_bytes());
            }
            _ => rest[..8].copy_from_slice(&self.tape.number().to_le_bytes()),
        }
    }

    /// Makes good what the store's keys guard.
    fn seal(&self, bytes: &mut [u8]) {
        for (row, range) in Pages::of(bytes).into_iter().flat_map(|page| page.values) {
            let value = &mut bytes[range];
            if row >= HINTS {
                if let Some((checksum, body)) = value.split_at_mut_checked(8) {
                    checksum.copy_from_slice(&self.keys.checksum(row, &[body]).to_le_bytes());
                }
            } else if value.len() >= 2 * HEAD {
                self.seal_block(row, value);
            }
        }
    }

    fn seal_block(&self, number: u64, value: &mut [u8]) {
        let entries = |value: &[u8], head: usize| {
            (u32_at(value, head + 32) as usize).min((value.len() - 2 * HEAD) / ENTRY)
        };
        for nth in 0..entries(value, 0) {
            let offset = u16_at(value, HEAD + nth * ENTRY + 8);
            let begin = usize::from(offset);
            let Some(length) = value.get(begin..begin + 4).map(|own| u32_at(own, 0) as usize) else {
                continue;
            };
            if length >= record::PREFIX_BYTES && begin + length <= value.len() {
                let at = Location::new(number, offset);
                record::seal(&mut value[begin..begin + length], at, &self.keys);
            }
        }
        let last = value.len() - HEAD;
        for (head, copy) in [(0, 0), (last, 1)] {
            let count = entries(value, head) * ENTRY;
            let Some(table) = (if copy == 0 { Some(HEAD) } else { head.checked_sub(count) }) else {
                continue;
            };
            let fields = &value[head..head + HEAD - 8];
            let checksum = self.keys.checksum(number, &[fields, &value[table..table + count]]);
            value[head + HEAD - 8..head + HEAD].copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

/// Replaces a word wherever it stands in a range.
fn replace(bytes: &mut [u8], range: std::ops::Range<usize>, from: u64, to: u64) {
    for at in range.clone().filter(|at| at + 8 <= range.end) {
        if u64_at(bytes, at) == from {
            bytes[at..at + 8].copy_from_slice(&to.to_le_bytes());
        }
    }
}

/// All bytes of a file.
pub(super) fn read(disk: &Paged, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut bytes).unwrap();
    bytes
}
