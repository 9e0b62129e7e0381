//! What becomes of claims: completed, changed, released, watched, forgotten.
//!
//! Law: each names the fence that it means and does nothing where another stands. A completion is one statement: the claim goes and
//! the record comes in the same moment, or neither. An answer that was lost is found again by the fence that the record
//! keeps. Those who watch are told in the same statement, so that they are never told of what did not happen.

use std::collections::HashSet;
use std::time::Duration;

use super::House;
use super::fault::Wrong;
use super::link::Link;
use super::values::{Hidden, bigint, claims_in, column, keys, keys_in, millis, parts};
use crate::engine::{Change, Completion, Fault, Forget, Keyed, Watch};
use crate::time::Timestamp;
use crate::token::Key;

/// No partition of `records` takes such a row: it was dropped since.
const NO_PARTITION: &str = "23514";
/// How long it waits before it watches again what somebody has locked, each time.
const PAUSES: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(16)];

impl House {
    pub(super) async fn complete(&self, completions: &[Completion]) -> Result<Vec<bool>, Fault> {
        let mut all = Vec::with_capacity(completions.len());
        for part in parts(completions, |own| own.record.len()) {
            let link = self.link().await?;
            let came = link.wait(self.try_complete(&link, part)).await;
            all.extend(link.settle("completing", came)?);
        }
        Ok(all)
    }

