//! Moving from an embedded store to an engine, while servers ask.
//!
//! Law: the old store is closed, is read and is not changed. The engine takes over its identity, so that digests which were
//! bound before are compared after. A record is moved as it stands, sealed anew for its place, and only to a key of which the
//! engine has nothing: under a claim, as if it had just been completed there. So servers, which carry over what they are asked
//! for, and the tool, which carries over all, can do so at the same time, be interrupted and begin again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

#[cfg(all(feature = "cli", feature = "postgres"))]
use super::Store;
use super::desk::Found;
use super::shared::Shared;
use crate::encryption::Keyring;
use crate::engine::{Change, Completion, Fault, Held, Standing};
#[cfg(all(feature = "cli", feature = "postgres"))]
use crate::engine::{Claim, Claimed};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Directory, Identity, Known, Survey, io_error};
use crate::record::{HashKeys, Kind, Record, Started};
#[cfg(all(feature = "cli", feature = "postgres"))]
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

/// A closed store that is moved from.
pub(crate) struct Old {
    survey: Survey,
    known: HashMap<u64, Vec<Known>>,
    keys: HashKeys,
}

/// A record on its way.
pub(crate) struct Carried {
    bytes: Arc<[u8]>,
    /// The claim that it is carried over under, which is also what stands for one that has not ended.
    started: Arc<[u8]>,
    expires: Timestamp,
    /// `None`: it is finished.
    unfinished: Option<Standing>,
}

impl Old {
    pub(crate) fn open(path: &Path, keyring: Keyring) -> Result<Self> {
        let disk = Directory::to_read(path).map_err(io_error("opening the directory"))?;
        let survey = Survey::open(&disk, keyring, false)?;
        if !survey.is_whole {
            return Err(ErrorKind::Locked.into());
        }
        if let Some(flaw) = survey.flaws.first() {
            return Err(ErrorKind::Damaged { segment: flaw.segment }.into());
        }
        let mut known = HashMap::<u64, Vec<Known>>::new();
        for own in survey.known(|_| true)? {
            known.entry(own.hint.hash).or_default().push(own);
        }
        let keys = HashKeys::derive(&survey.identity.seed);
        Ok(Self { survey, known, keys })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.survey.identity
    }

    /// What there is of a key that counts at this time.
    fn find(&self, key: &Key, now: Timestamp, shared: &Shared) -> Result<Option<Carried>> {
        let hash = self.keys.fingerprint(key.as_framed());
        for known in self.known.get(&hash).into_iter().flatten() {
            let own = |record: Record<'_>| {
                (record.key() == key.as_framed()).then(|| Carried::of(&record, now, shared)).flatten()
            };
            if let Some(carried) = self.survey.read(known, own)? {
                return Ok(Some(carried));
            }
        }
        Ok(None)
    }
}

impl Carried {
    /// A record as it is moved; `None` where it has expired, or is none of a key.
    fn of(record: &Record<'_>, now: Timestamp, shared: &Shared) -> Option<Self> {
        let unfinished = match record.kind() {
            Kind::Finished => None,
            Kind::Started => Some(Standing::Interrupted),
            Kind::Released => Some(Standing::Released),
            Kind::Forgotten | Kind::Control => return None,
        };
        if record.expires() <= now {
            return None;
        }
        let started = Started {
            key: record.key(),
            bound: record.bound(),
            since: record.since(),
            attempt: record.attempts(),
            format: record.format(),
            checkpoint: record.checkpoint().as_ref(),
            released_until: None,
        }
        .encode();
        let seal = |mut bytes: Vec<u8>| {
            shared.seal(&mut bytes);
            Arc::from(bytes)
        };
        let (bytes, started) = (seal(record.bytes().to_vec()), seal(started));
        Some(Self { bytes, started, expires: record.expires(), unfinished })
    }
}

