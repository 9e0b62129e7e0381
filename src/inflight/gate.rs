//! Where those who wait for a key sleep.
//!
//! Law: a listener is made under the stripe's lock and awaited outside it, so no wake-up falls between. The end of
//! an operation is written once and wakes everybody in one sweep; whoever sees it takes no lock any more. A release calls
//! exactly one, the first who came, and if that one gives up first, its call passes on to the next (contract 3.7). All
//! deadlines of a gate are one alarm of the timer; when it rings, and when one is called, all are looked through. Wakers
//! are the caller's code: cloned, woken and dropped outside every lock of ours, each by itself, so that a panic of one
//! harms nobody else (contract 5.11).
//!
//! | sleeper | becomes |
//! | --- | --- |
//! | listening | gone, when all are woken; called, by a release; listening without a deadline, when that has come |
//! | called | gone, when it looks; gone, and the next one called, when it leaves first |

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::timer::{Alarm, Timer};
use crate::digest::Digest;
use crate::outcome::Replay;
use crate::sync::{Mutex, shielded};

/// One key's waiting room.
#[derive(Default)]
pub(crate) struct Gate {
    ended: OnceLock<Ended>,
    sleepers: Mutex<Sleepers>,
}

/// A finished operation, for those who waited.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) digest: Digest,
    pub(crate) replay: Replay,
}

/// Who sleeps here. In one piece of memory, so that all are taken at once by whoever wakes them.
#[derive(Default)]
struct Sleepers {
    places: Vec<Option<Sleeper>>,
    free: Vec<usize>,
    /// Rings at the first deadline, or before.
    alarm: Option<Alarm>,
    last: u64,
}

struct Sleeper {
    /// Rises in the order in which they came.
    number: u64,
    waker: Option<Waker>,
    deadline: Option<Duration>,
    called: bool,
}

/// A place at a gate. Whoever drops it leaves.
pub(crate) struct Listener {
    gate: Arc<Gate>,
    place: usize,
    number: u64,
}

impl Gate {
    /// Begins to listen. Call it under the stripe's lock.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        let mut listener = Listener { gate: Arc::clone(self), place: 0, number: 0 };
        listener.again();
        listener
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Whether it ended with an outcome: then its slot is gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended().is_some()
    }

    /// Says how it ended and wakes everybody.
    pub(crate) fn end(&self, ended: Ended) {
        let _ = self.ended.set(ended);
        self.wake_all();
    }

    /// Wakes everybody, to ask again.
    pub(crate) fn wake_all(&self) {
        let mut own = self.sleepers.lock();
        let last = own.last;
        let woken = std::mem::replace(&mut *own, Sleepers { last, ..Sleepers::default() });
        drop(own);
        woken.places.into_iter().flatten().for_each(|sleeper| wake(sleeper.waker));
    }

    /// Calls one more, to take the key over.
    pub(crate) fn wake_one(&self) {
        let waker = self.sleepers.lock().call();
        wake(waker);
    }
}

/// The alarm: wakes those whose deadline has come.
impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        let mut own = self.sleepers.lock();
        let Some(rung) = own.alarm.take() else { return };
        let mut woken = Vec::new();
        let mut first = None;
        for sleeper in own.places.iter_mut().flatten() {
            if sleeper.deadline.take_if(|at| *at <= rung.at()).is_some() {
                woken.push(sleeper.waker.take());
            }
            first = sleeper.deadline.into_iter().chain(first).min();
        }
        own.alarm = first.map(|at| rung.timer().wake_at(at, Waker::from(Arc::clone(&self))));
        drop(own);
        drop(rung);
        woken.into_iter().for_each(wake);
    }
}

