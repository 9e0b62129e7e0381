//! Goal: contract 3.6, 3.7, 4.3, 4.4, 5.1 and 5.11 hold in whatever order threads run. Method: the crate's own sources
//! (`src`, by path) are compiled here once more, with another `sync`: shuttle's locks, wake-ups and threads. So what runs
//! is the real store, with its writer and timer, and an explorer orders every step of it, at random, by priorities with
//! 3 to 5 change points (PCT), and where a program is small enough one order after the other (DFS). No flag, no build
//! of its own: the default build and its documentation know nothing of this.
//!
//! `cargo test --test schedules -- NAME`; `ONCEKEY_SCHEDULES=n` orders for each program; a failure prints its schedule,
//! which `ONCEKEY_REPLAY=schedule` runs again. The same programs are the fuzz target `schedule`, where bytes choose the order:
//! this file is its root too, under the cfg that `cargo fuzz` sets, and every case it found is replayed here.
#![cfg_attr(fuzzing, no_main)]
#![cfg_attr(
    not(feature = "redb-transactions"),
    expect(
        clippy::wrong_self_convention,
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "sources of a library, of which this calls a part"
    )
)]

#[cfg(feature = "redb-transactions")]
fn main() {
    println!(
        "SKIPPED: guards that keep their lock alive have no counterpart in the explorer; run without the feature"
    );
}

#[cfg(not(feature = "redb-transactions"))]
#[path = "../../src"]
mod source {
    pub(crate) mod codec;
    pub(crate) mod comparing;
    pub(crate) mod digest;
    pub(crate) mod distribution;
    pub(crate) mod encryption;
    pub(crate) mod error;
    pub(crate) mod inflight;
    pub(crate) mod ledger;
    pub(crate) mod options;
    pub(crate) mod outcome;
    pub(crate) mod record;
    pub(crate) mod store;
    pub(crate) mod sweep;
    pub(crate) mod time;
    pub(crate) mod token;
    pub(crate) mod trace;
    pub(crate) mod verdict;
}

#[cfg(not(feature = "redb-transactions"))]
use source::{
    codec, comparing, digest, distribution, encryption, error, inflight, ledger, options, outcome, record,
    store, sweep, time, token, trace, verdict,
};

#[cfg(not(feature = "redb-transactions"))]
mod asking;
#[cfg(not(feature = "redb-transactions"))]
mod channels;
#[cfg(not(feature = "redb-transactions"))]
mod durable;
#[cfg(not(feature = "redb-transactions"))]
mod explorer;
#[cfg(not(any(feature = "redb-transactions", fuzzing)))]
mod handing;
#[cfg(not(feature = "redb-transactions"))]
mod leases;
#[cfg(not(feature = "redb-transactions"))]
mod panics;
#[cfg(not(feature = "redb-transactions"))]
mod parts;
#[cfg(not(any(feature = "redb-transactions", fuzzing)))]
mod simulation;
#[cfg(not(feature = "redb-transactions"))]
mod steered;
#[cfg(not(feature = "redb-transactions"))]
mod sync;
#[cfg(not(feature = "redb-transactions"))]
mod world;

/// Those without a store.
#[cfg(not(feature = "redb-transactions"))]
const SMALL: &[explorer::Program] = parts::PROGRAMS;
/// Those with one.
#[cfg(not(feature = "redb-transactions"))]
const LARGE: [&[explorer::Program]; 4] =
    [asking::PROGRAMS, leases::PROGRAMS, durable::PROGRAMS, panics::PROGRAMS];

/// Those that bytes choose from: the same, in the same order, whether a fuzzer does or a case of its is replayed.
#[cfg(not(feature = "redb-transactions"))]
fn steered() -> Vec<explorer::Program> {
    [SMALL, &LARGE.concat()].concat()
}

#[cfg(not(any(feature = "redb-transactions", fuzzing)))]
fn main() {
    explorer::simulate(simulation::simulate);
    steered::replay(&steered());
    explorer::explore(&[SMALL, handing::PROGRAMS].concat(), &LARGE.concat());
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| steered::run(&steered(), data));
