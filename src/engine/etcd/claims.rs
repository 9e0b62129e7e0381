//! The verbs of a key.
//!
//! Law: whatever depends only on the fence is one deed without reading first: a new claim, a completion, a release. What
//! depends on how a claim stands (to take it over, to change it, to forget it) is read first, judged here, and done
//! only if nothing of it has changed since; else it is judged anew.
//!
//! | verb | if | then | else |
//! | --- | --- | --- | --- |
//! | claim | no claim, no record | put the claim | read both; an expired record: if no claim and this record, put the claim |
//! | claim over | (read both) this claim, unchanged, that nobody holds | put the claim | read both |
//! | complete | a claim with this fence | delete it, put the record | a record with this fence? |
//! | release | a claim with this fence that runs | delete it | |
//! | change | (read) this claim, unchanged | put it | read |
//! | forget | (read both) both unchanged | delete both | read both |

use std::collections::HashSet;

use super::bundle::{Part, bundle, guarded};
use super::epochs::has_ended;
use super::fault::{Failure, damaged};
use super::layout::{Kept, Stood, absent, delete, get, has_fence, put, runs, unchanged, within};
use super::watches::Wish;
use super::wire::{Compare, Txn};
use super::{Etcd, Found};
use crate::engine::{At, Change, Claim, Claimed, Completion, FENCE_BITS, Fault, Forget, Sight, Watch};
use crate::time::Now;
use crate::token::Key;

/// How often a key is judged anew, while others change it, before its caller is told to ask again.
const TRIES: usize = 8;

/// All that stands in etcd of a key.
pub(super) struct Seen {
    claim: Option<Found<Stood>>,
    record: Option<Found<Kept>>,
}

impl Seen {
    /// What two readings found, the claim's before the record's.
    fn of(part: &Part) -> Result<Self, Fault> {
        let claim = stood(part)?;
        let record = part.found(1)?.map(|own| {
            let kept = Kept::decode(&own.value).ok_or_else(|| damaged("a record"))?;
            Ok::<_, Fault>(Found { modified: own.modified, own: kept })
        });
        Ok(Self { claim, record: record.transpose()? })
    }

    /// The record, if it has not expired.
    fn record(&self, now: Now) -> Option<&Kept> {
        self.record.as_ref().map(|own| &own.own).filter(|own| own.expires > now.time)
    }

    fn fence(&self) -> Option<u64> {
        self.claim.as_ref().map(|own| own.own.fence)
    }
}

/// What the first reading found of a claim.
fn stood(part: &Part) -> Result<Option<Found<Stood>>, Fault> {
    let claim = part.found(0)?.map(|own| {
        let stood = Stood::decode(&own.value).ok_or_else(|| damaged("a claim"))?;
        Ok(Found { modified: own.modified, own: stood })
    });
    claim.transpose()
}

/// What is to be done about a claim that was asked for.
enum Next {
    Answer(Claimed),
    /// It is the asker's if that holds.
    PutIf(Vec<Compare>),
}

impl Etcd {
    pub(super) async fn claimed(&self, claims: &[Claim]) -> Result<At<Vec<Claimed>>, Fault> {
        let guard = self.epochs.guard(&self.layout, claims.iter().map(|own| own.fence >> FENCE_BITS));
        let first = |own: &Claim| {
            let (claim, record) = (self.layout.claim(&own.key), self.layout.record(&own.key));
            match own.over {
                None => self.put_if(own, vec![absent(&claim), absent(&record)]),
                Some(_) => self.both(&own.key),
            }
        };
        let parts = guarded(&self.link, &guard, claims.iter().map(first).collect()).await?;
        let parts = parts.ok_or_else(has_ended)?;
        let mut answers: Vec<Option<Claimed>> = vec![None; claims.len()];
        let mut open = Vec::new();
        for (at, (own, part)) in claims.iter().zip(parts).enumerate() {
            if own.over.is_none() && part.succeeded {
                answers[at] = Some(self.granted(own));
            } else {
                open.push((at, Seen::of(&part)?));
            }
        }
        for _ in 0..TRIES {
            if open.is_empty() {
                break;
            }
            open = self.judge_anew(claims, &guard, open, &mut answers).await?;
        }
        // Those that others change all the time are asked for again.
        let answer = answers.into_iter().map(|own| own.unwrap_or(Claimed::Gone)).collect();
        Ok(At { now: self.time.now().time, answer })
    }

