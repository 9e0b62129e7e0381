//! What is read of a key: its record, off the disk or as a recent copy, and what a request is answered of it.
//!
//! Law: what was read goes through the one judgement, its digest compared each time. A record that was just replayed is
//! remembered as a recent outcome, at the place where it stands; that is a copy, and the index says whether it still counts.

use super::asking::{Ask, Past};
use super::shared::Shared;
use crate::comparing::{Comparer, Question};
use crate::digest::{Digest, Fingerprinted};
use crate::error::{Error, ErrorKind, Result};
use crate::inflight::Ended;
use crate::options::OnInterrupted;
use crate::outcome::Replay;
use crate::record::{Kind, Location, Record, Weight};
use crate::time::{Now, Timestamp};
use crate::verdict::{Comparison, State, Verdict, judge};

/// What reading came to.
pub(super) enum Found<T> {
    /// And the digest that it was just compared with, where records are digested so today.
    Kept(Replay, Option<Digest>),
    Nothing(T),
}

/// Places that were read and hold nothing that is kept, and what of it belongs to the key.
#[derive(Default)]
pub(super) struct Stale {
    pub(super) places: Vec<Location>,
    pub(super) replaces: Vec<(Location, Weight)>,
    pub(super) past: Option<Box<Past>>,
}

impl Shared {
    /// Reads what may be this key's record and judges it.
    #[cold]
    pub(super) fn read(&self, ask: &Ask<'_>, places: Vec<Location>, now: Now) -> Result<Found<Stale>> {
        self.with_engine(|engine| {
            let judged = |at, record: Record<'_>| self.judge_record(ask, at, &record, &engine.comparer, now);
            let (newest, replaces) = engine.ledger.newest(&places, ask.key.as_framed(), judged)?;
            Ok(match newest.transpose()?.unwrap_or(Found::Nothing(None)) {
                Found::Nothing(past) => Found::Nothing(Stale { places, replaces, past }),
                Found::Kept(replay, digest) => {
                    // Before the way to the disk can be shut: a place may hold another record when it is open again.
                    if let (Some(digest), [at]) = (digest, &places[..]) {
                        let ended = Ended { digest, replay: replay.clone() };
                        self.stripes.lock(ask.hash).recent.insert(ask.hash, ask.key, *at, ended);
                    }
                    Found::Kept(replay, digest)
                }
            })
        })
    }

    fn judge_record(
        &self,
        ask: &Ask<'_>,
        at: Location,
        record: &Record<'_>,
        comparer: &Comparer,
        now: Now,
    ) -> Result<Found<Option<Box<Past>>>> {
        let expired = record.expires() <= now.time;
        let comparison =
            if expired { Comparison::Equal } else { comparer.compare(&self.question(ask), record)? };
        let state = match record.kind() {
            Kind::Started => {
                let resume = ask.terms.on_interrupted == OnInterrupted::Resume;
                State::Interrupted { attempt: record.attempts(), resume }
            }
            // Whatever it is asked with, the key is free; the checkpoint belongs to its parameters (contract 4.3).
            Kind::Released if !expired => {
                return Ok(Found::Nothing(Some(Box::new(past(record, comparison == Comparison::Equal)))));
            }
            Kind::Released | Kind::Finished | Kind::Forgotten | Kind::Control => State::Finished { expired },
        };
        match judge(state, || comparison) {
            Verdict::Refuse(ErrorKind::Mismatch) => Err(comparer.mismatch_with(&self.question(ask), record)),
            Verdict::Refuse(kind) => Err(kind.into()),
            Verdict::Replay => {
                let digest = match ask.digest {
                    Fingerprinted::Digest(digest) if comparer.is_current(record) => Some(digest),
                    _ => None,
                };
                record.replay().map(|own| Found::Kept(own, digest)).ok_or_else(|| self.undecodable(at))
            }
            Verdict::Resume => Ok(Found::Nothing(Some(Box::new(past(record, true))))),
            Verdict::Reserve | Verdict::TakeOver | Verdict::InFlight => Ok(Found::Nothing(None)),
        }
    }

    fn question<'a>(&'a self, ask: &'a Ask<'_>) -> Question<'a> {
        let Ask { key, parameters, digest, ref outline, .. } = *ask;
        Question { key, parameters, digest, outline, limits: &self.limits }
    }

    /// It passed its checksum and still can't be decoded: never taken for a key never seen.
    fn undecodable(&self, at: Location) -> Error {
        let segment = self.ledger().ok().and_then(|ledger| ledger.segment_number(at)).unwrap_or(0);
        ErrorKind::Damaged { segment }.into()
    }
}

/// Whether a recent outcome is this request's: else its record says what to answer.
pub(super) fn replays(known: &Ended, ask: &Ask<'_>, now: Now) -> bool {
    let compare = || match ask.digest {
        Fingerprinted::Digest(digest) if digest == known.digest => Comparison::Equal,
        _ => Comparison::Different,
    };
    judge(State::Finished { expired: known.replay.expires() <= now.time }, compare) == Verdict::Replay
}

/// What an unfinished record leaves to the next holder.
fn past(record: &Record<'_>, same: bool) -> Past {
    let checkpoint = record.checkpoint().filter(|_| same);
    let interrupted = record.kind() == Kind::Started;
    let remembered_until = if interrupted { Timestamp::default() } else { record.expires() };
    Past { attempts: record.attempts(), checkpoint, interrupted, remembered_until, ..Past::default() }
}
