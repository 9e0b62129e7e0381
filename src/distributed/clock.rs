//! The engine's time, as it was heard last and gone on since with the monotonic clock.
//!
//! Law: it never runs backwards, and every answer that tells a later time sets it (contract 7.2): so it lags by the way of an
//! answer at most. An engine's own judgement does not ask it. Hearing harms nobody: where the caller's clock panics, it was not
//! heard (contract 5.11).

use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Mutex, shielded};
use crate::time::{Clock, Now, Timestamp};

pub(super) struct EngineTime {
    clock: Arc<dyn Clock>,
    heard: Mutex<(Timestamp, Duration)>,
}

impl EngineTime {
    pub(super) fn new(clock: Arc<dyn Clock>, heard: Timestamp) -> Self {
        let tick = clock.monotonic();
        Self { clock, heard: Mutex::new((heard, tick)) }
    }

    pub(super) fn now(&self) -> Now {
        let tick = self.clock.monotonic();
        let (heard, since) = *self.heard.lock();
        Now { time: heard.saturating_add(tick.saturating_sub(since)), tick }
    }

    /// The engine has just said what time it is.
    pub(super) fn hear(&self, time: Timestamp) {
        let Some(now) = shielded(|| self.now()) else { return };
        if time > now.time {
            *self.heard.lock() = (time, now.tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn it_goes_on_by_itself_follows_what_is_later_and_never_runs_backwards_7_2() {
        let clock = ManualClock::default();
        let time = EngineTime::new(Arc::new(clock.clone()), Timestamp::from_millis(100));
        let shows = || time.now().time.as_millis();
        clock.advance(Duration::from_millis(5));
        assert_eq!(shows(), 105);
        time.hear(Timestamp::from_millis(90));
        assert_eq!(shows(), 105);
        time.hear(Timestamp::from_millis(200));
        clock.advance(Duration::from_millis(1));
        assert_eq!(shows(), 201);
    }
}
