//! A store's numbers for the facade `metrics`, and so for Prometheus and its kind (feature `metrics`).
//!
//! Law: a request pays nothing for it: whoever is scraped publishes first, and then all numbers there are go out, the same
//! that [`Store::stats`] gives without this feature. Each number stands in one row, with its name, unit and meaning; no label holds a scope, a token
//! or anything else of a caller's (contract 10.2) but what the server itself labels the store with.

use std::fmt;

use metrics::{Label, Unit, counter, gauge, histogram};

use crate::distribution::Distribution;
#[cfg(feature = "tower")]
use crate::http::{Counts, IdempotencyLayer};
use crate::store::{Stats, Store};

/// A number: its name, its unit, what it says, and where it stands.
type Number<Of, Value> = (&'static str, Unit, &'static str, fn(&Of) -> Value);

const COUNTERS: &[Number<Stats, u64>] = &[
    ("oncekey_fresh_total", Unit::Count, "Reservations given, those taken over included.", |own| own.fresh),
    ("oncekey_replays_total", Unit::Count, "Requests answered with a kept outcome.", |own| own.replays),
    ("oncekey_recent_replays_total", Unit::Count, "Those of them that were answered from memory.", |own| {
        own.recent_replays
    }),
    ("oncekey_in_flight_total", Unit::Count, "Requests told that the operation runs.", |own| own.in_flight),
    ("oncekey_waited_total", Unit::Count, "Requests that waited for another's outcome.", |own| {
        own.waits.count()
    }),
    (
        "oncekey_mismatches_total",
        Unit::Count,
        "Requests whose token came with other parameters before.",
        |own| own.mismatches,
    ),
    ("oncekey_expired_total", Unit::Count, "Requests first sent before the store could remember.", |own| {
        own.expired
    }),
    ("oncekey_unknown_outcomes_total", Unit::Count, "Requests told that the outcome is unknown.", |own| {
        own.unknown_outcomes
    }),
    ("oncekey_refused_total", Unit::Count, "Requests refused for any other reason.", |own| own.refused),
    ("oncekey_lost_total", Unit::Count, "Holders that were told that another took over.", |own| own.lost),
    (
        "oncekey_taken_over_total",
        Unit::Count,
        "Reservations taken over after their lease had lapsed.",
        |own| own.taken_over,
    ),
    ("oncekey_completed_total", Unit::Count, "Completions on disk.", |own| own.completed),
    ("oncekey_released_total", Unit::Count, "Reservations released without an outcome.", |own| own.released),
    ("oncekey_failed_total", Unit::Count, "Completions whose commit failed.", |own| own.failed),
    ("oncekey_durable_starts_total", Unit::Count, "Starts on disk.", |own| own.durable_starts),
    ("oncekey_resumed_total", Unit::Count, "Interrupted operations that were resumed.", |own| own.resumed),
    ("oncekey_resolved_total", Unit::Count, "Interrupted operations that were resolved.", |own| own.resolved),
    ("oncekey_checkpoints_total", Unit::Count, "Checkpoints on disk.", |own| own.checkpoints),
    ("oncekey_written_bytes_total", Unit::Bytes, "Bytes written, without zeros ahead of them.", |own| {
        own.bytes_written
    }),
];

const GAUGES: &[Number<Stats, f64>] = &[
    ("oncekey_interrupted", Unit::Count, "Operations that are interrupted and wait for somebody.", |own| {
        float(own.interrupted)
    }),
    ("oncekey_live_reservations", Unit::Count, "Operations that run.", |own| float(own.live_reservations)),
    ("oncekey_oldest_reservation_seconds", Unit::Seconds, "Age of the oldest one.", |own| {
        own.oldest_reservation.as_secs_f64()
    }),
    ("oncekey_kept_records", Unit::Count, "Kept records.", |own| float(own.kept_records)),
    ("oncekey_kept_bytes", Unit::Bytes, "Their bytes.", |own| float(own.kept_bytes)),
    ("oncekey_index_bytes", Unit::Bytes, "Memory of the index.", |own| float(own.index_bytes)),
    ("oncekey_recent_bytes", Unit::Bytes, "Memory of recent outcomes.", |own| float(own.recent_bytes)),
    ("oncekey_segments", Unit::Count, "Segment files.", |own| float(own.segments)),
    ("oncekey_file_bytes", Unit::Bytes, "Their bytes on disk.", |own| float(own.file_bytes)),
];

/// Those in seconds are measured in microseconds.
const HISTOGRAMS: &[Number<Stats, Distribution>] = &[
    ("oncekey_commit_seconds", Unit::Seconds, "How long commits took.", |own| own.commits),
    ("oncekey_records_per_commit", Unit::Count, "How many records and notes a commit was for.", |own| {
        own.batches
    }),
    ("oncekey_wait_seconds", Unit::Seconds, "How long requests waited that had to.", |own| own.waits),
    ("oncekey_execution_seconds", Unit::Seconds, "How long operations ran.", |own| own.executions),
];

