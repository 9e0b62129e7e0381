//! The store beside the reference: the same is done to both, and they must say the same (contract 3 to 8).
//!
//! Law: every answer of the store is the model's, in its words. `store_ops` runs in memory; `segment_ops` on a disk that
//! writes everything down, with reopenings in place, clean restarts, kills and power cuts at any moment. After one of
//! these the relaxed completions that survived are some prefix of all there were (5.2, 5.8): the model is asked how many,
//! by trying. Waiters are futures polled by hand (`waiters`).
//!
//! Settings are small, so that limits and expiries are met all the time. What the model leaves out (digests, damage,
//! room) other laws look at.

use std::sync::Arc;
use std::time::Duration;

use super::tape::Tape;
use super::waiters::Waiters;
use crate::digest::{Parameters, Secret};
use crate::error::Error;
use crate::ledger::{Cut, Faulty, Memory, Platter};
use crate::options::{Builder, OnInterrupted};
use crate::outcome::Outcome;
use crate::reference::{self, Asking, Fingerprint, Known as ModelKnown, Model, Refusal, Settings, Waited};
use crate::store::{Answer, Completed, Known, Refused, Request, Reservation, Store};
use crate::sync::{shielded, yield_now};
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

const START: Timestamp = Timestamp::from_millis(1_000_000);
const TICK: Duration = Duration::from_millis(5);
const KEYS: u64 = 6;
const OPS_MAX: usize = 300;

/// Operations on a store in memory.
///
/// # Panics
/// Where the law does not hold.
pub fn store_ops(data: &[u8]) {
    Pair::new(&mut Tape::new(data), false).run_all();
}

/// Operations on segment files, with reopenings and crashes.
///
/// # Panics
/// Where the law does not hold.
pub fn segment_ops(data: &[u8]) {
    Pair::new(&mut Tape::new(data), true).run_all();
}

/// A reservation, as both know it.
struct Held {
    model: reference::Reservation,
    store: Reservation,
}

/// A disk, and what of it is durable.
struct Home {
    disk: Faulty,
    platter: Platter,
    seen: usize,
}

struct Pair<'t, 'a> {
    tape: &'t mut Tape<'a>,
    settings: Settings,
    model: Model,
    store: Store,
    clock: ManualClock,
    home: Option<Home>,
    held: Vec<Held>,
    waiters: Waiters,
    done: usize,
}

fn settings(tape: &mut Tape<'_>) -> Settings {
    let choice = tape.byte();
    let limit = |bit: u8, limit: u64| (choice & bit != 0).then_some(limit);
    Settings {
        wall: START,
        retention: TICK * 20,
        lease: TICK * 10,
        relaxed: choice & 1 != 0,
        outcome_bytes_max: 4096,
        declared_outcome_bytes: 64,
        checkpoint_bytes_max: 6,
        live_reservations_max: 4,
        on_interrupted: if choice & 2 == 0 { OnInterrupted::Resume } else { OnInterrupted::Refuse },
        start_durably: choice & 4 != 0,
        kept_records_max: limit(8, 5),
        kept_records_per_scope_max: limit(16, 3),
        kept_bytes_max: limit(32, 900),
        kept_bytes_per_scope_max: limit(64, 500),
        live_reservations_per_scope_max: limit(128, 2),
        waiters_per_key_max: 1,
        ..Settings::default()
    }
}

fn builder(settings: &Settings, clock: &ManualClock) -> Builder {
    let builder = Store::builder()
        .clock(clock.clone())
        .background_sweep(false)
        .segment_bytes_max(1 << 20)
        .stripes(4)
        .recent_bytes_max(16 << 10)
        .secret(Secret::new([7; 32]))
        .retention(settings.retention)
        .lease(settings.lease)
        .outcome_bytes_max(settings.outcome_bytes_max)
        .declared_outcome_bytes(settings.declared_outcome_bytes)
        .checkpoint_bytes_max(settings.checkpoint_bytes_max)
        .live_reservations_max(settings.live_reservations_max)
        .live_reservations_per_scope_max(settings.live_reservations_per_scope_max)
        .waiters_per_key_max(settings.waiters_per_key_max)
        .kept_records_max(settings.kept_records_max.unwrap_or(u64::MAX))
        .kept_bytes_max(settings.kept_bytes_max.unwrap_or(u64::MAX))
        .kept_records_per_scope_max(settings.kept_records_per_scope_max)
        .kept_bytes_per_scope_max(settings.kept_bytes_per_scope_max)
        .on_interrupted(settings.on_interrupted)
        .start_durably(settings.start_durably);
    // Longer than any run takes, so that nothing is synced unasked.
    if settings.relaxed { builder.relaxed(Duration::from_secs(100_000)) } else { builder }
}

