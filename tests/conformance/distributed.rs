//! A store over an engine as a subject: one process at a time, under one node's name, so that a killed one's epoch ends when the
//! next one connects. Its time is the engine's, which the home moves together with the process's own clock.
//!
//! What an engine does not promise is a typed refusal (`Unpromised`), and what differs otherwise stands in `DIFFERENCES` with
//! its reason, and has to differ.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use oncekey::distributed::{self, Answer, Refused, Reservation};
use oncekey::{Completed, ErrorKind, Known, ManualClock, Outcome, Result, Timestamp};
use serde_json::{Value, json};

use crate::home::Home;
use crate::store::builder;
use crate::subject::{self, Fresh, START, Subject};
use crate::vector::{OnDisk, Rules, Scenario, Settings, Step};

/// How long a waiter that should be woken may take, in real time.
const WAKING_MAX: Duration = Duration::from_secs(5);
/// How often all waiters are asked at least, so that one who should sleep on has its chance to be found awake.
const ROUNDS_MIN: u32 = 5;
/// Settings that engines refuse by name.
pub(crate) const NOT_PROMISED: [&str; 7] = [
    "relaxed",
    "kept_records_max",
    "kept_bytes_max",
    "kept_records_per_scope_max",
    "kept_bytes_per_scope_max",
    "clock_jump_max",
    "accept_clock_jump",
];

type Waiting = Pin<Box<dyn Future<Output = Result<Answer>>>>;

pub(crate) struct DistributedSubject {
    clock: ManualClock,
    settings: Settings,
    process: Process,
    /// Processes that were killed: nothing of theirs is dropped, since a killed process releases nothing.
    killed: Vec<Process>,
    home: Box<dyn Home>,
    condition: Condition,
}

/// What one process holds.
struct Process {
    store: distributed::Store,
    reservations: BTreeMap<String, Reservation>,
    waiters: BTreeMap<String, Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Open,
    Closed,
    Killed,
}

/// The setting that the engine refused.
pub(crate) type Unpromised = &'static str;

impl DistributedSubject {
    pub(crate) fn new(
        settings: &Settings,
        home: impl FnOnce(&ManualClock) -> Box<dyn Home>,
    ) -> Result<Self, Unpromised> {
        let clock = ManualClock::at(START);
        let home = home(&clock);
        let store = match connect(&*home, settings, &clock) {
            Ok(store) => store,
            Err(error) => match *error.kind() {
                ErrorKind::NotPromised { setting, .. } => return Err(setting),
                _ => panic!("it does not connect: {error}"),
            },
        };
        let (process, settings) = (Process::with(store), settings.clone());
        Ok(Self { clock, settings, process, killed: Vec::new(), home, condition: Condition::Open })
    }

    /// What a scenario asks for in its steps that a request over an engine can't say.
    pub(crate) fn unsaid(scenario: &Scenario) -> Option<Unpromised> {
        let relaxed = |step: &Step| step.relaxed == Some(true);
        scenario.steps.iter().any(relaxed).then_some("relaxed")
    }

    fn rules(&self) -> Rules {
        self.settings.rules.clone().unwrap_or_default()
    }

    fn ask(&self, step: &Step) -> Result<Answer> {
        let (scope, token) = step.key.as_ref().expect("a request has a key");
        let store = &self.process.store;
        let key = store.key(scope.to_vec(), token.to_vec())?;
        let given = step.parameters.as_ref().expect("a request has parameters");
        let parameters = given.to_parameters(&self.rules())?;
        let mut request = store.request(&key, &parameters);
        if let Some(sent) = step.first_sent {
            request = request.first_sent(Timestamp::from_millis(sent));
        }
        if let Some(lease) = step.lease_ms {
            request = request.lease(Duration::from_millis(lease));
        }
        if let Some(retention) = step.retention_ms {
            request = request.retention(Duration::from_millis(retention));
        }
        request = match step.start_durably {
            Some(true) => request.start_durably(),
            Some(false) => request.start_volatile(),
            None => request,
        };
        if let Some(policy) = step.on_interrupted {
            request = request.on_interrupted(policy.to_on_interrupted());
        }
        request.begin()
    }

