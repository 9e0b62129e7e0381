//! Calls of one thread, as they are made and answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oncekey::{
    Answer, Clock, Error, Key, Known, ManualClock, Outcome, Parameters, Replay, Reservation, Store,
};

use super::checker::{Began, Call, Forgot, NEVER, Seen, What};

pub(crate) const KEYS: usize = 3;
pub(crate) const LEASE: Duration = Duration::from_millis(30);

/// A small generator of our own, so that a seed repeats a run's choices.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % bound
    }
}

/// Makes calls for one thread, and records them.
pub(crate) struct Recorder<'a> {
    store: &'a Store,
    clock: &'a ManualClock,
    /// Counts invocations and answers of all threads.
    count: &'a AtomicU64,
    next: u64,
    held: Vec<(usize, u64, Reservation)>,
    pub(crate) calls: Vec<(usize, Call)>,
}

pub(crate) fn key(number: usize) -> Key {
    // Tokens are shared by scopes, so that an answer of another scope would show.
    Key::new(["scope", "other"][number % 2], format!("token-{}", number / 2)).expect("a valid key")
}

pub(crate) fn parameters(digest: u8) -> Parameters<'static> {
    Parameters::bytes(if digest == 0 { b"these" } else { b"others" })
}

pub(crate) fn number_of(replay: &Replay) -> u64 {
    u64::from_le_bytes(replay.outcome().body().try_into().expect("eight bytes"))
}

/// What a begin came to; the reservation apart.
pub(crate) fn began(answer: Result<Answer, Error>, held: u64) -> (Began, Option<Reservation>) {
    match answer {
        Ok(Answer::Fresh(own)) => {
            (Began::Fresh { held, attempt: own.attempt(), resumed: own.is_resumed() }, Some(own))
        }
        Ok(Answer::Replay(replay)) => (Began::Replay(number_of(&replay)), None),
        Ok(_) => (Began::InFlight, None),
        Err(error) if error.is_mismatch() => (Began::Mismatch, None),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn forgot(told: Result<bool, Error>) -> Forgot {
    match told {
        Ok(true) => Forgot::Kept,
        Ok(false) => Forgot::Nothing,
        Err(error) if error.is_in_flight() => Forgot::InFlight,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn seen(known: &Known) -> Seen {
    match known {
        Known::Absent => Seen::Absent,
        Known::Finished(replay) => Seen::Finished(number_of(replay)),
        Known::Interrupted { .. } => Seen::Interrupted,
        _ => Seen::InFlight,
    }
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(store: &'a Store, clock: &'a ManualClock, count: &'a AtomicU64, thread: u64) -> Self {
        let next = (thread + 1) << 32;
        Self { store, clock, count, next, held: Vec::new(), calls: Vec::new() }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn record<T>(&mut self, key: usize, call: impl FnOnce(&Store) -> (What, T)) -> T {
        let clock = |own: &ManualClock| u64::try_from(own.monotonic().as_nanos()).expect("short");
        let (before, made) = (clock(self.clock), self.count.fetch_add(1, Ordering::SeqCst));
        let (what, result) = call(self.store);
        let (answered, after) = (self.count.fetch_add(1, Ordering::SeqCst), clock(self.clock));
        self.calls.push((key, Call { made, answered, clock: (before, after), what }));
        result
    }

    /// Whatever comes to mind.
    pub(crate) fn call(&mut self, chance: &mut Chance) {
        let at = usize::try_from(chance.below(KEYS as u64)).expect("small");
        match chance.below(10) {
            0..=4 => self.begin(at, chance),
            5..=6 if !self.held.is_empty() => self.complete(),
            7 if !self.held.is_empty() => self.release(chance),
            8 => self.record(at, |store| (What::Forget(Some(forgot(store.forget(&key(at))))), ())),
            _ => self.record(at, |store| (What::Get(seen(&store.get(&key(at)).expect("it reads"))), ())),
        }
    }

    fn begin(&mut self, at: usize, chance: &mut Chance) {
        let number = self.number();
        let digest = u8::from(chance.below(8) == 0);
        // One who holds a key waits for none, or two might wait for each other while the clock stands still.
        let patience = if self.held.is_empty() { chance.below(3) * 10 } else { 0 };
        let durable = chance.below(4) == 0;
        let held = self.record(at, |store| {
            let (key, parameters) = (key(at), parameters(digest));
            let request = store.request(&key, &parameters).wait(Duration::from_millis(patience));
            let request = if durable { request.start_durably() } else { request };
            let (answer, held) = began(request.begin(), number);
            (What::Begin { digest, durable, waits: patience > 0, answer: Some(answer) }, held)
        });
        self.held.extend(held.map(|held| (at, number, held)));
    }

    fn complete(&mut self) {
        let (at, held, own) = self.held.remove(0);
        let outcome = self.number();
        self.record(at, |_| {
            let told = own.complete(Outcome::new(outcome.to_le_bytes()).finally());
            let kept = match told {
                Ok(_) => true,
                Err(refused) if refused.error.is_reservation_lost() => false,
                Err(refused) => panic!("{refused}"),
            };
            (What::Complete { held, outcome, kept: Some(kept) }, ())
        });
    }

    fn release(&mut self, chance: &mut Chance) {
        let (at, held, own) = self.held.remove(0);
        let durable = own.is_durable();
        self.record(at, |_| {
            let released = if chance.below(2) == 0 {
                drop(own);
                None
            } else {
                Some(own.release().is_ok())
            };
            (What::Release { held, released: released.filter(|_| !durable) }, ())
        });
        // A durable one is free once that is on disk, some time after the call.
        if let (true, Some((_, call))) = (durable, self.calls.last_mut()) {
            call.answered = NEVER;
        }
    }

    /// Ends what it still holds.
    pub(crate) fn let_go(&mut self) {
        while !self.held.is_empty() {
            self.release(&mut Chance(1));
        }
    }
}

/// After a closing and an opening, each key once more.
pub(crate) fn look_again(store: &Store, histories: &mut [Vec<Call>]) {
    for (at, history) in histories.iter_mut().enumerate() {
        let ends = history.iter().flat_map(|call| [call.made, call.answered]).filter(|at| *at < NEVER);
        let end = ends.max().unwrap_or(0) + 1;
        let call = |made: u64, what| Call { made, answered: made + 1, clock: (0, 0), what };
        history.push(call(end, What::Crash));
        history.push(call(end + 2, What::Get(seen(&store.get(&key(at)).expect("it reads")))));
    }
}