/// Two scopes; the same token under both is two keys.
fn key(number: u64) -> Key {
    Key::new(if number < KEYS / 2 { "acme" } else { "other" }, format!("t-{}", number % (KEYS / 2))).unwrap()
}

/// One of two meanings, each in several spellings.
fn parameters(choice: u8) -> (Fingerprint, Parameters<'static>) {
    if choice >= 224 {
        return (Fingerprint::of("other"), Parameters::query("Size=41&Zone=z"));
    }
    let same = match choice % 3 {
        0 => Parameters::query("Size=40&Name=n"),
        1 => Parameters::form(b"Name=%6e&&Size=40"),
        _ => Parameters::pairs([("Name", "n"), ("Size", "40")]),
    };
    (Fingerprint::of("same"), same)
}

impl<'t, 'a> Pair<'t, 'a> {
    fn new(tape: &'t mut Tape<'a>, on_disk: bool) -> Self {
        let (settings, clock) = (settings(tape), ManualClock::at(START));
        let home = on_disk.then(|| Home::over(Memory::default()));
        let opened = match &home {
            Some(home) => builder(&settings, &clock).open_on(Arc::new(home.disk.clone())),
            None => builder(&settings, &clock).open_in_memory(),
        };
        Self {
            tape,
            model: Model::new(settings.clone()),
            settings,
            store: opened.unwrap(),
            clock,
            home,
            held: Vec::new(),
            waiters: Waiters::default(),
            done: 0,
        }
    }

    fn run_all(mut self) {
        while !self.tape.is_over() && self.done < OPS_MAX {
            self.done += 1;
            self.run();
            self.waiters_agree();
            self.usage_agrees();
            self.model.validate();
        }
        (0..KEYS).for_each(|number| self.get(number));
    }

    fn run(&mut self) {
        let number = self.tape.below(KEYS);
        match self.tape.byte() % 32 {
            0..9 => self.begin(number, false),
            9..12 => self.begin(number, true),
            12..16 => self.complete(),
            16 => self.end(|model, own| model.renew(own), |held| (held.renew(), Some(held))),
            17 | 18 => self.end(|model, own| model.release(own), |held| (held.release(), None)),
            19 => self.let_go(false),
            20 => self.let_go(true),
            21 => self.checkpoint(),
            22 => self.resolve(number),
            23 => self.get(number),
            24 => assert_same(self.model.forget(&key(number)), self.store.forget(&key(number))),
            25 => assert_same(self.model.sweep().map(drop), self.store.sweep().map(drop)),
            26..29 => self.advance(),
            29 => assert_same(self.model.flush(), self.store.flush()),
            30 if self.give_up() => {}
            _ if self.home.is_some() => self.reopen(),
            _ => self.get(number),
        }
    }

    fn begin(&mut self, number: u64, wait: bool) {
        let key = key(number);
        let (fingerprint, parameters) = parameters(self.tape.byte());
        let choice = self.tape.byte();
        let lease = [None, Some(TICK * 4), Some(Duration::ZERO), None][usize::from(choice % 4)];
        let retention = [None, Some(TICK * 8), Some(Duration::ZERO), None][usize::from(choice / 4 % 4)];
        let durably = [None, None, Some(true), Some(false)][usize::from(choice / 16 % 4)];
        let relaxed = [None, Some(true), Some(false), None][usize::from(choice / 64)];
        let more = self.tape.byte();
        let policy = [None, None, Some(OnInterrupted::Resume), Some(OnInterrupted::Refuse)];
        let on_interrupted = policy[usize::from(more % 4)];
        let ago = [None, Some(0), Some(45), Some(200)][usize::from(more / 4 % 4)];
        let first_sent = ago.map(|ago| Timestamp::from_millis(self.model.now().as_millis() - ago));
        let declared = [None, Some(0), Some(300), None][usize::from(more / 16 % 4)];
        let named = None;
        let asking = Asking {
            fingerprint, named, first_sent, lease, retention, declared, relaxed,
            start_durably: durably, on_interrupted,
        };
        let request = asked(&self.store, &key, &parameters, &asking);
        if !wait || self.waiters.waits_for(&key) {
            let (expected, seen) = (self.model.begin(&key, asking), request.begin());
            return self.answer(expected, seen);
        }
        let patience = [0, 23, 57].map(Duration::from_millis)[usize::from(more / 64) % 3];
        match (self.model.wait(&key, asking, patience), request.begin()) {
            (Ok(Waited::Waiting(waiter)), Ok(Answer::InFlight(other))) => {
                self.waiters.add(waiter, key, other, patience);
            }
            (Ok(Waited::Waiting(_)), other) => panic!("the model waits, the store says {other:?}"),
            (Ok(Waited::Answered(expected)), seen) => self.answer(Ok(expected), seen),
            (Err(expected), seen) => self.answer(Err(expected), seen),
        }
    }

