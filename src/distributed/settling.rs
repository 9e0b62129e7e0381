//! Looking without claiming, and ending a key from outside (contract 4.6, 11).
//!
//! Law: what is held here is answered here; all else is asked of the engine. A live reservation, wherever it is held, is never
//! touched: both ends answer *in flight*. Who resolves an interrupted key claims it first, over the very claim that he saw,
//! so that nobody goes on with it meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Phase, Slot};
use super::finishing::{check_outcome, sealed};
use super::judging::Claimant;
use super::shared::Shared;
use crate::engine::{Change, Claim, Claimed, Completion, Count, Forget, Held, Sight, Standing};
use crate::error::{ErrorKind, Result};
use crate::outcome::{Class, Kept, Outcome, Replay};
use crate::store::{Completed, Known, Unfinished};
use crate::token::Key;

/// So long after its lease a claim stays that nobody took over, at least: until then a late holder still completes it.
const LATE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Claims looked at in one step.
const PAGE: usize = 256;

impl Shared {
    /// What the engine has of a key, or has now of the store that is moved from.
    pub(super) async fn sight(self: &Arc<Self>, key: &Key) -> Result<Sight> {
        if let Some(carried) = self.old_of(key)? {
            self.carry_over(key, carried, None).await?;
        }
        let (now, sight) = self.lanes.look_up(key.clone()).await.map_err(|fault| self.fault(fault))?;
        self.time.hear(now);
        Ok(sight)
    }

    pub(super) async fn get(self: &Arc<Self>, key: &Key) -> Result<Known> {
        self.check_open()?;
        if let Some(known) = self.known_here(key) {
            return Ok(known);
        }
        let sight = self.sight(key).await?;
        if let Some(bytes) = sight.record {
            let replay = self.finished(key, &bytes)?.replay();
            return replay.map(Known::Finished).ok_or_else(|| self.damaged());
        }
        let Some(held) = sight.held else { return Ok(Known::Absent) };
        let record = self.started(key, &held.started)?;
        let (since, attempt) = (record.since(), record.attempts());
        Ok(match self.claimant(&held) {
            Claimant::Nobody => Known::Absent,
            Claimant::Somebody => Known::InFlight { since, attempt, lease_left: Some(held.left) },
            Claimant::Interrupted => Known::Interrupted { since, attempt, checkpoint: record.checkpoint() },
        })
    }

    /// What this process knows by itself: what it holds.
    fn known_here(&self, key: &Key) -> Option<Known> {
        let now = self.time.now();
        let hash = self.keys.fingerprint(key.as_framed());
        self.desk.with(hash, key, |place| {
            let slot = place.held.as_ref().filter(|slot| !slot.is_lapsed(now))?;
            let Slot { since, attempt, .. } = *slot;
            match slot.phase {
                Phase::Unknown => Some(Known::Unknown),
                Phase::Leaving => None,
                Phase::Running | Phase::Completing => {
                    Some(Known::InFlight { since, attempt, lease_left: slot.lease_left(now) })
                }
            }
        })
    }

    /// What there is of a key that nobody holds; else *in flight*, or *unknown outcome*.
    async fn not_reserved(self: &Arc<Self>, key: &Key) -> Result<Sight> {
        self.check_open()?;
        match self.known_here(key) {
            Some(Known::Unknown) => return Err(ErrorKind::AnswerLost.into()),
            Some(Known::InFlight { attempt, lease_left, .. }) => {
                return Err(ErrorKind::InFlight { attempt, lease_left }.into());
            }
            _ => {}
        }
        let sight = self.sight(key).await?;
        if let Some(held) = sight.held.as_ref().filter(|held| self.claimant(held) == Claimant::Somebody) {
            let attempt = self.started(key, &held.started)?.attempts();
            return Err(ErrorKind::InFlight { attempt, lease_left: Some(held.left) }.into());
        }
        Ok(sight)
    }

    pub(super) async fn forget(self: &Arc<Self>, key: &Key) -> Result<bool> {
        let mut was = false;
        loop {
            let over = self.not_reserved(key).await?.held.map(|held| held.fence);
            let (own, key, old) = (Arc::clone(self), key.clone(), self.forgotten_of(key)?);
            // On the engine's thread, so that giving up the wait leaves nothing half done.
            let gone = self.lanes.run(async move {
                let had = own.lanes.forget(Forget { key: key.clone(), over }).await?;
                // Where it was carried over again in between, this is done again.
                let done = match old {
                    Some(forgotten) => own.carry_in(key, forgotten).await?,
                    None => true,
                };
                Ok((had, done))
            });
            let (had, done) = gone.await.map_err(|fault| self.fault(fault))?;
            was |= had;
            if done {
                return Ok(was);
            }
        }
    }

    pub(super) async fn resolve(self: &Arc<Self>, key: &Key, outcome: Outcome) -> Result<Completed> {
        let held = self.not_reserved(key).await?.held;
        let held = held.filter(|held| self.claimant(held) == Claimant::Interrupted);
        let held = held.ok_or(ErrorKind::NotInterrupted)?;
        let class = outcome.class_by(self.options.classifier.as_ref());
        if class == Class::Final {
            check_outcome(self, &outcome, outcome.size())?;
        }
        // On the engine's thread, so that giving up the wait changes nothing.
        let (own, key) = (Arc::clone(self), key.clone());
        let told = self.lanes.run(async move { Ok(own.settle(key, &held, outcome, class).await) });
        told.await.map_err(|fault| self.fault(fault))?
    }

