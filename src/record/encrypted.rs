//! A record whose content is encrypted: a flag, a longer length, and a tag at its end.
//!
//! Law: kind, digest, times and key stay readable, and the tag vouches for them as for the content, and for the place: in it no
//! record can be given another's outcome, another expiry, or another key. In an encrypted segment every record that has a
//! key is encrypted; one that is not is damaged. What the ledger notes of itself has no content of the caller's and is
//! as ever.
//!
//! ```text
//! head, flags + 8, length + 16 | framed key | body, omitted, outline and metadata, encrypted | tag 16
//! ```

use std::borrow::Cow;

use super::{
    CHECKSUM, FLAG_ENCRYPTED, FLAGS, HashKeys, KEY, KIND, Kind, LENGTH, Location, Record, Unreadable, length,
    put, seal, verified,
};
use crate::encryption::{Cipher, TAG_BYTES};

/// What the records of one segment are checked with, and encrypted with if they are.
#[derive(Clone, Copy)]
pub(crate) struct RecordKeys<'a> {
    pub(crate) hash: &'a HashKeys,
    pub(crate) cipher: Option<&'a Cipher>,
}

impl<'a> From<&'a HashKeys> for RecordKeys<'a> {
    fn from(hash: &'a HashKeys) -> Self {
        Self { hash, cipher: None }
    }
}

impl RecordKeys<'_> {
    /// Bytes that a record becomes longer by.
    pub(crate) fn tag_bytes(&self) -> usize {
        if self.cipher.is_some() { TAG_BYTES } else { 0 }
    }

    /// Makes what stands behind `begin` the record at this place: encrypted, if it is to be, and with its checksum.
    pub(crate) fn seal(&self, bytes: &mut Vec<u8>, begin: usize, at: Location) {
        if let Some(cipher) = self.cipher {
            encrypt(bytes, begin, at, cipher);
        }
        seal(&mut bytes[begin..], at, self.hash);
    }
}

/// A record's bytes that passed every check, and were decrypted if they had to be.
pub(crate) struct Opened<'a> {
    bytes: Cow<'a, [u8]>,
    kind: Kind,
    key_len: usize,
}

impl<'a> Opened<'a> {
    /// The record that begins at the start of `bytes`, checked against its place.
    pub(crate) fn open(bytes: &'a [u8], at: Location, keys: RecordKeys<'_>) -> Result<Self, Unreadable> {
        let bytes = verified(bytes, at, keys.hash)?;
        let bytes = match keys.cipher {
            Some(cipher) if has_content(bytes) => {
                Cow::Owned(decrypt(bytes, at, cipher).ok_or(Unreadable::Damaged)?)
            }
            _ => Cow::Borrowed(bytes),
        };
        let Record { kind, key_len, .. } = Record::parse(&bytes)?;
        Ok(Self { bytes, kind, key_len })
    }

    /// The record.
    pub(crate) fn record(&self) -> Record<'_> {
        Record { bytes: &self.bytes, kind: self.kind, key_len: self.key_len }
    }
}

/// Whether a record is of a kind that has a key, and content behind it.
fn has_content(bytes: &[u8]) -> bool {
    matches!(Kind::of(bytes[KIND]), Some(Kind::Finished | Kind::Started | Kind::Released))
}

/// Where the content begins, behind the framed key.
fn content_at(bytes: &[u8]) -> Option<usize> {
    let token = KEY + 1 + usize::from(*bytes.get(KEY)?);
    let content = token + 1 + usize::from(*bytes.get(token)?);
    (content <= bytes.len()).then_some(content)
}

