//! Everybody waits for one thing: for a key's outcome, for a `watch` channel, for a `Notify`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncekey::{Answer, Outcome, Store};
use tokio::sync::{Notify, watch};

use super::callers::as_tasks;
use super::fill::{OUTCOME, keys, parameters};

const PATIENCE: Duration = Duration::from_secs(600);

/// Microseconds from the completion to the last waiter: the last task starts the clock once all others wait.
pub(crate) fn wait_oncekey(store: &Store, waiters: usize) -> f64 {
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

pub(crate) fn wait_watch(waiters: usize) -> f64 {
    let (tell, told) = watch::channel(0_u64);
    measure(
        waiters,
        async || told.clone().changed().await.expect("it is told"),
        async || tell.send(1).expect("they listen"),
    )
}

pub(crate) fn wait_notify(waiters: usize) -> f64 {
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
    time.as_secs_f64() * 1e6
}
