//! What does it cost to ask, where nothing has to be written?
//!
//! *fresh*: begin and release of a token never seen, its parameters digested beforehand, beside insert and remove of
//! the same keys in a `DashMap` that holds as many. *absent*: a lookup of such a token, beside every peer's. *replay*:
//! a retry that gets its first answer, recent or any, from two threads, beside redb's get on one held table; oncekey
//! digests two parameters, compares them and checks the record as well. Everybody has come to rest before (`rest`).

use std::sync::LazyLock;
use std::time::Instant;

use dashmap::DashMap;
use oncekey::{Answer, DigestRules, Key, Parameters, Store};
use serde_json::{Value, json};

use crate::batched::Batched;
use crate::contender::{Contender, Kind};
use crate::engines::keyed_redb::{Held, KeyedRedb};
use crate::field::Filled;
use crate::fill::{SCOPE, parameters, token};
use crate::form::{Form, TEN_MILLION};
use crate::ours::Ours;
use crate::report::{float, line, title};
use crate::rest;
use crate::results::Results;
use crate::series::Series;
use crate::work::{fresh_tokens, plan};

/// The parameters of every operation, digested once.
static READY: LazyLock<Parameters<'static>> = LazyLock::new(|| {
    Parameters::digest(parameters().digest_under(&DigestRules::none()).expect("sound pairs"))
});
/// Tokens counted as recent.
const RECENT: u64 = 1000;

