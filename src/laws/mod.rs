//! What must hold of any bytes: the laws that fuzzing checks, one function of bytes each.
//!
//! Law: every function here takes any bytes and returns; where it panics, the crate (or the law) has a bug. A law reads
//! its input with a [`Tape`](tape::Tape), so that no bytes are wasted and a changed byte changes one thing. The fuzz
//! targets (`fuzz/fuzz_targets`) are three lines each and call them; plain tests replay every case of `fuzz/corpus`
//! through them (`corpus`), so that a machine without a fuzzer still runs all that was ever found. Compiled for tests and
//! under `cfg(fuzzing)` alone.
//!
//! | file | laws |
//! | --- | --- |
//! | `tape` | no law: how bytes become choices |
//! | `record` | `record_decode`, `record_roundtrip` |
//! | `keys` | `key_framing`, `token_and_header` |
//! | `digest`, `meaning` | `digest` |
//! | `json` | `json_canonical` |
//! | `beside`, `alike`, `waiters` | `store_ops`, `segment_ops`: the store beside the reference |
//! | `disks` | `power_cut`, `io_fault`: the oracles of `store::tests`, steered by bytes |
//! | `evil`, `forger`, `pages` | `evil_store`: operations and a changed segment together |
//! | `clock` | `clock`: section 7 under a hostile clock |
//! | `options` | `options` |
//! | `corpus`, `seeds` | for tests: the replay; what the corpora began with |
//!
//! Deliberately absent: the target `schedule`, whose bytes order the steps of threads, and which needs a door of its own to
//! them. It is a second root of `tests/schedules`.

mod alike;
mod beside;
mod clock;
#[cfg(test)]
mod corpus;
mod digest;
mod disks;
mod evil;
mod forger;
mod json;
mod keys;
mod meaning;
mod options;
mod pages;
mod record;
#[cfg(test)]
mod seeds;
mod tape;
mod waiters;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook};

pub use beside::{segment_ops, store_ops};
pub use clock::clock;
pub use digest::digest;
pub use disks::{io_fault, power_cut};
pub use evil::evil_store;
pub use json::json_canonical;
pub use keys::{key_framing, token_and_header};
pub use options::options;
pub use record::{record_decode, record_roundtrip};

use crate::sync::Mutex;

/// A law: any bytes, and it returns.
pub type Law = fn(&[u8]);

/// All laws by name, which is the name of their target and of its corpus.
#[cfg(test)]
pub(crate) const LAWS: &[(&str, Law)] = &[
    ("record_decode", record_decode),
    ("record_roundtrip", record_roundtrip),
    ("key_framing", key_framing),
    ("digest", digest),
    ("json_canonical", json_canonical),
    ("token_and_header", token_and_header),
    ("store_ops", store_ops),
    ("segment_ops", segment_ops),
    ("power_cut", power_cut),
    ("io_fault", io_fault),
    ("evil_store", evil_store),
    ("clock", clock),
    ("options", options),
];

/// What the last panics said, those that were caught too.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps panics quiet: some are planned, and a fuzzer takes each for a failure unless its hook is replaced.
pub fn hush() {
    set_hook(Box::new(|panic| {
        let mut said = SAID.lock();
        if said.len() == 4 {
            said.remove(0);
        }
        said.push(panic.to_string());
    }));
}

/// Runs a law under [`hush`]; where it does not hold, what was said is shown before it goes on unwinding.
///
/// # Panics
/// Where the law does not hold.
pub fn hold(law: Law, data: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| law(data))) {
        for said in &*SAID.lock() {
            eprintln!("{said}");
        }
        resume_unwind(panic);
    }
}
