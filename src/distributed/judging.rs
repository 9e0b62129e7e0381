//! What an engine's bytes say to a request.
//!
//! Law: whatever was found goes through the one judgement, its digest compared each time: on the first asking, after a wait
//! and before a claim is made over another's (contract 3).
//!
//! | a claim | of this epoch | of another that has not ended | of one that has |
//! | --- | --- | --- | --- |
//! | volatile, lease left | in flight | in flight | as nothing (5.3) |
//! | volatile, lapsed | taken over (4.4) | taken over | as nothing |
//! | durable, lease left | in flight | in flight | interrupted (3.4) |
//! | durable, lapsed | taken over | interrupted: who does not renew is taken for dead | interrupted |
//! | interrupted | interrupted | interrupted | interrupted |
//! | released | free, with what its attempts left (4.3) | the same | the same |
//! | volatile, over a released one | as a volatile one | as a volatile one | as the released one |

use std::sync::Arc;

use super::asking::{Ask, View};
use super::desk::Found;
use super::shared::Shared;
use crate::comparing::Question;
use crate::engine::{Held, Standing};
use crate::error::{ErrorKind, Result};
use crate::options::OnInterrupted;
use crate::outcome::{Checkpoint, Replay};
use crate::record::Record;
use crate::time::Timestamp;
use crate::verdict::{Comparison, State, Verdict, judge};

/// What a request is to be answered.
pub(super) enum Judged {
    Replay(Replay),
    InFlight(View),
    /// The key is to be claimed over this claim, with what its attempts left.
    Over(u64, Past),
}

/// What earlier attempts left for the next.
#[derive(Clone, Default)]
pub(super) struct Past {
    pub(super) attempts: u32,
    /// Made with the same parameters.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) interrupted: bool,
    /// A lapsed lease is taken over.
    pub(super) taken_over: bool,
    /// What is resumed or taken over was durable.
    pub(super) durable: bool,
    /// A durable one that was released before all that (contract 4.3).
    pub(super) remembered: Option<Remembered>,
}

/// What was released and is remembered, behind a volatile attempt: it comes back where that leaves nothing itself.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) until: Timestamp,
    /// Its started record, sealed.
    pub(super) started: Arc<[u8]>,
}

impl Remembered {
    /// What stands behind the record of a claim that was made over it.
    fn behind(claim: &[u8], record: &Record<'_>) -> Option<Self> {
        let (until, started) = claim.get(record.bytes().len()..)?.split_first_chunk()?;
        Some(Self { until: Timestamp::from_millis(u64::from_le_bytes(*until)), started: started.into() })
    }

    /// Puts it behind the record of a claim.
    pub(super) fn lay_behind(&self, claim: &mut Vec<u8>) {
        claim.extend_from_slice(&self.until.as_millis().to_le_bytes());
        claim.extend_from_slice(&self.started);
    }
}

/// Who holds a claim, as far as can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimant {
    /// As long as nobody takes it over, whether its lease has lapsed or not.
    Somebody,
    Nobody,
    Interrupted,
}

impl Shared {
    /// The table above.
    pub(super) fn claimant(&self, held: &Held) -> Claimant {
        let (own, lapsed) = (held.epoch() == self.epoch, held.left.is_zero());
        match held.standing {
            Standing::Released => Claimant::Nobody,
            Standing::Volatile | Standing::Over if held.ended => Claimant::Nobody,
            Standing::Volatile | Standing::Over => Claimant::Somebody,
            Standing::Durable if !held.ended && (own || !lapsed) => Claimant::Somebody,
            Standing::Durable | Standing::Interrupted => Claimant::Interrupted,
        }
    }

    pub(super) fn judge(&self, ask: &Ask<'_>, found: &Found) -> Result<Judged> {
        match found {
            Found::Record(bytes) => self.judge_record(ask, &self.finished(ask.key, bytes)?),
            Found::Held(held) => self.judge_held(ask, held, &self.started(ask.key, &held.started)?),
        }
    }

    fn judge_record(&self, ask: &Ask<'_>, record: &Record<'_>) -> Result<Judged> {
        match self.verdict(ask, record, State::Finished { expired: false })? {
            Verdict::Replay => record.replay().map(Judged::Replay).ok_or_else(|| self.damaged()),
            // Not reached: what is kept is replayed or refused.
            _ => Err(self.damaged()),
        }
    }

    fn judge_held(&self, ask: &Ask<'_>, held: &Held, record: &Record<'_>) -> Result<Judged> {
        let lapsed = held.left.is_zero();
        let (attempts, now) = (record.attempts(), self.time.now().time);
        let remembered = match held.standing {
            Standing::Over => Remembered::behind(&held.started, record).filter(|own| own.until > now),
            Standing::Released if !lapsed => {
                Some(Remembered { until: now.saturating_add(held.left), started: Arc::clone(&held.started) })
            }
            _ => None,
        };
        let state = match self.claimant(held) {
            Claimant::Nobody => {
                let past = remembered.map_or_else(|| Ok(Past::default()), |own| self.past_of(ask, own))?;
                return Ok(Judged::Over(held.fence, past));
            }
            Claimant::Somebody => State::Running { lapsed },
            Claimant::Interrupted => {
                let resume = ask.terms.on_interrupted == OnInterrupted::Resume;
                State::Interrupted { attempt: attempts, resume }
            }
        };
        let verdict = self.verdict(ask, record, state)?;
        let durable = held.standing.is_unfinished();
        let checkpoint = record.checkpoint();
        let past = || Past { attempts, checkpoint, durable, remembered, ..Past::default() };
        Ok(match verdict {
            Verdict::TakeOver => Judged::Over(held.fence, Past { taken_over: true, ..past() }),
            Verdict::Resume => Judged::Over(held.fence, Past { interrupted: true, ..past() }),
            _ => Judged::InFlight(View {
                since: record.since(),
                attempt: attempts,
                lease_left: Some(held.left),
                fence: held.fence,
            }),
        })
    }

    /// What was released leaves its attempt, and its checkpoint to those with the same parameters (contract 4.3): whatever it is
    /// asked with, the key is free.
    fn past_of(&self, ask: &Ask<'_>, remembered: Remembered) -> Result<Past> {
        let record = self.started(ask.key, &remembered.started)?;
        let same = self.compare(ask, &record)? == Comparison::Equal;
        let (attempts, checkpoint) = (record.attempts(), record.checkpoint().filter(|_| same));
        Ok(Past { attempts, checkpoint, remembered: Some(remembered), ..Past::default() })
    }

    /// The judgement of a request on a record, its refusals as errors.
    fn verdict(&self, ask: &Ask<'_>, record: &Record<'_>, state: State) -> Result<Verdict> {
        let comparison = self.compare(ask, record)?;
        match judge(state, || comparison) {
            Verdict::Refuse(ErrorKind::Mismatch) => {
                Err(self.comparer.mismatch_with(&self.question(ask), record))
            }
            Verdict::Refuse(kind) => Err(kind.into()),
            verdict => Ok(verdict),
        }
    }

    fn compare(&self, ask: &Ask<'_>, record: &Record<'_>) -> Result<Comparison> {
        self.comparer.compare(&self.question(ask), record)
    }

    fn question<'a>(&'a self, ask: &'a Ask<'_>) -> Question<'a> {
        let Ask { key, parameters, digest, ref outline, .. } = *ask;
        Question { key, parameters, digest, outline, limits: &self.limits }
    }
}
