//! etcd as an engine: a few small keys, compared and put at one moment; watched instead of polled; removed by etcd itself.
//!
//! Law: all that etcd decides, it decides in one of its transactions on what its members have agreed upon; nothing is read
//! from a member that may be behind. etcd has no clock to ask, so two kinds of time are kept apart:
//!
//! - *Leases* never depend on clocks that agree. Each engine measures a lease itself, on its monotonic clock, from when it
//!   first saw it (whoever made or renewed it saw it first): see `notes`. So a lease ends for nobody before its time. For
//!   others than its holder it ends later, by as long as they had not looked; to a store that was just opened all leases
//!   are new. Whoever sweeps has looked at all. A lease of nothing has lapsed at once.
//! - *Records* expire, and released claims are forgotten, by the time of day: on each engine's clock, which is that of its
//!   computer where it started, and goes on monotonically. Computers that differ by a minute differ about a retention
//!   by a minute. This is what clocks have to be kept in step for, and all.
//!
//! An epoch ends when it is ended, or the same node begins another. A process that died without a node's name leaves
//! claims that others take over when they have watched them for their lease. [`Etcd::dead_after`] frees them sooner, at
//! a price: see there, and `epochs`.
//!
//! What it costs: a claim and a completion each one request for up to 120 keys; a claim in another's way, and a change,
//! two; a take-over three. etcd keeps what was deleted until it is compacted, and its quota is 2 GiB: let it compact
//! (`--auto-compaction-retention`). It refuses requests over 1.5 MiB, so that is the largest record.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `layout` | keys and values, byte by byte, and what is asked of them |
//! | `claims` | the verbs of a key |
//! | `scan` | pages, numbers, the sweep |
//! | `epochs` | which have ended; signs of life |
//! | `notes` | when leases were first seen |
//! | `buckets` | how records go |
//! | `watches` | telling the end of claims |
//! | `bundle` | many keys in one request |
//! | `link`, `fault`, `wire` | the way there, what its refusals mean, its messages |

mod buckets;
mod bundle;
mod claims;
mod epochs;
mod fault;
mod layout;
mod link;
mod notes;
mod scan;
#[cfg(test)]
mod tests;
mod watches;
mod wire;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;

use self::buckets::Buckets;
use self::bundle::{OPERATIONS_MIN, bundle};
use self::epochs::Epochs;
use self::layout::{Layout, Stood, absent, get, is, put};
use self::link::{Link, Settings, User};
use self::notes::Notes;
use self::watches::Watches;
use self::wire::Txn;
use super::{
    At, Change, Claim, Claimed, Completion, Count, Engine, FENCE_BITS, Fault, Forget, Held, Page, Reply,
    Sight, Standing, Watch,
};
use crate::error::{ErrorKind, Result};
use crate::time::{Chronometer, Clock, Now, SystemClock};
use crate::token::Key;

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(3);
/// etcd's own defaults: `--max-txn-ops`, `--max-request-bytes`.
const OPERATIONS_MAX: usize = 128;
const REQUEST_BYTES_MAX: usize = 3 << 19;
/// No less, so that the limits of a store are not etcd's.
const REQUEST_BYTES_MIN: usize = 4 << 10;
/// What a certificate begins with.
#[cfg(feature = "etcd-tls")]
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// The shortest silence that is taken for death: etcd itself may be without a leader for a second or two.
const DEAD_AFTER_MIN: Duration = Duration::from_secs(5);

/// etcd, version 3.4 or later, as the engine of a store with many processes.
///
/// ```no_run
/// use oncekey::Store;
/// use oncekey::distributed::Etcd;
///
/// let engine = Etcd::at(["http://10.0.0.1:2379", "http://10.0.0.2:2379"])?.prefix("payments")?;
/// let store = Store::builder().connect(engine)?;
/// # Ok::<(), oncekey::Error>(())
/// ```
///
/// Nothing is sent before something is asked. Requests go to one of the members, and to the next where that one fails.
///
/// What to know before: the clocks of all processes have to be kept in step (to the minute, say), since a record's
/// retention is judged by each on its own; leases do not depend on them. A claim whose process died is free once
/// somebody has watched it for its lease; at once where its node starts again. A record has to fit in one request, 1.5
/// MiB unless etcd was told otherwise. etcd has to compact what was deleted (`--auto-compaction-retention`).
pub struct Etcd {
    link: Arc<Link>,
    layout: Layout,
    time: Chronometer,
    dead_after: Option<Duration>,
    buckets: Buckets,
    epochs: Epochs,
    notes: Notes,
    watches: Watches,
}

/// Something in etcd, and the revision it was changed in last.
struct Found<T> {
    modified: i64,
    own: T,
}

