//! `verify`: every record of every segment.

use serde_json::json;

use super::arguments::Verify;
use super::failure::{Failure, Status};
use super::output::Out;
use super::view::View;
use super::words;

pub(super) fn verify(asked: &Verify, out: &mut Out) -> Result<Status, Failure> {
    let view = View::open(&asked.place, out)?;
    let survey = &view.survey;
    let blocks = survey.segments.iter().map(|own| own.segment.blocks().count() as u64).sum();
    let bar = out.progress(blocks, "checking blocks");
    let (mut flaws, mut records) = (survey.flaws.clone(), 0);
    for own in &survey.segments {
        records += survey.check(own, &mut flaws, || bar.inc(1));
    }
    bar.finish_and_clear();
    let bytes = survey.segments.iter().map(|own| own.segment.backend().file_bytes()).sum();
    let segments = survey.segments.len() as u64;
    let status = if flaws.is_empty() { Status::Fine } else { Status::Found };
    let said = if out.is_json() {
        let flaws = flaws.iter().map(|own| {
            let (block, byte) = own.place.map(|at| (at.block(), at.offset())).unzip();
            json!({ "segment": own.segment, "block": block, "byte": byte, "what": own.what })
        });
        out.value(&json!({
            "newest_records_in_view": survey.is_whole,
            "segments": segments,
            "blocks": blocks,
            "sound_records": records,
            "file_bytes": bytes,
            "damage": flaws.collect::<Vec<_>>(),
        }))
    } else {
        let place = |own: &crate::ledger::Flaw| {
            own.place.map_or_else(String::new, |at| format!(", block {}, byte {}", at.block(), at.offset()))
        };
        let mut lines =
            flaws.iter().map(|own| format!("segment {}{}: {}", own.segment, place(own), own.what));
        let damage = match flaws.len() {
            0 => "no damage".to_owned(),
            found => format!("DAMAGE in {}", words::counted(found as u64, "place")),
        };
        let (records, blocks) = (words::counted(records, "sound record"), words::counted(blocks, "block"));
        let (segments, bytes) = (words::counted(segments, "segment"), words::size(bytes));
        lines
            .try_for_each(|line| out.line(&line))
            .and_then(|()| out.line(&format!("{segments}, {bytes}, {blocks}, {records}: {damage}")))
    };
    match said {
        // What was found is found, whether somebody reads it or not.
        Ok(()) | Err(Failure::Closed) => Ok(status),
        Err(failure) => Err(failure),
    }
}
