//! `import`: records of an export, written into a store.
//!
//! Law: a record is written as it was, with its times, attempts and digest; so it replays byte for byte, and a retry with
//! other parameters is a mismatch. Where the secret that its digest was made with is not at hand, it is refused. What is
//! wrong with a line is said by its number, and never by what stands in it (contract 10.2).

use std::fs::File;
use std::io::{BufRead, BufReader, Stdin};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::arguments::Import;
use super::export::VERSION;
use super::failure::{Failure, Status};
use super::output::Out;
use super::{owned, words};
use crate::digest::{DigestRules, Secret};
use crate::ledger::{Origin, What};
use crate::outcome::{Checkpoint, Omitted, Outcome};
use crate::record::{Bound, Finished, Started, reads_back};
use crate::store::{Foreign, Store};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX};

/// Records handed over at once.
const GROUP: usize = 512;

#[derive(Deserialize)]
struct Header {
    oncekey_export: u32,
    store: String,
    secrets: Vec<SecretLine>,
    rules: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct SecretLine {
    check: String,
    secret: Option<String>,
}

/// The last line.
#[derive(Deserialize)]
struct Trailer {
    exported_records: u64,
}

/// A record, as `entry` writes it.
#[derive(Deserialize)]
struct Line {
    scope: Option<String>,
    scope_base64: Option<String>,
    token: String,
    state: String,
    attempts: u32,
    format: u32,
    digest: String,
    digest_version: u16,
    rules: u16,
    secret: u16,
    completed_ms: Option<u64>,
    since_ms: Option<u64>,
    expires_ms: Option<u64>,
    outline_base64: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    body_base64: Option<String>,
    metadata: Option<Vec<(String, String)>>,
    omitted_bytes: Option<u64>,
    omitted_digest: Option<String>,
    checkpoint_attempt: Option<u32>,
    checkpoint: Option<String>,
    checkpoint_base64: Option<String>,
}

/// What an import came to.
#[derive(Default)]
struct Done {
    read: u64,
    written: u64,
    expired: u64,
    /// What the last line says that there are.
    promised: Option<u64>,
}

/// The numbers of secrets and rules here, by those of the export.
struct Numbers {
    secrets: Vec<Option<u16>>,
    rules: Vec<u16>,
}

pub(super) fn import(asked: &Import, out: &mut Out) -> Result<Status, Failure> {
    let mut lines = open(&asked.input)?.lines();
    let first = lines.next().transpose().map_err(Failure::at(&asked.input))?.unwrap_or_default();
    let given = asked.owned.secrets()?;
    let origin = origin(&first, given).ok_or_else(|| wrong(1, "it is not the head of an export of ours"))?;
    let store = asked.owned.open_or_make(None)?;
    let (secrets, rules) = store.adopt(&origin)?;
    let numbers = Numbers { secrets, rules };
    let mut done = Done::default();
    let imported = take_in(asked, &store, &numbers, lines, &mut done);
    // Seals what is full, so that the next opening reads hints of it.
    let closed = store.sweep().map_err(Failure::from).and_then(|_| owned::close(store));
    if let Err(failure) = imported {
        out.note(&format!("{} written before that", words::counted(done.written, "record")));
        return Err(failure);
    }
    closed?;
    tell(&done, out)
}

fn tell(done: &Done, out: &mut Out) -> Result<Status, Failure> {
    let known = done.read - done.written - done.expired;
    if out.is_json() {
        out.value(&json!({
            "read_records": done.read,
            "written_records": done.written,
            "known_records": known,
            "expired_records": done.expired,
            "complete": done.promised == Some(done.read),
        }))?;
    } else {
        let written = words::counted(done.written, "record");
        out.line(&format!("imported: {written}; {known} known already, {} expired", done.expired))?;
    }
    if done.promised == Some(done.read) {
        return Ok(Status::Fine);
    }
    out.note("the export does not end as it should: it was cut short, or lines were taken out of it");
    Ok(Status::Found)
}

fn take_in(
    asked: &Import,
    store: &Store,
    numbers: &Numbers,
    lines: impl Iterator<Item = std::io::Result<String>>,
    done: &mut Done,
) -> Result<(), Failure> {
    let now = SystemClock::new().wall();
    let mut group = Vec::with_capacity(GROUP);
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(Failure::at(&asked.input))?;
        let record: Line = match serde_json::from_str(&line) {
            Ok(record) => record,
            Err(error) => {
                let Ok(trailer) = serde_json::from_str::<Trailer>(&line) else {
                    let why = format!("it is not a record, as column {} shows", error.column());
                    return Err(wrong(number, &why));
                };
                done.promised = Some(trailer.exported_records);
                continue;
            }
        };
        let foreign = record.foreign(numbers).map_err(|why| wrong(number, why))?;
        done.read += 1;
        if foreign.expires <= now {
            done.expired += 1;
            continue;
        }
        group.push(foreign);
        if group.len() == GROUP {
            done.written += store.import(&group, asked.replace)?;
            group.clear();
        }
    }
    done.written += store.import(&group, asked.replace)?;
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::<Stdin>::new(std::io::stdin())));
    }
    Ok(Box::new(BufReader::new(File::open(path).map_err(Failure::at(path))?)))
}

