//! What does a retry cost that gets its first answer?
//!
//! *hot*: one key again and again; *recent*: the last thousand completed; *uniform*: any of all that are kept; *large*:
//! an outcome of 64 KiB. Beside it the same outcome read from a redb table keyed by token, through one read transaction
//! held open. The store also digests the parameters, compares them, checks the record's checksum and its expiry.

mod support;

use std::time::{Duration, Instant};

use oncekey::{Answer, Key, Store};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use support::callers::block_on;
use support::fill::{OUTCOME, SCOPE, complete_with, fill, keys_of, parameters, tokens};
use support::report::{float, line, median, title};
use support::{Form, home};

const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("tokens");
const LARGE_BYTES: usize = 64 << 10;

type Table = ReadOnlyTable<&'static str, &'static [u8]>;

fn main() {
    let form = Form::asked();
    let records = form.pick(1_000_000, 100_000, 500);
    let home = home();
    let store = Store::open(home.path().join("store")).expect("a new store");
    let large = tokens(form.pick(200, 50, 2));
    let body = vec![b'y'; LARGE_BYTES];
    for token in &large {
        block_on(complete_with(&store, token, &body, true));
    }
    let all = fill(&store, records);
    let database = Database::create(home.path().join("keyed.redb")).expect("the disk works");
    let table = keyed(&database, &all, &large).expect("the disk works");

    let count = form.pick(50_000, 10_000, 50);
    // Odd, so that it goes through all of them, in no order.
    let spread = |from: &[String]| -> Vec<String> {
        (0..count).map(|at: usize| from[at.wrapping_mul(0x9E37_79B9) % from.len()].clone()).collect()
    };
    let recent = &all[all.len().saturating_sub(1000)..];
    let mixes = [
        ("hot", vec![all[0].clone(); count]),
        ("recent", spread(recent)),
        ("uniform", spread(&all)),
        ("large", spread(&large)),
    ];
    compare(form, &store, &table, &mixes);

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("replay");
    for (name, tokens) in &mixes {
        let keys = keys_of(tokens);
        group.bench_function(format!("{name}/oncekey"), |bencher| {
            let mut next = keys.iter().cycle();
            bencher.iter(|| replay(&store, next.next().expect("it goes round")));
        });
        group.bench_function(format!("{name}/redb"), |bencher| {
            let mut next = tokens.iter().cycle();
            bencher.iter(|| get(&table, next.next().expect("it goes round")));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn replay(store: &Store, key: &Key) -> usize {
    match store.begin(key, &parameters()) {
        Ok(Answer::Replay(replay)) => replay.outcome().body().len(),
        other => panic!("it was completed: {other:?}"),
    }
}

fn get(table: &Table, token: &str) -> usize {
    table.get(token).expect("the disk works").expect("it was inserted").value().to_vec().len()
}

fn keyed(database: &Database, all: &[String], large: &[String]) -> Result<Table, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for token in all {
            table.insert(token.as_str(), &OUTCOME[..])?;
        }
        for token in large {
            table.insert(token.as_str(), &vec![b'y'; LARGE_BYTES][..])?;
        }
    }
    transaction.commit()?;
    Ok(database.begin_read()?.open_table(TABLE)?)
}

fn compare(form: Form, store: &Store, table: &Table, mixes: &[(&str, Vec<String>); 4]) {
    title(&format!("replay from {SCOPE}, ns"), &["oncekey", "redb", "oncekey / redb"]);
    for (name, tokens) in mixes {
        let keys = keys_of(tokens);
        for threads in [1, 2] {
            let (mut own, mut peer, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..form.rounds() {
                let ours = timed(&keys, threads, |key| replay(store, key));
                let theirs = timed(tokens, threads, |token| get(table, token));
                own.push(ours);
                peer.push(theirs);
                ratios.push(ours / theirs);
            }
            let row = [
                format!("{:.0}", median(own)),
                format!("{:.0}", median(peer)),
                format!("{:.2}", median(ratios)),
            ];
            line(&format!("{name}, {threads} threads"), &row, "");
        }
    }
}

/// Time for one, from so many threads.
fn timed<T: Sync>(all: &[T], threads: usize, one: impl Fn(&T) -> usize + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for share in all.chunks(all.len().div_ceil(threads)) {
            let one = &one;
            scope.spawn(move || share.iter().map(one).sum::<usize>());
        }
    });
    let time: Duration = start.elapsed();
    time.as_secs_f64() * 1e9 / float(all.len() as u64)
}
