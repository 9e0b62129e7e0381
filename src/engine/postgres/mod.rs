//! `PostgreSQL` as an engine.
//!
//! Law: one server decides, by its own clock and its rows' locks; nothing is remembered on this side but which partitions there
//! are. Every call is one or two trips, on a connection that nobody else has in the meantime; nothing that a call sends spans
//! a transaction, so that a lost connection leaves a call done or not done, each key for itself, and it can be sent again.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `settings` | what the engine is told, and the checks of it |
//! | `link` | connections |
//! | `fault` | what went wrong, in the words of the seam |
//! | `schema` | tables, and how they come about |
//! | `sql` | the statements |
//! | `values` | arguments and rows |
//! | `claiming` | claims; what there is of a key; why that is right under READ COMMITTED |
//! | `ending` | what becomes of claims |
//! | `partitions` | records by expiry |
//! | `store` | identity and epochs |
//! | `sweep` | pages, counts, the sweep |
//! | `told` | being told of ends |
//!
//! # What it was tried on
//! `PostgreSQL` 15, by the tests beside this file. The statements keep to what `CockroachDB` and `YugabyteDB` say that they
//! take (with `unpartitioned` and `without_notifications` on the former); neither was at hand, so none of it was
//! tried there. A pooler between the two has to keep prepared statements apart and is no place for notifications unless it
//! gives out sessions; it was not tried either.

mod claiming;
mod ending;
mod fault;
mod link;
mod partitions;
mod schema;
mod settings;
mod sql;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod told;
mod values;

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use deadpool_postgres::Pool;

use link::Link;
use schema::Layout;
use settings::Settings;
use sql::Sql;
use told::Listener;

use super::{
    At, Change, Claim, Claimed, Completion, Count, Engine, Fault, Forget, Page, Reply, Sight, Watch,
};
use crate::error::Result;
use crate::sync::Mutex;
use crate::time::Timestamp;
use crate::token::Key;

/// `PostgreSQL` as the engine of a store of many processes: version 14 or newer, and one primary that all of them reach.
///
/// The tables are in a schema of their own, made when a store first connects; for that the user needs the right to create
/// it, or to create in one that is there. The settings are checked when a store connects: those that are out of
/// bounds are [`ErrorKind::InvalidSetting`](crate::ErrorKind::InvalidSetting) then.
///
/// ```no_run
/// use oncekey::Store;
/// use oncekey::distributed::Postgres;
///
/// let servers = "host=db1,db2 user=app dbname=shop target_session_attrs=read-write";
/// let store = Store::builder().connect(Postgres::at(servers)?.connections(8))?;
/// # Ok::<(), oncekey::Error>(())
/// ```
///
/// # What it costs
/// A completion is durable when the server says so, by the setting `synchronous_commit` of the user or database: with `off` a crash
/// of the server loses the last moments, and what they completed may run again. After a failover to a standby that lagged, the
/// same. Each key that is looked up is looked up in every partition: let the retention be ten partitions or so.
pub struct Postgres {
    settings: Settings,
    /// Made at the first call, on the thread that makes it.
    house: OnceLock<House>,
    listener: Listener,
}

/// All that stands once the settings were found good.
struct House {
    pool: Pool,
    sql: Sql,
    limit: Duration,
    layout: OnceLock<Layout>,
    /// Buckets whose partitions are known to be there.
    partitions: Mutex<HashSet<i64>>,
}

