//! What can go wrong, as plain data.
//!
//! Law: an answer is not an error, and each kind here is one different thing that the caller does next.
//! Every sentence names what was measured, the limit and the remedy, and never the caller's bytes
//! (contract 8.1, 10.2). An [`Error`] carries no guard, no handle and no lock: it can be cloned, compared,
//! kept and sent anywhere. Nothing is imported from the rest of the crate.

mod difference;

use std::fmt;
use std::time::Duration;

pub use difference::Difference;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call was refused. Match on [`Error::kind`], or ask one of the predicates.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    difference: Option<Difference>,
}

impl Error {
    /// What happened, to match on.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Which parameters of a mismatch differ (contract 2.6). `None` where the store was not told to keep what it takes
    /// (`Builder::explain_mismatches`) when the token was first used, and where the parameters have no names.
    ///
    /// ```
    /// use oncekey::{Key, Parameters, Store};
    ///
    /// let store = Store::builder().explain_mismatches(true).open_in_memory()?;
    /// let key = Key::new("account-1", "token-1")?;
    /// let first = store.begin(&key, &Parameters::query("Action=Create&MinSize=1&MaxSize=3"))?;
    ///
    /// let error = store.begin(&key, &Parameters::query("Action=Create&MinSize=2&Zone=z")).unwrap_err();
    /// let difference = error.difference().expect("the store was told to explain");
    /// assert!(difference.added().eq(["Zone"]));
    /// assert!(difference.removed().eq(["MaxSize"]));
    /// assert!(difference.changed().eq(["MinSize"]));
    /// assert!(error.to_string().ends_with("(1 added, 1 removed, 1 changed)"), "names are never shown");
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    #[must_use]
    pub fn difference(&self) -> Option<&Difference> {
        self.0.difference.as_ref()
    }

    /// A mismatch, explained if it can be.
    pub(crate) fn mismatch(difference: Option<Difference>) -> Self {
        Self(Box::new(Inner { kind: ErrorKind::Mismatch, difference }))
    }

    /// The token was used before with other parameters (contract 3.2, 3.3): HTTP 422, or 400
    /// `IdempotentParameterMismatch`.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self.kind(), ErrorKind::Mismatch)
    }

    /// Somebody runs this operation at this moment (contract 3.2): HTTP 409, or 403 `IdempotentProcessing`.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        matches!(self.kind(), ErrorKind::InFlight { .. })
    }

    /// The same call may well succeed a little later: answer 409 or 503 with `Retry-After`.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::InFlight { .. }
                | ErrorKind::Overloaded { .. }
                | ErrorKind::Full { .. }
                | ErrorKind::Stopped { .. }
                | ErrorKind::Unreachable { .. }
        )
    }

    /// The token, scope or parameters themselves are refused (contract 1, 2, 8): HTTP 400.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::InvalidToken(_)
                | ErrorKind::InvalidScope(_)
                | ErrorKind::InvalidParameters(_)
                | ErrorKind::TooLarge { .. }
        )
    }

    /// Whether the operation was recorded is not known until the store was reopened, or its engine was heard again (contract
    /// 3.9, 5.1); or it was interrupted, and nobody knows how far it came until it is resolved (3.4).
    #[must_use]
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::UnknownOutcome | ErrorKind::AnswerLost | ErrorKind::Interrupted { .. }
        )
    }

    /// Another caller took the key over after the lease had lapsed (contract 4.4).
    #[must_use]
    pub fn is_reservation_lost(&self) -> bool {
        matches!(self.kind(), ErrorKind::ReservationLost { .. })
    }

    /// Too many live reservations or waiters at once (contract 8.1).
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        matches!(self.kind(), ErrorKind::Overloaded { .. })
    }

    /// No room for another record, by a limit or on the disk (contract 5.10, 8.1).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), ErrorKind::Full { .. })
    }

    /// Bytes on disk, or at an engine, did not pass their checksum (contract 5.9).
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self.kind(), ErrorKind::Damaged { .. } | ErrorKind::DamagedRecord { .. })
    }

    /// The key that a segment is encrypted under is not at hand.
    pub(crate) fn is_locked_away(&self) -> bool {
        matches!(self.kind(), ErrorKind::Encrypted { .. } | ErrorKind::WrongEncryptionKey { .. })
    }

    /// The request was first sent before the store could remember (contract 3.8).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.kind(), ErrorKind::Expired { .. })
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, difference: None }))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)?;
        self.difference().map_or(Ok(()), |difference| write!(f, ", {difference:?}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)?;
        self.difference().map_or(Ok(()), |difference| write!(f, " ({difference})"))
    }
}

