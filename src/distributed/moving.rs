//! Moving from an embedded store to an engine, while servers ask.
//!
//! Law: the old store is closed, is read and is not changed. The engine takes over its identity, so that digests which were
//! bound before are compared after. A record is moved as it stands, sealed anew for its place, and only to a key of which the
//! engine has nothing: under a claim, as if it had just been completed there. A claim for carrying is attempt 0, so that one
//! whose process died is known as such, and carried on from. So servers, which carry over what they are asked for before they
//! ask, and the tool, which carries over all, can do so at the same time, be interrupted and begin again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(all(feature = "cli", feature = "postgres"))]
use super::Store;
use super::desk::{Found, Turn};
use super::shared::Shared;
use crate::encryption::Keyring;
use crate::engine::{Change, Claim, Claimed, Completion, Fault, Held, Standing};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Directory, Identity, Known, Survey, io_error};
use crate::outcome::Checkpoint;
use crate::record::{HashKeys, Kind, Record, Started};
#[cfg(all(feature = "cli", feature = "postgres"))]
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

/// How long one record may take on its way; then another goes on with it.
const CARRYING: Duration = Duration::from_secs(5);
/// How soon one looks again for what another carries.
const PAUSE: Duration = Duration::from_millis(10);
/// What was interrupted never expires: it is forgotten for as long as no move takes.
const MOVE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A closed store that is moved from.
pub(crate) struct Old {
    survey: Survey,
    known: HashMap<u64, Vec<Known>>,
    keys: HashKeys,
}

/// A record on its way.
#[derive(Clone)]
pub(crate) struct Carried {
    /// The claim that it is carried over under.
    pub(super) claim: Arc<[u8]>,
    /// The record, sealed.
    bytes: Arc<[u8]>,
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
        let seal = |mut bytes: Vec<u8>| {
            shared.seal(&mut bytes);
            Arc::from(bytes)
        };
        let started = |attempt, checkpoint: Option<&Checkpoint>| {
            Started {
                key: record.key(),
                bound: record.bound(),
                since: record.since(),
                attempt,
                format: record.format(),
                checkpoint,
                released_until: None,
            }
            .encode()
        };
        let bytes = match unfinished {
            Some(_) => started(record.attempts(), record.checkpoint().as_ref()),
            None => record.bytes().to_vec(),
        };
        let (claim, bytes) = (seal(started(0, None)), seal(bytes));
        Some(Self { claim, bytes, expires: record.expires(), unfinished })
    }

    /// What stands in its place where it was forgotten: a release that leaves nothing.
    fn forgotten(self, now: Timestamp) -> Self {
        let bytes = Arc::clone(&self.claim);
        let expires = self.expires.min(now.saturating_add(MOVE_MAX));
        Self { bytes, expires, unfinished: Some(Standing::Released), ..self }
    }
}

impl Shared {
    /// What the store that is moved from has of this key.
    pub(super) fn old_of(&self, key: &Key) -> Result<Option<Carried>> {
        self.old.as_ref().map_or(Ok(None), |old| old.find(key, self.time.now().time, self))
    }

    /// What is to be carried in its place where it is forgotten.
    pub(super) fn forgotten_of(&self, key: &Key) -> Result<Option<Carried>> {
        Ok(self.old_of(key)?.map(|carried| carried.forgotten(self.time.now().time)))
    }

    /// Before the engine is asked for a key: carries over what the store that is moved from has of it, within this turn.
    pub(super) async fn carry_over(
        self: &Arc<Self>,
        key: &Key,
        carried: Carried,
        turn: Option<Turn>,
    ) -> Result<()> {
        let (own, key) = (Arc::clone(self), key.clone());
        // On the engine's thread, so that who gives up leaves nothing half done.
        let moved = self.lanes.run(async move {
            let _turn = turn;
            own.carry_in(key, carried).await
        });
        moved.await.map(drop).map_err(|fault| self.fault(fault))
    }

    /// Carries one record over, where the engine has nothing of its key. Whether it did.
    pub(super) async fn carry_in(self: Arc<Self>, key: Key, carried: Carried) -> Result<bool, Fault> {
        let mut over = None;
        loop {
            let fence = self.next_fence().map_err(Fault::Refused)?;
            let (started, standing) = (Arc::clone(&carried.claim), Standing::Volatile);
            let claim = Claim { key: key.clone(), fence, over, lease: CARRYING, standing, started };
            let (now, claimed) = self.lanes.claim(claim).await?;
            match claimed {
                Claimed::Granted if self.put(&key, fence, carried.clone(), now).await? => return Ok(true),
                Claimed::Held(held) if self.is_carrying(&key, &held) => {
                    over = held.is_free().then_some(held.fence);
                    if over.is_none() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                // Granted, it took so long that another carries by now.
                Claimed::Granted | Claimed::Gone => over = None,
                Claimed::Held(_) | Claimed::Finished(_) => return Ok(false),
            }
        }
    }

    /// The claim under which a record is on its way from the store that is moved from, if that was found: it is carried on, and
    /// not run.
    pub(super) fn carrying<'a>(&self, key: &Key, found: &'a Found) -> Option<&'a Held> {
        match found {
            Found::Held(held) if self.old.is_some() && self.is_carrying(key, held) => Some(held),
            _ => None,
        }
    }

    /// Whether somebody carries over, or died of it.
    fn is_carrying(&self, key: &Key, held: &Held) -> bool {
        held.standing == Standing::Volatile
            && self.started(key, &held.started).is_ok_and(|own| own.attempts() == 0)
    }

    /// Puts what is carried in the place of this claim. Whether it was still there.
    async fn put(&self, key: &Key, fence: u64, carried: Carried, now: Timestamp) -> Result<bool, Fault> {
        let (key, expires) = (key.clone(), carried.expires);
        match carried.unfinished {
            None => {
                let record = carried.bytes;
                self.lanes.complete(Completion { key, fence, expires, record }).await
            }
            Some(standing) => {
                let lease = (standing == Standing::Released).then(|| expires.since(now));
                let (standing, started) = (Some(standing), Some(carried.bytes));
                self.lanes.change(Change { key, fence, lease, standing, started }).await
            }
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
