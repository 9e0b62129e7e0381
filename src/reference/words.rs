//! The words that the model is spoken to in and answers in: plain data, nothing else.
//!
//! Law: everything here can be copied, compared and kept; a [`Reservation`] is the *number* of a reservation,
//! not a guard, so that a test can go on using it after it was lost. `Debug` shows no caller's bytes.

use std::fmt;
use std::time::Duration;

use super::Named;
use crate::error::{
    Difference, Error, ErrorKind, Incomparable, Limit, ParameterFault, ScopeFault, TokenFault,
};
use crate::options::OnInterrupted;
use crate::outcome::{Checkpoint, Replay};
use crate::time::Timestamp;
use crate::token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT};

/// The settings of a model: those of a store that show in its answers. `None` is *no limit*.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "settings that are yes or no")]
pub struct Settings {
    /// What the wall clock shows when the model is made.
    pub wall: Timestamp,
    /// Most bytes of a token, 64 by default (contract 1.1).
    pub token_bytes_max: usize,
    /// Most bytes of a scope, 255 by default (contract 1.2).
    pub scope_bytes_max: usize,
    /// How long a record is kept, counted from its completion, 24 hours by default (contract 7.1).
    pub retention: Duration,
    /// How long a reservation holds without being renewed, 60 seconds by default (contract 4.4).
    pub lease: Duration,
    /// Whether completions are relaxed unless the request says otherwise; durable by default (contract 5.2).
    pub relaxed: bool,
    /// Most bytes of one outcome, body and metadata, 1 MiB by default (contract 4.5).
    pub outcome_bytes_max: u64,
    /// Bytes set aside for an outcome when its reservation is given, 4 KiB by default (contract 5.10).
    pub declared_outcome_bytes: u64,
    /// Most live reservations in all, 100,000 by default (contract 8.1).
    pub live_reservations_max: u64,
    /// Most live reservations of one scope (contract 8.1).
    pub live_reservations_per_scope_max: Option<u64>,
    /// Most callers that wait for one key, 16,384 by default (contract 8.1).
    pub waiters_per_key_max: u64,
    /// Most kept records in all (contract 8.1).
    pub kept_records_max: Option<u64>,
    /// Most bytes of kept records in all: scope, token, body and metadata (contract 8.1).
    pub kept_bytes_max: Option<u64>,
    /// Most kept records of one scope (contract 8.1).
    pub kept_records_per_scope_max: Option<u64>,
    /// Most bytes of the kept records of one scope (contract 8.1).
    pub kept_bytes_per_scope_max: Option<u64>,
    /// Whether what a mismatch tells of the parameters is kept, no by default (contract 2.6).
    pub explain_mismatches: bool,
    /// How far the wall clock may have gone since the last time on disk, 400 days by default (contract 7.2).
    pub clock_jump_max: Duration,
    /// Open whatever the wall clock says (contract 7.2).
    pub accept_clock_jump: bool,
    /// Whether reservations are durable unless the request says otherwise; volatile by default (contract 5.3, 5.4).
    pub start_durably: bool,
    /// What is answered for an interrupted key unless the request says otherwise; by default it is resumed (contract
    /// 3.4).
    pub on_interrupted: OnInterrupted,
    /// Most bytes of a checkpoint, 64 KiB by default (contract 6.3).
    pub checkpoint_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            wall: Timestamp::default(),
            token_bytes_max: TOKEN_BYTES_DEFAULT,
            scope_bytes_max: SCOPE_BYTES_MAX,
            retention: HOUR * 24,
            lease: Duration::from_secs(60),
            relaxed: false,
            outcome_bytes_max: 1 << 20,
            declared_outcome_bytes: 4 << 10,
            live_reservations_max: 100_000,
            live_reservations_per_scope_max: None,
            waiters_per_key_max: 16_384,
            kept_records_max: None,
            kept_bytes_max: None,
            kept_records_per_scope_max: None,
            kept_bytes_per_scope_max: None,
            explain_mismatches: false,
            clock_jump_max: HOUR * 24 * 400,
            accept_clock_jump: false,
            start_durably: false,
            on_interrupted: OnInterrupted::Resume,
            checkpoint_bytes_max: 64 << 10,
        }
    }
}

