//! What processes said, as the calls of each key, and what has to hold of them.
//!
//! Law: a call without an answer, or with one that tells nothing, has happened at some later moment or never. All answers
//! of a key name one body. Where a history is too long for the checker's memory, answers *in flight* are left out: what
//! is left of a good history is good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oncekey::Known;
use oncekey::distributed::Store;
use oncekey_engines::worker::{key, moment};

use crate::checker::{Began, Call, NEVER, Seen, What, check};

/// Calls that the checker takes at most.
const CALLS_MAX: usize = 128;

/// Of all processes.
#[derive(Debug, Default)]
pub(crate) struct History {
    keys: BTreeMap<u64, Vec<Call>>,
    /// What was acknowledged or replayed, and by which attempt.
    bodies: BTreeMap<u64, BTreeSet<String>>,
    /// Runs that were begun.
    pub(crate) fresh: u64,
    pub(crate) kept: u64,
    pub(crate) replays: u64,
    pub(crate) in_flight: u64,
    pub(crate) lost: u64,
    pub(crate) unheard: u64,
    pub(crate) unknown: u64,
}

impl History {
    /// Of what each process said.
    pub(crate) fn of(said: &[Vec<String>]) -> Self {
        let mut own = Self::default();
        for lines in said {
            own.read(lines);
        }
        println!(
            "{} keys: {} fresh, {} kept, {} replays, {} in flight, {} lost, {} unheard, {} unknown",
            own.keys.len(),
            own.fresh,
            own.kept,
            own.replays,
            own.in_flight,
            own.lost,
            own.unheard,
            own.unknown
        );
        own
    }

    fn read(&mut self, lines: &[String]) {
        let mut open = BTreeMap::new();
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["call", id, key, made, ref what @ ..] => {
                    let call = Open { key: number(key), made: number(made), what: what.to_vec() };
                    open.insert(number(id), call);
                }
                ["told", id, answered, ref answer @ ..] => {
                    let call = open.remove(&number(id)).expect("a call stands before its answer");
                    self.note(&call, number(answered), answer);
                }
                ["ready" | "done"] => {}
                _ => panic!("{line}"),
            }
        }
        for call in open.values() {
            self.note(call, NEVER, &[]);
        }
    }

    fn note(&mut self, call: &Open<'_>, answered: u64, answer: &[&str]) {
        let begin = |answer: Option<Began>| What::Begin { digest: 1, durable: false, waits: true, answer };
        let complete = |held: &str, kept| What::Complete { held: number(held), outcome: number(held), kept };
        let what = match (&call.what[..], answer) {
            (["begin"], ["fresh", held, attempt]) => {
                self.fresh += 1;
                let attempt = attempt.parse().expect("a number");
                begin(Some(Began::Fresh { held: number(held), attempt, resumed: false }))
            }
            (["begin"], ["replay", body]) => {
                self.replays += 1;
                begin(Some(Began::Replay(self.body(call.key, body))))
            }
            (["begin"], ["in-flight"]) => {
                self.in_flight += 1;
                begin(Some(Began::InFlight))
            }
            // Told without asking the engine.
            (["begin"], ["unknown", ..]) => {
                self.unknown += 1;
                return;
            }
            (["begin"], [] | ["unheard", ..]) => {
                self.unheard += 1;
                // What it may have been given, its process gives back when it finds that out.
                self.push(call, NEVER, What::Release { held: NEVER, released: None });
                return self.push(call, NEVER, begin(None));
            }
            (["complete", held, body], ["kept"]) => {
                self.kept += 1;
                self.body(call.key, body);
                complete(held, Some(true))
            }
            (["complete", held, _], ["lost"]) => {
                self.lost += 1;
                complete(held, Some(false))
            }
            (["complete", held, _], [] | ["unknown", ..]) => {
                self.unknown += 1;
                return self.push(call, NEVER, complete(held, None));
            }
            (["drop", held], _) => {
                return self.push(call, NEVER, What::Release { held: number(held), released: None });
            }
            other => panic!("key {}: {other:?}", call.key),
        };
        self.push(call, answered, what);
    }

    fn push(&mut self, call: &Open<'_>, answered: u64, what: What) {
        let made = call.made;
        self.keys.entry(call.key).or_default().push(Call { made, answered, clock: (made, answered), what });
    }

    /// Notes it as the body of a key, and gives the run that it names.
    fn body(&mut self, key: u64, body: &str) -> u64 {
        self.bodies.entry(key).or_default().insert(body.to_owned());
        let (held, _) = body.split_once('/').expect("a run and its attempt");
        number(held)
    }

    /// How many keys were seen.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// All answers of a key name one body, and each key's calls have an order that a lease of `lease` allows.
    pub(crate) fn check(&self, lease: Duration) {
        let lease = u64::try_from(lease.as_nanos()).expect("a small lease");
        for (key, bodies) in &self.bodies {
            assert_eq!(bodies.len(), 1, "key {key} has two bodies: {bodies:?}\n{:#?}", self.keys[key]);
        }
        for (key, calls) in &self.keys {
            let mut calls = calls.clone();
            if calls.len() > CALLS_MAX {
                calls.retain(tells);
            }
            // What may have happened at any time is tried last.
            calls.sort_by_key(|own| own.answered);
            if let Err(order) = check(&calls, lease) {
                panic!("key {key}: {order}");
            }
        }
    }

    /// Where nobody was killed and no lease lapsed, each key ran once, as attempt 1.
    pub(crate) fn check_one_winner_each(&self) {
        for (key, calls) in &self.keys {
            let attempts: Vec<_> = calls
                .iter()
                .filter_map(|own| match own.what {
                    What::Begin { answer: Some(Began::Fresh { attempt, .. }), .. } => Some(attempt),
                    _ => None,
                })
                .collect();
            assert_eq!(attempts, [1], "key {key}: {calls:#?}");
        }
    }

    /// Another process looks at every key, as one more call, and finds what was acknowledged or replayed, byte for byte (5.1).
    pub(crate) fn look(&mut self, store: &Store) {
        let bodies = &self.bodies;
        let mut keys: Vec<_> = self.keys.iter_mut().collect();
        std::thread::scope(|scope| {
            for part in keys.chunks_mut(CALLS_MAX) {
                scope.spawn(move || {
                    for (key, calls) in part {
                        calls.extend(look(store, **key, bodies.get(key)));
                    }
                });
            }
        });
    }

    /// Leaves out what may be out of date and promises nothing: that a run is going on, as a primary says that has been followed
    /// by another, or an engine that does not know yet that a lease has lapsed.
    pub(crate) fn without_in_flight(&mut self) {
        for calls in self.keys.values_mut() {
            calls.retain(tells);
        }
    }
}

