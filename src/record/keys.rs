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

/// The number that the top bits of a fingerprint make: which share of all keys it belongs to.
#[inline]
pub(crate) fn share_of(fingerprint: u64, bits: u32) -> u64 {
    fingerprint.checked_shr(64 - bits).unwrap_or(0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares that the top bits of a fingerprint choose, as they choose a stripe.
    const SHARE_BITS: u32 = 8;
    const TOKENS: usize = 2048;
    /// Of 2,048 tokens in 256 shares, 8 are in one on average; more than this come about by chance once in 10^9 stores.
    const FULLEST: usize = 30;

    fn share(keys: &HashKeys, token: &str) -> usize {
        usize::try_from(share_of(keys.fingerprint(token.as_bytes()), SHARE_BITS)).unwrap()
    }

    /// How many of the tokens the fullest share gets, and how many fingerprints of 32 bits are met twice.
    fn spread(keys: &HashKeys, tokens: &[String]) -> (usize, usize) {
        let mut shares = [0; 1 << SHARE_BITS];
        for token in tokens {
            shares[share(keys, token)] += 1;
        }
        let mut short: Vec<u64> =
            tokens.iter().map(|own| keys.fingerprint(own.as_bytes()) << SHARE_BITS >> 32).collect();
        short.sort_unstable();
        (shares.into_iter().max().unwrap(), short.windows(2).filter(|pair| pair[0] == pair[1]).count())
    }

    #[test]
    fn a_checksum_is_over_place_and_every_byte_and_keyed_whatever_the_length_5_9() {
        for length in [64, LONG_BYTES - 1, LONG_BYTES, 3 * LONG_BYTES] {
            let (keys, part) = (HashKeys::derive(&[1; 32]), vec![7; length]);
            let sound = keys.checksum(1, &[&part[..9], &part[9..]]);
            assert_eq!(sound, keys.checksum(1, &[&part]), "of all parts together");
            assert_ne!(sound, keys.checksum(2, &[&part]));
            assert_ne!(sound, HashKeys::derive(&[2; 32]).checksum(1, &[&part]));
            for at in [0, length / 2, length - 1] {
                let mut damaged = part.clone();
                damaged[at] ^= 1;
                assert_ne!(sound, keys.checksum(1, &[&damaged]), "{length} {at}");
            }
        }
    }

    #[test]
    fn tokens_that_all_meet_in_one_store_are_as_any_others_in_the_next_10_3() {
        let (own, attackers) = (HashKeys::derive(&[1; 32]), HashKeys::derive(&[2; 32]));
        let all = (0..).map(|number: u64| format!("token-{number}"));
        let chosen: Vec<_> = all.filter(|token| share(&attackers, token) == 7).take(TOKENS).collect();
        assert_eq!(spread(&attackers, &chosen).0, TOKENS);
        let (fullest, met) = spread(&own, &chosen);
        assert!(fullest < FULLEST && met < 2, "{fullest} in one share, {met} twice");
    }

    #[test]
    fn tokens_of_any_pattern_are_spread_as_those_of_none_10_3() {
        let keys = HashKeys::derive(&[3; 32]);
        let patterns: [fn(usize) -> String; 4] = [
            |number| format!("{number}"),
            |number| format!("{number:064}"),
            |number| "a".repeat(number % 64) + &"b".repeat(1 + number / 64) + &"c".repeat(63 - number % 64),
            |number| char::from(u8::try_from(33 + number % 94).unwrap()).to_string().repeat(1 + number / 94),
        ];
        for pattern in patterns {
            let (fullest, met) = spread(&keys, &(0..TOKENS).map(pattern).collect::<Vec<_>>());
            assert!(fullest < FULLEST && met < 2, "{}: {fullest} in one share, {met} twice", pattern(1));
        }
    }
}