#[cfg(feature = "tower")]
const LAYER_COUNTERS: &[Number<Counts, u64>] = &[
    ("oncekey_http_ran_total", Unit::Count, "Handlers called under a reservation.", |own| own.ran),
    ("oncekey_http_replayed_total", Unit::Count, "Requests answered with a kept answer.", |own| own.replayed),
    ("oncekey_http_in_flight_total", Unit::Count, "Requests told that the first one runs.", |own| {
        own.in_flight
    }),
    (
        "oncekey_http_mismatches_total",
        Unit::Count,
        "Requests whose token came with another request before.",
        |own| own.mismatches,
    ),
    ("oncekey_http_refused_total", Unit::Count, "Requests refused for their own fault.", |own| own.refused),
    ("oncekey_http_unavailable_total", Unit::Count, "Requests that the store could not take.", |own| {
        own.unavailable
    }),
    ("oncekey_http_unprotected_total", Unit::Count, "Requests that ran unprotected.", |own| own.unprotected),
    (
        "oncekey_http_too_large_total",
        Unit::Count,
        "Answers too large to keep, and retries that were told so.",
        |own| own.too_large,
    ),
];

#[cfg(feature = "tower")]
const LAYER_GAUGES: &[Number<IdempotencyLayer, f64>] =
    &[("oncekey_http_running", Unit::Count, "Handlers that run.", |own| float(own.drain().running() as u64))];

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
/// Each name has its description, unit and kind from here. It holds a handle of the store: [`Store::close`] does not wait for it.
/// One publisher for a store: each counts for itself what it has told.
pub struct Publisher {
    store: Store,
    labels: Vec<Label>,
    told: Box<Stats>,
    #[cfg(feature = "tower")]
    layer: Option<(IdempotencyLayer, Counts)>,
}

impl Publisher {
    /// A publisher of this store's numbers, which describes them to the recorder.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        for (name, unit, meaning, _) in COUNTERS {
            metrics::describe_counter!(*name, *unit, *meaning);
        }
        for (name, unit, meaning, _) in GAUGES {
            metrics::describe_gauge!(*name, *unit, *meaning);
        }
        for (name, unit, meaning, _) in HISTOGRAMS {
            metrics::describe_histogram!(*name, *unit, *meaning);
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
        for (name, unit, meaning, _) in LAYER_COUNTERS {
            metrics::describe_counter!(*name, *unit, *meaning);
        }
        for (name, unit, meaning, _) in LAYER_GAUGES {
            metrics::describe_gauge!(*name, *unit, *meaning);
        }
        self.layer = Some((layer.clone(), Counts::default()));
        self
    }

    /// Publishes all numbers as they are at this moment.
    pub fn publish(&mut self) {
        let (told, stats) = (&*self.told, self.store.stats());
        count(COUNTERS, told, &stats, &self.labels);
        show(GAUGES, &stats, &self.labels);
        for (name, unit, _, of) in HISTOGRAMS {
            let scale = if *unit == Unit::Seconds { MICROSECOND } else { 1.0 };
            spread(name, &of(told), &of(&stats), scale, &self.labels);
        }
        *self.told = stats;
        #[cfg(feature = "tower")]
        if let Some((layer, told)) = &mut self.layer {
            let counts = layer.counts();
            count(LAYER_COUNTERS, told, &counts, &self.labels);
            show(LAYER_GAUGES, layer, &self.labels);
            *told = counts;
        }
    }
}

/// Durations are measured in microseconds, and published in seconds.
const MICROSECOND: f64 = 1e-6;

/// What was counted since the last time. What is less than it was has begun anew with a store that was reopened.
fn count<Of>(numbers: &[Number<Of, u64>], told: &Of, now: &Of, labels: &[Label]) {
    for (name, _, _, of) in numbers {
        let (before, now) = (of(told), of(now));
        counter!(*name, labels.to_vec()).increment(now.checked_sub(before).unwrap_or(now));
    }
}

fn show<Of>(numbers: &[Number<Of, f64>], now: &Of, labels: &[Label]) {
    for (name, _, _, of) in numbers {
        gauge!(*name, labels.to_vec()).set(of(now));
    }
}

/// What was measured since the last time: each value as the upper bound of its bucket.
fn spread(name: &'static str, told: &Distribution, now: &Distribution, scale: f64, labels: &[Label]) {
    let histogram = histogram!(name, labels.to_vec());
    for ((bound, count), (_, before)) in now.buckets().zip(told.buckets()) {
        // The last bucket's values are beyond 2^30: what they were is not known.
        let value = float(bound.min(1 << 31)) * scale;
        if let Ok(new @ 1..) = usize::try_from(count.saturating_sub(before)) {
            histogram.record_many(value, new);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and 2^53 of anything is near enough")]
fn float(value: u64) -> f64 {
    value as f64
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("labels", &self.labels.len()).finish_non_exhaustive()
    }
}
