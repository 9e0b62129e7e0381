//! `inspect`: what a store holds, by its hints.

use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::Inspect;
use super::failure::{Failure, Status};
use super::output::Out;
use super::view::View;
use super::words;
use crate::ledger::{Known, What};
use crate::time::Timestamp;

/// Upper bounds of the bars of the chart, and their names.
const BARS: [(Duration, &str); 12] = [
    (Duration::from_secs(60), "1 minute"),
    (Duration::from_secs(5 * 60), "5 minutes"),
    (Duration::from_secs(15 * 60), "15 minutes"),
    (Duration::from_secs(3600), "1 hour"),
    (Duration::from_secs(3 * 3600), "3 hours"),
    (Duration::from_secs(6 * 3600), "6 hours"),
    (Duration::from_secs(12 * 3600), "12 hours"),
    (Duration::from_secs(24 * 3600), "1 day"),
    (Duration::from_secs(48 * 3600), "2 days"),
    (Duration::from_secs(7 * 24 * 3600), "1 week"),
    (Duration::from_secs(30 * 24 * 3600), "30 days"),
    (Duration::MAX, "later"),
];
/// Characters of the longest bar.
const BAR_WIDTH: u64 = 40;

/// What all segments hold together.
#[derive(Default)]
struct Totals {
    /// Finished or released, and not expired.
    kept: u64,
    kept_bytes: u64,
    interrupted: u64,
    expired: u64,
    bars: [u64; BARS.len()],
    first_expiry: Option<Timestamp>,
    last_expiry: Option<Timestamp>,
}

pub(super) fn inspect(asked: &Inspect, out: &mut Out) -> Result<Status, Failure> {
    let view = View::open(&asked.place, out)?;
    let known = view.known()?;
    let totals = Totals::of(&known, view.now);
    let mut live: Vec<u64> = vec![0; view.survey.segments.len()];
    for own in &known {
        live[own.segment()] += 1;
    }
    if out.is_json() {
        out.value(&document(&view, &totals, &live))?;
    } else {
        print(&view, &totals, &live, out)?;
    }
    Ok(view.status())
}

impl Totals {
    fn of(known: &[Known], now: Timestamp) -> Self {
        let mut totals = Self::default();
        for hint in known.iter().map(|own| own.hint) {
            if hint.what == What::Started {
                totals.interrupted += 1;
            } else if hint.expires <= now {
                totals.expired += 1;
            } else {
                totals.kept += 1;
                let left = hint.expires.since(now);
                let bar = BARS.iter().position(|(bound, _)| left < *bound).unwrap_or(BARS.len() - 1);
                totals.bars[bar] += 1;
                totals.first_expiry =
                    Some(totals.first_expiry.map_or(hint.expires, |first| first.min(hint.expires)));
                totals.last_expiry = totals.last_expiry.max(Some(hint.expires));
            }
            totals.kept_bytes += u64::from(hint.weight.bytes);
        }
        totals
    }
}

fn document(view: &View, totals: &Totals, live: &[u64]) -> Value {
    let survey = &view.survey;
    let segments = survey.segments.iter().zip(live).map(|(own, live)| {
        let (first_time, last_time) = own.times();
        json!({
            "number": own.segment.number,
            "sealed": own.is_sealed,
            "encrypted": own.segment.keys().cipher.is_some(),
            "records": own.records(),
            "live_records": live,
            "blocks": own.segment.blocks().count(),
            "file_bytes": own.segment.backend().file_bytes(),
            "first_ms": first_time.as_millis(),
            "last_ms": last_time.as_millis(),
            "expires_ms": own.expires().map(Timestamp::as_millis),
        })
    });
    let bars = BARS.iter().zip(totals.bars).map(|((bound, _), records)| {
        let within_ms = if *bound == Duration::MAX { Value::Null } else { json!(bound.as_secs() * 1000) };
        json!({ "within_ms": within_ms, "records": records })
    });
    let flaws = survey.flaws.iter().map(|own| json!({ "segment": own.segment, "what": own.what }));
    json!({
        "newest_records_in_view": survey.is_whole,
        "store": words::hex(&survey.identity.store),
        "epoch": survey.identity.epoch,
        "now_ms": view.now.as_millis(),
        "records": totals.kept,
        "interrupted": totals.interrupted,
        "expired": totals.expired,
        "record_bytes": totals.kept_bytes,
        "file_bytes": survey.segments.iter().map(|own| own.segment.backend().file_bytes()).sum::<u64>(),
        "first_expiry_ms": totals.first_expiry.map(Timestamp::as_millis),
        "last_expiry_ms": totals.last_expiry.map(Timestamp::as_millis),
        "secrets": survey.identity.secret_notes().count(),
        "rules": survey.identity.rule_names(),
        "expiry": bars.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "not_in_view": flaws.collect::<Vec<_>>(),
    })
}

