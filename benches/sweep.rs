//! What does it cost to forget what has expired, and what do callers notice of it?
//!
//! A store of which none, half or all has expired is swept, while another thread begins and releases fresh tokens: the
//! sweep's time, and the callers' 99th percentile during it beside a quiet one. Beside it the same number of rows removed
//! durably by key from one redb table, a thousand in a transaction.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oncekey::{Answer, ManualClock, Outcome, Store, Timestamp};
use redb::{Database, TableDefinition};

use support::callers::as_tasks;
use support::fill::{OUTCOME, keys, parameters, tokens};
use support::report::{float, line, median, title};
use support::{Form, home};

const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("tokens");
const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    let form = Form::asked();
    let records = form.pick(1_000_000, 50_000, 500);
    let rounds = form.pick(3, 1, 1);
    let columns = ["sweep, ms", "ns a record", "p99 quiet, ns", "p99 swept, ns", "ratio"];
    title(&format!("a sweep of {records} records"), &columns);
    for percent in [0, 50, 100] {
        let seen: Vec<_> = (0..rounds).map(|_| sweep(records, percent)).collect();
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
            let removed = remove(records).as_secs_f64();
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
                let sweeps = (0..iterations.min(3)).map(|_| sweep(records / 10, percent).sweep);
                Duration::from_secs_f64(sweeps.sum::<f64>() * float(iterations) / float(iterations.min(3)))
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

struct Seen {
    sweep: f64,
    quiet: f64,
    meanwhile: f64,
}

fn sweep(records: usize, percent: usize) -> Seen {
    let home = home();
    let clock = ManualClock::at(START);
    let settings = Store::builder().clock(clock.clone()).background_sweep(false).segment_age_max(LONG);
    let store = settings.open(home.path().join("store")).expect("a new store");
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
            let key = store.key(support::fill::SCOPE, token).expect("a sound token");
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
fn remove(records: usize) -> Duration {
    let home = home();
    let database = Database::create(home.path().join("keyed.redb")).expect("the disk works");
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
