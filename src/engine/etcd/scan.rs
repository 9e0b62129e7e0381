//! Going through all claims: pages, numbers, the sweep.
//!
//! Law: claims are read in steps, in the order of their keys, and each step for itself: what comes or goes meanwhile is seen
//! or not. The sweep removes a claim only as it was read, and by the way sees each lease, so that a store that sweeps
//! has known a lease for long when somebody asks. Records are no business of it: see `buckets`.

use std::collections::HashSet;
use std::time::Duration;

use super::bundle::bundle;
use super::fault::damaged;
use super::layout::{Stood, delete, unchanged};
use super::wire::{Range, Txn};
use super::{Etcd, Found};
use crate::engine::{At, Count, Fault, Page, Standing};
use crate::time::Now;
use crate::token::Key;

/// Claims of one step.
const STEP: usize = 128;

/// How far somebody has come.
enum Place {
    /// Behind that key, or before all.
    Behind(Option<Key>),
    End,
}

/// A step: claims, which of their epochs have ended, and when that was so.
struct Step {
    found: Vec<(Key, Found<Stood>)>,
    ended: HashSet<u64>,
    now: Now,
}

impl Etcd {
    pub(super) async fn paged(&self, after: Option<&Key>, most: usize) -> Result<At<Page>, Fault> {
        let (mut page, mut place) = (Page::new(), Place::Behind(after.cloned()));
        while page.len() < most
            && let Some(Step { found, ended, now }) = self.step(&mut place, most - page.len()).await?
        {
            let held = |(key, own): (Key, Found<Stood>)| {
                let held = self.held(&key, &own.own, &ended, now);
                (key, held)
            };
            page.extend(found.into_iter().map(held));
        }
        Ok(At { now: self.time.now().time, answer: page })
    }

    pub(super) async fn counted(&self) -> Result<Count, Fault> {
        let records = self.link.call(&Range { count_only: true, ..self.layout.records() }).await?.count;
        let mut count = Count { live_reservations: 0, kept_records: u64::try_from(records).unwrap_or(0) };
        let mut place = Place::Behind(None);
        while let Some(Step { found, ended, now }) = self.step(&mut place, STEP).await? {
            for (key, own) in found {
                let held = self.held(&key, &own.own, &ended, now);
                count.live_reservations += u64::from(held.standing.is_running() && !held.ended);
                count.kept_records += u64::from(held.standing != Standing::Volatile);
            }
        }
        Ok(count)
    }

    pub(super) async fn swept(&self, grace: Duration) -> Result<u64, Fault> {
        let (began, mut removed, mut there) = (self.time.now().tick, 0, HashSet::new());
        let mut place = Place::Behind(None);
        while let Some(Step { found, ended, now }) = self.step(&mut place, STEP).await? {
            let goes = |(key, own): &&(Key, Found<Stood>)| {
                let held = self.held(key, &own.own, &ended, now);
                match held.standing {
                    Standing::Released => held.left.is_zero(),
                    Standing::Volatile => {
                        held.ended || self.age(key, &own.own, now) >= own.own.lease.saturating_add(grace)
                    }
                    Standing::Over => self.age(key, &own.own, now) >= own.own.lease.saturating_add(grace),
                    Standing::Durable | Standing::Interrupted => false,
                }
            };
            let parts = found.iter().filter(goes).map(|(key, own)| {
                let claim = self.layout.claim(key);
                let compare = vec![unchanged(&claim, own.modified)];
                Txn { compare, success: vec![delete(&claim)], ..Txn::default() }
            });
            let came = bundle(&self.link, parts.collect()).await?;
            removed += came.iter().filter(|own| own.succeeded).count() as u64;
            there.extend(found.into_iter().map(|(key, _)| key));
        }
        self.notes.keep(began, |key| there.contains(key));
        Ok(removed)
    }

    /// The next claims, so many at most; `None`: there are no more.
    async fn step(&self, place: &mut Place, most: usize) -> Result<Option<Step>, Fault> {
        let Place::Behind(after) = place else { return Ok(None) };
        let limit = i64::try_from(most.min(STEP)).unwrap_or(i64::MAX);
        let range = Range { limit, ..self.layout.claims(after.as_ref()) };
        let answer = self.link.call(&range).await?;
        let found = answer.found.into_iter().map(|own| {
            let key = self.layout.key_of(&own.key).ok_or_else(|| damaged("the key of a claim"))?;
            let stood = Stood::decode(&own.value).ok_or_else(|| damaged("a claim"))?;
            Ok((key, Found { modified: own.modified, own: stood }))
        });
        let found = found.collect::<Result<Vec<_>, Fault>>()?;
        let last = found.last().map(|(key, _)| key.clone());
        *place = if answer.more { Place::Behind(last) } else { Place::End };
        let ended = self.ended(found.iter().map(|(_, own)| own.own.fence)).await?;
        Ok(Some(Step { found, ended, now: self.time.now() }))
    }
}