    async fn try_complete(&self, link: &Link, completions: &[Completion]) -> Result<Vec<bool>, Wrong> {
        let times = || completions.iter().map(|own| own.expires);
        let all = keys(completions.iter().map(|own| &own.key));
        let fences = column(completions, |own| bigint(own.fence));
        let expires = column(completions, |own| bigint(own.expires.as_millis()));
        let records = column(completions, |own| Hidden(&own.record));
        let arguments: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&all, &fences, &expires, &records];
        let complete = self.sql.complete.of_batch(completions.len());
        self.make_room(link, times()).await?;
        let rows = match link.ask(complete, &arguments).await {
            Err(wrong) if wrong.is(&[NO_PARTITION]) => {
                self.partitions.lock().clear();
                self.make_room(link, times()).await?;
                link.ask(complete, &arguments).await?
            }
            other => other?,
        };
        let mut done = keys_in(&rows)?;
        if done.len() < completions.len() {
            // The first answer may have been lost.
            done.extend(keys_in(&link.ask(&self.sql.completed, &[&all, &fences]).await?)?);
        }
        Ok(among(completions, &done))
    }

    /// Makes the partition of an expiry, before somebody completes in a transaction of their own.
    pub(super) async fn prepare_partition(&self, expires: Timestamp) -> Result<(), Fault> {
        let link = self.link().await?;
        let came = link.wait(self.make_room(&link, std::iter::once(expires))).await;
        link.settle("making a partition", came)
    }

    pub(super) async fn change(&self, changes: &[Change]) -> Result<Vec<bool>, Fault> {
        let mut all = Vec::with_capacity(changes.len());
        for part in parts(changes, |own| own.started.as_deref().map_or(0, <[u8]>::len)) {
            let link = self.link().await?;
            let came = link.wait(self.try_change(&link, part)).await;
            all.extend(link.settle("changing claims", came)?);
        }
        Ok(all)
    }

    async fn try_change(&self, link: &Link, changes: &[Change]) -> Result<Vec<bool>, Wrong> {
        let (renewals, others): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|own| is_renewal(own));
        let mut done = self.renew(link, &renewals).await?;
        if !others.is_empty() {
            let keys = keys(others.iter().map(|own| &own.key));
            let fences = column(&others, |own| bigint(own.fence));
            let leases = column(&others, |own| own.lease.map(millis));
            let standings = column(&others, |own| own.standing.map(crate::engine::Standing::code));
            let started = column(&others, |own| own.started.as_deref().map(Hidden));
            let rows = link.ask(&self.sql.change, &[&keys, &fences, &leases, &standings, &started]).await?;
            done.extend(keys_in(&rows)?);
        }
        Ok(among(changes, &done))
    }

    /// Moves the ends of leases. A claim that somebody has locked is being ended, by its holder or because it lapsed: it is left as
    /// it is, and counts as held for as long as it is seen.
    async fn renew(&self, link: &Link, renewals: &[&Change]) -> Result<HashSet<Vec<u8>>, Wrong> {
        let mut done = HashSet::new();
        if !renewals.is_empty() {
            let keys = keys(renewals.iter().map(|own| &own.key));
            let fences = column(renewals, |own| bigint(own.fence));
            let leases = column(renewals, |own| own.lease.map(millis));
            done = keys_in(&link.ask(&self.sql.renew, &[&keys, &fences, &leases]).await?)?;
            if done.len() < renewals.len() {
                let asked = renewals.iter().map(|own| (&own.key, own.fence));
                done.extend(self.running(link, asked).await?);
            }
        }
        Ok(done)
    }

    pub(super) async fn release(&self, claims: &[(Key, u64)]) -> Result<Vec<bool>, Fault> {
        let (keys, fences) =
            (keys(claims.iter().map(|(key, _)| key)), column(claims, |(_, fence)| bigint(*fence)));
        let link = self.link().await?;
        let came = link.wait(link.ask(&self.sql.release, &[&keys, &fences])).await;
        let came = came.and_then(|rows| Ok(among(claims, &keys_in(&rows)?)));
        link.settle("releasing claims", came)
    }

    pub(super) async fn watch(&self, watches: &[Watch]) -> Result<Vec<bool>, Fault> {
        let link = self.link().await?;
        let came = link.wait(self.try_watch(&link, watches)).await;
        link.settle("watching claims", came)
    }

    /// A claim that somebody has locked is tried a few times; one that stays locked counts as watched, and those who wait for it
    /// look again from time to time.
    async fn try_watch(&self, link: &Link, watches: &[Watch]) -> Result<Vec<bool>, Wrong> {
        let keys = keys(watches.iter().map(|own| &own.key));
        let fences = column(watches, |own| bigint(own.fence));
        let marks = column(watches, |own| own.mark.cast_signed());
        for pause in PAUSES {
            let done = keys_in(&link.ask(&self.sql.watch, &[&keys, &fences, &marks]).await?)?;
            if done.len() == watches.len() {
                return Ok(among(watches, &done));
            }
            let asked = watches.iter().map(|own| (&own.key, own.fence));
            let running = self.running(link, asked).await?;
            if running.is_subset(&done) {
                return Ok(among(watches, &done));
            }
            tokio::time::sleep(pause).await;
        }
        let asked = watches.iter().map(|own| (&own.key, own.fence));
        Ok(among(watches, &self.running(link, asked).await?))
    }

    /// The keys of those claims that run and have that fence.
    async fn running<'a>(
        &self,
        link: &Link,
        asked: impl Iterator<Item = (&'a Key, u64)>,
    ) -> Result<HashSet<Vec<u8>>, Wrong> {
        let (of, fences): (Vec<&Key>, Vec<u64>) = asked.unzip();
        let (keys, own) = (keys(of.iter().copied()), column(&fences, |fence| bigint(*fence)));
        let rows = link.ask(&self.sql.claims, &[&keys, &own]).await?;
        let asked: HashSet<(&[u8], u64)> = of.iter().map(|key| key.as_framed()).zip(fences).collect();
        let mut found = claims_in(&rows)?;
        found.retain(|(key, held)| asked.contains(&(&**key, held.fence)) && held.standing.is_running());
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    pub(super) async fn forget(&self, keys_of: &[Forget]) -> Result<Vec<bool>, Fault> {
        let keys = keys(keys_of.iter().map(|own| &own.key));
        let over = column(keys_of, |own| own.over.map(bigint));
        let link = self.link().await?;
        let came = link.wait(link.ask(&self.sql.forget, &[&keys, &over])).await;
        let came = came.and_then(|rows| {
            let mut were = HashSet::new();
            for row in &rows {
                if row.try_get(1)? {
                    were.insert(row.try_get(0)?);
                }
            }
            Ok(among(keys_of, &were))
        });
        link.settle("forgetting", came)
    }
}

/// Whether it moves the end of a lease and nothing else.
fn is_renewal(own: &Change) -> bool {
    own.lease.is_some_and(|lease| !lease.is_zero()) && own.standing.is_none() && own.started.is_none()
}

/// Of each deed whether its key is among these.
fn among<D: Keyed>(deeds: &[D], keys: &HashSet<Vec<u8>>) -> Vec<bool> {
    deeds.iter().map(|own| keys.contains(own.key().as_framed())).collect()
}
