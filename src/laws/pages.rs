//! The pages of a segment file, and the checksums that guard them, made good again after a change.
//!
//! Law: nothing here trusts a byte, and walking a file that contradicts itself ends. What is known of the layout: a page
//! of ours with two slots (`ledger::page`), then the database: a header with two commit slots; each with the root of a
//! catalogue of tables and one of system tables; each catalogue a B-tree from names to definitions with the root of a
//! table; each page guarded by an XXH3-128 of its used part that stands beside the page's number in its parent.
//!
//! ```text
//! header: magic 9 | flags u8 | .. | page size u32 at 12 | region header pages u32 | region pages u32 | .. 64
//! slot:   version u8 | user root? u8 | system root? u8 | .. 8 | user root 32 | system root 32 | .. 112 | checksum 16
//! root:   page number u64 | checksum 16 | length u64
//! number: index 20 bits | region 20 bits | .. | order 5 bits
//! leaf:   1 u8 | 0 | pairs u16 | key ends u32.. (unless fixed) | value ends u32.. (unless fixed) | keys | values
//! branch: 2 u8 | 0 | keys u16 | .. 8 | checksums 16.. (keys + 1) | numbers u64.. | key ends u32.. (unless fixed) | keys
//! table:  kind u8 | length u64 | root? u8 | root 32 | fixed key? u8 | u32 | fixed value? u8 | u32 | ..
//! ```

use std::ops::Range;

use crate::record::{u16_at, u32_at, u64_at};

/// Bytes of our page; the database begins behind it.
pub(super) const OURS: usize = 4096;
const PAGE: usize = 4096;
/// Where the commit slots stand in the database's header.
pub(super) const SLOTS: [usize; 2] = [64, 192];
const SLOT_CHECKSUM: usize = 112;
const ROOT: usize = 32;
/// Pages that are walked at most.
const PAGES_MAX: usize = 2000;
const DEPTH_MAX: usize = 24;

/// A page that belongs to a tree.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its number, as its parent has it.
    pub(super) number: u64,
    /// Where its used bytes stand in the file.
    pub(super) used: Range<usize>,
    /// The values of a leaf of the log, with their rows.
    pub(super) values: Vec<(u64, Range<usize>)>,
}

/// How a tree's pages are laid out, and whether its values are definitions of tables.
#[derive(Clone, Copy)]
struct Shape {
    key: Option<usize>,
    value: Option<usize>,
    catalogue: bool,
}

/// A segment file's bytes, being walked.
pub(super) struct Pages<'a> {
    bytes: &'a mut [u8],
    repair: bool,
    found: Vec<Found>,
}

impl<'a> Pages<'a> {
    /// All pages of both commits.
    pub(super) fn of(bytes: &'a mut [u8]) -> Vec<Found> {
        Self::walk(bytes, false)
    }

    /// Makes all checksums good: of our page, of every page that can be walked to, of both commit slots.
    pub(super) fn repair(bytes: &'a mut [u8]) {
        for slot in [0, 512] {
            if let Some(own) = bytes.get_mut(slot..slot + 64).filter(|own| own.starts_with(b"oncekey\n")) {
                let checksum = blake3::hash(&own[..56]);
                own[56..].copy_from_slice(&checksum.as_bytes()[..8]);
            }
        }
        Self::walk(bytes, true);
    }

    fn walk(bytes: &'a mut [u8], repair: bool) -> Vec<Found> {
        let mut pages = Self { bytes, repair, found: Vec::new() };
        for slot in SLOTS {
            let at = OURS + slot;
            if pages.bytes.len() < at + 128 {
                break;
            }
            for (flag, root) in [(1, 8), (2, 8 + ROOT)] {
                if pages.bytes[at + flag] != 0 {
                    let shape = Shape { key: None, value: None, catalogue: true };
                    pages.tree(at + root, shape, 0);
                }
            }
            if repair {
                let checksum = checksum(&pages.bytes[at..at + SLOT_CHECKSUM]);
                pages.bytes[at + SLOT_CHECKSUM..at + 128].copy_from_slice(&checksum);
            }
        }
        pages.found
    }

    /// Walks the tree whose root (number, checksum) stands at `root` in the file.
    fn tree(&mut self, root: usize, shape: Shape, depth: usize) {
        self.page(root, root + 8, shape, depth);
    }

    /// Walks the page whose number and checksum stand there.
    fn page(&mut self, number_at: usize, checksum_at: usize, shape: Shape, depth: usize) {
        if depth > DEPTH_MAX || self.found.len() >= PAGES_MAX {
            return;
        }
        let number = u64_at(self.bytes, number_at);
        let Some(page) = self.place(number) else { return };
        let end = match self.bytes[page.start] {
            1 => self.leaf(&page, number, shape, depth),
            2 => self.branch(&page, number, shape, depth),
            _ => None,
        };
        if let Some(end) = end.filter(|_| self.repair) {
            let checksum = checksum(&self.bytes[page.start..end]);
            self.bytes[checksum_at..checksum_at + 16].copy_from_slice(&checksum);
        }
    }

