//! What holds, rule by rule, and the first difference of what does not.

use std::collections::BTreeMap;

use crate::remote::Ran;
use crate::vector::Scenario;

/// Differences that are shown in full, of each rule.
const SHOWN: usize = 1;
const WIDTH: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct Report {
    rules: BTreeMap<Rule, Tally>,
}

/// A number of the contract, in its order, or a campaign's name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule(Vec<u32>, String);

#[derive(Debug, Default)]
struct Tally {
    held: u64,
    skipped: u64,
    broken: u64,
    differences: Vec<String>,
    lacking: Option<String>,
}

impl Report {
    pub(crate) fn scenario(&mut self, scenario: &Scenario, ran: &Ran) {
        for rule in &scenario.rules {
            let tally = self.of(rule);
            match ran {
                Ran::Held => tally.held += 1,
                Ran::Broken(difference) => tally.break_with(difference),
                Ran::Skipped(lacking) => {
                    tally.skipped += 1;
                    tally.lacking.get_or_insert_with(|| lacking.clone());
                }
            }
        }
    }

    /// What one of a campaign came to.
    pub(crate) fn case(&mut self, campaign: &str, came: Result<(), String>) {
        let tally = self.of(campaign);
        match came {
            Ok(()) => tally.held += 1,
            Err(difference) => tally.break_with(&difference),
        }
    }

    /// A campaign that needs what the store does not offer.
    pub(crate) fn skip(&mut self, campaign: &str, lacking: &str) {
        let tally = self.of(campaign);
        tally.skipped += 1;
        tally.lacking.get_or_insert_with(|| lacking.to_owned());
    }

    fn of(&mut self, rule: &str) -> &mut Tally {
        let numbers: Vec<u32> = rule.split('.').filter_map(|part| part.parse().ok()).collect();
        // Campaigns stand below the rules.
        let numbers = if numbers.is_empty() { vec![u32::MAX] } else { numbers };
        self.rules.entry(Rule(numbers, rule.to_owned())).or_default()
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.rules.values().all(|own| own.broken == 0) && self.held() > 0
    }

    /// How many scenarios, sequences and histories held.
    pub(crate) fn held(&self) -> u64 {
        self.rules.values().map(|own| own.held).sum()
    }

    #[cfg(test)]
    pub(crate) fn broken(&self, rule: &str) -> u64 {
        self.rules.iter().filter(|(own, _)| own.1 == rule).map(|(_, own)| own.broken).sum()
    }

    pub(crate) fn print(&self) {
        println!("{:<12} {:>8} {:>8} {:>8}", "rule", "holds", "broken", "skipped");
        for (Rule(_, rule), own) in &self.rules {
            let lacking = own.lacking.as_ref().map_or(String::new(), |word| format!("   (no {word})"));
            println!("{rule:<12} {:>8} {:>8} {:>8}{lacking}", own.held, own.broken, own.skipped);
            for difference in own.differences.iter().take(SHOWN) {
                println!("             {}", short(difference));
            }
        }
        let broken = self.rules.values().filter(|own| own.broken > 0).count();
        let verdict = match broken {
            0 if self.held() > 0 => "It keeps every rule that it could be asked about.".to_owned(),
            0 => "Nothing could be asked.".to_owned(),
            _ => format!("{broken} of {} rules and campaigns are broken.", self.rules.len()),
        };
        println!("\n{verdict}");
    }
}

impl Tally {
    fn break_with(&mut self, difference: &str) {
        self.broken += 1;
        self.differences.push(difference.to_owned());
        // The shortest one says most.
        self.differences.sort_by_key(String::len);
        self.differences.truncate(SHOWN);
    }
}

fn short(text: &str) -> String {
    let line = text.replace('\n', " ");
    if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH).chain("…".chars()).collect() }
}
