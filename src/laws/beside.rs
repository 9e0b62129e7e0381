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

use super::alike::{
    KEYS, START, TICK, asked, assert_completed, assert_same, builder, key, parameters, same_known, settings,
    told,
};
use super::tape::Tape;
use super::waiters::Waiters;
use crate::error::Error;
use crate::ledger::{Cut, Faulty, Paged, Platter};
use crate::options::OnInterrupted;
use crate::outcome::Outcome;
use crate::reference::{self, Asking, Model, Refusal, Settings, Waited};
use crate::store::{Answer, Known, Refused, Reservation, Store};
use crate::sync::{shielded, yield_now};
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

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

impl<'t, 'a> Pair<'t, 'a> {
    fn new(tape: &'t mut Tape<'a>, on_disk: bool) -> Self {
        let (settings, clock) = (settings(tape), ManualClock::at(START));
        let home = on_disk.then(|| Home::over(Paged::default()));
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
            16 => self.end(Model::renew, |held| (held.renew(), Some(held))),
            17 | 18 => self.end(Model::release, |held| (held.release(), None)),
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
            fingerprint,
            named,
            first_sent,
            lease,
            retention,
            declared,
            relaxed,
            start_durably: durably,
            on_interrupted,
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
                let cut = [Cut::Kept, Cut::Lost, Cut::Names, Cut::Some(seed, 128)];
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
    fn over(files: Paged) -> Self {
        Self { platter: Platter::of(&files), disk: Faulty::over(files), seen: 0 }
    }

    fn platter(&mut self) -> &Platter {
        self.seen = self.disk.go_through(self.seen, |change| self.platter.apply(change));
        &self.platter
    }
}
