//! Goal: whatever callers, clock and disk do, nothing acknowledged is lost, no key is completed twice, no answer is that of
//! another key or digest, and nobody waits for ever. Method: a seed chooses which features take part (so that the
//! generator has no fixed shape), and then what simulated callers do, one step after another: they hang, forget
//! what they hold, come back after the lease, retry with other parameters, wait and give up, while the clock jumps
//! and the disk fails. Writer and timer run under the explorer, so that one seed is one run, to the last step.
//!
//! `ONCEKEY_SIMULATIONS=n`; `ONCEKEY_SEED=n ONCEKEY_SIMULATIONS=1` runs one seed again.

use std::future::Future;
use std::io::ErrorKind as IoKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::world::{SECOND, START, World, advance, check_settled, world_of};
use crate::digest::Parameters;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Chance, Failure};
use crate::outcome::Outcome;
use crate::store::{Answer, Known, Reservation, Store};
use crate::time::Clock;
use crate::token::Key;

const KEYS: usize = 4;
const LEASE: Duration = Duration::from_secs(10);
const RETENTION: Duration = Duration::from_secs(40);
/// Turns that everybody is given to come to rest.
const TURNS: usize = 200;

/// What a seed lets happen; each with a chance of one half.
#[derive(Clone, Copy)]
enum Feature {
    Waiting,
    GivingUp,
    WrongParameters,
    Hanging,
    Forgetting,
    Durable,
    Relaxed,
    Failing,
    Reopening,
    Sweeping,
    Jumps,
    Retryable,
}

/// A reservation, as its holder knows it.
struct Held {
    own: Reservation,
    digest: u8,
    lease_end: Duration,
    number: u64,
}

/// An outcome that was handed over.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    number: u64,
    digest: u8,
    /// Its end, by the clock.
    until: Duration,
}

/// What callers together know of a key.
#[derive(Default)]
struct OneKey {
    held: Vec<Held>,
    /// The last reservation that was given, with its parameters and its lease's end, while nobody ended it.
    current: Option<(u64, u8, Duration)>,
    /// Acknowledged, and not forgotten.
    kept: Option<Kept>,
    /// Handed over; nobody knows whether they are on disk.
    doubts: Vec<Kept>,
    /// Parameters that may be in force by a start on disk, or by a promise to those who wait.
    digests: Vec<u8>,
    waiters: Vec<Waiter>,
}

struct Waiter {
    future: Pin<Box<dyn Future<Output = Result<Answer>> + Send>>,
    woken: Arc<Woken>,
    digest: u8,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Simulation {
    world: World,
    keys: Vec<OneKey>,
    /// Held by nobody who ever comes back.
    hung: Vec<Reservation>,
    features: u64,
    chance: Chance,
    numbers: u64,
    /// The disk failed since the store was last opened.
    stopped: bool,
}

fn key(at: usize) -> Key {
    Key::new(["scope", "other"][at % 2], ["token", "TOKEN"][at / 2]).unwrap()
}

fn parameters(digest: u8) -> Parameters<'static> {
    Parameters::bytes([b"these", b"those"][usize::from(digest)])
}

fn body(at: usize, digest: u8, number: u64) -> Vec<u8> {
    format!("{at} {digest} {number}").into_bytes()
}

pub(crate) fn simulate(seed: u64) {
    let mut chance = Chance(seed);
    let features = chance.next();
    let (stripes, recent) = (1 << (6 * (features >> 40 & 1)), (features >> 41 & 1) << 20);
    let world =
        world_of(|own| own.lease(LEASE).retention(RETENTION).stripes(stripes).recent_bytes_max(recent));
    let keys = (0..KEYS).map(|_| OneKey::default()).collect();
    let mut own = Simulation { world, keys, hung: Vec::new(), features, chance, numbers: 0, stopped: false };
    let steps = 20 + own.chance.below(60);
    (0..steps).for_each(|_| own.step());
    own.settle();
}

impl Simulation {
    fn has(&self, feature: Feature) -> bool {
        self.features >> (feature as u64) & 1 == 1
    }

