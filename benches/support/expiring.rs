//! Forgetting what has expired, beside removing as many rows by key; and what callers notice meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oncekey::{Answer, ManualClock, Outcome, Store, Timestamp};
use redb::{Database, TableDefinition};

use super::callers::as_tasks;
use super::fill::{OUTCOME, SCOPE, keys, parameters, tokens};

const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("tokens");
const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) struct Seen {
    /// The sweep's seconds.
    pub(crate) sweep: f64,
    /// Callers' 99th percentile, in nanoseconds.
    pub(crate) quiet: f64,
    /// The same during the sweep.
    pub(crate) meanwhile: f64,
}

/// Sweeps a new store of so many records.
pub(crate) fn sweep(home: &Path, records: usize, percent: usize) -> Seen {
    let clock = ManualClock::at(START);
    let settings = Store::builder().clock(clock.clone()).background_sweep(false).segment_age_max(LONG);
    let store = settings.open(home.join("store")).expect("a new store");
    let expired = records * percent / 100;
    fill(&store, expired, SHORT);
    fill(&store, records - expired, LONG);
    // What is still to be sealed is not what is asked here.
    store.sweep().expect("the disk works");
    let quiet = p99(&store, || std::thread::sleep(Duration::from_millis(50)));
    clock.advance(SHORT);
    let mut time = Duration::ZERO;
    let meanwhile = p99(&store, || {
        let start = Instant::now();
        let swept = store.sweep().expect("the disk works");
        time = start.elapsed();
        assert_eq!(swept.records, expired as u64);
    });
    Seen { sweep: time.as_secs_f64(), quiet, meanwhile }
}

fn fill(store: &Store, count: usize, retention: Duration) {
    let all = tokens(count);
    as_tasks(256, async |caller| {
        for token in all.iter().skip(caller).step_by(256) {
            let key = store.key(SCOPE, token).expect("a sound token");
            let parameters = parameters();
            let request = store.request(&key, &parameters).relaxed().retention(retention);
            let Ok(Answer::Fresh(held)) = request.begin() else { panic!("a token never seen is fresh") };
            held.complete_async(Outcome::new(OUTCOME)).await.expect("the disk works");
        }
    });
    store.flush().expect("the disk works");
}

/// The 99th percentile of beginning and releasing fresh tokens, in nanoseconds, while `meanwhile` runs.
fn p99(store: &Store, meanwhile: impl FnOnce()) -> f64 {
    let ended = AtomicBool::new(false);
    let (keys, ended) = (keys(2000), &ended);
    std::thread::scope(|scope| {
        let caller = scope.spawn(move || {
            let mut times = Vec::new();
            for key in keys.iter().cycle() {
                let start = Instant::now();
                let Ok(Answer::Fresh(held)) = store.begin(key, &parameters()) else { panic!("fresh") };
                held.release().expect("it is held");
                times.push(start.elapsed().as_secs_f64() * 1e9);
                if ended.load(Ordering::Acquire) && times.len() > 100 {
                    return times;
                }
            }
            times
        });
        meanwhile();
        ended.store(true, Ordering::Release);
        let mut times = caller.join().expect("it ends");
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    })
}

/// So many rows removed by key, durably, a thousand at a time.
pub(crate) fn remove(home: &Path, records: usize) -> Duration {
    let database = Database::create(home.join("keyed.redb")).expect("the disk works");
    let all = tokens(records);
    let in_transaction = |tokens: &[String], insert: bool| -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for token in tokens {
                if insert {
                    table.insert(token.as_str(), &OUTCOME[..])?;
                } else {
                    table.remove(token.as_str())?;
                }
            }
        }
        Ok(transaction.commit()?)
    };
    in_transaction(&all, true).expect("the disk works");
    let start = Instant::now();
    all.chunks(1000).for_each(|chunk| in_transaction(chunk, false).expect("the disk works"));
    start.elapsed()
}
