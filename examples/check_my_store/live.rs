//! This crate's store, called from many threads at the same time, in the words of the protocol.

use std::collections::BTreeMap;
use std::sync::Mutex;

use oncekey::{Answer, Completed, Key, Known, Refused, Reservation, Result, Store};
use serde_json::{Value, json};

use crate::subject::{self, Fresh};
use crate::vector::{Do, Rules, Step};

pub(crate) struct Live {
    store: Store,
    held: Mutex<BTreeMap<String, Reservation>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { store: Store::in_memory().expect("memory and threads"), held: Mutex::default() }
    }
}

impl Live {
    /// Each on a thread of its own.
    pub(crate) fn together(&self, calls: &[Step]) -> Vec<Value> {
        let barrier = std::sync::Barrier::new(calls.len());
        std::thread::scope(|scope| {
            let call = |step| {
                barrier.wait();
                self.call(step)
            };
            let threads: Vec<_> = calls.iter().map(|step| scope.spawn(move || call(step))).collect();
            threads.into_iter().map(|own| own.join().unwrap_or(Value::Null)).collect()
        })
    }

    fn call(&self, step: &Step) -> Value {
        let answer = match step.action {
            Do::Begin => self.begin(step),
            Do::Get => self.key(step).and_then(|key| self.store.get(&key)).map(|known| show(&known)),
            Do::Forget => {
                self.key(step).and_then(|key| self.store.forget(&key)).map(|was| json!({"forgotten": was}))
            }
            Do::Complete => self.complete(step),
            Do::Release => self.take(step).release().map(|()| subject::done()),
            _ => return json!({"unsupported": {}}),
        };
        answer.unwrap_or_else(|error| subject::error(&error))
    }

    fn key(&self, step: &Step) -> Result<Key> {
        let (scope, token) = step.key.as_ref().expect("it has a key");
        self.store.key(scope.to_vec(), token.to_vec())
    }

    fn take(&self, step: &Step) -> Reservation {
        let name = step.reservation.as_ref().expect("it names a reservation");
        self.held.lock().expect("nobody panics").remove(name).expect("it is held")
    }

    fn begin(&self, step: &Step) -> Result<Value> {
        let given = step.parameters.as_ref().expect("a request has parameters");
        let parameters = given.to_parameters(&Rules::default())?;
        Ok(match self.store.begin(&self.key(step)?, &parameters)? {
            Answer::Fresh(held) => {
                let seen = subject::fresh(&Fresh {
                    attempt: held.attempt(),
                    since: held.since(),
                    durable: held.is_durable(),
                    resumed: held.is_resumed(),
                    last_checkpoint: held.last_checkpoint(),
                });
                let name = step.name.clone().expect("it has a name");
                self.held.lock().expect("nobody panics").insert(name, held);
                seen
            }
            Answer::Replay(replay) => subject::replay("replay", &replay),
            Answer::InFlight(own) => subject::in_flight(own.since(), own.attempt(), own.lease_left()),
            other => json!({"unexpected": format!("{other:?}")}),
        })
    }

    fn complete(&self, step: &Step) -> Result<Value> {
        let outcome = step.outcome.as_ref().expect("it has an outcome").to_outcome();
        match self.take(step).complete(outcome) {
            Ok(Completed::Kept { completed, expires }) => {
                let (completed, expires) = (completed.as_millis(), expires.as_millis());
                Ok(json!({"kept": {"completed": completed, "expires": expires}}))
            }
            Ok(other) => Ok(json!({"unexpected": format!("{other:?}")})),
            Err(Refused { error, .. }) => Err(error),
        }
    }
}

fn show(known: &Known) -> Value {
    match known {
        Known::Absent => json!({"absent": {}}),
        Known::InFlight { since, attempt, lease_left } => subject::in_flight(*since, *attempt, *lease_left),
        Known::Finished(replay) => subject::replay("finished", replay),
        other => json!({"unexpected": format!("{other:?}")}),
    }
}
