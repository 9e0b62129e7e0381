//! The vectors over an engine: what it refuses by name is counted, what differs stands in a list with its reason and has to
//! differ, so that the list does not go stale.

use oncekey::ManualClock;

use crate::distributed::{DistributedSubject, NOT_PROMISED};
use crate::home::Home;
use crate::runner;
use crate::subject::Subject;
use crate::vector::Scenario;

/// What differs over an engine, and why: each of these has to differ, so that the list does not go stale.
const DIFFERENCES: &[(&str, &str)] = &[
    ("What is remembered of a release is forgotten when its retention is over", BYTES),
    ("A forgotten interruption is as never seen", BYTES),
    ("A checkpoint counts with its bytes in place of the one before", BYTES),
    ("A completion takes the place of the expired record of its key", BYTES),
    ("Kept bytes are those of scope, token, body and metadata", BYTES),
    ("An opening sweeps: what was expired by then counts no more", "whoever connects finds others at work"),
    ("The clock may be 400 days ahead by default", "an engine's clock is believed"),
];
/// There is no limit to them either.
const BYTES: &str = "an engine counts records and no bytes";

/// Runs everything over an engine. What it refuses by name is counted, what differs stands in the list, or in that of this
/// engine.
pub(crate) fn run_over_an_engine(
    name: &str,
    scenarios: &[Scenario],
    own: &[(&str, &str)],
    home: impl Fn(&ManualClock) -> Box<dyn Home>,
) {
    let (mut differences, mut ran, mut refused, mut skipped) = (Vec::new(), 0, 0, 0);
    for scenario in scenarios {
        let made = match DistributedSubject::unsaid(scenario) {
            Some(setting) => Err(setting),
            None => DistributedSubject::new(&scenario.settings, &home),
        };
        let mut subject = match made {
            Ok(subject) => subject,
            Err(setting) => {
                assert!(NOT_PROMISED.contains(&setting), "{setting} is refused and not documented as such");
                refused += 1;
                continue;
            }
        };
        if let Some(lacking) = scenario.needs.iter().find(|need| !subject.offers(need)) {
            println!("SKIPPED for {name}, which has no {lacking}: {}", scenario.name);
            skipped += 1;
            continue;
        }
        ran += 1;
        let told = runner::run(scenario, &mut subject);
        let known = DIFFERENCES.iter().chain(own).find(|(own, _)| *own == scenario.name);
        match (told, known) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Err(difference), None) => differences.push(difference),
            (Ok(()), Some((own, why))) => differences.push(format!("{own:?} does not differ ({why})")),
        }
    }
    println!("{name}: {ran} scenarios, {refused} refused by name, {skipped} skipped");
    assert!(ran * 2 > scenarios.len(), "{name} ran {ran} scenarios only");
    assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
}