/// Encrypts the record behind `begin`, if it has content.
fn encrypt(bytes: &mut Vec<u8>, begin: usize, at: Location, cipher: &Cipher) {
    if !has_content(&bytes[begin..]) {
        return;
    }
    let tag_at = bytes.len() - begin;
    bytes.resize(bytes.len() + TAG_BYTES, 0);
    let own = &mut bytes[begin..];
    own[FLAGS] |= FLAG_ENCRYPTED;
    put(own, LENGTH, &length(own).to_le_bytes());
    // Set when all else stands; a record that is copied brings an old one.
    put(own, CHECKSUM, &[0; 8]);
    let content_at = content_at(own).expect("a record of ours has its key");
    let (head, rest) = own.split_at_mut(content_at);
    let (content, tag) = rest.split_at_mut(tag_at - content_at);
    tag.copy_from_slice(&cipher.encrypt(at.as_u64(), head, content));
}

/// The bytes of the record as they were before they were encrypted; `None` where they were not, or not so, or not here.
fn decrypt(bytes: &[u8], at: Location, cipher: &Cipher) -> Option<Vec<u8>> {
    let mut own = bytes.to_vec();
    put(&mut own, CHECKSUM, &[0; 8]);
    let content_at = content_at(&own)?;
    let tag_at = own.len().checked_sub(TAG_BYTES).filter(|end| *end >= content_at)?;
    let (head, rest) = own.split_at_mut(content_at);
    let (content, tag) = rest.split_at_mut(tag_at - content_at);
    if head[FLAGS] & FLAG_ENCRYPTED == 0 {
        return None;
    }
    cipher.decrypt(at.as_u64(), head, content, tag)?;
    own.truncate(tag_at);
    own[FLAGS] &= !FLAG_ENCRYPTED;
    let plain = length(&own);
    put(&mut own, LENGTH, &plain.to_le_bytes());
    Some(own)
}

#[cfg(all(test, feature = "encryption"))]
mod tests {
    use super::super::{Bound, Finished, PREFIX_BYTES, control};
    use super::*;
    use crate::encryption::{EncryptionKey, Keyring};
    use crate::outcome::Outcome;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    const AT: Location = Location::new(3, 100);

    fn keyring() -> Keyring {
        Keyring { current: Some(EncryptionKey::new([1; 32])), old: Vec::new() }
    }

    /// A segment's key, as a file of the first version has it.
    const WRAPPED: crate::encryption::Wrapped = [
        180, 16, 137, 97, 165, 237, 232, 94, 141, 232, 254, 254, 182, 15, 177, 197, 157, 98, 27, 46, 67, 148,
        44, 236, 125, 202, 46, 76, 12, 108, 145, 236, 27, 160, 148, 199, 169, 249, 48, 44, 58, 109, 95, 251,
        250, 133, 35, 64,
    ];

    fn cipher() -> Cipher {
        keyring()
            .unwrap(&WRAPPED, &[4; 16], 3)
            .expect("what was wrapped once is unwrapped by every later version")
    }

    fn hash() -> HashKeys {
        HashKeys::derive(&[1; 32])
    }

    fn plain(body: &[u8]) -> Vec<u8> {
        let bound = Bound { digest: [7; 32], version: 1, rules: 2, secret: 3, outline: None };
        let (completed, expires) = (Timestamp::from_millis(5), Timestamp::from_millis(6));
        let outcome = &Outcome::http(201, body).with_metadata("name", "value");
        let (key, omitted) = (&b"\x05scope\x05token"[..], None);
        Finished { key, bound, completed, expires, attempts: 4, format: 5, outcome, omitted }.encode()
    }

    fn sealed(mut bytes: Vec<u8>, cipher: Option<&Cipher>) -> Vec<u8> {
        RecordKeys { hash: &hash(), cipher }.seal(&mut bytes, 0, AT);
        bytes
    }

