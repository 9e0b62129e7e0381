//! Limits and settings, and every check of them in one place.
//!
//! Law: each limit is a setting with a default and a bound (contract 8.1); a [`Builder`] takes anything and
//! [`Builder::checked`] refuses what is out of bounds or contradictory, once, when the store opens. Nothing
//! behind it checks settings again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::{DigestRules, Secret};
#[cfg(feature = "encryption")]
use crate::encryption::EncryptionKey;
use crate::encryption::Keyring;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::{Class, Classifier, Outcome};
use crate::time::{Clock, SystemClock};
use crate::token::{SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX};

/// Longest retention and lease: a thousand years, so that adding them to a time never saturates by accident.
const DURATION_MAX: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);
/// Longest name of a node.
#[cfg(feature = "distributed")]
const NODE_BYTES_MAX: usize = 255;
/// Largest outcome that a store may be told to keep.
const OUTCOME_BYTES_BOUND: u64 = 256 << 20;
/// Smallest and largest segment file.
const SEGMENT_BYTES: (u64, u64) = (1 << 20, 1 << 40);
/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is answered for a key whose operation was durably started, and interrupted by the end of its process
/// (contract 3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnInterrupted {
    /// A reservation that knows that it resumes, and sees the last checkpoint. For operations that are safe to run
    /// again, or that find their recovery point.
    #[default]
    Resume,
    /// *Unknown outcome*, until somebody has looked and says `resolve` or `forget`.
    Refuse,
}

/// How a store is set up. Made by `Store::builder()`; every setting has a sound default.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "settings that are yes or no")]
#[must_use = "a builder does nothing until `open` is called"]
pub struct Builder {
    pub(crate) token_bytes_max: usize,
    pub(crate) scope_bytes_max: usize,
    pub(crate) retention: Duration,
    pub(crate) lease: Duration,
    pub(crate) outcome_bytes_max: u64,
    pub(crate) declared_outcome_bytes: u64,
    pub(crate) parameter_count_max: u64,
    pub(crate) parameter_bytes_max: u64,
    pub(crate) live_reservations_max: u64,
    pub(crate) live_reservations_per_scope_max: Option<u64>,
    pub(crate) waiters_per_key_max: u64,
    pub(crate) kept_records_max: u64,
    pub(crate) kept_bytes_max: u64,
    pub(crate) kept_records_per_scope_max: Option<u64>,
    pub(crate) kept_bytes_per_scope_max: Option<u64>,
    pub(crate) checkpoint_bytes_max: u64,
    pub(crate) start_durably: bool,
    pub(crate) on_interrupted: OnInterrupted,
    pub(crate) relaxed: bool,
    pub(crate) relaxed_lag: Duration,
    pub(crate) two_phase: bool,
    pub(crate) segment_bytes_max: u64,
    pub(crate) segment_age_max: Option<Duration>,
    pub(crate) stripes: usize,
    pub(crate) recent_bytes_max: u64,
    pub(crate) secret: Option<Secret>,
    pub(crate) old_secrets: Vec<Secret>,
    pub(crate) keyring: Keyring,
    pub(crate) rules: DigestRules,
    pub(crate) explain_mismatches: bool,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clock_jump_max: Duration,
    pub(crate) accept_clock_jump: bool,
    pub(crate) background_sweep: bool,
    #[cfg(feature = "distributed")]
    pub(crate) node: Option<String>,
    #[cfg(feature = "distributed")]
    pub(crate) patience: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            token_bytes_max: TOKEN_BYTES_DEFAULT,
            scope_bytes_max: SCOPE_BYTES_MAX,
            retention: DAY,
            lease: Duration::from_secs(60),
            outcome_bytes_max: 1 << 20,
            declared_outcome_bytes: 4 << 10,
            parameter_count_max: 1024,
            parameter_bytes_max: 8 << 20,
            live_reservations_max: 100_000,
            live_reservations_per_scope_max: None,
            waiters_per_key_max: 16_384,
            kept_records_max: 100_000_000,
            kept_bytes_max: 1 << 40,
            kept_records_per_scope_max: None,
            kept_bytes_per_scope_max: None,
            checkpoint_bytes_max: 64 << 10,
            start_durably: false,
            on_interrupted: OnInterrupted::Resume,
            relaxed: false,
            relaxed_lag: Duration::from_millis(200),
            two_phase: false,
            segment_bytes_max: 64 << 20,
            segment_age_max: None,
            stripes: 256,
            recent_bytes_max: 64 << 20,
            secret: None,
            old_secrets: Vec::new(),
            keyring: Keyring::default(),
            rules: DigestRules::none(),
            explain_mismatches: false,
            classifier: None,
            clock: Arc::new(SystemClock::new()),
            clock_jump_max: 400 * DAY,
            accept_clock_jump: false,
            background_sweep: true,
            #[cfg(feature = "distributed")]
            node: None,
            #[cfg(feature = "distributed")]
            patience: Duration::from_secs(5),
        }
    }
}