    fn store(&self) -> Store {
        self.world.store.clone()
    }

    fn now(&self) -> Duration {
        self.world.clock.monotonic()
    }

    /// One of these, if its feature takes part.
    fn step(&mut self) {
        let at = usize::try_from(self.chance.below(KEYS as u64)).unwrap();
        match self.chance.below(14) {
            0..=3 => self.begin(at),
            4 if self.has(Feature::Waiting) => self.wait(at),
            5 if self.has(Feature::GivingUp) => drop(self.keys[at].waiters.pop()),
            6 | 7 => self.complete(at),
            8 => self.let_go(at),
            9 if self.has(Feature::Forgetting) => self.forget(at),
            10 => {
                let times = if self.has(Feature::Jumps) { self.chance.below(15) } else { 1 };
                advance(&self.world.clock, SECOND * u32::try_from(times).unwrap());
            }
            11 if self.has(Feature::Failing) && !self.stopped => {
                let (asked, ..) = self.world.disk.asked();
                let after = asked + 1 + self.chance.below(6);
                let failure = match self.chance.below(3) {
                    0 => Failure::Once(after, IoKind::Other),
                    1 => Failure::InDoubt(after, IoKind::Other),
                    _ => Failure::From(after, IoKind::Other),
                };
                self.world.disk.fail(Some(failure));
            }
            12 if self.has(Feature::Reopening) || self.stopped => self.reopen(),
            13 if self.has(Feature::Sweeping) => drop(self.store().sweep()),
            _ => {}
        }
        self.look_at_waiters();
    }

    fn digest(&mut self) -> u8 {
        u8::from(self.has(Feature::WrongParameters) && self.chance.below(4) == 0)
    }

    fn begin(&mut self, at: usize) {
        let (digest, store) = (self.digest(), self.store());
        let (key, parameters) = (key(at), parameters(digest));
        let mut request = store.request(&key, &parameters);
        if self.has(Feature::Durable) && self.chance.below(2) == 0 {
            request = request.start_durably();
        }
        if self.has(Feature::Relaxed) && self.chance.below(2) == 0 {
            request = request.relaxed();
        }
        let answer = request.begin();
        self.judge(at, digest, answer);
    }

    fn wait(&mut self, at: usize) {
        let (digest, store) = (self.digest(), self.store());
        let patience = SECOND * u32::try_from(1 + self.chance.below(30)).unwrap();
        let future = Box::pin(async move {
            let (key, parameters) = (key(at), parameters(digest));
            store.request(&key, &parameters).wait(patience).begin_async().await
        });
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        // It may be given a key whose start is still on its way to the disk.
        self.keys[at].digests.push(digest);
        self.keys[at].waiters.push(Waiter { future, woken, digest });
    }

    /// Those who were woken look; nobody else does, so that a wake-up that is lost is missed.
    fn look_at_waiters(&mut self) {
        for at in 0..KEYS {
            for mut waiter in std::mem::take(&mut self.keys[at].waiters) {
                if waiter.woken.0.swap(false, Ordering::SeqCst) {
                    let waker = Waker::from(Arc::clone(&waiter.woken));
                    if let Poll::Ready(answer) = waiter.future.as_mut().poll(&mut Context::from_waker(&waker))
                    {
                        self.judge(at, waiter.digest, answer);
                        continue;
                    }
                }
                self.keys[at].waiters.push(waiter);
            }
        }
    }

