//! The reserved rows of the table, below all blocks.
//!
//! Law: blocks stand under their numbers, rising without a gap from the floor on. The floor is written with every
//! removal, in its transaction: so missing blocks are noticed, and no number is used twice even where no block is left.
//! Nothing stands above the blocks: where a key is the highest of its table redb begins a new leaf and leaves the full
//! one alone; anywhere else it divides that, and each commit would write it once more.
//!
//! ```text
//! row 0: the identity, as the file of that name in a directory store
//! row 1: the floor: checksum u64 | first block u64 | time u64
//! row 2: the first block there ever was, and so on
//! ```

use std::ops::Range;

use crate::record::{HashKeys, u64_at};
use crate::time::Timestamp;

pub(super) const IDENTITY: u64 = 0;
pub(super) const FLOOR: u64 = 1;
/// Where blocks may stand: a location has 48 bits for a block's number.
pub(super) const BLOCKS: Range<u64> = 2..1 << 48;

/// Where the blocks begin, and when that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) first: u64,
    pub(super) time: Timestamp,
}

impl Floor {
    pub(super) fn encode(self, keys: &HashKeys) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..].copy_from_slice(&self.time.as_millis().to_le_bytes());
        let checksum = keys.checksum(FLOOR, &[&bytes[8..]]);
        bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` where the bytes do not pass their checksum.
    pub(super) fn decode(bytes: &[u8], keys: &HashKeys) -> Option<Self> {
        let sound = bytes.len() == 24 && u64_at(bytes, 0) == keys.checksum(FLOOR, &[&bytes[8..]]);
        sound.then(|| Self { first: u64_at(bytes, 8), time: Timestamp::from_millis(u64_at(bytes, 16)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_comes_back_and_damage_is_seen_5_9() {
        let keys = HashKeys::derive(&[3; 32]);
        let floor = Floor { first: 7, time: Timestamp::from_millis(9) };
        let mut bytes = floor.encode(&keys);
        assert_eq!(Floor::decode(&bytes, &keys), Some(floor));
        assert_eq!(Floor::decode(&bytes, &HashKeys::derive(&[4; 32])), None);
        bytes[10] ^= 1;
        assert_eq!(Floor::decode(&bytes, &keys), None);
        assert_eq!(Floor::decode(&bytes[..23], &keys), None);
    }
}
