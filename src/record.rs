//! A record and its bytes.
//!
//! Law: what stands here is the format on disk, version 1, little endian. Offsets are computed from each other,
//! the head is laid out by hand so that looking up and comparing decodes and allocates nothing, and every
//! record carries a keyed checksum over its place in the log and all its bytes (contract 5.9), set when the
//! writer knows the place and checked at every reading. Only the variable tail (metadata) goes through bincode.
//!
//! ```text
//! every record:  length u32 | kind u8 | flags u8 | digest version u16 | checksum u64 | ...
//! finished:      completed u64 | expires u64 | digest 32 | rules u16 | secret u16 | status u16 | 0 u16
//!                | attempts u32 | format u32 | body length u32 | framed key | body | [omitted 40] | [metadata]
//! forgotten:     time u64 | target u64 | hash u64 | scope u64 | weight u32
//! control:       what the ledger has to say of itself, encoded by bincode
//! ```
//! Kinds 3 to 15 and the flags 4 to 128 are reserved (durable starts, releases, checkpoints, settled keys, the
//! caller's transactions, parameter names); a reader that meets one says *newer format*.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::codec;
use crate::outcome::{Omitted, Outcome, Replay};
use crate::time::Timestamp;

/// The format that this library writes and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An operation ended with this outcome.
    Finished,
    /// A finished record is no longer to be known.
    Forgotten,
    /// The ledger's own notes.
    Control,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Finished => 1,
            Self::Forgotten => 2,
            Self::Control => 16,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Finished),
            2 => Some(Self::Forgotten),
            16 => Some(Self::Control),
            _ => None,
        }
    }
}

const FLAG_OMITTED: u8 = 1;
const FLAG_METADATA: u8 = 2;
const FLAGS_KNOWN: u8 = FLAG_OMITTED | FLAG_METADATA;

const LENGTH: usize = 0;
const KIND: usize = LENGTH + 4;
const FLAGS: usize = KIND + 1;
const DIGEST_VERSION: usize = FLAGS + 1;
const CHECKSUM: usize = DIGEST_VERSION + 2;
/// Bytes that every record begins with.
pub(crate) const PREFIX_BYTES: usize = CHECKSUM + 8;

const COMPLETED: usize = PREFIX_BYTES;
const EXPIRES: usize = COMPLETED + 8;
const DIGEST: usize = EXPIRES + 8;
const RULES: usize = DIGEST + 32;
const SECRET: usize = RULES + 2;
const STATUS: usize = SECRET + 2;
const ATTEMPTS: usize = STATUS + 4;
const OUTCOME_FORMAT: usize = ATTEMPTS + 4;
const BODY_LENGTH: usize = OUTCOME_FORMAT + 4;
const KEY: usize = BODY_LENGTH + 4;
const OMITTED_BYTES: usize = 8 + 32;

const FORGET_TIME: usize = PREFIX_BYTES;
const FORGET_TARGET: usize = FORGET_TIME + 8;
const FORGET_HASH: usize = FORGET_TARGET + 8;
const FORGET_SCOPE: usize = FORGET_HASH + 8;
const FORGET_WEIGHT: usize = FORGET_SCOPE + 8;
const FORGET_END: usize = FORGET_WEIGHT + 4;

/// Most bytes of a record's variable tail, which bounds what decoding may allocate.
pub(crate) const METADATA_BYTES_MAX: usize = 1 << 20;

/// The place of a record in the log: the block's number and the record's position in it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location(u64);

impl Location {
    const SLOT_BITS: u32 = 16;
    pub(crate) const fn new(block: u64, slot: u16) -> Self {
        Self(block << Self::SLOT_BITS | slot as u64)
    }

    pub(crate) const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) const fn block(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are wanted")]
    pub(crate) const fn slot(self) -> u16 {
        self.0 as u16
    }
}

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

/// What a finished record counts for (contract 8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Fingerprint of the scope.
    pub(crate) scope: u64,
    /// Bytes of scope, token, metadata and body.
    pub(crate) bytes: u32,
}

/// All that a finished record is made of.
pub(crate) struct Finished<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) digest: &'a [u8; 32],
    pub(crate) digest_version: u16,
    pub(crate) rules: u16,
    pub(crate) secret: u16,
    pub(crate) completed: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) format: u32,
    pub(crate) outcome: &'a Outcome,
    pub(crate) omitted: Option<Omitted>,
}