impl std::error::Error for Error {}

/// One kind for each different thing that the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The token breaks its rule (contract 1.1). The client has to send another.
    #[error("token refused: {0}")]
    InvalidToken(TokenFault),
    /// The scope breaks its rule (contract 1.2). The server has to name whose token it is.
    #[error("scope refused: {0}")]
    InvalidScope(ScopeFault),
    /// The label of a derived token is empty or too long (`Key::derive`). It is the server's own word: shorten it.
    #[error("label refused: it has {measured} bytes; a label has 1 to {limit}")]
    InvalidLabel {
        /// Its length in bytes.
        measured: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The parameters can't be digested (contract 2.3). The client has to send them well formed.
    #[error("parameters refused: {0}")]
    InvalidParameters(ParameterFault),
    /// One call exceeds a size or count limit (contract 4.5, 8.1).
    #[error(
        "{what} is {measured}, the limit is {limit}; send less, or raise the limit in the store's builder"
    )]
    TooLarge {
        /// What was measured.
        what: Limit,
        /// Its size or count.
        measured: u64,
        /// The store's limit.
        limit: u64,
    },
    /// The same token came with other parameters (contract 3.2, 3.3).
    #[error(
        "this token was used before with other parameters; use a new token for a new operation, or retry with the same parameters"
    )]
    Mismatch,
    /// The digest was made ready by the caller under another version or other settings than the record's
    /// (contract 2.4), or the secret that the record's digest was made with is not at hand (contract 2.5).
    #[error(
        "the parameters can't be compared with those of the first request: {0}; give `begin` the parameters themselves, and the store every secret that it still needs"
    )]
    CannotCompare(Incomparable),
    /// The key is reserved and running (contract 3.2; asked by `forget` and `execute`).
    #[error("the operation runs at this moment, attempt {attempt}; wait, or ask again later")]
    InFlight {
        /// Which attempt runs, from 1.
        attempt: u32,
        /// What is left of its lease; `None` once its completion is being written.
        lease_left: Option<Duration>,
    },
    /// Its commit failed, so nobody knows whether the outcome is on disk (contract 3.9, 5.1).
    #[error(
        "the outcome of this operation is unknown, since its commit failed; reopen the store (`reopen`), which then looks"
    )]
    UnknownOutcome,
    /// The engine's answer to its completion was lost (contract 3.9; module `distributed`): nobody knows whether it has it.
    #[error(
        "the outcome of this operation is unknown, since the engine's answer to its completion was lost; the store goes on asking the engine: ask again a little later"
    )]
    AnswerLost,
    /// It was durably started, its process ended, and the policy is not to resume it (contract 3.4): how far it came is
    /// unknown.
    #[error(
        "the operation was interrupted in attempt {attempt}, and how far it came is unknown; find out, then `resolve` the key with the outcome, or `forget` it"
    )]
    Interrupted {
        /// The attempt that was interrupted.
        attempt: u32,
    },
    /// `resolve` settles interrupted keys only (contract 4.6).
    #[error("there is nothing to resolve: the key is not interrupted")]
    NotInterrupted,
    /// A checkpoint needs a durable reservation (contract 6.3).
    #[error("the reservation is volatile, so a checkpoint would not survive; ask with `start_durably`")]
    NotDurable,
    /// The request is older than the retention could remember (contract 3.8).
    #[error(
        "the request was first sent {age:?} ago, records are kept for {retention:?}; use a new token if the operation shall run again"
    )]
    Expired {
        /// How long ago the request was first sent.
        age: Duration,
        /// How long a record would have been kept.
        retention: Duration,
    },
    /// A record or block does not pass its checksum (contract 3.10, 5.9).
    #[error(
        "damaged bytes in segment {segment}; restore it from a backup, or let the store serve without it (`accept_damage`)"
    )]
    Damaged {
        /// Number of the segment file that holds the damage.
        segment: u64,
    },
    /// What an engine has of a key is not what was written (contract 5.9; module `distributed`).
    #[error(
        "damaged bytes at the engine {engine}; restore it from a backup, or `forget` the key if the operation may run again"
    )]
    DamagedRecord {
        /// Which engine.
        engine: &'static str,
    },
    /// The lease lapsed and another caller took the key over (contract 4.4). Nothing was changed.
    #[error(
        "the reservation of attempt {attempt} was lost: its lease lapsed and another caller took over; renew in time, or ask for a longer lease"
    )]
    ReservationLost {
        /// The attempt that lost the key.
        attempt: u32,
    },
    /// Too much at once (contract 8.1). Nothing was evicted; ask again a little later.
    #[error("overloaded: {what} would be {measured}, the limit is {limit}; retry later, or raise the limit")]
    Overloaded {
        /// What was counted.
        what: Limit,
        /// What it would have become.
        measured: u64,
        /// The store's limit.
        limit: u64,
    },
    /// Too much is kept, or the disk is full (contract 5.10, 8.1). Nothing was evicted and nothing has run.
    #[error(
        "full: {what} would be {measured}, the limit is {limit}; shorten the retention, sweep, raise the limit or free disk space"
    )]
    Full {
        /// What was counted.
        what: Limit,
        /// What it would have become.
        measured: u64,
        /// The store's limit.
        limit: u64,
    },
    /// A kept outcome can't be read as the type asked for (issue of the caller's format version). Its bytes are given.
    #[error(
        "the kept outcome has format {format}, which can't be read as the type asked for ({} bytes); decode it by hand, or `forget` the key", bytes.len()
    )]
    UnreadableOutcome {
        /// The format version that the caller wrote it with.
        format: u32,
        /// The kept bytes. `Debug` shows their number only.
        bytes: Opaque,
    },
    /// A value that bincode can write but not read back: found at the first run, before anything was kept.
    #[error(
        "the value of this operation can be written but not read back, so it could never be replayed; the operation has run and was not recorded: mend the type's serde attributes"
    )]
    NotReadableBack,
    /// The outcome was too large and is kept without its body (contract 4.5), so that there is no value to give.
    #[error(
        "the outcome was kept without its body of {bytes} bytes; the operation has run and will not run again"
    )]
    WithoutBody {
        /// Length of the body that was not kept.
        bytes: u64,
    },
    /// A disk error left memory and disk in doubt (contract 5.5). Replays go on; `reopen` starts anew.
    #[error(
        "the store has stopped after a failed {operation}; replays go on, call `reopen` to start it again"
    )]
    Stopped {
        /// What failed.
        operation: &'static str,
    },
    /// The store was closed (contract 11).
    #[error("the store is closed; open it again")]
    Closed,
    /// This thread holds the lent write transaction of the store's database, which the call would wait for (contract
    /// 6.4). Nothing was changed.
    #[error(
        "this thread holds the lent transaction, for which the call would wait for ever; complete the reservation in the transaction, or commit or drop that first"
    )]
    Lent,
    /// This is a thread of the store's own, on which a waker was called: the call could wait for itself (contract 5.11). Nothing
    /// was changed. The reservation of a completion comes back; what was to be released is, as by dropping.
    #[error(
        "this is a thread of the store's own, on which the call could wait for itself for ever; let a waker wake a task or another thread, and call from there"
    )]
    OwnThread,
    /// The engine did not answer (module `distributed`). Nothing was given out.
    #[error(
        "the engine {engine} was not reached: {kind}; see that it runs and can be reached, and ask again a little later"
    )]
    Unreachable {
        /// Which engine.
        engine: &'static str,
        /// The reason, as the system gives it.
        kind: std::io::ErrorKind,
    },
    /// A setting asks for what no engine, or not this one, can promise (module `distributed`).
    #[error("the engine {engine} does not promise what the setting {setting} asks for; leave it out")]
    NotPromised {
        /// Which engine.
        engine: &'static str,
        /// The builder's method.
        setting: &'static str,
    },
    /// The store's home does not offer this (contract 6.5, 11).
    #[error("this store can't do that in its home: {0}")]
    WrongHome(&'static str),
    /// A reservation was given to the transaction of another store (contract 6.1).
    #[error(
        "the reservation belongs to another store than the transaction; complete it in a transaction of its own"
    )]
    OtherStore,
    /// The handle was carried into a forked child, where its writer does not exist (contract 5.6).
    #[error(
        "this handle belongs to the process that opened the store; a forked child has to open a store of its own"
    )]
    Forked,
    /// The path holds something that is not a store, or not a plain file of ours (contract 5.6, 10.1).
    #[error("not a store of ours: {0}; name another path")]
    NotAStore(&'static str),
    /// The store was written by a newer library (contract 5.6).
    #[error("the store has format {found}, this library reads up to {supported}; upgrade oncekey")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this library knows.
        supported: u32,
    },
    /// A file of the store itself is damaged, so that it is not opened (contract 5.6). It was not changed.
    #[error("the store's {file} is damaged; it was not changed: restore it from a backup")]
    DamagedStore {
        /// Which file: `identity`, or `segment N`.
        file: String,
    },
    /// A segment that the store should have is missing (contract 5.6).
    #[error("segment {segment} is missing; restore it from a backup: without it retries would run again")]
    SegmentMissing {
        /// Its number.
        segment: u64,
    },
    /// Another process, or another handle of this one, has the store open (contract 5.6).
    #[error("the store is open elsewhere; one process owns a store at a time")]
    Locked,
    /// The secret is not the one that this store was made with (contract 11).
    #[error("wrong secret: this store was made with another; supply that one")]
    WrongSecret,
    /// A segment is encrypted, and no key was given, or this build can take none (feature `encryption`).
    #[error(
        "segment {segment} is encrypted; give its key (`encryption_key`, in a build with the feature `encryption`)"
    )]
    Encrypted {
        /// Its number.
        segment: u64,
    },
    /// None of the keys that were given is the one that a segment was encrypted under.
    #[error(
        "wrong encryption key: segment {segment} was encrypted under another; supply that one, as `old_encryption_key` if it was replaced"
    )]
    WrongEncryptionKey {
        /// Its number.
        segment: u64,
    },
    /// The wall clock went forward further than the store was ever closed for (contract 7.2).
    #[error(
        "the clock is {ahead:?} ahead of the last time on disk, the limit is {limit:?}; correct the clock, or accept the jump in the builder"
    )]
    ClockJump {
        /// How far ahead.
        ahead: Duration,
        /// The limit, a setting.
        limit: Duration,
    },
    /// A setting is out of its bounds, or two contradict each other.
    #[error("setting {setting} is {measured}, it must be {rule}")]
    InvalidSetting {
        /// The builder's method.
        setting: &'static str,
        /// What was given.
        measured: u64,
        /// Its rule.
        rule: &'static str,
    },
    /// The operating system refused.
    #[error("{operation} failed: {kind}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The system's reason.
        kind: std::io::ErrorKind,
    },
}

