//! The reference as a subject. Beside the model it holds what the model leaves to others: the digests, under
//! which exclusions each key was digested (2.2, 2.4), and the limits on parameters (8.1).

use std::collections::BTreeMap;
use std::time::Duration;

use oncekey::reference::{
    Answer, Asking, Fingerprint, Known, Model, OnDisk, Refusal, Reservation, Waited, WaiterId,
};
use oncekey::{Incomparable, Key, Limit, Outcome, Timestamp};
use serde_json::{Value, json};

use crate::subject::{self, Fresh, START, Subject};
use crate::vector::{self, Given, Policy, Rules, Settings, Step};

pub(crate) struct ReferenceSubject {
    pub(crate) model: Model,
    settings: Settings,
    digested_under: BTreeMap<Key, Rules>,
    reservations: BTreeMap<String, Reservation>,
    waiters: BTreeMap<String, WaiterId>,
}

impl ReferenceSubject {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            model: Model::new(model_settings(settings)),
            settings: settings.clone(),
            digested_under: BTreeMap::new(),
            reservations: BTreeMap::new(),
            waiters: BTreeMap::new(),
        }
    }

    fn rules(&self) -> Rules {
        self.settings.rules.clone().unwrap_or_default()
    }

    /// Key and request, or why not: all that is refused before anything is looked up (3.1), and digests that
    /// cannot be compared with what is known (2.4).
    fn read(&mut self, step: &Step) -> Result<(Key, Asking), Refusal> {
        let (scope, token) = step.key.as_ref().expect("a request has a key");
        let given = step.parameters.as_ref().expect("a request has parameters");
        let key = self.model.key(scope.to_vec(), token.to_vec())?;
        self.measure(given)?;
        let rules = self.comparable(&key, given)?;
        let digest = given
            .to_parameters(&rules)
            .and_then(|parameters| parameters.digest_under(&rules.to_digest_rules()))
            .map_err(|error| Refusal::of(&error).expect("parameters are refused in the model's words"))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(&digest.to_bytes()[10..]);
        let fingerprint_of =
            |values: &Vec<String>| Fingerprint::of(serde_json::to_vec(values).expect("text"));
        let named = given.named(&rules);
        let named =
            named.map(|named| named.iter().map(|(name, values)| (name, fingerprint_of(values))).collect());
        self.digested_under.insert(key.clone(), rules);
        Ok((
            key,
            Asking {
                fingerprint: Fingerprint::from(hash),
                named,
                first_sent: step.first_sent.map(Timestamp::from_millis),
                lease: step.lease_ms.map(Duration::from_millis),
                retention: step.retention_ms.map(Duration::from_millis),
                declared: step.declared_bytes,
                relaxed: step.relaxed,
                start_durably: step.start_durably,
                on_interrupted: step.on_interrupted.map(Policy::to_on_interrupted),
            },
        ))
    }

    fn measure(&self, given: &Given) -> Result<(), Refusal> {
        let (count, bytes) = given.measure();
        let within = |what, measured, limit| match limit {
            Some(limit) if measured > limit => Err(Refusal::TooLarge { what, measured, limit }),
            _ => Ok(()),
        };
        within(Limit::ParameterBytes, bytes, self.settings.parameter_bytes_max)?;
        within(Limit::ParameterCount, count, self.settings.parameter_count_max)
    }

    /// The exclusions to digest under: those of what is known of the key, or else the settings'.
    fn comparable(&self, key: &Key, given: &Given) -> Result<Rules, Refusal> {
        let known = !matches!(self.model.get(key), Ok(Known::Absent) | Err(_));
        let rules = match self.digested_under.get(key) {
            Some(rules) if known => rules.clone(),
            _ => self.rules(),
        };
        match given {
            Given::Ready { rules: Some(own), .. } if *own != rules => {
                Err(Refusal::CannotCompare(Incomparable::Rules))
            }
            _ => Ok(rules),
        }
    }

    fn show(&mut self, name: &str, answer: Result<Answer, Refusal>) -> Value {
        match answer {
            Ok(Answer::Fresh(reservation)) => {
                let seen = subject::fresh(&Fresh {
                    attempt: reservation.attempt,
                    since: reservation.since,
                    durable: reservation.durable,
                    resumed: reservation.resumed,
                    last_checkpoint: reservation.last_checkpoint.as_ref(),
                });
                self.reservations.insert(name.into(), reservation);
                seen
            }
            Ok(Answer::Replay(replay)) => subject::replay("replay", &replay),
            Ok(Answer::InFlight(running)) => subject::running(&running),
            Err(refusal) => subject::refused(&refusal),
        }
    }

    fn held(&self, name: &str) -> Reservation {
        self.reservations.get(name).unwrap_or_else(|| panic!("no reservation was named {name:?}")).clone()
    }
}