impl Finished<'_> {
    /// What it counts for, in bytes: scope, token, metadata and body.
    pub(crate) fn weighs(&self) -> u32 {
        let body = if self.omitted.is_some() { self.outcome.body().len() } else { 0 };
        let bytes = self.key.len() as u64 - 2 + self.outcome.size() - body as u64;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// The record's bytes, still without checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body: &[u8] = if self.omitted.is_some() { &[] } else { self.outcome.body() };
        let mut flags = 0;
        let mut bytes = Vec::with_capacity(KEY + self.key.len() + body.len() + 64);
        bytes.resize(KEY, 0);
        bytes.extend_from_slice(self.key);
        bytes.extend_from_slice(body);
        if let Some(omitted) = self.omitted {
            flags |= FLAG_OMITTED;
            bytes.extend_from_slice(&omitted.bytes.to_le_bytes());
            bytes.extend_from_slice(&omitted.digest);
        }
        if !self.outcome.metadata().is_empty() {
            flags |= FLAG_METADATA;
            codec::encode_into(&self.outcome.metadata, &mut bytes);
        }
        put(&mut bytes, DIGEST_VERSION, &self.digest_version.to_le_bytes());
        put(&mut bytes, COMPLETED, &self.completed.as_millis().to_le_bytes());
        put(&mut bytes, EXPIRES, &self.expires.as_millis().to_le_bytes());
        put(&mut bytes, DIGEST, self.digest);
        put(&mut bytes, RULES, &self.rules.to_le_bytes());
        put(&mut bytes, SECRET, &self.secret.to_le_bytes());
        put(&mut bytes, STATUS, &self.outcome.status.to_le_bytes());
        put(&mut bytes, ATTEMPTS, &self.attempts.to_le_bytes());
        put(&mut bytes, OUTCOME_FORMAT, &self.format.to_le_bytes());
        put(&mut bytes, BODY_LENGTH, &length(body).to_le_bytes());
        prefixed(bytes, Kind::Finished, flags)
    }
}

/// A note that the record at `target` is no longer to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) time: Timestamp,
    pub(crate) target: Location,
    pub(crate) hash: u64,
    pub(crate) weight: Weight,
}

impl Forgotten {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FORGET_END];
        put(&mut bytes, FORGET_TIME, &self.time.as_millis().to_le_bytes());
        put(&mut bytes, FORGET_TARGET, &self.target.as_u64().to_le_bytes());
        put(&mut bytes, FORGET_HASH, &self.hash.to_le_bytes());
        put(&mut bytes, FORGET_SCOPE, &self.weight.scope.to_le_bytes());
        put(&mut bytes, FORGET_WEIGHT, &self.weight.bytes.to_le_bytes());
        prefixed(bytes, Kind::Forgotten, 0)
    }
}

/// A control record around bytes that the ledger encoded.
pub(crate) fn control(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; PREFIX_BYTES];
    bytes.extend_from_slice(body);
    prefixed(bytes, Kind::Control, 0)
}

/// Sets the checksum, now that the record's place is known.
pub(crate) fn seal(bytes: &mut [u8], at: Location, keys: &HashKeys) {
    let checksum = checksum(bytes, at, keys);
    put(bytes, CHECKSUM, &checksum.to_le_bytes());
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// They do not pass the checksum, or contradict themselves.
    Damaged,
    /// A kind or flag of a newer library.
    Newer,
}

/// A record's bytes that passed every check: all accessors are total.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
    kind: Kind,
    key_len: usize,
}

impl<'a> Record<'a> {
    /// The record that begins at the start of `bytes`, checked against its place.
    pub(crate) fn open(bytes: &'a [u8], at: Location, keys: &HashKeys) -> Result<Self, Unreadable> {
        let length = bytes.get(..4).map_or(0, |head| u32_at(head, 0)) as usize;
        let bytes = bytes.get(..length).filter(|own| own.len() >= PREFIX_BYTES).ok_or(Unreadable::Damaged)?;
        if u64_at(bytes, CHECKSUM) != checksum(bytes, at, keys) {
            return Err(Unreadable::Damaged);
        }
        let kind = Kind::of(bytes[KIND]).ok_or(Unreadable::Newer)?;
        if bytes[FLAGS] & !FLAGS_KNOWN != 0 {
            return Err(Unreadable::Newer);
        }
        let key_len = match kind {
            Kind::Finished => check_finished(bytes).ok_or(Unreadable::Damaged)?,
            Kind::Forgotten if bytes.len() == FORGET_END => 0,
            Kind::Forgotten => return Err(Unreadable::Damaged),
            Kind::Control => 0,
        };
        Ok(Self { bytes, kind, key_len })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What a control record says.
    pub(crate) fn control(&self) -> &'a [u8] {
        &self.bytes[PREFIX_BYTES..]
    }

