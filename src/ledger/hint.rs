//! A hint: what opening has to know of a record, without reading it.
//!
//! Law: a sealed segment carries the hints of all its records that were still known when it was sealed, in
//! chunks with a checksum each and by rising fingerprint, so that opening reads hints and not records, and fills
//! the index from end to end. What a segment says of *forgotten* records of older segments stands among them.

use super::room::{COMMON_VALUE_BYTES, page_of};
use crate::record::{Forgotten, HashKeys, Location, Weight, u32_at, u64_at};
use crate::time::Timestamp;

const BYTES: usize = 1 + 8 + 8 + 8 + 8 + 4;
const CHECKSUM_BYTES: usize = 8;
/// Hints in one chunk: as many as fit a common page.
pub(crate) const CHUNK: usize = (COMMON_VALUE_BYTES - CHECKSUM_BYTES) / BYTES;

/// Disk room that the hints of so many records take in a segment, in bytes.
pub(crate) fn room(records: usize) -> u64 {
    let chunk = page_of(CHECKSUM_BYTES + CHUNK * BYTES);
    (records as u64).div_ceil(CHUNK as u64) * chunk
}

/// What opening has to know of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) what: What,
    pub(crate) hash: u64,
    pub(crate) at: Location,
    pub(crate) expires: Timestamp,
    pub(crate) weight: Weight,
}

/// What a hint says of the place `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A finished or released record stands there.
    Kept,
    /// A started record stands there.
    Started,
    /// What stands there is forgotten.
    Forgotten,
}

impl What {
    const fn code(self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Forgotten => 1,
            Self::Started => 2,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Kept),
            1 => Some(Self::Forgotten),
            2 => Some(Self::Started),
            _ => None,
        }
    }
}

impl Hint {
    /// Whether this says that `at` is forgotten, and not that a record stands there.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.what == What::Forgotten
    }

    /// The hint of a note that forgets.
    pub(crate) fn of_forgotten(note: &Forgotten) -> Self {
        Self {
            what: What::Forgotten,
            hash: note.hash,
            at: note.target,
            expires: Timestamp::default(),
            weight: note.weight,
        }
    }
}

/// A chunk's bytes: checksum, then hints.
pub(crate) fn encode(place: u64, hints: &[Hint], keys: &HashKeys) -> Vec<u8> {
    let mut bytes = vec![0; CHECKSUM_BYTES];
    for hint in hints {
        bytes.push(hint.what.code());
        for word in [hint.hash, hint.at.as_u64(), hint.expires.as_millis(), hint.weight.scope] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&hint.weight.bytes.to_le_bytes());
    }
    let checksum = keys.checksum(place, &[&bytes[CHECKSUM_BYTES..]]);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The hints of a chunk; `None` where it does not pass its checksum.
pub(crate) fn decode(place: u64, bytes: &[u8], keys: &HashKeys) -> Option<Vec<Hint>> {
    let (checksum, body) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    let sound = body.len() % BYTES == 0 && u64_at(checksum, 0) == keys.checksum(place, &[body]);
    if !sound {
        return None;
    }
    let mut hints = Vec::with_capacity(body.len() / BYTES);
    for own in body.chunks_exact(BYTES) {
        hints.push(Hint {
            what: What::of(own[0])?,
            hash: u64_at(own, 1),
            at: Location::from_u64(u64_at(own, 9)),
            expires: Timestamp::from_millis(u64_at(own, 17)),
            weight: Weight { scope: u64_at(own, 25), bytes: u32_at(own, 33) },
        });
    }
    Some(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_a_common_page_for_each_chunk_5_10() {
        assert_eq!([0, 1, CHUNK, CHUNK + 1].map(room), [0, 64 << 10, 64 << 10, 128 << 10]);
        let bytes = |hints| CHECKSUM_BYTES + hints * BYTES;
        assert!((bytes(CHUNK)..bytes(CHUNK + 1)).contains(&COMMON_VALUE_BYTES), "as many as fit it");
    }

    #[test]
    fn hints_come_back_and_damage_is_seen_5_9() {
        let keys = HashKeys::derive(&[2; 32]);
        let hint = |hash| Hint {
            what: if hash == 2 { What::Forgotten } else { What::Started },
            hash,
            at: Location::new(3, 4),
            expires: Timestamp::from_millis(5),
            weight: Weight { scope: 6, bytes: 7 },
        };
        let hints = [hint(1), hint(2)];
        let mut bytes = encode(11, &hints, &keys);
        assert_eq!(decode(11, &bytes, &keys).as_deref(), Some(&hints[..]));
        assert_eq!(decode(12, &bytes, &keys), None);
        bytes[20] ^= 1;
        assert_eq!(decode(11, &bytes, &keys), None);
        assert_eq!(decode(11, &[1, 2], &keys), None);
    }

    #[test]
    fn a_hint_that_means_nothing_to_this_version_makes_its_chunk_unreadable_5_9() {
        let keys = HashKeys::derive(&[2; 32]);
        let (hash, at, weight) = (1, Location::new(3, 4), Weight::default());
        let hint = Hint { what: What::Kept, hash, at, expires: Timestamp::default(), weight };
        let mut bytes = encode(11, &[hint], &keys);
        bytes[CHECKSUM_BYTES] = 3;
        let checksum = keys.checksum(11, &[&bytes[CHECKSUM_BYTES..]]);
        bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(11, &bytes, &keys), None);
    }
}