impl Sleepers {
    fn insert(&mut self) -> (usize, u64) {
        self.last += 1;
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Sleeper { number: self.last, waker: None, deadline: None, called: false });
        (place, self.last)
    }

    /// The one of this number, if it was not woken with all others.
    fn get(&mut self, place: usize, number: u64) -> Option<&mut Sleeper> {
        self.places.get_mut(place)?.as_mut().filter(|own| own.number == number)
    }

    /// Removes a sleeper, with the alarm if it was the last. What comes back is dropped outside the lock.
    fn remove(&mut self, place: usize, number: u64) -> Option<(Sleeper, Option<Alarm>)> {
        self.get(place, number)?;
        let gone = self.places[place].take()?;
        self.free.push(place);
        let alarm = if self.free.len() == self.places.len() { self.alarm.take() } else { None };
        Some((gone, alarm))
    }

    /// Calls the first who is not called yet; gives its waker.
    fn call(&mut self) -> Option<Waker> {
        let uncalled = self.places.iter_mut().flatten().filter(|own| !own.called);
        let next = uncalled.min_by_key(|own| own.number)?;
        next.called = true;
        next.waker.take()
    }
}

impl Listener {
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Listens again, at the end of the line, if it was woken; one who was called meanwhile stays called.
    pub(crate) fn again(&mut self) {
        let mut own = self.gate.sleepers.lock();
        if !self.gate.is_finished() && own.get(self.place, self.number).is_none() {
            (self.place, self.number) = own.insert();
        }
    }

    /// Sleeps until it is woken, or the deadline has come.
    pub(crate) fn poll(&self, context: &mut Context<'_>, until: Option<(&Timer, Duration)>) -> Poll<()> {
        if self.gate.is_finished() || until.is_some_and(|(timer, deadline)| timer.has_come(deadline)) {
            return Poll::Ready(());
        }
        let waker = Some(context.waker().clone());
        let mut own = self.gate.sleepers.lock();
        let Some(sleeper) = own.get(self.place, self.number).filter(|sleeper| !sleeper.called) else {
            let gone = own.remove(self.place, self.number);
            drop(own);
            drop((gone, waker));
            return Poll::Ready(());
        };
        let before = std::mem::replace(&mut sleeper.waker, waker);
        sleeper.deadline = until.map(|(_, deadline)| deadline);
        let mut alarm = None;
        if let Some((timer, deadline)) = until
            && own.alarm.as_ref().is_none_or(|alarm| deadline < alarm.at())
        {
            alarm = own.alarm.replace(timer.wake_at(deadline, Waker::from(Arc::clone(&self.gate))));
        }
        drop(own);
        drop((before, alarm));
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.gate.is_finished() {
            return;
        }
        let mut own = self.gate.sleepers.lock();
        let gone = own.remove(self.place, self.number);
        let called = gone.as_ref().is_some_and(|(sleeper, _)| sleeper.called);
        let next = if called { own.call() } else { None };
        drop(own);
        drop(gone);
        wake(next);
    }
}