    /// What a forgotten record says.
    pub(crate) fn forgotten(&self) -> Option<Forgotten> {
        (self.kind == Kind::Forgotten).then(|| Forgotten {
            time: Timestamp::from_millis(u64_at(self.bytes, FORGET_TIME)),
            target: Location::from_u64(u64_at(self.bytes, FORGET_TARGET)),
            hash: u64_at(self.bytes, FORGET_HASH),
            weight: Weight {
                scope: u64_at(self.bytes, FORGET_SCOPE),
                bytes: u32_at(self.bytes, FORGET_WEIGHT),
            },
        })
    }

    /// The framed key of a finished record; empty for other kinds.
    pub(crate) fn key(&self) -> &'a [u8] {
        self.bytes.get(KEY..KEY + self.key_len).unwrap_or_default()
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.bytes[DIGEST..RULES]);
        digest
    }

    pub(crate) fn digest_version(&self) -> u16 {
        u16_at(self.bytes, DIGEST_VERSION)
    }

    pub(crate) fn rules(&self) -> u16 {
        u16_at(self.bytes, RULES)
    }

    pub(crate) fn secret(&self) -> u16 {
        u16_at(self.bytes, SECRET)
    }

    pub(crate) fn completed(&self) -> Timestamp {
        Timestamp::from_millis(u64_at(self.bytes, COMPLETED))
    }

    pub(crate) fn expires(&self) -> Timestamp {
        Timestamp::from_millis(u64_at(self.bytes, EXPIRES))
    }

    /// What it counts for, its scope fingerprinted under `keys`.
    pub(crate) fn weight(&self, keys: &HashKeys) -> Weight {
        let scope = &self.key()[1..1 + usize::from(self.bytes[KEY])];
        Weight { scope: keys.fingerprint(scope), bytes: self.weighs() }
    }

    /// Bytes of scope, token, body and metadata, the latter without the lengths that bincode writes.
    fn weighs(&self) -> u32 {
        let omitted = if self.bytes[FLAGS] & FLAG_OMITTED != 0 { OMITTED_BYTES } else { 0 };
        let parts = self.bytes.len() - KEY - 2 - omitted;
        let lengths = if self.bytes[FLAGS] & FLAG_METADATA != 0 {
            let tail = KEY + self.key_len + u32_at(self.bytes, BODY_LENGTH) as usize + omitted;
            let pairs = self.bytes.get(tail..tail + 8).map_or(0, |count| u64_at(count, 0));
            usize::try_from(pairs).unwrap_or(usize::MAX).saturating_mul(16).saturating_add(8)
        } else {
            0
        };
        u32::try_from(parts.saturating_sub(lengths)).unwrap_or(u32::MAX)
    }

    /// The kept outcome; `None` where the metadata does not decode.
    pub(crate) fn replay(&self) -> Option<Replay> {
        let body_at = KEY + self.key_len;
        let body_end = body_at + u32_at(self.bytes, BODY_LENGTH) as usize;
        let mut outcome = Outcome::http(u16_at(self.bytes, STATUS), &self.bytes[body_at..body_end]);
        let mut rest = &self.bytes[body_end..];
        let mut omitted = None;
        if self.bytes[FLAGS] & FLAG_OMITTED != 0 {
            let (own, more) = rest.split_at(OMITTED_BYTES);
            let mut digest = [0; 32];
            digest.copy_from_slice(&own[8..]);
            omitted = Some(Omitted { bytes: u64_at(own, 0), digest });
            rest = more;
        }
        if self.bytes[FLAGS] & FLAG_METADATA != 0 {
            outcome.metadata = codec::decode::<_, METADATA_BYTES_MAX>(rest)?;
        }
        Some(Replay {
            outcome,
            omitted,
            completed: self.completed(),
            expires: self.expires(),
            attempts: u32_at(self.bytes, ATTEMPTS),
            format: u32_at(self.bytes, OUTCOME_FORMAT),
        })
    }
}

/// Checks that a finished record's parts fill it exactly; gives the framed key's length.
fn check_finished(bytes: &[u8]) -> Option<usize> {
    let scope_len = usize::from(*bytes.get(KEY)?);
    let token_len = usize::from(*bytes.get(KEY + 1 + scope_len)?);
    let key_len = 2 + scope_len + token_len;
    let flags = bytes[FLAGS];
    let omitted = if flags & FLAG_OMITTED != 0 { OMITTED_BYTES } else { 0 };
    let fixed = (KEY + key_len + omitted).checked_add(u32_at(bytes, BODY_LENGTH) as usize)?;
    let sound = if flags & FLAG_METADATA != 0 { bytes.len() > fixed } else { bytes.len() == fixed };
    (sound && scope_len > 0 && token_len > 0).then_some(key_len)
}

fn prefixed(mut bytes: Vec<u8>, kind: Kind, flags: u8) -> Vec<u8> {
    let length = length(&bytes);
    put(&mut bytes, LENGTH, &length.to_le_bytes());
    bytes[KIND] = kind.code();
    bytes[FLAGS] = flags;
    bytes
}

