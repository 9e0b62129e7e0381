//! What an operation returned, and whether it is kept.
//!
//! Law: an outcome is **final** (it would come again: kept and replayed) or **retryable** (it says nothing of
//! the next try: not kept, and the reservation is released), contract 4.2. Who decides is, in this order: the
//! caller ([`Outcome::finally`], [`Outcome::retryable`]), the store's [`Classifier`], by default [`classify`].
//! `Debug` shows numbers, never bytes (contract 10.2).

use std::fmt;
use std::sync::Arc;

use crate::time::Timestamp;

/// Whether an outcome is kept (contract 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It would come again: kept, and every retry gets it byte for byte.
    Final,
    /// It says nothing of the next try: not kept, a retry runs afresh.
    Retryable,
}

/// Decides of outcomes that don't decide themselves. The store asks it outside all locks.
pub type Classifier = Arc<dyn Fn(&Outcome) -> Class + Send + Sync>;

/// What an operation returned: bytes, and beside them a status and metadata, which are replayed with them.
///
/// ```
/// use oncekey::{Class, Outcome};
///
/// let created = Outcome::http(201, "{\"Id\":\"g-1\"}").with_metadata("Content-Type", "application/json");
/// assert_eq!((created.status(), created.body()), (Some(201), &b"{\"Id\":\"g-1\"}"[..]));
/// assert_eq!(created.class(), Class::Final);
/// assert_eq!(Outcome::http(503, "").class(), Class::Retryable);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) status: u16,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    code: Option<String>,
    class: Option<Class>,
}

impl Outcome {
    /// An outcome without status: final, unless it is told otherwise.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// An outcome with an HTTP status, by which it is classified.
    pub fn http(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, ..Self::new(body) }
    }

    /// Adds a name and a value that are kept and replayed (a content type, say). Names may repeat.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    /// Names the error code, for the classifier alone: it is not kept.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Keep it, whatever its status says.
    #[must_use]
    pub fn finally(self) -> Self {
        Self { class: Some(Class::Final), ..self }
    }

    /// Don't keep it, whatever its status says.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { class: Some(Class::Retryable), ..self }
    }

    /// The status, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }

    /// Names and values kept beside the bytes.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The error code it was given, for classifiers.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What it says of itself, or else what [`classify`] says of it.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class.unwrap_or_else(|| classify(self))
    }

    pub(crate) fn class_by(&self, classifier: Option<&Classifier>) -> Class {
        self.class.unwrap_or_else(|| classifier.map_or_else(|| classify(self), |decide| decide(self)))
    }

    /// Bytes of memory that it holds beside itself.
    pub(crate) fn held_bytes(&self) -> usize {
        let metadata = self.metadata.iter().map(|(name, value)| name.capacity() + value.capacity());
        let pairs = self.metadata.capacity() * size_of::<(String, String)>();
        self.body.capacity() + pairs + metadata.sum::<usize>()
    }

    /// Bytes that count against the outcome limit: body and metadata.
    pub(crate) fn size(&self) -> u64 {
        let metadata: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.body.len() + metadata) as u64
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("status", &self.status())
            .field("metadata", &self.metadata.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// How much of a body is searched for "try it later", in bytes.
const SEARCHED_BYTES_MAX: usize = 4096;

/// The default classification (contract 4.2): by status; and of a 4xx by its code and body, since "try it
/// later" is text and not a status. 401, 403 and 407 are not kept: they say nothing of the operation.
#[must_use]
pub fn classify(outcome: &Outcome) -> Class {
    match outcome.status {
        0 | 200..=399 => Class::Final,
        400..=499 if !is_no_verdict(outcome.status) && !says_later(outcome) => Class::Final,
        _ => Class::Retryable,
    }
}

/// A 4xx that says nothing of the operation, or that says *later* by its status.
const fn is_no_verdict(status: u16) -> bool {
    matches!(status, 401 | 403 | 407 | 408 | 425 | 429)
}

fn says_later(outcome: &Outcome) -> bool {
    const CODES: [&str; 4] = ["throttling", "serviceunavailable", "idempotentprocessing", "requesttimeout"];
    const PHRASES: [&str; 6] =
        ["try it later", "try again later", "try later", "retry later", "retry it later", "later retry"];
    let code = outcome.code.as_deref().unwrap_or_default().to_ascii_lowercase();
    let searched = &outcome.body[..outcome.body.len().min(SEARCHED_BYTES_MAX)];
    let text = String::from_utf8_lossy(searched).to_ascii_lowercase();
    CODES.iter().any(|known| code.starts_with(known))
        || PHRASES.iter().any(|phrase| text.contains(phrase) || code.contains(phrase))
}

/// A kept outcome, given again (contract 3.3). Clones share its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Replay(Arc<Kept>);

/// All that is kept of a finished operation.
#[derive(PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) outcome: Outcome,
    pub(crate) omitted: Option<Omitted>,
    pub(crate) completed: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) format: u32,
}

