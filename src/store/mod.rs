//! The roof: the only place where the wings meet.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `asking` | from a key and parameters to one answer |
//! | `explaining` | mismatches that tell which parameters differ |
//! | `reservation` | the right to run, and its end |
//! | `waiting`, `seat` | for somebody else's run, and the place to do so |
//! | `request`, `execute` | what a caller can say of a request; closures and typed values |
//! | `stripe`, `quota` | locks over shares of the keys; counts against limits |
//! | `shared`, `lifecycle` | what all handles share; opening, reopening, closing |
//! | `stats` | numbers and guarantees |
//! | `archive` | sealed records, read only |

mod archive;
mod asking;
mod execute;
mod explaining;
mod lifecycle;
mod quota;
mod request;
mod reservation;
mod seat;
mod shared;
mod stats;
mod stripe;
#[cfg(test)]
mod tests;
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
pub use execute::{Executed, Never, OperationError};
pub use request::Request;
pub use reservation::{Completed, Refused, Reservation};
pub use stats::{Guarantees, Home, Stats};
pub use waiting::InFlight;

use crate::digest::{Parameters, Secret};
use crate::error::{ErrorKind, Result};
use crate::inflight::Phase;
use crate::ledger::{Catalogue, Entry};
use crate::options::Builder;
use crate::outcome::Replay;
use crate::record::{Forgotten, Location, Record};
use crate::sweep::Swept;
use crate::time::{Now, Timestamp};
use crate::token::Key;
use lifecycle::Owner;
use shared::Shared;

/// An idempotency store. Clones are one store, cheap, and can be sent to any thread.
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

/// What `begin` answers (contract 3). Refusals are errors; these are not.
#[derive(Debug)]
#[must_use = "an answer says whether to run the operation"]
#[non_exhaustive]
pub enum Answer {
    /// Nobody has run it, or nobody knows: run it and complete the reservation.
    Fresh(Reservation),
    /// It was run: this is what it returned.
    Replay(Replay),
    /// Somebody runs it at this moment.
    InFlight(InFlight),
}

/// What `get` knows of a key, without claiming it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known {
    /// Never seen, released or expired.
    Absent,
    /// Somebody runs it at this moment.
    InFlight {
        /// Since when.
        since: Timestamp,
        /// Which attempt, from 1.
        attempt: u32,
        /// What is left of its lease; `None` once its completion is being written.
        lease_left: Option<Duration>,
    },
    /// It was run.
    Finished(Replay),
    /// Its commit failed, and the store was not reopened yet (contract 3.9).
    Unknown,
}

impl Store {
    /// Opens the store in the directory at `path`, with sound defaults; makes one where there is none. The parent
    /// directory must be there. One process owns a store at a time.
    ///
    /// # Errors
    /// *Locked*, *not a store*, *newer format*, *damaged store*, *segment missing*, *clock jump*, *io* (contract 5.6,
    /// 7.2). Nothing was changed then.
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

    /// Removes a key's record, durably (contract 4.6). Whether something was kept.
    ///
    /// # Errors
    /// *In flight* for a live reservation, *unknown outcome*, *damaged*, *stopped*, *closed*.
    pub fn forget(&self, key: &Key) -> Result<bool> {
        self.shared().forget(key)
    }

    /// Syncs what `Relaxed` completions have not synced yet (contract 5.2).
    ///
    /// # Errors
    /// *Stopped*, *closed*.
    pub fn flush(&self) -> Result<()> {
        self.shared().check_open()?;
        let ledger = self.shared().ledger()?;
        ledger.sync(&mut ledger.log())
    }

    /// Removes what has expired and packs what is sparse, until there is nothing left to do. The background sweep
    /// does the same, once a second.
    ///
    /// # Errors
    /// *Stopped*, *closed*, *io*.
    pub fn sweep(&self) -> Result<Swept> {
        self.shared().check_open()?;
        self.shared().sweep()
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

    /// Copies the store into the directory `target`, which is empty or made, while it is open. The copy is a store.
    ///
    /// # Errors
    /// *Io*, *not a store* where the directory is not empty, *stopped*, *closed*.
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
        Ok(Store { owner: Arc::new(Owner::open(self, Some(path.as_ref()))?) })
    }

