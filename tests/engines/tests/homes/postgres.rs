//! A schema of PostgreSQL whose function `clock()` was replaced by one that reads a table, so that the test moves the
//! engine's time.

use std::sync::Arc;
use std::time::Duration;

use oncekey::Timestamp;
use oncekey::distributed::{Engine, Postgres};
use oncekey_engines::postgres::Cluster;

use crate::home::Home;

/// A schema of its own, and its clock.
pub(crate) struct Schema {
    cluster: Arc<Cluster>,
    name: String,
    /// Its records lie in one plain table.
    is_plain: bool,
}

impl Schema {
    pub(crate) fn make(cluster: &Arc<Cluster>, is_plain: bool, start: Timestamp) -> Self {
        let own = Self { cluster: Arc::clone(cluster), name: super::name(), is_plain };
        // Makes the tables; then the clock is the test's.
        let first =
            oncekey::Store::builder().background_sweep(false).connect(own.engine()).expect("it connects");
        first.close(Duration::ZERO).expect("it closes");
        let (name, start) = (&own.name, start.as_millis());
        own.cluster.ask(&format!(
            "CREATE TABLE {name}.moved (ms bigint); INSERT INTO {name}.moved VALUES ({start});
             CREATE OR REPLACE FUNCTION {name}.clock() RETURNS bigint LANGUAGE sql
             AS 'SELECT ms FROM {name}.moved'"
        ));
        own
    }
}

impl Home for Schema {
    fn engine(&self) -> Engine {
        let engine = Postgres::at(&self.cluster.url()).expect("an address").schema(&self.name);
        if self.is_plain { engine.unpartitioned().into() } else { engine.into() }
    }

    fn advance(&self, by: Duration) {
        self.cluster.ask(&format!("UPDATE {}.moved SET ms = ms + {}", self.name, by.as_millis()));
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        self.cluster.ask(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name));
    }
}
