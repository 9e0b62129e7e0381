//! What every store holds to, over etcd.

#[expect(clippy::duplicate_mod, reason = "the same tests, of another store")]
#[path = "../../../contract/every/mod.rs"]
mod every;
#[expect(clippy::duplicate_mod, reason = "the same words, of another store")]
#[path = "../../../contract/over/support.rs"]
mod support;

use oncekey::ManualClock;
use oncekey_engines::etcd::Cluster;

use crate::home::Home;
use crate::homes::Prefix;

/// How many requests of one thread are a flood.
pub(crate) const FLOOD: usize = 300;

fn engine(clock: &ManualClock) -> Box<dyn Home> {
    Box::new(Prefix::make(&Cluster::shared(), clock))
}
