//! Deadlines, on the store's clock: for leases and waiting, blocking and async alike, without a runtime.
//!
//! Law: one thread, started by the first deadline, asleep until the next one. The clock is the caller's code and
//! is asked outside the lock; a jump of it is counted under the lock, as the end is said, so that neither falls between
//! asking the clock and falling asleep. A task runs outside the lock, and its panic harms nobody else (contract 5.11).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::{Condvar, Held, Mutex, holds, shielded, spawn, wait_for};
use crate::time::Clock;

/// Asleep at most this long at a time, so that a clock that does not tell of its jumps is looked at again.
const NAP_MAX: Duration = Duration::from_secs(3600);

/// The shortest time between two renewals: a lease of a moment lapses.
const RENEWAL_MIN: Duration = Duration::from_millis(1);

/// How long after one renewal of a lease the next one comes: a third of it (contract 11).
pub(crate) fn between_renewals(lease: Duration) -> Duration {
    (lease / 3).max(RENEWAL_MIN)
}

/// A task that tells when it wants to run again.
type Task = Box<dyn FnMut() -> Option<Duration> + Send>;

enum Due {
    Wake(Waker),
    Run(Task),
}

/// The deadlines of one store. Clones are one timer.
#[derive(Clone)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
    /// Ends the thread when the last handle goes.
    _end: Arc<End>,
    _jump: Arc<dyn Fn() + Send + Sync>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    due: BTreeMap<(Duration, u64), Due>,
    next_id: u64,
    jumps: u64,
    started: bool,
    ended: bool,
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Timer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared { clock, state: Mutex::new(State::default()), changed: Condvar::new() });
        let jumped = Arc::downgrade(&shared);
        let jump: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            if let Some(shared) = jumped.upgrade() {
                shared.state.lock().jumps += 1;
                shared.changed.notify_all();
            }
        });
        shared.clock.on_jump(Arc::downgrade(&jump));
        Self { _end: Arc::new(End(Arc::clone(&shared))), shared, _jump: jump }
    }

    /// Ready when the monotonic clock shows `deadline`.
    pub(crate) fn sleep_until(&self, deadline: Duration) -> Sleep {
        Sleep { timer: self.clone(), deadline, alarm: None }
    }

    /// Whether the monotonic clock shows `deadline`.
    pub(crate) fn has_come(&self, deadline: Duration) -> bool {
        deadline <= self.shared.clock.monotonic()
    }

    /// Whether this is its thread, which can't wait for a deadline.
    pub(crate) fn is_here(&self) -> bool {
        holds(Arc::as_ptr(&self.shared))
    }

    /// Wakes at `at`, unless the alarm is dropped before.
    pub(crate) fn wake_at(&self, at: Duration, waker: Waker) -> Alarm {
        Alarm { timer: self.clone(), at, id: self.enter(at, Due::Wake(waker)) }
    }

    /// Runs `task` at `at`, unless the alarm is dropped before, and again whenever it says, until it says `None`.
    pub(crate) fn run_at(
        &self,
        at: Duration,
        task: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> Alarm {
        Alarm { timer: self.clone(), at, id: self.enter(at, Due::Run(Box::new(task))) }
    }

    fn enter(&self, at: Duration, due: Due) -> u64 {
        let mut state = self.shared.state.lock();
        if !state.started {
            let shared = Arc::clone(&self.shared);
            let run = move || {
                let _held = Held::here(Arc::as_ptr(&shared));
                shared.run();
            };
            state.started = spawn("oncekey-timer", run).is_ok();
        }
        state.next_id += 1;
        let id = state.next_id;
        let first = state.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
        state.due.insert((at, id), due);
        drop(state);
        if first {
            self.shared.changed.notify_all();
        }
        id
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let jumps = state.jumps;
            drop(state);
            let now = shielded(|| self.clock.monotonic());
            state = self.state.lock();
            if state.jumps != jumps || state.ended {
                continue;
            }
            let now = now.unwrap_or(Duration::ZERO);
            match state.due.first_key_value().map(|((at, id), _)| (*at, *id)) {
                Some((at, id)) if at <= now => {
                    let due = state.due.remove(&(at, id));
                    drop(state);
                    let again = shielded(|| due.and_then(Due::happen)).flatten();
                    state = self.state.lock();
                    if let Some((at, task)) = again {
                        state.due.insert((at, id), Due::Run(task));
                    }
                }
                Some((at, _)) => wait_for(&self.changed, &mut state, at.saturating_sub(now).min(NAP_MAX)),
                None => wait_for(&self.changed, &mut state, NAP_MAX),
            }
        }
    }
}

