//! How much is done: asked for on the command line.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Everything.
    Full,
    /// Under ten minutes.
    Short,
    /// Asks only whether everything runs; its figures say nothing.
    Smoke,
}

impl Form {
    pub(crate) fn asked() -> Option<Self> {
        let mut forms = std::env::args().skip(1).filter_map(|argument| match argument.as_str() {
            "--full" => Some(Self::Full),
            "--short" => Some(Self::Short),
            "--smoke" => Some(Self::Smoke),
            _ => None,
        });
        forms.next()
    }

    /// What was called.
    pub(crate) fn command(self) -> String {
        let features = match (cfg!(feature = "rocksdb"), cfg!(feature = "servers")) {
            (true, true) => " --features rocksdb,servers",
            (true, false) => " --features rocksdb",
            (false, true) => " --features servers",
            (false, false) => "",
        };
        format!("cargo run --release{features} -- {}", self.pick("--full", "--short", "--smoke"))
    }

    /// One of three, by how much is done.
    pub(crate) fn pick<T>(self, full: T, short: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Short => short,
            Self::Smoke => smoke,
        }
    }

    /// Interleaved rounds of everything that is compared.
    pub(crate) fn rounds(self) -> usize {
        self.pick(7, 5, 2)
    }

    /// Records kept before the callers come.
    pub(crate) fn kept(self) -> &'static [u64] {
        self.pick(&[0, 1_000_000, 10_000_000], &[1_000_000], &[2000])
    }

    /// The level whose ratios become figures.
    pub(crate) fn kept_of_figures(self) -> u64 {
        self.pick(1_000_000, 1_000_000, 2000)
    }

    pub(crate) fn in_flight(self) -> &'static [usize] {
        self.pick(&[1, 64, 512, 4096], &[1, 64, 512, 4096], &[1, 65])
    }

    /// How long a turn of one contender should take.
    pub(crate) fn turn(self) -> Duration {
        self.pick(Duration::from_secs(1), Duration::from_millis(350), Duration::from_millis(20))
    }
}