/// Declares setters of plain fields: name, argument, documentation.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        })*
    };
}
#[cfg(feature = "tower")]
pub(crate) use settings;

impl Builder {
    settings! {
        /// Most characters of a token: 1 to 255, default 64 (contract 1.1).
        token_bytes_max: usize;
        /// Most bytes of a scope: 1 to 255, default 255 (contract 1.2).
        scope_bytes_max: usize;
        /// How long a record is kept from its completion on, by default 24 hours (contract 7.1).
        retention: Duration;
        /// How long a reservation holds without being renewed, by default 60 seconds (contract 4.4).
        lease: Duration;
        /// Most bytes of an outcome, body and metadata: up to 256 MiB, default 1 MiB (contract 4.5).
        outcome_bytes_max: u64;
        /// Disk room set aside for one completion, default 4 KiB (contract 5.10).
        declared_outcome_bytes: u64;
        /// Most parameters of one request, default 1024.
        parameter_count_max: u64;
        /// Most bytes of parameters of one request, default 8 MiB.
        parameter_bytes_max: u64;
        /// Most live reservations at once, default 100,000; beyond it `begin` says *overloaded*.
        live_reservations_max: u64;
        /// Most live reservations of one scope at once, default no limit.
        live_reservations_per_scope_max: Option<u64>;
        /// Most callers that wait for one key, default 16,384; beyond it waiting says *overloaded*.
        waiters_per_key_max: u64;
        /// Most kept records, default 100 million; beyond it `begin` of a new key says *full*.
        kept_records_max: u64;
        /// Most bytes of kept records (key, metadata, body), default 1 TiB.
        kept_bytes_max: u64;
        /// Most kept records of one scope, default no limit.
        kept_records_per_scope_max: Option<u64>;
        /// Most bytes of kept records of one scope, default no limit.
        kept_bytes_per_scope_max: Option<u64>;
        /// Most bytes of a checkpoint, default 64 KiB (contract 6.3).
        checkpoint_bytes_max: u64;
        /// Whether the start of an operation is on disk before `begin` returns, default no (contract 5.4); a request can
        /// say otherwise.
        start_durably: bool;
        /// What a retry of an interrupted operation is told, by default to resume it (contract 3.4); a request can say
        /// otherwise.
        on_interrupted: OnInterrupted;
        /// Whether every commit is synced twice, which also withstands pages shaped by an attacker who knows the
        /// store's secrets; default no.
        two_phase: bool;
        /// How large a segment file may grow before a new one begins: 1 MiB to 1 TiB, default 64 MiB. While much is
        /// written, the next one's file is made ahead: an eighth larger than this, 257 MiB at most.
        segment_bytes_max: u64;
        /// How many locks share the keys: a power of two from 1 to 65,536, default 256.
        stripes: usize;
        /// Memory for outcomes that were just replayed, so that the next retry that comes soon reads no disk; default
        /// 64 MiB, 0 for none. Each stripe has an equal share of it, 256 KiB by default, and holds no outcome larger than
        /// that. Once that is full, the second replay in a while is what an outcome is held for, not the first.
        recent_bytes_max: u64;
        /// Which names never enter a digest, default none (contract 2.2).
        rules: DigestRules;
        /// Whether a mismatch tells which parameters were added, removed and changed ([`crate::Error::difference`]), by
        /// name and never by value; default no (contract 2.6).
        ///
        /// What it takes is kept with each reservation in memory and each record: of pairs, queries, forms and the
        /// top-level members of JSON objects, the first 64 names (sorted) of at most 64 bytes, each with 64 bits of a
        /// digest of its values that is bound to the key and the store's secret, as the digest of the whole is.
        /// Beyond that an explanation says that it is incomplete. Parameters given as bytes, as a `Serialize`
        /// value or as a ready-made digest have no names: their mismatches stay without explanation, and so do those
        /// with a record that was made while this was off. Excluded names never appear.
        ///
        /// *What it costs*: a record grows by 3 bytes and 9 bytes with each name beside the name's own, 4675 at most, which
        /// [`Builder::kept_bytes_max`] does not count. `begin` hashes each parameter a second time, some 0.2 µs each, a
        /// completion once more; a mismatch with a record takes up to 1 µs for each (`cargo bench --bench explain`).
        ///
        /// *Names then stand in the files, as they were sent*: whoever can read the files reads them, and a client that
        /// writes a value where a name belongs (`?secret` is a name without a value) has it kept.
        explain_mismatches: bool;
        /// How far the wall clock may have gone while the store was closed, default 400 days (contract 7.2).
        clock_jump_max: Duration;
        /// Whether a thread of the store's own sweeps, default yes; else call `Store::sweep`.
        background_sweep: bool;
    }