impl Etcd {
    /// etcd at these addresses: `http://host:port`, or `host:port`; with the feature `etcd-tls` also `https://host:port`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where there is none, or one is no address.
    pub fn at(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let endpoint = |(at, text): (usize, String)| {
            let text = if text.contains("://") { text } else { format!("http://{text}") };
            let known =
                text.starts_with("http://") || cfg!(feature = "etcd-tls") && text.starts_with("https://");
            let endpoint = Endpoint::from_shared(text).ok().filter(|own| known && own.uri().host().is_some());
            endpoint.ok_or_else(|| {
                let rule =
                    "the place of an address such as http://host:2379 (https with the feature `etcd-tls`)";
                ErrorKind::InvalidSetting { setting: "endpoints", measured: at as u64, rule }.into()
            })
        };
        let endpoints = endpoints.into_iter().map(Into::into).enumerate();
        let endpoints = endpoints.map(endpoint).collect::<Result<Vec<_>>>()?;
        if endpoints.is_empty() {
            let rule = "at least one";
            return Err(ErrorKind::InvalidSetting { setting: "endpoints", measured: 0, rule }.into());
        }
        let settings = Settings {
            endpoints,
            encrypted: false,
            user: None,
            deadline: DEADLINE,
            request_bytes_max: REQUEST_BYTES_MAX,
            operations_max: OPERATIONS_MAX,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Ok(Self {
            link: Arc::new(Link::new(settings)),
            layout: Layout::below("oncekey".to_owned())?,
            time: Chronometer::starting_at(clock.wall(), clock),
            dead_after: None,
            buckets: Buckets::of(buckets::STEP),
            epochs: Epochs::default(),
            notes: Notes::default(),
            watches: Watches::default(),
        })
    }

    /// What all keys of the store begin with, before a slash: the store's name. `oncekey` unless it is given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where it is not 1 to 64 letters, digits, `.`, `_` and `-` of ASCII.
    pub fn prefix(self, name: impl Into<String>) -> Result<Self> {
        Ok(Self { layout: Layout::below(name.into())?, ..self })
    }

    /// Asks as this user of etcd. It needs the rights to read and write all keys below the prefix.
    #[must_use]
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        let user = User { name: name.into(), password: password.into() };
        self.with(|settings| settings.user = Some(user))
    }

