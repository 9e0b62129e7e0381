//! What the benches share: how much is done, callers, tokens, figures.

#![allow(dead_code, reason = "each bench takes what it needs")]

pub(crate) mod callers;
pub(crate) mod expiring;
pub(crate) mod fill;
pub(crate) mod report;
pub(crate) mod waking;

use std::time::Duration;

use criterion::Criterion;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Full,
    /// `--quick`, or `ONCEKEY_BENCH=short`.
    Short,
    /// `cargo test --benches` only asks whether everything runs.
    Test,
}

impl Form {
    pub(crate) fn asked() -> Self {
        let has = |flag: &str| std::env::args().any(|argument| argument == flag);
        let short = has("--quick") || std::env::var("ONCEKEY_BENCH").is_ok_and(|form| form == "short");
        match (has("--bench"), short) {
            (false, _) => Self::Test,
            (true, true) => Self::Short,
            (true, false) => Self::Full,
        }
    }

    /// One of three, by how much is done.
    pub(crate) fn pick<T>(self, full: T, short: T, test: T) -> T {
        match self {
            Self::Full => full,
            Self::Short => short,
            Self::Test => test,
        }
    }

    /// Rounds of a table of ratios.
    pub(crate) fn rounds(self) -> usize {
        self.pick(7, 5, 1)
    }

    pub(crate) fn criterion(self) -> Criterion {
        let time = self.pick(Duration::from_secs(3), Duration::from_millis(300), Duration::from_millis(1));
        Criterion::default()
            .sample_size(10)
            .warm_up_time(time / 3)
            .measurement_time(time)
            .configure_from_args()
    }
}

/// A directory below the target directory, gone with its guard.
pub(crate) fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is ours")
}
