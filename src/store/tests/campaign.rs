//! What a campaign tells: one line as it goes on, one at its end, and the command that repeats what failed.

use std::fmt::Display;

/// A number from the environment, for the long forms.
pub(super) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The seeds of a campaign: a few with the short form, as many as the variable says in the long one.
pub(super) fn seeds(variable: &str, short: u64) -> (std::ops::Range<u64>, bool) {
    let (first, long) = (setting("ONCEKEY_SEED", 1), setting(variable, 0));
    (first..first + if long == 0 { short } else { long }, long > 0)
}

/// Counts as it goes; says at its end, or where it fails, how far it came.
pub(super) struct Campaign {
    pub(super) name: &'static str,
    /// The variable of its long form.
    pub(super) variable: &'static str,
    pub(super) seed: u64,
    /// Stores that were opened and compared.
    pub(super) cases: u64,
    /// Cuts or failures that led to them.
    pub(super) faults: u64,
    first: u64,
}

impl Campaign {
    pub(super) fn new(name: &'static str, variable: &'static str) -> Self {
        let seed = setting("ONCEKEY_SEED", 1);
        Self { name, variable, seed, cases: 0, faults: 0, first: seed }
    }

    /// One seed is done.
    pub(super) fn tell(&self, more: impl Display) {
        println!("{} seed {}: {} cases so far; {more}", self.name, self.seed, self.cases);
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        let Self { name, variable, seed, cases, faults, first } = self;
        let failed = u8::from(std::thread::panicking());
        println!("{name} cases {cases} faults {faults} failures {failed} seeds {first} to {seed}");
        if failed > 0 {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or(name);
            let command = "cargo test --all-features --lib --";
            let long = if setting(variable, 0) > 0 { format!("{variable}=1 ") } else { String::new() };
            println!("replay: ONCEKEY_SEED={seed} {long}{command} --exact {test} --nocapture");
        }
    }
}
