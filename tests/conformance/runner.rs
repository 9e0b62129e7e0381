//! Runs a scenario against a subject and tells the first difference.
//!
//! Law: what is expected is a part of what is seen: each member that a vector names has to be there and be
//! equal, members that it does not name may be anything. Who is woken is exact: nobody may be woken whom the
//! step does not name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oncekey::{Outcome, Timestamp};
use serde_json::{Map, Value};

use crate::subject::{self, Subject};
use crate::vector::{Bytes, Do, Scenario, Step, WokenRule};

/// Runs all steps. `Err` tells which one went otherwise, and how.
pub(crate) fn run(scenario: &Scenario, subject: &mut dyn Subject) -> Result<(), String> {
    let mut run = Run { subject, holders: BTreeMap::new(), waiting: BTreeSet::new(), unnamed: 0 };
    for (number, step) in scenario.steps.iter().enumerate() {
        run.step(step).map_err(|difference| {
            format!("{:?}, step {} ({:?}): {difference}", scenario.name, number + 1, step.action)
        })?;
    }
    Ok(())
}

struct Run<'a> {
    subject: &'a mut dyn Subject,
    /// Under which waiter's name the reservation is that a vector calls otherwise.
    holders: BTreeMap<String, String>,
    waiting: BTreeSet<String>,
    unnamed: usize,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let seen = self.act(step)?;
        let alternatives: Vec<Value> = match (&step.expect, &step.expect_any[..]) {
            (Some(expected), []) => vec![expected.clone()],
            (None, []) => vec![subject::done()],
            (None, any) => any.to_vec(),
            (Some(_), _) => return Err("a step has expect or expect_any, not both".into()),
        };
        if !alternatives.iter().any(|expected| is_part_of(&normal(expected), &seen)) {
            return Err(format!("expected {}, saw {seen}", Value::from(alternatives)));
        }
        self.check_woken(step)
    }

    fn act(&mut self, step: &Step) -> Result<Value, String> {
        let name = self.name_for(step);
        match step.action {
            Do::GiveUp => drop(self.waiting.remove(given(step.waiter.as_ref(), "waiter")?)),
            Do::Crash => self.waiting.clear(),
            _ => {}
        }
        let holder = step.reservation.as_ref().map(|name| self.holders.get(name).unwrap_or(name).as_str());
        let seen = act(self.subject, step, &name, holder)?;
        if step.action == Do::Wait && seen == subject::waiting() {
            self.waiting.insert(name);
        }
        Ok(seen)
    }

    fn name_for(&mut self, step: &Step) -> String {
        self.unnamed += 1;
        step.name.clone().unwrap_or_else(|| format!("unnamed {}", self.unnamed))
    }

    fn check_woken(&mut self, step: &Step) -> Result<(), String> {
        let at_least = step.woken.iter().map(|rule| self.names_of(rule).0).sum();
        let mut woken = self.subject.woken(at_least);
        for rule in &step.woken {
            let (count, names) = self.names_of(rule);
            let expected = normal(&rule.expect);
            let (hit, rest): (Vec<_>, Vec<_>) = woken
                .into_iter()
                .partition(|(name, seen)| names.contains(name) && is_part_of(&expected, seen));
            woken = rest;
            if hit.len() != count {
                return Err(format!(
                    "of {names:?} {count} should be woken with {expected}: {hit:?} were, and {woken:?}"
                ));
            }
            for (waiter, _) in hit {
                self.waiting.remove(&waiter);
                if let Some(name) = &rule.name {
                    self.holders.insert(name.clone(), waiter);
                }
            }
        }
        if woken.is_empty() { Ok(()) } else { Err(format!("woken, and should not be: {woken:?}")) }
    }

    /// How many of which waiters a rule names.
    fn names_of(&self, rule: &WokenRule) -> (usize, Vec<String>) {
        if !rule.one_of.is_empty() {
            return (1, rule.one_of.clone());
        }
        if !rule.all_of.is_empty() {
            return (rule.all_of.len(), rule.all_of.clone());
        }
        let rest: Vec<String> =
            rule.rest_of.iter().filter(|name| self.waiting.contains(*name)).cloned().collect();
        (rest.len(), rest)
    }
}

