//! Goal: contract 5.1, 5.5 to 5.7, 5.10 on a disk that fails. Method: a workload runs on a disk whose n-th change (or
//! reading, or sync) fails: once, in doubt, half done, for ever, so that the cache keeps what the disk has not, or because
//! the disk is full from there on; for n = 1 until nothing fails any more. After every step the store's answers are held against what was acknowledged; then the disk is healed, the
//! store is opened in place, dropped and opened again, and cut.
//!
//! `ONCEKEY_FAULTS=n` runs n workloads with every n-th change failing in every manner.

use std::collections::BTreeMap;
use std::io::ErrorKind as IoKind;
use std::time::Duration;

use super::super::{Answer, Known, Store};
use super::campaign::{Campaign, seeds};
use super::check_serving;
use super::home::{Home, Opened};
use super::script::{KEYS, START, Step, body, key, parameters, script};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Cut, Failure, Faulty};
use crate::outcome::Outcome;
use crate::time::{Clock, ManualClock, Timestamp};

const STEPS: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    /// Acknowledged.
    Kept(Vec<u8>, Timestamp),
    /// Its commit failed.
    Unknown(Vec<u8>, Timestamp),
    /// It was acknowledged, and forgetting it failed.
    PerhapsForgotten(Vec<u8>, Timestamp),
    /// Durably started, so many times at least, and perhaps once more; and whether a checkpoint was acknowledged. It is
    /// interrupted or was released, and never taken for one never begun.
    Begun(u32, bool),
}

struct Trial {
    context: String,
    failure: Failure,
    opened: Option<Opened>,
    clock: ManualClock,
    disk: Faulty,
    known: BTreeMap<u8, Status>,
    runs: u64,
    /// Reopening failed: there is no way to the disk.
    cut_off: bool,
}

impl Trial {
    fn new(failure: Failure, of: &str) -> Self {
        let (clock, disk) = (ManualClock::at(START), Faulty::new());
        disk.fail(Some(failure));
        let context = format!("{of}, {failure:?}");
        let known = BTreeMap::new();
        let mut trial = Self { context, failure, opened: None, clock, disk, known, runs: 0, cut_off: false };
        trial.open();
        trial
    }

    fn failed(&self) -> bool {
        self.disk.asked().2 > 0
    }

    /// Opens; a failure that lasts is healed first.
    fn open(&mut self) {
        let opened = Home::Files.open(&self.disk, &self.clock).or_else(|error| {
            assert!(self.failed(), "{}: {error}", self.context);
            if matches!(self.failure, Failure::From(..) | Failure::Full(_)) {
                self.disk.fail(None);
            }
            Home::Files.open(&self.disk, &self.clock)
        });
        self.opened = Some(opened.unwrap_or_else(|error| panic!("{}: {error}", self.context)));
        self.resolve();
    }

    fn store(&self) -> &Store {
        &self.opened.as_ref().unwrap().store
    }

    fn kept(&self, number: u8) -> Option<&Vec<u8>> {
        match self.known.get(&number) {
            Some(Status::Kept(body, expires)) if *expires > self.clock.wall() => Some(body),
            _ => None,
        }
    }

    /// After a reading error anything may be refused once; otherwise only what needs the disk to be written.
    fn may_refuse(&self, error: &Error) -> bool {
        self.failed()
            && match error.kind() {
                ErrorKind::Stopped { .. } | ErrorKind::Full { .. } => true,
                ErrorKind::Io { .. } => matches!(self.failure, Failure::Read(..)),
                _ => false,
            }
    }

