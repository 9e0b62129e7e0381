//! What can be tested: the operations of the contract, each telling what was seen in the words of README.md.

use std::time::Duration;

use oncekey::reference::{Completed, Refusal, Running};
use oncekey::{
    Checkpoint, Difference, Error, ErrorKind, Incomparable, Limit, Outcome, ParameterFault, Replay,
    ScopeFault, Timestamp, TokenFault,
};
use serde_json::{Value, json};

use crate::vector::{OnDisk, Settings, Step};

/// A store under test. Reservations and waiters have names, which the runner gives; a waiter that became the
/// holder has its reservation under the waiter's name.
pub(crate) trait Subject {
    /// Whether it has a capability that a scenario may need.
    fn offers(&self, capability: &str) -> bool;

    fn begin(&mut self, request: &Step, name: &str) -> Value;
    fn wait(&mut self, request: &Step, name: &str) -> Value;
    fn give_up(&mut self, waiter: &str) -> Value;
    /// The waiters that got their answer since this was last asked. `at_least`: how many are awaited.
    fn woken(&mut self, at_least: usize) -> Vec<(String, Value)>;

    fn complete(&mut self, reservation: &str, outcome: Outcome) -> Value;
    fn complete_without_body(&mut self, reservation: &str, outcome: Outcome) -> Value;
    /// Asked only of who offers `fail_commit`.
    fn fail_commit(&mut self, reservation: &str, outcome: Outcome, on_disk: OnDisk) -> Value;
    fn renew(&mut self, reservation: &str) -> Value;
    fn release(&mut self, reservation: &str) -> Value;
    fn drop_reservation(&mut self, reservation: &str);
    /// Its holder panics.
    fn panic(&mut self, reservation: &str);
    fn checkpoint(&mut self, reservation: &str, note: &[u8]) -> Value;

    fn resolve(&mut self, scope: &[u8], token: &[u8], outcome: Outcome) -> Value;
    fn get(&mut self, scope: &[u8], token: &[u8]) -> Value;
    fn forget(&mut self, scope: &[u8], token: &[u8]) -> Value;
    /// The token for a downstream call of this key's operation.
    fn derive(&mut self, scope: &[u8], token: &[u8], label: &[u8]) -> Value;
    fn sweep(&mut self) -> Value;
    fn flush(&mut self) -> Value;
    fn usage(&mut self) -> Value;

    fn advance(&mut self, by: Duration);
    fn set_wall(&mut self, wall: Timestamp);

    fn close(&mut self) -> Value;
    /// Asked only of who offers `crash`; `survivors` only of who offers `choose_survivors`.
    fn crash(&mut self, survivors: Option<usize>);
    /// Asked only of who offers `reopen`. Other settings than before, where given.
    fn reopen(&mut self, settings: Option<&Settings>) -> Value;
}

/// The moment at which every scenario begins (README.md).
pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);

// -- the words --------------------------------------------------------------------------------------------------

pub(crate) fn done() -> Value {
    json!({"done": {}})
}

pub(crate) fn waiting() -> Value {
    json!({"waiting": {}})
}

/// What is told of a reservation that was given.
pub(crate) struct Fresh<'a> {
    pub(crate) attempt: u32,
    pub(crate) since: Timestamp,
    pub(crate) durable: bool,
    pub(crate) resumed: bool,
    pub(crate) last_checkpoint: Option<&'a Checkpoint>,
}

pub(crate) fn fresh(given: &Fresh<'_>) -> Value {
    json!({"fresh": {
        "attempt": given.attempt,
        "since": given.since.as_millis(),
        "durable": given.durable,
        "resumed": given.resumed,
        "last_checkpoint": given.last_checkpoint.map(checkpoint),
    }})
}

pub(crate) fn interrupted(since: Timestamp, attempt: u32, last: Option<&Checkpoint>) -> Value {
    let last = last.map(checkpoint);
    json!({"interrupted": {"since": since.as_millis(), "attempt": attempt, "last_checkpoint": last}})
}

fn checkpoint(own: &Checkpoint) -> Value {
    json!({"attempt": own.attempt(), "note": bytes(own.bytes())})
}

pub(crate) fn in_flight(since: Timestamp, attempt: u32, lease_left: Option<Duration>) -> Value {
    json!({"in_flight": {"since": since.as_millis(), "attempt": attempt, "lease_left_ms": lease_left.map(millis)}})
}

pub(crate) fn running(running: &Running) -> Value {
    in_flight(running.since, running.attempt, Some(running.lease_left))
}

/// A replay, or under another word what `get` knows of a finished key.
pub(crate) fn replay(word: &str, replay: &Replay) -> Value {
    let outcome = replay.outcome();
    let omitted =
        replay.omitted().map(|omitted| json!({"bytes": omitted.bytes, "blake3": hex(&omitted.digest)}));
    json!({word: {
        "status": outcome.status(),
        "body": bytes(outcome.body()),
        "metadata": outcome.metadata(),
        "omitted": omitted,
        "completed": replay.completed().as_millis(),
        "expires": replay.expires().as_millis(),
        "attempts": replay.attempts(),
    }})
}

pub(crate) fn completed(completed: Completed) -> Value {
    match completed {
        Completed::Kept { completed, expires } => {
            json!({"kept": {"completed": completed.as_millis(), "expires": expires.as_millis()}})
        }
        Completed::Released => json!({"released": {}}),
    }
}

pub(crate) fn derived(token: &str) -> Value {
    json!({"derived": token})
}

pub(crate) fn invalid_label(measured: usize, limit: usize) -> Value {
    json!({"refused": {"kind": "invalid_label", "measured": measured, "limit": limit}})
}

