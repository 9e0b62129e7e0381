//! The embedded idempotency store: one token, one run, and every retry gets the first answer byte for byte.
//!
//! A client that got no answer sends its request again with the same token. The server asks this store first:
//! the operation runs once, the retry gets the first answer, the same token with other parameters is a mismatch
//! error, and all of it survives a kill, a power cut, a full disk and a thousand callers at once.
//!
//! # What it does not do
//! After a lapsed lease two *runs* of one operation may overlap; two *completions* cannot. A process that dies
//! between an operation's effect and its completion leaves a key that a retry runs again: make the effect itself
//! find its earlier self, as the example `scaling_groups` does, or start it durably, so that the retry knows: see
//! [`modes`]. One process owns a store. Keeping a secret beside
//! the records protects a copied segment, not a copied store. Unix only.
//! Where the effect is in the caller's own redb database, the feature `redb-transactions` closes that gap: effect and
//! record are committed together.
//!
//! With the feature `encryption` what is kept is encrypted on disk, under the caller's key. The feature `cli` is for
//! operators: the program `oncekey`.
//!
//! # Example
//! ```
//! use oncekey::{Class, Key, OperationError, Outcome, Parameters, Store, Answer};
//!
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! enum Charge { CardRefused, BankUnreachable }
//!
//! impl OperationError for Charge {
//!     fn class(&self) -> Class {
//!         match self {
//!             Charge::CardRefused => Class::Final,
//!             Charge::BankUnreachable => Class::Retryable,
//!         }
//!     }
//! }
//!
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().join("store");
//! let store = Store::open(&path)?;
//! let key = store.key("account-1", "5f0e9a6c")?;
//! let parameters = Parameters::query("Amount=7&Currency=EUR");
//!
//! // A closure, once, with a typed value:
//! let receipt = store.execute(&key, &parameters, |_| Ok::<String, Charge>("receipt 77".to_owned()))?;
//! assert_eq!(receipt.result.expect("charged"), "receipt 77");
//!
//! // Or step by step, with bytes:
//! let key = store.key("account-1", "another")?;
//! match store.begin(&key, &parameters)? {
//!     Answer::Fresh(reservation) => drop(reservation.complete(Outcome::http(200, "done"))?),
//!     Answer::Replay(replay) => println!("again: {} bytes", replay.outcome().body().len()),
//!     Answer::InFlight(other) => println!("attempt {} runs", other.attempt()),
//!     _ => {}
//! }
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! # The rooms
//! Imports go down; `tests/tidy` checks the floors.
//!
//! | floor | room | what stands there |
//! | --- | --- | --- |
//! | roof | `store` | the only place where the wings meet: open, begin, reservation, execute |
//! | | `distributed` | a store of many processes, over an engine (feature `distributed`) |
//! | | `http` | a layer for servers (feature `tower`) |
//! | | `metrics` | a store's numbers for a recorder (feature `metrics`) |
//! | | [`mod@reference`] | the contract as a small model, without disk or threads |
//! | | [`modes`], [`guide`] | no code: which mode do I need, and all else there is to read |
//! | | `cli` | the operator's tool (feature `cli`) |
//! | | `laws` | for fuzzing and tests alone: what must hold of any bytes |
//! | third | `sweep` | bounded steps that remove and pack |
//! | | `engine` | the second east wing: engines that are distributed already |
//! | second | `verdict`, `comparing` | the one judgement, pure; how it compares digests |
//! | | `inflight` | west wing, memory that forgets: slots, gates, deadlines |
//! | | `ledger` | east wing, the disk that remembers; the only one that names redb |
//! | first | `options`, `record` | settings and limits; a record and its bytes |
//! | ground | `error`, `time`, `sync`, `codec`, `digest`, `distribution`, `encryption`, `outcome`, `token`, `trace` | plain values and the doors to the outside |
//!
//! *A request's walk:* `begin` → stripe: in flight? index: finished? → `verdict` → answer. `complete` → ledger (durable) →
//! index and slot published → waiters woken. Disk first, then tongue.

// The README's example is a test like any other.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

#[cfg(feature = "cli")]
pub mod cli;
mod codec;
mod comparing;
mod digest;
#[cfg(feature = "distributed")]
pub mod distributed;
mod distribution;
mod encryption;
#[cfg(feature = "distributed")]
#[cfg_attr(
    not(all(feature = "postgres", feature = "etcd")),
    allow(dead_code, reason = "each engine over a network needs a part")
)]
mod engine;
mod error;
pub mod guide;
#[cfg(feature = "tower")]
pub mod http;
mod inflight;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod ledger;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod modes;
mod options;
mod outcome;
mod record;
pub mod reference;
mod store;
mod sweep;
mod sync;
mod time;
mod token;
mod trace;
mod verdict;

pub use digest::{
    DIGEST_VERSION, Digest, DigestRules, PARAMETER_BYTES_MAX, PARAMETER_COUNT_MAX, ParameterValue,
    Parameters, Secret,
};
pub use distribution::Distribution;
#[cfg(feature = "encryption")]
pub use encryption::EncryptionKey;
pub use error::{
    Difference, Error, ErrorKind, Incomparable, Limit, Opaque, ParameterFault, Result, ScopeFault, TokenFault,
};
pub use options::{Builder, OnInterrupted};
pub use outcome::{Checkpoint, Class, Classifier, Omitted, Outcome, Replay, classify};
#[cfg(feature = "redb-transactions")]
pub use store::Transaction;
pub use store::{
    Answer, Archive, Completed, Executed, Guarantees, Home, InFlight, Known, Never, OperationError, Refused,
    Request, Reservation, Stats, Store, Unfinished,
};
pub use sweep::Swept;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use token::{
    Key, LABEL_BYTES_MAX, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX, Token, token_in_header,
};

/// The very version of redb whose types stand in this crate's API (feature `redb-transactions`).
#[cfg(feature = "redb-transactions")]
pub use redb;