    fn run(&mut self, step: Step) {
        let context = format!("{}, {step:?}", self.context);
        match step {
            Step::Complete { key, bytes, retention, .. } => {
                self.complete(key, bytes, retention, &context);
            }
            Step::Batch { key, count, .. } => {
                for key in key..key + count {
                    self.complete(key, 100, Duration::from_secs(20), &context);
                }
            }
            Step::Start { key, .. } => self.start(key, &context),
            Step::Release(_) | Step::Note { .. } | Step::Let(_) | Step::Panic(_) | Step::Resolve(_) => {}
            #[cfg(feature = "redb-transactions")]
            Step::Lend { .. } => {}
            Step::Forget(number) => match self.store().forget(&key(number)) {
                Ok(done) => {
                    let sure = matches!(self.known.get(&number), None | Some(Status::Kept(..)));
                    assert!(!sure || done == self.kept(number).is_some(), "{context}");
                    self.known.remove(&number);
                }
                Err(error) if error.is_unknown_outcome() => {
                    assert!(matches!(self.known.get(&number), Some(Status::Unknown(..))), "{context}");
                }
                Err(error) => {
                    assert!(self.may_refuse(&error), "{context}: {error}");
                    match self.known.get(&number).cloned() {
                        Some(Status::Kept(body, expires)) => {
                            self.known.insert(number, Status::PerhapsForgotten(body, expires));
                        }
                        Some(Status::Begun(..)) => drop(self.known.insert(number, Status::Begun(0, false))),
                        _ => {}
                    }
                }
            },
            Step::Advance(by) => self.clock.advance(by),
            Step::Sweep => assert!(self.store().sweep().is_ok() || self.failed(), "{context}"),
            Step::Flush => {
                let flushed = self.store().flush();
                assert!(flushed.is_ok() || self.failed(), "{context}");
            }
            Step::Reopen => match self.store().reopen() {
                Ok(()) => {
                    self.cut_off = false;
                    self.resolve();
                }
                Err(error) => {
                    assert!(self.failed(), "{context}: {error}");
                    self.cut_off = true;
                }
            },
            Step::Restart => {
                let closed = self.opened.take().unwrap().store.close(Duration::ZERO);
                assert!(closed.is_ok() || self.failed(), "{context}");
                self.cut_off = false;
                self.open();
            }
        }
        self.check(&context);
    }

    /// A durable operation, from its start over a checkpoint to its release.
    fn start(&mut self, number: u8, context: &str) {
        let store = self.store().clone();
        let (key, parameters) = (key(number), parameters(number));
        let least = self.begun(number);
        let held = match store.request(&key, &parameters).start_durably().durable().begin() {
            Ok(Answer::Fresh(held)) => held,
            Ok(Answer::InFlight(_)) => panic!("{context}: nobody else runs it"),
            Ok(Answer::Replay(replay)) => {
                let known = self.known.get(&number);
                assert!(
                    matches!(known, Some(Status::Kept(body, _) | Status::PerhapsForgotten(body, _)) if replay.outcome().body() == body),
                    "{context}: a replay of nothing: {replay:?}"
                );
                return;
            }
            Err(error) if error.is_unknown_outcome() => {
                assert!(matches!(self.known.get(&number), Some(Status::Unknown(..))), "{context}");
                return;
            }
            Err(error) => {
                assert!(self.may_refuse(&error), "{context}: {error}");
                // It was not given out; whether the disk has it, nobody knows.
                if self.kept(number).is_none() && !self.is_doubtful(number) {
                    self.known.entry(number).and_modify(|own| {
                        if matches!(own, Status::Kept(..)) {
                            *own = Status::Begun(0, false);
                        }
                    });
                    self.known.entry(number).or_insert(Status::Begun(0, false));
                }
                return;
            }
        };
        assert_eq!(self.kept(number), None, "{context}: an acknowledged key runs again");
        assert!(held.attempt() > least, "{context}: attempt {} anew", held.attempt());
        let noted = held.checkpoint(b"noted").is_ok();
        let noted = noted || held.last_checkpoint().is_some();
        self.known.insert(number, Status::Begun(held.attempt(), noted));
        drop(held);
        while matches!(store.get(&key), Ok(Known::InFlight { .. })) {
            crate::sync::yield_now();
        }
    }

    /// How often it was durably started at least.
    fn begun(&self, number: u8) -> u32 {
        match self.known.get(&number) {
            Some(Status::Begun(attempts, _)) => *attempts,
            _ => 0,
        }
    }

    fn is_doubtful(&self, number: u8) -> bool {
        matches!(self.known.get(&number), Some(Status::Unknown(..) | Status::PerhapsForgotten(..)))
    }

