//! What does it cost to ask, where nothing has to be written?
//!
//! *fresh*: begin and release of a token never seen, its parameters digested beforehand, beside insert and remove of
//! the same keys in a `DashMap` that holds as many. *absent*: a lookup of such a token, beside every peer's. *replay*:
//! a retry that gets its first answer, recent or any, from two threads, beside redb's get on one held table; oncekey
//! digests two parameters, compares them and checks the record as well. All through the field as the durable rounds
//! left it.

use std::time::Instant;

use dashmap::DashMap;
use oncekey::{Answer, DigestRules, Key, Parameters, Store};

use crate::contender::Kind;
use crate::engines::keyed_redb::Held;
use crate::field::Field;
use crate::fill::{SCOPE, parameters, token};
use crate::form::Form;
use crate::report::{Goal, float, line, title};
use crate::results::Results;
use crate::series::Series;
use crate::work::fresh_tokens;

/// Records that a figure at 10 million kept needs.
const MANY: u64 = 10_000_000;
/// Tokens counted as recent.
const RECENT: u64 = 1000;

pub(crate) fn compare(form: Form, field: &Field, kept: u64, results: &mut Results) {
    absent(form, field, kept, results);
    replay(form, field, kept, results);
    if kept == form.kept_of_figures() {
        fresh(form, field.ours.store(), kept, results);
    }
}

fn absent(form: Form, field: &Field, kept: u64, results: &mut Results) {
    title(&format!("lookup of an absent token, {kept} kept, ns"), &["median", "spread"]);
    let count = form.pick(100_000, 50_000, 100);
    let asked: Vec<_> = field
        .all()
        .into_iter()
        .filter(|own| matches!(own.kind(), Kind::Ours | Kind::Peer))
        .map(|own| (own, Series::default()))
        .collect();
    let mut asked = asked;
    for _ in 0..form.rounds() {
        let tokens = fresh_tokens(count);
        for (contender, series) in &mut asked {
            series.push(nanos(&tokens, 1, |token| usize::from(contender.look_up(token).is_some())));
        }
    }
    for (contender, series) in &asked {
        let row = [format!("{:.0}", series.median()), format!("{:.0} %", 100.0 * series.spread())];
        line(contender.name(), &row, "");
    }
    let ours = &asked[0].1;
    let peers = asked[1..].iter();
    let Some((best, theirs)) = peers.min_by(|(_, one), (_, other)| one.median().total_cmp(&other.median()))
    else {
        return;
    };
    let note = format!("{kept} kept; the best peer is {}", best.name());
    let (ratio, unit) = (ours.over(theirs), "times its time");
    if kept == MANY {
        results.figure("absent_lookup_vs_peer", &ratio, Goal::AtMost(0.2), unit, &note);
    } else {
        results.beside(&format!("absent_lookup_vs_peer at {kept}"), &ratio, unit, &note);
    }
}

fn replay(form: Form, field: &Field, kept: u64, results: &mut Results) {
    if kept == 0 {
        return;
    }
    let held = field.redb.engine().held();
    let store = field.ours.store();
    let count = form.pick(100_000, 50_000, 100);
    // What was filled last; completed anew would be the same.
    let recent = kept.saturating_sub(RECENT)..kept;
    for (name, range) in [("recent", recent), ("uniform", 0..kept)] {
        if name == "recent" {
            touch(store, range.clone());
        }
        let spread =
            |at: u64| range.start + at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (range.end - range.start);
        let (mut ours, mut theirs) = (Series::default(), Series::default());
        for round in 0..form.rounds() as u64 {
            let tokens: Vec<String> = (0..count).map(|at| token(spread(at + round * count))).collect();
            let keys: Vec<Key> =
                tokens.iter().map(|own| Key::new(SCOPE, own).expect("a sound token")).collect();
            ours.push(nanos(&keys, 2, |key| replayed(store, key)));
            theirs.push(nanos(&tokens, 2, |token| got(&held, token)));
        }
        title(&format!("replay of {name} outcomes, two threads, {kept} kept, ns"), &["oncekey", "redb"]);
        line("", &[&ours, &theirs].map(|own| format!("{:.0}", own.median())), "");
        // How often as many: redb's time over ours.
        let (ratio, note) = (theirs.over(&ours), format!("{kept} kept"));
        let id = format!("replay_{name}_vs_redb");
        match (name, kept) {
            ("recent", _) if kept == form.kept_of_figures() => {
                results.figure(&id, &ratio, Goal::AtLeast(3.0), "times its rate", &note);
            }
            ("uniform", MANY) => results.figure(&id, &ratio, Goal::AtLeast(0.8), "times its rate", &note),
            _ => results.beside(&format!("{id} at {kept}"), &ratio, "times its rate", &note),
        }
    }
}

/// Retried once, as a retry that comes soon after would be.
fn touch(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        replayed(store, &Key::new(SCOPE, token(number)).expect("a sound token"));
    }
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

fn fresh(form: Form, store: &Store, kept: u64, results: &mut Results) {
    let key = |text: String| Key::new(SCOPE, text).expect("a sound token");
    let map: DashMap<Key, u64> = (0..kept).map(|number| (key(token(number)), number)).collect();
    let digest = parameters().digest_under(&DigestRules::none()).expect("sound pairs");
    let ready = Parameters::digest(digest);
    let begin = |key: &Key| match store.begin(key, &ready) {
        Ok(Answer::Fresh(reservation)) => usize::from(reservation.release().is_ok()),
        other => panic!("a token never seen is fresh: {other:?}"),
    };
    let insert = |key: &Key| {
        map.insert(key.clone(), 1);
        usize::from(map.remove(key).is_some())
    };
    let count = form.pick(100_000, 50_000, 100);
    let [mut ours, mut theirs] = [const { [const { Series(Vec::new()) }; 2] }; 2];
    // Short ones, and therefore more of them.
    for _ in 0..form.rounds() * 3 {
        let keys: Vec<Key> = fresh_tokens(count).into_iter().map(key).collect();
        for threads in [1, 2] {
            ours[threads - 1].push(nanos(&keys, threads, begin));
            theirs[threads - 1].push(nanos(&keys, threads, insert));
        }
    }
    title(&format!("begin + release of a fresh token, {kept} kept, ns"), &["oncekey", "dashmap"]);
    for threads in [1, 2] {
        let row = [&ours, &theirs].map(|own| format!("{:.0}", own[threads - 1].median()));
        line(&format!("{threads} threads"), &row, "");
    }
    let note = format!("{kept} kept");
    let ratio = ours[0].over(&theirs[0]);
    results.figure("fresh_vs_dashmap", &ratio, Goal::AtMost(1.5), "times its time", &note);
    let gains = [&ours, &theirs].map(|own| own[0].over(&own[1]));
    let ratio = gains[0].over(&gains[1]);
    results.figure("fresh_two_threads", &ratio, Goal::AtLeast(1.0), "times its gain", &note);
}

/// Time for one, from so many threads.
fn nanos<T: Sync>(all: &[T], threads: usize, one: impl Fn(&T) -> usize + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for share in all.chunks(all.len().div_ceil(threads)) {
            let one = &one;
            scope.spawn(move || std::hint::black_box(share.iter().map(one).sum::<usize>()));
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / float(all.len() as u64)
}