    /// Completions return before they are on disk, and are synced at most `lag` later (contract 5.2).
    pub fn relaxed(mut self, lag: Duration) -> Self {
        self.relaxed = true;
        self.relaxed_lag = lag;
        self
    }

    /// How old a segment file may grow before a new one begins, default a sixteenth of the retention.
    pub fn segment_age_max(mut self, age: Duration) -> Self {
        self.segment_age_max = Some(age);
        self
    }

    /// The secret that digests are kept under (contract 2.5). By default the store makes one and keeps it beside
    /// the records, which protects a copied segment and not a copied store.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// A secret from before a rotation, still needed to compare the records of its time (contract 11).
    pub fn old_secret(mut self, secret: Secret) -> Self {
        self.old_secrets.push(secret);
        self
    }

    /// Encrypts what records say under this key (feature `encryption`): outcomes with their metadata, checkpoints, and the
    /// names that [`Builder::explain_mismatches`] keeps. All else of a record is readable: scope, token, digest, status, times,
    /// attempts, lengths. Give a [`Builder::secret`] too: the one that a store makes for itself lies beside it unencrypted, and
    /// with that low-entropy parameters can be guessed from their digests.
    ///
    /// It is against those who read the files. Within an encrypted segment no record can be given another's outcome, key or
    /// expiry; but who can write the files can put a plain segment, or an older copy, in the place of one.
    ///
    /// Each segment file has a random key of its own, kept in it encrypted under this one, and overwritten before the file
    /// is removed: what was written under a key, has expired and was swept can't be read from what the disk still has of it,
    /// not with this key either. (Where the disk keeps old copies of blocks that were overwritten, as flash, snapshots and
    /// backups do, it can; hard links to a segment lose their key with it; and
    /// [`Store::forget`](crate::Store::forget) makes a key unknown at once, and its bytes go with their segment.)
    ///
    /// Of a store that was not encrypted, or was under another key, what is written from now on is; what it holds is
    /// read as it is, with the other key as [`Builder::old_encryption_key`], until it expires. A key that is missing or
    /// wrong is told at opening, and nothing was changed. A change of the key begins a new segment, for which a full disk has
    /// no room: it opens with the old one still. *What it costs*: 16 bytes a record, and some time for each that is written,
    /// or read from disk (`cargo bench --features encryption --bench encryption`).
    ///
    /// Not in a database of the caller's, whose file is his to encrypt.
    #[cfg(feature = "encryption")]
    pub fn encryption_key(mut self, key: EncryptionKey) -> Self {
        self.keyring.current = Some(key);
        self
    }

    /// A key from before a rotation, which segments of its time still need: until those have expired. With old keys alone,
    /// new segments are not encrypted (feature `encryption`).
    #[cfg(feature = "encryption")]
    pub fn old_encryption_key(mut self, key: EncryptionKey) -> Self {
        self.keyring.old.push(key);
        self
    }

    /// Decides which outcomes are kept, in place of [`crate::classify`] (contract 4.2).
    pub fn classifier(mut self, classifier: impl Fn(&Outcome) -> Class + Send + Sync + 'static) -> Self {
        self.classifier = Some(Arc::new(classifier));
        self
    }

    /// Where the store takes its time from, by default the computer's clocks (contract 7.3).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens even if the wall clock went forward beyond [`Builder::clock_jump_max`] (contract 7.2).
    pub fn accept_clock_jump(mut self) -> Self {
        self.accept_clock_jump = true;
        self
    }

    /// What this process is called among those that share an engine (feature `distributed`): one at a time. When a process of
    /// the same name connects, what the one before it held is held by nobody: durable reservations are interrupted, others
    /// gone, at once and not when their leases lapse. Give names that a process keeps when it starts again, a pod's ordinal,
    /// say: 1 to 255 bytes, none of them a control character. Default none.
    #[cfg(feature = "distributed")]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// How long an engine is tried before a caller is told that it did not answer, default 5 seconds (feature `distributed`).
    #[cfg(feature = "distributed")]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// How old a segment may grow.
    pub(crate) fn segment_age(&self) -> Duration {
        self.segment_age_max.unwrap_or(self.retention / 16).max(Duration::from_secs(1))
    }

