//! `export`: records as JSON lines.
//!
//! | line | what it says |
//! | --- | --- |
//! | first | `oncekey_export` (the version of this form), the store, what its digests are made under |
//! | one for each record | all of it, outcome or checkpoint included: see `entry` |
//! | last | `exported_records`: how many those were, so that what was cut short is noticed |

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use serde_json::{Value, json};

use super::arguments::Export;
use super::entry::entry;
use super::failure::{Failure, Status};
use super::looking::scope_of;
use super::output::Out;
use super::view::View;
use super::words;
use crate::record::Record;

/// The version of this form.
pub(super) const VERSION: u32 = 1;

pub(super) fn export(asked: &Export, out: &mut Out) -> Result<Status, Failure> {
    let view = View::open(&asked.place, out)?;
    let Some(path) = &asked.output else {
        let notes = Out::to_stdout(out.is_json());
        return write(asked, &view, out, &notes).map(|(_, status)| status);
    };
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Failure::at(path))?;
    let mut to = BufWriter::new(file);
    let (records, status) = write(asked, &view, &mut to, out)?;
    let file = to.into_inner().map_err(|error| Failure::at(path)(error.into_error()))?;
    file.sync_all().map_err(Failure::at(path))?;
    if out.is_json() {
        let in_view = view.survey.is_whole;
        out.value(&json!({ "exported_records": records, "newest_records_in_view": in_view }))?;
    } else {
        out.line(&format!("exported: {}", words::counted(records, "record")))?;
    }
    Ok(status)
}

fn write(asked: &Export, view: &View, to: &mut dyn Write, out: &Out) -> Result<(u64, Status), Failure> {
    writeln!(to, "{}", header(asked, view))?;
    let (mut records, mut damaged, mut failed) = (0, false, None);
    let known = view.known()?;
    let bar = out.progress(known.len() as u64, "exporting");
    view.survey.each(&known, |own, record| {
        bar.inc(1);
        if view.is_expired(own) {
            return true;
        }
        let line = match record {
            Ok(record) if !is_wanted(asked, &record) => return true,
            Ok(record) => entry(&record, true),
            Err(_) => None,
        };
        let Some(line) = line else {
            damaged = true;
            out.note(&format!("a damaged record in segment {} is left out", view.survey.number_of(own)));
            return true;
        };
        records += 1;
        failed = writeln!(to, "{}", Value::from(line)).err();
        failed.is_none()
    });
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error.into());
    }
    writeln!(to, "{}", json!({ "exported_records": records }))?;
    Ok((records, if damaged { Status::Found } else { view.status() }))
}

fn is_wanted(asked: &Export, record: &Record<'_>) -> bool {
    asked.scope.as_ref().is_none_or(|scope| scope_of(record) == scope.as_bytes())
}

fn header(asked: &Export, view: &View) -> Value {
    let identity = &view.survey.identity;
    let secrets = identity.secret_notes().map(|(check, own)| {
        let secret = own.filter(|_| asked.with_secret).map(|own| words::hex(&own));
        json!({ "check": words::hex(&check), "secret": secret })
    });
    json!({
        "oncekey_export": VERSION,
        "store": words::hex(&identity.store),
        "newest_records_in_view": view.survey.is_whole,
        "secrets": secrets.collect::<Vec<_>>(),
        "rules": identity.rule_names(),
    })
}