    fn answer(&mut self, expected: Result<reference::Answer, Refusal>, seen: Result<Answer, Error>) {
        match (expected, seen) {
            (Ok(reference::Answer::Fresh(model)), Ok(Answer::Fresh(store))) => {
                assert_eq!((model.attempt, model.since), (store.attempt(), store.since()));
                assert_eq!((model.durable, model.resumed), (store.is_durable(), store.is_resumed()));
                assert_eq!(model.last_checkpoint.as_ref(), store.last_checkpoint());
                assert_eq!(&model.key, store.key());
                self.held.push(Held { model, store });
            }
            (Ok(reference::Answer::Replay(model)), Ok(Answer::Replay(store))) => assert_eq!(model, store),
            (Ok(reference::Answer::InFlight(model)), Ok(Answer::InFlight(store))) => {
                assert_eq!((model.since, model.attempt), (store.since(), store.attempt()));
                assert_eq!(Some(model.lease_left), store.lease_left());
            }
            (Err(model), Err(store)) => assert_eq!(Some(model), Refusal::of(&store), "{store}"),
            (model, store) => panic!("the model says {model:?}, the store {store:?}"),
        }
    }

    fn take(&mut self) -> Option<Held> {
        let at = self.tape.below(self.held.len() as u64);
        (!self.held.is_empty()).then(|| self.held.swap_remove(usize::try_from(at).unwrap()))
    }

    fn outcome(&mut self) -> Outcome {
        let bytes = self.tape.byte();
        let body = vec![bytes; usize::from(bytes)];
        match self.tape.byte() % 8 {
            0 => Outcome::http(503, "busy"),
            1 => Outcome::http(200, vec![7; 5000]),
            2 => Outcome::http(400, body),
            3 => Outcome::new(body).finally().with_metadata("a", "b"),
            _ => Outcome::http(200, body).with_metadata("run", self.done.to_string()),
        }
    }

    fn complete(&mut self) {
        let (Some(Held { model, store }), outcome) = (self.take(), self.outcome()) else { return };
        let without_body = self.tape.byte() % 8 == 7;
        let (expected, seen) = if without_body {
            (self.model.complete_without_body(&model, outcome.clone()), store.complete_without_body(outcome))
        } else {
            (self.model.complete(&model, outcome.clone()), store.complete(outcome))
        };
        match (expected, seen) {
            (Err(expected), Err(Refused { error, reservation })) => {
                assert_eq!(Some(expected), Refusal::of(&error), "{error}");
                let handed_back = matches!(expected, Refusal::TooLarge { .. });
                assert_eq!(reservation.is_some(), handed_back, "{error}");
                self.held.extend(reservation.map(|store| Held { model, store }));
            }
            (expected, seen) => assert_completed(expected, seen.map_err(|refused| refused.error)),
        }
    }

    fn end(
        &mut self,
        model: impl FnOnce(&mut Model, &reference::Reservation) -> Result<(), Refusal>,
        store: impl FnOnce(Reservation) -> (Result<(), Error>, Option<Reservation>),
    ) {
        let Some(held) = self.take() else { return };
        let (key, attempt) = (held.store.key().clone(), held.store.attempt());
        let expected = model(&mut self.model, &held.model);
        let (seen, left) = store(held.store);
        assert_same(expected, seen);
        if let Some(store) = left {
            self.held.push(Held { model: held.model, store });
        } else {
            self.until_released(&key, attempt);
        }
    }

