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
//!                | attempts u32 | format u32 | body length u32 | framed key | body | [omitted 40] | [outline]
//!                | [metadata]
//! started:       since u64 | as finished, in place of the status and 0 the checkpoint's attempt u32 (0: none)
//!                | framed key | checkpoint | [outline]
//! released:      as started
//! forgotten:     time u64 | target u64 | hash u64 | scope u64 | weight u32
//! control:       what the ledger has to say of itself, encoded by bincode
//! outline:       length u16 of what follows | reach u8 | for each name: digest u64 | length u8 | name
//! ```
//! Kinds 5 to 15 and the flags 16 to 128 are reserved; a reader that meets one says *newer format*. Flag 8 stands in
//! encrypted segments alone (`encrypted`).

mod encrypted;
mod keys;
mod outline;
mod place;
mod started;

pub(crate) use encrypted::{Opened, RecordKeys};
pub(crate) use keys::{HashKeys, share_of};
pub(crate) use outline::{outline_bytes, outline_length};
pub(crate) use place::Location;
pub(crate) use started::{Bound, Started};

use crate::codec;
use crate::outcome::{Kept, Omitted, Outcome, Replay};
use crate::time::Timestamp;

/// The format that this library writes and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An operation ended with this outcome.
    Finished,
    /// An operation was durably started, and this is its last checkpoint.
    Started,
    /// A durably started operation was released without an outcome.
    Released,
    /// A record is no longer to be known.
    Forgotten,
    /// The ledger's own notes.
    Control,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Finished => 1,
            Self::Forgotten => 2,
            Self::Started => 3,
            Self::Released => 4,
            Self::Control => 16,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Finished),
            2 => Some(Self::Forgotten),
            3 => Some(Self::Started),
            4 => Some(Self::Released),
            16 => Some(Self::Control),
            _ => None,
        }
    }
}

const FLAG_OMITTED: u8 = 1;
const FLAG_METADATA: u8 = 2;
const FLAG_OUTLINE: u8 = 4;
const FLAG_ENCRYPTED: u8 = 8;
const FLAGS_KNOWN: u8 = FLAG_OMITTED | FLAG_METADATA | FLAG_OUTLINE;

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
const METADATA_BYTES_MAX: usize = 1 << 20;
/// Most that status and metadata may take of it, whatever an outcome may have (contract 4.5).
const METADATA_KEPT_MAX: u64 = METADATA_BYTES_MAX as u64 / 4;

/// What an outcome measures of which so many bytes would be kept, and the limit that this is beyond, if it is beyond one.
pub(crate) fn beyond_limit(outcome: &Outcome, kept: u64, limit: u64) -> Option<(u64, u64)> {
    // Each pair costs two lengths of 8 bytes beside its own bytes.
    let metadata = outcome.size() - outcome.body().len() as u64 + 16 * outcome.metadata().len() as u64;
    let all = [(kept, limit), (metadata, METADATA_KEPT_MAX)];
    all.into_iter().find(|(measured, limit)| measured > limit)
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
    pub(crate) bound: Bound,
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
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Lays the record's bytes behind `out`'s, still without checksum.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let body: &[u8] = if self.omitted.is_some() { &[] } else { self.outcome.body() };
        let outline = self.bound.outline.as_deref().unwrap_or_default();
        let (begin, mut flags) = (out.len(), self.bound.flags());
        out.resize(begin + KEY, 0);
        out.extend_from_slice(self.key);
        out.extend_from_slice(body);
        if let Some(omitted) = self.omitted {
            flags |= FLAG_OMITTED;
            out.extend_from_slice(&omitted.bytes.to_le_bytes());
            out.extend_from_slice(&omitted.digest);
        }
        out.extend_from_slice(outline);
        if !self.outcome.metadata().is_empty() {
            flags |= FLAG_METADATA;
            codec::encode_into(&self.outcome.metadata, out);
        }
        let bytes = &mut out[begin..];
        put(bytes, COMPLETED, &self.completed.as_millis().to_le_bytes());
        put(bytes, EXPIRES, &self.expires.as_millis().to_le_bytes());
        self.bound.lay(bytes);
        put(bytes, STATUS, &self.outcome.status.to_le_bytes());
        put(bytes, ATTEMPTS, &self.attempts.to_le_bytes());
        put(bytes, OUTCOME_FORMAT, &self.format.to_le_bytes());
        put(bytes, BODY_LENGTH, &length(body).to_le_bytes());
        prefix(bytes, Kind::Finished, flags);
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
        prefix(&mut bytes, Kind::Forgotten, 0);
        bytes
    }
}

/// A control record around bytes that the ledger encoded.
pub(crate) fn control(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; PREFIX_BYTES];
    bytes.extend_from_slice(body);
    prefix(&mut bytes, Kind::Control, 0);
    bytes
}

