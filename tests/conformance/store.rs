//! The store as a subject, on a directory, in memory, or in a caller's database. Its time is a `ManualClock`, its waiters are futures that
//! are polled by hand after every step, and a killed process is a copy of its files: whatever the process held
//! goes on being held, unseen, until the scenario has ended.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use oncekey::{
    Answer, Builder, Completed, InFlight, Key, Known, ManualClock, Outcome, Refused, Reservation, Result,
    Store, Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::subject::{self, Fresh, START, Subject};
use crate::vector::{OnDisk, Rules, Settings, Step};

/// How long a waiter that should be woken may take, in real time.
const WAKING_MAX: Duration = Duration::from_secs(5);
/// How often all waiters are asked at least, so that one who should sleep on has its chance to be found awake.
const ROUNDS_MIN: u32 = 3;

type Waiting = Pin<Box<dyn Future<Output = Result<Answer>>>>;

pub(crate) struct StoreSubject {
    clock: ManualClock,
    settings: Settings,
    process: Process,
    /// Processes that were killed: nothing of theirs is dropped, since a killed process releases nothing.
    killed: Vec<Process>,
    home: Home,
    condition: Condition,
}

/// What one process holds.
struct Process {
    store: Store,
    reservations: BTreeMap<String, Reservation>,
    waiters: BTreeMap<String, Waiting>,
}

enum Home {
    Memory,
    /// The parent of all copies, how many there were, and what is set beside the settings.
    Directory {
        parent: TempDir,
        copies: u32,
        with: fn(Builder) -> Builder,
    },
    /// The parent of all copies of the caller's database, how many there were, and the one that is open.
    #[cfg(feature = "redb-transactions")]
    Database {
        parent: TempDir,
        copies: u32,
        database: std::sync::Arc<redb::Database>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Open,
    Closed,
    Killed,
}

impl StoreSubject {
    pub(crate) fn on_a_directory(settings: &Settings) -> Self {
        Self::on_a_directory_with(settings, |builder| builder)
    }

    #[cfg(feature = "encryption")]
    pub(crate) fn encrypted(settings: &Settings) -> Self {
        Self::on_a_directory_with(settings, |own| own.encryption_key(oncekey::EncryptionKey::new([9; 32])))
    }

    fn on_a_directory_with(settings: &Settings, with: fn(Builder) -> Builder) -> Self {
        let parent = TempDir::new().unwrap();
        Self::new(settings, Home::Directory { parent, copies: 0, with })
    }

    pub(crate) fn in_memory(settings: &Settings) -> Self {
        Self::new(settings, Home::Memory)
    }

    #[cfg(feature = "redb-transactions")]
    pub(crate) fn in_a_database(settings: &Settings) -> Self {
        let parent = TempDir::new().unwrap();
        let database = database(&parent, 0);
        Self::new(settings, Home::Database { parent, copies: 0, database })
    }

    fn new(settings: &Settings, home: Home) -> Self {
        let clock = ManualClock::at(START);
        let store = open(&home, settings, &clock).unwrap();
        let process = Process::with(store);
        let settings = settings.clone();
        Self { clock, settings, process, killed: Vec::new(), home, condition: Condition::Open }
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
        if let Some(bytes) = step.declared_bytes {
            request = request.declare(bytes);
        }
        request = match step.start_durably {
            Some(true) => request.start_durably(),
            Some(false) => request.start_volatile(),
            None => request,
        };
        if let Some(policy) = step.on_interrupted {
            request = request.on_interrupted(policy.to_on_interrupted());
        }
        match step.relaxed {
            Some(true) => request.relaxed().begin(),
            Some(false) => request.durable().begin(),
            None => request.begin(),
        }
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
        use oncekey::reference::Completed as Seen;
        match answer {
            Ok(Completed::Kept { completed, expires }) => {
                subject::completed(Seen::Kept { completed, expires })
            }
            Ok(Completed::Released) => subject::completed(Seen::Released),
            Ok(other) => json!({"unexpected": format!("{other:?}")}),
            Err(Refused { error, reservation }) => {
                self.process.reservations.extend(reservation.map(|held| (name.to_owned(), held)));
                subject::error(&error)
            }
        }
    }

    /// A release that is on its way to the disk takes its moment; the model's takes none. Nobody who is given the key
    /// meanwhile is mistaken for the one who let it go: it has a higher attempt.
    fn until_released(&self, key: &Key, attempt: u32) {
        let start = Instant::now();
        loop {
            match self.process.store.get(key) {
                Ok(Known::InFlight { attempt: own, lease_left: None, .. }) if own == attempt => {}
                _ => return,
            }
            assert!(start.elapsed() < WAKING_MAX, "a release that is never written");
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
    fn with(store: Store) -> Self {
        Self { store, reservations: BTreeMap::new(), waiters: BTreeMap::new() }
    }
}

impl Subject for StoreSubject {
    fn offers(&self, capability: &str) -> bool {
        !matches!(self.home, Home::Memory) && ["crash", "reopen"].contains(&capability)
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
        let mut waiting: Waiting = Box::pin(wait_for(in_flight, patience));
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
        unreachable!("not offered: a directory's commits do not fail on demand")
    }

    fn renew(&mut self, reservation: &str) -> Value {
        done(self.process.reservations[reservation].renew())
    }

    fn release(&mut self, reservation: &str) -> Value {
        let held = self.take(reservation);
        let (key, attempt) = (held.key().clone(), held.attempt());
        let released = held.release();
        self.until_released(&key, attempt);
        done(released)
    }

    fn drop_reservation(&mut self, reservation: &str) {
        let held = self.take(reservation);
        let (key, attempt) = (held.key().clone(), held.attempt());
        drop(held);
        self.until_released(&key, attempt);
    }

    fn panic(&mut self, reservation: &str) {
        let held = self.take(reservation);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = held;
            resume_unwind(Box::new("planned"));
        }));
        assert!(panicked.is_err());
    }

