//! Runs programs under every scheduler, on all cores, and says how many orders that were.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// A few threads and what they do.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Orders of each program with a store in the short form; of those without one, so many times as many.
const SCHEDULES: usize = 1_500;
const SMALL: usize = 40;

/// Steps of one run: far more than any takes, so that one which goes round in circles fails.
const STEPS: usize = 20_000;

/// The seed of the short form, so that a failure comes again.
const SEED: u64 = 0x6f6e_6365;

/// How programs are explored.
#[derive(Clone, Copy)]
struct Plan {
    count: usize,
    seed: u64,
}

/// Whether the name holds one of the words given, if any are.
pub(crate) fn is_chosen(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Runs the programs whose names hold one of the words given: the small ones in every order, as far as the count
/// goes, and all of them at random and by priorities.
///
/// # Panics
/// If one of them fails, after all have run.
pub(crate) fn explore(small: &[Program], large: &[Program]) {
    let setting = |name: &str| std::env::var(name).ok();
    let count = setting("ONCEKEY_SCHEDULES").and_then(|own| own.parse().ok()).unwrap_or(SCHEDULES);
    let seed = setting("ONCEKEY_SEED").and_then(|own| own.parse().ok()).unwrap_or(SEED);
    let replay = setting("ONCEKEY_REPLAY");
    let chosen = |own: &&(Program, bool)| is_chosen(own.0.name);
    let all: Vec<_> =
        small.iter().map(|own| (*own, true)).chain(large.iter().map(|own| (*own, false))).collect();
    let all: Vec<_> = all.iter().filter(chosen).collect();
    let (next, orders, failed, begun) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    let work = || {
        while let Some((program, small)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (name, started) = (program.name, Instant::now());
            let plan = Plan { count: if *small { SMALL * count } else { count }, seed };
            let run = || match &replay {
                Some(schedule) => run(program, ReplayScheduler::new_from_encoded(schedule)),
                None => plan.run(program, *small),
            };
            let (done, seconds) = (catch_unwind(AssertUnwindSafe(run)), started.elapsed().as_secs_f64());
            let Ok(own) = done else {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("{name} ... FAILED after {seconds:.2} s");
                continue;
            };
            orders.fetch_add(own, Ordering::Relaxed);
            println!("{name} ... ok, {own} schedules in {seconds:.1} s");
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let (failed, orders) = (failed.load(Ordering::Relaxed), orders.load(Ordering::Relaxed));
    let seconds = begun.elapsed().as_secs_f64();
    println!("schedules cases {orders} faults 0 failures {failed} seed {seed} in {seconds:.1} s");
    if failed > 0 {
        println!("{failed} programs failed; ONCEKEY_REPLAY=schedule and its name run one of them again");
        std::process::exit(101);
    }
}

/// Seeds of the simulation in the short form.
const SIMULATIONS: u64 = 5_000;
const SIMULATION: &str = "callers_clock_and_disk_do_what_they_want_and_nothing_is_lost_3_4_5";

/// Runs a simulation for one seed after another, each as one order of steps.
///
/// # Panics
/// With the seed, at the first that fails.
pub(crate) fn simulate(run: fn(u64)) {
    if !is_chosen(SIMULATION) || std::env::var_os("ONCEKEY_REPLAY").is_some() {
        return;
    }
    let setting = |name: &str| std::env::var(name).ok().and_then(|own| own.parse::<u64>().ok());
    let (count, first) =
        (setting("ONCEKEY_SIMULATIONS").unwrap_or(SIMULATIONS), setting("ONCEKEY_SEED").unwrap_or(1));
    let (next, failed, begun) = (AtomicU64::new(first), AtomicU64::new(0), Instant::now());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || failed.load(Ordering::Relaxed) > 0 {
                return;
            }
            let scheduler = RandomScheduler::new_from_seed(seed, 1);
            let run = || Runner::new(scheduler, config()).run(move || run(seed));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("{SIMULATION} ... FAILED; ONCEKEY_SEED={seed} ONCEKEY_SIMULATIONS=1 runs it again");
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    if failed.load(Ordering::Relaxed) > 0 {
        std::process::exit(101);
    }
    println!("simulations cases {count} faults 0 failures 0 in {:.1} s", begun.elapsed().as_secs_f64());
}

impl Plan {
    fn run(self, program: &Program, small: bool) -> usize {
        let Self { count, seed } = self;
        let mut done = if small { run(program, DfsScheduler::new(Some(count / 2), false)) } else { 0 };
        if small && done < count / 2 {
            println!("{}: these are all orders there are", program.name);
            return done;
        }
        done += run(program, RandomScheduler::new_from_seed(seed, (count - done) / 2));
        for (depth, seed) in (3..=5).zip(seed..) {
            done += run(program, PctScheduler::new_from_seed(seed, depth, (count - done) / (6 - depth)));
        }
        done
    }
}

fn run(program: &Program, scheduler: impl Scheduler + 'static) -> usize {
    Runner::new(scheduler, config()).run(program.run)
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 512 << 10;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    config
}
