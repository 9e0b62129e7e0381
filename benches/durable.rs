//! Is a durable completion worth its price?
//!
//! `cargo bench --bench durable` prints a table of ratios first, each the median of interleaved rounds, so that a
//! noisy machine disturbs both sides alike; then criterion measures the same things one by one. What misses its
//! goal is printed as *missed*. `--quick`, or `ONCEKEY_BENCH=short`, takes under a minute.

#[path = "durable/contest.rs"]
mod contest;
mod support;

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput};
use oncekey::{Stats, Store};

use contest::{Contender, Naive, Plain};
use support::fill::{fill, tokens};
use support::report::{Goal, float, line, median, title};
use support::{Form, home};

fn main() {
    let form = Form::asked();
    let home = home();
    let mut criterion = form.criterion();
    let contenders = Contenders::create(home.path());
    contenders.compare(form);
    weigh_index(form, home.path());
    contenders.measure(form, &mut criterion);
    criterion.final_summary();
}

fn in_flight(form: Form) -> &'static [usize] {
    form.pick(&[1, 8, 64, 512, 4096], &[1, 64, 512], &[1, 8, 65])
}

/// Tokens of a round at so many in flight: a multiple, and enough for a fraction of a second.
fn tokens_of_round(in_flight: usize, form: Form) -> usize {
    let steps = match in_flight {
        1 => 200,
        2..=63 => 100,
        64..=511 => 80,
        512..=4095 => 50,
        _ => 16,
    };
    in_flight * (steps * form.pick(10, 4, 1) / 10).max(2)
}

struct Contenders {
    oncekey: Store,
    naive: Naive,
    plain: Plain,
}

impl Contenders {
    fn create(home: &Path) -> Self {
        let oncekey = Store::open(home.join("contest")).expect("a new store");
        Self { oncekey, naive: Naive::create(home), plain: Plain::create(home) }
    }

    /// The table: rates side by side.
    fn compare(&self, form: Form) {
        title("durable begin + complete, 200 bytes, tokens per second", &["oncekey", "naive", "plain"]);
        for &in_flight in in_flight(form) {
            let count = tokens_of_round(in_flight, form);
            let (mut rates, mut ratios) = ([const { Vec::new() }; 3], [const { Vec::new() }; 2]);
            let before = self.oncekey.stats();
            for _ in 0..form.rounds() {
                let naive_count = count.min(form.pick(200, 80, 20));
                let rate = |contender: &dyn Contender, count: usize| {
                    float(count as u64) / contender.complete(&tokens(count), in_flight).as_secs_f64()
                };
                let round =
                    [rate(&self.oncekey, count), rate(&self.naive, naive_count), rate(&self.plain, count)];
                rates.iter_mut().zip(round).for_each(|(all, own)| all.push(own));
                ratios[0].push(round[0] / round[1]);
                ratios[1].push(round[0] / round[2]);
            }
            let rates = rates.map(|all| format!("{:.0}", median(all)));
            line(&format!("{in_flight} in flight"), &rates, "");
            let goals =
                if in_flight == 512 { [Goal::AtLeast(10.0), Goal::AtLeast(0.4)] } else { [Goal::None; 2] };
            for ((rival, all), goal) in ["naive", "plain"].into_iter().zip(ratios).zip(goals) {
                let ratio = median(all);
                line(&format!("  oncekey / {rival}"), &[format!("{ratio:.2}")], &goal.verdict(ratio));
            }
            let written = written_between(&before, &self.oncekey.stats());
            line("  bytes, zeros per record", &written.map(|bytes| format!("{bytes:.0}")), "");
        }
    }

    fn measure(&self, form: Form, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("durable");
        group.throughput(Throughput::Elements(1));
        let all: [&dyn Contender; 3] = [&self.oncekey, &self.naive, &self.plain];
        for (&in_flight, contender) in in_flight(form).iter().flat_map(|n| all.map(|own| (n, own))) {
            if contender.name() == "naive" && in_flight != 1 {
                continue;
            }
            group.bench_function(BenchmarkId::new(contender.name(), in_flight), |bencher| {
                bencher.iter_custom(|iterations| {
                    let steps = iterations.div_ceil(in_flight as u64);
                    let count = usize::try_from(steps).expect("criterion is not that patient") * in_flight;
                    let time = contender.complete(&tokens(count), in_flight);
                    time.mul_f64(float(iterations) / float(count as u64))
                });
            });
        }
        group.finish();
    }
}

/// Bytes written and zeros written ahead of them, per completion.
fn written_between(before: &Stats, after: &Stats) -> [f64; 2] {
    let records = float(after.completed - before.completed);
    let per_record = |before: u64, after: u64| float(after - before) / records;
    [
        per_record(before.bytes_written, after.bytes_written),
        per_record(before.zeros_written, after.zeros_written),
    ]
}

/// What the index costs while a store fills.
fn weigh_index(form: Form, home: &Path) {
    let store = Store::open(home.join("index")).expect("a new store");
    let (records, mut worst) = (form.pick(1_000_000, 1_000_000, 1000), 0.0_f64);
    let part = (records / 100).max(1);
    for done in (part..=records).step_by(part) {
        fill(&store, part);
        if done >= records / 10 {
            worst = worst.max(index_bytes_per_record(&store.stats()));
        }
    }
    let stats = store.stats();
    title("memory of the index, bytes per kept record", &["now", "worst so far"]);
    let row = [index_bytes_per_record(&stats), worst].map(|bytes| format!("{bytes:.1}"));
    line(&format!("{} kept", stats.kept_records), &row, &Goal::AtMost(24.0).verdict(worst));
}

fn index_bytes_per_record(stats: &Stats) -> f64 {
    float(stats.index_bytes) / float(stats.kept_records)
}
