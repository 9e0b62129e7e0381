//! Lent transactions of a workload: an effect in the caller's table for each key, and its record, in one commit.

use std::ops::Range;
use std::time::Duration;

use super::super::{Answer, Reservation, Transaction};
use super::history::Effect;
use super::script::{End, KEYS, RETENTION, Step, key, parameters, script};
use super::workload::World;
use crate::ledger::{Chance, callers::EFFECTS};
use crate::outcome::Outcome;
use crate::store::Known;
use crate::sync::{shielded, yield_now};
use crate::time::Clock;

/// Of records of lent transactions, by key.
const RETENTIONS: [Duration; 3] = [Duration::from_secs(2), RETENTION, Duration::from_secs(3600)];
/// One in so many is retryable: its effect stays, and no record.
const RETRYABLE: u64 = 8;

/// A workload of which half is lent transactions.
pub(super) fn lending_script(seed: u64, steps: usize) -> Vec<Step> {
    let (mut chance, mut steps) = (Chance(seed ^ 0x1e4d), script(seed, steps));
    for step in &mut steps {
        if chance.below(2) == 0 {
            continue;
        }
        let count = 1 + u8::try_from(chance.below(4)).unwrap();
        let key = u8::try_from(chance.below(u64::from(KEYS - count))).unwrap();
        let bytes = [10, 200, 5_000, 60_000][usize::try_from(chance.below(4)).unwrap()];
        let end = match chance.below(8) {
            0 => End::Abort,
            1 => End::Drop,
            2 => End::Panic,
            _ => End::Commit,
        };
        *step = Step::Lend { key, count, bytes, end };
    }
    steps
}

impl World {
    /// Completes what is new of these keys in one lent transaction.
    pub(super) fn lend(&mut self, keys: Range<u8>, bytes: usize, end: End) {
        let mut taken = Vec::new();
        for number in keys {
            taken.extend(self.take(number).map(|held| (number, held)));
        }
        let begun = self.disk.changes();
        let transaction = self.store().transaction().unwrap();
        let (mut effects, mut released) = (Vec::new(), Vec::new());
        for (number, held) in taken {
            let (run, body) = self.next_run(bytes);
            transaction.open_table(EFFECTS).unwrap().insert(run, u64::from(number)).unwrap();
            effects.push(Effect::Row(run, u64::from(number)));
            let expires = self.clock.wall().saturating_add(held.terms().retention);
            let (durable, outcome) = (held.is_durable(), Outcome::new(body.to_vec()));
            if run % RETRYABLE == 0 {
                transaction.complete(held, outcome.retryable()).unwrap();
                released.extend(durable.then_some(number));
                continue;
            }
            transaction.complete(held, outcome.finally()).unwrap();
            if end == End::Commit {
                effects.push(Effect::Kept(number, body, expires));
            } else if durable {
                released.push(number);
            }
        }
        if end == End::Commit {
            transaction.commit().unwrap();
            self.write_down(Effect::Together(effects), true, begun);
        } else {
            give_up(transaction, end);
        }
        // Those of a panic are interrupted; the others' release is on its way, and nobody waited for it.
        for number in released {
            while matches!(self.store().get(&key(number)), Ok(Known::InFlight { .. })) {
                yield_now();
            }
            if end != End::Panic {
                self.write_down(Effect::Released(number), false, begun);
            }
        }
    }

    /// What is held of a key, or is begun now; durably, if it was interrupted.
    fn take(&mut self, number: u8) -> Option<Reservation> {
        if let Some(held) = self.held.remove(&number) {
            return Some(held);
        }
        let begun = self.disk.changes();
        let (store, key, parameters) = (self.store().clone(), key(number), parameters(number));
        let request = store.request(&key, &parameters).retention(RETENTIONS[usize::from(number) % 3]);
        match request.begin().unwrap() {
            Answer::Fresh(held) => {
                assert_eq!(self.kept(number), None, "key {number} runs again");
                if held.is_durable() {
                    let start = self.start_of(number, &held);
                    self.write_down(start, true, begun);
                }
                Some(held)
            }
            Answer::Replay(replay) => {
                assert_eq!(Some(replay.outcome().body()), self.kept(number));
                None
            }
            Answer::InFlight(_) => panic!("nobody else runs it"),
        }
    }
}

fn give_up(transaction: Transaction, end: End) {
    match end {
        End::Abort => transaction.abort().unwrap(),
        End::Panic => {
            let unwound = shielded(move || {
                let _transaction = transaction;
                std::panic::resume_unwind(Box::new("planned"));
            });
            assert!(unwound.is_none());
        }
        End::Drop | End::Commit => drop(transaction),
    }
}
