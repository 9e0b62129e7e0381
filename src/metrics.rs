//! A store's numbers for the facade `metrics`, and so for Prometheus and its kind (feature `metrics`).
//!
//! Law: a request pays nothing for it: whoever is scraped publishes first, and then all numbers there are go out, the same
//! that [`Store::stats`] gives without this feature. Names, units and meanings stand in [`NAMES`]; no label holds a scope, a token
//! or anything else of a caller's (contract 10.2) but what the server itself labels the store with.

use std::fmt;

use metrics::{Label, Unit, counter, gauge, histogram};

use crate::distribution::Distribution;
#[cfg(feature = "tower")]
use crate::http::IdempotencyLayer;
use crate::store::{Stats, Store};

/// A name, its unit, and what it says. Those that end in `_total` are counters, those that are measured in `seconds` or come
/// `per_commit` histograms, the others gauges.
pub const NAMES: &[(&str, Unit, &str)] = &[
    ("oncekey_fresh_total", Unit::Count, "Reservations given, those taken over included."),
    ("oncekey_replays_total", Unit::Count, "Requests answered with a kept outcome."),
    ("oncekey_recent_replays_total", Unit::Count, "Those of them that were answered from memory."),
    ("oncekey_in_flight_total", Unit::Count, "Requests told that the operation runs."),
    ("oncekey_waited_total", Unit::Count, "Requests that waited for another's outcome."),
    ("oncekey_mismatches_total", Unit::Count, "Requests whose token came with other parameters before."),
    ("oncekey_expired_total", Unit::Count, "Requests first sent before the store could remember."),
    ("oncekey_unknown_outcomes_total", Unit::Count, "Requests told that the outcome is unknown."),
    ("oncekey_refused_total", Unit::Count, "Requests refused for any other reason."),
    ("oncekey_lost_total", Unit::Count, "Holders that were told that another took over."),
    ("oncekey_taken_over_total", Unit::Count, "Reservations taken over after their lease had lapsed."),
    ("oncekey_completed_total", Unit::Count, "Completions on disk."),
    ("oncekey_released_total", Unit::Count, "Reservations released without an outcome."),
    ("oncekey_failed_total", Unit::Count, "Completions whose commit failed."),
    ("oncekey_durable_starts_total", Unit::Count, "Starts on disk."),
    ("oncekey_resumed_total", Unit::Count, "Interrupted operations that were resumed."),
    ("oncekey_resolved_total", Unit::Count, "Interrupted operations that were resolved."),
    ("oncekey_checkpoints_total", Unit::Count, "Checkpoints on disk."),
    ("oncekey_written_bytes_total", Unit::Bytes, "Bytes that redb wrote."),
    ("oncekey_interrupted", Unit::Count, "Operations that are interrupted and wait for somebody."),
    ("oncekey_live_reservations", Unit::Count, "Operations that run."),
    ("oncekey_oldest_reservation_seconds", Unit::Seconds, "Age of the oldest one (a gauge)."),
    ("oncekey_kept_records", Unit::Count, "Kept records."),
    ("oncekey_kept_bytes", Unit::Bytes, "Their bytes."),
    ("oncekey_index_bytes", Unit::Bytes, "Memory of the index."),
    ("oncekey_recent_bytes", Unit::Bytes, "Memory of recent outcomes."),
    ("oncekey_segments", Unit::Count, "Segment files."),
    ("oncekey_file_bytes", Unit::Bytes, "Their bytes on disk."),
    ("oncekey_commit_seconds", Unit::Seconds, "How long commits took."),
    ("oncekey_records_per_commit", Unit::Count, "How many records and notes a commit was for."),
    ("oncekey_wait_seconds", Unit::Seconds, "How long requests waited that had to."),
    ("oncekey_execution_seconds", Unit::Seconds, "How long operations ran."),
    ("oncekey_http_ran_total", Unit::Count, "Handlers called under a reservation."),
    ("oncekey_http_replayed_total", Unit::Count, "Requests answered with a kept answer."),
    ("oncekey_http_in_flight_total", Unit::Count, "Requests told that the first one runs."),
    ("oncekey_http_mismatches_total", Unit::Count, "Requests whose token came with another request before."),
    ("oncekey_http_refused_total", Unit::Count, "Requests refused for their own fault."),
    ("oncekey_http_unavailable_total", Unit::Count, "Requests that the store could not take."),
    ("oncekey_http_unprotected_total", Unit::Count, "Requests that ran unprotected."),
    ("oncekey_http_too_large_total", Unit::Count, "Answers that were too large to keep."),
    ("oncekey_http_running", Unit::Count, "Handlers that run."),
];

/// Publishes a store's numbers to the recorder that the process has installed.
///
/// ```
/// use oncekey::metrics::Publisher;
///
/// let store = oncekey::Store::in_memory()?;
/// let mut publisher = Publisher::new(&store).label("store", "payments");
/// // Before each scrape, or once every few seconds:
/// publisher.publish();
/// # Ok::<(), oncekey::Error>(())
/// ```
///
/// It holds a handle of the store: [`Store::close`] does not wait for it. One publisher for a store: each counts for itself what
/// went into a histogram.
pub struct Publisher {
    store: Store,
    labels: Vec<Label>,
    told: Box<Stats>,
    #[cfg(feature = "tower")]
    layer: Option<IdempotencyLayer>,
}