impl Shared {
    /// What the store that is moved from has of a key that the engine had nothing of, carried over into the claim that was just
    /// granted for it.
    pub(super) async fn carry_over(&self, key: &Key, fence: u64) -> Result<Option<Found>, Fault> {
        let Some(old) = &self.old else { return Ok(None) };
        let now = self.time.now().time;
        let carried = match old.find(key, now, self) {
            Ok(Some(carried)) => carried,
            Ok(None) => return Ok(None),
            Err(error) => {
                drop(self.lanes.release(key.clone(), fence).await);
                return Err(Fault::Refused(error));
            }
        };
        let started = Arc::clone(&carried.started);
        let (record, standing) = (Arc::clone(&carried.bytes), carried.unfinished);
        self.put(key, fence, carried, now).await?;
        Ok(Some(match standing {
            None => Found::Record(record),
            Some(standing) => {
                Found::Held(Held { fence, standing, ended: false, left: std::time::Duration::MAX, started })
            }
        }))
    }

    /// Puts what is carried in the place of this claim.
    async fn put(&self, key: &Key, fence: u64, carried: Carried, now: Timestamp) -> Result<bool, Fault> {
        let (key, expires) = (key.clone(), carried.expires);
        match carried.unfinished {
            None => {
                let record = carried.bytes;
                self.lanes.complete(Completion { key, fence, expires, record }).await
            }
            Some(standing) => {
                let lease = (standing == Standing::Released).then(|| expires.since(now));
                let (standing, started) = (Some(standing), Some(carried.started));
                self.lanes.change(Change { key, fence, lease, standing, started }).await
            }
        }
    }

    #[cfg(all(feature = "cli", feature = "postgres"))]
    /// Carries one record over, where the engine has nothing of its key. Whether it did.
    async fn carry_in(self: Arc<Self>, key: Key, carried: Carried) -> Result<bool, Fault> {
        let fence = self.next_fence();
        let claim = Claim {
            key: key.clone(),
            fence,
            over: None,
            lease: self.options.lease,
            standing: Standing::Volatile,
            started: Arc::clone(&carried.started),
        };
        match self.lanes.claim(claim).await? {
            (now, Claimed::Granted) => {
                self.time.hear(now);
                self.put(&key, fence, carried, now).await
            }
            _ => Ok(false),
        }
    }
}

#[cfg(all(feature = "cli", feature = "postgres"))]
impl Store {
    /// A record as it is to be moved to this store's engine.
    pub(crate) fn carried(&self, record: &Record<'_>, now: Timestamp) -> Option<Carried> {
        Carried::of(record, now, self.shared())
    }

    /// Moves records to keys of which the engine has nothing. How many those were.
    pub(crate) fn move_in(&self, records: Vec<(Key, Carried)>) -> Result<u64> {
        let shared = Arc::clone(self.shared());
        let moved = self.shared().lanes.run(async move {
            let mut all = tokio::task::JoinSet::new();
            for (key, carried) in records {
                all.spawn(Arc::clone(&shared).carry_in(key, carried));
            }
            let mut moved = 0;
            while let Some(done) = all.join_next().await {
                let gone = |_| Fault::Unreached(std::io::ErrorKind::Interrupted);
                moved += u64::from(done.map_err(gone)??);
            }
            Ok(moved)
        });
        block_on(moved).map_err(|fault| self.shared().fault(fault))
    }

    /// Whether the engine has something of each of these keys.
    pub(crate) fn has_all(&self, keys: Vec<Key>) -> Result<bool> {
        let lanes = self.shared().lanes.clone();
        let seen = self.shared().lanes.run(async move {
            let mut all = tokio::task::JoinSet::new();
            for key in keys {
                let lanes = lanes.clone();
                all.spawn(async move { lanes.look_up(key).await });
            }
            let mut seen = true;
            while let Some(done) = all.join_next().await {
                let gone = |_| Fault::Unreached(std::io::ErrorKind::Interrupted);
                let (_, sight) = done.map_err(gone)??;
                seen &= sight.record.is_some() || sight.held.is_some();
            }
            Ok(seen)
        });
        block_on(seen).map_err(|fault| self.shared().fault(fault))
    }
}

/// The engine holds another store than the one that is moved from.
pub(super) fn another_store() -> Error {
    ErrorKind::NotAStore("the engine holds another store than the one that is moved from").into()
}