    /// Refuses what is out of its bounds (contract 8.1).
    pub(crate) fn checked(self) -> Result<Self> {
        let token = (1..=TOKEN_BYTES_MAX).contains(&self.token_bytes_max);
        rule(token, "token_bytes_max", self.token_bytes_max as u64, "1 to 255")?;
        let scope = (1..=SCOPE_BYTES_MAX).contains(&self.scope_bytes_max);
        rule(scope, "scope_bytes_max", self.scope_bytes_max as u64, "1 to 255")?;
        for (name, time) in
            [("retention", self.retention), ("lease", self.lease), ("clock_jump_max", self.clock_jump_max)]
        {
            rule(time <= DURATION_MAX, name, time.as_secs(), "at most a thousand years")?;
        }
        rule(!self.lease.is_zero(), "lease", 0, "longer than nothing")?;
        let outcome = self.outcome_bytes_max <= OUTCOME_BYTES_BOUND;
        rule(outcome, "outcome_bytes_max", self.outcome_bytes_max, "at most 256 MiB")?;
        let declared = self.declared_outcome_bytes <= self.outcome_bytes_max;
        rule(declared, "declared_outcome_bytes", self.declared_outcome_bytes, "at most outcome_bytes_max")?;
        let checkpoint = self.checkpoint_bytes_max <= OUTCOME_BYTES_BOUND;
        rule(checkpoint, "checkpoint_bytes_max", self.checkpoint_bytes_max, "at most 256 MiB")?;
        let segment = (SEGMENT_BYTES.0..=SEGMENT_BYTES.1).contains(&self.segment_bytes_max);
        rule(segment, "segment_bytes_max", self.segment_bytes_max, "1 MiB to 1 TiB")?;
        let stripes = self.stripes.is_power_of_two() && self.stripes <= 65_536;
        rule(stripes, "stripes", self.stripes as u64, "a power of two, at most 65,536")?;
        for (name, limit) in [
            ("live_reservations_max", self.live_reservations_max),
            ("kept_records_max", self.kept_records_max),
            ("parameter_bytes_max", self.parameter_bytes_max),
        ] {
            rule(limit > 0, name, limit, "at least 1")?;
        }
        #[cfg(feature = "distributed")]
        {
            rule(
                self.patience <= DURATION_MAX,
                "patience",
                self.patience.as_secs(),
                "at most a thousand years",
            )?;
            let name = self.node.as_deref().unwrap_or("none");
            let sound = (1..=NODE_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
            rule(sound, "node", name.len() as u64, "1 to 255 bytes, none of them a control character")?;
        }
        Ok(self)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("retention", &self.retention)
            .field("lease", &self.lease)
            .field("relaxed", &self.relaxed)
            .field("stripes", &self.stripes)
            .finish_non_exhaustive()
    }
}

fn rule(holds: bool, setting: &'static str, measured: u64, rule: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::from(ErrorKind::InvalidSetting { setting, measured, rule })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "distributed")]
    #[test]
    fn a_node_has_a_name_that_can_be_written_anywhere() {
        let node = |name: &str| Builder::default().node(name).checked().map(drop);
        for sound in ["a", "rack 4, pod-0", &"ä".repeat(127), &"x".repeat(255)] {
            assert_eq!(node(sound), Ok(()), "{} bytes", sound.len());
        }
        for (unsound, bytes) in [("", 0), ("a\0", 2), ("a\nb", 3), (&"x".repeat(256), 256)] {
            let error = node(unsound).unwrap_err();
            let said = matches!(*error.kind(), ErrorKind::InvalidSetting { setting: "node", measured, .. } if measured == bytes);
            assert!(said, "{error}");
        }
        assert!(Builder::default().patience(Duration::MAX).checked().is_err());
    }

    #[test]
    fn settings_at_their_bounds_are_accepted_and_beyond_them_refused_8_1() {
        assert!(Builder::default().checked().is_ok());
        assert!(
            Builder::default().token_bytes_max(255).stripes(1).segment_bytes_max(1 << 20).checked().is_ok()
        );
        let refused = [
            Builder::default().token_bytes_max(256),
            Builder::default().token_bytes_max(0),
            Builder::default().stripes(3),
            Builder::default().stripes(0),
            Builder::default().lease(Duration::ZERO),
            Builder::default().retention(Duration::MAX),
            Builder::default().outcome_bytes_max(10).declared_outcome_bytes(11),
            Builder::default().segment_bytes_max(1),
            Builder::default().live_reservations_max(0),
        ];
        for builder in refused {
            let error = builder.checked().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidSetting { .. }), "{error}");
        }
    }
}