    /// What is held is dropped, perhaps by a panic.
    fn let_go(&mut self, panics: bool) {
        let Some(Held { model, store }) = self.take() else { return };
        let (key, attempt) = (store.key().clone(), store.attempt());
        // A guard that is dropped tells nobody that it was lost.
        if panics {
            let _ = self.model.panic(&model);
            let panicked = shielded(move || {
                let _store = store;
                std::panic::resume_unwind(Box::new("planned"));
            });
            assert_eq!(panicked, None::<()>);
        } else {
            let _ = self.model.release(&model);
            drop(store);
            self.until_released(&key, attempt);
        }
    }

    /// A release that is on its way to the disk takes its moment; the model's takes none. Nobody who is given the key
    /// meanwhile is mistaken for the one who let it go: it has a higher attempt.
    fn until_released(&self, key: &Key, attempt: u32) {
        let going = |known| matches!(known, Ok(Known::InFlight { attempt: own, lease_left: None, .. }) if own == attempt);
        while going(self.store.get(key)) {
            yield_now();
        }
    }

    fn checkpoint(&mut self) {
        let note = vec![self.tape.byte(); usize::try_from(self.tape.below(9)).unwrap()];
        let Some(held) = self.take() else { return };
        assert_same(self.model.checkpoint(&held.model, &note), held.store.checkpoint(&note));
        self.held.push(held);
    }

    fn resolve(&mut self, number: u64) {
        let outcome = self.outcome();
        let expected = self.model.resolve(&key(number), outcome.clone());
        assert_completed(expected, self.store.resolve(&key(number), outcome));
    }

    fn get(&self, number: u64) {
        assert!(same_known(&self.model, &self.store, number), "{}", told(&self.model, &self.store, number));
    }

    fn advance(&mut self) {
        let by = TICK * u32::try_from(self.tape.below(24)).unwrap();
        let mut left = by;
        // While somebody waits, no deadline is jumped over: what is left of a lease is told exactly.
        while !left.is_zero() {
            let step = if self.waiters.is_empty() { left } else { left.min(TICK / 5) };
            left -= step;
            self.model.advance(step);
            self.clock.advance(step);
            self.waiters_agree();
        }
    }

    /// A waiter gives up, which changes nothing.
    fn give_up(&mut self) -> bool {
        let waiter = self.waiters.pop();
        waiter.is_some_and(|waiter| self.model.give_up(waiter))
    }

    fn waiters_agree(&mut self) {
        for woken in self.model.woken() {
            let seen = self.waiters.answered(woken.waiter);
            self.answer(woken.answer, seen);
        }
        self.waiters.sleep_on();
    }

    fn usage_agrees(&self) {
        let (usage, stats) = (self.model.usage(), self.store.stats());
        assert_eq!(usage.live_reservations, stats.live_reservations, "live reservations");
        assert_eq!((usage.kept_records, usage.kept_bytes), (stats.kept_records, stats.kept_bytes), "kept");
    }

    fn reopen(&mut self) {
        let choice = self.tape.byte();
        match choice % 4 {
            0 => {
                assert_same(self.model.reopen(), self.store.reopen());
                self.sweep_both();
                return;
            }
            1 => {
                self.waiters.forget();
                assert_same(self.model.close(), self.store.clone().close(Duration::ZERO));
                let _ = self.model.woken();
                self.begin_anew(Cut::Kept, &[0]);
            }
            kind => {
                // Either the process is killed, and all that it wrote is there, or the power is cut.
                let seed = u64::from(choice);
                let cut = [Cut::Kept, Cut::Lost, Cut::Prefix(seed), Cut::Some(seed, 128)];
                let cut = if kind == 2 { Cut::Kept } else { cut[usize::from(choice / 4 % 4)] };
                self.waiters.forget();
                self.begin_anew(cut, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
            }
        }
    }

    /// Opens what a cut leaves of the disk; the model crashes with as many survivors as the disk has, if that can be.
    fn begin_anew(&mut self, cut: Cut, survivors: &[usize]) {
        let home = self.home.as_mut().unwrap();
        let next = Home::over(home.platter().cut(cut));
        let opened = builder(&self.settings, &self.clock).open_on(Arc::new(next.disk.clone())).unwrap();
        // What the process held goes with it, unseen.
        let before = std::mem::replace(&mut self.store, opened);
        self.held.clear();
        drop(before);
        *home = next;
        let after = |count: &usize| {
            let mut model = self.model.clone();
            if survivors.len() > 1 {
                model.crash(*count);
            }
            model.reopen().unwrap();
            model
        };
        let fits = |model: &Model| (0..KEYS).all(|number| same_known(model, &self.store, number));
        let models: Vec<Model> = survivors.iter().map(after).collect();
        let Some(model) = models.iter().find(|model| fits(model)) else {
            let told: Vec<_> = (0..KEYS).map(|number| told(&models[0], &self.store, number)).collect();
            panic!("no prefix of what was relaxed explains what is found after {cut:?}: {told:#?}");
        };
        self.model = model.clone();
        self.sweep_both();
    }

    /// What was swept before an opening may be counted again until it is swept again: its bytes are still there.
    fn sweep_both(&mut self) {
        assert_same(self.model.sweep().map(drop), self.store.sweep().map(drop));
    }
}

impl Home {
    fn over(memory: Memory) -> Self {
        Self { platter: Platter::of(&memory), disk: Faulty::over(memory), seen: 0 }
    }

