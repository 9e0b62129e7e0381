//! What is common to all that are compared: the questions that they are asked, and how a turn is timed.
//!
//! A [`Peer`] answers one ask. A [`Contender`] is any peer behind one vtable: called once for a turn, not once for an
//! ask, so that the measuring costs each of them the same.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use crate::callers::at_once;
use crate::report::float;
use crate::work::{Ask, outcome_of};

/// What a contender stands for in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Durable, finds its records again: what a user would pick instead.
    Peer,
    /// Durable, finds nothing again: the disk's own limit.
    FileLimit,
    /// Keeps nothing over the end of its process.
    MemoryOnly,
}

impl Kind {
    /// In `results.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::FileLimit => "file limit",
            Self::MemoryOnly => "memory only",
        }
    }
}

/// One way to keep tokens.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;
    fn kind(&self) -> Kind;
    /// `None`: the token was new, and has been completed durably. `Some`: it was known, with these bytes.
    fn ask(&self, ask: &Ask) -> impl Future<Output = Option<Vec<u8>>>;
    /// Keeps the tokens of these numbers, in bulk, durable at the end.
    fn fill(&self, numbers: Range<u64>);
    /// Reads what is kept for a token, without reserving it.
    fn look_up(&self, token: &str) -> Option<Vec<u8>>;
    /// Whether what it writes and holds is this process's.
    fn is_in_process(&self) -> bool {
        true
    }
    /// Bytes written so far and zeros written ahead, where it counts them itself.
    fn counted(&self) -> Option<[u64; 2]> {
        None
    }
}

/// What one turn of one contender showed.
pub(crate) struct Turn {
    /// Asks for each second.
    pub(crate) rate: f64,
    /// Nanoseconds of each ask that completed a token, ascending.
    pub(crate) nanos: Vec<u64>,
    /// Bytes handed to `write` calls for each completed token, if by this process.
    pub(crate) written: Option<f64>,
    /// The same by its own count, and zeros ahead.
    pub(crate) counted: Option<[f64; 2]>,
}

impl Turn {
    /// The time that so many of a thousand stay below.
    pub(crate) fn per_mille(&self, share: usize) -> f64 {
        let at = (self.nanos.len() * share / 1000).min(self.nanos.len() - 1);
        float(self.nanos[at])
    }
}

pub(crate) trait Contender: Sync {
    fn name(&self) -> &'static str;
    fn kind(&self) -> Kind;
    fn is_in_process(&self) -> bool;
    /// All callers at the same time, each through its asks.
    fn turn(&self, plan: &[Vec<Ask>]) -> Turn;
    fn fill(&self, numbers: Range<u64>);
    fn look_up(&self, token: &str) -> Option<Vec<u8>>;
}

impl<P: Peer> Contender for P {
    fn name(&self) -> &'static str {
        Peer::name(self)
    }

    fn kind(&self) -> Kind {
        Peer::kind(self)
    }

    fn is_in_process(&self) -> bool {
        Peer::is_in_process(self)
    }

    fn turn(&self, plan: &[Vec<Ask>]) -> Turn {
        let asks: usize = plan.iter().map(Vec::len).sum();
        let all = Mutex::new(Vec::with_capacity(asks));
        let (written, counted) = (bytes_handed_over(), self.counted());
        let start = Instant::now();
        at_once(plan.len(), async |caller| {
            let mut nanos = Vec::with_capacity(plan[caller].len());
            for ask in &plan[caller] {
                let start = Instant::now();
                let known = self.ask(ask).await;
                if !ask.retry {
                    nanos.push(u64::try_from(start.elapsed().as_nanos()).expect("less than 500 years"));
                }
                check(ask, known.as_deref(), Peer::name(self));
            }
            all.lock().expect("nobody panics").append(&mut nanos);
        });
        let seconds = start.elapsed().as_secs_f64();
        let mut nanos = all.into_inner().expect("nobody panics");
        nanos.sort_unstable();
        let per_record = |before: u64, after: u64| float(after - before) / float(nanos.len() as u64);
        let written = self.is_in_process().then(|| per_record(written, bytes_handed_over()));
        let counted = counted
            .zip(self.counted())
            .map(|(before, after)| [per_record(before[0], after[0]), per_record(before[1], after[1])]);
        Turn { rate: float(asks as u64) / seconds, written, counted, nanos }
    }

    fn fill(&self, numbers: Range<u64>) {
        Peer::fill(self, numbers);
    }

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        Peer::look_up(self, token)
    }
}

fn check(ask: &Ask, known: Option<&[u8]>, name: &str) {
    match known {
        None => assert!(!ask.retry, "{name} has forgotten {}", ask.token),
        Some(bytes) => {
            assert!(ask.retry, "{name} has seen {} before", ask.token);
            assert!(bytes == outcome_of(&ask.token), "{name} answers {} with other bytes", ask.token);
        }
    }
}

/// What this process has given to `write` calls so far, as Linux counts it; zero where it can't be asked.
fn bytes_handed_over() -> u64 {
    let said = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    said.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or_default()
}
