//! The roof: the only place where the wings meet.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `asking`, `reading` | from a key and parameters to one answer; what its record says |
//! | `reservation`, `durable` | the right to run, and its end; what a durable one writes before that |
//! | `completing` | a completion on its way to the disk |
//! | `publish` | what becomes of it once its record is on disk |
//! | `looking`, `unfinished` | without claiming: one key; all that run or were interrupted |
//! | `settling` | ending a key from outside: forgetting, resolving |
//! | `waiting`, `seat` | for somebody else's run, and the place to do so |
//! | `request`, `execute` | what a caller can say of a request; closures and typed values |
//! | `stripe`, `quota` | locks over shares of the keys; counts against limits |
//! | `shared`, `lifecycle` | what all handles share; opening, reopening, closing |
//! | `stats` | numbers and guarantees |
//! | `archive` | sealed records, read only |
//! | `importing` | records from elsewhere (feature `cli`) |
//! | `transaction` | the caller's own write transaction, lent (feature `redb-transactions`) |

mod archive;
mod asking;
mod completing;
mod durable;
mod execute;
#[cfg(feature = "cli")]
mod importing;
mod lifecycle;
mod looking;
mod publish;
mod quota;
mod reading;
mod request;
mod reservation;
mod seat;
mod settling;
mod shared;
mod stats;
mod stripe;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
#[cfg(feature = "redb-transactions")]
mod transaction;
mod unfinished;
mod waiting;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use archive::Archive;
pub use completing::{Completed, Refused};
pub use execute::{Executed, Never, OperationError};
#[cfg(feature = "distributed")]
pub(crate) use execute::{read, written};
#[cfg(feature = "cli")]
pub(crate) use importing::Foreign;
pub use looking::Known;
#[cfg(feature = "distributed")]
pub(crate) use request::EXECUTE_WAIT;
pub use request::Request;
pub use reservation::Reservation;
pub use stats::{Guarantees, Home, Stats};
#[cfg(feature = "redb-transactions")]
pub use transaction::Transaction;
pub use unfinished::Unfinished;
pub use waiting::InFlight;

use crate::digest::{DigestRules, Parameters, Secret};
use crate::error::Result;
#[cfg(feature = "redb-transactions")]
use crate::ledger::{Database, Place};
use crate::options::Builder;
use crate::outcome::{Outcome, Replay};
use crate::sweep::Swept;
use crate::sync::block_on;
use crate::token::Key;
use lifecycle::Owner;
use shared::Shared;

/// An idempotency store. Clones are one store, cheap, and can be sent to any thread, not into a forked child: there
/// completing and forgetting answer *forked*. (`begin` does not ask the system whose process it is, since that costs a
/// fifth of it.) In a waker, which runs on a thread of the store's own, what waits for a commit, an end or a deadline is
/// refused: [`OwnThread`](crate::ErrorKind::OwnThread).
///
/// ```
/// use oncekey::{Answer, Key, Outcome, Parameters, Store};
///
/// let store = Store::in_memory()?;
/// let key = Key::new("account-1", "token-1")?;
/// let parameters = Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")]);
///
/// // The first request runs the operation.
/// let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("never seen") };
/// reservation.complete(Outcome::http(200, "created"))?;
///
/// // The retry gets the first answer, byte for byte.
/// let Answer::Replay(replay) = store.begin(&key, &parameters)? else { panic!("finished") };
/// assert_eq!(replay.outcome().body(), b"created");
///
/// // The same token with other parameters is a mismatch.
/// let other = Parameters::pairs([("MinSize", "2"), ("MaxSize", "3")]);
/// assert!(store.begin(&key, &other).unwrap_err().is_mismatch());
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

/// What `begin` answers (contract 3). Refusals are errors; these are not. Its guards are this store's, or those of a store over
/// an engine (feature `distributed`).
#[derive(Debug)]
#[must_use = "an answer says whether to run the operation"]
#[non_exhaustive]
pub enum Answer<R = Reservation, F = InFlight> {
    /// Nobody has run it, or nobody knows: run it and complete the reservation.
    Fresh(R),
    /// It was run: this is what it returned.
    Replay(Replay),
    /// Somebody runs it at this moment.
    InFlight(F),
}