    fn platter(&mut self) -> &Platter {
        let log = self.disk.log();
        log[self.seen..].iter().for_each(|change| self.platter.apply(change));
        self.seen = log.len();
        &self.platter
    }
}

fn asked<'a>(store: &'a Store, key: &'a Key, parameters: &'a Parameters<'a>, asking: &Asking) -> Request<'a> {
    let mut request = store.request(key, parameters);
    if let Some(first_sent) = asking.first_sent {
        request = request.first_sent(first_sent);
    }
    if let Some(lease) = asking.lease {
        request = request.lease(lease);
    }
    if let Some(retention) = asking.retention {
        request = request.retention(retention);
    }
    if let Some(declared) = asking.declared {
        request = request.declare(declared);
    }
    if let Some(policy) = asking.on_interrupted {
        request = request.on_interrupted(policy);
    }
    request = match asking.start_durably {
        Some(true) => request.start_durably(),
        Some(false) => request.start_volatile(),
        None => request,
    };
    match asking.relaxed {
        Some(true) => request.relaxed(),
        Some(false) => request.durable(),
        None => request,
    }
}

fn assert_same<T: PartialEq + std::fmt::Debug>(expected: Result<T, Refusal>, seen: Result<T, Error>) {
    match (expected, seen) {
        (Err(expected), Err(seen)) => assert_eq!(Some(expected), Refusal::of(&seen), "{seen}"),
        (expected, seen) => {
            assert_eq!(expected.as_ref().ok(), seen.as_ref().ok(), "the model: {expected:?}, the store: {seen:?}");
        }
    }
}

fn assert_completed(expected: Result<reference::Completed, Refusal>, seen: Result<Completed, Error>) {
    let seen = seen.map(|seen| match seen {
        Completed::Kept { completed, expires } => reference::Completed::Kept { completed, expires },
        Completed::Released => reference::Completed::Released,
    });
    assert_same(expected, seen);
}

fn same_known(model: &Model, store: &Store, number: u64) -> bool {
    match (model.get(&key(number)), store.get(&key(number))) {
        (Ok(ModelKnown::Absent), Ok(Known::Absent)) | (Ok(ModelKnown::Unknown), Ok(Known::Unknown)) => true,
        (Ok(ModelKnown::Finished(model)), Ok(Known::Finished(store))) => model == store,
        (Ok(ModelKnown::InFlight(model)), Ok(Known::InFlight { since, attempt, lease_left })) => {
            (model.since, model.attempt, Some(model.lease_left)) == (since, attempt, lease_left)
        }
        (Ok(ModelKnown::Interrupted(last)), Ok(Known::Interrupted { since, attempt, checkpoint })) => {
            (last.since, last.attempt, last.checkpoint) == (since, attempt, checkpoint)
        }
        (Err(model), Err(store)) => Some(model) == Refusal::of(&store),
        _ => false,
    }
}

fn told(model: &Model, store: &Store, number: u64) -> String {
    let (model, store) = (model.get(&key(number)), store.get(&key(number)));
    format!("key {number}: the model says {model:?}, the store {store:?}")
}