    /// Holds an answer against what is known.
    fn judge(&mut self, at: usize, digest: u8, answer: Result<Answer>) {
        let now = self.now();
        self.numbers += 1;
        let (number, own) = (self.numbers, &mut self.keys[at]);
        let kept = own.kept.filter(|kept| now < kept.until);
        match answer {
            Ok(Answer::Fresh(held)) => {
                // Its lease began when it was given, and not when its start was on disk: it may have lapsed before it came,
                // and somebody taken over, or even ended. Then its end will be refused (4.4).
                let lease_end = held.since().since(START) + LEASE;
                let free = own.current.is_none_or(|(.., end)| end <= now && end <= lease_end);
                if now < lease_end {
                    assert_eq!(kept, None, "it runs again though it is kept");
                    assert!(free, "it runs twice within a lease");
                }
                if free {
                    own.current = Some((number, digest, lease_end));
                }
                if held.is_durable() {
                    own.digests.push(digest);
                }
                own.held.push(Held { own: held, digest, lease_end, number });
            }
            Ok(Answer::Replay(replay)) => {
                let told = String::from_utf8(replay.outcome().body().to_vec()).unwrap();
                let known = own
                    .doubts
                    .iter()
                    .chain(&kept)
                    .find(|own| told.as_bytes() == body(at, digest, own.number));
                let known = known.unwrap_or_else(|| panic!("an answer of something else: {told}"));
                assert!(kept.is_none_or(|kept| kept == *known) && now < known.until, "{kept:?}, {known:?}");
            }
            Ok(Answer::InFlight(_)) => assert_eq!(kept, None, "it is kept"),
            Err(error) if error.is_mismatch() => {
                let running = own.current.iter().map(|(_, digest, _)| *digest);
                let ended = own.doubts.iter().chain(&kept).map(|own| own.digest);
                let mut all = running.chain(ended).chain(own.digests.iter().copied());
                assert!(all.any(|own| own != digest), "a mismatch with nothing");
            }
            Err(error) => {
                assert!(self.world.disk.asked().2 > 0, "{error}: the disk did not fail");
                // Its start may be on disk all the same.
                own.digests.push(digest);
                self.stopped = true;
            }
        }
    }

    fn complete(&mut self, at: usize) {
        let retry = self.has(Feature::Retryable) && self.chance.below(4) == 0;
        let Some(place) = self.pick(at) else { return };
        let Held { own: held, digest, number, .. } = self.keys[at].held.remove(place);
        let outcome = Outcome::new(body(at, digest, number));
        let told = held.complete(if retry { outcome.retryable() } else { outcome.finally() });
        let kept = Kept { number, digest, until: self.now() + RETENTION };
        let own = &mut self.keys[at];
        let current = own.current.is_some_and(|(current, ..)| current == number);
        match told {
            Ok(_) => {
                assert!(current, "one that was lost is completed");
                own.current = None;
                if retry {
                    own.digests.push(digest);
                } else {
                    own.kept = Some(kept);
                    own.digests = own.waiters.iter().map(|own| own.digest).collect();
                    own.doubts.clear();
                }
            }
            Err(refused) => {
                self.refused(at, number, &refused.error, (!retry).then_some(kept));
                let back =
                    refused.reservation.map(|own| Held { own, digest, lease_end: Duration::ZERO, number });
                if back.is_none() {
                    // A release that is not on disk leaves its start there.
                    let own = &mut self.keys[at];
                    own.current = own.current.filter(|(current, ..)| *current != number);
                    own.digests.push(digest);
                }
                self.keys[at].held.extend(back);
            }
        }
    }

    /// An end that was refused: it was lost, or the disk failed.
    fn refused(&mut self, at: usize, number: u64, error: &Error, kept: Option<Kept>) {
        let now = self.now();
        let own = &mut self.keys[at];
        if error.is_reservation_lost() {
            // One who waits may have taken it over, and have its start on the way to the disk.
            let holds =
                own.current.is_some_and(|(current, _, lease_end)| current == number && now < lease_end);
            assert!(!holds || self.stopped, "it is nobody else's");
            own.current = own.current.filter(|(current, ..)| *current != number);
            return;
        }
        assert!(self.world.disk.asked().2 > 0, "{error}: the disk did not fail");
        self.stopped = true;
        if error.is_unknown_outcome() {
            own.doubts.extend(kept);
            own.current = None;
        }
    }

    /// One of those held; the late ones, too.
    fn pick(&mut self, at: usize) -> Option<usize> {
        let held = self.keys[at].held.len() as u64;
        (held > 0).then(|| usize::try_from(self.chance.below(held)).unwrap())
    }

