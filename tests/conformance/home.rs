//! Where an engine of a test's own stands, whose time the test moves.

use std::time::Duration;

use oncekey::ManualClock;
use oncekey::distributed;

/// Where the engine stands.
pub(crate) trait Home: Send + Sync {
    fn engine(&self) -> distributed::Engine;
    /// Moves the engine's clock.
    fn advance(&self, by: Duration);
}

/// An engine in memory.
pub(crate) struct InMemory {
    engine: distributed::Memory,
}

impl InMemory {
    pub(crate) fn on(clock: &ManualClock) -> Self {
        Self { engine: distributed::Memory::on(clock.clone()) }
    }
}

impl Home for InMemory {
    fn engine(&self) -> distributed::Engine {
        self.engine.clone().into()
    }

    /// Its clock is the process's.
    fn advance(&self, _: Duration) {}
}
