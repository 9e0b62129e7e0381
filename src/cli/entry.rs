//! A record as JSON, to be read by programs and by `import`.
//!
//! Law: what names a time ends in `_ms`, what counts bytes in `_bytes`. Bytes of a caller's are a text where they are
//! UTF-8, and else stand under the same name with `_base64` behind it. Outcome and checkpoint are there only if they are
//! asked for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::words;
use crate::record::{Kind, Record};
use crate::token::Key;

/// What a record with a key says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Finished,
    Interrupted,
    Released,
}

impl State {
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Started => Self::Interrupted,
            Kind::Released => Self::Released,
            Kind::Finished | Kind::Forgotten | Kind::Control => Self::Finished,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Released => "released",
        }
    }
}

/// The key of a record that has one.
pub(super) fn key_of(record: &Record<'_>) -> Option<Key> {
    Key::from_framed(record.key())
}

/// All that a record says; of outcome and checkpoint their lengths, and they themselves if they are to `show`. `None` for
/// one that contradicts itself.
pub(super) fn entry(record: &Record<'_>, show: bool) -> Option<Map<String, Value>> {
    let (key, state) = (key_of(record)?, State::of(record.kind()));
    let mut map = Map::new();
    put_bytes(&mut map, "scope", key.scope());
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("token", key.token().into());
    put("state", state.name().into());
    put("attempts", record.attempts().into());
    put("format", record.format().into());
    put("digest", words::hex(&record.digest()).into());
    put("digest_version", record.digest_version().into());
    put("rules", record.rules().into());
    put("secret", record.secret().into());
    let begun = if state == State::Finished { "completed_ms" } else { "since_ms" };
    put(begun, record.completed().as_millis().into());
    if state != State::Interrupted {
        put("expires_ms", record.expires().as_millis().into());
    }
    if let (true, Some(outline)) = (show, &record.bound().outline) {
        put("outline_base64", BASE64_STANDARD.encode(outline).into());
    }
    if state == State::Finished {
        outcome(&mut map, record, show)?;
    } else if let Some(checkpoint) = record.checkpoint() {
        map.insert("checkpoint_attempt".to_owned(), checkpoint.attempt().into());
        map.insert("checkpoint_bytes".to_owned(), checkpoint.bytes().len().into());
        if show {
            put_bytes(&mut map, "checkpoint", checkpoint.bytes());
        }
    }
    Some(map)
}

fn outcome(map: &mut Map<String, Value>, record: &Record<'_>, show: bool) -> Option<()> {
    let replay = record.replay()?;
    let outcome = replay.outcome();
    if let Some(status) = outcome.status() {
        map.insert("status".to_owned(), status.into());
    }
    map.insert("body_bytes".to_owned(), outcome.body().len().into());
    map.insert("metadata_count".to_owned(), outcome.metadata().len().into());
    if let Some(omitted) = replay.omitted() {
        map.insert("omitted_bytes".to_owned(), omitted.bytes.into());
    }
    if show {
        put_bytes(map, "body", outcome.body());
        map.insert("metadata".to_owned(), json!(outcome.metadata()));
        if let Some(omitted) = replay.omitted() {
            map.insert("omitted_digest".to_owned(), words::hex(&omitted.digest).into());
        }
    }
    Some(())
}

/// Bytes of a caller's under this name, as a text if they are one.
pub(super) fn put_bytes(map: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.insert(name.to_owned(), text.into()),
        Err(_) => map.insert(format!("{name}_base64"), BASE64_STANDARD.encode(bytes).into()),
    };
}
