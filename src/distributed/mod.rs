//! A store of many processes: the same asking and the same answers, over an engine that is distributed already (feature
//! `distributed`; engines by features of their own).
//!
//! An embedded store has one owner. Where a service runs as many processes, each connects to one engine instead, and
//! all of them are one store: one caller in one process runs, and everybody else, wherever he asks, is told what contract 3
//! says. Whoever moves up changes the line that opens the store, and where he names the types of its guards.
//!
//! ```
//! use oncekey::distributed::Memory;
//! use oncekey::{Answer, Outcome, Parameters, Store};
//!
//! // In earnest: `Store::builder().connect(Postgres::at("host=db user=app dbname=app")?)?`
//! let store = Store::builder().connect(Memory::default())?;
//! let key = store.key("account-1", "5f0e9a6c")?;
//! let parameters = Parameters::query("Amount=7&Currency=EUR");
//! match store.begin(&key, &parameters)? {
//!     Answer::Fresh(reservation) => drop(reservation.complete(Outcome::http(200, "done"))?),
//!     Answer::Replay(replay) => println!("again: {} bytes", replay.outcome().body().len()),
//!     Answer::InFlight(other) => println!("attempt {} runs", other.attempt()),
//!     _ => {}
//! }
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! # What differs, and where it says so
//! | contract | embedded | distributed |
//! | --- | --- | --- |
//! | 3.9 an answer that was lost | *unknown outcome* until the store is reopened | [`ErrorKind::AnswerLost`](crate::ErrorKind::AnswerLost) until the engine has said what became of it, which the store goes on asking |
//! | 3.7 a holder releases | the key is promised to one of those who wait | all who wait here look, and whoever asks first gets it |
//! | 4.4, 7.1 time | the store's clock | the engine's; every answer of it sets the store's own |
//! | 5.2 relaxed durability | a setting | refused: [`ErrorKind::NotPromised`](crate::ErrorKind::NotPromised) |
//! | 5.3 the process dies | its reservations are gone at once | with a [node's name](crate::Builder::node) when it starts again; else when their leases have lapsed |
//! | 5.4 a durable one is interrupted | at the next opening | as above: when its node starts again, or when its lease has lapsed and it was another process's |
//! | 5.10 room on the disk; kept records and bytes (8.1) | limits | the engine's to provide; refused as *not promised* where they are set |
//! | 5.11 a waker calls the store | it may ask, look and forget; what waits for the disk or an end is refused: [`ErrorKind::OwnThread`](crate::ErrorKind::OwnThread) | all blocking calls are |
//! | 6.1 the caller's own writes | the store lends a transaction | the caller lends his: [`Reservation::completion`] |
//! | 7.2 clock jumps | told at opening | the engine's clock is believed; etcd has none, and those of the processes are |
//! | 8.1 live reservations, waiters | of the store | of this process |
//! | 11 numbers and spans (features `metrics`, `tracing`) | all of them | [`Store::stats`] only: this process's own |
//! | 11 encryption, backup, rotation | the store's | the engine's; digests are bound under the caller's secret, or one that is kept in the engine |
//!
//! # The rooms
//! | file | what stands there |
//! | --- | --- |
//! | `connecting` | from a builder to a store, and its end |
//! | `shared`, `clock` | what all handles share; the engine's time, as it was heard last |
//! | `desk` | memory that forgets: what runs here, who asks, who waits |
//! | `asking`, `judging` | from a key and parameters to one answer; what an engine's bytes say |
//! | `waiting` | for somebody else's run, here or elsewhere |
//! | `reservation`, `finishing` | the right to run, and its end |
//! | `lending` | a completion within the caller's own transaction |
//! | `moving` | from an embedded store to an engine, while servers ask |
//! | `settling` | looking without claiming; ending a key from outside |
//! | `request`, `execute` | what a caller can say of a request; closures and typed values |

