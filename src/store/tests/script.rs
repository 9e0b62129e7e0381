//! Steps of a workload, made by chance from a seed, and what they are about: keys, parameters, outcomes, settings.

use std::time::Duration;

use super::super::Store;
use crate::digest::Parameters;
use crate::ledger::Chance;
use crate::options::Builder;
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

pub(crate) const KEYS: u8 = 14;
/// Of outcomes of durable reservations.
pub(crate) const RETENTION: Duration = Duration::from_secs(20);
pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Complete {
        key: u8,
        bytes: usize,
        retention: Duration,
        relaxed: bool,
    },
    /// So many keys from this one on are completed at once.
    Batch {
        key: u8,
        count: u8,
        relaxed: bool,
    },
    Release(u8),
    /// Durably started, and held from then on; an interrupted one is resumed.
    Start {
        key: u8,
        relaxed: bool,
    },
    /// A checkpoint of what is held.
    Note {
        key: u8,
        bytes: usize,
    },
    /// What is held is dropped.
    Let(u8),
    /// What is held is dropped by a panic.
    Panic(u8),
    Resolve(u8),
    Forget(u8),
    Advance(Duration),
    Sweep,
    Flush,
    Reopen,
    Restart,
    /// So many keys from this one on are completed in one lent transaction, with an effect each.
    #[cfg(feature = "redb-transactions")]
    Lend {
        key: u8,
        count: u8,
        bytes: usize,
        end: End,
    },
}

/// How a lent transaction ends.
#[cfg(feature = "redb-transactions")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Abort,
    Drop,
    Panic,
}

/// Few keys, short and long retentions, large and small outcomes, and time going on.
pub(crate) fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut chance = Chance(seed);
    (0..steps).map(|_| Step::of(|bound| chance.below(bound))).collect()
}

impl Step {
    /// A step of choices; `below` gives a number below its bound.
    pub(crate) fn of(mut below: impl FnMut(u64) -> u64) -> Self {
        let key = u8::try_from(below(u64::from(KEYS))).unwrap();
        let relaxed = below(4) == 0;
        match below(100) {
            0..34 => {
                let bytes = [10, 200, 5_000, 60_000, 300_000][usize::try_from(below(5)).unwrap()];
                let seconds = [2, 5, 30, 3600][usize::try_from(below(4)).unwrap()];
                Self::Complete { key, bytes, retention: Duration::from_secs(seconds), relaxed }
            }
            34..40 => Self::Start { key, relaxed },
            40..44 => Self::Note { key, bytes: [0, 30, 5_000, 70_000][usize::try_from(below(4)).unwrap()] },
            44..46 => Self::Let(key),
            46 => Self::Panic(key),
            47 => Self::Resolve(key),
            48..52 => Self::Batch { key: key.min(KEYS - 5), count: 5, relaxed },
            52..56 => Self::Release(key),
            56..66 => Self::Forget(key),
            66..80 => Self::Advance(Duration::from_millis([300, 1100, 2500, 6000][usize::from(key) % 4])),
            80..92 => Self::Sweep,
            92..94 => Self::Flush,
            94..97 => Self::Reopen,
            _ => Self::Restart,
        }
    }
}

pub(crate) fn builder(clock: &ManualClock) -> Builder {
    Store::builder()
        .clock(clock.clone())
        .background_sweep(false)
        .segment_bytes_max(1 << 20)
        .segment_age_max(Duration::from_secs(1))
        .stripes(4)
        .declared_outcome_bytes(64)
        // For notes that fill more than a common page.
        .checkpoint_bytes_max(100_000)
        .secret(crate::digest::Secret::new([7; 32]))
        .relaxed(Duration::from_secs(100_000))
}

pub(crate) fn key(number: u8) -> Key {
    Key::new([b'a' + number % 3], format!("token-{number}")).unwrap()
}

pub(crate) fn parameters(number: u8) -> Parameters<'static> {
    Parameters::of(&number).unwrap()
}

/// An outcome that no other run has.
pub(crate) fn body(run: u64, bytes: usize) -> Vec<u8> {
    let mut body = run.to_le_bytes().to_vec();
    let mut chance = Chance(run);
    while body.len() < bytes {
        body.extend_from_slice(&chance.next().to_le_bytes());
    }
    body
}
