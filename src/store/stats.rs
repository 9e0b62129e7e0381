//! Numbers of a store, and what it promises.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shared::Shared;
use crate::distribution::Distribution;
use crate::options::OnInterrupted;

/// A store's numbers at one moment. Counts of answers begin anew at each opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reservations given, those taken over included.
    pub fresh: u64,
    /// Requests answered with a kept outcome.
    pub replays: u64,
    /// Those of them that were answered from memory.
    pub recent_replays: u64,
    /// Requests told *in flight*.
    pub in_flight: u64,
    /// Requests refused as mismatch.
    pub mismatches: u64,
    /// Requests that were first sent before the store could remember (contract 3.8).
    pub expired: u64,
    /// Requests told *unknown outcome* or *interrupted* (contract 3.4, 3.9).
    pub unknown_outcomes: u64,
    /// Requests refused for any other reason.
    pub refused: u64,
    /// Reservations taken over after their lease had lapsed.
    pub taken_over: u64,
    /// Holders that were told *reservation lost*.
    pub lost: u64,
    /// Completions on disk.
    pub completed: u64,
    /// Reservations released without an outcome.
    pub released: u64,
    /// Completions whose commit failed.
    pub failed: u64,
    /// Durable reservations whose start was written, those resumed or taken over included (contract 5.4).
    pub durable_starts: u64,
    /// Interrupted operations that were resumed (contract 3.4).
    pub resumed: u64,
    /// Checkpoints on disk (contract 6.3).
    pub checkpoints: u64,
    /// Interrupted operations that were resolved (contract 4.6).
    pub resolved: u64,
    /// Operations that are interrupted at this moment: neither resumed nor resolved nor forgotten.
    pub interrupted: u64,
    /// Live reservations.
    pub live_reservations: u64,
    /// Age of the oldest live reservation.
    pub oldest_reservation: Duration,
    /// Kept records, expired ones included until they are swept (contract 8.3). The start of a durable reservation is one
    /// of them, as is its release.
    pub kept_records: u64,
    /// Their bytes: scopes, tokens, metadata and bodies.
    pub kept_bytes: u64,
    /// Memory of the index, in bytes.
    pub index_bytes: u64,
    /// Memory of recent outcomes, in bytes, within [`crate::Builder::recent_bytes_max`].
    pub recent_bytes: u64,
    /// Segment files; none in a caller's database.
    pub segments: u64,
    /// Their bytes on disk; in a caller's database those of the store's blocks.
    pub file_bytes: u64,
    /// Bytes of redb's that were written since the opening, without zeros over zeros; in a caller's database those of the
    /// store's blocks alone.
    pub bytes_written: u64,
    /// Zeros written ahead of it, to make room and to make syncs cheap.
    pub zeros_written: u64,
    /// Microseconds that commits took, from when a group was taken up until it was published.
    pub commits: Distribution,
    /// How many records and notes a commit was for.
    pub batches: Distribution,
    /// Microseconds that requests waited which had to: until they were answered, with whatever.
    pub waits: Distribution,
    /// Microseconds from a reservation, or its last take-over, to its completion, to the millisecond.
    pub executions: Distribution,
}

/// Where a store's records live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Home {
    /// A directory of a file system.
    Directory,
    /// Memory: nothing outlives the process.
    Memory,
    /// A table in the caller's own redb database (contract 6; feature `redb-transactions`). The file, its space and its
    /// mode are the caller's, and so is its backup. What survives a power cut there survives as the database's own rows
    /// do. After a failed commit redb answers nothing any more until the database was opened anew, replays included.
    Database,
}

