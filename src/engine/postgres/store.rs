//! What concerns the store and no key: identity, epochs.
//!
//! Law: the identity is replaced by one statement that compares and sets. An epoch is answered when it is there *and* all earlier
//! ones of its node have ended; a process that dies in between has not been answered, and its next one ends both.

use super::House;
use super::fault::Wrong;
use super::link::Link;
use super::schema;
use super::settings::Settings;
use super::values::{Hidden, bigint, timestamp, unreadable, unsigned};
use crate::engine::{At, Fault};

/// How often an epoch's number may be taken by another before the caller is told of it.
const NUMBERS_MAX: u32 = 64;

impl House {
    /// The identity, in a schema that is made if it is missing.
    pub(super) async fn identity(&self, settings: &Settings) -> Result<Option<Vec<u8>>, Fault> {
        let link = self.link().await?;
        let came = link.wait(async {
            schema::make(&link, &self.sql, settings).await?;
            let rows = link.ask(&self.sql.identity, &[]).await?;
            let row = rows.first().ok_or_else(unreadable)?;
            Ok(row.try_get(0)?)
        });
        let came = came.await;
        link.settle("reading the identity", came)
    }

    pub(super) async fn replace_identity(&self, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Fault> {
        let link = self.link().await?;
        let (new, old) = (Hidden(new), old.map(Hidden));
        let came = link.wait(link.ask(&self.sql.replace_identity, &[&new, &old])).await;
        Ok(!link.settle("replacing the identity", came)?.is_empty())
    }

    pub(super) async fn begin_epoch(&self, node: Option<&str>) -> Result<At<u64>, Fault> {
        let link = self.link().await?;
        let came = link.wait(self.try_begin_epoch(&link, node)).await;
        link.settle("beginning an epoch", came)
    }

    async fn try_begin_epoch(&self, link: &Link, node: Option<&str>) -> Result<At<u64>, Wrong> {
        for _ in 0..NUMBERS_MAX {
            let rows = link.ask(&self.sql.begin_epoch, &[&node]).await?;
            // None: another has taken the number.
            let Some(row) = rows.first() else { continue };
            let epoch: i64 = row.try_get(0)?;
            if node.is_some() {
                link.ask(&self.sql.end_node, &[&node, &epoch]).await?;
            }
            let now = timestamp(link.ask(&self.sql.clock, &[]).await?[0].try_get(0)?);
            return Ok(At { now, answer: unsigned(epoch) });
        }
        Err(Wrong::Judged(Fault::Conflict))
    }

    pub(super) async fn end_epoch(&self, epoch: u64) -> Result<(), Fault> {
        let link = self.link().await?;
        let came = link.wait(link.ask(&self.sql.end_epoch, &[&bigint(epoch)])).await;
        link.settle("ending an epoch", came).map(drop)
    }
}
