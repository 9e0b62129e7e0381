//! `resolve`, `forget` and `compact`: with the store open as its owner.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::json;

use super::arguments::{Compact, Forget, Keys, Owned, Place, Resolve};
use super::entry::key_of;
use super::failure::{Failure, Status};
use super::looking::scope_of;
use super::output::Out;
use super::view::View;
use super::{owned, words};
use crate::outcome::{Class, Outcome};
use crate::store::Completed;
use crate::token::Key;

pub(super) fn resolve(asked: &Resolve, out: &mut Out) -> Result<Status, Failure> {
    let key = owned::key(&asked.scope, &asked.token)?;
    let outcome = outcome(asked)?;
    let store = asked.owned.open(Some(asked.retention))?;
    let done = store.resolve(&key, outcome)?;
    owned::close(store)?;
    let words = match done {
        Completed::Kept { expires, .. } if out.is_json() => {
            return out
                .value(&json!({ "resolved": "kept", "expires_ms": expires.as_millis() }))
                .map(|()| Status::Fine);
        }
        Completed::Kept { expires, .. } => {
            format!("resolved: retries get this outcome until {}", words::time(expires))
        }
        Completed::Released if out.is_json() => {
            return out.value(&json!({ "resolved": "released" })).map(|()| Status::Fine);
        }
        Completed::Released => "released: a retry runs the operation".to_owned(),
    };
    out.line(&words).map(|()| Status::Fine)
}

fn outcome(asked: &Resolve) -> Result<Outcome, Failure> {
    let Some(path) = asked.outcome_file.as_ref().filter(|_| !asked.release) else {
        return Ok(Outcome::new("").retryable());
    };
    let body = read(path)?;
    let mut outcome =
        asked.status.map_or_else(|| Outcome::new(&body[..]), |status| Outcome::http(status, &body[..]));
    for pair in &asked.metadata {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::Use("--metadata: it has no `=` between name and value".to_owned()));
        };
        outcome = outcome.with_metadata(name, value);
    }
    if outcome.class() == Class::Retryable {
        let why = "an outcome of this status says nothing of the next try, so it is not kept: say --release";
        return Err(Failure::Use(why.to_owned()));
    }
    Ok(outcome)
}

/// A file, or standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return fs::read(path).map_err(Failure::at(path));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::at(Path::new("standard input")))?;
    Ok(bytes)
}

pub(super) fn forget(asked: &Forget, out: &mut Out) -> Result<Status, Failure> {
    let keys = match &asked.token {
        Some(token) => vec![owned::key(&asked.scope, token)?],
        None => keys_of(&asked.owned, &asked.scope, out)?,
    };
    let store = asked.owned.open(None)?;
    let bar = out.progress(keys.len() as u64, "forgetting");
    let mut forgotten = 0;
    for key in &keys {
        forgotten += u64::from(store.forget(key)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    owned::close(store)?;
    if out.is_json() {
        out.value(&json!({ "forgotten": forgotten }))?;
    } else {
        out.line(&format!("forgotten: {}", words::counted(forgotten, "key")))?;
    }
    Ok(if forgotten == 0 { Status::Found } else { Status::Fine })
}

/// All keys of a scope of which something is kept.
fn keys_of(owned: &Owned, scope: &OsStr, out: &Out) -> Result<Vec<Key>, Failure> {
    let keys = Keys { encryption_key_file: owned.keys.encryption_key_file.clone() };
    let view = View::open(&Place { store: owned.store.clone(), sealed: false, keys }, out)?;
    let (mut keys, mut failed) = (Vec::new(), None);
    view.survey.each(&view.known()?, |_, record| {
        match record {
            Ok(record) if scope_of(&record) == scope.as_bytes() => keys.extend(key_of(&record)),
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    });
    failed.map_or(Ok(keys), |error| Err(error.into()))
}

pub(super) fn compact(asked: &Compact, out: &mut Out) -> Result<Status, Failure> {
    let store = asked.owned.open(None)?;
    let before = store.stats();
    let swept = store.sweep()?;
    let after = store.stats();
    owned::close(store)?;
    if out.is_json() {
        out.value(&json!({
            "expired_records": swept.records,
            "carried_records": swept.carried,
            "removed_segments": swept.segments,
            "freed_bytes": swept.bytes,
            "kept_records": after.kept_records,
            "file_bytes_before": before.file_bytes,
            "file_bytes_after": after.file_bytes,
        }))?;
    } else {
        let gone = words::counted(swept.records, "expired record");
        let carried = words::counted(swept.carried, "record");
        let segments = words::counted(swept.segments, "segment");
        out.line(&format!("swept {gone}, carried {carried} forward, removed {segments}"))?;
        let (before, after_bytes) = (words::size(before.file_bytes), words::size(after.file_bytes));
        out.line(&format!(
            "{before} before, {after_bytes} now, with {} kept",
            words::counted(after.kept_records, "record")
        ))?;
    }
    Ok(Status::Fine)
}