impl Postgres {
    /// The server, or servers, of a connection string: `host=db1 user=app password=… dbname=shop`, or
    /// `postgres://app:…@db1/shop`. Of several (`host=db1,db2`) the first that answers is taken; with
    /// `target_session_attrs=read-write` the first that can write, so that a standby is found once it was promoted.
    ///
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`](crate::ErrorKind::InvalidSetting) where it is no such string, or names no host.
    pub fn at(config: &str) -> Result<Self> {
        let settings = Settings::of(config)?;
        Ok(Self { settings, house: OnceLock::new(), listener: Listener::default() })
    }

    /// The password of the user, for those who keep it apart from the rest.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.settings.password(password);
        self
    }

    /// The schema that all tables are in, and the channel of notifications: 1 to 40 lower-case letters, digits and underscores,
    /// with no digit first; by default `oncekey`. Stores in different schemas have nothing in common.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.settings.schema);
        self
    }

    /// Most connections at once: 1 to 1024, by default 4; the one that is told of ends comes on top.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Self {
        self.settings.connections = most;
        self
    }

    /// How much time's expiries share a partition: a second to 400 days, by default 6 hours. It counts where the schema is
    /// first made; from then on all follow what was chosen then. Expired records go with their partition, so they stay up
    /// to this much longer.
    #[must_use]
    pub fn partitions(mut self, width: Duration) -> Self {
        self.settings.width = Some(width);
        self
    }

    /// Keeps records in one plain table, from which the sweep deletes them one by one: for servers that have no partitions,
    /// such as `CockroachDB`. As with [`partitions`](Self::partitions), whoever makes the schema decides.
    #[must_use]
    pub fn unpartitioned(mut self) -> Self {
        self.settings.width = None;
        self
    }

    /// Uses no `LISTEN` and `NOTIFY`: for poolers that share sessions, and servers that have none. Those who wait for another
    /// process then learn of its end when they look again. All processes of a store should agree.
    #[must_use]
    pub fn without_notifications(mut self) -> Self {
        self.settings.notifications = false;
        self
    }

    /// How long an answer is waited for before the connection is given up: a tenth of a second to an hour, by default 3
    /// seconds: shorter than [`patience`](crate::Builder::patience), so that another one is tried in time. Sweeps and counts take what they take.
    #[must_use]
    pub fn answer_within(mut self, time: Duration) -> Self {
        self.settings.answer_within = time;
        self
    }

    /// Speaks TLS, by these settings, where the server offers it; with `sslmode=require` in the connection string, only so.
    #[cfg(feature = "postgres-tls")]
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.settings.tls = Some(tokio_postgres_rustls::MakeRustlsConnect::new(config));
        self
    }

    /// A completion as one text of SQL without arguments, for a transaction of the caller's: it gives one row where the claim
    /// was still held, none otherwise. Its partition is to be there already: [`prepare_partition`](Self::prepare_partition).
    /// From then until that transaction ends, nobody else gets further with this key.
    pub(crate) fn completion_sql(&self, completion: &Completion) -> String {
        let house =
            self.house().expect("who has something to complete has connected, so the settings are good");
        house.sql.completion(completion)
    }

    /// Makes the partition that a record of this expiry will lie in.
    ///
    /// # Errors
    /// Those of any call.
    pub(crate) async fn prepare_partition(&self, expires: Timestamp) -> Result<(), Fault> {
        self.house()?.prepare_partition(expires).await
    }

    fn house(&self) -> Result<&House, Fault> {
        if let Some(house) = self.house.get() {
            return Ok(house);
        }
        self.settings.check().map_err(Fault::Refused)?;
        let house = House {
            pool: link::pool(&self.settings).map_err(Fault::Refused)?,
            sql: Sql::of(&self.settings.schema, self.settings.notifications),
            limit: self.settings.answer_within,
            layout: OnceLock::new(),
            partitions: Mutex::default(),
        };
        Ok(self.house.get_or_init(|| house))
    }
}

impl House {
    async fn link(&self) -> Result<Link, Fault> {
        Link::take(&self.pool, self.limit).await
    }
}

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn identity(&self) -> Reply<'_, Option<Vec<u8>>> {
        Box::pin(async { self.house()?.identity(&self.settings).await })
    }

    fn replace_identity<'a>(&'a self, old: Option<&'a [u8]>, new: &'a [u8]) -> Reply<'a, bool> {
        Box::pin(async move { self.house()?.replace_identity(old, new).await })
    }

    fn begin_epoch<'a>(&'a self, node: Option<&'a str>) -> Reply<'a, At<u64>> {
        Box::pin(async move { self.house()?.begin_epoch(node).await })
    }

    fn end_epoch(&self, epoch: u64) -> Reply<'_, ()> {
        Box::pin(async move { self.house()?.end_epoch(epoch).await })
    }

    fn claim<'a>(&'a self, claims: &'a [Claim]) -> Reply<'a, At<Vec<Claimed>>> {
        Box::pin(async move { self.house()?.claim(claims).await })
    }

    fn complete<'a>(&'a self, completions: &'a [Completion]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move { self.house()?.complete(completions).await })
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move { self.house()?.change(changes).await })
    }

    fn release<'a>(&'a self, claims: &'a [(Key, u64)]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move { self.house()?.release(claims).await })
    }

    fn look_up<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, At<Vec<Sight>>> {
        Box::pin(async move { self.house()?.look_up(keys).await })
    }

    fn watch<'a>(&'a self, claims: &'a [Watch]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move { self.house()?.watch(claims).await })
    }

    fn told(&self) -> Reply<'_, u64> {
        Box::pin(async {
            self.settings.check().map_err(Fault::Refused)?;
            self.listener.next(&self.settings).await
        })
    }

    fn forget<'a>(&'a self, keys: &'a [Forget]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move { self.house()?.forget(keys).await })
    }

    fn page<'a>(&'a self, after: Option<&'a Key>, most: usize) -> Reply<'a, At<Page>> {
        Box::pin(async move { self.house()?.page(after, most).await })
    }

    fn sweep(&self, grace: Duration) -> Reply<'_, u64> {
        Box::pin(async move { self.house()?.sweep(grace).await })
    }

    fn count(&self) -> Reply<'_, Count> {
        Box::pin(async { self.house()?.count().await })
    }

    fn statement<'a>(&'a self, completion: &'a Completion) -> Reply<'a, Option<String>> {
        Box::pin(async move {
            self.prepare_partition(completion.expires).await?;
            Ok(Some(self.completion_sql(completion)))
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("schema", &self.settings.schema).finish_non_exhaustive()
    }
}
