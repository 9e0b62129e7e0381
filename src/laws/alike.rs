//! Store and reference in one language: the same settings, keys and requests for both, and answers held side by side.

use std::time::Duration;

use super::tape::Tape;
use crate::digest::{Parameters, Secret};
use crate::error::Error;
use crate::options::{Builder, OnInterrupted};
use crate::reference::{self, Asking, Fingerprint, Known as ModelKnown, Model, Refusal, Settings};
use crate::store::{Completed, Known, Request, Store};
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

pub(super) const START: Timestamp = Timestamp::from_millis(1_000_000);
pub(super) const TICK: Duration = Duration::from_millis(5);
pub(super) const KEYS: u64 = 6;

pub(super) fn settings(tape: &mut Tape<'_>) -> Settings {
    let choice = tape.byte();
    let limit = |bit: u8, limit: u64| (choice & bit != 0).then_some(limit);
    Settings {
        wall: START,
        retention: TICK * 20,
        lease: TICK * 10,
        relaxed: choice & 1 != 0,
        outcome_bytes_max: 4096,
        declared_outcome_bytes: 64,
        checkpoint_bytes_max: 6,
        live_reservations_max: 4,
        on_interrupted: if choice & 2 == 0 { OnInterrupted::Resume } else { OnInterrupted::Refuse },
        start_durably: choice & 4 != 0,
        kept_records_max: limit(8, 5),
        kept_records_per_scope_max: limit(16, 3),
        kept_bytes_max: limit(32, 900),
        kept_bytes_per_scope_max: limit(64, 500),
        live_reservations_per_scope_max: limit(128, 2),
        waiters_per_key_max: 1,
        ..Settings::default()
    }
}

pub(super) fn builder(settings: &Settings, clock: &ManualClock) -> Builder {
    let builder = Store::builder()
        .clock(clock.clone())
        .background_sweep(false)
        .segment_bytes_max(1 << 20)
        .stripes(4)
        .recent_bytes_max(16 << 10)
        .secret(Secret::new([7; 32]))
        .retention(settings.retention)
        .lease(settings.lease)
        .outcome_bytes_max(settings.outcome_bytes_max)
        .declared_outcome_bytes(settings.declared_outcome_bytes)
        .checkpoint_bytes_max(settings.checkpoint_bytes_max)
        .live_reservations_max(settings.live_reservations_max)
        .live_reservations_per_scope_max(settings.live_reservations_per_scope_max)
        .waiters_per_key_max(settings.waiters_per_key_max)
        .kept_records_max(settings.kept_records_max.unwrap_or(u64::MAX))
        .kept_bytes_max(settings.kept_bytes_max.unwrap_or(u64::MAX))
        .kept_records_per_scope_max(settings.kept_records_per_scope_max)
        .kept_bytes_per_scope_max(settings.kept_bytes_per_scope_max)
        .on_interrupted(settings.on_interrupted)
        .start_durably(settings.start_durably);
    // Longer than any run takes, so that nothing is synced unasked.
    if settings.relaxed { builder.relaxed(Duration::from_secs(100_000)) } else { builder }
}

/// Two scopes; the same token under both is two keys.
pub(super) fn key(number: u64) -> Key {
    Key::new(if number < KEYS / 2 { "acme" } else { "other" }, format!("t-{}", number % (KEYS / 2))).unwrap()
}

/// One of two meanings, each in several spellings.
pub(super) fn parameters(choice: u8) -> (Fingerprint, Parameters<'static>) {
    if choice >= 224 {
        return (Fingerprint::of("other"), Parameters::query("Size=41&Zone=z"));
    }
    let same = match choice % 3 {
        0 => Parameters::query("Size=40&Name=n"),
        1 => Parameters::form(b"Name=%6e&&Size=40"),
        _ => Parameters::pairs([("Name", "n"), ("Size", "40")]),
    };
    (Fingerprint::of("same"), same)
}

pub(super) fn asked<'a>(
    store: &'a Store,
    key: &'a Key,
    parameters: &'a Parameters<'a>,
    asking: &Asking,
) -> Request<'a> {
    let mut request = store.request(key, parameters);
    if let Some(first_sent) = asking.first_sent {
        request = request.first_sent(first_sent);
    }
    if let Some(lease) = asking.lease {
        request = request.lease(lease);
    }
    if let Some(retention) = asking.retention {
        request = request.retention(retention);
    }
    if let Some(declared) = asking.declared {
        request = request.declare(declared);
    }
    if let Some(policy) = asking.on_interrupted {
        request = request.on_interrupted(policy);
    }
    request = match asking.start_durably {
        Some(true) => request.start_durably(),
        Some(false) => request.start_volatile(),
        None => request,
    };
    match asking.relaxed {
        Some(true) => request.relaxed(),
        Some(false) => request.durable(),
        None => request,
    }
}

pub(super) fn assert_same<T: PartialEq + std::fmt::Debug>(
    expected: Result<T, Refusal>,
    seen: Result<T, Error>,
) {
    match (expected, seen) {
        (Err(expected), Err(seen)) => assert_eq!(Some(expected), Refusal::of(&seen), "{seen}"),
        (expected, seen) => {
            assert_eq!(
                expected.as_ref().ok(),
                seen.as_ref().ok(),
                "the model: {expected:?}, the store: {seen:?}"
            );
        }
    }
}

pub(super) fn assert_completed(
    expected: Result<reference::Completed, Refusal>,
    seen: Result<Completed, Error>,
) {
    let seen = seen.map(|seen| match seen {
        Completed::Kept { completed, expires } => reference::Completed::Kept { completed, expires },
        Completed::Released => reference::Completed::Released,
    });
    assert_same(expected, seen);
}

pub(super) fn same_known(model: &Model, store: &Store, number: u64) -> bool {
    match (model.get(&key(number)), store.get(&key(number))) {
        (Ok(ModelKnown::Absent), Ok(Known::Absent)) | (Ok(ModelKnown::Unknown), Ok(Known::Unknown)) => true,
        (Ok(ModelKnown::Finished(model)), Ok(Known::Finished(store))) => model == store,
        (Ok(ModelKnown::InFlight(model)), Ok(Known::InFlight { since, attempt, lease_left })) => {
            (model.since, model.attempt, Some(model.lease_left)) == (since, attempt, lease_left)
        }
        (Ok(ModelKnown::Interrupted(last)), Ok(Known::Interrupted { since, attempt, checkpoint })) => {
            (last.since, last.attempt, last.checkpoint) == (since, attempt, checkpoint)
        }
        (Err(model), Err(store)) => Some(model) == Refusal::of(&store),
        _ => false,
    }
}

pub(super) fn told(model: &Model, store: &Store, number: u64) -> String {
    let (model, store) = (model.get(&key(number)), store.get(&key(number)));
    format!("key {number}: the model says {model:?}, the store {store:?}")
}
