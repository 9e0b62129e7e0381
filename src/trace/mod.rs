//! Spans and events for whoever follows a token through a server (feature `tracing`).
//!
//! Law: what is shown of a key is its fingerprint under the store's own secret, the same for all that happens to it and
//! nothing that leads back to it; of everything else numbers and words of this crate's (contract 10.2). Nothing is told
//! under a lock, since a subscriber is caller's code (5.11). Without the feature there is nothing here, in no byte.
//!
//! | name | what | fields |
//! | --- | --- | --- |
//! | span `oncekey.attempt` | a reservation, until its end is on disk | `key`, `attempt`, `durable`, `resumed` |
//! | event `ended` in it (not in a lent transaction, which ends many) | its end | `how`: `kept`, `released`, or why it was refused |
//! | event `answered` | any other answer to a request | `key`, `answer` |

#[cfg(not(feature = "tracing"))]
mod absent;
#[cfg(feature = "tracing")]
mod spans;

#[cfg(not(feature = "tracing"))]
pub(crate) use absent::{Span, answered};
#[cfg(feature = "tracing")]
pub(crate) use spans::{Span, answered};