/// What is wrong with a token (contract 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// No characters at all.
    #[error("it is empty; a token has 1 to 64 ASCII characters")]
    Empty,
    /// Too many characters.
    #[error("it has {measured} bytes, the limit is {limit}; a token is ASCII, 1 to {limit} characters")]
    TooLong {
        /// Its length in bytes.
        measured: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A byte beyond ASCII.
    #[error("the byte at position {position} is not ASCII; a token has 1 to 64 ASCII characters")]
    NotAscii {
        /// Position of the first such byte, from 0.
        position: usize,
    },
    /// A header that begins with a quotation mark and is no quoted string (contract 9.2).
    #[error(
        "the header stops being a quoted string at byte {position}; send the token in quotation marks, or bare"
    )]
    BadQuotes {
        /// Where it stops, from 0.
        position: usize,
    },
}

/// What is wrong with a scope (contract 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeFault {
    /// No bytes at all: there is no anonymous scope.
    #[error("it is empty; a scope has 1 to 255 bytes, and a service with one tenant says so by name")]
    Empty,
    /// Too many bytes.
    #[error("it has {measured} bytes, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        measured: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// What is wrong with parameters (contract 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterFault {
    /// Not JSON (RFC 8259).
    #[error("not JSON at byte {position}")]
    Json {
        /// Where reading stopped, from 0.
        position: usize,
    },
    /// A member name that appears twice in one object.
    #[error(
        "a member name appears twice in one JSON object, the second time at byte {position}; send it once"
    )]
    DuplicateMember {
        /// Where the second one stands, from 0.
        position: usize,
    },
    /// Arrays and objects nested too deeply.
    #[error("JSON nested deeper than {limit}; flatten it")]
    TooDeep {
        /// The limit, 128.
        limit: usize,
    },
    /// A percent escape or a character that a query string or form can't hold.
    #[error("not a query string or form at byte {position}")]
    Query {
        /// Where reading stopped, from 0.
        position: usize,
    },
    /// A `Serialize` value that JSON can't hold (a map whose keys are no strings or numbers, say).
    #[error("the value can't be written as JSON; give pairs, bytes or another type")]
    Serialize,
}