mod asking;
mod clock;
mod connecting;
mod desk;
mod execute;
mod finishing;
mod judging;
mod lending;
mod moving;
mod request;
mod reservation;
mod settling;
mod shared;
#[cfg(test)]
mod tests;
mod waiting;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use connecting::Engine;
pub use lending::Lent;
#[cfg(all(feature = "cli", feature = "postgres"))]
pub(crate) use moving::Carried;
pub use request::Request;
pub use reservation::Reservation;
pub use shared::Stats;
pub use waiting::InFlight;

use crate::digest::{DigestRules, Parameters};
#[cfg(feature = "etcd")]
pub use crate::engine::Etcd;
#[cfg(feature = "postgres")]
pub use crate::engine::Postgres;
pub use crate::engine::{Count, Memory};
use crate::error::Result;
use crate::outcome::Outcome;
use crate::store::{Completed, Executed, Known, OperationError, Unfinished};
use crate::token::Key;
use connecting::Owner;
use shared::Shared;

/// What `begin` answers: [`crate::Answer`], with this module's guards.
pub type Answer = crate::store::Answer<Reservation, InFlight>;

/// A completion that was refused: [`crate::Refused`], with this module's reservation.
pub type Refused = crate::store::Refused<Reservation>;

/// A store over an engine. Clones are one store, cheap, and can be sent to any thread; other processes connect for
/// themselves. Made by [`Builder::connect`](crate::Builder::connect). Every call that blocks is refused where it is made in a
/// waker on the thread that drives the engine, or counts time: [`ErrorKind::OwnThread`](crate::ErrorKind::OwnThread).
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

impl Store {
    /// The key of `token` under `scope`, by this store's limits (contract 1).
    ///
    /// # Errors
    /// *Invalid token*, *invalid scope*, with the rule that was broken.
    pub fn key(&self, scope: impl AsRef<[u8]>, token: impl AsRef<[u8]>) -> Result<Key> {
        let options = &self.shared().options;
        Key::within(scope.as_ref(), token.as_ref(), options.scope_bytes_max, options.token_bytes_max)
    }

    /// Asks, without waiting for anybody's run: run it, here is the first answer, or somebody runs it (contract 3).
    ///
    /// # Errors
    /// *Mismatch*, *cannot compare*, *unknown outcome*, *damaged*; for a key that would run also *overloaded*, *closed*;
    /// *unreachable* where the engine does not answer; and whatever is wrong with the parameters.
    pub fn begin(&self, key: &Key, parameters: &Parameters<'_>) -> Result<Answer> {
        self.request(key, parameters).begin()
    }

