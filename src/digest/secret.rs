//! The secret that kept digests are bound with (contract 2.5).
//!
//! Law: what a store keeps of a digest is a keyed hash over the key and the digest. Equal parameters under two
//! keys look unrelated, and without the secret nobody can test guesses against a copied file. The secret itself
//! is never used as a key: each use has a key derived for it alone. Nothing of it is ever shown (10.2).
//!
//! Deliberately absent: wiping it from memory. Whoever reads the process's memory reads the parameters too.

use std::fmt;

use super::Digest;
use super::frame::Framer;
use crate::error::{ErrorKind, Result};

const BIND_CONTEXT: &str = "oncekey 2025 v1 bind a digest to its key";
const BIND_PARAMETER_CONTEXT: &str = "oncekey 2026 v1 bind one parameter's digest to its key";
const CHECK_CONTEXT: &str = "oncekey 2025 v1 check value of a secret";

/// 32 secret bytes of a store. Where the caller supplies none, a store makes its own and keeps it beside its data.
///
/// ```
/// use oncekey::Secret;
///
/// let secret = Secret::random()?;
/// assert!(!format!("{secret:?}").contains(char::is_numeric));
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct Secret {
    bytes: [u8; 32],
    /// Derived once, so that binding costs one keyed hash.
    bind: [u8; 32],
    bind_parameter: [u8; 32],
}

impl Secret {
    /// These bytes, which should come from a random source: 32 bytes of a password are no secret.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let bind = blake3::derive_key(BIND_CONTEXT, &bytes);
        Self { bytes, bind, bind_parameter: blake3::derive_key(BIND_PARAMETER_CONTEXT, &bytes) }
    }

    /// 32 bytes of the operating system's randomness.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where the operating system has none to give.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| ErrorKind::Io {
            operation: "getting randomness",
            kind: std::io::ErrorKind::Other,
        })?;
        Ok(Self::new(bytes))
    }

    /// A value that tells whether a store was made with this secret, and tells nothing else: to keep beside the
    /// store's id (contract 11, *wrong secret* told apart from *damaged*).
    #[must_use]
    pub fn check(&self, store_id: &[u8; 16]) -> [u8; 16] {
        let key = blake3::derive_key(CHECK_CONTEXT, &self.bytes);
        let hash = blake3::keyed_hash(&key, store_id);
        let [check @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *hash.as_bytes();
        check
    }

    /// What a store keeps of `digest` under the key of these framed bytes (contract 2.5).
    pub(crate) fn bind(&self, framed_key: &[u8], digest: &Digest) -> blake3::Hash {
        bound(&self.bind, framed_key, digest)
    }

    /// What a store keeps of one parameter's digest under the key of these framed bytes: 64 bits, enough to tell that it
    /// is another one, and no help to anybody without the secret (contract 2.6).
    pub(crate) fn bind_parameter(&self, framed_key: &[u8], digest: &Digest) -> u64 {
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] =
            *bound(&self.bind_parameter, framed_key, digest).as_bytes();
        u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])
    }

    /// The bytes, to be kept beside a store or to derive other keys from.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

fn bound(key: &[u8; 32], framed_key: &[u8], digest: &Digest) -> blake3::Hash {
    let mut framer = Framer::keyed(key);
    framer.framed(framed_key);
    framer.raw(&digest.to_bytes());
    framer.finish()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DigestRules, Parameters};
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Parameters::bytes(bytes).digest_under(&DigestRules::none()).unwrap()
    }

    #[test]
    fn a_bound_digest_depends_on_secret_key_and_every_part_of_the_digest_2_5() {
        let secret = Secret::new([1; 32]);
        let plain = digest(b"x");
        let mut version = plain.to_bytes();
        version[0] = 2;
        let mut rules = plain.to_bytes();
        rules[9] ^= 1;
        let bound = [
            secret.bind(b"key", &plain),
            secret.bind(b"kez", &plain),
            secret.bind(b"ke", &plain),
            secret.bind(b"key", &digest(b"y")),
            secret.bind(b"key", &Digest::from_bytes(version)),
            secret.bind(b"key", &Digest::from_bytes(rules)),
            Secret::new([2; 32]).bind(b"key", &plain),
        ];
        for (at, one) in bound.iter().enumerate() {
            assert!(!bound[at + 1..].contains(one), "{at}");
        }
        assert_eq!(bound[0], Secret::new([1; 32]).bind(b"key", &plain));
    }

    #[test]
    fn the_bound_form_is_pinned_2_5() {
        let secret = Secret::new([1; 32]);
        assert_eq!(
            secret.bind(b"key", &digest(b"x")).to_hex().as_str(),
            "a17cc32efcd21d972d438a2ed7c0c360805f6bb6c0a11c50ee6f63d2d4446b5c"
        );
        assert_eq!(
            blake3::Hash::from_bytes([secret.check(&[2; 16]), [0; 16]].concat().try_into().unwrap()).to_hex()
                [..32],
            *"14cdd7268f8db2c87ef306faa943ef7c"
        );
    }

    #[test]
    fn what_is_kept_of_one_parameter_depends_on_secret_key_and_digest_and_is_pinned_2_6() {
        let secret = Secret::new([1; 32]);
        let bound = [
            secret.bind_parameter(b"key", &digest(b"x")),
            secret.bind_parameter(b"kez", &digest(b"x")),
            secret.bind_parameter(b"key", &digest(b"y")),
            Secret::new([2; 32]).bind_parameter(b"key", &digest(b"x")),
        ];
        for (at, one) in bound.iter().enumerate() {
            assert!(!bound[at + 1..].contains(one), "{at}");
        }
        let whole = secret.bind(b"key", &digest(b"x"));
        assert_ne!(bound[0].to_le_bytes(), whole.as_bytes()[..8], "another key is derived for it");
        assert_eq!(format!("{:016x}", bound[0]), "85657a0fcda4a4c8");
    }

    #[test]
    fn the_check_value_tells_secrets_and_stores_apart_11() {
        let secret = Secret::new([1; 32]);
        assert_eq!(secret.check(&[0; 16]), Secret::new(*secret.as_bytes()).check(&[0; 16]));
        assert_ne!(secret.check(&[0; 16]), Secret::new([2; 32]).check(&[0; 16]));
        assert_ne!(secret.check(&[0; 16]), secret.check(&[1; 16]));
    }

    #[test]
    fn two_random_secrets_differ() {
        assert_ne!(Secret::random().unwrap().as_bytes(), Secret::random().unwrap().as_bytes());
    }
}
