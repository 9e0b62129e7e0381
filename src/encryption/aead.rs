//! The one door to the cipher.

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce, Tag};

use super::{TAG_BYTES, Wrapped};

/// A key of 256 bits at work: one segment's, or one of the caller's.
#[derive(Clone)]
pub(crate) struct Cipher {
    aead: Box<Aes256GcmSiv>,
    /// Its own key is wrapped under the caller's current one.
    pub(super) is_current: bool,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32], is_current: bool) -> Self {
        Self { aead: Box::new(Aes256GcmSiv::new(&(*key).into())), is_current }
    }

    /// Encrypts `content`, and vouches for it and for what stands `beside` it, both at this place.
    pub(crate) fn encrypt(&self, place: u64, beside: &[u8], content: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.aead.encrypt_inout_detached(&nonce(place), beside, content.into());
        tag.expect("a record is far under the 64 GiB that one message may have").into()
    }

    /// Decrypts `content`; `None` where it is not what was encrypted at this place beside these bytes.
    pub(crate) fn decrypt(&self, place: u64, beside: &[u8], content: &mut [u8], tag: &[u8]) -> Option<()> {
        let tag = Tag::try_from(tag).ok()?;
        self.aead.decrypt_inout_detached(&nonce(place), beside, content.into(), &tag).ok()
    }

    /// A segment's key, encrypted under this one.
    pub(super) fn wrap(&self, key: &[u8; 32], store: &[u8; 16], segment: u64) -> Wrapped {
        let mut wrapped: Wrapped = [0; size_of::<Wrapped>()];
        let (content, tag) = wrapped.split_at_mut(key.len());
        content.copy_from_slice(key);
        tag.copy_from_slice(&self.encrypt(segment, store, content));
        wrapped
    }

    /// What [`Cipher::wrap`] wrapped for this segment of this store, if it was under this key.
    pub(super) fn unwrap(&self, wrapped: &Wrapped, store: &[u8; 16], segment: u64) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        let (content, tag) = wrapped.split_at(key.len());
        key.copy_from_slice(content);
        self.decrypt(segment, store, &mut key, tag).map(|()| key)
    }
}

fn nonce(place: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[..8].copy_from_slice(&place.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_comes_back_at_its_place_beside_the_same_bytes_and_nowhere_else() {
        let cipher = Cipher::new(&[1; 32], true);
        let mut content = *b"paid 12.00";
        let tag = cipher.encrypt(7, b"head", &mut content);
        assert_ne!(&content, b"paid 12.00");
        let opens = |cipher: &Cipher, place, beside: &[u8], mut content: [u8; 10], tag: &[u8]| {
            cipher.decrypt(place, beside, &mut content, tag).map(|()| content)
        };
        assert_eq!(opens(&cipher, 7, b"head", content, &tag), Some(*b"paid 12.00"));
        assert_eq!(opens(&cipher, 8, b"head", content, &tag), None);
        assert_eq!(opens(&cipher, 7, b"heaD", content, &tag), None);
        assert_eq!(opens(&cipher, 7, b"head", content, &tag[..15]), None);
        assert_eq!(opens(&Cipher::new(&[2; 32], true), 7, b"head", content, &tag), None);
        content[3] ^= 1;
        assert_eq!(opens(&cipher, 7, b"head", content, &tag), None);
    }

    #[test]
    fn a_wrapped_key_opens_for_its_own_segment_of_its_own_store_alone_and_is_pinned() {
        let cipher = Cipher::new(&[1; 32], true);
        let wrapped = cipher.wrap(&[9; 32], &[4; 16], 3);
        assert_eq!(cipher.unwrap(&wrapped, &[4; 16], 3), Some([9; 32]));
        assert_eq!(cipher.unwrap(&wrapped, &[4; 16], 4), None);
        assert_eq!(cipher.unwrap(&wrapped, &[5; 16], 3), None);
        assert_eq!(Cipher::new(&[2; 32], true).unwrap(&wrapped, &[4; 16], 3), None);
        assert_eq!(wrapped[..8], [0x96, 0x43, 0xcb, 0xcb, 0x57, 0x8c, 0xd6, 0x24]);
    }
}