    fn complete(&mut self, number: u8, bytes: usize, retention: Duration, context: &str) {
        let store = self.store().clone();
        let (key, parameters) = (key(number), parameters(number));
        let request =
            store.request(&key, &parameters).retention(retention).declare(bytes as u64 + 8).durable();
        let held = match request.begin() {
            Ok(Answer::Fresh(held)) => held,
            Ok(Answer::Replay(replay)) => {
                let Some(Status::Kept(body, _) | Status::PerhapsForgotten(body, _)) = self.known.get(&number)
                else {
                    panic!("{context}: a replay of nothing: {replay:?}")
                };
                assert_eq!(replay.outcome().body(), body, "{context}");
                return;
            }
            Ok(Answer::InFlight(_)) => panic!("{context}: nobody else runs it"),
            Err(error) if error.is_unknown_outcome() => {
                assert!(matches!(self.known.get(&number), Some(Status::Unknown(..))), "{context}");
                return;
            }
            Err(error) => {
                assert!(self.may_refuse(&error), "{context}: {error}");
                return;
            }
        };
        assert_eq!(self.kept(number), None, "{context}: an acknowledged key runs again");
        assert!(!matches!(self.known.get(&number), Some(Status::Unknown(..))), "{context}: it may be there");
        assert!(held.attempt() > self.begun(number), "{context}: attempt {} anew", held.attempt());
        let attempt = held.attempt();
        self.runs += 1;
        let body = body(self.runs, bytes);
        let expires = self.clock.wall().saturating_add(retention);
        match held.complete(Outcome::new(body.clone()).finally()) {
            Ok(_) => drop(self.known.insert(number, Status::Kept(body, expires))),
            Err(refused) => {
                assert!(self.failed(), "{context}: {refused}");
                assert!(
                    !matches!(self.failure, Failure::Full(_)),
                    "{context}: room was set aside: {refused}"
                );
                if let Some(held) = refused.reservation {
                    assert!(self.may_refuse(&refused.error), "{context}: {}", refused.error);
                    if held.is_durable() {
                        let noted = held.last_checkpoint().is_some();
                        self.known.insert(number, Status::Begun(attempt, noted));
                    }
                    drop(held);
                } else {
                    assert!(refused.error.is_unknown_outcome(), "{context}: {}", refused.error);
                    self.known.insert(number, Status::Unknown(body, expires));
                }
            }
        }
    }

    /// Whatever stopped, what was acknowledged is replayed and what is unknown says so.
    fn check(&mut self, context: &str) {
        if self.cut_off {
            return;
        }
        for number in 0..KEYS {
            let answer = self.store().get(&key(number));
            match (&answer, self.known.get(&number)) {
                (Err(error), _) if self.may_refuse(error) && matches!(self.failure, Failure::Read(..)) => {}
                (Ok(Known::Finished(replay)), Some(Status::Kept(body, expires))) => {
                    assert_eq!(replay.outcome().body(), body, "{context}");
                    assert!(*expires > self.clock.wall(), "{context}: replayed after its time");
                }
                (Ok(Known::Finished(replay)), Some(Status::PerhapsForgotten(body, _))) => {
                    assert_eq!(replay.outcome().body(), body, "{context}");
                }
                (Ok(Known::Absent), None | Some(Status::Kept(..))) if self.kept(number).is_none() => {}
                (Ok(Known::Interrupted { attempt, checkpoint, .. }), Some(Status::Begun(least, noted))) => {
                    assert!((*least..=least + 1).contains(attempt), "{context}: {attempt} of {least}");
                    assert!(!noted || checkpoint.is_some(), "{context}: its checkpoint is gone");
                }
                (Ok(Known::Absent), Some(Status::PerhapsForgotten(..) | Status::Begun(..)))
                | (Ok(Known::Unknown), Some(Status::Unknown(..))) => {}
                (_, known) => {
                    panic!("{context}: key {number} is {known:?}, found {answer:?}", known = brief(known))
                }
            }
        }
    }

    /// After an opening nothing is unknown any more.
    fn resolve(&mut self) {
        for number in 0..KEYS {
            let Some(Status::Unknown(body, expires) | Status::PerhapsForgotten(body, expires)) =
                self.known.get(&number).cloned()
            else {
                continue;
            };
            match self.store().get(&key(number)) {
                Ok(Known::Finished(replay)) => {
                    assert_eq!(replay.outcome().body(), body, "{}: key {number}", self.context);
                    self.known.insert(number, Status::Kept(body, expires));
                }
                Ok(Known::Absent) => drop(self.known.remove(&number)),
                // Its end was lost, and its start was not.
                Ok(Known::Interrupted { attempt, checkpoint, .. }) => {
                    self.known.insert(number, Status::Begun(attempt, checkpoint.is_some()));
                }
                Err(error) if self.may_refuse(&error) => {}
                other => panic!("{}: key {number}: {other:?}", self.context),
            }
        }
    }