impl Due {
    fn happen(self) -> Option<(Duration, Task)> {
        match self {
            Self::Wake(waker) => {
                waker.wake();
                None
            }
            Self::Run(mut task) => task().map(|at| (at, task)),
        }
    }
}

/// See [`Timer::wake_at`] and [`Timer::run_at`].
pub(crate) struct Alarm {
    timer: Timer,
    at: Duration,
    id: u64,
}

impl Alarm {
    pub(crate) fn at(&self) -> Duration {
        self.at
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.timer
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let due = self.timer.shared.state.lock().due.remove(&(self.at, self.id));
        // A waker is dropped outside the lock.
        drop(due);
    }
}

/// See [`Timer::sleep_until`].
pub(crate) struct Sleep {
    timer: Timer,
    deadline: Duration,
    alarm: Option<Alarm>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.has_come(self.deadline) {
            return Poll::Ready(());
        }
        self.alarm = Some(self.timer.wake_at(self.deadline, context.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::block_on;
    use crate::time::{ManualClock, SystemClock};

    impl Timer {
        /// How many deadlines there are.
        pub(crate) fn entries(&self) -> usize {
            self.shared.state.lock().due.len()
        }
    }

    #[test]
    fn a_sleeper_on_a_manual_clock_wakes_when_the_clock_is_moved() {
        let clock = ManualClock::default();
        let timer = Timer::new(Arc::new(clock.clone()));
        let sleep = timer.sleep_until(Duration::from_secs(10));
        let sleeper = std::thread::spawn(move || block_on(sleep));
        while timer.shared.state.lock().due.is_empty() {
            std::thread::yield_now();
        }
        clock.advance(Duration::from_secs(9));
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.join().unwrap();
    }

    #[test]
    fn a_task_runs_until_it_has_enough_and_a_panic_of_another_harms_nobody_5_11() {
        let timer = Timer::new(Arc::new(SystemClock::new()));
        let (tell, told) = crate::sync::unbounded();
        let _panicking = timer.run_at(Duration::ZERO, || panic!("a planned panic"));
        let mut left = 3;
        let _task = timer.run_at(Duration::from_millis(1), move || {
            left -= 1;
            let _ = tell.send(left);
            (left > 0).then_some(Duration::from_millis(2))
        });
        assert_eq!([told.recv(), told.recv(), told.recv()], [Ok(2), Ok(1), Ok(0)]);
    }

    #[test]
    fn an_earlier_deadline_wakes_it_while_it_sleeps_until_a_later_one() {
        let clock = SystemClock::new();
        let timer = Timer::new(Arc::new(clock));
        let _far = timer.run_at(Duration::MAX, || None);
        for _ in 0..100 {
            let (tell, told) = crate::sync::unbounded();
            let _alarm = timer.run_at(clock.monotonic() + Duration::from_millis(1), move || {
                let _ = tell.send(());
                None
            });
            assert_eq!(told.recv(), Ok(()));
        }
    }

    #[test]
    fn two_of_one_moment_are_two() {
        let timer = Timer::new(Arc::new(ManualClock::default()));
        let alarms = [1, 1].map(|at| timer.wake_at(Duration::from_secs(at), Waker::noop().clone()));
        assert_eq!(timer.entries(), 2);
        let [one, other] = alarms;
        drop(one);
        assert_eq!(timer.entries(), 1);
        drop(other);
        assert_eq!(timer.entries(), 0);
    }

    #[test]
    fn the_thread_ends_with_the_last_handle_though_that_goes_while_the_clock_is_asked() {
        /// Drops what it holds when it is asked.
        #[derive(Clone, Default)]
        struct Drops(Arc<Mutex<Option<Timer>>>);
        impl Clock for Drops {
            fn wall(&self) -> crate::time::Timestamp {
                crate::time::Timestamp::default()
            }
            fn monotonic(&self) -> Duration {
                drop(self.0.lock().take());
                Duration::ZERO
            }
        }
        let clock = Drops::default();
        let timer = Timer::new(Arc::new(clock.clone()));
        let shared = Arc::downgrade(&timer.shared);
        *clock.0.lock() = Some(timer.clone());
        drop(timer.run_at(Duration::MAX, || None));
        drop(timer);
        let waited = SystemClock::new();
        while shared.strong_count() > 0 {
            assert!(waited.monotonic() < Duration::from_secs(20), "it sleeps on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_dropped_sleeper_leaves_nothing_behind() {
        let timer = Timer::new(Arc::new(ManualClock::default()));
        let mut sleep = Box::pin(timer.sleep_until(Duration::from_secs(1)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        drop(sleep);
        assert!(timer.shared.state.lock().due.is_empty());
    }
}