fn checksum(bytes: &[u8], at: Location, keys: &HashKeys) -> u64 {
    keys.checksum(at.as_u64(), &[&bytes[..CHECKSUM], &bytes[PREFIX_BYTES..]])
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("the outcome limit keeps records far under 4 GiB")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> HashKeys {
        HashKeys::derive(&[7; 32])
    }

    fn sample(outcome: &Outcome, omitted: Option<Omitted>, at: Location) -> Vec<u8> {
        let mut bytes = Finished {
            key: b"\x05scope\x05token",
            digest: &[9; 32],
            digest_version: 1,
            rules: 2,
            secret: 3,
            completed: Timestamp::from_millis(1000),
            expires: Timestamp::from_millis(2000),
            attempts: 4,
            format: 5,
            outcome,
            omitted,
        }
        .encode();
        seal(&mut bytes, at, &keys());
        bytes
    }

    #[test]
    fn what_was_encoded_is_replayed_byte_for_byte_3_3() {
        let at = Location::new(7, 3);
        let outcome = Outcome::http(201, "made").with_metadata("Content-Type", "text/plain");
        let bytes = sample(&outcome, None, at);
        let record = Record::open(&bytes, at, &keys()).unwrap();
        let replay = record.replay().unwrap();
        assert_eq!(replay.outcome(), &outcome);
        assert_eq!((replay.attempts(), replay.format()), (4, 5));
        assert_eq!((record.key(), record.digest()), (&b"\x05scope\x05token"[..], [9; 32]));
        assert_eq!((record.digest_version(), record.rules(), record.secret()), (1, 2, 3));
        assert_eq!(record.weight(&keys()).bytes, 10 + 4 + 12 + 10);
    }

    #[test]
    fn an_omitted_body_leaves_its_length_and_digest_4_5() {
        let at = Location::new(1, 0);
        let omitted = Omitted { bytes: 9_000_000, digest: [1; 32] };
        let bytes = sample(&Outcome::http(200, "dropped"), Some(omitted), at);
        let replay = Record::open(&bytes, at, &keys()).unwrap().replay().unwrap();
        assert_eq!((replay.omitted(), replay.outcome().body()), (Some(omitted), &b""[..]));
    }

    #[test]
    fn a_record_read_at_another_place_is_damage_5_9() {
        let bytes = sample(&Outcome::new("x"), None, Location::new(1, 0));
        assert_eq!(Record::open(&bytes, Location::new(1, 1), &keys()).err(), Some(Unreadable::Damaged));
    }

    #[test]
    fn a_kind_of_a_newer_library_is_told_apart_from_damage_5_6() {
        let at = Location::new(1, 0);
        let mut bytes = sample(&Outcome::new("x"), None, at);
        bytes[KIND] = 3;
        seal(&mut bytes, at, &keys());
        assert_eq!(Record::open(&bytes, at, &keys()).err(), Some(Unreadable::Newer));
    }

    #[test]
    fn forgetting_and_control_come_back_as_they_were() {
        let at = Location::new(2, 0);
        let note = Forgotten {
            time: Timestamp::from_millis(5),
            target: Location::new(1, 2),
            hash: 77,
            weight: Weight { scope: 8, bytes: 9 },
        };
        let mut bytes = note.encode();
        seal(&mut bytes, at, &keys());
        assert_eq!(Record::open(&bytes, at, &keys()).unwrap().forgotten(), Some(note));
        let mut bytes = control(b"hello");
        seal(&mut bytes, at, &keys());
        assert_eq!(Record::open(&bytes, at, &keys()).unwrap().control(), b"hello");
    }

    proptest! {
        #[test]
        fn any_changed_bit_is_damage_5_9(body in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..10_000) {
            let place = Location::new(3, 1);
            let mut bytes = sample(&Outcome::http(200, body).with_metadata("a", "b"), None, place);
            let bit = at % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Record::open(&bytes, place, &keys()).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic_10_4(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let place = Location::new(3, 1);
            prop_assert!(Record::open(&bytes, place, &keys()).is_err());
            let mut sealed = bytes;
            if sealed.len() >= PREFIX_BYTES {
                let length = length(&sealed).to_le_bytes();
                put(&mut sealed, LENGTH, &length);
                sealed[KIND] = [1, 2, 16][usize::from(sealed[KIND]) % 3];
                sealed[FLAGS] &= FLAGS_KNOWN;
                seal(&mut sealed, place, &keys());
                if let Ok(record) = Record::open(&sealed, place, &keys()) {
                    if record.kind() == Kind::Finished {
                        let _ = record.replay();
                        let _ = record.weight(&keys());
                    }
                }
            }
        }
    }
}