    /// Answers what can be answered, and puts claims where they may stand. What was seen where that failed.
    async fn judge_anew(
        &self,
        claims: &[Claim],
        guard: &[Compare],
        open: Vec<(usize, Seen)>,
        answers: &mut [Option<Claimed>],
    ) -> Result<Vec<(usize, Seen)>, Fault> {
        let foreign = |(at, seen): &(usize, Seen)| seen.fence().filter(|own| *own != claims[*at].fence);
        let ended = self.ended(open.iter().filter_map(foreign)).await?;
        let now = self.time.now();
        let (mut asked, mut parts) = (Vec::new(), Vec::new());
        for (at, seen) in open {
            match self.judged(&claims[at], &seen, &ended, now) {
                Next::Answer(answer) => answers[at] = Some(answer),
                Next::PutIf(compare) => {
                    asked.push(at);
                    parts.push(self.put_if(&claims[at], compare));
                }
            }
        }
        let parts = guarded(&self.link, guard, parts).await?.ok_or_else(has_ended)?;
        let mut open = Vec::new();
        for (at, part) in asked.into_iter().zip(parts) {
            if part.succeeded {
                answers[at] = Some(self.granted(&claims[at]));
            } else {
                open.push((at, Seen::of(&part)?));
            }
        }
        Ok(open)
    }

    /// The judgement, of what was seen alone.
    fn judged(&self, claim: &Claim, seen: &Seen, ended: &HashSet<u64>, now: Now) -> Next {
        let place = self.layout.claim(&claim.key);
        let Some(Found { modified, own }) = &seen.claim else {
            self.notes.forget(&claim.key);
            return match (seen.record(now), claim.over) {
                (Some(kept), _) => Next::Answer(Claimed::Finished(kept.record.clone())),
                (None, Some(_)) => Next::Answer(Claimed::Gone),
                (None, None) => {
                    let expired = seen.record.as_ref().map_or(0, |own| own.modified);
                    let record = self.layout.record(&claim.key);
                    Next::PutIf(vec![absent(&place), unchanged(&record, expired)])
                }
            };
        };
        if own.fence == claim.fence {
            return Next::Answer(self.granted(claim));
        }
        let held = self.held(&claim.key, own, ended, now);
        if claim.over == Some(own.fence) && held.is_free() {
            return Next::PutIf(vec![unchanged(&place, *modified)]);
        }
        Next::Answer(Claimed::Held(held))
    }

    /// Its lease is seen first by whoever made it.
    fn granted(&self, claim: &Claim) -> Claimed {
        self.notes.age(&claim.key, (claim.fence, 0), self.time.now().tick);
        Claimed::Granted
    }

    fn put_if(&self, own: &Claim, compare: Vec<Compare>) -> Txn {
        let stood = Stood {
            fence: own.fence,
            standing: own.standing,
            stamp: 0,
            lease: own.lease,
            until: self.time.now().time.saturating_add(own.lease),
            started: own.started.clone(),
        };
        let success = vec![put(self.layout.claim(&own.key), stood.encode(), 0)];
        Txn { compare, success, failure: self.both(&own.key).success }
    }

    /// Reads claim and record.
    fn both(&self, key: &Key) -> Txn {
        let success = vec![get(&self.layout.claim(key)), get(&self.layout.record(key))];
        Txn { success, ..Txn::default() }
    }