    /// How long an answer is waited for: 3 seconds unless it is given; shorter than the store's
    /// [`patience`](crate::Builder::patience), within which what was sent and not answered, and may have happened, is sent again.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|settings| settings.deadline = deadline)
    }

    /// Operations in one request, as etcd's own `--max-txn-ops` allows: 128 unless it is given; 16 at the least.
    #[must_use]
    pub fn operations_max(self, operations: usize) -> Self {
        self.with(|settings| settings.operations_max = operations.max(OPERATIONS_MIN))
    }

    /// Bytes of one request, as etcd's own `--max-request-bytes` allows: 1.5 MiB unless it is given; 4 KiB at the least.
    #[must_use]
    pub fn request_bytes_max(self, bytes: usize) -> Self {
        self.with(|settings| settings.request_bytes_max = bytes.max(REQUEST_BYTES_MIN))
    }

    /// Records that expire within the same step of time go together, up to two steps after the first of them has expired:
    /// 90 minutes unless it is given; a second at the least. Clocks of processes may differ by a step before one removes
    /// what is unexpired to another.
    #[must_use]
    pub fn expiry_step(self, step: Duration) -> Self {
        Self { buckets: Buckets::of(step), ..self }
    }

    /// Frees the claims of a process that gave no sign of life for so long (5 seconds at the least), before their leases
    /// lapse.
    ///
    /// Not unless it is asked for, since a process that is cut off from etcd and runs on can't be told from one that died:
    /// its operations are then run by others beside it, though their leases hold (contract 4.4 promises the whole lease).
    /// Two *completions* there can't be, here as anywhere. A process that was held for dead and comes back has its
    /// store stopped ([`ErrorKind::Stopped`]) and has to reopen it.
    #[must_use]
    pub fn dead_after(self, silence: Duration) -> Self {
        Self { dead_after: Some(silence.max(DEAD_AFTER_MIN)), ..self }
    }

    /// Another clock than the computer's; for tests.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { time: Chronometer::starting_at(clock.wall(), Arc::new(clock)), ..self }
    }

    /// Trusts members that this authority's certificate vouches for (PEM), and shows them the certificate with its key, where
    /// they ask for one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] where that is no PEM.
    #[cfg(feature = "etcd-tls")]
    pub fn tls(self, authority: impl AsRef<[u8]>, own: Option<(&[u8], &[u8])>) -> Result<Self> {
        use tonic::transport::{Certificate, ClientTlsConfig, Identity};
        let authority = authority.as_ref();
        let rule = "certificates and a key in PEM (it is measured in bytes of the authority's)";
        let invalid = || ErrorKind::InvalidSetting { setting: "tls", measured: authority.len() as u64, rule };
        if !authority.windows(PEM.len()).any(|own| own == PEM) {
            return Err(invalid().into());
        }
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        if let Some((certificate, key)) = own {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let mut settings = self.link.settings.clone();
        for endpoint in &mut settings.endpoints {
            *endpoint = endpoint.clone().tls_config(tls.clone()).map_err(|_| invalid())?;
        }
        settings.encrypted = true;
        Ok(Self { link: Arc::new(Link::new(settings)), ..self })
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.link.settings.clone();
        change(&mut settings);
        Self { link: Arc::new(Link::new(settings)), ..self }
    }

    /// Which of the epochs of these fences have ended.
    async fn ended(&self, fences: impl IntoIterator<Item = u64>) -> Result<HashSet<u64>, Fault> {
        let of: Vec<u64> = fences.into_iter().map(|fence| fence >> FENCE_BITS).collect();
        Ok(self.epochs.ended(&self.link, &self.layout, of).await?)
    }

    /// A claim, as it stands for this engine.
    fn held(&self, key: &Key, own: &Stood, ended: &HashSet<u64>, now: Now) -> Held {
        let left = match own.standing {
            Standing::Released => own.until.since(now.time),
            _ => own.lease.saturating_sub(self.age(key, own, now)),
        };
        let ended = ended.contains(&(own.fence >> FENCE_BITS));
        Held { fence: own.fence, standing: own.standing, ended, left, started: Arc::clone(&own.started) }
    }

    /// How long its lease has been known here.
    fn age(&self, key: &Key, own: &Stood, now: Now) -> Duration {
        self.notes.age(key, (own.fence, own.stamp), now.tick)
    }

    async fn read_identity(&self) -> Result<Option<Vec<u8>>, Fault> {
        let reading = Txn { success: vec![get(&self.layout.identity())], ..Txn::default() };
        let part = bundle(&self.link, vec![reading]).await?.pop().ok_or_else(fault::garbled)?;
        Ok(part.found(0)?.map(|own| own.value.clone()))
    }

    async fn put_identity(&self, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Fault> {
        let identity = self.layout.identity();
        let compare = vec![old.map_or_else(|| absent(&identity), |old| is(&identity, old))];
        let putting = Txn { compare, success: vec![put(identity, new.to_vec(), 0)], ..Txn::default() };
        Ok(bundle(&self.link, vec![putting]).await?.iter().all(|own| own.succeeded))
    }
}

impl Engine for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn identity(&self) -> Reply<'_, Option<Vec<u8>>> {
        Box::pin(self.read_identity())
    }

    fn replace_identity<'a>(&'a self, old: Option<&'a [u8]>, new: &'a [u8]) -> Reply<'a, bool> {
        Box::pin(self.put_identity(old, new))
    }

    fn begin_epoch<'a>(&'a self, node: Option<&'a str>) -> Reply<'a, At<u64>> {
        Box::pin(async move {
            let epoch = self.epochs.begin(&self.link, &self.layout, node, self.dead_after).await?;
            Ok(At { now: self.time.now().time, answer: epoch })
        })
    }

    fn end_epoch(&self, epoch: u64) -> Reply<'_, ()> {
        Box::pin(async move { Ok(self.epochs.end(&self.link, &self.layout, epoch).await?) })
    }

    fn claim<'a>(&'a self, claims: &'a [Claim]) -> Reply<'a, At<Vec<Claimed>>> {
        Box::pin(self.claimed(claims))
    }

    fn complete<'a>(&'a self, completions: &'a [Completion]) -> Reply<'a, Vec<bool>> {
        Box::pin(self.completed(completions))
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Reply<'a, Vec<bool>> {
        Box::pin(self.changed(changes))
    }

    fn release<'a>(&'a self, claims: &'a [(Key, u64)]) -> Reply<'a, Vec<bool>> {
        Box::pin(self.released(claims))
    }

    fn look_up<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, At<Vec<Sight>>> {
        Box::pin(self.sights(keys))
    }

    fn watch<'a>(&'a self, claims: &'a [Watch]) -> Reply<'a, Vec<bool>> {
        Box::pin(self.watched(claims))
    }

    fn told(&self) -> Reply<'_, u64> {
        Box::pin(async move { Ok(self.watches.told().await) })
    }

    fn forget<'a>(&'a self, keys: &'a [Forget]) -> Reply<'a, Vec<bool>> {
        Box::pin(self.forgotten(keys))
    }

    fn page<'a>(&'a self, after: Option<&'a Key>, most: usize) -> Reply<'a, At<Page>> {
        Box::pin(self.paged(after, most))
    }

    fn sweep(&self, grace: Duration) -> Reply<'_, u64> {
        Box::pin(self.swept(grace))
    }

    fn count(&self) -> Reply<'_, Count> {
        Box::pin(self.counted())
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("endpoints", &self.link.settings.endpoints.len()).finish_non_exhaustive()
    }
}
