//! How a measured value is spread: counts by powers of two.
//!
//! Law: measuring costs two additions and takes no lock; nothing is lost but where in its bucket a value lay. Whoever reads
//! while others measure may see a value counted and not yet summed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many buckets there are: the last one is for all that is larger than 2^30.
const BUCKETS: usize = 32;

/// How often a value of which size was measured: microseconds of a duration, or a count.
///
/// Bucket 0 holds zeros and ones, bucket *n* what is above 2^(n-1) and up to 2^n; the last one all that is larger.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Distribution {
    /// How many values were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The bucket of which at least this share of all values is at most: its upper bound, so at most twice the value itself.
    /// `None` where nothing was measured; [`u64::MAX`] for the last bucket.
    ///
    /// ```
    /// let stats = oncekey::Store::in_memory()?.stats();
    /// assert_eq!(stats.commits.quantile(0.99), None);
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 values a share of them is near enough")]
        let (mut seen, needed) = (0, share.clamp(0.0, 1.0) * self.count() as f64);
        #[expect(clippy::cast_precision_loss, reason = "the same")]
        let reached = |(_, count): &(u64, u64)| {
            seen += count;
            seen > 0 && seen as f64 >= needed
        };
        self.buckets().find(reached).map(|(bound, _)| bound)
    }

    /// Upper bound and count of each bucket, from the smallest on; [`u64::MAX`] for the last one.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().map(|(at, count)| (bound(at), *count))
    }
}

fn bound(bucket: usize) -> u64 {
    if bucket + 1 < BUCKETS { 1 << bucket } else { u64::MAX }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("sum", &self.sum)
            .field("median_up_to", &self.quantile(0.5))
            .field("p99_up_to", &self.quantile(0.99))
            .finish_non_exhaustive()
    }
}

/// What is measured into.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Measured {
    pub(crate) fn add(&self, value: u64) {
        let bucket = (u64::BITS - value.saturating_sub(1).leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// A duration, in microseconds.
    pub(crate) fn add_time(&self, time: std::time::Duration) {
        self.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn read(&self) -> Distribution {
        let mut counts = [0; BUCKETS];
        for (own, count) in counts.iter_mut().zip(&self.counts) {
            *own = count.load(Relaxed);
        }
        Distribution { counts, sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(values: &[u64]) -> Distribution {
        let measured = Measured::default();
        for value in values {
            measured.add(*value);
        }
        measured.read()
    }

    #[test]
    fn a_value_stands_in_the_bucket_whose_bounds_it_lies_between() {
        for value in [0, 1, 2, 3, 4, 5, 1000, 1024, 1025, (1 << 30) - 1, 1 << 30] {
            let own = measured(&[value]);
            let (bound, _) = own.buckets().find(|(_, count)| *count == 1).unwrap();
            assert!(value <= bound && (bound == 1 || value > bound / 2), "{value} under {bound}");
        }
        for value in [(1 << 30) + 1, u64::MAX] {
            assert_eq!(measured(&[value]).quantile(0.0), Some(u64::MAX));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values_up_to_their_bucket() {
        let own = measured(&[1, 3, 3, 3, 100, 100, 100, 100, 100, 5000]);
        let told: Vec<_> = [0.0, 0.1, 0.4, 0.5, 0.9, 0.99, 1.0, 7.0].map(|share| own.quantile(share)).into();
        let expected = [1, 1, 4, 128, 128, 8192, 8192, 8192].map(Some);
        assert_eq!(told, expected);
        assert_eq!((own.count(), own.sum()), (10, 5510));
        assert_eq!(measured(&[]).quantile(0.5), None);
    }
}
