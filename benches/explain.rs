//! What does it cost that a mismatch explains itself (`Builder::explain_mismatches`, contract 2.6)?
//!
//! `cargo bench --bench explain` prints for requests of 5, 20, 64 and 200 parameters, as a query string and as JSON:
//! nanoseconds of `begin` and release of a fresh token with the setting off and on, of a mismatch with a running
//! reservation and with a record, and the bytes that a record grows by. Medians of interleaved rounds, so that a
//! noisy machine disturbs both sides alike. `--quick` takes a few seconds.

use std::time::Instant;

use oncekey::{Answer, Key, Outcome, Parameters, Store};

const PARAMETERS: [usize; 4] = [5, 20, 64, 200];

struct Side {
    store: Store,
    fresh: Vec<f64>,
    running: Vec<f64>,
    finished: Vec<f64>,
}

impl Side {
    fn new(explain: bool) -> Self {
        let builder = Store::builder().background_sweep(false).explain_mismatches(explain);
        let store = builder.open_in_memory().expect("a store in memory");
        Self { store, fresh: Vec::new(), running: Vec::new(), finished: Vec::new() }
    }

    fn round(&mut self, calls: u32, given: &Parameters<'_>, other: &Parameters<'_>) {
        let key = |token: u32| Key::new("account-1", format!("token-{token:08}")).expect("a sound key");
        let keys: Vec<Key> = (0..calls).map(key).collect();
        let start = Instant::now();
        for key in &keys {
            drop(self.store.begin(key, given).expect("never seen"));
        }
        self.fresh.push(per_call(start, calls));

        let Ok(Answer::Fresh(held)) = self.store.begin(&keys[0], given) else { panic!("never seen") };
        self.running.push(self.mismatches(&keys[0], calls, other));
        held.complete(Outcome::new("done")).expect("kept");
        self.finished.push(self.mismatches(&keys[0], calls, other));
        self.store.forget(&keys[0]).expect("forgotten");
    }

    fn mismatches(&self, key: &Key, calls: u32, other: &Parameters<'_>) -> f64 {
        let start = Instant::now();
        for _ in 0..calls {
            drop(self.store.begin(key, other).expect_err("a mismatch"));
        }
        per_call(start, calls)
    }
}

fn per_call(start: Instant, calls: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `count` parameters with names of 8 to 10 bytes and values of 12; those of `other` all have another value.
fn texts(count: usize, other: bool) -> (String, String) {
    let value = if other { "other value!" } else { "first value!" };
    let names: Vec<String> = (0..count).map(|at| format!("MaxSize{at}")).collect();
    let query: Vec<String> = names.iter().map(|name| format!("{name}={value}")).collect();
    let json: Vec<String> = names.iter().map(|name| format!("\"{name}\":\"{value}\"")).collect();
    (query.join("&"), format!("{{{}}}", json.join(",")))
}

/// Bytes that a record grows by with `count` parameters, as `Builder::explain_mismatches` states them.
fn kept(count: usize) -> usize {
    let mut names: Vec<usize> = (0..count).map(|at| format!("MaxSize{at}").len()).collect();
    names.truncate(64);
    3 + names.iter().map(|name| 9 + name).sum::<usize>()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let (rounds, calls) = if quick { (5, 500) } else { (15, 5000) };
    println!("nanoseconds a call, off / on; bytes a record grows by");
    println!("form   parameters     fresh token       mismatch, running   mismatch, finished   bytes");
    for count in PARAMETERS {
        let ((query, json), (other_query, other_json)) = (texts(count, false), texts(count, true));
        let forms = [
            ("query", Parameters::query(&query), Parameters::query(&other_query)),
            ("json", Parameters::json(json.as_bytes()), Parameters::json(other_json.as_bytes())),
        ];
        for (name, given, other) in forms {
            let mut sides = [Side::new(false), Side::new(true)];
            for _ in 0..rounds {
                for side in &mut sides {
                    side.round(calls, &given, &other);
                }
            }
            let [off, on] = &mut sides;
            println!(
                "{name:<8}{count:>8}{:>10.0} /{:>7.0}{:>12.0} /{:>7.0}{:>13.0} /{:>7.0}{:>8}",
                median(&mut off.fresh),
                median(&mut on.fresh),
                median(&mut off.running),
                median(&mut on.running),
                median(&mut off.finished),
                median(&mut on.finished),
                kept(count)
            );
        }
    }
}
