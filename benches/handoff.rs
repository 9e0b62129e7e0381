//! How long does it take until everybody who waits for a key has its answer?
//!
//! So many tasks wait for one reservation; it is completed; the time runs until the last of them has the outcome. On a
//! store in memory, so that no disk is measured. Beside it the same tasks on a `watch` channel and on a `Notify` of tokio,
//! driven by the same executor on the same thread. `watch` and `Notify` hand over a number; the store compares digest and
//! expiry and hands each one the outcome's bytes.

mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncekey::{Answer, Outcome, Store};
use tokio::sync::{Notify, watch};

use support::Form;
use support::callers::as_tasks;
use support::fill::{OUTCOME, keys, parameters};
use support::report::{float, line, median, title};

const PATIENCE: Duration = Duration::from_secs(600);

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

/// Microseconds from the completion to the last waiter: the last task starts the clock once all others wait.
fn wait_oncekey(store: &Store, waiters: usize) -> f64 {
    let key = keys(1).remove(0);
    let Ok(Answer::Fresh(held)) = store.begin(&key, &parameters()) else { panic!("a new key") };
    let held = Cell::new(Some(held));
    measure(
        waiters,
        async || match store.request(&key, &parameters()).wait(PATIENCE).begin_async().await {
            Ok(Answer::Replay(replay)) => assert_eq!(replay.outcome().body().len(), OUTCOME.len()),
            other => panic!("it was completed: {other:?}"),
        },
        async || {
            held.take().expect("once").complete_async(Outcome::new(OUTCOME)).await.expect("memory");
        },
    )
}

fn wait_watch(waiters: usize) -> f64 {
    let (tell, told) = watch::channel(0_u64);
    measure(
        waiters,
        async || told.clone().changed().await.expect("it is told"),
        async || tell.send(1).expect("they listen"),
    )
}

fn wait_notify(waiters: usize) -> f64 {
    let notify = Arc::new(Notify::new());
    measure(waiters, async || notify.notified().await, async || notify.notify_waiters())
}

/// Runs the waiters as tasks, then the one who ends it, who is polled when all of them wait.
fn measure(waiters: usize, wait: impl AsyncFn(), end: impl AsyncFn()) -> f64 {
    let start = Cell::new(None);
    as_tasks(waiters + 1, async |number| {
        if number < waiters {
            wait().await;
        } else {
            start.set(Some(Instant::now()));
            end().await;
        }
    });
    let time: Duration = start.get().expect("it was ended").elapsed();
    time.as_secs_f64() * 1e6 * float(1)
}
