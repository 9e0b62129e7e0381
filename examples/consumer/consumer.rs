//! A delivery's walk through the consumer, and where it dies.
//!
//! Law: ask the store; let it run; acknowledge. Whatever happens before the acknowledgement brings the message back, and the
//! store says what to do with it then:
//!
//! | the store says | the consumer |
//! | --- | --- |
//! | it ran now, or it is a replay | acknowledges |
//! | retryable | gives it back; the attempts are counted by the store |
//! | final failure (the last attempt of a poison message) | acknowledges: it is kept, and never runs again |
//! | in flight: another worker has it | gives it back |
//! | mismatch: the id was used for another payload | puts it aside, and acknowledges |

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use oncekey::{Class, Key, OperationError, Parameters, Reservation, Store};
use serde::{Deserialize, Serialize};

use crate::Chance;
use crate::broker::{Broker, Delivery, Message};
use crate::ledger::Ledger;

const WORKERS: usize = 4;
/// Attempts of a message that can't be processed.
pub(crate) const ATTEMPTS_MAX: u32 = 4;
/// Of so many deliveries one is the last of its process.
const DEADLY: u32 = 15;
/// How long a worker waits for another one that has the same message.
const WAIT: Duration = Duration::from_millis(2);
/// What the ledger's token is made from, beside the key.
const LABEL: &str = "book";

/// Why a message was not processed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failed {
    /// It may go better the next time.
    Later,
    /// It won't.
    GivenUp,
}

impl OperationError for Failed {
    fn class(&self) -> Class {
        match self {
            Self::Later => Class::Retryable,
            Self::GivenUp => Class::Final,
        }
    }
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    BeforeAsking,
    /// The effect has happened, and the store does not know.
    AfterEffect,
    /// The store knows, and the broker does not.
    BeforeAcknowledging,
}

/// What the consumer met, in all its lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ran: usize,
    pub(crate) replayed: usize,
    pub(crate) retried: usize,
    pub(crate) in_flight: usize,
    pub(crate) resumed: usize,
    /// Messages whose id had been used for another payload.
    pub(crate) set_aside: BTreeSet<Message>,
    deaths: Vec<Death>,
}

impl Tally {
    pub(crate) fn crashes(&self) -> usize {
        self.deaths.len()
    }

    pub(crate) fn after_effect(&self) -> usize {
        self.deaths.iter().filter(|own| **own == Death::AfterEffect).count()
    }
}

pub(crate) struct Consumer<'a> {
    broker: &'a Broker,
    ledger: &'a Ledger,
    chance: Mutex<Chance>,
    tally: Mutex<Tally>,
}

impl<'a> Consumer<'a> {
    pub(crate) fn new(broker: &'a Broker, ledger: &'a Ledger, chance: Chance) -> Self {
        Self { broker, ledger, chance: Mutex::new(chance), tally: Mutex::default() }
    }

    /// One life: from the opening of the store until there is nothing to do, or death.
    pub(crate) fn live(&self, directory: &Path) -> oncekey::Result<()> {
        let store = Store::builder().start_durably(true).open(directory.join("tokens"))?;
        let dying = AtomicBool::new(false);
        thread::scope(|scope| {
            let work = || self.work(&store, &dying);
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            // A worker that died in the middle of an operation ended in a panic; that is what was to be shown.
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
        })
    }

    fn work(&self, store: &Store, dying: &AtomicBool) -> oncekey::Result<()> {
        while !dying.load(SeqCst) {
            let Some(delivery) = self.broker.take() else {
                if self.broker.is_empty() {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let death = self.death();
            if death == Some(Death::BeforeAsking) {
                self.die(death, dying);
                break;
            }
            let is_done = self.process(store, &delivery, death, dying)?;
            if death == Some(Death::BeforeAcknowledging) {
                self.die(death, dying);
                break;
            }
            if is_done {
                self.broker.acknowledge(&delivery);
            } else {
                self.broker.give_back(&delivery);
            }
        }
        Ok(())
    }

    /// Processes a message once, whoever delivers it how often; `false` where it shall come again.
    fn process(
        &self,
        store: &Store,
        delivery: &Delivery,
        death: Option<Death>,
        dying: &AtomicBool,
    ) -> oncekey::Result<bool> {
        let Delivery { message, payload, .. } = delivery;
        let key = store.key(message.queue, &message.id)?;
        // By what it means: a producer may write it anew.
        let parameters = Parameters::json(payload.as_bytes());
        let done = store.request(&key, &parameters).wait(WAIT).execute(|reservation| {
            let booked = self.book(message, reservation)?;
            if death == Some(Death::AfterEffect) {
                self.die(death, dying);
                resume_unwind(Box::new("the process is dead"));
            }
            Ok::<usize, Failed>(booked)
        });
        let mut tally = self.tally_mut();
        match done {
            Ok(done) if done.replayed => tally.replayed += 1,
            Ok(done) if matches!(done.result, Err(Failed::Later)) => {
                tally.retried += 1;
                return Ok(false);
            }
            Ok(_) => tally.ran += 1,
            Err(error) if error.is_mismatch() => {
                tally.set_aside.insert(Message::clone(message));
            }
            Err(error) if error.is_in_flight() => {
                tally.in_flight += 1;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The effect: under a token that is the same in each attempt.
    fn book(&self, message: &Message, reservation: &Reservation) -> Result<usize, Failed> {
        self.tally_mut().resumed += usize::from(reservation.is_resumed());
        if message.is_poison {
            let is_last = reservation.attempt() >= ATTEMPTS_MAX;
            return Err(if is_last { Failed::GivenUp } else { Failed::Later });
        }
        Ok(self.ledger.book(&token(reservation.key()), message.amount))
    }

    fn death(&self) -> Option<Death> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let deaths = [Death::BeforeAsking, Death::AfterEffect, Death::BeforeAcknowledging];
        chance.one_in(DEADLY).then(|| deaths[chance.below(3) as usize])
    }

    fn die(&self, death: Option<Death>, dying: &AtomicBool) {
        dying.store(true, SeqCst);
        self.tally_mut().deaths.extend(death);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally_mut().clone()
    }

    fn tally_mut(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the ledger knows a message by.
pub(crate) fn token(key: &Key) -> String {
    key.derive(LABEL).map(|own| own.as_str().to_owned()).unwrap_or_default()
}