impl Store {
    /// Opens the store in the directory at `path`, with sound defaults; makes one where there is none. The parent
    /// directory must be there. One process owns a store at a time, and its files belong to the user of that process: those
    /// of another one are not opened, *io*.
    ///
    /// # Errors
    /// *Locked*, *not a store*, *newer format*, *damaged store*, *segment missing*, *encrypted*, *clock jump*, *io* (contract
    /// 5.6, 7.2). Nothing was changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// A store in memory, for tests: the same code and the same answers, gone with its last handle.
    ///
    /// # Errors
    /// *Io*, where the system gives no randomness or no thread.
    pub fn in_memory() -> Result<Self> {
        Self::builder().open_in_memory()
    }

    /// All settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The key of `token` under `scope`, by this store's limits (contract 1).
    ///
    /// # Errors
    /// *Invalid token*, *invalid scope*, with the rule that was broken.
    pub fn key(&self, scope: impl AsRef<[u8]>, token: impl AsRef<[u8]>) -> Result<Key> {
        let options = &self.shared().options;
        Key::within(scope.as_ref(), token.as_ref(), options.scope_bytes_max, options.token_bytes_max)
    }

    /// Asks, without waiting: run it, here is the first answer, or somebody runs it (contract 3).
    ///
    /// # Errors
    /// *Mismatch*, *cannot compare*, *unknown outcome*, *damaged*; for a key that would run also *overloaded*, *full*,
    /// *stopped*, *closed*; and whatever is wrong with the parameters.
    pub fn begin(&self, key: &Key, parameters: &Parameters<'_>) -> Result<Answer> {
        self.request(key, parameters).begin()
    }

    /// A request about which more is to be said: waiting, lease, retention, when it was first sent.
    pub fn request<'a>(&'a self, key: &'a Key, parameters: &'a Parameters<'a>) -> Request<'a> {
        Request::new(self, key, parameters)
    }

