//! Goal: the operator's tool does what its help says, on real stores, and reading changes nothing (contract 5.6, 10.2).
//! Method: the real program is run on stores that this makes with the library: closed, killed, copied, damaged,
//! encrypted, and held by another live process, which is this test started once more as a child. What it prints with
//! `--json` is parsed; files are compared byte for byte around every reading command.
//!
//! `cargo test --features cli --test cli`; `-- --ignored` fills a store of a million records and looks at that.

mod beside;
mod changing;
#[cfg(feature = "encryption")]
mod encrypted;
mod export;
mod manual;
mod million;
mod reading;
mod support;
mod verify;
