//! Rest: what was written beforehand has been put in order before anybody is asked to read.
//!
//! Trees of logs go on compacting for minutes after a fill, on cores that whoever has the turn would need. So a reading begins
//! once all the machine does next to nothing, servers included; or when [`PATIENCE`] is at its end, which is then said.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::form::Form;

const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(5);
/// Ticks of all cores together in a [`LOOK`]; each has a hundred.
const AT_REST: u64 = 5;

/// Waits for it. Where the system doesn't say what it does, or somebody only tries the program, not at all.
pub(crate) fn wait(form: Form) {
    if !form.is_kept() {
        return;
    }
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let Some(before) = busy() else { return };
        sleep(LOOK);
        if busy().is_some_and(|now| now.saturating_sub(before) <= AT_REST) {
            eprintln!("at rest after {} s", start.elapsed().as_secs());
            return;
        }
    }
    eprintln!("NOT at rest after {} s", start.elapsed().as_secs());
}

/// Ticks that all cores were busy with since the system began.
fn busy() -> Option<u64> {
    let said = fs::read_to_string("/proc/stat").ok()?;
    let ticks = said.lines().next()?.split_whitespace().skip(1).map(|own| own.parse().unwrap_or(0));
    let ticks: Vec<u64> = ticks.collect();
    // user nice system idle iowait irq softirq ...: the fourth and the fifth are none.
    Some(ticks.get(..3)?.iter().sum::<u64>() + ticks.get(5..7)?.iter().sum::<u64>())
}