/// What the parameters of a request come to: equal exactly where they mean the same (contract 2). How it is
/// made is not the model's business.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of parameters in any canonical form, as their BLAKE3 hash. For a test whose parameters
    /// are few and known, their names will do: `Fingerprint::of("large disk")`.
    ///
    /// ```
    /// use oncekey::reference::Fingerprint;
    ///
    /// assert_eq!(Fingerprint::of("a"), Fingerprint::of("a"));
    /// assert_ne!(Fingerprint::of("a"), Fingerprint::of("b"));
    /// ```
    pub fn of(canonical: impl AsRef<[u8]>) -> Self {
        Self(*blake3::hash(canonical.as_ref()).as_bytes())
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(32 bytes)")
    }
}

/// One request: what is asked, and what it says of itself instead of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// What the parameters come to.
    pub fingerprint: Fingerprint,
    /// The parameters one by one, if they have names (contract 2.6).
    pub named: Option<Named>,
    /// When the client first sent the request, if it tells (contract 3.8).
    pub first_sent: Option<Timestamp>,
    /// Another lease than that of the settings.
    pub lease: Option<Duration>,
    /// Another retention than that of the settings.
    pub retention: Option<Duration>,
    /// Another number of bytes to set aside than that of the settings.
    pub declared: Option<u64>,
    /// Another durability than that of the settings.
    pub relaxed: Option<bool>,
    /// Another kind of reservation than that of the settings (contract 5.3, 5.4).
    pub start_durably: Option<bool>,
    /// Another policy than that of the settings (contract 3.4).
    pub on_interrupted: Option<OnInterrupted>,
}

impl From<Fingerprint> for Asking {
    fn from(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, ..Self::default() }
    }
}

/// Which reservation of all that there ever were: later ones are greater, over restarts too (contract 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Which opening of the store, from 1.
    pub epoch: u64,
    /// Which reservation of that epoch, from 1.
    pub counter: u64,
}

/// The number of a reservation. Unlike the store's guard it can be copied, and used when it is no longer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Whose it is.
    pub key: Key,
    /// Which one it is.
    pub fence: Fence,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When it was given.
    pub since: Timestamp,
    /// Whether its start is on disk (contract 5.4).
    pub durable: bool,
    /// Whether the attempt before it was interrupted (contract 3.4).
    pub resumed: bool,
    /// The last checkpoint of the attempts before it, made with the same parameters (contract 6.3).
    pub last_checkpoint: Option<Checkpoint>,
}

/// The answer to a request (contract 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Run the operation (3.5, 4.4).
    Fresh(Reservation),
    /// It has run; this is what it returned (3.3).
    Replay(Replay),
    /// Somebody runs it (3.2).
    InFlight(Running),
}

/// What is told of a live reservation (contract 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// When it was given.
    pub since: Timestamp,
    /// Which attempt runs, from 1.
    pub attempt: u32,
    /// What is left of its lease; zero has lapsed. A store says `None` while it writes the completion, which in
    /// the model takes no time.
    pub lease_left: Duration,
}

/// The answer to a request that is ready to wait (contract 3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There was nothing to wait for.
    Answered(Answer),
    /// Somebody runs it; the answer will be among [`Model::woken`](super::Model::woken).
    Waiting(WaiterId),
}

/// A caller that waits; earlier ones are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// A waiter that got its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Woken {
    /// Who.
    pub waiter: WaiterId,
    /// What it got.
    pub answer: Result<Answer, Refusal>,
    /// What the mismatch tells, where the answer is one (contract 2.6).
    pub difference: Option<Difference>,
    /// Who might have got it instead: the other waiters of the key, where the answer is [`Answer::Fresh`]. The
    /// model takes the earliest, a store may take any one ([`Model::prefer`](super::Model::prefer)).
    pub instead_of: Vec<WaiterId>,
}

/// What is known of a key (contract 11, `get`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Never seen, released or expired.
    Absent,
    /// Somebody runs it.
    InFlight(Running),
    /// It has run.
    Finished(Replay),
    /// It was durably started, and never finished (3.4).
    Interrupted(Attempt),
    /// Its commit failed (3.9).
    Unknown,
}

