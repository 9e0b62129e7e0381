//! What does it cost to turn an answer into bytes and back?
//!
//! *value*: a typed value of `execute`, written and read by bincode as the store does it, beside JSON. *record*: an
//! outcome's way into the store's bytes, until its completion is handed over to the writer, and out of a sealed segment
//! again through [`Archive`], which finds its block, checks the record's checksum and compares the whole key; beside a
//! copy of the body.

mod support;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bincode::config;
use oncekey::{Answer, Archive, Key, ManualClock, Outcome, Store, Timestamp};
use serde::{Deserialize, Serialize};

use support::callers::block_on;
use support::fill::{complete_with, keys, parameters, tokens};
use support::report::{float, line, median, title};
use support::{Form, home};

const SIZES: [usize; 4] = [16, 200, 4 << 10, 64 << 10];
const AGE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What an operation might give back.
#[derive(Serialize, Deserialize)]
struct Receipt {
    number: u64,
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    cents: u64,
}

/// Bytes of a receipt without lines, and of a line.
const RECEIPT_BYTES: usize = 16;
const LINE_BYTES: usize = 24;

fn main() {
    let form = Form::asked();
    values(form);
    records(form);

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("codec");
    for bytes in SIZES {
        let own = receipt(bytes);
        let [binary, json] = [write_binary(&own), write_json(&own)];
        group.bench_function(format!("write/bincode/{bytes}"), |bencher| bencher.iter(|| write_binary(&own)));
        group.bench_function(format!("write/json/{bytes}"), |bencher| bencher.iter(|| write_json(&own)));
        group
            .bench_function(format!("read/bincode/{bytes}"), |bencher| bencher.iter(|| read_binary(&binary)));
        group.bench_function(format!("read/json/{bytes}"), |bencher| bencher.iter(|| read_json(&json)));
    }
    group.finish();
    criterion.final_summary();
}

fn values(form: Form) {
    let ways = ["bincode", "json", "json / bincode", "bytes", "bytes of json"];
    for (name, writes) in [("written", true), ("read", false)] {
        title(&format!("a typed value {name}, ns"), &ways);
        for bytes in SIZES {
            let own = receipt(bytes);
            let (binary, json) = (write_binary(&own), write_json(&own));
            let times = repeats(form, bytes);
            let both = || {
                if writes {
                    [nanos(times, || write_binary(&own)), nanos(times, || write_json(&own))]
                } else {
                    [nanos(times, || read_binary(&binary)), nanos(times, || read_json(&json))]
                }
            };
            let rounds: Vec<[f64; 2]> = (0..form.rounds()).map(|_| both()).collect();
            let of = |at: fn(&[f64; 2]) -> f64| median(rounds.iter().map(at).collect());
            let row = [
                format!("{:.0}", of(|own| own[0])),
                format!("{:.0}", of(|own| own[1])),
                format!("{:.2}", of(|own| own[1] / own[0])),
                binary.len().to_string(),
                json.len().to_string(),
            ];
            line(&format!("about {bytes} bytes"), &row, "");
        }
    }
}

fn records(form: Form) {
    title("a record, ns", &["handed over", "read", "body copied", "handed / copied", "read / copied"]);
    for bytes in SIZES {
        let body = vec![b'x'; bytes];
        let home = home();
        let (archive, kept) = archive(&home.path().join("store"), &body, form.pick(2000, 500, 5));
        let store = Store::in_memory().expect("memory");
        let count = form.pick(1000, 200, 3);
        let times = repeats(form, bytes);
        let round = || {
            let mut next = kept.iter().cycle();
            let read = nanos(times, || {
                let replay = archive.get(next.next().expect("it goes round")).expect("the disk works");
                replay.expect("it was sealed")
            });
            [hand_over(&store, &body, count), read, nanos(times, || body.clone())]
        };
        let rounds: Vec<[f64; 3]> = (0..form.rounds()).map(|_| round()).collect();
        let of = |at: fn(&[f64; 3]) -> f64| median(rounds.iter().map(at).collect());
        let row = [
            format!("{:.0}", of(|own| own[0])),
            format!("{:.0}", of(|own| own[1])),
            format!("{:.0}", of(|own| own[2])),
            format!("{:.1}", of(|own| own[0] / own[2])),
            format!("{:.1}", of(|own| own[1] / own[2])),
        ];
        line(&format!("{bytes} bytes"), &row, "");
    }
}

/// Nanoseconds from an outcome to a completion that is the writer's, which commits meanwhile.
fn hand_over(store: &Store, body: &[u8], count: usize) -> f64 {
    let begin = |key: &Key| match store.request(key, &parameters()).relaxed().begin() {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("a token never seen is fresh: {other:?}"),
    };
    let held: Vec<_> = keys(count).iter().map(begin).collect();
    let mut time = Duration::ZERO;
    for held in held {
        let outcome = Outcome::new(body);
        let mut completing = pin!(held.complete_async(outcome));
        let start = Instant::now();
        let first = completing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        time += start.elapsed();
        if first.is_pending() {
            block_on(async {
                completing.await.expect("memory");
            });
        }
    }
    time.as_secs_f64() * 1e9 / float(count as u64)
}

/// So many records, all of them sealed.
fn archive(path: &std::path::Path, body: &[u8], count: usize) -> (Archive, Vec<Key>) {
    let clock = ManualClock::at(START);
    let settings = Store::builder().clock(clock.clone()).background_sweep(false).segment_age_max(AGE);
    let store = settings.open(path).expect("a new store");
    let all = tokens(count);
    for token in &all {
        block_on(complete_with(&store, token, body, true));
    }
    clock.advance(AGE);
    store.sweep().expect("the disk works");
    let keys =
        all.iter().map(|token| Key::new(support::fill::SCOPE, token).expect("a sound token")).collect();
    store.close(Duration::ZERO).expect("the disk works");
    (Archive::open(path).expect("it was a store"), keys)
}

/// Of about so many bytes as bincode writes it.
fn receipt(bytes: usize) -> Receipt {
    let lines = (bytes - RECEIPT_BYTES).div_ceil(LINE_BYTES) as u64;
    let line = |cents: u64| Line { name: format!("item{:04}", cents % 10_000), cents };
    Receipt { number: 77, lines: (0..lines).map(line).collect() }
}

/// As `execute` writes it: fixed width.
fn write_binary(value: &Receipt) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config::legacy()).expect("plain fields")
}

fn read_binary(bytes: &[u8]) -> Receipt {
    bincode::serde::decode_from_slice(bytes, config::legacy()).expect("it was written").0
}

fn write_json(value: &Receipt) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields")
}

fn read_json(bytes: &[u8]) -> Receipt {
    serde_json::from_slice(bytes).expect("it was written")
}

/// Enough for a few milliseconds.
fn repeats(form: Form, bytes: usize) -> u64 {
    form.pick(4_000_000, 400_000, 1000) / (bytes as u64 + 200)
}

fn nanos<T>(times: u64, mut way: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        black_box(way());
    }
    start.elapsed().as_secs_f64() * 1e9 / float(times)
}