impl Publisher {
    /// A publisher of this store's numbers, which describes them to the recorder.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        for (name, unit, meaning) in NAMES {
            if name.ends_with("_total") {
                metrics::describe_counter!(*name, *unit, *meaning);
            } else if is_histogram(name) {
                metrics::describe_histogram!(*name, *unit, *meaning);
            } else {
                metrics::describe_gauge!(*name, *unit, *meaning);
            }
        }
        Self {
            store: store.clone(),
            labels: Vec::new(),
            told: Box::default(),
            #[cfg(feature = "tower")]
            layer: None,
        }
    }

    /// Adds a label to all its numbers, as a process with several stores needs.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(name, value.into()));
        self
    }

    /// Publishes this layer's numbers too.
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn layer(mut self, layer: &IdempotencyLayer) -> Self {
        self.layer = Some(layer.clone());
        self
    }

    /// Publishes all numbers as they are at this moment.
    pub fn publish(&mut self) {
        let stats = self.store.stats();
        for (name, value) in [
            ("oncekey_fresh_total", stats.fresh),
            ("oncekey_replays_total", stats.replays),
            ("oncekey_recent_replays_total", stats.recent_replays),
            ("oncekey_in_flight_total", stats.in_flight),
            ("oncekey_waited_total", stats.waits.count()),
            ("oncekey_mismatches_total", stats.mismatches),
            ("oncekey_expired_total", stats.expired),
            ("oncekey_unknown_outcomes_total", stats.unknown_outcomes),
            ("oncekey_refused_total", stats.refused),
            ("oncekey_lost_total", stats.lost),
            ("oncekey_taken_over_total", stats.taken_over),
            ("oncekey_completed_total", stats.completed),
            ("oncekey_released_total", stats.released),
            ("oncekey_failed_total", stats.failed),
            ("oncekey_durable_starts_total", stats.durable_starts),
            ("oncekey_resumed_total", stats.resumed),
            ("oncekey_resolved_total", stats.resolved),
            ("oncekey_checkpoints_total", stats.checkpoints),
            ("oncekey_written_bytes_total", stats.bytes_written),
        ] {
            self.count(name, value);
        }
        for (name, value) in [
            ("oncekey_interrupted", stats.interrupted),
            ("oncekey_live_reservations", stats.live_reservations),
            ("oncekey_kept_records", stats.kept_records),
            ("oncekey_kept_bytes", stats.kept_bytes),
            ("oncekey_index_bytes", stats.index_bytes),
            ("oncekey_recent_bytes", stats.recent_bytes),
            ("oncekey_segments", stats.segments),
            ("oncekey_file_bytes", stats.file_bytes),
        ] {
            self.show(name, as_float(value));
        }
        self.show("oncekey_oldest_reservation_seconds", stats.oldest_reservation.as_secs_f64());
        self.spread("oncekey_commit_seconds", &self.told.commits, &stats.commits, MICROSECOND);
        self.spread("oncekey_records_per_commit", &self.told.batches, &stats.batches, 1.0);
        self.spread("oncekey_wait_seconds", &self.told.waits, &stats.waits, MICROSECOND);
        self.spread("oncekey_execution_seconds", &self.told.executions, &stats.executions, MICROSECOND);
        *self.told = stats;
        #[cfg(feature = "tower")]
        self.publish_layer();
    }

    #[cfg(feature = "tower")]
    fn publish_layer(&self) {
        let Some(layer) = &self.layer else { return };
        let counts = layer.counts();
        for (name, value) in [
            ("oncekey_http_ran_total", counts.ran),
            ("oncekey_http_replayed_total", counts.replayed),
            ("oncekey_http_in_flight_total", counts.in_flight),
            ("oncekey_http_mismatches_total", counts.mismatches),
            ("oncekey_http_refused_total", counts.refused),
            ("oncekey_http_unavailable_total", counts.unavailable),
            ("oncekey_http_unprotected_total", counts.unprotected),
            ("oncekey_http_too_large_total", counts.too_large),
        ] {
            self.count(name, value);
        }
        self.show("oncekey_http_running", as_float(layer.drain().running() as u64));
    }

    fn count(&self, name: &'static str, value: u64) {
        counter!(name, self.labels.clone()).absolute(value);
    }

    fn show(&self, name: &'static str, value: f64) {
        gauge!(name, self.labels.clone()).set(value);
    }

    /// What was measured since the last time: each value as the upper bound of its bucket.
    fn spread(&self, name: &'static str, told: &Distribution, now: &Distribution, unit: f64) {
        let histogram = histogram!(name, self.labels.clone());
        for ((bound, count), (_, before)) in now.buckets().zip(told.buckets()) {
            // The last bucket's values are beyond 2^30: what they were is not known.
            let value = as_float(bound.min(1 << 31)) * unit;
            if let Ok(new @ 1..) = usize::try_from(count.saturating_sub(before)) {
                histogram.record_many(value, new);
            }
        }
    }
}

/// Durations are measured in microseconds, and published in seconds.
const MICROSECOND: f64 = 1e-6;

fn is_histogram(name: &str) -> bool {
    name != "oncekey_oldest_reservation_seconds"
        && (name.ends_with("_seconds") || name.ends_with("_per_commit"))
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and 2^53 of anything is near enough")]
fn as_float(value: u64) -> f64 {
    value as f64
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("labels", &self.labels.len()).finish_non_exhaustive()
    }
}
