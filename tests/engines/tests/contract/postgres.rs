//! What every store holds to, over PostgreSQL.

#[path = "../../../contract/every/mod.rs"]
mod every;
#[path = "../../../contract/over/support.rs"]
mod support;

use oncekey::{Clock, ManualClock};
use oncekey_engines::postgres::Cluster;

use crate::home::Home;
use crate::homes::Schema;

/// How many requests of one thread are a flood.
pub(crate) const FLOOD: usize = 300;

fn engine(clock: &ManualClock) -> Box<dyn Home> {
    Box::new(Schema::make(&Cluster::shared(), false, clock.wall()))
}