    async fn settle(&self, key: Key, over: &Held, outcome: Outcome, class: Class) -> Result<Completed> {
        let record = self.started(&key, &over.started)?;
        let (bound, attempts, format) = (record.bound(), record.attempts(), record.format());
        // Asked before anything is claimed: a caller's clock may panic (contract 5.11).
        let completed = self.time.now().time;
        let expires = completed.saturating_add(self.options.retention);
        let fence = self.next_fence()?;
        let claim = Claim {
            key: key.clone(),
            fence,
            over: Some(over.fence),
            lease: self.options.lease,
            standing: Standing::Durable,
            started: Arc::clone(&over.started),
        };
        match self.lanes.claim(claim).await.map_err(|fault| self.fault(fault))?.1 {
            Claimed::Granted => {}
            Claimed::Held(_) => {
                return Err(ErrorKind::InFlight { attempt: attempts, lease_left: None }.into());
            }
            Claimed::Finished(_) | Claimed::Gone => return Err(ErrorKind::NotInterrupted.into()),
        }
        let (done, completed) = if class == Class::Final {
            let omitted = None;
            let kept = Kept { outcome, omitted, completed, expires, attempts, format };
            let record = sealed(self, &key, bound, &Replay::from(kept));
            let completion = Completion { key, fence, expires, record };
            (self.lanes.complete(completion).await, Completed::Kept { completed, expires })
        } else {
            let (lease, standing) = (Some(self.options.retention), Some(Standing::Released));
            let change = Change { key, fence, lease, standing, started: None };
            (self.lanes.change(change).await, Completed::Released)
        };
        match done {
            Ok(true) => Ok(completed),
            Ok(false) => Err(ErrorKind::NotInterrupted.into()),
            Err(fault) => Err(match self.fault(fault) {
                error if error.is_retryable() => ErrorKind::AnswerLost.into(),
                error => error,
            }),
        }
    }

    pub(super) async fn sweep(&self) -> Result<u64> {
        self.check_open()?;
        let (engine, grace) = (Arc::clone(&self.lanes.engine), self.grace());
        let swept = self.lanes.run(async move { engine.sweep(grace).await });
        swept.await.map_err(|fault| self.fault(fault))
    }

    fn grace(&self) -> Duration {
        self.options.retention.max(LATE_MAX)
    }

    pub(super) async fn count(&self) -> Result<Count> {
        self.check_open()?;
        let engine = Arc::clone(&self.lanes.engine);
        let counted = self.lanes.run(async move { engine.count().await });
        counted.await.map_err(|fault| self.fault(fault))
    }

    /// The claims behind `after`.
    fn page(&self, after: Option<Key>) -> Result<Vec<(Key, Held)>> {
        self.check_open()?;
        let (engine, patience) = (Arc::clone(&self.lanes.engine), self.lanes.patience);
        let page = self.lanes.run(async move { patience.tries(|| engine.page(after.as_ref(), PAGE)).await });
        let page = self.wait(async { page.await.map_err(|fault| self.fault(fault)) })?;
        self.time.hear(page.now);
        Ok(page.answer)
    }

    /// What is to be told of a claim to who looks for interrupted operations, or for running ones.
    fn unfinished(&self, key: Key, held: &Held, interrupted: bool) -> Result<Option<Unfinished>> {
        let state = self.claimant(held);
        let meant = state == if interrupted { Claimant::Interrupted } else { Claimant::Somebody };
        if !meant {
            return Ok(None);
        }
        let record = self.started(&key, &held.started)?;
        let durable = held.standing.is_unfinished();
        let lease_left = (state == Claimant::Somebody).then_some(held.left);
        Ok(Some(Unfinished::elsewhere(key, &record, durable, lease_left)))
    }
}

pub(super) fn unfinished(
    shared: &Shared,
    interrupted: bool,
) -> impl Iterator<Item = Result<Unfinished>> + '_ {
    let (mut page, mut last, mut ended) = (VecDeque::new(), None::<Key>, false);
    std::iter::from_fn(move || {
        while !ended {
            let Some((key, held)): Option<(Key, Held)> = page.pop_front() else {
                match shared.page(last.clone()) {
                    Ok(more) if more.is_empty() => ended = true,
                    Ok(more) => page = more.into(),
                    Err(error) => {
                        ended = true;
                        return Some(Err(error));
                    }
                }
                continue;
            };
            last = Some(key.clone());
            if let Some(found) = shared.unfinished(key, &held, interrupted).transpose() {
                return Some(found);
            }
        }
        None
    })
}

/// Sweeps from time to time, for as long as there is a store.
pub(super) async fn sweep_on(shared: std::sync::Weak<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = shared.upgrade() else { return };
        // What failed is tried again the next time.
        drop(shared.lanes.engine.sweep(shared.grace()).await);
    }
}
