//! Keyed hashes: checksums over bytes, fingerprints of keys.
//!
//! Law: both keys are derived from the store's seed, so that an outsider can predict neither, nor choose keys that
//! collide (contract 10.3). 64 bits: a checksum against damage, a fingerprint to look under; equality of either never
//! stands for equality of what was hashed (contract 1.3). SipHash-1-3; of what is long, keyed BLAKE3, which takes several
//! kilobytes at once, cut to 64 bits.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::u64_at;

/// From so many bytes on BLAKE3 is faster.
const LONG_BYTES: usize = 8 << 10;

/// The keys that checksums and fingerprints are made under: an outsider can't predict either (contract 10.3).
#[derive(Clone, Copy)]
pub(crate) struct HashKeys {
    checksum: (u64, u64),
    long: [u8; 32],
    fingerprint: (u64, u64),
}

impl HashKeys {
    /// All keys, derived from a store's seed.
    pub(crate) fn derive(seed: &[u8; 32]) -> Self {
        let bytes = blake3::derive_key("oncekey 2026 v1: checksum and fingerprint keys", seed);
        let word = |at: usize| u64_at(&bytes, at);
        let long = blake3::derive_key("oncekey 2026 v1: key of long checksums", seed);
        Self { checksum: (word(0), word(8)), long, fingerprint: (word(16), word(24)) }
    }

    /// The checksum of `parts`, at a place.
    pub(crate) fn checksum(&self, place: u64, parts: &[&[u8]]) -> u64 {
        if parts.iter().map(|part| part.len()).sum::<usize>() >= LONG_BYTES {
            return self.long_checksum(place, parts);
        }
        let mut hasher = SipHasher13::new_with_keys(self.checksum.0, self.checksum.1);
        hasher.write_u64(place);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }

    #[inline(never)]
    fn long_checksum(&self, place: u64, parts: &[&[u8]]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.long);
        hasher.update(&place.to_le_bytes());
        for part in parts {
            hasher.update(part);
        }
        u64_at(hasher.finalize().as_bytes(), 0)
    }

    /// The fingerprint of a key's framed bytes (or of a scope): where it is looked for, never what it is.
    pub(crate) fn fingerprint(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.fingerprint.0, self.fingerprint.1).hash(bytes)
    }
}
