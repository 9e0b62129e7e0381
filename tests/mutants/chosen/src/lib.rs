//! Which mutant runs. Law: one comparison, since the copy asks at every place of every mutant.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// More than there are mutants.
const NUMBERS: usize = 1 << 14;

struct Choice {
    number: u32,
    /// Where it is written down which ones were asked for.
    reached: Option<File>,
}

static CHOICE: OnceLock<Choice> = OnceLock::new();
static SEEN: [AtomicBool; NUMBERS] = [const { AtomicBool::new(false) }; NUMBERS];

/// Whether mutant `number` is the one that `ONCEKEY_MUTANT` names.
#[inline]
pub fn chosen(number: u32) -> bool {
    let choice = CHOICE.get_or_init(choose);
    if choice.reached.is_some() {
        note(choice, number);
    }
    choice.number == number
}

#[cold]
fn choose() -> Choice {
    let number = std::env::var("ONCEKEY_MUTANT").ok().and_then(|own| own.parse().ok()).unwrap_or(u32::MAX);
    let open = |path| OpenOptions::new().append(true).create(true).open(path).ok();
    Choice { number, reached: std::env::var_os("ONCEKEY_REACHED").and_then(open) }
}

#[cold]
fn note(choice: &Choice, number: u32) {
    let seen = &SEEN[number as usize];
    if !seen.load(Ordering::Relaxed) && !seen.swap(true, Ordering::Relaxed) {
        let _ = choice.reached.as_ref().map(|mut file| file.write_all(format!("{number}\n").as_bytes()));
    }
}