    fn show(&mut self, name: &str, answer: Result<Answer>) -> Value {
        match answer {
            Ok(Answer::Fresh(reservation)) => {
                let seen = subject::fresh(&Fresh {
                    attempt: reservation.attempt(),
                    since: reservation.since(),
                    durable: reservation.is_durable(),
                    resumed: reservation.is_resumed(),
                    last_checkpoint: reservation.last_checkpoint(),
                });
                self.process.reservations.insert(name.into(), reservation);
                seen
            }
            Ok(Answer::Replay(replay)) => subject::replay("replay", &replay),
            Ok(Answer::InFlight(in_flight)) => {
                subject::in_flight(in_flight.since(), in_flight.attempt(), in_flight.lease_left())
            }
            Ok(other) => json!({"unexpected": format!("{other:?}")}),
            Err(error) => subject::error(&error),
        }
    }

    fn take(&mut self, name: &str) -> Reservation {
        let taken = self.process.reservations.remove(name);
        taken.unwrap_or_else(|| panic!("no reservation is held under the name {name:?}"))
    }

    fn completed(&mut self, name: &str, answer: Result<Completed, Refused>) -> Value {
        match answer {
            Ok(completed) => shown(completed),
            Err(Refused { error, reservation }) => {
                self.process.reservations.extend(reservation.map(|held| (name.to_owned(), held)));
                subject::error(&error)
            }
        }
    }

