//! Bytes as a tape of choices.
//!
//! Law: reading never fails; behind the end of the tape stand zeros. A choice takes as few bytes as it needs, so that a
//! fuzzer that changes one byte changes one choice.

/// What is left to be read.
#[derive(Clone, Debug)]
pub(super) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Up to `count` bytes, fewer at the end.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (own, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        own
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Bytes after their number, which is below `bound`.
    pub(super) fn some(&mut self, bound: u64) -> &'a [u8] {
        let count = self.below(bound);
        self.take(usize::try_from(count).unwrap())
    }

    /// A number below `bound`, of as many bytes as that has.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let (mut number, mut left) = (0_u64, bound.saturating_sub(1));
        while left > 0 {
            number = number << 8 | u64::from(self.byte());
            left >>= 8;
        }
        number % bound.max(1)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// A number that is often near a bound of something.
    pub(super) fn number(&mut self) -> u64 {
        let near = |bound: u64, by: u8| bound.wrapping_add(u64::from(by)).wrapping_sub(8);
        match self.byte() {
            choice @ 0..64 => near(1 << choice, self.byte() % 17),
            choice @ 64..128 => u64::from(choice - 64),
            128..160 => u64::MAX - u64::from(self.byte() % 8),
            160..224 => u64::from(self.u16()),
            _ => self.u64(),
        }
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_gives_its_bytes_and_then_zeros() {
        let mut tape = Tape::new(&[7, 2, 1, 9, 8, 5]);
        assert_eq!((tape.byte(), tape.below(256), tape.below(1)), (7, 2, 0));
        assert_eq!((tape.some(3), tape.below(257), tape.is_over()), (&[9][..], (8 << 8 | 5) % 257, true));
        assert_eq!((tape.u64(), tape.some(9), tape.flag()), (0, &[][..], false));
    }
}
