//! Section 7 under a hostile clock: a wall clock that jumps anywhere at any time, time that passes in steps of nothing
//! or of ages, and a clock that panics when it is asked.
//!
//! Law: a record expires exactly its retention after it was completed (7.1); the store's time goes with the monotonic
//! clock and never back, whatever the wall clock shows, and begins, at an opening, where the wall clock stands or where
//! the store's time had come to on disk, whichever is later (7.2); an opening beyond the allowed jump is refused exactly
//! there, and goes on once it is accepted; a clock that panics harms the call that asked it and no other (5.11).
//!
//! What the store's time is at a moment, it says itself: by the start of a reservation that is let go at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tape::Tape;
use crate::digest::{Parameters, Secret};
use crate::error::{ErrorKind, Result};
use crate::ledger::{Disk, Memory};
use crate::outcome::Outcome;
use crate::store::{Answer, Completed, Known, Store};
use crate::sync::shielded;
use crate::time::{Clock, ManualClock, Timestamp};
use crate::token::Key;

const KEYS: u64 = 5;
const OPS_MAX: usize = 200;
const JUMP_MAX: Duration = Duration::from_secs(1000);

/// A clock of the test's own that panics once its patience is at an end.
#[derive(Clone)]
struct Hostile {
    clock: ManualClock,
    /// How often it may still be asked; 0 for ever.
    patience: Arc<AtomicU64>,
}

impl Hostile {
    fn asked(&self) {
        let spent =
            self.patience.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(spent != Ok(1), "a planned panic of the clock");
    }
}

impl Clock for Hostile {
    fn wall(&self) -> Timestamp {
        self.asked();
        self.clock.wall()
    }

    fn monotonic(&self) -> Duration {
        self.asked();
        self.clock.monotonic()
    }
}

struct Trial<'t, 'a> {
    tape: &'t mut Tape<'a>,
    clock: Hostile,
    disk: Memory,
    store: Option<Store>,
    /// The store's time at some moment of this epoch, and the monotonic clock's then.
    origin: (Timestamp, Duration),
    /// The latest time that is on disk for certain.
    on_disk: Timestamp,
    /// What was completed: body and expiry.
    kept: BTreeMap<u64, (Vec<u8>, Timestamp)>,
    runs: u64,
}

/// Operations among which time goes as it pleases.
///
/// # Panics
/// Where the law does not hold.
pub fn clock(data: &[u8]) {
    let mut tape = Tape::new(data);
    let clock = ManualClock::at(Timestamp::from_millis(tape.number()));
    let clock = Hostile { clock, patience: Arc::default() };
    let mut trial = Trial {
        tape: &mut tape,
        clock,
        disk: Memory::default(),
        store: None,
        origin: (Timestamp::default(), Duration::ZERO),
        on_disk: Timestamp::default(),
        kept: BTreeMap::new(),
        runs: 0,
    };
    trial.open();
    for _ in 0..OPS_MAX {
        if trial.tape.is_over() {
            break;
        }
        trial.run();
        trial.check();
    }
}

fn key(number: u64) -> Key {
    Key::new("scope", format!("key-{number}")).unwrap()
}

impl Trial<'_, '_> {
    fn try_open(&self, accept: bool) -> Result<Store> {
        let builder = Store::builder()
            .clock(self.clock.clone())
            .background_sweep(false)
            .segment_bytes_max(1 << 20)
            .stripes(2)
            .secret(Secret::new([7; 32]))
            .clock_jump_max(JUMP_MAX);
        let builder = if accept { builder.accept_clock_jump() } else { builder };
        builder.open_on(Arc::new(self.disk.clone()) as Arc<dyn Disk>)
    }

    /// What the store's time has to be.
    fn now(&self) -> Timestamp {
        self.origin.0.saturating_add(self.clock.clock.monotonic().saturating_sub(self.origin.1))
    }

