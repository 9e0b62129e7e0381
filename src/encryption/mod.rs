//! The caller's keys, and the key of each segment that is wrapped under one of them (feature `encryption`).
//!
//! Law: every segment has a random key of its own, which stands only in the page of ours that its file begins with,
//! encrypted under the caller's key. It encrypts what the records of that segment say; when the segment goes, its page is
//! overwritten first, and with it goes the only key to whatever the disk still has of it. The caller's keys are in memory
//! alone. AES-256-GCM-SIV throughout, since a nonce is the place of a record, and a place can be written twice: what was
//! committed relaxed and lost in a crash, or a disk that was set back to yesterday. Elsewhere that would give the key
//! away; here it tells at most that two contents of one place are equal.
//!
//! Without the feature the names stand for nothing: no key can be given, so no segment is made that needs one, and one
//! that does is refused as *encrypted*.

#[cfg(not(feature = "encryption"))]
mod absent;
#[cfg(feature = "encryption")]
mod aead;
#[cfg(feature = "encryption")]
mod key;
#[cfg(feature = "encryption")]
mod keyring;

#[cfg(not(feature = "encryption"))]
pub(crate) use absent::{Cipher, Keyring};
#[cfg(feature = "encryption")]
pub(crate) use aead::Cipher;
#[cfg(feature = "encryption")]
pub use key::EncryptionKey;
#[cfg(feature = "encryption")]
pub(crate) use keyring::Keyring;

/// Bytes that encrypting adds to a record.
pub(crate) const TAG_BYTES: usize = 16;

/// The key of a segment as it stands in its file: encrypted under one of the caller's.
pub(crate) type Wrapped = [u8; 32 + TAG_BYTES];