    /// Drops one. A release that is on its way to the engine takes its moment; the model's takes none.
    fn give_back(&mut self, name: &str, drop: impl FnOnce(Reservation)) {
        let store = self.process.store.clone();
        let ended = || store.stats().released + store.stats().lost;
        let (start, before) = (Instant::now(), ended());
        drop(self.take(name));
        while self.condition == Condition::Open && ended() == before {
            assert!(start.elapsed() < WAKING_MAX, "a release that is never answered");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// One look at every waiter.
    fn poll(&mut self) -> Vec<(String, Result<Answer>)> {
        let mut context = Context::from_waker(Waker::noop());
        let mut answered = Vec::new();
        self.process.waiters.retain(|name, waiting| match waiting.as_mut().poll(&mut context) {
            Poll::Ready(answer) => {
                answered.push((name.clone(), answer));
                false
            }
            Poll::Pending => true,
        });
        answered
    }
}

impl Process {
    fn with(store: distributed::Store) -> Self {
        Self { store, reservations: BTreeMap::new(), waiters: BTreeMap::new() }
    }
}

impl Subject for DistributedSubject {
    fn offers(&self, capability: &str) -> bool {
        ["crash", "reopen"].contains(&capability)
    }

    fn begin(&mut self, request: &Step, name: &str) -> Value {
        let answer = self.ask(request);
        self.show(name, answer)
    }

    fn wait(&mut self, request: &Step, name: &str) -> Value {
        let patience = Duration::from_millis(request.patience_ms.expect("a wait has a patience_ms"));
        let in_flight = match self.ask(request) {
            Ok(Answer::InFlight(in_flight)) => in_flight,
            other => return self.show(name, other),
        };
        let mut waiting: Waiting = Box::pin(in_flight.wait_async(patience));
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => self.show(name, answer),
            Poll::Pending => {
                self.process.waiters.insert(name.into(), waiting);
                subject::waiting()
            }
        }
    }

    fn give_up(&mut self, waiter: &str) -> Value {
        assert!(self.process.waiters.remove(waiter).is_some(), "{waiter} waits");
        subject::done()
    }

    fn woken(&mut self, at_least: usize) -> Vec<(String, Value)> {
        let start = Instant::now();
        let mut woken = Vec::new();
        let mut rounds = 0;
        while !self.process.waiters.is_empty() {
            for (name, answer) in self.poll() {
                let seen = self.show(&name, answer);
                woken.push((name, seen));
            }
            rounds += 1;
            if (woken.len() >= at_least && rounds >= ROUNDS_MIN) || start.elapsed() > WAKING_MAX {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        woken
    }

    fn complete(&mut self, reservation: &str, outcome: Outcome) -> Value {
        let answer = self.take(reservation).complete(outcome);
        self.completed(reservation, answer)
    }

    fn complete_without_body(&mut self, reservation: &str, outcome: Outcome) -> Value {
        let answer = self.take(reservation).complete_without_body(outcome);
        self.completed(reservation, answer)
    }

    fn fail_commit(&mut self, _reservation: &str, _outcome: Outcome, _on_disk: OnDisk) -> Value {
        unreachable!("not offered: an engine's commits do not fail on demand")
    }

    fn renew(&mut self, reservation: &str) -> Value {
        done(self.process.reservations[reservation].renew())
    }

    fn release(&mut self, reservation: &str) -> Value {
        done(self.take(reservation).release())
    }

    fn drop_reservation(&mut self, reservation: &str) {
        self.give_back(reservation, drop);
    }

    fn panic(&mut self, reservation: &str) {
        self.give_back(reservation, |held| {
            let panicked = catch_unwind(AssertUnwindSafe(move || {
                let _held = held;
                resume_unwind(Box::new("planned"));
            }));
            assert!(panicked.is_err());
        });
    }

    fn checkpoint(&mut self, reservation: &str, note: &[u8]) -> Value {
        done(self.process.reservations[reservation].checkpoint(note))
    }

    fn resolve(&mut self, scope: &[u8], token: &[u8], outcome: Outcome) -> Value {
        let store = &self.process.store;
        match store.key(scope, token).and_then(|key| store.resolve(&key, outcome)) {
            Ok(completed) => shown(completed),
            Err(error) => subject::error(&error),
        }
    }

    fn get(&mut self, scope: &[u8], token: &[u8]) -> Value {
        let store = &self.process.store;
        match store.key(scope, token).and_then(|key| store.get(&key)) {
            Ok(Known::Absent) => json!({"absent": {}}),
            Ok(Known::Unknown) => json!({"unknown": {}}),
            Ok(Known::InFlight { since, attempt, lease_left }) => {
                subject::in_flight(since, attempt, lease_left)
            }
            Ok(Known::Finished(replay)) => subject::replay("finished", &replay),
            Ok(Known::Interrupted { since, attempt, checkpoint }) => {
                subject::interrupted(since, attempt, checkpoint.as_ref())
            }
            Ok(other) => json!({"unexpected": format!("{other:?}")}),
            Err(error) => subject::error(&error),
        }
    }

    fn forget(&mut self, scope: &[u8], token: &[u8]) -> Value {
        let store = &self.process.store;
        match store.key(scope, token).and_then(|key| store.forget(&key)) {
            Ok(forgotten) => json!({"forgotten": forgotten}),
            Err(error) => subject::error(&error),
        }
    }

    fn derive(&mut self, scope: &[u8], token: &[u8], label: &[u8]) -> Value {
        match self.process.store.key(scope, token).and_then(|key| key.derive(label)) {
            Ok(token) => subject::derived(token.as_str()),
            Err(error) => subject::error(&error),
        }
    }

    fn sweep(&mut self) -> Value {
        done(self.process.store.sweep())
    }

    /// Nothing is relaxed, and so there is no call of that name.
    fn flush(&mut self) -> Value {
        done(self.process.store.count())
    }

    fn usage(&mut self) -> Value {
        match self.process.store.count() {
            Ok(own) => {
                json!({"usage": {"live_reservations": own.live_reservations, "kept_records": own.kept_records}})
            }
            Err(error) => subject::error(&error),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.home.advance(by);
        self.clock.advance(by);
    }

    /// An engine's clock is no process's to set.
    fn set_wall(&mut self, wall: Timestamp) {
        self.clock.set_wall(wall);
    }

    fn close(&mut self) -> Value {
        self.condition = Condition::Closed;
        done(self.process.store.clone().close(Duration::ZERO))
    }

    fn crash(&mut self, _survivors: Option<usize>) {
        self.condition = Condition::Killed;
    }

    fn reopen(&mut self, settings: Option<&Settings>) -> Value {
        let settings = settings.unwrap_or(&self.settings).clone();
        if self.condition == Condition::Open {
            // There is nothing to be opened again in place: the engine is asked each time.
            return subject::done();
        }
        let store = match connect(&*self.home, &settings, &self.clock) {
            Ok(store) => store,
            Err(error) => return subject::error(&error),
        };
        let before = std::mem::replace(&mut self.process, Process::with(store));
        if self.condition == Condition::Killed {
            self.killed.push(before);
        }
        self.condition = Condition::Open;
        self.settings = settings;
        subject::done()
    }
}

fn shown(completed: Completed) -> Value {
    use oncekey::reference::Completed as Seen;
    match completed {
        Completed::Kept { completed, expires } => subject::completed(Seen::Kept { completed, expires }),
        Completed::Released => subject::completed(Seen::Released),
        other => json!({"unexpected": format!("{other:?}")}),
    }
}

fn done<T>(answer: Result<T>) -> Value {
    answer.map_or_else(|error| subject::error(&error), |_| subject::done())
}

fn connect(home: &dyn Home, settings: &Settings, clock: &ManualClock) -> Result<distributed::Store> {
    builder(settings).clock(clock.clone()).background_sweep(false).node("the only one").connect(home.engine())
}
