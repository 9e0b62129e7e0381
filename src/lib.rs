//! The embedded idempotency store: one token, one run, and every retry gets the first answer byte for byte.

// The README's example is a test like any other.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod codec;
mod digest;
mod error;
mod inflight;
mod ledger;
mod options;
mod outcome;
mod record;
mod store;
mod sweep;
mod sync;
mod time;
mod token;
mod verdict;

pub use digest::{
    DIGEST_VERSION, Digest, DigestRules, PARAMETER_BYTES_MAX, PARAMETER_COUNT_MAX, ParameterValue,
    Parameters, Secret,
};
pub use error::{
    Error, ErrorKind, Incomparable, Limit, Opaque, ParameterFault, Result, ScopeFault, TokenFault,
};
pub use options::Builder;
pub use outcome::{Class, Classifier, Omitted, Outcome, Replay, classify};
pub use store::{
    Answer, Completed, Executed, Guarantees, Home, InFlight, Known, Never, OperationError, Refused, Request,
    Reservation, Stats, Store,
};
pub use sweep::Swept;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX, Token};