    /// Opens, and looks where the store's time begins.
    fn open(&mut self) {
        let (wall, latest, known) = (self.clock.clock.wall(), self.now(), self.on_disk);
        let opened = self.try_open(false);
        let surely = wall.since(latest) > JUMP_MAX && known > Timestamp::default();
        let perhaps = wall.since(known) > JUMP_MAX;
        match &opened {
            Ok(_) => assert!(!surely, "a jump from {latest:?} at least to {wall:?} is taken"),
            Err(error) => {
                let jump = matches!(error.kind(), ErrorKind::ClockJump { limit, .. } if *limit == JUMP_MAX);
                assert!(jump && perhaps, "from {known:?} to {wall:?}: {error}");
            }
        }
        self.store = Some(opened.or_else(|_| self.try_open(true)).expect("a jump that is accepted"));
        let start = self.told();
        assert!(start >= wall && start >= known, "{start:?} is before {wall:?} or {known:?}");
        assert!(start <= wall.max(latest), "{start:?} is neither {wall:?} nor at most {latest:?}");
        self.origin = (start, self.clock.clock.monotonic());
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// What the store says its time is.
    fn told(&self) -> Timestamp {
        match self.store().begin(&key(KEYS), &Parameters::none()).unwrap() {
            Answer::Fresh(held) => held.since(),
            other => panic!("it is let go at once: {other:?}"),
        }
    }

    fn run(&mut self) {
        match self.tape.byte() % 16 {
            0..5 => self.complete(),
            5..8 => {
                let by = Duration::from_millis(self.tape.number());
                self.clock.clock.advance(if by.is_zero() { Duration::MAX } else { by });
            }
            8 => {
                let left = self.until_expiry();
                self.clock.clock.advance(left);
            }
            9..11 => {
                let wall = self.tape.number();
                self.clock.clock.set_wall(Timestamp::from_millis(wall));
            }
            11 => drop(self.store().sweep().unwrap()),
            12 => {
                self.store().reopen().unwrap();
                // In place, the epoch changes and the time goes on.
            }
            13 => self.panic(),
            _ => {
                let store = self.store.take().unwrap();
                store.close(Duration::ZERO).unwrap();
                self.open();
            }
        }
    }

    /// To the very millisecond at which something expires, or the one before it.
    fn until_expiry(&mut self) -> Duration {
        let at = self.tape.below(self.kept.len() as u64);
        let expires = self.kept.values().nth(usize::try_from(at).unwrap()).map(|(_, expires)| *expires);
        let left = expires.unwrap_or_default().since(self.now());
        left.saturating_sub(Duration::from_millis(u64::from(self.tape.flag())))
    }

    fn complete(&mut self) {
        let number = self.tape.below(KEYS);
        let retention = match self.tape.byte() % 4 {
            0 => Duration::MAX,
            1 => Duration::from_millis(self.tape.number()),
            _ => Duration::from_millis(self.tape.below(3000)),
        };
        let (store, now) = (self.store().clone(), self.now());
        let answer = store.request(&key(number), &Parameters::none()).retention(retention).begin().unwrap();
        let live = self.kept.get(&number).filter(|(_, expires)| *expires > now);
        match (answer, live) {
            (Answer::Replay(replay), Some((body, expires))) => {
                assert_eq!((replay.outcome().body(), replay.expires()), (&body[..], *expires));
            }
            (Answer::Fresh(held), None) => {
                assert_eq!(held.since(), now, "the store's time");
                self.runs += 1;
                let body = self.runs.to_le_bytes().to_vec();
                let done = held.complete(Outcome::new(body.clone()).finally()).unwrap();
                let expires = now.saturating_add(retention);
                assert_eq!(done, Completed::Kept { completed: now, expires });
                self.on_disk = self.on_disk.max(now);
                self.kept.insert(number, (body, expires));
            }
            (answer, live) => panic!("{live:?} at {now:?} answers {answer:?}"),
        }
    }

    /// The clock panics at some question of a call; what the call did not do is done by the next one.
    fn panic(&mut self) {
        let number = self.tape.below(KEYS);
        let (store, key) = (self.store().clone(), key(number));
        self.clock.patience.store(1 + self.tape.below(4), Ordering::Relaxed);
        let panicked = shielded(|| match self.tape.byte() % 4 {
            0 => drop(store.get(&key)),
            1 => drop(store.sweep()),
            2 => drop(store.stats()),
            _ => drop(store.begin(&key, &Parameters::none())),
        });
        self.clock.patience.store(0, Ordering::Relaxed);
        let _ = panicked;
    }

    /// Every key is what it has to be at this very moment.
    fn check(&self) {
        let now = self.now();
        assert_eq!(self.told(), now, "the store's time goes with the monotonic clock");
        for number in 0..KEYS {
            let live = self.kept.get(&number).filter(|(_, expires)| *expires > now);
            match (self.store().get(&key(number)).unwrap(), live) {
                (Known::Absent, None) => {}
                (Known::Finished(replay), Some((body, _))) => assert_eq!(replay.outcome().body(), body),
                (known, live) => panic!("key {number} is {live:?} at {now:?}: {known:?}"),
            }
        }
    }
}