/// What is known of a body that was too large to keep (contract 4.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Omitted {
    /// The body's length in bytes.
    pub bytes: u64,
    /// The body's BLAKE3 digest.
    pub digest: [u8; 32],
}

impl Omitted {
    pub(crate) fn of(body: &[u8]) -> Self {
        Self { bytes: body.len() as u64, digest: *blake3::hash(body).as_bytes() }
    }
}

/// A durable note of an operation's progress, for the next attempt if this one does not end (contract 6.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub(crate) attempt: u32,
    pub(crate) bytes: Arc<[u8]>,
}

impl Checkpoint {
    /// Which attempt wrote it, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What it wrote.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("attempt", &self.attempt)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Omitted").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl From<Kept> for Replay {
    /// Neither code nor class are kept, so that every replay of one outcome is the same (contract 3.3).
    fn from(kept: Kept) -> Self {
        let outcome = Outcome { code: None, class: None, ..kept.outcome };
        Self(Arc::new(Kept { outcome, ..kept }))
    }
}

impl Replay {
    /// The outcome, byte for byte. Where [`Replay::omitted`] says so, its body is empty.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.0.outcome
    }

    /// The outcome, byte for byte, to keep: a copy of it while others hold it too.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.outcome.clone(), |own| own.outcome)
    }

    /// Length and digest of a body that was too large to keep.
    #[must_use]
    pub fn omitted(&self) -> Option<Omitted> {
        self.0.omitted
    }

    /// When the operation finished.
    #[must_use]
    pub fn completed(&self) -> Timestamp {
        self.0.completed
    }

    /// From when on the key counts as never seen (contract 7.1).
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.expires
    }

    /// How many attempts it took, from 1.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The caller's format version of a typed value; 0 where there is none.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.0.format
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("outcome", self.outcome())
            .field("omitted_bytes", &self.omitted().map(|omitted| omitted.bytes))
            .field("completed", &self.completed())
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_final_or_retryable_4_2() {
        for status in [200, 201, 204, 302, 400, 404, 409, 422] {
            assert_eq!(Outcome::http(status, "no").class(), Class::Final, "{status}");
        }
        for status in [100, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 600] {
            assert_eq!(Outcome::http(status, "no").class(), Class::Retryable, "{status}");
        }
    }

    #[test]
    fn a_4xx_that_says_try_it_later_is_retryable_by_text_or_code_4_2() {
        assert_eq!(Outcome::http(400, "Busy. Please TRY it later.").class(), Class::Retryable);
        assert_eq!(Outcome::http(400, "").with_code("Throttling.User").class(), Class::Retryable);
        assert_eq!(Outcome::http(400, "").with_code("InvalidParameter").class(), Class::Final);
        assert_eq!(Outcome::http(200, "try again later").class(), Class::Final);
    }

    #[test]
    fn the_caller_decides_before_the_classifier_does_4_2() {
        let all_final: Classifier = Arc::new(|_| Class::Final);
        assert_eq!(Outcome::http(503, "").class_by(Some(&all_final)), Class::Final);
        assert_eq!(Outcome::http(503, "").retryable().class_by(Some(&all_final)), Class::Retryable);
        assert_eq!(Outcome::http(503, "").finally().class_by(None), Class::Final);
    }

    #[test]
    fn debug_shows_numbers_and_no_bytes_10_2() {
        let outcome = Outcome::http(200, "canary").with_metadata("canary", "canary").with_code("canary");
        assert!(!format!("{outcome:?}").contains("canary"));
    }
}