/// One look, unless it tells nothing.
fn look(store: &Store, number: u64, bodies: Option<&BTreeSet<String>>) -> Option<Call> {
    let made = moment();
    let known = store.get(&key(number)).expect("the engine answers");
    let answered = moment();
    let Known::Finished(replay) = known else {
        assert!(bodies.is_none(), "key {number} was {bodies:?} and is {known:?}");
        // A lease that has just lapsed is seen as either.
        return None;
    };
    let body = String::from_utf8_lossy(replay.outcome().body()).into_owned();
    assert!(bodies.is_none_or(|own| own.contains(&body)), "key {number} was {bodies:?} and is {body}");
    let (held, attempt) = body.split_once('/').expect("a run and its attempt");
    assert_eq!(replay.attempts().to_string(), attempt, "key {number}");
    let what = What::Get(Seen::Finished(self::number(held)));
    Some(Call { made, answered, clock: (made, answered), what })
}

/// Whether a call was told more than that somebody runs the key.
fn tells(call: &Call) -> bool {
    !matches!(&call.what, What::Begin { answer: Some(Began::InFlight), .. })
}

/// A call without its answer.
struct Open<'a> {
    key: u64,
    made: u64,
    what: Vec<&'a str>,
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|error| panic!("{word}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_nanos(100);

    fn said(processes: &[&[&str]]) -> History {
        let lines = |own: &&[&str]| own.iter().map(|line| (*line).to_owned()).collect();
        History::of(&processes.iter().map(lines).collect::<Vec<_>>())
    }

    const RUN: [&str; 4] =
        ["call 0 7 1 begin", "told 0 2 fresh 5 1", "call 1 7 3 complete 5 5/1", "told 1 4 kept"];

    #[test]
    fn good_ones_pass() {
        let replayed: &[&str] = &["call 0 7 1 begin", "told 0 9 replay 5/1"];
        let history = said(&[&RUN, replayed]);
        history.check(LEASE);
        history.check_one_winner_each();
        let killed = said(&[&RUN[..3], &["call 0 7 200 begin", "told 0 201 fresh 6 2"]]);
        killed.check(LEASE);
        assert_eq!((killed.fresh, killed.kept, killed.unknown), (2, 0, 1));
    }

    #[test]
    #[should_panic(expected = "two bodies")]
    fn a_second_body_is_found() {
        said(&[&RUN, &["call 0 7 5 begin", "told 0 9 replay 6/1"]]).check(LEASE);
    }

    #[test]
    #[should_panic(expected = "then none of")]
    fn a_run_behind_an_acknowledged_completion_is_found() {
        said(&[&RUN, &["call 0 7 5 begin", "told 0 9 fresh 6 1"]]).check(LEASE);
    }

    #[test]
    #[should_panic(expected = "key 7")]
    fn a_second_winner_is_found() {
        said(&[&RUN[..2], &["call 0 7 1 begin", "told 0 9 fresh 6 2"]]).check_one_winner_each();
    }

    #[test]
    #[should_panic(expected = "wrong")]
    fn a_wrong_error_is_found() {
        said(&[&["call 0 7 1 begin", "told 0 9 wrong because"]]);
    }
}