fn print(view: &View, totals: &Totals, live: &[u64], out: &mut Out) -> Result<(), Failure> {
    let survey = &view.survey;
    let file_bytes = survey.segments.iter().map(|own| own.segment.backend().file_bytes()).sum();
    let own = survey.identity.secret_notes().last().is_some_and(|(_, own)| own.is_some());
    let rows = [
        ("store", format!("{}, epoch {}", words::hex(&survey.identity.store), survey.identity.epoch)),
        ("kept", words::counted(totals.kept, "record")),
        ("interrupted", words::counted(totals.interrupted, "operation")),
        ("expired", format!("{}, not swept yet", words::counted(totals.expired, "record"))),
        ("bytes", format!("{} of scopes, tokens and outcomes", words::size(totals.kept_bytes))),
        ("files", format!("{}, {}", words::counted(live.len() as u64, "segment"), words::size(file_bytes))),
        ("secret", if own { "the store's own, beside it" } else { "the caller's" }.to_owned()),
    ];
    for (name, value) in rows {
        out.line(&format!("{name:<12} {value}"))?;
    }
    out.line("")?;
    out.line(&format!(
        "{:>8}  {:<8} {:>12} {:>12} {:>12}  {:<26} last record expires",
        "segment", "state", "records", "that count", "file", "last written"
    ))?;
    for (own, live) in survey.segments.iter().zip(live) {
        let lock = if own.segment.keys().cipher.is_some() { ", encrypted" } else { "" };
        out.line(&format!(
            "{:>8}  {:<8} {:>12} {:>12} {:>12}  {:<26} {}{lock}",
            own.segment.number,
            if own.is_sealed { "sealed" } else { "open" },
            words::count(own.records()),
            words::count(*live),
            words::size(own.segment.backend().file_bytes()),
            words::age(own.times().1, view.now),
            own.expires().map_or_else(|| "-".to_owned(), |at| words::age(at, view.now)),
        ))?;
    }
    out.line("")?;
    chart(totals, out)
}

/// How many records expire when.
fn chart(totals: &Totals, out: &mut Out) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (totals.first_expiry, totals.last_expiry) else {
        return out.line("nothing expires");
    };
    let between = format!("{} to {}", words::time(first), words::time(last));
    out.line(&format!("expiry of {}, {between}", words::counted(totals.kept, "record")))?;
    let most = totals.bars.iter().copied().max().unwrap_or(1).max(1);
    let filled = |from: usize| totals.bars[from..].iter().any(|bar| *bar > 0);
    for (at, ((bound, name), records)) in BARS.iter().zip(totals.bars).enumerate() {
        if !filled(at) || (records == 0 && totals.bars[..at].iter().all(|bar| *bar == 0)) {
            continue;
        }
        let width = usize::try_from(records.saturating_mul(BAR_WIDTH).div_ceil(most)).unwrap_or(0);
        let label = if *bound == Duration::MAX { (*name).to_owned() } else { format!("within {name}") };
        out.line(&format!("{label:>18}  {:<40} {}", "█".repeat(width), words::count(records)))?;
    }
    Ok(())
}
