//! What does exactly once cost?
//!
//! `cargo bench --features redb-transactions --bench transactions` prints a table of ratios first, each the median of
//! interleaved rounds; then criterion measures the same things one by one. What misses its goal (issue 3) is printed as
//! *MISSED*. `ONCEKEY_BENCH=short` or `--quick` is the short form.
//!
//! | question | beside |
//! | --- | --- |
//! | what do reservations and records add to a transaction of 1, 8, 64 transfers in the caller's database? | the same transfers in a bare transaction, without oncekey |
//! | what does opening cost, where every block is read? | records |
//! | what does the durable start of a reservation add, at 512 in flight, in a directory? | completion alone |
//!
//! A transfer reads and writes two of 100,000 rows of 64 bytes, at random. Each way has a database of its own: the bare one
//! writes its pages again and again and stays as large as it is, the other grows by its records, and that is in the time,
//! as reservations, outcomes of 200 bytes and the commit are.

#[path = "support/callers.rs"]
mod callers;
#[path = "support/report.rs"]
mod report;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use oncekey::redb::{Database, ReadableTable, Table, TableDefinition};
use oncekey::{Answer, Outcome, Parameters, Reservation, Store};

use callers::at_once;
use report::{Goal, float, line, median, title};

const ROWS: u64 = 100_000;
const ROW: [u8; 64] = [7; 64];
const OUTCOME: [u8; 200] = [b'x'; 200];
const ACCOUNTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("accounts");
const IN_FLIGHT: usize = 512;

struct Form {
    rounds: usize,
    /// Transactions of a round, and tokens of each caller.
    steps: usize,
    rows: u64,
    in_flight: usize,
    records: &'static [usize],
    criterion: Duration,
}

const FULL: Form = Form {
    rounds: 15,
    steps: 40,
    rows: ROWS,
    in_flight: IN_FLIGHT,
    records: &[10_000, 100_000, 1_000_000],
    criterion: Duration::from_secs(3),
};
const SHORT: Form =
    Form { rounds: 9, steps: 20, records: &[10_000, 100_000], criterion: Duration::from_millis(300), ..FULL };
/// `cargo test --benches` only asks whether everything runs.
const TEST: Form = Form {
    rounds: 1,
    steps: 2,
    rows: 1000,
    in_flight: 65,
    records: &[100],
    criterion: Duration::from_millis(1),
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let short = has("--quick") || std::env::var("ONCEKEY_BENCH").is_ok_and(|form| form == "short");
    let form = match (has("--bench"), short) {
        (false, _) => TEST,
        (true, true) => SHORT,
        (true, false) => FULL,
    };
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is ours");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(form.criterion / 3)
        .measurement_time(form.criterion)
        .configure_from_args();
    let banks = Banks::create(home.path(), form.rows);
    banks.compare(&form);
    compare_openings(home.path(), &form);
    let store = Store::open(home.path().join("directory")).expect("a new store");
    compare_starts(&store, &form);
    banks.measure(&mut criterion);
    measure_starts(&store, &form, &mut criterion);
    criterion.final_summary();
}

/// The same accounts twice: bare, and with a store beside them.
struct Banks {
    rows: u64,
    bare: Arc<Database>,
    store: Store,
}

impl Banks {
    fn create(home: &Path, rows: u64) -> Self {
        let bank = |name: &str| {
            let database = Database::create(home.join(name)).expect("a new database");
            let transaction = database.begin_write().expect("a transaction");
            {
                let mut accounts = transaction.open_table(ACCOUNTS).expect("a table");
                for account in 0..rows {
                    accounts.insert(account, &ROW[..]).expect("a row");
                }
            }
            transaction.commit().expect("committed");
            Arc::new(database)
        };
        let (bare, lent) = (bank("bare"), bank("lent"));
        let store = Store::builder().open_in(lent, "oncekey").expect("a new store");
        Self { rows, bare, store }
    }

    /// One bare transaction of so many transfers.
    fn bare(&self, count: usize) {
        let transaction = self.bare.begin_write().expect("a transaction");
        let mut accounts = transaction.open_table(ACCOUNTS).expect("a table");
        (0..count).for_each(|_| self.transfer(&mut accounts));
        drop(accounts);
        transaction.commit().expect("committed");
    }

    /// The same with reservations, completed in it.
    fn lent(&self, count: usize) {
        let held: Vec<Reservation> = (0..count).map(|_| begin(&self.store)).collect();
        let transaction = self.store.transaction().expect("a transaction");
        let mut accounts = transaction.open_table(ACCOUNTS).expect("a table");
        for reservation in held {
            self.transfer(&mut accounts);
            transaction.complete(reservation, Outcome::new(OUTCOME)).expect("completed");
        }
        drop(accounts);
        transaction.commit().expect("committed");
    }

