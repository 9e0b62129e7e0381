//! Partitions of records by expiry: what has expired goes as a whole, without a row being touched.
//!
//! Law: time is cut into buckets of one width, counted from 1970; a record lies in the bucket of its expiry, and a bucket is a table
//! of its own, called by its number. The last bucket that 64 bits have begins somewhere in the year 292,278,994 and has no
//! end: what never expires lies there. A partition is made as a table for itself and attached then, so that nobody who
//! reads or writes records waits for it; it is there before the first completion that needs it. One is dropped when its end has
//! passed, by whoever gets the lock on `records` within moments: while readers hold it nobody shall queue behind the drop,
//! and the next sweep tries again.

use std::time::Duration;

use super::House;
use super::fault::Wrong;
use super::link::Link;
use super::schema::Layout;
use super::values::{bigint, timestamp};
use crate::time::Timestamp;

/// The name is taken: the partition is there.
const TAKEN: [&str; 3] = ["42710", "42P07", "23505"];
/// A partition's name begins so.
const NAME: &str = "records_";
/// How long a drop waits for its lock.
const LOCK_WITHIN: Duration = Duration::from_millis(50);

/// The bucket of an expiry.
pub(super) fn bucket(expires: Timestamp, width: i64) -> i64 {
    bigint(expires.as_millis()) / width
}

/// Where a bucket begins, and where it ends; the last one does not.
pub(super) fn bounds(bucket: i64, width: i64) -> (i64, Option<i64>) {
    let end = bucket.checked_add(1).and_then(|next| next.checked_mul(width));
    (bucket.saturating_mul(width), end)
}

impl House {
    /// What the schema keeps records in.
    pub(super) async fn layout(&self, link: &Link) -> Result<Layout, Wrong> {
        if let Some(layout) = self.layout.get() {
            return Ok(*layout);
        }
        let rows = link.ask(&self.sql.identity, &[]).await?;
        let stored = rows.first().map(|row| row.try_get(1)).transpose()?.flatten();
        Ok(*self.layout.get_or_init(|| Layout::of(stored)))
    }

    /// Makes what partitions these expiries need and nobody is known to have made.
    pub(super) async fn make_room(
        &self,
        link: &Link,
        expiries: impl Iterator<Item = Timestamp>,
    ) -> Result<(), Wrong> {
        let Layout::Partitioned(width) = self.layout(link).await? else { return Ok(()) };
        let mut missing: Vec<i64> = expiries.map(|expires| bucket(expires, width)).collect();
        missing.sort_unstable();
        missing.dedup();
        {
            let known = self.partitions.lock();
            missing.retain(|bucket| !known.contains(bucket));
        }
        for bucket in missing {
            let (s, (begin, end)) = (&self.sql.schema, bounds(bucket, width));
            let end = end.map_or("MAXVALUE".to_owned(), |end| end.to_string());
            let text = format!(
                "CREATE TABLE {s}.{NAME}{bucket} (LIKE {s}.records INCLUDING ALL);
                ALTER TABLE {s}.records ATTACH PARTITION {s}.{NAME}{bucket} FOR VALUES FROM ({begin}) TO ({end})"
            );
            match link.client().batch_execute(&text).await.map_err(Wrong::from) {
                Err(wrong) if !wrong.is(&TAKEN) => return Err(wrong),
                _ => drop(self.partitions.lock().insert(bucket)),
            }
        }
        Ok(())
    }

    /// Drops partitions in which everything has expired. How many records went with them: exact where a table was never analysed,
    /// else as many as the server's statistics say.
    pub(super) async fn drop_partitions(&self, link: &Link, width: i64) -> Result<u64, Wrong> {
        let now = timestamp(link.ask(&self.sql.clock, &[]).await?[0].try_get(0)?);
        let mut gone = 0;
        for row in link.ask(&self.sql.partitions, &[]).await? {
            let (name, estimate): (String, f32) = (row.try_get(0)?, row.try_get(1)?);
            let number = name.strip_prefix(NAME).and_then(|number| number.parse::<i64>().ok());
            // Somebody else's partition is left where it is.
            let Some(own) = number else { continue };
            if bounds(own, width).1.is_some_and(|end| timestamp(end) <= now) {
                gone += self.drop_partition(link, own, estimate).await?;
            }
        }
        Ok(gone)
    }

    async fn drop_partition(&self, link: &Link, bucket: i64, estimate: f32) -> Result<u64, Wrong> {
        let (s, patience) = (&self.sql.schema, LOCK_WITHIN.as_millis());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, not below zero"
        )]
        let rows = if estimate >= 0.0 {
            estimate as u64
        } else {
            let count = format!("SELECT count(*) FROM {s}.{NAME}{bucket}");
            super::values::unsigned(link.client().query_one(&count, &[]).await?.try_get(0)?)
        };
        // One message is one transaction: the limit is for the drop alone.
        let text = format!("SET LOCAL lock_timeout = {patience}; DROP TABLE IF EXISTS {s}.{NAME}{bucket}");
        match link.client().batch_execute(&text).await.map_err(Wrong::from) {
            Ok(()) => {
                self.partitions.lock().remove(&bucket);
                Ok(rows)
            }
            Err(wrong) if wrong.is(&["55P03", "40P01"]) => Ok(0),
            Err(wrong) => Err(wrong),
        }
    }
}
