//! The figures of the durable table: oncekey beside the file limit, beside the best peer, beside redb keyed by token.

use crate::contender::Kind;
use crate::durable::Cell;
use crate::form::Form;
use crate::report::Goal;
use crate::results::Results;
use crate::series::Series;

/// A record's token, scope and outcome, as the goals count it.
const RECORD_BYTES: f64 = 240.0;

pub(crate) fn durable(form: Form, cells: &[Cell], results: &mut Results) {
    let kept = form.kept_of_figures();
    for (in_flight, file, peer) in
        [(1, 0.6, None), (64, 0.7, Some(1.5)), (512, 0.75, Some(2.0)), (4096, 0.6, Some(3.0))]
    {
        let here = || cells.iter().filter(move |own| (own.kept, own.in_flight) == (kept, in_flight));
        let Some(ours) = here().find(|own| own.kind == Kind::Ours) else { continue };
        let note = format!("{kept} kept");
        if let Some(limit) = here().find(|own| own.kind == Kind::FileLimit) {
            let id = format!("durable_{in_flight}_vs_file");
            results.figure(&id, &ours.rate.over(&limit.rate), Goal::AtLeast(file), "times its rate", &note);
        }
        let peers = here().filter(|own| own.kind == Kind::Peer);
        let best = peers.max_by(|one, other| one.rate.median().total_cmp(&other.rate.median()));
        if let (Some(best), Some(goal)) = (best, peer) {
            let id = format!("durable_{in_flight}_vs_peer");
            let note = format!("{note}; the best peer is {}", best.name);
            results.figure(&id, &ours.rate.over(&best.rate), Goal::AtLeast(goal), "times its rate", &note);
        }
        if let (512, Some(redb)) = (in_flight, here().find(|own| own.name == "redb")) {
            let ratio = ours.rate.over(&redb.rate);
            results.figure("durable_512_vs_keyed_redb", &ratio, Goal::AtLeast(20.0), "times its rate", &note);
        }
        let goal = match in_flight {
            64 => 3.5,
            512 => 1.5,
            _ => continue,
        };
        if let Some([bytes, zeros]) = &ours.counted {
            let times = Series(bytes.0.iter().map(|bytes| bytes / RECORD_BYTES).collect());
            let note = format!("{note}; and {:.2} of zeros ahead", zeros.mean() / RECORD_BYTES);
            let id = format!("bytes_written_{in_flight}");
            results.figure(&id, &times, Goal::AtMost(goal), "times the record", &note);
        }
    }
}
