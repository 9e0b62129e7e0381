//! East wing beyond one machine: engines that are distributed already, behind one seam.
//!
//! Law: the verbs are few and take many keys at once; each is safe to be sent again, since whatever is written names a
//! fence that nobody else has. An engine decides one thing alone, atomically and on its own clock: who holds a key. What a
//! record says, and what anybody is answered for it, is judged above ([`crate::verdict`]), from the same bytes as on a
//! disk. A write whose answer was lost is [`Fault::Unheard`] and never taken for one that failed.
//!
//! | of a key an engine has | from | to |
//! | --- | --- | --- |
//! | nothing | | a claim |
//! | a claim, running | `claim` | kept, by `complete`; gone, by `release`; released or interrupted, by `change`; another's, by a claim `over` it once its lease has lapsed or its epoch has ended |
//! | a claim, interrupted | `change`, where its holder panicked; or the end of its epoch, where it is durable | another's, by a claim `over` it; kept; forgotten |
//! | a claim, released | `change` | another's, by a claim `over` it; gone, when its time is over |
//! | a record | `complete`, which ends the claim in the same moment | gone, when it has expired; forgotten |
//!
//! A volatile claim whose epoch has ended counts as nothing, or as the released one that it was made over. At one moment a key has a claim or an unexpired record, never
//! both.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `lanes` | the batcher: whatever queued while the last round trip ran goes into the next |
//! | `memory` | an engine in memory, for tests; it can be told to fail |
//! | `postgres` | PostgreSQL (feature `postgres`) |
//! | `etcd` | etcd (feature `etcd`) |

#[cfg(feature = "etcd")]
pub(crate) mod etcd;
mod lanes;
mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
pub(crate) use lanes::{Lanes, Patience, unpanicked};
pub use memory::Memory;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;

use crate::error::{Error, ErrorKind};
use crate::time::Timestamp;
use crate::token::Key;

/// Bits of a fence that count within an epoch; the epoch stands above them. What engines keep is positive in 64 bits.
pub(crate) const FENCE_BITS: u32 = 36;

/// An answer of an engine, on its way.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Why an engine did not answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It was not reached: nothing has happened.
    Unreached(io::ErrorKind),
    /// It may have happened or not: the connection went between sending and the answer.
    Unheard(io::ErrorKind),
    /// It was in another's way, and nothing has happened: to be sent again at once.
    Conflict,
    /// It was understood and refused.
    Refused(Error),
}

/// What is asked to be claimed.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) key: Key,
    pub(crate) fence: u64,
    /// The claim that it takes the place of, if that one still stands and nobody holds it any more.
    pub(crate) over: Option<u64>,
    pub(crate) lease: Duration,
    pub(crate) standing: Standing,
    /// A started record, sealed.
    pub(crate) started: Arc<[u8]>,
}

/// What a claim came to.
#[derive(Clone, Debug)]
pub(crate) enum Claimed {
    /// The key is the asker's.
    Granted,
    /// It has a record, which has not expired.
    Finished(Arc<[u8]>),
    /// It has this claim.
    Held(Held),
    /// It had a claim that has just gone: to be asked again.
    Gone,
}

/// How a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It runs, and is nothing once its epoch has ended.
    Volatile,
    /// The same, over one that was released and is remembered: that is kept with it, and comes back.
    Over,
    Durable,
    Interrupted,
    Released,
}

impl Standing {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Over => 0,
            Self::Volatile => 1,
            Self::Durable => 2,
            Self::Interrupted => 3,
            Self::Released => 4,
        }
    }

    pub(crate) fn of(code: i16) -> Option<Self> {
        [Self::Over, Self::Volatile, Self::Durable, Self::Interrupted, Self::Released]
            .into_iter()
            .find(|own| own.code() == code)
    }

    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Over | Self::Volatile | Self::Durable)
    }

    /// Whether there is something to settle of a claim that nobody holds: of the others nothing is known, or remembered only.
    pub(crate) fn is_unfinished(self) -> bool {
        matches!(self, Self::Durable | Self::Interrupted)
    }
}

/// A claim that an engine has.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) fence: u64,
    pub(crate) standing: Standing,
    /// The epoch that it was made in has ended.
    pub(crate) ended: bool,
    /// What is left of its lease, or until a released one is forgotten; zero: it has lapsed.
    pub(crate) left: Duration,
    /// A started record, sealed.
    pub(crate) started: Arc<[u8]>,
}

impl Held {
    /// The epoch that it was made in.
    pub(crate) fn epoch(&self) -> u64 {
        self.fence >> FENCE_BITS
    }

    /// Whether nobody holds it any more.
    pub(crate) fn is_free(&self) -> bool {
        !self.standing.is_running() || self.ended || self.left.is_zero()
    }
}

/// The end of a claim, with a record.
#[derive(Clone)]
pub(crate) struct Completion {
    pub(crate) key: Key,
    pub(crate) fence: u64,
    pub(crate) expires: Timestamp,
    /// A finished record, sealed.
    pub(crate) record: Arc<[u8]>,
}

/// What becomes of a claim that goes on, or of one that is released and remembered.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) fence: u64,
    /// It ends so long from now; `None`: when it did.
    pub(crate) lease: Option<Duration>,
    pub(crate) standing: Option<Standing>,
    pub(crate) started: Option<Arc<[u8]>>,
}

