//! What is remembered of the table's blocks for the sweep: a few words for every 16 of them.
//!
//! Law: a span says when one of its records expires at the earliest, and how many of its bytes are known at most. Both
//! are made exact when the sweep has looked at it; a record that was forgotten or replaced meanwhile only makes less
//! known. What a look found is taken only if no block was added since. Blocks are added at the upper end and removed at
//! the lower one.
//!
//! | span | the sweep |
//! | --- | --- |
//! | due | looks at it: expired records leave the index |
//! | the lowest, nothing known | removes it |
//! | the lowest, sparse, or in a table that is sparse as a whole | carries what is known to the upper end; then nothing is |
//! | the lowest, dense | stops there |

use std::collections::VecDeque;
use std::ops::Range;

/// Blocks of a span.
pub(super) const SPAN_BLOCKS: u64 = 16;
/// A span of which less is known than this share of its bytes is sparse, in 1/100; a table likewise.
pub(super) const SPARSE_PERCENT: u64 = 25;
/// One step of the sweep takes up so many bytes and blocks at most, or one span.
const STEP_BYTES: u64 = 1 << 20;
const STEP_BLOCKS: u64 = 4096;

/// What is remembered of 16 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// When something in it expires, or is to be looked at again, in milliseconds.
    due: u64,
    bytes: u64,
    known: u64,
}

const EMPTY: Span = Span { due: u64::MAX, bytes: 0, known: 0 };

/// What a look at a span found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) due: u64,
    pub(super) known: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { due: u64::MAX, known: 0 }
    }
}

/// What there is to do at the lower end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Low {
    /// Remove these blocks.
    Dead(Range<u64>),
    /// Carry what is known in them.
    Sparse(Range<u64>),
    Done,
}

/// All spans, from the floor to the next block.
#[derive(Debug)]
pub(super) struct Spans {
    first: u64,
    next: u64,
    all: VecDeque<Span>,
    bytes: u64,
}

impl Spans {
    pub(super) fn starting_at(first: u64) -> Self {
        Self { first, next: first, all: VecDeque::new(), bytes: 0 }
    }

    /// The number of the next block.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest block that there may be.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next block was written.
    pub(super) fn add(&mut self, bytes: u64, seen: Seen) {
        let at = self.position(self.next);
        if at == self.all.len() {
            self.all.push_back(EMPTY);
        }
        let span = &mut self.all[at];
        span.bytes += bytes;
        span.known += seen.known;
        span.due = span.due.min(seen.due);
        self.bytes += bytes;
        self.next += 1;
    }

    /// The blocks of the lowest span behind `from` that is due, and its bytes.
    pub(super) fn due(&self, from: u64, now: u64) -> Option<(Range<u64>, u64)> {
        let skipped = self.position(from.max(self.first));
        let due = self.all.iter().skip(skipped).position(|span| span.due <= now)?;
        Some((self.blocks(skipped + due), self.all[skipped + due].bytes))
    }

    /// What was found in a span that had so many bytes.
    pub(super) fn note(&mut self, blocks: &Range<u64>, bytes: u64, seen: Seen) {
        if blocks.start < self.first {
            return;
        }
        let at = self.position(blocks.start);
        if let Some(span) = self.all.get_mut(at).filter(|span| span.bytes == bytes) {
            (span.due, span.known) = (seen.due, seen.known);
        }
    }

    /// What there is to do at the lower end, below `stop`; `all` if the whole table is sparse.
    pub(super) fn low(&self, stop: u64, all: bool) -> Low {
        let dead = self.run(stop, |span| span.known == 0);
        if !dead.is_empty() {
            return Low::Dead(dead);
        }
        let is_sparse = |span: &Span| span.known * 100 < span.bytes * SPARSE_PERCENT;
        // The span that is being filled is not carried into itself.
        let full = stop.min(self.next / SPAN_BLOCKS * SPAN_BLOCKS);
        let sparse = self.run(full, |span| all || is_sparse(span));
        if sparse.is_empty() { Low::Done } else { Low::Sparse(sparse) }
    }

    /// Nothing is known any more in these lowest blocks.
    pub(super) fn emptied(&mut self, blocks: &Range<u64>) {
        let count = self.position(blocks.end.next_multiple_of(SPAN_BLOCKS)).min(self.all.len());
        for span in self.all.iter_mut().take(count) {
            (span.due, span.known) = (u64::MAX, 0);
        }
    }

