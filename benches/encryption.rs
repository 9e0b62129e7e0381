//! What does it cost that records are encrypted on disk (`Builder::encryption_key`)?
//!
//! `cargo bench --features encryption --bench encryption` prints, for outcomes of 200 bytes and of 16 KiB: tokens completed
//! durably per second with 1, 64 and 512 in flight, bytes written per record, and nanoseconds of a replay that is read from
//! disk; without a key, with one, and the ratio. Medians of interleaved rounds, so that a noisy machine disturbs both sides
//! alike. `--quick` takes some seconds.

mod support;

use std::path::Path;
use std::time::Instant;

use oncekey::{Answer, EncryptionKey, Store};

use support::callers::at_once;
use support::fill::{complete_with, fill_with, keys_of, parameters, tokens};
use support::report::{float, line, median, title};
use support::{Form, home};

const SIZES: [(&str, usize); 2] = [("200 bytes", 200), ("16 KiB", 16 << 10)];
const IN_FLIGHT: [usize; 3] = [1, 64, 512];
const COLUMNS: [&str; 3] = ["plain", "encrypted", "encrypted / plain"];

fn main() {
    let form = Form::asked();
    let home = home();
    for (name, bytes) in SIZES {
        let key = EncryptionKey::random().expect("randomness");
        let sides = [None, Some(key)].map(|key| {
            let side = if key.is_none() { "plain" } else { "encrypted" };
            Side::new(&home.path().join(format!("{side} {bytes}")), key)
        });
        let outcome = vec![b'x'; bytes];
        for in_flight in IN_FLIGHT {
            title(&format!("{name}, {in_flight} in flight, completed per second"), &COLUMNS);
            let count = in_flight * form.pick(100, 20, 1);
            compare(form, &sides, |side| side.complete(count, in_flight, &outcome));
        }
        title(&format!("{name}, bytes written per record"), &COLUMNS);
        compare(Form::Test, &sides, Side::bytes_per_record);
        title(&format!("{name}, replay from disk, ns"), &COLUMNS);
        let count = form.pick(2000, 500, 10);
        let sides = sides.map(|side| (fill_with(&side.0, count, &outcome), side));
        compare(form, &sides, |(all, side)| side.replay(all));
    }
}

fn compare<T>(form: Form, sides: &[T; 2], figure: impl Fn(&T) -> f64) {
    let (mut own, mut ratios) = ([const { Vec::new() }; 2], Vec::new());
    for _ in 0..form.rounds() {
        let round = sides.each_ref().map(&figure);
        own.iter_mut().zip(round).for_each(|(all, figure)| all.push(figure));
        ratios.push(round[1] / round[0]);
    }
    let [plain, encrypted] = own.map(|all| format!("{:.0}", median(all)));
    line("", &[plain, encrypted, format!("{:.2}", median(ratios))], "");
}

struct Side(Store);

impl Side {
    fn new(path: &Path, key: Option<EncryptionKey>) -> Self {
        // No recent outcomes in memory: what is replayed is read, and decrypted if it has to be.
        let mut builder = Store::builder().recent_bytes_max(0);
        if let Some(key) = key {
            builder = builder.encryption_key(key);
        }
        Self(builder.open(path).expect("a new store"))
    }

    fn complete(&self, count: usize, in_flight: usize, outcome: &[u8]) -> f64 {
        let all = tokens(count);
        let start = Instant::now();
        at_once(in_flight, async |caller| {
            for token in all.iter().skip(caller).step_by(in_flight) {
                complete_with(&self.0, token, outcome, false).await;
            }
        });
        float(count as u64) / start.elapsed().as_secs_f64()
    }

    fn bytes_per_record(&self) -> f64 {
        let stats = self.0.stats();
        float(stats.bytes_written) / float(stats.completed)
    }

    fn replay(&self, all: &[String]) -> f64 {
        let (keys, parameters) = (keys_of(all), parameters());
        let start = Instant::now();
        for key in &keys {
            let Ok(Answer::Replay(_)) = self.0.begin(key, &parameters) else { panic!("it was completed") };
        }
        start.elapsed().as_secs_f64() * 1e9 / float(keys.len() as u64)
    }
}
