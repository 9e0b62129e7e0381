//! The embedded idempotency store: one token, one run, and every retry gets the first answer byte for byte.

#[allow(dead_code, unused_imports, reason = "the store, which calls the rest, is being built")]
mod digest;
mod error;
mod outcome;
pub mod reference;
mod time;
mod token;

pub use digest::{
    DIGEST_VERSION, Digest, DigestRules, PARAMETER_BYTES_MAX, PARAMETER_COUNT_MAX, ParameterValue,
    Parameters, Secret,
};
pub use error::{
    Error, ErrorKind, Incomparable, Limit, Opaque, ParameterFault, Result, ScopeFault, TokenFault,
};
pub use outcome::{Class, Classifier, Omitted, Outcome, Replay, classify};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX, Token};
