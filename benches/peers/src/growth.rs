//! Does it become slower as it keeps more?
//!
//! Two stores of oncekey side by side, one with few records and one with many, asked the same in interleaved rounds:
//! the durable work at each number in flight, and begin and release of fresh tokens; the latter beside a `DashMap` with
//! few and one with many, since every table in memory misses more caches as it grows.

use std::path::Path;

use dashmap::DashMap;
use oncekey::Key;

use crate::durable::Seat;
use crate::field::Filled;
use crate::fill::{SCOPE, token};
use crate::form::{Form, TEN_MILLION};
use crate::ours::Ours;
use crate::reading::{begin_and_release, insert_and_remove, nanos};
use crate::report::{line, title};
use crate::results::Results;
use crate::series::Series;
use crate::work::fresh_tokens;

pub(crate) fn compare(form: Form, home: &Path, results: &mut Results) {
    let sizes = [TEN_MILLION / 100, TEN_MILLION].map(|own| form.count(own));
    let stores = ["few", "many"].map(|name| {
        let home = home.join(name);
        std::fs::create_dir(&home).expect("the disk works");
        Ours::create(&home)
    });
    let filled = [0, 1].map(|at| Filled::new(&stores[at], sizes[at]));
    title(&format!("{} kept, beside {} kept", sizes[1], sizes[0]), &["times slower", "spread"]);
    let mut all: Vec<(String, Series)> = Vec::new();
    for &in_flight in form.in_flight() {
        let mut seats = filled.map(|own| Seat::warm_up(own, own.kept, in_flight, form));
        let mut rates = [const { Series(Vec::new()) }; 2];
        for round in 0..form.rounds() {
            eprint!("\r  {in_flight} in flight: round {} of {}   ", round + 1, form.rounds());
            // Another one begins each round.
            for at in [round % 2, (round + 1) % 2] {
                rates[at].push(seats[at].turn().rate);
            }
        }
        eprint!("\r{:60}\r", "");
        all.push((format!("durable, {in_flight} in flight"), rates[0].over(&rates[1])));
    }
    all.push(("fresh, by DashMap's own growth".to_owned(), fresh(form, &stores, sizes)));
    for (name, series) in &all {
        let row = [format!("{:.2}", series.median()), format!("{:.0} %", 100.0 * series.spread())];
        line(name, &row, "");
    }
    let worst = all.iter().max_by(|(_, one), (_, other)| one.median().total_cmp(&other.median()));
    let (name, series) = worst.expect("there are some");
    let note = format!("{} kept / {} kept; the worst: {name}", sizes[1], sizes[0]);
    results.figure("growth_worst", series, &note);
}

/// Our growth over `DashMap`'s.
fn fresh(form: Form, stores: &[Ours; 2], sizes: [u64; 2]) -> Series {
    let key = |text: String| Key::new(SCOPE, text).expect("a sound token");
    let maps: [DashMap<Key, u64>; 2] =
        sizes.map(|kept| (0..kept).map(|number| (key(token(number)), number)).collect());
    let count = form.pick(100_000, 50_000, 100);
    let [mut ours, mut theirs] = [const { [const { Series(Vec::new()) }; 2] }; 2];
    for _ in 0..form.rounds() * 3 {
        let keys: Vec<Key> = fresh_tokens(count).into_iter().map(key).collect();
        for at in [0, 1] {
            ours[at].push(nanos(&keys, 1, |key| begin_and_release(stores[at].store(), key)));
            theirs[at].push(nanos(&keys, 1, |key| insert_and_remove(&maps[at], key)));
        }
    }
    ours[1].over(&ours[0]).over(&theirs[1].over(&theirs[0]))
}