    fn checkpoint(&mut self, reservation: &str, note: &[u8]) -> Value {
        done(self.process.reservations[reservation].checkpoint(note))
    }

    fn resolve(&mut self, scope: &[u8], token: &[u8], outcome: Outcome) -> Value {
        use oncekey::reference::Completed as Seen;
        let store = &self.process.store;
        match store.key(scope, token).and_then(|key| store.resolve(&key, outcome)) {
            Ok(Completed::Kept { completed, expires }) => {
                subject::completed(Seen::Kept { completed, expires })
            }
            Ok(Completed::Released) => subject::completed(Seen::Released),
            Ok(other) => json!({"unexpected": format!("{other:?}")}),
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

    fn flush(&mut self) -> Value {
        done(self.process.store.flush())
    }

    fn usage(&mut self) -> Value {
        let stats = self.process.store.stats();
        subject::usage(stats.live_reservations, stats.kept_records, stats.kept_bytes)
    }

    fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    fn set_wall(&mut self, wall: Timestamp) {
        self.clock.set_wall(wall);
    }

    fn close(&mut self) -> Value {
        self.condition = Condition::Closed;
        done(self.process.store.clone().close(Duration::ZERO))
    }

    fn crash(&mut self, _survivors: Option<usize>) {
        self.condition = Condition::Killed;
        match &mut self.home {
            Home::Memory => {}
            Home::Directory { parent, copies, .. } => {
                let (from, to) = (directory(parent, *copies), directory(parent, *copies + 1));
                copy(&from, &to);
                *copies += 1;
            }
            // The killed process goes on holding its own.
            #[cfg(feature = "redb-transactions")]
            Home::Database { parent, copies, database: open } => {
                std::fs::copy(directory(parent, *copies), directory(parent, *copies + 1)).unwrap();
                *copies += 1;
                *open = database(parent, *copies);
            }
        }
    }

    fn reopen(&mut self, settings: Option<&Settings>) -> Value {
        let settings = settings.unwrap_or(&self.settings).clone();
        if self.condition == Condition::Open {
            return done(self.process.store.reopen());
        }
        let store = match open(&self.home, &settings, &self.clock) {
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

async fn wait_for(in_flight: InFlight, patience: Duration) -> Result<Answer> {
    in_flight.wait_async(patience).await
}

fn done<T>(answer: Result<T>) -> Value {
    answer.map_or_else(|error| subject::error(&error), |_| subject::done())
}

fn open(home: &Home, settings: &Settings, clock: &ManualClock) -> Result<Store> {
    let builder = builder(settings).clock(clock.clone()).background_sweep(false);
    match home {
        Home::Memory => builder.open_in_memory(),
        Home::Directory { parent, copies, with } => with(builder).open(directory(parent, *copies)),
        #[cfg(feature = "redb-transactions")]
        Home::Database { database, .. } => builder.open_in(std::sync::Arc::clone(database), "tokens"),
    }
}

#[cfg(feature = "redb-transactions")]
fn database(parent: &TempDir, copies: u32) -> std::sync::Arc<redb::Database> {
    std::sync::Arc::new(redb::Database::create(directory(parent, copies)).unwrap())
}

fn directory(parent: &TempDir, copies: u32) -> PathBuf {
    parent.path().join(format!("store {copies}"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The settings, each where it is given.
pub(crate) fn builder(settings: &Settings) -> Builder {
    let mut builder = Store::builder();
    macro_rules! set {
        ($settings:expr; $($name:ident),*) => {
            $(if let Some(value) = $settings.$name {
                builder = builder.$name(value);
            })*
        };
    }
    set!(settings; token_bytes_max, scope_bytes_max, outcome_bytes_max, declared_outcome_bytes);
    set!(settings; parameter_count_max, parameter_bytes_max, live_reservations_max, waiters_per_key_max);
    set!(settings; kept_records_max, kept_bytes_max);
    builder = builder
        .live_reservations_per_scope_max(settings.live_reservations_per_scope_max)
        .kept_records_per_scope_max(settings.kept_records_per_scope_max)
        .kept_bytes_per_scope_max(settings.kept_bytes_per_scope_max)
        .explain_mismatches(settings.explain_mismatches == Some(true))
        .rules(settings.rules.clone().unwrap_or_default().to_digest_rules());
    set!(settings; start_durably, checkpoint_bytes_max);
    if let Some(policy) = settings.on_interrupted {
        builder = builder.on_interrupted(policy.to_on_interrupted());
    }
    if let Some(retention) = settings.retention_ms {
        builder = builder.retention(Duration::from_millis(retention));
    }
    if let Some(lease) = settings.lease_ms {
        builder = builder.lease(Duration::from_millis(lease));
    }
    if let Some(limit) = settings.clock_jump_max_ms {
        builder = builder.clock_jump_max(Duration::from_millis(limit));
    }
    if settings.accept_clock_jump == Some(true) {
        builder = builder.accept_clock_jump();
    }
    if settings.relaxed == Some(true) {
        // Longer than any scenario takes, so that nothing is synced unasked.
        builder = builder.relaxed(Duration::from_secs(3600));
    }
    set!(settings.tuning; stripes, recent_bytes_max, segment_bytes_max);
    builder
}