    fn opened<'a>(bytes: &'a [u8], cipher: &Cipher) -> Result<Opened<'a>, Unreadable> {
        Opened::open(bytes, AT, RecordKeys { hash: &hash(), cipher: Some(cipher) })
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_is_encrypted_again_elsewhere() {
        let (cipher, plain) = (cipher(), plain(b"canary"));
        let bytes = sealed(plain.clone(), Some(&cipher));
        assert_eq!(bytes.len(), plain.len() + TAG_BYTES);
        assert!(!bytes.windows(6).any(|own| own == b"canary") && bytes.windows(5).any(|own| own == b"token"));
        let own = opened(&bytes, &cipher).unwrap();
        let replay = own.record().replay().unwrap();
        assert_eq!((replay.outcome().body(), replay.outcome().metadata().len()), (&b"canary"[..], 1));
        assert_eq!(
            own.record().weight(&hash()),
            Record::open(&sealed(plain, None), AT, &hash()).unwrap().weight(&hash())
        );
        let carried = sealed(own.record().bytes().to_vec(), Some(&cipher));
        assert_eq!(carried, bytes);
    }

    #[test]
    fn a_record_without_content_is_sealed_with_a_tag_alone() {
        let (hash, cipher) = (hash(), cipher());
        let bound = Bound { digest: [7; 32], version: 1, rules: 2, secret: 3, outline: None };
        let (completed, expires, outcome) = (Timestamp::default(), Timestamp::MAX, &Outcome::new(""));
        let (key, omitted) = (&b"\x05scope\x05token"[..], None);
        let plain =
            Finished { key, bound, completed, expires, attempts: 4, format: 5, outcome, omitted }.encode();
        let bytes = sealed(plain.clone(), Some(&cipher));
        assert!(
            opened(&bytes, &cipher)
                .is_ok_and(|own| own.record().bytes()[PREFIX_BYTES..] == plain[PREFIX_BYTES..])
        );
        let longer = |cipher| RecordKeys { hash: &hash, cipher }.tag_bytes();
        assert_eq!((longer(Some(&cipher)), longer(None)), (bytes.len() - plain.len(), 0));
    }

    #[test]
    fn the_layout_of_an_encrypted_record_is_pinned() {
        let bytes = sealed(plain(b"twelve bytes"), Some(&cipher()));
        assert_eq!(blake3::hash(&bytes).to_hex()[..16], *"c090d28843d2ebb4");
    }

    #[test]
    fn in_an_encrypted_segment_what_is_not_encrypted_is_damaged_and_elsewhere_what_is_is_newer() {
        let cipher = cipher();
        assert_eq!(opened(&sealed(plain(b"x"), None), &cipher).err(), Some(Unreadable::Damaged));
        let bytes = sealed(plain(b"x"), Some(&cipher));
        assert_eq!(Opened::open(&bytes, AT, (&hash()).into()).err(), Some(Unreadable::Newer));
        let note = sealed(control(b"note"), Some(&cipher));
        assert_eq!(opened(&note, &cipher).unwrap().record().control(), b"note", "a note has no content");
    }

    #[test]
    fn bytes_that_are_too_short_for_what_they_say_are_damaged_10_4() {
        let cipher = cipher();
        let bytes = sealed(plain(b"x"), Some(&cipher));
        for length in PREFIX_BYTES..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            put(&mut cut, LENGTH, &u32::try_from(length).unwrap().to_le_bytes());
            seal(&mut cut, AT, &hash());
            assert_eq!(opened(&cut, &cipher).err(), Some(Unreadable::Damaged), "{length}");
        }
    }

    proptest! {
        /// Whoever writes the files, and can make every checksum right, can't change what a record says.
        #[test]
        fn any_change_is_damage_also_where_the_checksum_is_made_right_5_9(at in 0usize..1000, bits in 1u8..) {
            let cipher = cipher();
            let mut bytes = sealed(plain(b"twelve bytes"), Some(&cipher));
            let at = at % bytes.len();
            bytes[at] ^= bits;
            seal(&mut bytes, AT, &hash());
            let unchanged = (CHECKSUM..CHECKSUM + 8).contains(&at);
            prop_assert!(opened(&bytes, &cipher).is_ok_and(|own| own.record().kind() == Kind::Finished) == unchanged);
        }
    }
}
