//! The place of a record in the log.

/// The place of a record in the log: the block's number, and at which of its bytes the record begins. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location(u64);

impl Location {
    const OFFSET_BITS: u32 = 16;
    pub(crate) const fn new(block: u64, offset: u16) -> Self {
        Self(block << Self::OFFSET_BITS | offset as u64)
    }

    pub(crate) const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) const fn block(self) -> u64 {
        self.0 >> Self::OFFSET_BITS
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are wanted")]
    pub(crate) const fn offset(self) -> u16 {
        self.0 as u16
    }
}
