//! The caller's keys: the current one, and those that older segments still need.

use super::key::{EncryptionKey, random};
use super::{Cipher, Wrapped};
use crate::error::Result;

/// The caller's keys.
#[derive(Clone, Default)]
pub(crate) struct Keyring {
    /// New segments are encrypted under this one; without it they are not encrypted.
    pub(crate) current: Option<EncryptionKey>,
    pub(crate) old: Vec<EncryptionKey>,
}

impl Keyring {
    /// No key at all: nothing was encrypted, and nothing will be.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.old.is_empty()
    }

    /// What is written from now on is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.current.is_some()
    }

    /// The key of a new segment, and as it stands in its file; `None` where it is not to be encrypted.
    pub(crate) fn new_cipher(&self, store: &[u8; 16], segment: u64) -> Result<Option<(Cipher, Wrapped)>> {
        let Some(own) = &self.current else { return Ok(None) };
        let key = random()?;
        Ok(Some((Cipher::new(&key, true), own.cipher().wrap(&key, store, segment))))
    }

    /// The key of a segment, from its file; `None` where no key that was given opens it.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped, store: &[u8; 16], segment: u64) -> Option<Cipher> {
        let open = |own: &EncryptionKey| own.cipher().unwrap(wrapped, store, segment);
        let current = self.current.as_ref().and_then(open).map(|key| Cipher::new(&key, true));
        current.or_else(|| self.old.iter().find_map(open).map(|key| Cipher::new(&key, false)))
    }

    /// Whether a segment with this key, or with none, is as a new one would be.
    pub(crate) fn is_current(&self, cipher: Option<&Cipher>) -> bool {
        cipher.map_or(self.current.is_none(), |own| own.is_current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [4; 16];

    fn ring(current: Option<u8>, old: &[u8]) -> Keyring {
        let key = |byte: u8| EncryptionKey::new([byte; 32]);
        Keyring { current: current.map(key), old: old.iter().copied().map(key).collect() }
    }

    #[test]
    fn a_segments_key_opens_with_the_key_that_it_was_made_under_current_or_old() {
        let (cipher, wrapped) = ring(Some(1), &[]).new_cipher(&STORE, 3).unwrap().unwrap();
        let mut content = *b"x";
        let tag = cipher.encrypt(1, &[], &mut content);
        for (keys, current) in
            [(ring(Some(1), &[2]), true), (ring(Some(2), &[3, 1]), false), (ring(None, &[1]), false)]
        {
            let own = keys.unwrap(&wrapped, &STORE, 3).unwrap();
            let mut content = content;
            assert_eq!(own.decrypt(1, &[], &mut content, &tag), Some(()));
            assert_eq!((content, keys.is_current(Some(&own))), (*b"x", current));
        }
        for keys in [ring(None, &[]), ring(Some(2), &[3]), ring(None, &[2])] {
            assert!(keys.unwrap(&wrapped, &STORE, 3).is_none());
        }
    }

    #[test]
    fn no_two_segments_have_one_key_and_without_a_current_one_they_have_none() {
        let keys = ring(Some(1), &[]);
        let made = || keys.new_cipher(&STORE, 3).unwrap().unwrap().1;
        assert_ne!(made(), made());
        let none = ring(None, &[1]);
        assert!(none.new_cipher(&STORE, 3).unwrap().is_none() && none.is_current(None));
        assert!(!keys.is_current(None) && !keys.is_empty() && !none.is_empty() && ring(None, &[]).is_empty());
    }
}