impl Subject for ReferenceSubject {
    fn offers(&self, capability: &str) -> bool {
        ["crash", "choose_survivors", "fail_commit", "reopen"].contains(&capability)
    }

    fn begin(&mut self, request: &Step, name: &str) -> Value {
        let (key, asking) = match self.read(request) {
            Ok(read) => read,
            Err(refusal) => return subject::refused(&refusal),
        };
        match self.model.begin(&key, asking.clone()) {
            Err(Refusal::Mismatch) => subject::mismatch(self.model.difference(&key, &asking).as_ref()),
            answer => self.show(name, answer),
        }
    }

    fn wait(&mut self, request: &Step, name: &str) -> Value {
        let patience = Duration::from_millis(request.patience_ms.expect("a wait has a patience_ms"));
        let (key, asking) = match self.read(request) {
            Ok(read) => read,
            Err(refusal) => return subject::refused(&refusal),
        };
        match self.model.wait(&key, asking.clone(), patience) {
            Ok(Waited::Waiting(waiter)) => {
                self.waiters.insert(name.into(), waiter);
                subject::waiting()
            }
            Ok(Waited::Answered(answer)) => self.show(name, Ok(answer)),
            Err(Refusal::Mismatch) => subject::mismatch(self.model.difference(&key, &asking).as_ref()),
            Err(refusal) => subject::refused(&refusal),
        }
    }

    fn give_up(&mut self, waiter: &str) -> Value {
        assert!(self.model.give_up(self.waiters[waiter]), "{waiter} waits");
        subject::done()
    }

    fn woken(&mut self, _at_least: usize) -> Vec<(String, Value)> {
        self.model.validate();
        let woken = self.model.woken();
        let named = woken.into_iter().map(|woken| {
            let name = self
                .waiters
                .iter()
                .find(|(_, waiter)| **waiter == woken.waiter)
                .map(|(name, _)| name.clone());
            let name = name.expect("every waiter has a name");
            let seen = match woken.answer {
                Err(Refusal::Mismatch) => subject::mismatch(woken.difference.as_ref()),
                answer => self.show(&name, answer),
            };
            (name, seen)
        });
        named.collect()
    }

    fn complete(&mut self, reservation: &str, outcome: Outcome) -> Value {
        completed(self.model.complete(&self.held(reservation), outcome))
    }

    fn complete_without_body(&mut self, reservation: &str, outcome: Outcome) -> Value {
        completed(self.model.complete_without_body(&self.held(reservation), outcome))
    }

    fn fail_commit(&mut self, reservation: &str, outcome: Outcome, on_disk: vector::OnDisk) -> Value {
        let on_disk = match on_disk {
            vector::OnDisk::Kept => OnDisk::Kept,
            vector::OnDisk::Lost => OnDisk::Lost,
        };
        completed(self.model.complete_failing(&self.held(reservation), outcome, on_disk))
    }

    fn renew(&mut self, reservation: &str) -> Value {
        done(self.model.renew(&self.held(reservation)))
    }

    fn release(&mut self, reservation: &str) -> Value {
        done(self.model.release(&self.held(reservation)))
    }

    fn drop_reservation(&mut self, reservation: &str) {
        // A guard that is dropped tells nobody that it was lost.
        let _ = self.model.release(&self.held(reservation));
    }

    fn panic(&mut self, reservation: &str) {
        let _ = self.model.panic(&self.held(reservation));
    }

    fn checkpoint(&mut self, reservation: &str, note: &[u8]) -> Value {
        done(self.model.checkpoint(&self.held(reservation), note))
    }

    fn resolve(&mut self, scope: &[u8], token: &[u8], outcome: Outcome) -> Value {
        completed(self.model.key(scope, token).and_then(|key| self.model.resolve(&key, outcome)))
    }

    fn get(&mut self, scope: &[u8], token: &[u8]) -> Value {
        match self.model.key(scope, token).and_then(|key| self.model.get(&key)) {
            Ok(Known::Absent) => json!({"absent": {}}),
            Ok(Known::Unknown) => json!({"unknown": {}}),
            Ok(Known::InFlight(running)) => subject::running(&running),
            Ok(Known::Interrupted(last)) => {
                subject::interrupted(last.since, last.attempt, last.checkpoint.as_ref())
            }
            Ok(Known::Finished(replay)) => subject::replay("finished", &replay),
            Err(refusal) => subject::refused(&refusal),
        }
    }

