//! Calls that are made at the same time, and whether their answers could have come one after the other.
//!
//! Law: a history is a row of rounds; in each the store is asked to make a few calls at the same time (`together`), and
//! answers when all are done. So calls of one round overlap, and those of the next come later. A round is made of what is
//! held by then; each key's history is checked by itself, by the checker that this crate's own tests use.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::linearizable::{self, Began, Call, Forgot, Seen, What};
use crate::remote::Remote;
use crate::report::Report;
use crate::vector::Settings;

const ROUNDS: u64 = 8;
const CALLS: u64 = 4;
const KEYS: u64 = 2;
/// No lease lapses meanwhile.
const LEASE_MS: u64 = 3_600_000;

/// A small generator of our own, so that a seed repeats a history.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % bound
    }
}

/// A call that was chosen: of which key, what, and how it is asked for.
struct Asked {
    key: u64,
    what: What,
    request: Value,
}

#[derive(Default)]
struct History {
    /// Who holds what, by key.
    held: BTreeMap<u64, Vec<u64>>,
    calls: BTreeMap<u64, Vec<Call>>,
    named: u64,
}

pub(crate) fn check(remote: &mut Remote, count: u64, seed: u64, report: &mut Report) -> Result<(), String> {
    let settings: Settings = serde_json::from_value(json!({"lease_ms": LEASE_MS})).expect("a setting");
    for number in seed..seed + count {
        remote.renew(&settings)?;
        let (mut chance, mut history) = (Chance(number), History::default());
        let mut came = Ok(());
        for round in 0..ROUNDS {
            let asked: Vec<Asked> = (0..CALLS).map(|_| history.choose(&mut chance)).collect();
            let calls: Vec<&Value> = asked.iter().map(|own| &own.request).collect();
            let said = remote.ask(&json!({"do": "together", "calls": calls}));
            remote.check()?;
            if let Some(lacking) = remote.lacking() {
                let lacking = lacking.to_owned();
                report.skip("histories", &lacking);
                return Ok(());
            }
            let answers = said["together"].as_array().cloned().unwrap_or_default();
            came = asked.iter().zip(&answers).try_for_each(|(own, answer)| history.take(own, round, answer));
            if came.is_err() {
                break;
            }
        }
        let order = |calls: &Vec<Call>| linearizable::check(calls, LEASE_MS);
        let came = came.and_then(|()| history.calls.values().try_for_each(order));
        report.case("histories", came.map_err(|why| format!("seed {number}: {why}")));
    }
    Ok(())
}

impl History {
    fn choose(&mut self, chance: &mut Chance) -> Asked {
        let key = chance.below(KEYS);
        let named = json!(["acme", format!("t-{key}")]);
        let held = self.held.entry(key).or_default();
        match chance.below(10) {
            0..2 if !held.is_empty() => {
                let (held, outcome) = (held.remove(0), self.named + 1_000);
                self.named += 1;
                let outcome_told = json!({"status": 200, "body": outcome.to_string()});
                Asked {
                    key,
                    what: What::Complete { held, outcome, kept: None },
                    request: json!({"do": "complete", "reservation": format!("r{held}"), "outcome": outcome_told}),
                }
            }
            2 if !held.is_empty() => {
                let held = held.remove(0);
                Asked {
                    key,
                    what: What::Release { held, released: None },
                    request: json!({"do": "release", "reservation": format!("r{held}")}),
                }
            }
            3 => Asked { key, what: What::Get(Seen::Absent), request: json!({"do": "get", "key": named}) },
            4 => Asked { key, what: What::Forget(None), request: json!({"do": "forget", "key": named}) },
            _ => {
                self.named += 1;
                let digest = u8::from(chance.below(5) == 0);
                let size = if digest == 0 { "40" } else { "80" };
                Asked {
                    key,
                    what: What::Begin { digest, durable: false, waits: false, answer: None },
                    request: json!({
                        "do": "begin", "key": named, "as": format!("r{}", self.named),
                        "parameters": {"pairs": [["Size", size]]},
                    }),
                }
            }
        }
    }

    /// Takes down what was answered.
    fn take(&mut self, asked: &Asked, round: u64, answer: &Value) -> Result<(), String> {
        let told = |word: &str| answer.get(word);
        let kind = answer["refused"]["kind"].as_str().unwrap_or_default();
        let number =
            |value: &Value| value["body"].as_str().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        let strange = || format!("{} was answered with {answer}", asked.request);
        let what = match asked.what.clone() {
            What::Begin { digest, durable, waits, .. } => {
                let began = if let Some(fresh) = told("fresh") {
                    let name = asked.request["as"].as_str().unwrap_or_default();
                    let held = name[1..].parse().expect("as it was named");
                    self.held.entry(asked.key).or_default().push(held);
                    let attempt =
                        fresh["attempt"].as_u64().and_then(|own| u32::try_from(own).ok()).unwrap_or(1);
                    Began::Fresh { held, attempt, resumed: fresh["resumed"] == json!(true) }
                } else if let Some(replay) = told("replay") {
                    Began::Replay(number(replay))
                } else if told("in_flight").is_some() {
                    Began::InFlight
                } else if kind == "mismatch" {
                    Began::Mismatch
                } else {
                    return Err(strange());
                };
                What::Begin { digest, durable, waits, answer: Some(began) }
            }
            What::Complete { held, outcome, .. } => {
                let kept = told("kept").is_some();
                if !kept && kind != "reservation_lost" {
                    return Err(strange());
                }
                What::Complete { held, outcome, kept: Some(kept) }
            }
            What::Release { held, .. } => {
                let released = told("done").is_some();
                if !released && kind != "reservation_lost" {
                    return Err(strange());
                }
                What::Release { held, released: Some(released) }
            }
            What::Get(_) => What::Get(match (told("absent"), told("in_flight"), told("finished")) {
                (Some(_), _, _) => Seen::Absent,
                (_, Some(_), _) => Seen::InFlight,
                (_, _, Some(finished)) => Seen::Finished(number(finished)),
                _ => return Err(strange()),
            }),
            What::Forget(_) => What::Forget(Some(match told("forgotten") {
                Some(Value::Bool(true)) => Forgot::Kept,
                Some(Value::Bool(false)) => Forgot::Nothing,
                _ if kind == "in_flight" => Forgot::InFlight,
                _ => return Err(strange()),
            })),
            What::Crash => What::Crash,
        };
        // Calls of one round overlap, whichever of them was made first.
        let calls = self.calls.entry(asked.key).or_default();
        let made = round * 2 * (CALLS + 1) + calls.len() as u64 % CALLS;
        let call = Call { made, answered: (round + 1) * 2 * (CALLS + 1) - 1, clock: (0, 0), what };
        calls.push(call);
        Ok(())
    }
}
