//! A prefix in etcd, whose engines go by the clock of the test, as its process does.

use std::sync::Arc;
use std::time::Duration;

use oncekey::ManualClock;
use oncekey::distributed::{Engine, Etcd};
use oncekey_engines::etcd::Cluster;

use crate::home::Home;

/// A prefix of its own.
pub(crate) struct Prefix {
    cluster: Arc<Cluster>,
    name: String,
    clock: ManualClock,
}

impl Prefix {
    pub(crate) fn make(cluster: &Arc<Cluster>, clock: &ManualClock) -> Self {
        Self { cluster: Arc::clone(cluster), name: super::name(), clock: clock.clone() }
    }
}

impl Home for Prefix {
    fn engine(&self) -> Engine {
        let endpoints = self.cluster.endpoints();
        let engine = Etcd::at(endpoints.split(',')).expect("addresses");
        engine.prefix(&self.name).expect("a prefix").clock(self.clock.clone()).into()
    }

    /// Its clock is the process's.
    fn advance(&self, _: Duration) {}
}