/// Whether what was encoded of values from elsewhere says what some writer says, and can be replayed.
#[cfg(feature = "cli")]
pub(crate) fn reads_back(bytes: &[u8]) -> bool {
    Record::parse(bytes).is_ok_and(|own| own.kind != Kind::Finished || own.replay().is_some())
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
    /// The record that begins at the start of `bytes`, checked against its place, as it stands where nothing is encrypted.
    #[cfg(any(test, fuzzing, feature = "distributed"))]
    pub(crate) fn open(bytes: &'a [u8], at: Location, keys: &HashKeys) -> Result<Self, Unreadable> {
        verified(bytes, at, keys).and_then(Self::parse)
    }

    /// What bytes say that passed their checksum.
    fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let kind = Kind::of(bytes[KIND]).ok_or(Unreadable::Newer)?;
        let flags = match kind {
            Kind::Finished => FLAGS_KNOWN,
            Kind::Started | Kind::Released => FLAG_OUTLINE,
            Kind::Forgotten | Kind::Control => 0,
        };
        if bytes[FLAGS] & !flags != 0 {
            return Err(Unreadable::Newer);
        }
        let key_len = match kind {
            Kind::Finished => check_parts(bytes).filter(|_| is_plain(bytes)).ok_or(Unreadable::Damaged)?,
            Kind::Started | Kind::Released => {
                let sound = |_: &usize| started::is_plain(bytes, kind);
                check_parts(bytes).filter(sound).ok_or(Unreadable::Damaged)?
            }
            _ if u16_at(bytes, DIGEST_VERSION) != 0 => return Err(Unreadable::Newer),
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

    /// The framed key of a record that has one; empty for other kinds.
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
        let scope = &self.key()[1..=usize::from(self.bytes[KEY])];
        Weight { scope: keys.fingerprint(scope), bytes: self.weighs() }
    }

    /// Bytes of scope, token, body and metadata, the latter without the lengths that bincode writes.
    fn weighs(&self) -> u32 {
        let omitted = if self.bytes[FLAGS] & FLAG_OMITTED != 0 { OMITTED_BYTES } else { 0 };
        let beside = omitted + self.outline_bytes().len();
        let parts = self.bytes.len() - KEY - 2 - beside;
        let lengths = if self.bytes[FLAGS] & FLAG_METADATA != 0 {
            let tail = KEY + self.key_len + u32_at(self.bytes, BODY_LENGTH) as usize + beside;
            let pairs = self.bytes.get(tail..tail + 8).map_or(0, |count| u64_at(count, 0));
            usize::try_from(pairs).unwrap_or(usize::MAX).saturating_mul(16).saturating_add(8)
        } else {
            0
        };
        u32::try_from(parts.saturating_sub(lengths)).unwrap_or(u32::MAX)
    }

    /// A finished record's outcome; `None` where the metadata does not decode.
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
            let metadata = &rest[self.outline_bytes().len()..];
            outcome.metadata = codec::decode::<_, METADATA_BYTES_MAX>(metadata)?;
            // What has none says so by its flag.
            if outcome.metadata.is_empty() {
                return None;
            }
        }
        let (completed, expires) = (self.completed(), self.expires());
        let (attempts, format) = (self.attempts(), self.format());
        Some(Kept { outcome, omitted, completed, expires, attempts, format }.into())
    }
}

/// The bytes of the record at the head of `bytes`, if they pass their checksum at this place.
fn verified<'a>(bytes: &'a [u8], at: Location, keys: &HashKeys) -> Result<&'a [u8], Unreadable> {
    let length = bytes.get(..4).map_or(0, |head| u32_at(head, 0)) as usize;
    let bytes = bytes.get(..length).filter(|own| own.len() >= PREFIX_BYTES).ok_or(Unreadable::Damaged)?;
    let sound = u64_at(bytes, CHECKSUM) == checksum(bytes, at, keys);
    if sound { Ok(bytes) } else { Err(Unreadable::Damaged) }
}

/// Checks that the parts of a record with a key fill it exactly; gives the framed key's length.
fn check_parts(bytes: &[u8]) -> Option<usize> {
    let scope_len = usize::from(*bytes.get(KEY)?);
    let token_len = usize::from(*bytes.get(KEY + 1 + scope_len)?);
    let key_len = 2 + scope_len + token_len;
    let flags = bytes[FLAGS];
    let omitted = if flags & FLAG_OMITTED != 0 { OMITTED_BYTES } else { 0 };
    let body_end = (KEY + key_len).checked_add(u32_at(bytes, BODY_LENGTH) as usize)?;
    let before_outline = body_end.checked_add(omitted)?;
    let fixed = before_outline
        + if flags & FLAG_OUTLINE == 0 { 0 } else { outline::length_at(bytes.get(before_outline..)?)? };
    let sound = if flags & FLAG_METADATA != 0 { bytes.len() > fixed } else { bytes.len() == fixed };
    (sound && scope_len > 0 && token_len > 0).then_some(key_len)
}

/// Whether a finished record says nothing that the writer never says: two bytes are reserved, and a body that was omitted
/// is not there.
fn is_plain(bytes: &[u8]) -> bool {
    let omitted = bytes[FLAGS] & FLAG_OMITTED != 0;
    u16_at(bytes, STATUS + 2) == 0 && (!omitted || u32_at(bytes, BODY_LENGTH) == 0)
}

/// Writes what every record begins with, but for the checksum.
fn prefix(bytes: &mut [u8], kind: Kind, flags: u8) {
    put(bytes, LENGTH, &length(bytes).to_le_bytes());
    bytes[KIND] = kind.code();
    bytes[FLAGS] = flags;
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
mod tests;