    /// The blocks below were removed.
    pub(super) fn remove_below(&mut self, first: u64) {
        while self.position(first) > 0 {
            let gone = self.all.pop_front().unwrap_or(EMPTY);
            self.bytes -= gone.bytes;
            self.first = (self.first / SPAN_BLOCKS + 1) * SPAN_BLOCKS;
        }
        if let Some(own) = self.all.front_mut().filter(|_| first > self.first) {
            // Only a span of which nothing is known is removed in part: what was there of it is gone.
            self.bytes -= own.bytes;
            *own = EMPTY;
        }
        self.first = first;
    }

    /// The lowest spans that lie below `stop` and are of this kind, as far as a step goes.
    fn run(&self, stop: u64, is_one: impl Fn(&Span) -> bool) -> Range<u64> {
        let (mut end, mut bytes) = (self.first, 0);
        for (at, span) in self.all.iter().enumerate() {
            let blocks = self.blocks(at);
            bytes += span.bytes;
            let fits = end == self.first || (bytes <= STEP_BYTES && blocks.end - self.first <= STEP_BLOCKS);
            if !is_one(span) || blocks.end > stop || blocks.is_empty() || !fits {
                break;
            }
            end = blocks.end;
        }
        self.first..end
    }

    fn blocks(&self, at: usize) -> Range<u64> {
        let number = self.first / SPAN_BLOCKS + at as u64;
        let (start, end) = (number * SPAN_BLOCKS, (number + 1) * SPAN_BLOCKS);
        start.max(self.first)..end.min(self.next)
    }

    fn position(&self, block: u64) -> usize {
        let spans = block / SPAN_BLOCKS - self.first / SPAN_BLOCKS;
        usize::try_from(spans).expect("a table has fewer spans than memory has bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` blocks of 100 bytes, all known, due at their number.
    fn filled(first: u64, count: u64) -> Spans {
        let mut spans = Spans::starting_at(first);
        for number in first..first + count {
            spans.add(100, Seen { due: number, known: 100 });
        }
        spans
    }

    #[test]
    fn a_span_is_due_when_its_first_record_expires_and_not_before() {
        let mut spans = filled(1, 40);
        assert_eq!(spans.due(0, 0), None);
        assert_eq!(spans.due(0, 1), Some((1..16, 1500)));
        assert_eq!(spans.due(16, 40), Some((16..32, 1600)));
        spans.note(&(1..16), 1500, Seen { due: 90, known: 100 });
        assert_eq!(spans.due(0, 40), Some((16..32, 1600)));
        // What was looked at before another block came is looked at again.
        spans.add(100, Seen { due: 41, known: 100 });
        spans.note(&(32..41), 900, Seen::default());
        assert_eq!(spans.due(32, 40), Some((32..42, 1000)));
    }

    #[test]
    fn the_lower_end_is_removed_or_carried_and_a_dense_span_stops_it() {
        let mut spans = filled(1, 40);
        assert_eq!(spans.low(41, false), Low::Done);
        assert_eq!(spans.low(41, true), Low::Sparse(1..32), "all but the span that is being filled");
        spans.note(&(1..16), 1500, Seen { due: 90, known: 300 });
        assert_eq!(spans.low(41, false), Low::Sparse(1..16));
        spans.emptied(&(1..16));
        spans.note(&(16..32), 1600, Seen::default());
        assert_eq!(spans.low(41, false), Low::Dead(1..32));
        spans.remove_below(32);
        assert_eq!((spans.first(), spans.next(), spans.bytes()), (32, 41, 900));
        assert_eq!(spans.low(41, false), Low::Done);
        spans.note(&(32..41), 900, Seen::default());
        assert_eq!(spans.low(41, false), Low::Dead(32..41));
        spans.remove_below(41);
        assert_eq!((spans.first(), spans.next(), spans.bytes()), (41, 41, 0));
        assert_eq!(spans.low(41, true), Low::Done);
        spans.add(7, Seen { due: 3, known: 7 });
        assert_eq!((spans.due(0, 3), spans.bytes()), (Some((41..42, 7)), 7));
    }

    #[test]
    fn nothing_at_or_above_the_stop_is_touched() {
        let mut spans = filled(0, 64);
        spans.emptied(&(0..64));
        assert_eq!(spans.low(40, true), Low::Dead(0..32));
    }
}
