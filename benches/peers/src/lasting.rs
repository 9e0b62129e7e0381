//! What does keeping cost beside the writing itself? What an expiry takes and what callers notice of it, how much disk
//! is held over many retention periods, and how long everybody who waits for one key is kept waiting.
//!
//! *expiry*: a sweep of records that have all expired, beside removing as many from one redb table durably by key, a
//! thousand in a transaction; callers begin and release fresh tokens meanwhile. *space*: a load that never changes, each
//! record kept for one period, twenty periods long, swept sixteen times in each; then the files' bytes beside those of
//! what has not expired, as it is encoded. *waking*: futures that wait for one outcome, beside tokio's `watch` on the same
//! executor.

use std::time::Duration;

use oncekey::{Answer, ManualClock, Outcome, Store, Timestamp};

use crate::callers::as_tasks;
use crate::expiring::{remove, sweep};
use crate::fill::{SCOPE, parameters};
use crate::form::{Form, MILLION};
use crate::home;
use crate::limits::LAID_DOWN_BYTES;
use crate::report::{float, line, title};
use crate::results::Results;
use crate::series::Series;
use crate::waking::{wait_oncekey, wait_watch};
use crate::work::{fresh_tokens, outcome_of};

/// Waiters that the figure speaks of.
const WAITERS: usize = 10_000;

/// How long a record is kept, and in how many steps the load of that time comes.
const RETENTION: Duration = Duration::from_hours(16);
const STEPS: u32 = 16;
const PERIODS: u32 = 20;
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Callers of the load.
const CALLERS: usize = 256;

pub(crate) fn expiry(form: Form, results: &mut Results) {
    let records = form.count(form.pick(MILLION, MILLION / 5, MILLION));
    let count = usize::try_from(records).expect("it is small");
    title("expiry", &["value"]);
    let [mut times, mut tails] = [const { Series(Vec::new()) }; 2];
    for round in 0..form.rounds().min(5) {
        eprint!("\r  expiry of {records} records: round {}   ", round + 1);
        let swept = sweep(home().path(), count, 100);
        times.push(swept.sweep / remove(home().path(), count).as_secs_f64());
        tails.push(swept.meanwhile / swept.quiet);
    }
    eprint!("\r{:60}\r", "");
    let note = format!("{records} records");
    results.figure_if(!form.is_short(), "expire_vs_remove", &times, &note);
    results.figure_if(!form.is_short(), "sweep_p99_vs_quiet", &tails, &note);
}

pub(crate) fn space(form: Form, results: &mut Results) {
    let live = form.count(form.pick(2 * MILLION, MILLION / 5, 2 * MILLION));
    title("space", &["value"]);
    let clock = ManualClock::at(START);
    let home = home();
    let settings = Store::builder().clock(clock.clone()).retention(RETENTION).background_sweep(false);
    let store = settings.open(home.path().join("store")).expect("a new store");
    let mut shares = Series::default();
    for step in 0..PERIODS * STEPS {
        if step.is_multiple_of(STEPS) {
            eprint!("\r  space: period {} of {PERIODS}   ", step / STEPS + 1);
        }
        load(&store, live / u64::from(STEPS));
        clock.advance(RETENTION / STEPS);
        store.sweep().expect("the disk works");
        let stats = store.stats();
        // The last period is looked at step by step.
        if step >= (PERIODS - 1) * STEPS {
            let unexpired = stats.kept_records * LAID_DOWN_BYTES as u64;
            shares.push(float(stats.file_bytes) / float(unexpired));
        }
    }
    eprint!("\r{:60}\r", "");
    let note = format!("{live} records live, {PERIODS} periods");
    results.figure_if(!form.is_short(), "space_vs_live", &shares, &note);
    let stats = store.stats();
    let row = [stats.file_bytes, stats.segments, stats.kept_records].map(|own| own.to_string());
    line("  file bytes, segments, records", &row, "");
}

/// Completes so many fresh tokens.
fn load(store: &Store, count: u64) {
    let tokens = fresh_tokens(usize::try_from(count).expect("it is small"));
    as_tasks(CALLERS, async |caller| {
        for token in tokens.iter().skip(caller).step_by(CALLERS) {
            let key = store.key(SCOPE, token).expect("a sound token");
            let parameters = parameters();
            let Ok(Answer::Fresh(held)) = store.request(&key, &parameters).relaxed().begin() else {
                panic!("a token never seen is fresh")
            };
            held.complete_async(Outcome::new(outcome_of(token))).await.expect("the disk works");
        }
    });
    store.flush().expect("the disk works");
}

pub(crate) fn waking(form: Form, results: &mut Results) {
    let waiters = form.pick(WAITERS, WAITERS, 10);
    title("waking", &["value"]);
    let store = Store::in_memory().expect("memory");
    let [mut ours, mut theirs] = [const { Series(Vec::new()) }; 2];
    for _ in 0..form.rounds() * 3 {
        ours.push(wait_oncekey(&store, waiters));
        theirs.push(wait_watch(waiters));
    }
    results.figure("wake_10k_vs_watch", &ours.over(&theirs), &format!("{waiters} waiters"));
}