    fn transfer(&self, accounts: &mut Table<'_, u64, &'static [u8]>) {
        for _ in 0..2 {
            let account = next().wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.rows;
            let mut row = accounts.get(account).expect("a row").expect("it is there").value().to_vec();
            row[0] = row[0].wrapping_add(1);
            accounts.insert(account, row.as_slice()).expect("a row");
        }
    }

    fn compare(&self, form: &Form) {
        title("one transaction of transfers, microseconds", &["oncekey", "bare"]);
        for count in [1, 8, 64] {
            let (mut times, mut ratios) = ([const { Vec::new() }; 2], Vec::new());
            for _ in 0..form.rounds {
                let round = [time(form.steps, || self.lent(count)), time(form.steps, || self.bare(count))];
                ratios.push(round[0] / round[1]);
                times.iter_mut().zip(round).for_each(|(all, own)| all.push(own));
            }
            line(&format!("{count} in one transaction"), &times.map(|all| format!("{:.0}", median(all))), "");
            let (ratio, goal) = (median(ratios), if count < 8 { Goal::None } else { Goal::AtMost(1.3) });
            line("  oncekey / bare", &[format!("{ratio:.2}")], &goal.verdict(ratio));
        }
    }

    fn measure(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("transactions");
        for count in [1, 8, 64] {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new("oncekey", count), |own| own.iter(|| self.lent(count)));
            group.bench_function(BenchmarkId::new("bare", count), |own| own.iter(|| self.bare(count)));
        }
        group.finish();
    }
}

/// Microseconds of one call, of so many.
fn time(calls: usize, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e6 / float(calls as u64)
}

/// A number that nobody had before.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn begin(store: &Store) -> Reservation {
    let key = store.key("account-1", format!("{:036x}", next())).expect("a sound token");
    match store.begin(&key, &Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")])) {
        Ok(Answer::Fresh(reservation)) => reservation,
        other => panic!("a new token: {other:?}"),
    }
}

/// Tokens per second of so many callers at once, each of `steps` tokens.
fn rate(store: &Store, form: &Form, steps: usize, durable: bool) -> f64 {
    let start = Instant::now();
    at_once(form.in_flight, async |_| {
        for _ in 0..steps {
            let key = store.key("account-1", format!("{:036x}", next())).expect("a sound token");
            let parameters = Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")]);
            let request = store.request(&key, &parameters);
            let request = if durable { request.start_durably() } else { request };
            let Ok(Answer::Fresh(held)) = request.begin_async().await else { panic!("a new token") };
            held.complete_async(Outcome::new(OUTCOME)).await.expect("completed");
        }
    });
    float((form.in_flight * steps) as u64) / start.elapsed().as_secs_f64()
}

fn compare_openings(home: &Path, form: &Form) {
    title("opening a store in the caller's database", &["ms", "us per record"]);
    let database = Arc::new(Database::create(home.join("openings")).expect("a new database"));
    let open = || Store::builder().open_in(Arc::clone(&database), "oncekey").expect("it opens");
    let mut kept = 0;
    for &records in form.records {
        let store = open();
        while kept < records {
            let held: Vec<Reservation> = (kept..records.min(kept + 512)).map(|_| begin(&store)).collect();
            kept += held.len();
            let transaction = store.transaction().expect("a transaction");
            for reservation in held {
                transaction.complete(reservation, Outcome::new(OUTCOME)).expect("completed");
            }
            transaction.commit().expect("committed");
        }
        drop(store);
        let took = (0..form.rounds.min(5)).map(|_| time(1, || drop(open())) / 1e3).collect();
        let (took, records) = (median(took), records as u64);
        let each = took * 1e3 / float(records);
        line(&format!("{records} records"), &[format!("{took:.1}"), format!("{each:.2}")], "");
    }
}

fn compare_starts(store: &Store, form: &Form) {
    let (mut rates, mut ratios) = ([const { Vec::new() }; 2], Vec::new());
    for _ in 0..form.rounds {
        let round = [rate(store, form, form.steps, true), rate(store, form, form.steps, false)];
        ratios.push(round[0] / round[1]);
        rates.iter_mut().zip(round).for_each(|(all, own)| all.push(own));
    }
    title("begin + complete, 200 bytes, tokens per second", &["durable start", "volatile"]);
    let label = format!("{} in flight", form.in_flight);
    line(&label, &rates.map(|all| format!("{:.0}", median(all))), "");
    let ratio = median(ratios);
    line("  durable start / volatile", &[format!("{ratio:.2}")], &Goal::AtLeast(0.5).verdict(ratio));
}

fn measure_starts(store: &Store, form: &Form, criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("starts");
    group.throughput(Throughput::Elements(form.in_flight as u64));
    for (name, durable) in [("durable start", true), ("volatile", false)] {
        group.bench_function(BenchmarkId::new(name, form.in_flight), |own| {
            own.iter(|| rate(store, form, 1, durable));
        });
    }
    group.finish();
}