    /// Makes a store in memory; see [`Store::in_memory`].
    ///
    /// # Errors
    /// As [`Store::in_memory`], and *invalid setting*.
    pub fn open_in_memory(self) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::open(self, None)?) })
    }

    /// Opens the store on a disk of a test's own.
    #[cfg(test)]
    pub(crate) fn open_on(self, disk: Arc<dyn crate::ledger::Disk>) -> Result<Store> {
        Ok(Store { owner: Arc::new(Owner::on(self, disk)?) })
    }
}

/// What one look under the stripe's lock came to.
enum Look {
    Known(Known),
    /// Records may be there: read them, outside the lock.
    Places(Vec<Location>),
}

impl Shared {
    fn get(&self, key: &Key) -> Result<Known> {
        self.check_open()?;
        let now = self.chronometer.now();
        let hash = self.keys.fingerprint(key.as_framed());
        let mut empty = Vec::new();
        loop {
            match self.look_for(key, hash, now)? {
                Look::Known(known) => return Ok(known),
                // A sweep may have carried the record on between the look and the reading: then look again.
                Look::Places(places) if places == empty => return self.no_record(),
                Look::Places(places) => match self.read_kept(&places, key, now)? {
                    Some(replay) => return Ok(Known::Finished(replay)),
                    None => empty = places,
                },
            }
        }
    }

    fn look_for(&self, key: &Key, hash: u64, now: Now) -> Result<Look> {
        let mut stripe = self.stripes.lock(hash);
        if self.reopening.load(Ordering::Acquire) {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        }
        match stripe.slots.find(hash, key) {
            Some(slot) if slot.phase == Phase::Unknown => Ok(Look::Known(Known::Unknown)),
            Some(slot) => {
                let (since, attempt, lease_left) = (slot.since, slot.attempt, slot.lease_left(now));
                Ok(Look::Known(Known::InFlight { since, attempt, lease_left }))
            }
            None => Ok(Look::Places(stripe.index.find(self.stripes.fingerprint(hash)).collect())),
        }
    }

    /// The key's outcome, if it is kept at these places.
    fn read_kept(&self, places: &[Location], key: &Key, now: Now) -> Result<Option<Replay>> {
        self.with_engine(|engine| {
            let kept = |_, record: Record<'_>| (record.expires() > now.time).then(|| record.replay());
            match engine.ledger.newest(places, key.as_framed(), kept)? {
                None | Some(None) => Ok(None),
                Some(Some(Some(replay))) => Ok(Some(replay)),
                Some(Some(None)) => {
                    let segment = places.iter().find_map(|at| engine.ledger.segment_number(*at)).unwrap_or(0);
                    Err(ErrorKind::Damaged { segment }.into())
                }
            }
        })
    }

    /// There is no record of a key; where fingerprints do not read, nobody can say so (contract 5.9).
    fn no_record(&self) -> Result<Known> {
        match self.blind.load(Ordering::Acquire) {
            0 => Ok(Known::Absent),
            segment => Err(ErrorKind::Damaged { segment }.into()),
        }
    }

    fn forget(&self, key: &Key) -> Result<bool> {
        self.check_open()?;
        self.check_process()?;
        let now = self.chronometer.now();
        let hash = self.keys.fingerprint(key.as_framed());
        let ledger = self.ledger()?;
        let mut log = ledger.log();
        if let Some(slot) = self.stripes.lock(hash).slots.find(hash, key) {
            let (attempt, lease_left) = (slot.attempt, slot.lease_left(now));
            let unknown = slot.phase == Phase::Unknown;
            let kind =
                if unknown { ErrorKind::UnknownOutcome } else { ErrorKind::InFlight { attempt, lease_left } };
            return Err(kind.into());
        }
        ledger.check_running()?;
        let (mut notes, mut kept) = (Vec::new(), false);
        for target in self.stripes.find(hash) {
            let own = |record: Record<'_>| {
                let matching = record.key() == key.as_framed();
                matching.then(|| (record.expires() > now.time, record.weight(&self.keys)))
            };
            if let Some(Some((unexpired, weight))) = ledger.read(target, own)? {
                kept |= unexpired;
                notes.push(Forgotten { time: now.time, target, hash, weight });
            }
        }
        if notes.is_empty() {
            return self.no_record().map(|_| false);
        }
        let entries: Vec<Entry> = notes.iter().copied().map(Entry::forgotten).collect();
        ledger.append(&mut log, now.time, &entries, true)?;
        for note in &notes {
            self.stripes.remove(hash, note.target, note.weight);
        }
        Ok(kept)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("in_memory", &self.shared().in_memory).finish_non_exhaustive()
    }
}
