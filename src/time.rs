//! Time, by one door.
//!
//! Law: nothing outside this file asks the system for the time (contract 7.3). A [`Clock`] tells two things:
//! the wall clock, read once when a store opens, and a monotonic time that never runs backwards, which all
//! deadlines and leases follow. [`Chronometer`] joins the two so that the store's time never runs backwards,
//! within an epoch or across them (contract 7.2).
//!
//! A clock is the caller's code: it is never asked under a lock (contract 5.11).

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A moment: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest moment there is; a record that ends here never expires.
    pub const MAX: Self = Self(u64::MAX);

    /// `millis` milliseconds after 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds after 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment and `later`; at the end of time it stays there.
    #[must_use]
    pub fn saturating_add(self, later: Duration) -> Self {
        let millis = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where a store takes its time from. [`SystemClock`] by default; [`ManualClock`] in tests.
///
/// A clock that panics harms the call that asked it and nobody else (contract 5.11).
pub trait Clock: Send + Sync + 'static {
    /// The time of day. Asked when a store opens.
    fn wall(&self) -> Timestamp;

    /// The time since some fixed moment. Never runs backwards.
    fn monotonic(&self) -> Duration;

    /// Told once whom to wake when this clock jumps, so that deadlines are seen at once. A clock that only ever
    /// goes at the pace of real time has no need of it.
    fn on_jump(&self, _wake: Weak<dyn Fn() + Send + Sync>) {}
}

/// The computer's own clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The computer's clocks, the monotonic one counted from now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::default().saturating_add(since)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until a test moves it. Clones are one clock.
///
/// ```
/// use std::time::Duration;
/// use oncekey::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.wall(), Timestamp::from_millis(1_005));
/// assert_eq!(clock.monotonic(), Duration::from_millis(5));
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Default)]
struct ManualState {
    wall: Timestamp,
    monotonic: Duration,
    wakes: Vec<Weak<dyn Fn() + Send + Sync>>,
}

impl ManualClock {
    /// A clock whose wall shows `wall` and whose monotonic time is zero.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        let clock = Self::default();
        clock.set_wall(wall);
        clock
    }

    /// Lets `by` pass on both clocks and wakes whoever waits for a moment that has come.
    pub fn advance(&self, by: Duration) {
        let wakes = {
            let mut state = self.state.lock();
            state.wall = state.wall.saturating_add(by);
            state.monotonic = state.monotonic.saturating_add(by);
            state.wakes.retain(|wake| wake.strong_count() > 0);
            state.wakes.clone()
        };
        for wake in wakes.iter().filter_map(Weak::upgrade) {
            wake();
        }
    }

    /// Sets the wall clock alone, forwards or backwards, as an administrator would.
    pub fn set_wall(&self, wall: Timestamp) {
        self.state.lock().wall = wall;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        self.state.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn on_jump(&self, wake: Weak<dyn Fn() + Send + Sync>) {
        self.state.lock().wakes.push(wake);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("ManualClock")
            .field("wall", &state.wall)
            .field("monotonic", &state.monotonic)
            .finish_non_exhaustive()
    }
}

/// The store's time: starts at a given moment and goes on with the monotonic clock (contract 7.2).
#[derive(Clone)]
pub(crate) struct Chronometer {
    clock: Arc<dyn Clock>,
    start: Timestamp,
    origin: Duration,
}

/// One reading: the same instant as a moment (for records) and as monotonic time (for leases).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) time: Timestamp,
    pub(crate) tick: Duration,
}

impl Chronometer {
    pub(crate) fn starting_at(start: Timestamp, clock: Arc<dyn Clock>) -> Self {
        let origin = clock.monotonic();
        Self { clock, start, origin }
    }

    pub(crate) fn now(&self) -> Now {
        let tick = self.clock.monotonic();
        Now { time: self.start.saturating_add(tick.saturating_sub(self.origin)), tick }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chronometer_follows_the_monotonic_clock_and_not_the_wall_7_2() {
        let clock = ManualClock::at(Timestamp::from_millis(50));
        let chronometer = Chronometer::starting_at(Timestamp::from_millis(70), Arc::new(clock.clone()));
        clock.set_wall(Timestamp::from_millis(9));
        clock.advance(Duration::from_millis(3));
        assert_eq!(chronometer.now().time, Timestamp::from_millis(73));
    }

    #[test]
    fn a_retention_without_end_saturates_and_does_not_wrap_7_1() {
        assert_eq!(Timestamp::from_millis(1).saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(1).since(Timestamp::from_millis(2)), Duration::ZERO);
    }

    #[test]
    fn advancing_a_manual_clock_wakes_those_who_asked() {
        let woken = Arc::new(Mutex::new(0));
        let count = Arc::clone(&woken);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || *count.lock() += 1);
        let clock = ManualClock::default();
        clock.on_jump(Arc::downgrade(&wake));
        clock.advance(Duration::from_secs(1));
        drop(wake);
        clock.advance(Duration::from_secs(1));
        assert_eq!(*woken.lock(), 1);
    }
}