    /// [`Store::begin`], for async callers, on any runtime. Dropping the future gives back what it was given meanwhile.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub async fn begin_async(&self, key: &Key, parameters: &Parameters<'_>) -> Result<Answer> {
        self.request(key, parameters).begin_async().await
    }

    /// A request about which more is to be said: waiting, lease, retention, when it was first sent.
    pub fn request<'a>(&'a self, key: &'a Key, parameters: &'a Parameters<'a>) -> Request<'a> {
        Request::new(self, key, parameters)
    }

    /// Runs `operation` once, keeps what it returns and gives it back; a retry, wherever it comes, gets the kept value.
    /// Waits up to 30 seconds for somebody else's run. The lease is renewed while the operation runs.
    ///
    /// # Errors
    /// As [`Store::begin`]; *in flight* after waiting; *unreadable outcome*, *not readable back*, *without body*; and what
    /// [`Reservation::complete`] says.
    pub fn execute<T, E>(
        &self,
        key: &Key,
        parameters: &Parameters<'_>,
        operation: impl FnOnce(&Reservation) -> Result<T, E>,
    ) -> Result<Executed<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: OperationError,
    {
        self.request(key, parameters).execute(operation)
    }

    /// [`Store::execute`] for a future, on any runtime. A future that is dropped on the way releases the key.
    ///
    /// # Errors
    /// As [`Store::execute`].
    pub async fn execute_async<T, E>(
        &self,
        key: &Key,
        parameters: &Parameters<'_>,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<Executed<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: OperationError,
    {
        self.request(key, parameters).execute_async(operation).await
    }

    /// What is known of a key, without claiming it; the digest is not compared (contract 11).
    ///
    /// # Errors
    /// *Damaged*, *unreachable*, *closed*.
    pub fn get(&self, key: &Key) -> Result<Known> {
        self.shared().wait(self.shared().get(key))
    }

    /// [`Store::get`], for async callers.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get_async(&self, key: &Key) -> Result<Known> {
        self.shared().get(key).await
    }

    /// Removes a key's record (contract 4.6), also that of an interrupted operation. Whether something was kept: a finished
    /// or interrupted operation.
    ///
    /// # Errors
    /// *In flight* for a live reservation, wherever it is held; *unknown outcome*, *unreachable*, *closed*.
    pub fn forget(&self, key: &Key) -> Result<bool> {
        self.shared().wait(self.shared().forget(key))
    }

    /// [`Store::forget`], for async callers.
    ///
    /// # Errors
    /// As [`Store::forget`].
    pub async fn forget_async(&self, key: &Key) -> Result<bool> {
        self.shared().forget(key).await
    }

    /// Settles an interrupted operation with what somebody found out that it returned (contract 4.6). A retryable outcome
    /// says that a retry shall run it: the key is released, and attempt number and checkpoint survive.
    ///
    /// # Errors
    /// *Not interrupted*, *in flight*, *too large*, *unknown outcome*, *unreachable*, *closed*.
    pub fn resolve(&self, key: &Key, outcome: Outcome) -> Result<Completed> {
        self.shared().wait(self.shared().resolve(key, outcome))
    }

    /// [`Store::resolve`], for async callers.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub async fn resolve_async(&self, key: &Key, outcome: Outcome) -> Result<Completed> {
        self.shared().resolve(key, outcome).await
    }

    /// All interrupted operations (contract 3.4), by key; memory for a few hundred at a time. What changes meanwhile may be
    /// missed; what stays interrupted is seen.
    ///
    /// # Errors
    /// *Unreachable*, *damaged*, *closed*; then the list ends.
    pub fn interrupted(&self) -> impl Iterator<Item = Result<Unfinished>> + '_ {
        settling::unfinished(self.shared(), true)
    }

    /// All that runs, in whichever process, by key.
    ///
    /// # Errors
    /// As [`Store::interrupted`].
    pub fn running(&self) -> impl Iterator<Item = Result<Unfinished>> + '_ {
        settling::unfinished(self.shared(), false)
    }

    /// Has the engine remove what has expired. Each process does so once a minute, unless it was told not to
    /// ([`background_sweep`](crate::Builder::background_sweep)); one of them is enough. How many records and claims are gone,
    /// where the engine counts them.
    ///
    /// # Errors
    /// *Unreachable*, *closed*.
    pub fn sweep(&self) -> Result<u64> {
        self.shared().wait(self.shared().sweep())
    }

    /// How many operations run and how many are kept, in all processes: the engine counts them one by one.
    ///
    /// # Errors
    /// *Unreachable*, *closed*.
    pub fn count(&self) -> Result<Count> {
        self.shared().wait(self.shared().count())
    }

    /// This process's numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// What a setting asks for that its engine does not promise.
    #[cfg(feature = "tower")]
    pub(crate) fn does_not_promise(&self, setting: &'static str) -> crate::error::Error {
        crate::error::ErrorKind::NotPromised { engine: self.shared().lanes.engine.name(), setting }.into()
    }

    /// Which names never enter a digest, as the builder was told (contract 2.2).
    #[must_use]
    pub fn rules(&self) -> &DigestRules {
        &self.shared().options.rules
    }

    /// Ends this process's part: new requests are told *closed*, live reservations may complete for up to `limit`, then
    /// what is still held here counts as held by nobody: durable ones are interrupted, others gone (contract 11). Other
    /// processes go on.
    ///
    /// # Errors
    /// *Unreachable*: then what is held here lapses with its leases.
    pub fn close(self, limit: Duration) -> Result<()> {
        self.owner.close(limit)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("distributed::Store")
            .field("engine", &self.shared().lanes.engine.name())
            .finish_non_exhaustive()
    }
}