/// Wakes one who sleeps.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = shielded(|| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts its wake-ups; panics at each if it is told to.
    #[derive(Default)]
    struct Woken(AtomicUsize, bool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "a planned panic");
        }
    }

    fn poll(listener: &Listener, woken: &Arc<Woken>, until: Option<(&Timer, Duration)>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        listener.poll(&mut Context::from_waker(&waker), until).is_ready()
    }

    fn times(woken: &Arc<Woken>) -> usize {
        woken.0.load(Ordering::SeqCst)
    }

    #[test]
    fn everybody_is_woken_once_though_a_waker_panics_5_11() {
        let gate = Arc::<Gate>::default();
        let listeners: Vec<Listener> = (0..5).map(|_| gate.listen()).collect();
        let wakers: Vec<_> = (0..5).map(|at| Arc::new(Woken(AtomicUsize::new(0), at == 2))).collect();
        assert!(listeners.iter().zip(&wakers).all(|(own, woken)| !poll(own, woken, None)));
        gate.wake_all();
        gate.wake_all();
        assert!(wakers.iter().all(|woken| times(woken) == 1));
        assert!(listeners.iter().zip(&wakers).all(|(own, woken)| poll(own, woken, None)));
    }

    #[test]
    fn a_call_wakes_exactly_the_first_and_passes_on_if_that_one_leaves_3_7() {
        let gate = Arc::<Gate>::default();
        let (first, mut second, third) = (gate.listen(), gate.listen(), gate.listen());
        let wakers: [Arc<Woken>; 3] = Default::default();
        for (own, woken) in [&first, &second, &third].into_iter().zip(&wakers) {
            assert!(!poll(own, woken, None));
        }
        gate.wake_one();
        assert_eq!(wakers.each_ref().map(times), [1, 0, 0]);
        drop(first);
        assert_eq!(wakers.each_ref().map(times), [1, 1, 0]);
        second.again();
        assert!(poll(&second, &wakers[1], None), "it stays called");
        second.again();
        assert!(!poll(&second, &wakers[1], None), "once");
        drop(second);
        assert_eq!(wakers.each_ref().map(times), [1, 1, 0], "it had taken its call");
    }

    #[test]
    fn one_who_was_woken_is_never_taken_for_one_who_came_later_3_7() {
        let (gate, wakers): (_, [Arc<Woken>; 2]) = (Arc::<Gate>::default(), Default::default());
        let woken = gate.listen();
        gate.wake_all();
        let later = gate.listen();
        assert!(poll(&woken, &wakers[0], None), "though another one has its place now");
        assert!(!poll(&later, &wakers[1], None));
        drop(woken);
        gate.wake_one();
        assert_eq!(wakers.each_ref().map(times), [0, 1]);
    }

    #[test]
    fn the_alarm_goes_with_the_last_who_leaves_and_not_before_3_7() {
        let (gate, timer) = (Arc::<Gate>::default(), Timer::new(Arc::new(ManualClock::default())));
        let (one, other, woken) = (gate.listen(), gate.listen(), Arc::default());
        for own in [&one, &other] {
            assert!(!poll(own, &woken, Some((&timer, Duration::from_secs(9)))));
        }
        drop(one);
        assert_eq!(timer.entries(), 1);
        drop(other);
        assert_eq!(timer.entries(), 0);
    }

    #[test]
    fn an_end_is_seen_by_one_who_listens_later_and_leaves_no_alarm_behind() {
        let (gate, timer) = (Arc::<Gate>::default(), Timer::new(Arc::new(ManualClock::default())));
        let (own, woken) = (gate.listen(), Arc::default());
        assert!(!poll(&own, &woken, Some((&timer, Duration::from_secs(9)))));
        assert_eq!(timer.entries(), 1);
        gate.end(crate::inflight::recent::tests::ended(b"end"));
        assert_eq!((timer.entries(), times(&woken)), (0, 1));
        assert!(poll(&gate.listen(), &woken, None));
    }

    #[test]
    fn deadlines_are_one_alarm_and_wake_only_those_whose_time_has_come() {
        let clock = ManualClock::default();
        let (gate, timer) = (Arc::<Gate>::default(), Timer::new(Arc::new(clock.clone())));
        let own: Vec<Listener> = (0..3).map(|_| gate.listen()).collect();
        let wakers: [Arc<Woken>; 3] = Default::default();
        let until = |at: usize| Some((&timer, Duration::from_secs([20, 10, 30][at])));
        for at in 0..3 {
            assert!(!poll(&own[at], &wakers[at], until(at)));
            assert_eq!(timer.entries(), 1);
        }
        clock.advance(Duration::from_secs(10));
        while times(&wakers[1]) == 0 {
            std::thread::yield_now();
        }
        assert!(poll(&own[1], &wakers[1], until(1)) && !poll(&own[0], &wakers[0], until(0)));
        drop(own);
        assert_eq!((wakers.each_ref().map(times), timer.entries()), ([0, 1, 0], 0));
    }
}
