//! How long does it take until everybody who waits for a key has its answer?
//!
//! So many tasks wait for one reservation; it is completed; the time runs until the last of them has the outcome. On a
//! store in memory, so that no disk is measured. Beside it the same tasks on a `watch` channel and on a `Notify` of tokio,
//! driven by the same executor on the same thread. `watch` and `Notify` hand over a number; the store compares digest and
//! expiry and hands each one the outcome's bytes.

mod support;

use std::time::Duration;

use oncekey::Store;

use support::Form;
use support::report::{line, median, title};
use support::waking::{wait_notify, wait_oncekey, wait_watch};

fn main() {
    let form = Form::asked();
    let all: &[usize] = form.pick(&[1, 10, 100, 1000, 10_000], &[1, 100, 10_000], &[1, 10]);
    let store = Store::in_memory().expect("memory");
    title("from the outcome to the last of its waiters, µs", &["oncekey", "watch", "notify", "ours / watch"]);
    for &waiters in all {
        let mut times = [const { Vec::new() }; 3];
        let mut ratios = Vec::new();
        for _ in 0..form.rounds() * 3 {
            let round = [wait_oncekey(&store, waiters), wait_watch(waiters), wait_notify(waiters)];
            times.iter_mut().zip(round).for_each(|(all, own)| all.push(own));
            ratios.push(round[0] / round[1]);
        }
        let [own, watch, notify] = times.map(|all| format!("{:.0}", median(all)));
        line(&format!("{waiters} waiters"), &[own, watch, notify, format!("{:.2}", median(ratios))], "");
    }

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("handoff");
    for &waiters in all {
        let ways: [(&str, &dyn Fn() -> f64); 3] = [
            ("oncekey", &|| wait_oncekey(&store, waiters)),
            ("watch", &|| wait_watch(waiters)),
            ("notify", &|| wait_notify(waiters)),
        ];
        for (name, way) in ways {
            group.bench_function(format!("{name}/{waiters}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    (0..iterations).map(|_| Duration::from_secs_f64(way() / 1e6)).sum()
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