    pub(super) async fn completed(&self, completions: &[Completion]) -> Result<Vec<bool>, Fault> {
        for _ in 0..TRIES {
            let mut parts = Vec::with_capacity(completions.len());
            for own in completions {
                let lease = self.buckets.lease(&self.link, own.expires, self.time.now().time).await?;
                let (claim, record) = (self.layout.claim(&own.key), self.layout.record(&own.key));
                let kept = Kept { fence: own.fence, expires: own.expires, record: own.record.clone() };
                let already = Txn { compare: has_fence(&record, own.fence), ..Txn::default() };
                parts.push(Txn {
                    compare: has_fence(&claim, own.fence),
                    success: vec![delete(&claim), put(record, kept.encode(), lease)],
                    failure: vec![within(already)],
                });
            }
            match bundle(&self.link, parts).await {
                Ok(parts) => {
                    let came = completions.iter().zip(&parts).map(|(own, part)| {
                        if part.succeeded {
                            self.notes.forget(&own.key);
                        }
                        Ok(part.succeeded || part.succeeded_at(0)?)
                    });
                    return came.collect();
                }
                Err(Failure::NoSuchLease) => self.buckets.forget(),
                Err(failure) => return Err(failure.into()),
            }
        }
        // Some of them may have been done in a chunk of their own.
        Err(Fault::Unheard(std::io::ErrorKind::ResourceBusy))
    }

    pub(super) async fn released(&self, claims: &[(Key, u64)]) -> Result<Vec<bool>, Fault> {
        let part = |(key, fence): &(Key, u64)| {
            let claim = self.layout.claim(key);
            Txn { compare: runs(&claim, *fence), success: vec![delete(&claim)], ..Txn::default() }
        };
        let parts = bundle(&self.link, claims.iter().map(part).collect()).await?;
        let came = claims.iter().zip(&parts).map(|((key, _), part)| {
            if part.succeeded {
                self.notes.forget(key);
            }
            part.succeeded
        });
        Ok(came.collect())
    }

    pub(super) async fn changed(&self, changes: &[Change]) -> Result<Vec<bool>, Fault> {
        let read = |own: &Change| Txn { success: vec![get(&self.layout.claim(&own.key))], ..Txn::default() };
        let parts = bundle(&self.link, changes.iter().map(read).collect()).await?;
        let mut open: Vec<(usize, Part)> = parts.into_iter().enumerate().collect();
        let mut answers = vec![false; changes.len()];
        for _ in 0..TRIES {
            let (mut asked, mut parts) = (Vec::new(), Vec::new());
            for (at, part) in open {
                let change = &changes[at];
                let own = stood(&part)?.filter(|own| own.own.fence == change.fence);
                let Some(Found { modified, own }) = own.filter(|own| own.own.standing.is_running()) else {
                    continue;
                };
                let (claim, own) = (self.layout.claim(&change.key), self.after(change, own));
                asked.push((at, own.stamp));
                parts.push(Txn {
                    compare: vec![unchanged(&claim, modified)],
                    success: vec![put(claim.clone(), own.encode(), 0)],
                    failure: vec![get(&claim)],
                });
            }
            open = Vec::new();
            for ((at, stamp), part) in asked.into_iter().zip(bundle(&self.link, parts).await?) {
                if part.succeeded {
                    self.notes.age(&changes[at].key, (changes[at].fence, stamp), self.time.now().tick);
                    answers[at] = true;
                } else {
                    open.push((at, part));
                }
            }
            if open.is_empty() {
                return Ok(answers);
            }
        }
        Err(Fault::Unheard(std::io::ErrorKind::ResourceBusy))
    }

    /// The claim with the change.
    fn after(&self, change: &Change, mut own: Stood) -> Stood {
        if let Some(lease) = change.lease {
            own.lease = lease;
            own.stamp = own.stamp.wrapping_add(1);
            own.until = self.time.now().time.saturating_add(lease);
        }
        own.standing = change.standing.unwrap_or(own.standing);
        own.started = change.started.clone().unwrap_or(own.started);
        own
    }

