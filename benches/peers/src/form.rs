//! How much is done: asked for on the command line, and divided by `ONCEKEY_PEERS_SCALE` where somebody only tries it.

use std::time::Duration;

pub(crate) const MILLION: u64 = 1_000_000;
pub(crate) const TEN_MILLION: u64 = 10 * MILLION;

/// Divides every count of records; what was measured is then not kept.
const SCALE: &str = "ONCEKEY_PEERS_SCALE";
/// Of a smoke test.
const SMOKE_SCALE: u64 = 5000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Full,
    Short,
    Smoke,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    size: Size,
    scale: u64,
}

impl Form {
    pub(crate) fn asked() -> Option<Self> {
        let size = std::env::args().skip(1).find_map(|argument| match argument.as_str() {
            "--full" => Some(Size::Full),
            "--short" => Some(Size::Short),
            "--smoke" => Some(Size::Smoke),
            _ => None,
        })?;
        let scale = std::env::var(SCALE).ok().and_then(|text| text.parse().ok()).filter(|own| *own > 0);
        Some(Self { size, scale: scale.unwrap_or(if size == Size::Smoke { SMOKE_SCALE } else { 1 }) })
    }

    /// What was called, up to the part.
    pub(crate) fn command(self) -> String {
        let features = match (cfg!(feature = "rocksdb"), cfg!(feature = "servers")) {
            (true, true) => " --features rocksdb,servers",
            (true, false) => " --features rocksdb",
            (false, true) => " --features servers",
            (false, false) => "",
        };
        format!("cargo run --release{features} -- {}", self.pick("--full", "--short", "--smoke"))
    }

    /// Whether its figures, pictures and tables are kept.
    pub(crate) fn is_kept(self) -> bool {
        self.size != Size::Smoke && self.scale == 1
    }

    pub(crate) fn is_short(self) -> bool {
        self.size == Size::Short
    }

    /// One of three, by how much is done.
    pub(crate) fn pick<T>(self, full: T, short: T, smoke: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Short => short,
            Size::Smoke => smoke,
        }
    }

    /// So many records, or fewer where somebody only tries it.
    pub(crate) fn count(self, records: u64) -> u64 {
        records / self.scale
    }

    /// Interleaved rounds of everything that is compared.
    pub(crate) fn rounds(self) -> usize {
        self.pick(7, 5, 2)
    }

    /// Records kept where the ratios of the durable table become figures.
    pub(crate) fn kept_of_figures(self) -> u64 {
        self.count(MILLION)
    }

    pub(crate) fn in_flight(self) -> &'static [usize] {
        self.pick(&[1, 64, 512, 4096], &[1, 64, 512, 4096], &[1, 65])
    }

    /// How long a turn of one contender should take.
    pub(crate) fn turn(self) -> Duration {
        self.pick(Duration::from_millis(600), Duration::from_millis(350), Duration::from_millis(20))
    }
}
