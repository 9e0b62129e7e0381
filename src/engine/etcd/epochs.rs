//! Epochs: which have begun, and which have not ended.
//!
//! Law: epochs count up and none comes again; one has ended when its key is gone, and then for ever, so that this may be
//! remembered. A key goes when its epoch is ended, when the same node begins another, and, only where the user asked for
//! it (`Etcd::dead_after`), when its process was not heard of for so long.
//!
//! That last is asked for and not the rule, because it can't tell a process that died from one that is cut off from
//! etcd: the claims of both are free at once, though their leases run (4.4 gives a lease its whole time). So that a
//! process that comes back does not go on under an epoch that has ended, each claim in such an epoch is guarded by the
//! epoch's key, in the same moment; without it the store has stopped, and is to be reopened.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::bundle::bundle;
use super::fault::{Failure, damaged, garbled, refused};
use super::layout::{Layout, delete, get, look, number, present, put, unchanged};
use super::link::Link;
use super::wire::{Compare, Grant, KeepAlive, Revoke, Txn};
use crate::error::ErrorKind;
use crate::sync::Mutex;

/// Ended epochs that are remembered at most; then all are asked for again.
const ENDED_MAX: usize = 4_096;

#[derive(Default)]
pub(super) struct Epochs {
    ended: Mutex<HashSet<u64>>,
    /// Those of this engine that end when it is not heard of.
    kept_alive: Mutex<HashMap<u64, Heart>>,
}

/// Beats as long as it is kept.
struct Heart {
    lease: i64,
    task: AbortHandle,
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Epochs {
    /// A new one; that of the same node ends.
    pub(super) async fn begin(
        &self,
        link: &Arc<Link>,
        layout: &Layout,
        node: Option<&str>,
        dead_after: Option<Duration>,
    ) -> Result<u64, Failure> {
        let lease = match dead_after {
            Some(after) => {
                let ttl = i64::try_from(after.as_secs().max(1)).unwrap_or(i64::MAX);
                Some(link.call(&Grant { ttl }).await?)
            }
            None => None,
        };
        let (counter, node_key) = (layout.epochs(), node.map(|node| layout.node(node)));
        loop {
            let asked = [Some(&counter), node_key.as_ref()].into_iter().flatten();
            let reading = Txn { success: asked.map(|key| get(key)).collect(), ..Txn::default() };
            let seen = bundle(link, vec![reading]).await?.pop().ok_or_else(garbled)?;
            let last = seen.found(0)?;
            let former = if node_key.is_some() { seen.found(1)? } else { None };
            let read = |value: &[u8]| number(value).ok_or_else(|| damaged("the number of an epoch"));
            let epoch = last.map_or(Ok(0), |own| read(&own.value))? + 1;
            let former = former.map(|own| read(&own.value)).transpose()?;

            let id = lease.as_ref().map_or(0, |own| own.id);
            let mut success = vec![
                put(counter.clone(), epoch.to_be_bytes().to_vec(), 0),
                put(layout.epoch(epoch), node.unwrap_or_default().into(), id),
            ];
            success.extend(node_key.iter().map(|key| put(key.clone(), epoch.to_be_bytes().to_vec(), 0)));
            success.extend(former.map(|own| delete(&layout.epoch(own))));
            let compare = vec![unchanged(&counter, last.map_or(0, |own| own.modified))];
            let begun = bundle(link, vec![Txn { compare, success, ..Txn::default() }]).await?;
            if begun.first().is_some_and(|own| own.succeeded) {
                if let Some(own) = lease {
                    let task = tokio::spawn(beat(Arc::clone(link), own.id, own.ttl)).abort_handle();
                    self.kept_alive.lock().insert(epoch, Heart { lease: own.id, task });
                }
                return Ok(epoch);
            }
        }
    }

    pub(super) async fn end(&self, link: &Arc<Link>, layout: &Layout, epoch: u64) -> Result<(), Failure> {
        bundle(link, vec![Txn { success: vec![delete(&layout.epoch(epoch))], ..Txn::default() }]).await?;
        let heart = self.kept_alive.lock().remove(&epoch);
        if let Some(heart) = heart {
            // It ends by itself, if it has not already.
            drop(link.call(&Revoke { id: heart.lease }).await);
        }
        Ok(())
    }

    /// Which of these have ended.
    pub(super) async fn ended(
        &self,
        link: &Arc<Link>,
        layout: &Layout,
        of: impl IntoIterator<Item = u64>,
    ) -> Result<HashSet<u64>, Failure> {
        let of: BTreeSet<u64> = of.into_iter().collect();
        let (known, asked): (Vec<u64>, Vec<u64>) = {
            let known = self.ended.lock();
            of.into_iter().partition(|epoch| known.contains(epoch))
        };
        let mut ended: HashSet<u64> = known.into_iter().collect();
        if asked.is_empty() {
            return Ok(ended);
        }
        let part = |epoch: &u64| Txn {
            success: vec![look(&layout.epoch(*epoch)), get(&layout.epochs())],
            ..Txn::default()
        };
        let parts = bundle(link, asked.iter().map(part).collect()).await?;
        let mut known = self.ended.lock();
        if known.len() > ENDED_MAX {
            known.clear();
        }
        for (epoch, part) in asked.into_iter().zip(parts) {
            if part.is_there(0)? {
                continue;
            }
            ended.insert(epoch);
            // One that has not begun counts as ended too, and is not remembered as such.
            let last = part.found(1)?.and_then(|own| number(&own.value)).unwrap_or(0);
            if epoch <= last {
                known.insert(epoch);
            }
        }
        Ok(ended)
    }

    /// What has to hold of the epochs that claims are made in: those that end when nothing is heard of them have not.
    pub(super) fn guard(&self, layout: &Layout, of: impl IntoIterator<Item = u64>) -> Vec<Compare> {
        let kept_alive = self.kept_alive.lock();
        if kept_alive.is_empty() {
            return Vec::new();
        }
        let of: BTreeSet<u64> = of.into_iter().filter(|epoch| kept_alive.contains_key(epoch)).collect();
        of.into_iter().map(|epoch| present(&layout.epoch(epoch))).collect()
    }
}

/// Where a guard did not hold.
pub(super) fn has_ended() -> Failure {
    refused(ErrorKind::Stopped { operation: "sign of life to etcd, which held this process for dead" })
}

/// Keeps a lease of so many seconds alive, until it has ended all the same.
async fn beat(link: Arc<Link>, id: i64, ttl: i64) {
    let third = Duration::from_secs(u64::try_from(ttl).unwrap_or(1).max(1)) / 3;
    loop {
        sleep(third).await;
        let asked = tokio_stream::once(Bytes::from(KeepAlive { id }.encode_to_vec()));
        let kept =
            timeout(third, async { link.stream::<KeepAlive>(asked).await.ok()?.message().await.ok()? });
        if let Ok(Some(kept)) = kept.await
            && kept.ttl <= 0
        {
            return;
        }
    }
}