    pub(super) async fn sights(&self, keys: &[Key]) -> Result<At<Vec<Sight>>, Fault> {
        let parts = bundle(&self.link, keys.iter().map(|key| self.both(key)).collect()).await?;
        let seen = parts.iter().map(Seen::of).collect::<Result<Vec<_>, _>>()?;
        let ended = self.ended(seen.iter().filter_map(Seen::fence)).await?;
        let now = self.time.now();
        let sight = |(key, seen): (&Key, &Seen)| Sight {
            record: seen.record(now).map(|own| own.record.clone()),
            held: seen.claim.as_ref().map(|own| self.held(key, &own.own, &ended, now)),
        };
        Ok(At { now: now.time, answer: keys.iter().zip(&seen).map(sight).collect() })
    }

    pub(super) async fn watched(&self, claims: &[Watch]) -> Result<Vec<bool>, Fault> {
        let read = |own: &Watch| Txn { success: vec![get(&self.layout.claim(&own.key))], ..Txn::default() };
        let parts = bundle(&self.link, claims.iter().map(read).collect()).await?;
        let watched = claims.iter().zip(parts).map(|(own, part)| {
            let runs = stood(&part)?
                .is_some_and(|stood| stood.own.fence == own.fence && stood.own.standing.is_running());
            if runs {
                let key = self.layout.claim(&own.key);
                let wish = Wish { key, fence: own.fence, mark: own.mark, seen: part.revision };
                self.watches.watch(&self.link, wish);
            }
            Ok(runs)
        });
        watched.collect()
    }

    pub(super) async fn forgotten(&self, keys: &[Forget]) -> Result<Vec<bool>, Fault> {
        let parts = bundle(&self.link, keys.iter().map(|own| self.both(&own.key)).collect()).await?;
        let mut open: Vec<(usize, Part)> = parts.into_iter().enumerate().collect();
        let mut answers = vec![false; keys.len()];
        for _ in 0..TRIES {
            let seen = open.iter().map(|(at, part)| Ok((*at, Seen::of(part)?)));
            let seen = seen.collect::<Result<Vec<_>, Fault>>()?;
            let ended = self.ended(seen.iter().filter_map(|(_, own)| own.fence())).await?;
            let now = self.time.now();
            let (mut asked, mut parts) = (Vec::new(), Vec::new());
            for (at, seen) in seen {
                let (part, answer) = self.gone(&keys[at], &seen, &ended, now);
                if part.success.is_empty() {
                    continue;
                }
                asked.push((at, answer));
                parts.push(part);
            }
            open = Vec::new();
            for ((at, answer), part) in asked.into_iter().zip(bundle(&self.link, parts).await?) {
                if part.succeeded {
                    answers[at] = answer;
                } else {
                    open.push((at, part));
                }
            }
            if open.is_empty() {
                return Ok(answers);
            }
        }
        Err(Fault::Unheard(std::io::ErrorKind::ResourceBusy))
    }

    /// What forgetting a key comes to, and whether that is anything that had not expired.
    fn gone(&self, own: &Forget, seen: &Seen, ended: &HashSet<u64>, now: Now) -> (Txn, bool) {
        let (claim, record) = (self.layout.claim(&own.key), self.layout.record(&own.key));
        let mut part = Txn { failure: self.both(&own.key).success, ..Txn::default() };
        let mut anything = seen.record(now).is_some();
        if let Some(kept) = &seen.record {
            part.compare.push(unchanged(&record, kept.modified));
            part.success.push(delete(&record));
        }
        if let Some(Found { modified, own: stood }) = &seen.claim {
            let held = self.held(&own.key, stood, ended, now);
            if Some(held.fence) == own.over && held.is_free() {
                anything |= held.standing.is_unfinished();
                part.compare.push(unchanged(&claim, *modified));
                part.success.push(delete(&claim));
            }
        }
        (part, anything)
    }
}
