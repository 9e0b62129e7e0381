//! The embedded idempotency store: one token, one run, and every retry gets the first answer byte for byte.

pub mod digest;
mod error;
mod outcome;
mod time;
mod token;

pub use error::{Error, ErrorKind, Incomparable, Limit, Opaque, ParameterFault, Result, ScopeFault, TokenFault};
pub use outcome::{Class, Classifier, Omitted, Outcome, Replay, classify};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX, Token};