/// What a store promises, in its home and with its settings (contract 11).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "promises that are given or not")]
#[non_exhaustive]
pub struct Guarantees {
    /// Where its records live.
    pub home: Home,
    /// An acknowledged completion survives that the process is killed (contract 5.1).
    pub survives_kill: bool,
    /// An acknowledged completion survives a power cut (contract 5.1); with `Relaxed`, not the last `lag` (5.2).
    pub survives_power_cut: bool,
    /// How long an acknowledged completion may be unsynced; zero in the default durability.
    pub lag: Duration,
    /// Two *completions* of one key can't overlap. Two *runs* can, after a lapsed lease (contract 4.4).
    pub one_completion: bool,
    /// A reservation that is live when the process dies, by a kill or a power cut, is known as interrupted afterwards
    /// (contract 5.4), unless its request asked for a volatile one; else it is gone, and a retry runs afresh (5.3),
    /// unless its request asked for a durable one.
    pub reservations_survive_kill: bool,
    /// A request can ask for a durable reservation, whose start, checkpoints and release outlive the process (5.4, 6.3).
    pub durable_reservations: bool,
    /// What a retry of an interrupted operation is answered, unless its request says otherwise (contract 3.4).
    pub on_interrupted: OnInterrupted,
    /// Disk room is set aside before an operation runs (contract 5.10).
    pub room_set_aside: bool,
    /// Files are 0600 and never followed through symlinks (contract 10.1).
    pub private_files: bool,
    /// Files that are not the store's, of a newer format, damaged or open elsewhere are refused unchanged (contract 5.6);
    /// in the caller's database that holds of the store's table, and not of the file.
    pub judges_files: bool,
    /// After a failed commit, what is known to be on disk is still replayed (contract 5.5).
    pub replays_when_stopped: bool,
    /// It lends its database's write transaction, so that an operation's effect and its record are one (contract 6.1).
    pub lends_transactions: bool,
    /// The secret of the digests is the caller's; else it lies beside the records, which protects a copied segment
    /// and not a copied store (contract 2.5).
    pub callers_secret: bool,
    /// What records say is encrypted on disk (feature `encryption`).
    pub encrypted: bool,
    /// How long records are kept by default.
    pub retention: Duration,
}

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        let now = self.chronometer.now().time;
        let (mut fresh, mut released, mut index_bytes, mut oldest, mut held) = (0, 0, 0, Duration::ZERO, 0);
        let (mut recent_replays, mut recent_bytes) = (0, 0);
        for stripe in self.stripes.each() {
            fresh += stripe.fresh;
            released += stripe.released;
            index_bytes += stripe.index.bytes() as u64;
            recent_replays += stripe.recent.hits();
            recent_bytes += stripe.recent.bytes() as u64;
            let ages = stripe.slots.live().map(|slot| now.since(slot.since));
            // Operations that are resumed, or resolved, at this moment.
            held += stripe
                .slots
                .iter()
                .map(|slot| self.stripes.interrupted.count_of(&slot.replaces))
                .sum::<usize>();
            oldest = ages.fold(oldest, Duration::max);
        }
        let counters = &self.counters;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = Stats {
            fresh: fresh + load(&counters.taken_over),
            replays: recent_replays + load(&counters.replays),
            recent_replays,
            in_flight: load(&counters.in_flight),
            mismatches: load(&counters.mismatches),
            expired: load(&counters.expired),
            unknown_outcomes: load(&counters.unknown),
            refused: load(&counters.refused),
            taken_over: load(&counters.taken_over),
            lost: load(&counters.lost),
            completed: load(&counters.completed),
            released,
            failed: load(&counters.failed),
            durable_starts: load(&counters.started),
            resumed: load(&counters.resumed),
            checkpoints: load(&counters.checkpoints),
            resolved: load(&counters.resolved),
            interrupted: (self.stripes.interrupted.len().saturating_sub(held)) as u64,
            live_reservations: self.stripes.quota.live(),
            oldest_reservation: oldest,
            kept_records: self.stripes.quota.kept_records(),
            kept_bytes: self.stripes.quota.kept_bytes(),
            index_bytes,
            recent_bytes,
            commits: counters.commits.read(),
            batches: counters.batches.read(),
            waits: counters.waits.read(),
            executions: counters.executions.read(),
            ..Stats::default()
        };
        if let Ok(ledger) = self.ledger() {
            stats.segments = ledger.segment_count();
            stats.file_bytes = ledger.file_bytes();
            (stats.bytes_written, stats.zeros_written) = ledger.bytes_written();
        }
        stats
    }

    pub(super) fn guarantees(&self) -> Guarantees {
        let options = &self.options;
        let (on_disk, own_files) = (self.home != Home::Memory, self.home == Home::Directory);
        Guarantees {
            home: self.home,
            survives_kill: on_disk && !options.relaxed,
            survives_power_cut: on_disk && !options.relaxed,
            lag: if options.relaxed { options.relaxed_lag } else { Duration::ZERO },
            one_completion: true,
            reservations_survive_kill: on_disk && options.start_durably,
            durable_reservations: on_disk,
            on_interrupted: options.on_interrupted,
            room_set_aside: own_files,
            private_files: own_files,
            judges_files: own_files,
            replays_when_stopped: self.home != Home::Database,
            lends_transactions: self.home == Home::Database,
            callers_secret: options.secret.is_some(),
            encrypted: options.keyring.encrypts(),
            retention: options.retention,
        }
    }
}
