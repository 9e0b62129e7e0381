//! Every sequence of a few operations, beside the reference: two scopes, two tokens, two digests, and the moments just
//! before, at and just behind each deadline.
//!
//! Law: both are asked the same, and must say the same after every step, to the byte. A sequence goes no further behind a
//! difference, so the shortest one that shows it is what is told.

use std::time::Duration;

use oncekey::Outcome;
use serde_json::{Value, json};

use crate::every;
use crate::reference::ReferenceSubject;
use crate::remote::Remote;
use crate::report::Report;
use crate::runner;
use crate::subject::Subject;
use crate::vector::{Settings, Step};

const LEASE_MS: u64 = 50;
const RETENTION_MS: u64 = 100;

#[derive(Clone, Copy, Debug)]
enum Op {
    Begin {
        key: u8,
        other: bool,
    },
    Complete,
    Release,
    Renew,
    Forget {
        key: u8,
    },
    Get {
        key: u8,
    },
    /// To so many milliseconds before, or behind, the next deadline of this length.
    Advance {
        to: u64,
        off: i8,
    },
}

fn all() -> Vec<Op> {
    let mut all = Vec::new();
    for key in 0..4 {
        all.extend([Op::Begin { key, other: false }, Op::Begin { key, other: true }]);
        all.extend([Op::Forget { key }, Op::Get { key }]);
    }
    all.extend([Op::Complete, Op::Release, Op::Renew]);
    all.extend(
        [LEASE_MS, RETENTION_MS].iter().flat_map(|to| [-1, 0, 1].map(|off| Op::Advance { to: *to, off })),
    );
    all
}

pub(crate) fn check(remote: &mut Remote, depth: usize, report: &mut Report) -> Result<(), String> {
    let settings = json!({"lease_ms": LEASE_MS, "retention_ms": RETENTION_MS});
    let settings: Settings = serde_json::from_value(settings).expect("as the vectors write them");
    let ops = all();
    let mut picks = vec![0; depth];
    loop {
        // By symmetry each begins with the first key.
        let first = Op::Begin { key: 0, other: false };
        let sequence: Vec<Op> = std::iter::once(first).chain(picks.iter().map(|pick| ops[*pick])).collect();
        remote.renew(&settings)?;
        let came = run(remote, &settings, &sequence);
        remote.check()?;
        if let Some(lacking) = remote.lacking() {
            let lacking = lacking.to_owned();
            report.skip("sequences", &lacking);
        } else {
            report.case("sequences", came);
        }
        if !every::next(&mut picks, &idle(&sequence, &ops)) {
            return Ok(());
        }
    }
}

/// Which operations ask nobody anything, at each place of a sequence behind its first: where nobody can hold a reservation.
fn idle(sequence: &[Op], ops: &[Op]) -> Vec<Vec<bool>> {
    let holds = |op: &Op| matches!(op, Op::Complete | Op::Release | Op::Renew);
    let begins = |before: &[Op]| before.iter().filter(|op| matches!(op, Op::Begin { .. })).count();
    let ends = |before: &[Op]| before.iter().filter(|op| matches!(op, Op::Complete | Op::Release)).count();
    let places = (1..sequence.len()).map(|place| &sequence[..place]);
    places.map(|before| ops.iter().map(|op| holds(op) && begins(before) <= ends(before)).collect()).collect()
}

fn run(remote: &mut Remote, settings: &Settings, sequence: &[Op]) -> Result<(), String> {
    let mut reference = ReferenceSubject::new(settings);
    let (mut held, mut named) = (Vec::new(), 0);
    for (number, op) in sequence.iter().enumerate() {
        let name = format!("r{named}");
        let own = held.last().cloned();
        let mut both = |ask: &dyn Fn(&mut dyn Subject) -> Value| {
            let (expected, seen) = (ask(&mut reference), ask(remote));
            if runner::is_part_of(&expected, &seen) {
                return Ok(expected);
            }
            Err(format!("{:?}: expected {expected}, saw {seen}", &sequence[..=number]))
        };
        match (*op, own) {
            (Op::Begin { key, other }, _) => {
                let step = request(key, other);
                let seen = both(&|subject| subject.begin(&step, &name))?;
                if seen.get("fresh").is_some() {
                    held.push(name);
                    named += 1;
                }
            }
            (Op::Complete, Some(own)) => {
                held.pop();
                both(&|subject| subject.complete(&own, Outcome::http(200, "done")))?;
            }
            (Op::Release, Some(own)) => {
                held.pop();
                both(&|subject| subject.release(&own))?;
            }
            (Op::Renew, Some(own)) => {
                both(&|subject| subject.renew(&own))?;
            }
            (Op::Complete | Op::Release | Op::Renew, None) => {}
            (Op::Forget { key }, _) => {
                let (scope, token) = parts(key);
                both(&|subject| subject.forget(scope, token))?;
            }
            (Op::Get { key }, _) => {
                let (scope, token) = parts(key);
                both(&|subject| subject.get(scope, token))?;
            }
            (Op::Advance { to, off }, _) => {
                let by = Duration::from_millis(to.saturating_add_signed(off.into()));
                both(&|subject| {
                    subject.advance(by);
                    Value::Null
                })?;
            }
        }
    }
    Ok(())
}

fn parts(key: u8) -> (&'static [u8], &'static [u8]) {
    (if key < 2 { b"acme" } else { b"other" }, if key.is_multiple_of(2) { b"t-1" } else { b"t-2" })
}

fn request(key: u8, other: bool) -> Step {
    let (scope, token) = parts(key);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let size = if other { "80" } else { "40" };
    let step =
        json!({"do": "begin", "key": [text(scope), text(token)], "parameters": {"pairs": [["Size", size]]}});
    serde_json::from_value(step).expect("a step as the vectors write it")
}