    fn forget(&mut self, scope: &[u8], token: &[u8]) -> Value {
        match self.model.key(scope, token).and_then(|key| self.model.forget(&key)) {
            Ok(forgotten) => json!({"forgotten": forgotten}),
            Err(refusal) => subject::refused(&refusal),
        }
    }

    /// By README.md alone, with nothing of the crate but the rule of keys.
    fn derive(&mut self, scope: &[u8], token: &[u8], label: &[u8]) -> Value {
        if let Err(refusal) = self.model.key(scope, token) {
            return subject::refused(&refusal);
        }
        if label.is_empty() || label.len() > 255 {
            return subject::invalid_label(label.len(), 255);
        }
        let framed = [scope, token, label].map(|part| [&[u8::try_from(part.len()).unwrap()], part].concat());
        let context = "oncekey 2026 v1: derive a token for a downstream call";
        let derived = blake3::Hash::from_bytes(blake3::derive_key(context, &framed.concat()));
        subject::derived(&derived.to_hex())
    }

    fn sweep(&mut self) -> Value {
        done(self.model.sweep().map(drop))
    }

    fn flush(&mut self) -> Value {
        done(self.model.flush())
    }

    fn usage(&mut self) -> Value {
        let usage = self.model.usage();
        subject::usage(usage.live_reservations, usage.kept_records, usage.kept_bytes)
    }

    fn advance(&mut self, by: Duration) {
        self.model.advance(by);
    }

    fn set_wall(&mut self, wall: Timestamp) {
        self.model.set_wall(wall);
    }

    fn close(&mut self) -> Value {
        done(self.model.close())
    }

    fn crash(&mut self, survivors: Option<usize>) {
        self.model.crash(survivors.unwrap_or(0));
    }

    fn reopen(&mut self, settings: Option<&Settings>) -> Value {
        let Some(settings) = settings else { return done(self.model.reopen()) };
        let answer = self.model.reopen_under(model_settings(settings));
        if answer.is_ok() {
            self.settings = settings.clone();
        }
        done(answer)
    }
}

fn done(answer: Result<(), Refusal>) -> Value {
    answer.map_or_else(|refusal| subject::refused(&refusal), |()| subject::done())
}

fn completed(answer: Result<oncekey::reference::Completed, Refusal>) -> Value {
    answer.map_or_else(|refusal| subject::refused(&refusal), subject::completed)
}

fn model_settings(given: &Settings) -> oncekey::reference::Settings {
    let own = oncekey::reference::Settings::default();
    let time = |given: Option<u64>, own: Duration| given.map_or(own, Duration::from_millis);
    oncekey::reference::Settings {
        wall: START,
        token_bytes_max: given.token_bytes_max.unwrap_or(own.token_bytes_max),
        scope_bytes_max: given.scope_bytes_max.unwrap_or(own.scope_bytes_max),
        retention: time(given.retention_ms, own.retention),
        lease: time(given.lease_ms, own.lease),
        relaxed: given.relaxed.unwrap_or(own.relaxed),
        outcome_bytes_max: given.outcome_bytes_max.unwrap_or(own.outcome_bytes_max),
        declared_outcome_bytes: given.declared_outcome_bytes.unwrap_or(own.declared_outcome_bytes),
        live_reservations_max: given.live_reservations_max.unwrap_or(own.live_reservations_max),
        live_reservations_per_scope_max: given.live_reservations_per_scope_max,
        waiters_per_key_max: given.waiters_per_key_max.unwrap_or(own.waiters_per_key_max),
        kept_records_max: given.kept_records_max,
        kept_bytes_max: given.kept_bytes_max,
        kept_records_per_scope_max: given.kept_records_per_scope_max,
        kept_bytes_per_scope_max: given.kept_bytes_per_scope_max,
        explain_mismatches: given.explain_mismatches.unwrap_or(own.explain_mismatches),
        clock_jump_max: time(given.clock_jump_max_ms, own.clock_jump_max),
        accept_clock_jump: given.accept_clock_jump.unwrap_or(own.accept_clock_jump),
        start_durably: given.start_durably.unwrap_or(own.start_durably),
        on_interrupted: given.on_interrupted.map_or(own.on_interrupted, Policy::to_on_interrupted),
        checkpoint_bytes_max: given.checkpoint_bytes_max.unwrap_or(own.checkpoint_bytes_max),
    }
}