/// Why two digests can't be compared (contract 2.4, 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incomparable {
    /// The record's digest has another version.
    #[error("the record has digest version {record}, the ready-made digest {given}")]
    Version {
        /// The record's.
        record: u16,
        /// The caller's.
        given: u16,
    },
    /// The record was digested under other exclusions.
    #[error("the record was digested under other exclusions")]
    Rules,
    /// The secret of the record was not supplied.
    #[error("the secret number {number} was not supplied")]
    Secret {
        /// The secret's number, counted by rotations from 1.
        number: u16,
    },
}

/// What a limit counts (contract 8.1). Bytes, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// Number of parameters in one request.
    #[error("the number of parameters")]
    ParameterCount,
    /// Bytes of all parameters of one request.
    #[error("the parameters' bytes")]
    ParameterBytes,
    /// Bytes of one outcome: body and metadata.
    #[error("the outcome's bytes")]
    OutcomeBytes,
    /// Bytes of a checkpoint.
    #[error("the checkpoint's bytes")]
    CheckpointBytes,
    /// Live reservations in the store.
    #[error("the number of live reservations")]
    LiveReservations,
    /// Live reservations of one scope.
    #[error("the number of live reservations of this scope")]
    LiveReservationsPerScope,
    /// Callers that wait for one key.
    #[error("the number of callers waiting for this key")]
    WaitersPerKey,
    /// Records kept in the store.
    #[error("the number of kept records")]
    KeptRecords,
    /// Bytes of the records kept in the store.
    #[error("the kept records' bytes")]
    KeptBytes,
    /// Records kept of one scope.
    #[error("the number of kept records of this scope")]
    KeptRecordsPerScope,
    /// Bytes of the records kept of one scope.
    #[error("the kept records' bytes of this scope")]
    KeptBytesPerScope,
    /// Bytes set aside on disk for completions (contract 5.10).
    #[error("the disk room set aside for completions")]
    DiskRoom,
    /// Bytes of one request to the engine of a distributed store.
    #[error("the bytes of one request to the engine")]
    EngineRequestBytes,
}

/// Bytes that must not be printed (contract 10.2): `Debug` shows their number only.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque(Vec<u8>);

impl Opaque {
    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Opaque {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide_so_that_results_stay_small() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_sentence_names_what_was_measured_the_limit_and_the_remedy_8_1() {
        let error = Error::from(ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured: 11, limit: 10 });
        assert_eq!(
            error.to_string(),
            "the outcome's bytes is 11, the limit is 10; send less, or raise the limit in the store's builder"
        );
        let error = Error::from(ErrorKind::InvalidToken(TokenFault::TooLong { measured: 65, limit: 64 }));
        assert_eq!(
            error.to_string(),
            "token refused: it has 65 bytes, the limit is 64; a token is ASCII, 1 to 64 characters"
        );
    }

    #[test]
    fn unreadable_bytes_are_counted_and_never_shown_10_2() {
        let error = Error::from(ErrorKind::UnreadableOutcome { format: 2, bytes: b"canary".to_vec().into() });
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert!(format!("{error:?}").contains("(6 bytes)"));
    }
}