/// An attempt that was durably started, as the disk knows it (contract 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one it is, from 1.
    pub attempt: u32,
    /// When it was given.
    pub since: Timestamp,
    /// The last checkpoint, of this attempt or one before it (contract 6.3).
    pub checkpoint: Option<Checkpoint>,
}

/// What a completion came to (contract 4.1, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The outcome is kept.
    Kept {
        /// When the operation finished.
        completed: Timestamp,
        /// From when on the key counts as never seen.
        expires: Timestamp,
    },
    /// The outcome was retryable: not kept, the reservation is released.
    Released,
}

/// Whether a commit that failed reached the disk all the same (5.1): the environment's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// Reopening finds the record.
    Kept,
    /// Reopening finds nothing.
    Lost,
}

/// How much is held, in all or of one scope (contract 8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live reservations.
    pub live_reservations: u64,
    /// How many of them are durable: their starts are kept records.
    pub live_starts: u64,
    /// Bytes that they declared.
    pub declared_bytes: u64,
    /// Kept records, the expired ones that were not swept among them (8.3).
    pub kept_records: u64,
    /// Their bytes: scope, token, body and metadata.
    pub kept_bytes: u64,
}

/// Why a call was refused, in the words of [`ErrorKind`].
#[expect(missing_docs, reason = "fields mean what the same fields of ErrorKind mean")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 1.1
    InvalidToken(TokenFault),
    /// 1.2
    InvalidScope(ScopeFault),
    /// 2.3. Not given by the model: whoever makes the fingerprint finds it.
    InvalidParameters(ParameterFault),
    /// 2.4. Not given by the model: whoever makes the fingerprint finds it.
    CannotCompare(Incomparable),
    /// 4.5
    TooLarge { what: Limit, measured: u64, limit: u64 },
    /// 3.2, 3.3. What it tells is beside it: [`Model::difference`](super::Model::difference).
    Mismatch,
    /// 4.6
    InFlight { attempt: u32, lease_left: Option<Duration> },
    /// 3.9
    UnknownOutcome,
    /// 3.4
    Interrupted { attempt: u32 },
    /// 4.6
    NotInterrupted,
    /// 6.3
    NotDurable,
    /// 3.8
    Expired { age: Duration, retention: Duration },
    /// 4.4
    ReservationLost { attempt: u32 },
    /// 8.1
    Overloaded { what: Limit, measured: u64, limit: u64 },
    /// 8.1
    Full { what: Limit, measured: u64, limit: u64 },
    /// 5.5
    Stopped,
    /// 11
    Closed,
    /// 7.2
    ClockJump { ahead: Duration, limit: Duration },
}

impl Refusal {
    /// A store's error in the model's words; `None` for what no model comes to (disks, files, types).
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        Some(match *error.kind() {
            ErrorKind::InvalidToken(fault) => Self::InvalidToken(fault),
            ErrorKind::InvalidScope(fault) => Self::InvalidScope(fault),
            ErrorKind::InvalidParameters(fault) => Self::InvalidParameters(fault),
            ErrorKind::CannotCompare(why) => Self::CannotCompare(why),
            ErrorKind::TooLarge { what, measured, limit } => Self::TooLarge { what, measured, limit },
            ErrorKind::Mismatch => Self::Mismatch,
            ErrorKind::InFlight { attempt, lease_left } => Self::InFlight { attempt, lease_left },
            ErrorKind::UnknownOutcome | ErrorKind::AnswerLost => Self::UnknownOutcome,
            ErrorKind::Interrupted { attempt } => Self::Interrupted { attempt },
            ErrorKind::NotInterrupted => Self::NotInterrupted,
            ErrorKind::NotDurable => Self::NotDurable,
            ErrorKind::Expired { age, retention } => Self::Expired { age, retention },
            ErrorKind::ReservationLost { attempt } => Self::ReservationLost { attempt },
            ErrorKind::Overloaded { what, measured, limit } => Self::Overloaded { what, measured, limit },
            ErrorKind::Full { what, measured, limit } => Self::Full { what, measured, limit },
            ErrorKind::Stopped { .. } => Self::Stopped,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::ClockJump { ahead, limit } => Self::ClockJump { ahead, limit },
            _ => return None,
        })
    }
}
