//! What does it cost to learn that a token was never seen, and does a second thread help?
//!
//! `begin` and release, beside insert and remove of the same keys in a `DashMap`, a papaya map and a `HashMap` behind
//! one mutex, each holding as many keys as the store has records. Keys are made beforehand for all; the digest is made
//! beforehand (`digest`) or from two pairs at each call (`pairs`). *uniform*: each key once; *zipf*: some keys far more
//! often than others; *hot*: one key for all, so that two threads get in each other's way. Ratios are medians of
//! interleaved rounds; below one, the store is the faster.

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use oncekey::{Answer, DigestRules, Key, Parameters, Store};

use support::fill::{fill, keys, parameters};
use support::report::{Goal, float, line, median, title};
use support::{Form, home};

/// One way to handle fresh keys.
trait Way: Sync {
    fn handle(&self, key: &Key);
}

struct Begin<'a>(&'a Store, Option<Parameters<'static>>);

impl Way for Begin<'_> {
    fn handle(&self, key: &Key) {
        let answer = match &self.1 {
            Some(ready) => self.0.begin(key, ready),
            None => self.0.begin(key, &parameters()),
        };
        match answer {
            Ok(Answer::Fresh(reservation)) => reservation.release().expect("it is held"),
            // The other thread has the hot key at this moment.
            Ok(Answer::InFlight(_)) => {}
            other => panic!("a token never seen is fresh: {other:?}"),
        }
    }
}

impl Way for DashMap<Key, u64> {
    fn handle(&self, key: &Key) {
        self.insert(key.clone(), 1);
        self.remove(key);
    }
}

impl Way for papaya::HashMap<Key, u64> {
    fn handle(&self, key: &Key) {
        let map = self.pin();
        map.insert(key.clone(), 1);
        map.remove(key);
    }
}

impl Way for Mutex<HashMap<Key, u64>> {
    fn handle(&self, key: &Key) {
        self.lock().expect("nobody panics").insert(key.clone(), 1);
        self.lock().expect("nobody panics").remove(key);
    }
}

/// Handles the keys from so many threads, each its share; how long that took for a key.
fn nanos(way: &dyn Way, keys: &[Key], threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for share in keys.chunks(keys.len().div_ceil(threads)) {
            scope.spawn(move || share.iter().for_each(|key| way.handle(key)));
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / float(keys.len() as u64)
}

/// Keys as they come: each once, some more often than others, one alone.
fn mixes(count: usize) -> [(&'static str, Vec<Key>); 3] {
    let uniform = keys(count);
    // Rank by the inverse of a harmonic distribution: rank r comes about 1/r as often as the first.
    let ranks = (0..count).map(|at| {
        let share = float(at as u64).mul_add(0.618_033_988_749_895, 0.5).fract();
        float(count as u64).powf(share)
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank below the count")]
    let zipf = ranks.map(|rank| uniform[(rank as usize).min(count - 1)].clone()).collect();
    let hot = vec![uniform[0].clone(); count];
    [("uniform", uniform), ("zipf", zipf), ("hot", hot)]
}

fn main() {
    let form = Form::asked();
    let records = form.pick(1_000_000, 200_000, 1000);
    let home = home();
    let store = Store::open(home.path().join("fresh")).expect("a new store");
    fill(&store, records);
    let dashmap: DashMap<Key, u64> = keys(records).into_iter().zip(0..).collect();
    let papaya: papaya::HashMap<Key, u64> = keys(records).into_iter().zip(0..).collect();
    let mutexed: Mutex<HashMap<Key, u64>> = Mutex::new(keys(records).into_iter().zip(0..).collect());
    let empty = DashMap::new();
    let ready = Parameters::digest(parameters().digest_under(&DigestRules::none()).expect("sound pairs"));
    let (digest, pairs) = (Begin(&store, Some(ready)), Begin(&store, None));
    let ways: [(&str, &dyn Way); 6] = [
        ("digest", &digest),
        ("pairs", &pairs),
        ("dashmap", &dashmap),
        ("papaya", &papaya),
        ("mutex", &mutexed),
        ("empty dashmap", &empty),
    ];
    compare(form, records, &ways);

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("fresh");
    for (name, way) in ways {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let keys = keys(usize::try_from(iterations).expect("criterion is not that patient"));
                Duration::from_secs_f64(nanos(way, &keys, 1) * float(iterations) / 1e9)
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn compare(form: Form, records: usize, ways: &[(&str, &dyn Way); 6]) {
    title(&format!("begin + release of a fresh token, {records} kept, ns"), &ways.map(|(name, _)| name));
    let count = form.pick(50_000, 20_000, 100);
    for mix in 0..3 {
        let mut one_thread = None;
        for threads in [1, 2] {
            let mut times = [const { Vec::new() }; 6];
            let mut name = "";
            for _ in 0..form.rounds() * 3 {
                let (own, keys) = &mixes(count)[mix];
                name = own;
                for ((_, way), all) in ways.iter().zip(&mut times) {
                    all.push(nanos(*way, keys, threads));
                }
            }
            let medians = times.each_ref().map(|all| median(all.clone()));
            line(&format!("{name}, {threads} threads"), &medians.map(|own| format!("{own:.0}")), "");
            let ratio = median(times[0].iter().zip(&times[2]).map(|(own, map)| own / map).collect());
            let goal = if (name, threads) == ("uniform", 1) { Goal::AtMost(4.0) } else { Goal::None };
            line("  digest / dashmap", &[format!("{ratio:.2}")], &goal.verdict(ratio));
            let gains = |one: &[f64; 6]| [one[0] / medians[0], one[2] / medians[2]];
            if let Some([own, map]) = one_thread.as_ref().map(gains) {
                line(
                    "  gain by the second thread",
                    &[format!("{own:.2}"), String::new(), format!("{map:.2}")],
                    "",
                );
            }
            one_thread = Some(medians);
        }
    }
}
