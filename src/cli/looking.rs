//! `get` and `list`: keys, and what is kept of them.

use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::arguments::{Get, List, Wanted};
use super::entry::{State, entry, key_of};
use super::failure::{Failure, Status};
use super::output::Out;
use super::view::View;
use super::{owned, words};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Known, What};
use crate::record::{Kind, Record};
use crate::token::unframed;

pub(super) fn get(asked: &Get, out: &mut Out) -> Result<Status, Failure> {
    let key = owned::key(&asked.scope, &asked.token)?;
    let view = View::open(&asked.place, out)?;
    let hash = view.survey.fingerprint(key.as_framed());
    for known in view.survey.known(|own| own == hash)?.iter().rev() {
        let told = view.survey.read(known, |record| {
            (record.key() == key.as_framed()).then(|| tell(&record, known, &view, asked.show_outcome, out))
        })?;
        if let Some(told) = told {
            return told.map(|()| view.status());
        }
    }
    if out.is_json() {
        out.value(&json!({ "state": "absent", "newest_records_in_view": view.survey.is_whole }))?;
    } else {
        out.line("nothing is kept of this key")?;
    }
    Ok(Status::Found)
}

fn tell(record: &Record<'_>, known: &Known, view: &View, show: bool, out: &mut Out) -> Result<(), Failure> {
    let damaged = || Error::from(ErrorKind::Damaged { segment: view.survey.number_of(known) });
    let mut map = entry(record, show).ok_or_else(damaged)?;
    let expired = view.is_expired(known);
    if out.is_json() {
        map.insert("expired".to_owned(), expired.into());
        map.insert("segment".to_owned(), view.survey.number_of(known).into());
        map.insert("newest_records_in_view".to_owned(), view.survey.is_whole.into());
        return out.value(&map.into());
    }
    let state = State::of(record.kind());
    let mut rows = vec![
        ("state", format!("{}{}", state.name(), if expired { ", expired: as never seen" } else { "" })),
        (
            if state == State::Finished { "completed" } else { "since" },
            format!("{}, {}", words::time(record.completed()), words::age(record.completed(), view.now)),
        ),
    ];
    if state != State::Interrupted {
        let until = record.expires();
        rows.push(("expires", format!("{}, {}", words::time(until), words::age(until, view.now))));
    }
    rows.push(("attempts", record.attempts().to_string()));
    rows.push(("digest", format!("{}, version {}", words::hex(&record.digest()), record.digest_version())));
    rows.push(("made under", format!("secret {}, rules {}", record.secret(), record.rules())));
    rows.push(("segment", view.survey.number_of(known).to_string()));
    rows.extend(content(record, show));
    rows.into_iter().try_for_each(|(name, value)| out.line(&format!("{name:<12} {value}")))
}

/// What is said of a record's outcome or checkpoint.
fn content(record: &Record<'_>, show: bool) -> Vec<(&'static str, String)> {
    let hidden = |bytes: usize| format!("{} (--show-outcome)", words::size(bytes as u64));
    let mut rows = Vec::new();
    if let Some(replay) = (record.kind() == Kind::Finished).then(|| record.replay()).flatten() {
        let outcome = replay.outcome();
        rows.extend(outcome.status().map(|status| ("status", status.to_string())));
        if show {
            let pair = |(name, value): &(String, String)| {
                ("metadata", format!("{}: {}", words::shown(name.as_bytes()), words::shown(value.as_bytes())))
            };
            rows.extend(outcome.metadata().iter().map(pair));
        }
        match replay.omitted() {
            Some(omitted) => rows.push(("body", format!("not kept, it had {}", words::size(omitted.bytes)))),
            None if show => rows.push(("body", words::shown(outcome.body()))),
            None => rows.push(("body", hidden(outcome.body().len()))),
        }
    } else if let Some(checkpoint) = record.checkpoint() {
        let bytes = checkpoint.bytes();
        let told = if show { words::shown(bytes) } else { hidden(bytes.len()) };
        rows.push(("checkpoint", format!("of attempt {}: {told}", checkpoint.attempt())));
    }
    rows
}

