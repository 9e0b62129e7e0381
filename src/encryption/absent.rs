//! What the names of this room stand for where the feature `encryption` is off: nothing that can be made.

use super::{TAG_BYTES, Wrapped};
use crate::error::Result;

/// The caller's keys: none.
#[derive(Clone, Default)]
pub(crate) struct Keyring {}

/// The key of a segment. There is none.
#[derive(Clone)]
pub(crate) enum Cipher {}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
impl Keyring {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn encrypts(&self) -> bool {
        false
    }

    pub(crate) fn new_cipher(&self, _store: &[u8; 16], _segment: u64) -> Result<Option<(Cipher, Wrapped)>> {
        Ok(None)
    }

    pub(crate) fn unwrap(&self, _: &Wrapped, _store: &[u8; 16], _segment: u64) -> Option<Cipher> {
        None
    }

    pub(crate) fn is_current(&self, _: Option<&Cipher>) -> bool {
        true
    }
}

impl Cipher {
    pub(crate) fn encrypt(&self, _place: u64, _beside: &[u8], _content: &mut [u8]) -> [u8; TAG_BYTES] {
        match *self {}
    }

    pub(crate) fn decrypt(
        &self,
        _place: u64,
        _beside: &[u8],
        _content: &mut [u8],
        _tag: &[u8],
    ) -> Option<()> {
        match *self {}
    }
}