    /// Runs `operation` once, keeps what it returns and gives it back; a retry gets the kept value. Waits up to 30
    /// seconds for somebody else's run. The lease is renewed while the operation runs.
    ///
    /// ```
    /// use oncekey::{Key, Never, Parameters, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let key = Key::new("account-1", "token-1")?;
    /// let parameters = Parameters::bytes(b"the request");
    /// let first = store.execute(&key, &parameters, |_| Ok::<_, Never>(41 + 1))?;
    /// let again = store.execute(&key, &parameters, |_| Ok::<u64, Never>(unreachable!()))?;
    /// assert_eq!((first.result, first.replayed), (Ok(42_u64), false));
    /// assert_eq!((again.result, again.replayed), (Ok(42), true));
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::begin`]; *in flight* after waiting; *unreadable outcome* where the kept value has another format;
    /// *not readable back* where the value can be written and not read; *without body* where it was too large to
    /// keep; and what [`Reservation::complete`] says.
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
    /// *Damaged*, *io*, *closed*.
    pub fn get(&self, key: &Key) -> Result<Known> {
        self.shared().get(key)
    }

    /// Removes a key's record, durably (contract 4.6), also that of an interrupted operation. Whether something was
    /// kept: a finished or interrupted operation.
    ///
    /// # Errors
    /// *In flight* for a live reservation, *unknown outcome*, *damaged*, *stopped*, *closed*.
    pub fn forget(&self, key: &Key) -> Result<bool> {
        self.shared().forget(key)
    }

    /// Settles an interrupted operation with what somebody found out that it returned, and waits until that is on
    /// disk (contract 4.6): from then on it is replayed, for the store's default retention. A retryable outcome says
    /// that a retry shall run it: the key is released, and attempt number and checkpoint survive.
    ///
    /// # Errors
    /// *Not interrupted*: there is nothing to resolve. *In flight*: it was resumed, or is being resolved. *Too large*,
    /// *full*, *unknown outcome*, *damaged*, *stopped*, *closed*.
    #[expect(clippy::needless_pass_by_value, reason = "as `Reservation::complete` takes it")]
    pub fn resolve(&self, key: &Key, outcome: Outcome) -> Result<Completed> {
        self.shared().check_may_wait()?;
        block_on(self.shared().hand_over_resolution(key, &outcome)?.wait())
    }

    /// [`Store::resolve`], for async callers. Once it was polled, dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub async fn resolve_async(&self, key: &Key, outcome: Outcome) -> Result<Completed> {
        self.shared().hand_over_resolution(key, &outcome)?.wait().await
    }

    /// All interrupted operations (contract 3.4), in the order in which they were written; memory for a few hundred
    /// at a time. What changes meanwhile may be missed or seen twice; what stays interrupted is seen.
    ///
    /// # Errors
    /// For one record *damaged* or *io*, and the rest is still listed; *stopped*, *closed*.
    pub fn interrupted(&self) -> impl Iterator<Item = Result<Unfinished>> + '_ {
        unfinished::interrupted(self.shared())
    }

    /// The live reservations that have run for at least `age`, whether durable or not; memory for one stripe's at a
    /// time.
    pub fn running(&self, age: Duration) -> impl Iterator<Item = Unfinished> + '_ {
        unfinished::running(self.shared(), age)
    }

    /// Syncs what `Relaxed` completions have not synced yet (contract 5.2).
    ///
    /// # Errors
    /// *Stopped*, *closed*.
    pub fn flush(&self) -> Result<()> {
        self.shared().check_open()?;
        self.shared().check_thread()?;
        self.shared().ledger()?.log().sync()
    }

    /// Removes what has expired and packs what is sparse, until there is nothing left to do. The background sweep
    /// does the same, once a second.
    ///
    /// # Errors
    /// *Stopped*, *closed*, *io*.
    pub fn sweep(&self) -> Result<Swept> {
        self.shared().check_open()?;
        self.shared().check_thread()?;
        self.shared().sweep(true)
    }

    /// The store's numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// What this store promises, in its home and with its settings.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        self.shared().guarantees()
    }

    /// Which names never enter a digest, as [`Builder::rules`] was told (contract 2.2).
    #[must_use]
    pub fn rules(&self) -> &DigestRules {
        &self.shared().options.rules
    }

    /// Copies the store into the directory `target`, which is empty or made, while it is open. The copy is a store.
    ///
    /// # Errors
    /// *Io*, *not a store* where the directory is not empty, *stopped*, *closed*; *wrong home* for a store in the caller's
    /// database, which is backed up with it.
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<()> {
        self.shared().backup(target.as_ref())
    }

    /// Binds new digests under another secret. Records of before stay comparable as long as the old one is at hand
    /// (`Builder::old_secret`, at the next opening).
    ///
    /// # Errors
    /// *Io*, *stopped*, *closed*.
    pub fn rotate_secret(&self, secret: &Secret) -> Result<()> {
        self.shared().rotate_secret(secret)
    }

    /// The operator decides to go on although a segment holds fingerprints that do not read (contract 5.9): keys
    /// without a record run again, and those among them that stood there may run twice.
    pub fn accept_damage(&self) {
        self.shared().blind.store(0, Ordering::Release);
    }

    /// Opens the store again, in place, after it has stopped (contract 5.5). Live reservations stay.
    ///
    /// # Errors
    /// As [`Store::open`]; the store then stays stopped and this can be called again.
    pub fn reopen(&self) -> Result<()> {
        self.shared().reopen()
    }

    /// Closes the store for all handles: new requests are told *closed*, live reservations may complete for up to
    /// `limit`, then the files are closed (contract 11).
    ///
    /// # Errors
    /// What syncing and closing the files says.
    pub fn close(self, limit: Duration) -> Result<()> {
        self.shared().check_thread()?;
        self.shared().check_may_wait()?;
        self.shared().wait_for_holders(limit);
        self.owner.shut()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl Builder {
    /// Opens the store in the directory at `path`; see [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`], and *invalid setting*.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::in_directory(self, path.as_ref())?) })
    }

    /// Makes a store in memory; see [`Store::in_memory`].
    ///
    /// # Errors
    /// As [`Store::in_memory`], and *invalid setting*.
    pub fn open_in_memory(self) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::in_memory(self)?) })
    }

    /// Opens the store in a table of the caller's own database, beside his tables; makes one where there is none
    /// (contract 6.1). The store then lends the database's write transaction: see [`Transaction`].
    ///
    /// Two stores can live in one database, each in its own table. The store writes only while nobody else does: a
    /// durable call waits until the caller's own write transactions have ended. So never make one on a thread that holds
    /// one: the store knows, and refuses, only for those that it lent itself.
    ///
    /// # Errors
    /// *Locked*, where that table is open already; *not a store*, *newer format*, *damaged store*, *clock jump*, *io*,
    /// *invalid setting*; *lent* on a thread that holds another store's transaction. Nothing was changed then.
    #[cfg(feature = "redb-transactions")]
    pub fn open_in(self, database: Arc<Database>, table: &str) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::in_database(self, Place::new(database, table))?) })
    }

    /// Opens the store on a disk of a test's own.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn open_on(self, disk: Arc<dyn crate::ledger::Disk>) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::on(self, disk)?) })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("home", &self.shared().home).finish_non_exhaustive()
    }
}
