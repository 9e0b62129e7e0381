//! What does it cost to forget what has expired, and what do callers notice of it?
//!
//! A store of which none, half or all has expired is swept, while another thread begins and releases fresh tokens: the
//! sweep's time, and the callers' 99th percentile during it beside a quiet one. Beside it the same number of rows removed
//! durably by key from one redb table, a thousand in a transaction.

mod support;

use std::time::Duration;

use support::expiring::{Seen, remove, sweep};
use support::report::{float, line, median, title};
use support::{Form, home};

fn main() {
    let form = Form::asked();
    let records = form.pick(1_000_000, 50_000, 500);
    let rounds = form.pick(3, 1, 1);
    let columns = ["sweep, ms", "ns a record", "p99 quiet, ns", "p99 swept, ns", "ratio"];
    title(&format!("a sweep of {records} records"), &columns);
    for percent in [0, 50, 100] {
        let seen: Vec<_> = (0..rounds).map(|_| sweep(home().path(), records, percent)).collect();
        let of = |at: fn(&Seen) -> f64| median(seen.iter().map(at).collect());
        let row = [
            format!("{:.1}", of(|own| own.sweep * 1e3)),
            format!("{:.0}", of(|own| own.sweep * 1e9) / float(records as u64)),
            format!("{:.0}", of(|own| own.quiet)),
            format!("{:.0}", of(|own| own.meanwhile)),
            format!("{:.2}", of(|own| own.meanwhile / own.quiet)),
        ];
        line(&format!("{percent} % expired"), &row, "");
        if percent == 100 {
            let removed = remove(home().path(), records).as_secs_f64();
            let ratio = of(|own| own.sweep) / removed;
            line("  removed from one table", &[format!("{:.1}", removed * 1e3)], "");
            line("  sweep / removing", &[format!("{ratio:.3}")], "");
        }
    }

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("sweep");
    for percent in [0, 50, 100] {
        group.bench_function(format!("{percent} % of {} records", records / 10), |bencher| {
            bencher.iter_custom(|iterations| {
                let sweeps =
                    (0..iterations.min(3)).map(|_| sweep(home().path(), records / 10, percent).sweep);
                Duration::from_secs_f64(sweeps.sum::<f64>() * float(iterations) / float(iterations.min(3)))
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
