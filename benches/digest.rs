//! What does it cost to tell two requests apart?
//!
//! The digest of parameters in each of their forms, beside SHA-256 of the same bytes, which knows nothing of names, order or
//! canonical forms.

mod support;

use std::hint::black_box;
use std::time::Instant;

use oncekey::{DigestRules, Parameters};
use sha2::{Digest, Sha256};

use support::Form;
use support::report::{float, line, median, title};

/// What is digested, by us and by SHA-256.
type Way<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn());

fn json(bytes: usize) -> Vec<u8> {
    let members = (0..bytes / 32).map(|at| format!("\"name-{at:06}\":\"value {at:08}\""));
    format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
}

fn main() {
    let form = Form::asked();
    let pairs: Vec<(String, String)> =
        (0..10).map(|at| (format!("Parameter{at}"), format!("value of parameter {at}"))).collect();
    let query = pairs.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "%20")));
    let query = query.collect::<Vec<_>>().join("&");
    let [small, large] = [1 << 10, 64 << 10].map(json);
    let rules = DigestRules::cloud_api();
    let none = DigestRules::none();
    let of = |parameters: &Parameters<'_>, rules: &DigestRules| {
        black_box(parameters.digest_under(rules).expect("sound parameters"));
    };
    let sha = |bytes: &[u8]| {
        black_box(Sha256::digest(bytes));
    };
    let ways: [Way<'_>; 6] = [
        (
            "10 pairs",
            &|| {
                let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                of(&Parameters::pairs(pairs), &rules);
            },
            &|| sha(query.as_bytes()),
        ),
        ("10 parameters of a query", &|| of(&Parameters::query(&query), &rules), &|| sha(query.as_bytes())),
        ("1 KiB of JSON", &|| of(&Parameters::json(&small), &none), &|| sha(&small)),
        ("64 KiB of JSON", &|| of(&Parameters::json(&large), &none), &|| sha(&large)),
        ("1 KiB of bytes", &|| of(&Parameters::bytes(&small), &none), &|| sha(&small)),
        ("64 KiB of bytes", &|| of(&Parameters::bytes(&large), &none), &|| sha(&large)),
    ];
    title("digest, ns", &["oncekey", "sha-256", "ours / sha-256"]);
    for (name, own, peer) in ways {
        let times = form.pick(2000, 300, 2);
        let nanos = |way: &dyn Fn()| {
            let start = Instant::now();
            (0..times).for_each(|_| way());
            start.elapsed().as_secs_f64() * 1e9 / float(times)
        };
        let rounds: Vec<_> = (0..form.rounds()).map(|_| (nanos(own), nanos(peer))).collect();
        let of = |at: fn(&(f64, f64)) -> f64| median(rounds.iter().map(at).collect());
        let row = [
            format!("{:.0}", of(|own| own.0)),
            format!("{:.0}", of(|own| own.1)),
            format!("{:.2}", of(|(own, peer)| own / peer)),
        ];
        line(name, &row, "");
    }

    let mut criterion = form.criterion();
    let mut group = criterion.benchmark_group("digest");
    for (name, own, peer) in ways {
        group.bench_function(format!("{name}/oncekey"), |bencher| bencher.iter(own));
        group.bench_function(format!("{name}/sha-256"), |bencher| bencher.iter(peer));
    }
    group.finish();
    criterion.final_summary();
}
