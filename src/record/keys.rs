//! Keyed hashes: checksums over bytes, fingerprints of keys.
//!
//! Law: both keys are derived from the store's seed, so that an outsider can predict neither, nor choose keys that
//! collide (contract 10.3). SipHash-1-3, 64 bits: a checksum against damage, a fingerprint to look under; equality
//! of either never stands for equality of what was hashed (contract 1.3).

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::u64_at;

/// The keys that checksums and fingerprints are made under: an outsider can't predict either (contract 10.3).
#[derive(Clone, Copy)]
pub(crate) struct HashKeys {
    checksum: (u64, u64),
    fingerprint: (u64, u64),
}

impl HashKeys {
    /// Both keys, derived from a store's seed.
    pub(crate) fn derive(seed: &[u8; 32]) -> Self {
        let bytes = blake3::derive_key("oncekey 2026 v1: checksum and fingerprint keys", seed);
        let word = |at: usize| u64_at(&bytes, at);
        Self { checksum: (word(0), word(8)), fingerprint: (word(16), word(24)) }
    }

    /// The checksum of `parts`, at a place.
    pub(crate) fn checksum(&self, place: u64, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.checksum.0, self.checksum.1);
        hasher.write_u64(place);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }

    /// The fingerprint of a key's framed bytes (or of a scope): where it is looked for, never what it is.
    pub(crate) fn fingerprint(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.fingerprint.0, self.fingerprint.1).hash(bytes)
    }
}
