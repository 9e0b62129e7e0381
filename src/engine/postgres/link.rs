//! Connections: a pool, made when it is first asked.
//!
//! Law: whoever takes a connection gives it back by [`Link::settle`], which closes what a fault has touched; what is dropped
//! on the way is closed, since its caller's patience has ended. Statements are
//! prepared once for each connection. Nothing is sent in two messages that could be sent in one go: [`Link::prepare`] first, then
//! all together.
//!
//! What a session is told when it begins, and may refuse if it does not know it:
//!
//! | setting | why |
//! | --- | --- |
//! | READ COMMITTED | so that each statement sees what was there when it began, whatever the user's default is |
//! | indexes, nested loops | the planner's guess about a table that was empty a moment ago would have it read from end to end, for ever, since a plan is made once; by their keys is how all of it is to be read |
//! | no compilation | it takes longer than any of these statements |
//! | `lock_timeout` | what waits for a lock gives up before its answer is too late: then it is known that it did nothing |
//! | `client_connection_check_interval` | what was given up on this side ends on the other, and does not pile up there |

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::{Row, Statement};

use super::fault::{self, Wrong};
use super::settings::Settings;
use super::values::Arguments;
use crate::engine::Fault;
use crate::error::{ErrorKind, Result as Checked};

/// What a session is told, beside how long it may wait for a lock.
const SETTINGS: [&str; 6] = [
    "default_transaction_isolation = 'read committed'",
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "jit = off",
    "client_connection_check_interval = 1000",
];

/// A connection in use.
pub(super) struct Link {
    /// Taken by whoever gives it back.
    own: Option<Object>,
    pool: Pool,
    limit: Duration,
}

/// The pool of these settings. Nothing is connected yet.
pub(super) fn pool(settings: &Settings) -> Checked<Pool> {
    let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    // Two statements of one call may have to wait.
    let patience = format!("lock_timeout = {}", settings.answer_within.as_millis() / 2);
    let told: Arc<[String]> = SETTINGS.map(str::to_owned).into_iter().chain([patience]).collect();
    let tell = Hook::async_fn(move |client, _| {
        let told = Arc::clone(&told);
        Box::pin(async move {
            for setting in &*told {
                match client.batch_execute(&format!("SET {setting}")).await {
                    Err(error) if error.as_db_error().is_none() => return Err(HookError::Backend(error)),
                    _ => {}
                }
            }
            Ok(())
        })
    });
    Pool::builder(settings.manager(fast))
        .max_size(settings.connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.answer_within))
        .create_timeout(Some(settings.connect_within()))
        .recycle_timeout(Some(settings.answer_within))
        .post_create(tell)
        .build()
        .map_err(|_| ErrorKind::Io { operation: "making a pool", kind: std::io::ErrorKind::Other }.into())
}

impl Link {
    pub(super) async fn take(pool: &Pool, limit: Duration) -> Result<Self, Fault> {
        match pool.get().await {
            Ok(client) => Ok(Self { own: Some(client), pool: pool.clone(), limit }),
            Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
                Err(fault::connecting(&error))
            }
            Err(PoolError::Timeout(_)) => Err(Fault::Unreached(std::io::ErrorKind::TimedOut)),
            Err(_) => Err(Fault::Unreached(std::io::ErrorKind::NotConnected)),
        }
    }

    pub(super) fn client(&self) -> &Object {
        self.own.as_ref().expect("it is taken by what consumes it")
    }

    /// Statements that can then be sent together.
    pub(super) async fn prepare<const N: usize>(&self, texts: [&str; N]) -> Result<[Statement; N], Wrong> {
        let mut statements = Vec::with_capacity(N);
        for text in texts {
            statements.push(self.client().prepare_cached(text).await?);
        }
        Ok(statements.try_into().expect("there is one for each text"))
    }

    /// Sends one statement.
    pub(super) async fn ask(&self, text: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, Wrong> {
        let [statement] = self.prepare([text]).await?;
        Ok(self.client().query(&statement, arguments).await?)
    }

    /// What comes of a call, if it comes in time.
    pub(super) async fn wait<T>(&self, call: impl Future<Output = Result<T, Wrong>>) -> Result<T, Wrong> {
        tokio::time::timeout(self.limit, call).await.unwrap_or(Err(Wrong::Late))
    }

    /// Gives the connection back, or closes it, and all that lie idle beside it: what ended one of them seldom spares the
    /// others.
    pub(super) fn settle<T>(mut self, operation: &'static str, came: Result<T, Wrong>) -> Result<T, Fault> {
        let own = self.own.take();
        came.map_err(|wrong| {
            let (fault, usable) = fault::calling(operation, wrong);
            if !usable {
                drop(own.map(Object::take));
                self.pool.retain(|_, _| false);
            }
            fault
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Whoever gave up the call had waited long enough: this connection may never answer.
        drop(self.own.take().map(Object::take));
    }
}