    fn let_go(&mut self, at: usize) {
        let Some(place) = self.pick(at) else { return };
        let Held { own: held, digest, number, .. } = self.keys[at].held.remove(place);
        let own = &mut self.keys[at];
        let current = own.current.is_some_and(|(current, ..)| current == number);
        own.digests.push(digest);
        if self.has(Feature::Hanging) && self.chance.below(3) == 0 {
            // It hangs for ever, and only its lease frees the key.
            self.hung.push(held);
        } else {
            drop(held);
            if current {
                self.keys[at].current = None;
            }
        }
    }

    fn forget(&mut self, at: usize) {
        let kept = self.keys[at].kept.filter(|kept| self.now() < kept.until);
        match self.store().forget(&key(at)) {
            Ok(told) => {
                assert!(told || kept.is_none(), "it was kept");
                let own = &mut self.keys[at];
                own.kept = None;
                own.digests = own.waiters.iter().map(|own| own.digest).collect();
                own.doubts.clear();
            }
            Err(error) if error.is_in_flight() => assert_eq!(kept, None, "it is kept"),
            Err(error) => {
                assert!(self.world.disk.asked().2 > 0, "{error}: the disk did not fail");
                self.stopped = true;
                let own = &mut self.keys[at];
                own.doubts.extend(own.kept.take());
            }
        }
    }

    /// Heals the disk, opens in place, and finds out what became of what was in doubt.
    fn reopen(&mut self) {
        self.world.disk.fail(None);
        self.store().reopen().unwrap();
        self.stopped = false;
        let relaxed = self.has(Feature::Relaxed);
        for at in 0..KEYS {
            let (now, known) = (self.now(), self.store().get(&key(at)).unwrap());
            let own = &mut self.keys[at];
            let mut doubts = std::mem::take(&mut own.doubts);
            // Where an end did not reach the disk, its start may be there.
            own.digests.extend(own.kept.iter().chain(&doubts).map(|own| own.digest));
            match known {
                Known::Finished(replay) => {
                    let kept = own.kept.into_iter().chain(doubts.drain(..));
                    let mut found =
                        kept.filter(|kept| replay.outcome().body() == body(at, kept.digest, kept.number));
                    own.kept = Some(found.next().expect("one that was handed over"));
                }
                known => {
                    let lost = own.kept.filter(|kept| kept.until > now);
                    // Relaxed, and the disk failed before its sync (5.2).
                    let may = relaxed && self.world.disk.asked().2 > 0;
                    assert!(lost.is_none() || may, "acknowledged, and {known:?}");
                    own.kept = None;
                }
            }
        }
    }

    /// Once everything has come to rest, nothing is lost and nobody waits.
    fn settle(&mut self) {
        self.reopen();
        for at in 0..KEYS {
            while !self.keys[at].held.is_empty() {
                self.complete(at);
            }
        }
        for turn in 0..TURNS {
            self.look_at_waiters();
            for own in &mut self.keys {
                own.held.drain(..).for_each(|held| {
                    own.current = own.current.filter(|(current, ..)| *current != held.number);
                    drop(held.own);
                });
            }
            if turn % 20 == 0 {
                // Those who hang have lapsed, and whoever waits has waited long enough.
                advance(&self.world.clock, LEASE);
            }
            shuttle::thread::yield_now();
        }
        assert!(self.keys.iter().all(|own| own.waiters.is_empty()), "somebody waits for ever");
        advance(&self.world.clock, LEASE);
        for at in 0..KEYS {
            // What hangs is taken over, and let go.
            match self.store().begin(&key(at), &parameters(0)) {
                Ok(Answer::InFlight(other)) => panic!("its lease has lapsed: {other:?}"),
                Ok(answer) => drop(answer),
                Err(error) if error.is_mismatch() => self.take_over_other(at),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Interrupted { .. }), "{error}"),
            }
        }
        // Too late, so it changes nothing.
        self.hung.clear();
        self.reopen();
        check_settled(&self.store());
    }

    fn take_over_other(&self, at: usize) {
        drop(self.store().begin(&key(at), &parameters(1)).unwrap());
    }
}