/// oncekey first, and its peers.
pub(crate) fn absent(form: Form, contenders: &[Filled<'_>], kept: u64, results: &mut Results) {
    rest::wait(form);
    title(&format!("lookup of an absent token, {kept} kept, ns"), &["median", "spread", "oncekey/it"]);
    let count = form.pick(100_000, 50_000, 100);
    let looked_up = contenders.iter().filter(|own| matches!(own.contender.kind(), Kind::Ours | Kind::Peer));
    let mut asked: Vec<_> = looked_up.map(|own| (own, Series::default())).collect();
    for _ in 0..form.rounds() {
        let tokens = fresh_tokens(count);
        for (own, series) in &mut asked {
            series.push(nanos(&tokens, 1, |token| usize::from(own.contender.look_up(token).is_some())));
        }
    }
    let ours = asked[0].1.clone();
    let mut rows = Vec::new();
    for (own, series) in &asked {
        let (name, ratios) = (own.contender.name(), ours.over(series));
        let shares = [series.spread() * 100.0, ratios.median()];
        let row =
            [format!("{:.0}", series.median()), format!("{:.0} %", shares[0]), format!("{:.2}", shares[1])];
        line(name, &row, "");
        rows.push(json!({
            "name": name, "kept": kept, "filled": own.kept, "ns": series.median(), "spread": series.spread(),
            "oncekey_over_it": ratios.0,
        }));
    }
    let names: Vec<&str> = asked.iter().map(|(own, _)| own.contender.name()).collect();
    let same = |row: &Value| row["kept"] == kept && names.iter().any(|own| row["name"] == *own);
    results.renew("absent_lookup", rows, same);
    absent_figure(form, kept, results);
}

/// Of all peers that were measured with so many kept, the one beside which oncekey looks worst.
fn absent_figure(form: Form, kept: u64, results: &mut Results) {
    let rows = results.rows("absent_lookup").iter();
    let peers = rows.filter(|row| row["kept"] == kept && row["name"] != "oncekey").map(|row| {
        let ratios = row["oncekey_over_it"].as_array().into_iter().flatten();
        (
            row["name"].as_str().unwrap_or_default().to_owned(),
            Series(ratios.filter_map(Value::as_f64).collect()),
        )
    });
    let best = peers.max_by(|(_, one), (_, other)| one.median().total_cmp(&other.median()));
    if let Some((name, ratios)) = best {
        let note = format!("{kept} kept; the best peer is {name}");
        results.figure_if(kept == form.count(TEN_MILLION), "absent_lookup_vs_peer", &ratios, &note);
    }
}

/// `kept` by both.
pub(crate) fn replay(form: Form, ours: &Ours, redb: &Batched<KeyedRedb>, kept: u64, results: &mut Results) {
    let store = ours.store();
    let count = form.pick(100_000, 50_000, 100);
    let recent = completed_now(ours, redb);
    let held = redb.engine().held();
    rest::wait(form);
    for name in ["recent", "uniform"] {
        let pick = |at: u64| {
            let spread = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            match name {
                "recent" => recent[usize::try_from(spread % RECENT).expect("it is small")].clone(),
                _ => token(spread % kept),
            }
        };
        let [mut own, mut theirs] = [const { Series(Vec::new()) }; 2];
        for round in 0..form.rounds() as u64 {
            let tokens: Vec<String> = (0..count).map(|at| pick(at + round * count)).collect();
            let keys: Vec<Key> =
                tokens.iter().map(|own| Key::new(SCOPE, own).expect("a sound token")).collect();
            own.push(nanos(&keys, 2, |key| replayed(store, key)));
            theirs.push(nanos(&tokens, 2, |token| got(&held, token)));
        }
        title(&format!("replay of {name} outcomes, two threads, {kept} kept, ns"), &["oncekey", "redb"]);
        line("", &[&own, &theirs].map(|own| format!("{:.0}", own.median())), "");
        // How often as many: redb's time over ours.
        let (ratio, note) = (theirs.over(&own), format!("{kept} kept"));
        let id = format!("replay_{name}_vs_redb");
        let level = if name == "recent" { form.kept_of_figures() } else { form.count(TEN_MILLION) };
        results.figure_if(kept == level, &id, &ratio, &note);
    }
}

/// Tokens that both have just completed.
fn completed_now(ours: &Ours, redb: &Batched<KeyedRedb>) -> Vec<String> {
    let callers = 100;
    let plan = plan(callers, usize::try_from(RECENT).expect("it is small") / callers, &[]);
    ours.turn(&plan);
    redb.turn(&plan);
    plan.into_iter().flatten().map(|ask| ask.token).collect()
}

fn replayed(store: &Store, key: &Key) -> usize {
    match store.begin(key, &parameters()) {
        Ok(Answer::Replay(replay)) => replay.outcome().body().len(),
        other => panic!("it was completed: {other:?}"),
    }
}

fn got(held: &Held, token: &str) -> usize {
    let known = held.get(token.as_bytes()).expect("the disk works").expect("it was inserted");
    known.value().to_vec().len()
}

pub(crate) fn fresh(form: Form, store: &Store, kept: u64, results: &mut Results) {
    let key = |text: String| Key::new(SCOPE, text).expect("a sound token");
    let map: DashMap<Key, u64> = (0..kept).map(|number| (key(token(number)), number)).collect();
    let count = form.pick(100_000, 50_000, 100);
    rest::wait(form);
    let [mut ours, mut theirs] = [const { [const { Series(Vec::new()) }; 2] }; 2];
    // Short ones, and therefore more of them.
    for _ in 0..form.rounds() * 3 {
        let keys: Vec<Key> = fresh_tokens(count).into_iter().map(key).collect();
        for threads in [1, 2] {
            ours[threads - 1].push(nanos(&keys, threads, |key| begin_and_release(store, key)));
            theirs[threads - 1].push(nanos(&keys, threads, |key| insert_and_remove(&map, key)));
        }
    }
    title(&format!("begin + release of a fresh token, {kept} kept, ns"), &["oncekey", "dashmap"]);
    for threads in [1, 2] {
        let row = [&ours, &theirs].map(|own| format!("{:.0}", own[threads - 1].median()));
        line(&format!("{threads} threads"), &row, "");
    }
    let note = format!("{kept} kept");
    let ratio = ours[0].over(&theirs[0]);
    results.figure("fresh_vs_dashmap", &ratio, &note);
    let gains = [&ours, &theirs].map(|own| own[0].over(&own[1]));
    let ratio = gains[0].over(&gains[1]);
    results.figure("fresh_two_threads", &ratio, &note);
}

/// One fresh token, its parameters digested beforehand.
pub(crate) fn begin_and_release(store: &Store, key: &Key) -> usize {
    match store.begin(key, &READY) {
        Ok(Answer::Fresh(reservation)) => usize::from(reservation.release().is_ok()),
        other => panic!("a token never seen is fresh: {other:?}"),
    }
}

pub(crate) fn insert_and_remove(map: &DashMap<Key, u64>, key: &Key) -> usize {
    map.insert(key.clone(), 1);
    usize::from(map.remove(key).is_some())
}

/// Time for one, from so many threads.
pub(crate) fn nanos<T: Sync>(all: &[T], threads: usize, one: impl Fn(&T) -> usize + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for share in all.chunks(all.len().div_ceil(threads)) {
            let one = &one;
            scope.spawn(move || std::hint::black_box(share.iter().map(one).sum::<usize>()));
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / float(all.len() as u64)
}