    /// Where a page stands in the file.
    fn place(&self, number: u64) -> Option<Range<usize>> {
        let header = u32_at(self.bytes, OURS + 16) as usize;
        let region = (u32_at(self.bytes, OURS + 20) as usize).checked_add(header)?.checked_mul(PAGE)?;
        let order = number >> 59;
        let length = PAGE.checked_shl(u32::try_from(order).ok()?)?;
        let index = usize::try_from(number & (0x000f_ffff_u64 >> order)).ok()?;
        let before = usize::try_from(number >> 20 & 0x000f_ffff).ok()?.checked_mul(region)?;
        let start = OURS + PAGE + header.checked_mul(PAGE)?;
        let start = start.checked_add(before)?.checked_add(index.checked_mul(length)?)?;
        let end = start.checked_add(length)?;
        (length >= PAGE && end <= self.bytes.len()).then_some(start..end)
    }

    /// Where the part of a page ends that begins `from` its head: an end that stands there as a number.
    fn end(&self, page: &Range<usize>, at: usize) -> Option<usize> {
        let word = page.start.checked_add(at).filter(|at| at + 4 <= page.end)?;
        page.start.checked_add(u32_at(self.bytes, word) as usize).filter(|end| *end <= page.end)
    }

    fn leaf(&mut self, page: &Range<usize>, number: u64, shape: Shape, depth: usize) -> Option<usize> {
        let pairs = usize::from(u16_at(self.bytes, page.start + 2));
        let key_ends = 4;
        let value_ends = key_ends + if shape.key.is_none() { 4 * pairs } else { 0 };
        let keys = value_ends + if shape.value.is_none() { 4 * pairs } else { 0 };
        let key_end = |own: &Self, nth: usize| match shape.key {
            Some(width) => Some(page.start + keys + width * (nth + 1)).filter(|end| *end <= page.end),
            None => own.end(page, key_ends + 4 * nth),
        };
        let values = key_end(self, pairs.checked_sub(1)?)?;
        let value_end = |own: &Self, nth: usize| match shape.value {
            Some(width) => Some(values + width * (nth + 1)).filter(|end| *end <= page.end),
            None => own.end(page, value_ends + 4 * nth),
        };
        let end = value_end(self, pairs - 1)?;
        let mut ranges = Vec::new();
        let mut begin = values;
        for nth in 0..pairs {
            let Some(end) = value_end(self, nth).filter(|end| *end >= begin) else { break };
            let row = if shape.key == Some(8) { u64_at(self.bytes, page.start + keys + 8 * nth) } else { 0 };
            ranges.push((row, begin..end));
            begin = end;
        }
        let rows = if shape.key == Some(8) && shape.value.is_none() { ranges.clone() } else { Vec::new() };
        self.found.push(Found { number, used: page.start..end, values: rows });
        for (_, range) in ranges.into_iter().filter(|(_, range)| shape.catalogue && range.len() >= 52) {
            self.table(range.start, depth);
        }
        Some(end)
    }

    /// Walks the table whose definition stands there.
    fn table(&mut self, at: usize, depth: usize) {
        let fixed = |own: &Self, flag: usize| {
            (own.bytes[flag] != 0).then(|| (u32_at(own.bytes, flag + 1) as usize).min(PAGE))
        };
        if self.bytes[at + 9] != 0 {
            let (key, value) = (fixed(self, at + 42), fixed(self, at + 47));
            self.tree(at + 10, Shape { key, value, catalogue: false }, depth + 1);
        }
    }

    fn branch(&mut self, page: &Range<usize>, number: u64, shape: Shape, depth: usize) -> Option<usize> {
        let keys = usize::from(u16_at(self.bytes, page.start + 2));
        let numbers = 8 + 16 * (keys + 1);
        let behind = numbers + 8 * (keys + 1);
        let end = match shape.key {
            Some(width) => page.start + behind + width * keys,
            None => self.end(page, behind + 4 * keys.checked_sub(1)?)?,
        };
        if keys == 0 || end > page.end || page.start + behind > page.end {
            return None;
        }
        self.found.push(Found { number, used: page.start..end, values: Vec::new() });
        for nth in 0..=keys {
            let (number, checksum) = (page.start + numbers + 8 * nth, page.start + 8 + 16 * nth);
            self.page(number, checksum, shape, depth + 1);
        }
        Some(end)
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    twox_hash::XxHash3_128::oneshot(bytes).to_le_bytes()
}