pub(crate) fn usage(live_reservations: u64, kept_records: u64, kept_bytes: u64) -> Value {
    json!({"usage": {
        "live_reservations": live_reservations,
        "kept_records": kept_records,
        "kept_bytes": kept_bytes,
    }})
}

/// Bytes as vectors write them: text as itself, others in hexadecimal.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!({"hex": hex(bytes)}), |text| json!(text))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An error of the crate. One without a word in the vectors shows as itself, and matches nothing.
pub(crate) fn error(error: &Error) -> Value {
    if let ErrorKind::InvalidLabel { measured, limit } = *error.kind() {
        return invalid_label(measured, limit);
    }
    if error.is_mismatch() {
        return mismatch(error.difference());
    }
    Refusal::of(error).map_or_else(|| json!({"unexpected": error.to_string()}), |refusal| refused(&refusal))
}

/// A mismatch, and what it tells of the parameters.
pub(crate) fn mismatch(difference: Option<&Difference>) -> Value {
    let explained = difference.map(|told| {
        let (added, removed, changed) = (told.added(), told.removed(), told.changed());
        json!({
            "added": added.collect::<Vec<_>>(),
            "removed": removed.collect::<Vec<_>>(),
            "changed": changed.collect::<Vec<_>>(),
            "incomplete": told.is_incomplete(),
        })
    });
    json!({"refused": {"kind": "mismatch", "explained": explained}})
}

pub(crate) fn refused(refusal: &Refusal) -> Value {
    let counted = |kind: &str, what: Limit, measured: u64, limit: u64| json!({"kind": kind, "what": limit_word(what), "measured": measured, "limit": limit});
    let said = match *refusal {
        Refusal::InvalidToken(TokenFault::TooLong { measured, limit }) => {
            json!({"kind": "invalid_token", "fault": "too_long", "measured": measured, "limit": limit})
        }
        Refusal::InvalidToken(TokenFault::NotAscii { position }) => {
            json!({"kind": "invalid_token", "fault": "not_ascii", "position": position})
        }
        Refusal::InvalidToken(_) => json!({"kind": "invalid_token", "fault": "empty"}),
        Refusal::InvalidScope(ScopeFault::TooLong { measured, limit }) => {
            json!({"kind": "invalid_scope", "fault": "too_long", "measured": measured, "limit": limit})
        }
        Refusal::InvalidScope(_) => json!({"kind": "invalid_scope", "fault": "empty"}),
        Refusal::InvalidParameters(fault) => {
            json!({"kind": "invalid_parameters", "fault": parameter_word(fault)})
        }
        Refusal::CannotCompare(why) => json!({"kind": "cannot_compare", "differs": incomparable_word(why)}),
        Refusal::TooLarge { what, measured, limit } => counted("too_large", what, measured, limit),
        Refusal::Overloaded { what, measured, limit } => counted("overloaded", what, measured, limit),
        Refusal::Full { what, measured, limit } => counted("full", what, measured, limit),
        Refusal::Mismatch => return mismatch(None),
        Refusal::InFlight { attempt, lease_left } => {
            json!({"kind": "in_flight", "attempt": attempt, "lease_left_ms": lease_left.map(millis)})
        }
        Refusal::UnknownOutcome => json!({"kind": "unknown_outcome"}),
        Refusal::Interrupted { attempt } => json!({"kind": "interrupted", "attempt": attempt}),
        Refusal::NotInterrupted => json!({"kind": "not_interrupted"}),
        Refusal::NotDurable => json!({"kind": "not_durable"}),
        Refusal::Expired { age, retention } => {
            json!({"kind": "expired", "age_ms": millis(age), "retention_ms": millis(retention)})
        }
        Refusal::ReservationLost { attempt } => json!({"kind": "reservation_lost", "attempt": attempt}),
        Refusal::Stopped => json!({"kind": "stopped"}),
        Refusal::Closed => json!({"kind": "closed"}),
        Refusal::ClockJump { ahead, limit } => {
            json!({"kind": "clock_jump", "ahead_ms": millis(ahead), "limit_ms": millis(limit)})
        }
        other => json!({"kind": format!("{other:?}")}),
    };
    json!({"refused": said})
}

fn limit_word(limit: Limit) -> &'static str {
    match limit {
        Limit::ParameterCount => "parameter_count",
        Limit::ParameterBytes => "parameter_bytes",
        Limit::OutcomeBytes => "outcome_bytes",
        Limit::CheckpointBytes => "checkpoint_bytes",
        Limit::LiveReservations => "live_reservations",
        Limit::LiveReservationsPerScope => "live_reservations_per_scope",
        Limit::WaitersPerKey => "waiters_per_key",
        Limit::KeptRecords => "kept_records",
        Limit::KeptBytes => "kept_bytes",
        Limit::KeptRecordsPerScope => "kept_records_per_scope",
        Limit::KeptBytesPerScope => "kept_bytes_per_scope",
        _ => "another limit",
    }
}

fn parameter_word(fault: ParameterFault) -> &'static str {
    match fault {
        ParameterFault::Json { .. } => "json",
        ParameterFault::DuplicateMember { .. } => "duplicate_member",
        ParameterFault::TooDeep { .. } => "too_deep",
        ParameterFault::Query { .. } => "query",
        ParameterFault::Serialize => "serialize",
        _ => "another fault",
    }
}

fn incomparable_word(why: Incomparable) -> &'static str {
    match why {
        Incomparable::Version { .. } => "version",
        Incomparable::Rules => "rules",
        Incomparable::Secret { .. } => "secret",
        _ => "something else",
    }
}
