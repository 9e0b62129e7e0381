//! Goal: the tool is of use on a large store. Method: a million records in a thousand scopes, and a few operations that were
//! interrupted; what the commands say of it is printed, with the time they take.
//!
//! `cargo test --release --features cli --test cli -- --ignored --nocapture million`; with `ONCEKEY_MILLION=DIR` the store
//! is made there and stays.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Place, program};
use oncekey::{Answer, Key, Outcome, Parameters, Store};

const RECORDS: usize = 1_000_000;
const THREADS: usize = 64;

#[test]
#[ignore = "it takes a minute, and half a gigabyte of disk"]
fn a_million_records_are_inspected_verified_and_listed() {
    let place = Place::new();
    let asked = std::env::var_os("ONCEKEY_MILLION").map(PathBuf::from);
    let path = asked.unwrap_or_else(|| place.store());
    fill(&path);
    for words in [
        &["inspect"][..],
        &["verify"],
        &["list"],
        &["list", "--state", "finished", "--scope", "account-7", "--limit", "3"],
    ] {
        let began = Instant::now();
        let ran = program().args(words).arg("--store").arg(&path).output().unwrap();
        println!("$ oncekey {}\n{}", words.join(" "), String::from_utf8_lossy(&ran.stdout));
        println!("({:.2?})\n", began.elapsed());
        assert!(ran.status.success(), "{ran:?}");
    }
}

fn fill(path: &std::path::Path) {
    let store = Store::builder().relaxed(Duration::from_millis(200)).open(path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || (thread..RECORDS).step_by(THREADS).for_each(|number| keep(store, number)));
        }
    });
    // What runs when its process ends is interrupted: a handle that is forgotten is as good as that.
    for number in 0..3 {
        let key = Key::new("account-7", format!("transfer-{number}")).unwrap();
        let parameters = Parameters::query("Action=Transfer");
        let begun = store.request(&key, &parameters).start_durably().begin().unwrap();
        let Answer::Fresh(held) = begun else { panic!("never seen") };
        held.checkpoint(format!("step {number} of 3").as_bytes()).unwrap();
        std::mem::forget(held);
    }
    store.close(Duration::ZERO).unwrap();
}

fn keep(store: &Store, number: usize) {
    let key = Key::new(format!("account-{}", number % 1000), format!("{number:032x}")).unwrap();
    let retention = Duration::from_secs(3600 * [1, 6, 24, 24, 24, 72, 168][number % 7]);
    let parameters = Parameters::none();
    let Answer::Fresh(held) = store.request(&key, &parameters).retention(retention).begin().unwrap() else {
        panic!("never seen")
    };
    held.complete(Outcome::http(200, vec![b'x'; 100 + number % 200])).unwrap();
}