/// Whose end is to be told, and by which mark: the same for all who watch the key, and nothing that leads back to it.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) key: Key,
    pub(crate) fence: u64,
    pub(crate) mark: u64,
}

/// All that an engine has of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// A record that has not expired.
    pub(crate) record: Option<Arc<[u8]>>,
    pub(crate) held: Option<Held>,
}

/// What an engine is to have no more: a claim that nobody holds, if it is this one still, and records.
#[derive(Clone)]
pub(crate) struct Forget {
    pub(crate) key: Key,
    pub(crate) over: Option<u64>,
}

/// An answer, and the engine's time when it was given.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) now: Timestamp,
    pub(crate) answer: T,
}

/// Claims in the order of their keys.
pub(crate) type Page = Vec<(Key, Held)>;

/// What an engine has, of all processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Operations that run.
    pub live_reservations: u64,
    /// Records, of durable operations that run, were interrupted or were released too; expired ones until they are swept.
    pub kept_records: u64,
}

/// What an engine has to do. Lists are sorted by key and name none twice; answers come in their order.
pub(crate) trait Engine: Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What belongs to the store and not to a key; made ready to keep records, if it never was.
    fn identity(&self) -> Reply<'_, Option<Vec<u8>>>;

    /// Replaces it, if it still is what it was. Whether it was.
    fn replace_identity<'a>(&'a self, old: Option<&'a [u8]>, new: &'a [u8]) -> Reply<'a, bool>;

    /// A new epoch, higher than all before; those of the same node have ended from now on.
    fn begin_epoch<'a>(&'a self, node: Option<&'a str>) -> Reply<'a, At<u64>>;

    /// Nobody holds what was claimed in it any more.
    fn end_epoch(&self, epoch: u64) -> Reply<'_, ()>;

    /// Claims keys, each if it has neither record nor claim, or has the claim that is named and nobody holds that.
    fn claim<'a>(&'a self, claims: &'a [Claim]) -> Reply<'a, At<Vec<Claimed>>>;

    /// Ends claims, each with a record, where it still has that fence. Whether it had, or has that very record already.
    fn complete<'a>(&'a self, completions: &'a [Completion]) -> Reply<'a, Vec<bool>>;

    /// Changes claims that run, where they still have that fence. Whether they had.
    fn change<'a>(&'a self, changes: &'a [Change]) -> Reply<'a, Vec<bool>>;

    /// Ends claims without a record, where they run and still have that fence. Whether they had.
    fn release<'a>(&'a self, claims: &'a [(Key, u64)]) -> Reply<'a, Vec<bool>>;

    /// What there is of keys.
    fn look_up<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, At<Vec<Sight>>>;

    /// Have the end of these claims told, where they run and still have that fence. Whether they had.
    fn watch<'a>(&'a self, claims: &'a [Watch]) -> Reply<'a, Vec<bool>>;

    /// The mark of the next watched claim that has ended, or given way to another, whoever watched it. An engine that tells none
    /// never answers; then those who wait look again from time to time, as they do in any case.
    fn told(&self) -> Reply<'_, u64>;

    /// Forgets. Whether there was a record that had not expired, or something [unfinished](Standing::is_unfinished).
    fn forget<'a>(&'a self, keys: &'a [Forget]) -> Reply<'a, Vec<bool>>;

    /// The claims behind `after`, at most so many.
    fn page<'a>(&'a self, after: Option<&'a Key>, most: usize) -> Reply<'a, At<Page>>;

    /// Removes what has expired; volatile claims that lapsed longer ago than `grace`, too. How many records and claims.
    fn sweep(&self, grace: Duration) -> Reply<'_, u64>;

    /// How many claims and records there are.
    fn count(&self) -> Reply<'_, Count>;

    /// A completion as one text of SQL for a transaction of the caller's own: it gives one row where the claim still has that
    /// fence, and none otherwise. `None`: it has no such transactions.
    fn statement<'a>(&'a self, _completion: &'a Completion) -> Reply<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}

impl Fault {
    /// What a caller is told.
    pub(crate) fn into_error(self, engine: &'static str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Unreached(kind) | Self::Unheard(kind) => ErrorKind::Unreachable { engine, kind }.into(),
            Self::Conflict => ErrorKind::Unreachable { engine, kind: io::ErrorKind::ResourceBusy }.into(),
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", &self.key)
            .field("fence", &self.fence)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// What is sent to an engine for one key, together with others of its kind.
pub(crate) trait Keyed: Clone + Send + 'static {
    fn key(&self) -> &Key;
}

macro_rules! keyed {
    ($($kind:ty => $key:expr;)*) => {
        $(impl Keyed for $kind {
            fn key(&self) -> &Key {
                let of: fn(&$kind) -> &Key = $key;
                of(self)
            }
        })*
    };
}

keyed! {
    Claim => |own| &own.key;
    Completion => |own| &own.key;
    Change => |own| &own.key;
    Forget => |own| &own.key;
    Watch => |own| &own.key;
    (Key, u64) => |own| &own.0;
    Key => |own| own;
}