pub(super) fn list(asked: &List, out: &mut Out) -> Result<Status, Failure> {
    let view = View::open(&asked.place, out)?;
    let mut known = view.known()?;
    known.retain(|own| may_be_wanted(asked, own, &view));
    if out.is_json() {
        let in_view = view.survey.is_whole;
        out.line(&format!("{{\"newest_records_in_view\":{in_view},\"keys\":["))?;
    }
    let (mut listed, mut damaged, mut failed) = (0, 0_u64, None);
    view.survey.each(&known, |own, record| {
        let told = match record {
            Ok(record) if !is_wanted(asked, &record, own, &view) => return true,
            Ok(record) => tell_line(&record, &view, own, asked.show_outcome, listed == 0, out),
            Err(error) => {
                damaged += 1;
                out.note(&error.to_string());
                return true;
            }
        };
        listed += 1;
        failed = told.err();
        failed.is_none() && asked.limit.is_none_or(|limit| listed < limit)
    });
    if let Some(failure) = failed {
        return Err(failure);
    }
    if out.is_json() {
        out.line(&format!("],\"damaged\":{damaged}}}"))?;
    } else if listed == 0 {
        out.note("no key is in this state");
    }
    Ok(if damaged > 0 { Status::Found } else { view.status() })
}

/// Whether a record may be wanted, by its hint: so that others are not read.
fn may_be_wanted(asked: &List, known: &Known, view: &View) -> bool {
    let is_one_of =
        |states: &[Wanted]| asked.state.iter().any(|own| *own == Wanted::All || states.contains(own));
    match known.hint.what {
        What::Started => is_one_of(&[Wanted::Interrupted]),
        _ if view.is_expired(known) => is_one_of(&[Wanted::Expired]),
        _ => is_one_of(&[Wanted::Finished, Wanted::Released]),
    }
}

fn is_wanted(asked: &List, record: &Record<'_>, known: &Known, view: &View) -> bool {
    let state = match (record.kind(), view.is_expired(known)) {
        (Kind::Started, _) => Wanted::Interrupted,
        (_, true) => Wanted::Expired,
        (Kind::Released, false) => Wanted::Released,
        _ => Wanted::Finished,
    };
    let age = view.now.since(record.completed());
    let scope = asked.scope.as_ref().is_none_or(|scope| scope_of(record) == scope.as_bytes());
    scope
        && asked.state.iter().any(|wanted| *wanted == state || *wanted == Wanted::All)
        && asked.older_than.is_none_or(|bound| age >= bound)
        && asked.younger_than.is_none_or(|bound| age < bound)
}

/// The scope of a record that has a key; of one that has none, what is no scope.
pub(super) fn scope_of<'a>(record: &Record<'a>) -> &'a [u8] {
    unframed(record.key()).map_or(&[], |(scope, _)| scope)
}

fn tell_line(
    record: &Record<'_>,
    view: &View,
    known: &Known,
    show: bool,
    first: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let expired = view.is_expired(known);
    let damaged = || Error::from(ErrorKind::Damaged { segment: view.survey.number_of(known) });
    if out.is_json() {
        let mut map = entry(record, show).ok_or_else(damaged)?;
        map.insert("expired".to_owned(), expired.into());
        return out.line(&format!("{}{}", if first { " " } else { "," }, serde_json::Value::from(map)));
    }
    let key = key_of(record).ok_or_else(damaged)?;
    let state = if expired { "expired" } else { State::of(record.kind()).name() };
    let (at, now) = (record.completed(), view.now);
    out.line(&format!(
        "{state:<11}  {:<24}  {:<16}  attempt {:<3}  {}  {}",
        words::time(at),
        words::age(at, now),
        record.attempts(),
        words::shown(key.scope()),
        words::shown(key.token().as_bytes()),
    ))?;
    let rows = if show { content(record, true) } else { Vec::new() };
    rows.into_iter().try_for_each(|(name, value)| out.line(&format!("    {name}: {value}")))
}
