//! A key of the caller's.

use std::fmt;

use super::Cipher;
use crate::error::{ErrorKind, Result};

const CONTEXT: &str = "oncekey 2026 v1 wrap the keys of segments";

/// 32 secret bytes that a store's files are encrypted under (feature `encryption`). They lie in no file: whoever loses
/// them has lost the store's outcomes.
///
/// ```
/// use oncekey::{EncryptionKey, Store};
///
/// # let directory = tempfile::tempdir().expect("a directory");
/// # let path = directory.path().join("store");
/// let key = EncryptionKey::random()?; // out of your key management, in earnest
/// let store = Store::builder().encryption_key(key.clone()).open(&path)?;
/// assert!(store.guarantees().encrypted);
/// store.close(std::time::Duration::ZERO)?;
/// assert!(Store::open(&path).is_err(), "it says that the store is encrypted");
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey(Cipher);

impl EncryptionKey {
    /// These bytes, which should come from a random source: 32 bytes of a password are no key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Cipher::new(&blake3::derive_key(CONTEXT, &bytes), false))
    }

    /// 32 bytes of the operating system's randomness, which nobody else has: for tests, and for stores in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where the operating system has none to give.
    pub fn random() -> Result<Self> {
        random().map(Self::new)
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

pub(super) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| ErrorKind::Io { operation: "getting randomness", kind: std::io::ErrorKind::Other })?;
    Ok(bytes)
}