/// Has a subject do what a step says; `name` is for what it gives, `holder` the name of the reservation that it is about.
pub(crate) fn act(
    subject: &mut dyn Subject,
    step: &Step,
    name: &str,
    holder: Option<&str>,
) -> Result<Value, String> {
    let holder = || holder.ok_or_else(|| "the step needs the member \"reservation\"".to_owned());
    Ok(match step.action {
        Do::Begin => subject.begin(step, name),
        Do::Wait => subject.wait(step, name),
        Do::GiveUp => subject.give_up(given(step.waiter.as_ref(), "waiter")?),
        Do::Complete => subject.complete(holder()?, outcome(step)?),
        Do::CompleteWithoutBody => subject.complete_without_body(holder()?, outcome(step)?),
        Do::FailCommit => {
            let on_disk = given(step.on_disk.as_ref(), "on_disk")?;
            subject.fail_commit(holder()?, outcome(step)?, *on_disk)
        }
        Do::Renew => subject.renew(holder()?),
        Do::Release => subject.release(holder()?),
        Do::Drop => {
            subject.drop_reservation(holder()?);
            subject::done()
        }
        Do::Panic => {
            subject.panic(holder()?);
            subject::done()
        }
        Do::Checkpoint => subject.checkpoint(holder()?, &given(step.note.as_ref(), "note")?.to_vec()),
        Do::Resolve => {
            let outcome = outcome(step)?;
            on_key(step, |scope, token| subject.resolve(scope, token, outcome))?
        }
        Do::Get => on_key(step, |scope, token| subject.get(scope, token))?,
        Do::Forget => on_key(step, |scope, token| subject.forget(scope, token))?,
        Do::Derive => {
            let label = given(step.label.as_ref(), "label")?.to_vec();
            on_key(step, |scope, token| subject.derive(scope, token, &label))?
        }
        Do::Sweep => subject.sweep(),
        Do::Flush => subject.flush(),
        Do::Usage => subject.usage(),
        Do::Advance => {
            subject.advance(Duration::from_millis(*given(step.ms.as_ref(), "ms")?));
            subject::done()
        }
        Do::SetWall => {
            subject.set_wall(Timestamp::from_millis(*given(step.wall.as_ref(), "wall")?));
            subject::done()
        }
        Do::Close => subject.close(),
        Do::Crash => {
            subject.crash(step.survivors);
            subject::done()
        }
        Do::Reopen => {
            if let Some(wall) = step.wall {
                subject.set_wall(Timestamp::from_millis(wall));
            }
            subject.reopen(step.settings.as_ref())
        }
    })
}

fn given<'a, T>(member: Option<&'a T>, name: &str) -> Result<&'a T, String> {
    member.ok_or_else(|| format!("the step needs the member {name:?}"))
}

fn outcome(step: &Step) -> Result<Outcome, String> {
    Ok(given(step.outcome.as_ref(), "outcome")?.to_outcome())
}

fn on_key(step: &Step, ask: impl FnOnce(&[u8], &[u8]) -> Value) -> Result<Value, String> {
    let (scope, token) = given(step.key.as_ref(), "key")?;
    Ok(ask(&scope.to_vec(), &token.to_vec()))
}

/// An expectation with all bytes written as subjects write them.
fn normal(expected: &Value) -> Value {
    match expected {
        _ if is_bytes(expected) => {
            let bytes: Bytes =
                serde_json::from_value(expected.clone()).expect("bytes as README.md writes them");
            subject::bytes(&bytes.to_vec())
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), normal(value))).collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// Whether this is one of the forms of bytes that are not plain text.
pub(crate) fn is_bytes(value: &Value) -> bool {
    let bytes =
        |members: &Map<_, _>| ["hex", "repeat", "concat"].iter().any(|word| members.contains_key(*word));
    value.as_object().is_some_and(|members| members.len() == 1 && bytes(members))
}

/// Whether each member that is expected is there and equal; others may be anything.
pub(crate) fn is_part_of(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => {
            expected.iter().all(|(name, value)| seen.get(name).is_some_and(|seen| is_part_of(value, seen)))
        }
        _ => expected == seen,
    }
}