fn wrong(line: u64, why: &str) -> Failure {
    Failure::Use(format!("line {line}: {why}"))
}

fn origin(first: &str, given: Vec<Secret>) -> Option<Origin> {
    let header: Header = serde_json::from_str(first).ok()?;
    let secret = |own: &SecretLine| {
        let secret = own.secret.as_ref().map(|own| words::unhex(own.as_bytes()).map(Secret::new));
        Some((words::unhex(own.check.as_bytes())?, secret.unwrap_or_default()))
    };
    (header.oncekey_export == VERSION).then_some(())?;
    Some(Origin {
        store: words::unhex(header.store.as_bytes())?,
        secrets: header.secrets.iter().map(secret).collect::<Option<_>>()?,
        rules: header.rules.into_iter().map(DigestRules::excluding).collect(),
        given,
    })
}

const UNKNOWN_SECRET: &str = "its digest was made under a secret that is not at hand: export --with-secret, or give it (--secret-file)";

impl Line {
    fn foreign(&self, numbers: &Numbers) -> Result<Foreign, &'static str> {
        let scope = bytes(self.scope.as_ref(), self.scope_base64.as_ref())?.ok_or("it has no scope")?;
        let key = Key::within(&scope, self.token.as_bytes(), SCOPE_BYTES_MAX, TOKEN_BYTES_MAX)
            .map_err(|_| "its scope or token breaks its rule")?;
        let bound = self.bound(numbers)?;
        let foreign = match self.state.as_str() {
            "finished" => self.finished(key, bound)?,
            "interrupted" => self.unfinished(key, bound, None)?,
            "released" => {
                let expires = Timestamp::from_millis(self.expires_ms.ok_or("it has no time of expiry")?);
                self.unfinished(key, bound, Some(expires))?
            }
            _ => return Err("its state is none of finished, interrupted and released"),
        };
        if reads_back(&foreign.bytes) { Ok(foreign) } else { Err("it contradicts itself") }
    }

    fn bound(&self, numbers: &Numbers) -> Result<Bound, &'static str> {
        let secret = usize::from(self.secret).checked_sub(1).and_then(|at| numbers.secrets.get(at));
        let outline = self.outline_base64.as_ref().map(|own| BASE64_STANDARD.decode(own));
        Ok(Bound {
            digest: words::unhex(self.digest.as_bytes()).ok_or("its digest is not 64 hexadecimal digits")?,
            version: self.digest_version,
            rules: *numbers
                .rules
                .get(usize::from(self.rules))
                .ok_or("its rules are not in the head of the export")?,
            secret: secret.copied().flatten().ok_or(UNKNOWN_SECRET)?,
            outline: outline.transpose().map_err(|_| "its outline is not base64")?.map(Arc::from),
        })
    }

    fn finished(&self, key: Key, bound: Bound) -> Result<Foreign, &'static str> {
        let body = bytes(self.body.as_ref(), self.body_base64.as_ref())?.ok_or("it has no body")?;
        let mut outcome = Outcome::http(self.status.unwrap_or(0), body);
        for (name, value) in self.metadata.iter().flatten() {
            outcome = outcome.with_metadata(name, value);
        }
        let digest = self.omitted_digest.as_ref().map_or(Some([0; 32]), |own| words::unhex(own.as_bytes()));
        let digest = digest.ok_or("the digest of its omitted body is not 64 hexadecimal digits")?;
        let expires = Timestamp::from_millis(self.expires_ms.ok_or("it has no time of expiry")?);
        let record = Finished {
            key: key.as_framed(),
            bound,
            completed: Timestamp::from_millis(self.completed_ms.ok_or("it has no time of completion")?),
            expires,
            attempts: self.attempts,
            format: self.format,
            outcome: &outcome,
            omitted: self.omitted_bytes.map(|bytes| Omitted { bytes, digest }),
        };
        let (bytes, weighs) = (record.encode(), record.weighs());
        Ok(Foreign { key, bytes, weighs, what: What::Kept, expires })
    }

    fn unfinished(&self, key: Key, bound: Bound, until: Option<Timestamp>) -> Result<Foreign, &'static str> {
        let checkpoint = bytes(self.checkpoint.as_ref(), self.checkpoint_base64.as_ref())?;
        let note = |bytes: Vec<u8>| Checkpoint {
            attempt: self.checkpoint_attempt.unwrap_or(0),
            bytes: bytes.into(),
        };
        let checkpoint = checkpoint.map(note);
        let record = Started {
            key: key.as_framed(),
            bound,
            since: Timestamp::from_millis(self.since_ms.ok_or("it has no time since when it ran")?),
            attempt: self.attempts,
            format: self.format,
            checkpoint: checkpoint.as_ref(),
            released_until: until,
        };
        let (bytes, weighs, expires) = (record.encode(), record.weighs(), record.expires());
        let what = if until.is_some() { What::Kept } else { What::Started };
        Ok(Foreign { key, bytes, weighs, what, expires })
    }
}

/// Bytes of a caller's, as `entry` writes them.
fn bytes(text: Option<&String>, base64: Option<&String>) -> Result<Option<Vec<u8>>, &'static str> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64).map(Some).map_err(|_| "something in it is not base64")
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
