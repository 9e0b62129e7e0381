//! A durably started operation: what outlives a crash in the middle of it (contract 5.4, 6.3).
//!
//! Law: a started record has a finished one's head, with the start in place of the completion and the checkpoint in
//! place of the body, so that key, digest and weight are found the same way. It never expires (contract 4.6); a
//! *released* one, which keeps attempt number and checkpoint for the next holder (4.3), expires as a finished one.

use std::sync::Arc;

use super::{
    ATTEMPTS, BODY_LENGTH, COMPLETED, DIGEST, DIGEST_VERSION, EXPIRES, FLAG_OUTLINE, KEY, Kind,
    OUTCOME_FORMAT, RULES, Record, SECRET, STATUS, length, prefix, put, u32_at, u64_at,
};
use crate::outcome::Checkpoint;
use crate::time::Timestamp;

/// Where a finished record has its status: which attempt wrote the checkpoint, 0 where there is none.
const CHECKPOINT_ATTEMPT: usize = STATUS;

/// A digest as it is kept: bound to its key, and what it was made under.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) digest: [u8; 32],
    pub(crate) version: u16,
    pub(crate) rules: u16,
    pub(crate) secret: u16,
    /// The parameters one by one, as [`outline_bytes`](super::outline_bytes) lays them out (contract 2.6).
    pub(crate) outline: Option<Arc<[u8]>>,
}

impl Bound {
    /// Puts it where it stands in every record with a key.
    pub(super) fn lay(&self, bytes: &mut [u8]) {
        put(bytes, DIGEST_VERSION, &self.version.to_le_bytes());
        put(bytes, DIGEST, &self.digest);
        put(bytes, RULES, &self.rules.to_le_bytes());
        put(bytes, SECRET, &self.secret.to_le_bytes());
    }

    pub(super) fn flags(&self) -> u8 {
        self.outline.as_ref().map_or(0, |_| FLAG_OUTLINE)
    }
}

/// All that a started or released record is made of.
pub(crate) struct Started<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) bound: Bound,
    pub(crate) since: Timestamp,
    pub(crate) attempt: u32,
    /// The format of the typed value that it will be finished with.
    pub(crate) format: u32,
    pub(crate) checkpoint: Option<&'a Checkpoint>,
    /// When a released one expires; `None` while it is not released.
    pub(crate) released_until: Option<Timestamp>,
}

impl Started<'_> {
    /// What it counts for, in bytes: scope, token and checkpoint.
    pub(crate) fn weighs(&self) -> u32 {
        let bytes = self.key.len() - 2 + self.checkpoint.map_or(0, |note| note.bytes.len());
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// From when on it is as never written.
    pub(crate) fn expires(&self) -> Timestamp {
        self.released_until.unwrap_or(Timestamp::MAX)
    }

    /// The record's bytes, still without checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Lays the record's bytes behind `out`'s, still without checksum.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let checkpoint: &[u8] = self.checkpoint.map_or(&[], |note| &note.bytes);
        let written_in = self.checkpoint.map_or(0, |note| note.attempt);
        let begin = out.len();
        out.resize(begin + KEY, 0);
        out.extend_from_slice(self.key);
        out.extend_from_slice(checkpoint);
        out.extend_from_slice(self.bound.outline.as_deref().unwrap_or_default());
        let bytes = &mut out[begin..];
        put(bytes, COMPLETED, &self.since.as_millis().to_le_bytes());
        put(bytes, EXPIRES, &self.expires().as_millis().to_le_bytes());
        self.bound.lay(bytes);
        put(bytes, CHECKPOINT_ATTEMPT, &written_in.to_le_bytes());
        put(bytes, ATTEMPTS, &self.attempt.to_le_bytes());
        put(bytes, OUTCOME_FORMAT, &self.format.to_le_bytes());
        put(bytes, BODY_LENGTH, &length(checkpoint).to_le_bytes());
        let kind = if self.released_until.is_some() { Kind::Released } else { Kind::Started };
        prefix(bytes, kind, self.bound.flags());
    }
}

/// Whether a record of such a kind says nothing that the writer never says: a started one never expires, and without an
/// attempt that wrote it there is no checkpoint.
pub(super) fn is_plain(bytes: &[u8], kind: Kind) -> bool {
    let expires = kind == Kind::Released || u64_at(bytes, EXPIRES) == Timestamp::MAX.as_millis();
    expires && (u32_at(bytes, CHECKPOINT_ATTEMPT) > 0 || u32_at(bytes, BODY_LENGTH) == 0)
}

impl Record<'_> {
    /// The digest as it was kept, to be kept again.
    pub(crate) fn bound(&self) -> Bound {
        let (version, rules, secret) = (self.digest_version(), self.rules(), self.secret());
        let outline = Some(self.outline_bytes()).filter(|bytes| !bytes.is_empty()).map(Arc::from);
        Bound { digest: self.digest(), version, rules, secret, outline }
    }

    /// When a started record's attempt began.
    pub(crate) fn since(&self) -> Timestamp {
        self.completed()
    }

    /// How many attempts there were, the one of this record included.
    pub(crate) fn attempts(&self) -> u32 {
        u32_at(self.bytes, ATTEMPTS)
    }

    /// The format of the typed value that it is, or will be, finished with.
    pub(crate) fn format(&self) -> u32 {
        u32_at(self.bytes, OUTCOME_FORMAT)
    }

    /// A started or released record's last checkpoint.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let unfinished = matches!(self.kind, Kind::Started | Kind::Released);
        let (attempt, from) = (u32_at(self.bytes, CHECKPOINT_ATTEMPT), KEY + self.key_len);
        let bytes = || &self.bytes[from..from + u32_at(self.bytes, BODY_LENGTH) as usize];
        (unfinished && attempt > 0).then(|| Checkpoint { attempt, bytes: bytes().into() })
    }
}
