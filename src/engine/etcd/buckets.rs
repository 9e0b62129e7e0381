//! How records go: in buckets, by etcd itself.
//!
//! Law: a record is attached to a lease of etcd that all records share which expire within the same step of time; etcd
//! removes them together when that lease ends. It ends a whole step after the bucket does, is never ended sooner, and is
//! never the judge of what has expired: that is the time in the record. So clocks that differ by less than a step
//! remove nothing early, and retention costs no sweep. Leases are this engine's own: others never need to know them.
//!
//! A lease takes a bounded number of records, then the bucket has another, since etcd removes all of one at one blow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Failure;
use super::link::Link;
use super::wire::Grant;
use crate::sync::Mutex;
use crate::time::Timestamp;

/// A sixteenth of a day.
pub(super) const STEP: Duration = Duration::from_secs(24 * 60 * 60 / 16);
/// The shortest: etcd counts in seconds.
const STEP_MIN: Duration = Duration::from_secs(1);
/// The longest lease that etcd gives, in seconds. What expires later is attached to none, and stays until it is forgotten.
const LEASE_SECONDS_MAX: u64 = 9_000_000_000;
/// Records of one lease at most.
const RECORDS_MAX: u32 = 10_000;

pub(super) struct Buckets {
    step: u64,
    leases: Mutex<BTreeMap<u64, Lease>>,
}

struct Lease {
    id: i64,
    records: u32,
}

impl Buckets {
    pub(super) fn of(step: Duration) -> Self {
        let step = u64::try_from(step.max(STEP_MIN).as_millis()).unwrap_or(u64::MAX);
        Self { step, leases: Mutex::default() }
    }

    /// The lease for a record that expires then; 0: none.
    pub(super) async fn lease(
        &self,
        link: &Link,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<i64, Failure> {
        let Some((bucket, seconds)) = self.bucket(expires, now) else { return Ok(0) };
        if let Some(id) = self.taken(bucket) {
            return Ok(id);
        }
        let id = link.call(&Grant { ttl: i64::try_from(seconds).unwrap_or(i64::MAX) }).await?.id;
        let over = now.as_millis() / self.step;
        let mut leases = self.leases.lock();
        // Buckets that are over take no more.
        leases.retain(|own, _| *own >= over);
        leases.insert(bucket, Lease { id, records: 1 });
        Ok(id)
    }

    /// Some of the leases are no more: none is trusted.
    pub(super) fn forget(&self) {
        self.leases.lock().clear();
    }

    fn taken(&self, bucket: u64) -> Option<i64> {
        let mut leases = self.leases.lock();
        let lease = leases.get_mut(&bucket).filter(|own| own.records < RECORDS_MAX)?;
        lease.records += 1;
        Some(lease.id)
    }

    /// Its number, and how long its lease has to last from now.
    fn bucket(&self, expires: Timestamp, now: Timestamp) -> Option<(u64, u64)> {
        let bucket = expires.as_millis() / self.step;
        let end = bucket.checked_add(2)?.checked_mul(self.step)?;
        let seconds = end.saturating_sub(now.as_millis()).max(self.step).div_ceil(1_000);
        (seconds <= LEASE_SECONDS_MAX).then_some((bucket, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlasts_whatever_expires_in_its_bucket_by_a_step_7_1() {
        let buckets = Buckets::of(Duration::from_secs(10));
        let at = Timestamp::from_millis;
        assert_eq!(
            buckets.bucket(at(25_000), at(1_000)),
            Some((2, 39)),
            "20 to 30 s, and ten more, from 1 s on"
        );
        assert_eq!(buckets.bucket(at(29_999), at(1_001)), Some((2, 39)), "in whole seconds, the next");
        assert_eq!(buckets.bucket(at(30_000), at(1_000)), Some((3, 49)));
        assert_eq!(buckets.bucket(at(5), at(99_000)), Some((0, 10)), "expired before it was kept: a step");
        assert_eq!(buckets.bucket(Timestamp::MAX, at(0)), None, "never");
        assert_eq!(buckets.bucket(at(9_000_000_000_000 + 60_000), at(0)), None, "later than leases last");
    }
}
