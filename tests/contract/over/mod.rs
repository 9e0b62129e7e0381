//! What every store holds to, over an engine in memory; over real ones: `tests/engines`.

#[expect(clippy::duplicate_mod, reason = "the same tests, of another store")]
#[path = "../every/mod.rs"]
mod every;
mod support;

use oncekey::ManualClock;

use crate::home::{Home, InMemory};

/// How many requests of one thread are a flood.
pub(crate) const FLOOD: usize = 20_000;

fn engine(clock: &ManualClock) -> Box<dyn Home> {
    Box::new(InMemory::on(clock))
}
