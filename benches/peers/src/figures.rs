//! The figures of the durable table: oncekey beside the file limit, beside the best peer, beside redb keyed by token.

use crate::contender::Kind;
use crate::durable::Cell;
use crate::form::Form;
use crate::results::Results;
use crate::series::Series;

/// A record's token, scope and outcome, as the goals count it.
const RECORD_BYTES: f64 = 240.0;

pub(crate) fn durable(form: Form, cells: &[Cell], results: &mut Results) {
    let kept = form.kept_of_figures();
    for &in_flight in form.in_flight().iter().filter(|own| [1, 64, 512, 4096].contains(*own)) {
        let here = || cells.iter().filter(move |own| (own.kept, own.in_flight) == (kept, in_flight));
        let Some(ours) = here().find(|own| own.kind == Kind::Ours) else { continue };
        let note = format!("{kept} kept");
        if let Some(limit) = here().find(|own| own.kind == Kind::FileLimit) {
            results.figure(&format!("durable_{in_flight}_vs_file"), &ours.rate.over(&limit.rate), &note);
        }
        let peers = here().filter(|own| own.kind == Kind::Peer);
        let best = peers.max_by(|one, other| one.rate.median().total_cmp(&other.rate.median()));
        if let (Some(best), true) = (best, in_flight > 1) {
            let note = format!("{note}; the best peer is {}", best.name);
            results.figure(&format!("durable_{in_flight}_vs_peer"), &ours.rate.over(&best.rate), &note);
        }
        if let (512, Some(redb)) = (in_flight, here().find(|own| own.name == "redb")) {
            results.figure("durable_512_vs_keyed_redb", &ours.rate.over(&redb.rate), &note);
        }
        if let (64 | 512, Some([bytes, zeros])) = (in_flight, &ours.counted) {
            let times = Series(bytes.0.iter().map(|bytes| bytes / RECORD_BYTES).collect());
            let note = format!("{note}; and {:.2} of zeros ahead", zeros.mean() / RECORD_BYTES);
            results.figure(&format!("bytes_written_{in_flight}"), &times, &note);
        }
    }
}