    fn end(mut self) {
        self.disk.fail(None);
        self.store().reopen().unwrap_or_else(|error| panic!("{}: {error}", self.context));
        self.cut_off = false;
        self.resolve();
        self.check(&format!("{}, opened in place", self.context));
        drop(self.opened.take());
        self.disk = Faulty::over(self.disk.platter().cut(Cut::Lost));
        let opened = Home::Files.open(&self.disk, &self.clock);
        self.opened = Some(opened.unwrap_or_else(|error| panic!("{}, cut: {error}", self.context)));
        self.check(&format!("{}, cut", self.context));
        check_serving(self.opened.as_ref().unwrap(), &self.clock, &self.context);
    }
}

fn brief(status: Option<&Status>) -> String {
    format!("{status:?}").chars().take(60).collect()
}

/// Runs steps on a disk with this failure; whether anything failed.
pub(crate) fn check_fault(steps: impl IntoIterator<Item = Step>, failure: Failure, of: &str) -> bool {
    let mut trial = Trial::new(failure, of);
    for step in steps {
        trial.run(step);
    }
    let failed = trial.failed();
    trial.end();
    failed
}

/// Every n-th call, from the first one on, with a stride, until nothing fails any more.
fn fail_everywhere(name: &'static str, stride: u64, manner: impl Fn(u64) -> Failure) {
    let (seeds, long) = seeds("ONCEKEY_FAULTS", 2);
    let mut campaign = Campaign::new(name, "ONCEKEY_FAULTS");
    let stride = if long { 1 } else { stride };
    for seed in seeds {
        campaign.seed = seed;
        let mut at = 1 + seed % stride;
        while check_fault(script(seed, STEPS), manner(at), &format!("seed {seed}")) {
            campaign.cases += 1;
            campaign.faults += 1;
            at += stride;
        }
        campaign.tell(format_args!("{at} calls"));
    }
    assert!(campaign.faults > 0);
}

#[test]
fn the_nth_change_fails_once_5_5() {
    fail_everywhere("fault-once", 13, |at| Failure::Once(at, IoKind::Other));
}

#[test]
fn the_nth_change_happens_and_is_reported_as_failed_5_5() {
    fail_everywhere("fault-in-doubt", 13, |at| Failure::InDoubt(at, IoKind::Other));
}

#[test]
fn the_nth_change_and_all_later_ones_fail_5_5() {
    fail_everywhere("fault-for-ever", 13, |at| Failure::From(at, IoKind::Other));
}

#[test]
fn the_disk_is_full_from_the_nth_change_on_and_what_was_admitted_completes_5_10() {
    fail_everywhere("fault-full", 13, Failure::Full);
}

#[test]
fn the_nth_reading_fails_5_5() {
    fail_everywhere("fault-reading", 13, |at| Failure::Read(at, IoKind::Other));
}

#[test]
fn the_nth_change_is_cut_short_5_5() {
    fail_everywhere("fault-short", 13, |at| Failure::Short(at, IoKind::Other));
}

#[test]
fn the_nth_sync_fails_and_its_pages_stay_in_the_cache_alone_5_5() {
    fail_everywhere("fault-sync-lost", 4, |at| Failure::SyncLost(at, IoKind::Other));
}

/// A sealed segment that does not say what is in it stays; a sweep once took it for an empty one, and removed it.
#[test]
fn no_reading_of_a_sweep_that_fails_takes_a_kept_record_along_5_5_8_3() {
    let complete = |key, bytes, retention| {
        let retention = Duration::from_secs(retention);
        Step::Complete { key, bytes, retention, relaxed: false }
    };
    let later = Step::Advance(Duration::from_secs(6));
    let steps = [
        [complete(1, 60_000, 3600), complete(2, 60_000, 5), later, Step::Sweep],
        [complete(3, 10, 3600), later, Step::Sweep, Step::Reopen],
        [complete(4, 5_000, 3600), later, Step::Sweep, Step::Sweep],
    ];
    let mut at = 1;
    while check_fault(steps.concat(), Failure::Read(at, IoKind::Other), "sweeping") {
        at += 1;
    }
    assert!(at > 50, "{at} readings are few");
}
