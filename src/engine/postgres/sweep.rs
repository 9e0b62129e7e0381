//! Going through all: pages of claims, counts, the sweep.
//!
//! Law: claims are gone through by key, so many in a statement, each from where the last one ended. A sweep waits for nobody: what is
//! locked or read just now is left to the next one. How long these take depends on how much there is, so that no time is set to
//! their answers; a connection that is gone is noticed by the system.

use std::time::Duration;

use super::House;
use super::fault::Wrong;
use super::link::Link;
use super::schema::Layout;
use super::values::{bigint, claims_in, keys_in, millis, timestamp, unreadable, unsigned};
use crate::engine::{At, Count, Fault, Page};
use crate::token::Key;

/// Rows in one statement of the sweep.
const STEP: i64 = 1000;
/// Behind no key: keys are not empty.
const BEFORE_ALL: &[u8] = &[];

impl House {
    pub(super) async fn page(&self, after: Option<&Key>, most: usize) -> Result<At<Page>, Fault> {
        let link = self.link().await?;
        let came = link.wait(self.try_page(&link, after, most)).await;
        link.settle("reading a page of claims", came)
    }

    async fn try_page(&self, link: &Link, after: Option<&Key>, most: usize) -> Result<At<Page>, Wrong> {
        let (after, most) = (after.map_or(BEFORE_ALL, Key::as_framed), bigint(most as u64));
        let rows = link.ask(&self.sql.page, &[&super::values::Hidden(after), &most]).await?;
        let now = timestamp(link.ask(&self.sql.clock, &[]).await?[0].try_get(0)?);
        let claims = claims_in(&rows)?.into_iter();
        let named = claims.map(|(key, held)| Ok((Key::from_framed(&key).ok_or_else(unreadable)?, held)));
        Ok(At { now, answer: named.collect::<Result<_, Wrong>>()? })
    }

    pub(super) async fn count(&self) -> Result<Count, Fault> {
        let link = self.link().await?;
        let came = async {
            let rows = link.ask(&self.sql.count, &[]).await?;
            let row = rows.first().ok_or_else(unreadable)?;
            Ok(Count {
                live_reservations: unsigned(row.try_get(0)?),
                kept_records: unsigned(row.try_get(1)?),
            })
        };
        let came = came.await;
        link.settle("counting", came)
    }

    pub(super) async fn sweep(&self, grace: Duration) -> Result<u64, Fault> {
        let link = self.link().await?;
        let came = self.try_sweep(&link, millis(grace)).await;
        link.settle("sweeping", came)
    }

    async fn try_sweep(&self, link: &Link, grace: i64) -> Result<u64, Wrong> {
        let records = match self.layout(link).await? {
            Layout::Partitioned(width) => self.drop_partitions(link, width).await?,
            Layout::Plain => self.delete_records(link).await?,
        };
        Ok(records + self.delete_claims(link, grace).await?)
    }

    async fn delete_records(&self, link: &Link) -> Result<u64, Wrong> {
        let [delete] = link.prepare([&self.sql.sweep_records]).await?;
        let mut gone = 0;
        loop {
            let step = link.client().execute(&delete, &[&STEP]).await?;
            gone += step;
            if step < STEP.unsigned_abs() {
                return Ok(gone);
            }
        }
    }

    async fn delete_claims(&self, link: &Link, grace: i64) -> Result<u64, Wrong> {
        let (mut gone, mut after) = (0, BEFORE_ALL.to_vec());
        loop {
            let arguments: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&super::values::Hidden(&after), &grace, &STEP];
            let step = keys_in(&link.ask(&self.sql.sweep_claims, &arguments).await?)?;
            gone += step.len() as u64;
            let full = step.len() as u64 == STEP.unsigned_abs();
            match step.into_iter().max() {
                Some(last) if full => after = last,
                _ => return Ok(gone),
            }
        }
    }
}
