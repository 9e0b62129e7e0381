//! Asking: from a key and parameters to one answer (contract 3).
//!
//! A request's walk: desk: held here? somebody asks already? → the engine: claimed, or what there is → `verdict` → answer.
//! What was found is judged here; a claim over another's names its fence, and the engine grants it only if that one still
//! stands and nobody holds it: else it is looked at anew. Between two askings a request has nothing that others wait for.

use std::sync::Arc;
use std::time::Duration;

use super::desk::{Found, Joined, Phase, Seat, Slot, Turn};
use super::judging::{Judged, Past};
use super::reservation::Reservation;
use super::shared::{Shared, count};
use super::{Answer, InFlight, Store};
use crate::comparing::{Outlined, digest_of, mismatch_with_slot};
use crate::digest::{Digest, Fingerprinted, Parameters};
use crate::engine::{Claim, Claimed, Fault, Sight, Standing, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::options::OnInterrupted;
use crate::record::Started;
use crate::time::{Now, Timestamp};
use crate::token::Key;
use crate::verdict::{Comparison, State, Verdict, judge};

/// What a request asks for beside its key and parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) first_sent: Option<Timestamp>,
    pub(super) format: u32,
    pub(super) start_durably: bool,
    pub(super) on_interrupted: OnInterrupted,
}

/// One request, its digest made.
pub(super) struct Ask<'a> {
    pub(super) key: &'a Key,
    pub(super) hash: u64,
    pub(super) parameters: &'a Parameters<'a>,
    pub(super) digest: Fingerprinted,
    pub(super) outline: Outlined,
    pub(super) terms: Terms,
}

/// What can be seen of a running reservation, here or elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) since: Timestamp,
    pub(super) attempt: u32,
    pub(super) lease_left: Option<Duration>,
    pub(super) fence: u64,
}

/// What one step came to.
pub(super) enum Step {
    Answered(Answer),
    /// Somebody runs it.
    InFlight(View, Option<Seat>),
    /// Something has happened: look again.
    Again,
}

/// What a request has from one look to the next.
#[derive(Default)]
pub(super) struct Memory {
    /// Its place among those who wait.
    pub(super) seat: Option<Seat>,
    /// What was found free: to be claimed over the claim of this fence, with what its attempts left.
    free: Option<(u64, Past)>,
    /// It has waited, and was counted.
    pub(super) sat: bool,
    /// What there may be of its key in the store that is moved from was carried over.
    carried: bool,
}

/// What one look at the desk came to.
enum Look {
    InFlight(View, Option<Seat>),
    Joined(Joined),
    Turn(Turn),
    Differs(Outlined),
    /// It is being released: not an answer.
    Leaving(Seat),
}

impl Shared {
    /// Makes the digest: all that is refused without looking anything up is refused here (contract 3.1).
    pub(super) fn prepare<'a>(
        &self,
        key: &'a Key,
        parameters: &'a Parameters<'a>,
        terms: Terms,
    ) -> Result<Ask<'a>> {
        let (scope_max, token_max) = (self.options.scope_bytes_max, self.options.token_bytes_max);
        if key.token_bytes() > token_max || key.scope().len() > scope_max {
            Key::within(key.scope(), key.token().as_bytes(), scope_max, token_max)?;
        }
        let explain = self.options.explain_mismatches;
        let (digest, outline) = digest_of(parameters, &self.options.rules, &self.limits, explain)?;
        Ok(Ask { key, hash: self.keys.fingerprint(key.as_framed()), parameters, digest, outline, terms })
    }

    /// Looks once, at the desk and where need be at the engine. One who is patient and finds it in flight gets a seat among
    /// those who wait, or keeps his.
    pub(super) async fn step(
        self: &Arc<Self>,
        store: &Store,
        ask: &Ask<'_>,
        patient: bool,
        memory: &mut Memory,
    ) -> Result<Step> {
        self.check_open()?;
        let now = self.time.now();
        // Of this moment: whoever sleeps in between finds out anew.
        let free = memory.free.take();
        match self.look(ask, now, patient, &mut memory.seat)? {
            Look::InFlight(view, seat) => Ok(Step::InFlight(view, seat)),
            Look::Differs(known) => Err(match known {
                Some(known) => mismatch_with_slot(&ask.outline, &known),
                None => Error::mismatch(None),
            }),
            Look::Leaving(seat) => {
                std::future::poll_fn(|context| seat.listener.poll(context, None)).await;
                memory.seat = Some(seat);
                Ok(Step::Again)
            }
            Look::Joined(joined) => {
                std::future::poll_fn(|context| joined.listener.poll(context, None)).await;
                match joined.round.heard() {
                    // What is free is asked for by oneself.
                    Some(heard) => {
                        self.step_by(ask, heard.as_ref().map_err(Clone::clone)?, None, patient, memory)
                    }
                    None => Ok(Step::Again),
                }
            }
            Look::Turn(turn) => self.ask_engine(store, ask, turn, free, patient, memory).await,
        }
    }

    /// It runs in another process, or here, where the engine was asked because its lease has lapsed here.
    fn elsewhere(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        view: View,
        patient: bool,
        seat: &mut Option<Seat>,
    ) -> Result<Step> {
        if !patient {
            return Ok(Step::InFlight(view, None));
        }
        let own = self.desk.with(ask.hash, ask.key, |place| place.seat(self, ask.hash, ask.key, seat))?;
        Ok(Step::InFlight(view, Some(own)))
    }

    /// One look under the desk's lock.
    fn look(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        now: Now,
        patient: bool,
        seat: &mut Option<Seat>,
    ) -> Result<Look> {
        self.desk.with(ask.hash, ask.key, |place| {
            if place.held.as_ref().is_some_and(|slot| slot.phase == Phase::Leaving) {
                match place.seat(self, ask.hash, ask.key, seat) {
                    // Too many wait already: then it counts as running, for one who would not wait.
                    Err(_) if !patient => {}
                    own => return own.map(Look::Leaving),
                }
            }
            let Some(slot) = place.held.as_ref().filter(|slot| !slot.is_lapsed(now)) else {
                return Ok(match place.turn(self, ask.hash, ask.key) {
                    Ok(turn) => Look::Turn(turn),
                    Err(joined) => Look::Joined(joined),
                });
            };
            let state = match slot.phase {
                Phase::Running | Phase::Leaving => State::Running { lapsed: false },
                Phase::Completing => State::Completing,
                Phase::Unknown => State::Unknown,
            };
            let compare = || match ask.digest {
                Fingerprinted::Digest(digest) if digest == slot.digest => Comparison::Equal,
                Fingerprinted::Digest(_) => Comparison::Different,
                Fingerprinted::Incomparable(why) => Comparison::Incomparable(why),
            };
            match judge(state, compare) {
                Verdict::Refuse(ErrorKind::Mismatch) => return Ok(Look::Differs(slot.outline.clone())),
                Verdict::Refuse(ErrorKind::UnknownOutcome) => return Err(ErrorKind::AnswerLost.into()),
                Verdict::Refuse(kind) => return Err(kind.into()),
                _ => {}
            }
            let Slot { since, attempt, fence, .. } = *slot;
            let view = View { since, attempt, lease_left: slot.lease_left(now), fence };
            let own = patient.then(|| place.seat(self, ask.hash, ask.key, seat)).transpose()?;
            Ok(Look::InFlight(view, own))
        })
    }

    /// Claims, or looks where a new key would be refused, and judges what there is instead.
    async fn ask_engine(
        self: &Arc<Self>,
        store: &Store,
        ask: &Ask<'_>,
        turn: Turn,
        free: Option<(u64, Past)>,
        patient: bool,
        memory: &mut Memory,
    ) -> Result<Step> {
        if !std::mem::replace(&mut memory.carried, true)
            && let Some(carried) = self.old_of(ask.key)?
        {
            self.carry_over(ask.key, carried, Some(turn)).await?;
            return Ok(Step::Again);
        }
        let (over, past) = free.map_or_else(Default::default, |(fence, past)| (Some(fence), past));
        let beyond = past.interrupted || past.taken_over;
        // Asked before anything is counted: a caller's clock may panic (contract 5.11).
        let (now, fence) = (self.time.now(), self.next_fence()?);
        let (heard, refused) = match self.admit(ask, now, beyond) {
            Ok(digest) => {
                let (claim, given) = self.claim_of(ask, digest, (now, fence), over, &past);
                (self.claim(store, turn, claim, given).await?, None)
            }
            // A new key would be refused; is it one? (contract 3.5: a full store still replays)
            Err(refused) => (self.see(ask.key, turn).await?, Some(refused)),
        };
        let found = match (heard, &refused) {
            (Heard::Granted(reservation), _) => {
                self.count_given(&past);
                return Ok(Step::Answered(Answer::Fresh(*reservation)));
            }
            (Heard::Found(found), _) => found,
            (Heard::Nothing, None) => return Ok(Step::Again),
            (Heard::Nothing, Some(refused)) => return Err(refused.clone()),
        };
        let refused = refused.map(|refused| Refusal { refused, beyond });
        self.step_by(ask, &found, refused, patient, memory)
    }

    /// What a request does about what the engine has of its key; if it was refused as a new one, it may resume or take over.
    fn step_by(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        found: &Found,
        refusal: Option<Refusal>,
        patient: bool,
        memory: &mut Memory,
    ) -> Result<Step> {
        if let Some(held) = self.carrying(ask.key, found) {
            if self.old_of(ask.key)?.is_some() {
                memory.carried = false;
                return Ok(Step::Again);
            }
            // Who carried has died, and what he carried has expired since.
            if held.is_free() {
                memory.free = Some((held.fence, Past::default()));
                return Ok(Step::Again);
            }
        }
        match (self.judge(ask, found)?, refusal) {
            (Judged::Replay(replay), _) => Ok(Step::Answered(Answer::Replay(replay))),
            (Judged::InFlight(view), _) => self.elsewhere(ask, view, patient, &mut memory.seat),
            // Nor does one that resumes or takes over ask again where that was refused.
            (Judged::Over(_, left), Some(Refusal { refused, beyond }))
                if beyond || !(left.interrupted || left.taken_over) =>
            {
                Err(refused)
            }
            (Judged::Over(fence, left), _) => {
                memory.free = Some((fence, left));
                Ok(Step::Again)
            }
        }
    }

    /// Only a key that would run is asked whether its time and the load allow it (contract 3.5, 3.8); one that is resumed or
    /// taken over was asked before. It is counted from here on.
    fn admit(&self, ask: &Ask<'_>, now: Now, beyond: bool) -> Result<Digest> {
        let digest = match ask.digest {
            Fingerprinted::Digest(digest) => digest,
            Fingerprinted::Incomparable(why) => return Err(ErrorKind::CannotCompare(why).into()),
        };
        let retention = ask.terms.retention;
        let age = ask.terms.first_sent.map(|sent| now.time.since(sent));
        if let Some(age) = age.filter(|age| *age >= retention && !beyond) {
            return Err(ErrorKind::Expired { age, retention }.into());
        }
        self.desk.load().admit(ask.key, beyond)?;
        Ok(digest)
    }

    /// What is sent, and what its holder gets if it is granted.
    fn claim_of(
        &self,
        ask: &Ask<'_>,
        digest: Digest,
        (now, fence): (Now, u64),
        over: Option<u64>,
        past: &Past,
    ) -> (Claim, Given) {
        let terms = ask.terms;
        // What was durable goes on as such.
        let durable = terms.start_durably || past.interrupted || (past.taken_over && past.durable);
        let attempt = past.attempts.saturating_add(1);
        let outline = self.outline_of(ask, digest);
        let record = Started {
            key: ask.key.as_framed(),
            bound: self.comparer.bind(ask.key, &digest, &outline),
            since: now.time,
            attempt,
            format: terms.format,
            checkpoint: past.checkpoint.as_ref(),
            released_until: None,
        };
        let mut started = record.encode();
        self.seal(&mut started);
        let standing = match &past.remembered {
            _ if durable => Standing::Durable,
            Some(remembered) => {
                remembered.lay_behind(&mut started);
                Standing::Over
            }
            None => Standing::Volatile,
        };
        let (key, lease, started) = (ask.key.clone(), terms.lease, started.into());
        let claim = Claim { key, fence, over, lease, standing, started };
        let lease_end = now.tick.saturating_add(terms.lease);
        let slot =
            Slot { fence, phase: Phase::Running, digest, outline, attempt, since: now.time, lease_end };
        let (hash, past) = (ask.hash, past.clone());
        (claim, Given { hash, slot, durable, past, terms })
    }

    /// A ready-made digest has no names: those of the same parameters, which are taken over here, stay known.
    fn outline_of(&self, ask: &Ask<'_>, digest: Digest) -> Outlined {
        ask.outline.clone().or_else(|| {
            self.desk.with(ask.hash, ask.key, |place| {
                place.held.as_ref().filter(|slot| slot.digest == digest)?.outline.clone()
            })
        })
    }

    /// Claims on the engine's thread, so that what is granted to one who has gone meanwhile is given back.
    async fn claim(self: &Arc<Self>, store: &Store, turn: Turn, claim: Claim, given: Given) -> Result<Heard> {
        let (own, store) = (Arc::clone(self), store.clone());
        self.in_turn(turn, async move {
            let (key, fence) = (claim.key.clone(), claim.fence);
            let claimed = own.lanes.claim(claim).await;
            if !matches!(claimed, Ok((_, Claimed::Granted))) {
                own.desk.load().leave(&key);
            }
            // It may have been granted: given back, so that nobody waits for its lease. One that stands over what attempts
            // left is left to that, since these would go with it.
            if matches!(claimed, Err(Fault::Unheard(_))) && !given.durable && given.past.remembered.is_none()
            {
                let (lanes, key) = (own.lanes.clone(), key.clone());
                own.lanes.spawn(async move { drop(lanes.release(key, fence).await) });
            }
            let (now, claimed) = claimed?;
            own.time.hear(now);
            Ok(match claimed {
                // From here on whoever drops it releases it.
                Claimed::Granted => Heard::Granted(Box::new(Reservation::granted(store, key, given))),
                Claimed::Finished(record) => Heard::Found(Found::Record(record)),
                Claimed::Held(held) => Heard::Found(Found::Held(held)),
                Claimed::Gone => Heard::Nothing,
            })
        })
        .await
    }

    /// Looks without claiming.
    async fn see(self: &Arc<Self>, key: &Key, turn: Turn) -> Result<Heard> {
        let (own, key) = (Arc::clone(self), key.clone());
        self.in_turn(turn, async move {
            let (now, sight) = own.lanes.look_up(key).await?;
            own.time.hear(now);
            Ok(match sight {
                Sight { record: Some(record), .. } => Heard::Found(Found::Record(record)),
                Sight { held: Some(held), .. } => Heard::Found(Found::Held(held)),
                Sight { .. } => Heard::Nothing,
            })
        })
        .await
    }

    /// Asks on the engine's thread, which has the turn until it has heard; those who came meanwhile are told what.
    async fn in_turn(
        self: &Arc<Self>,
        turn: Turn,
        asking: impl Future<Output = Result<Heard, Fault>> + Send + 'static,
    ) -> Result<Heard> {
        let own = Arc::clone(self);
        let told = self.lanes.run(async move {
            let heard = asking.await;
            match &heard {
                Ok(Heard::Found(found)) => turn.heard(Ok(found.clone())),
                Ok(_) => {}
                Err(fault) => turn.heard(Err(own.fault(fault.clone()))),
            }
            heard
        });
        told.await.map_err(|fault| self.fault(fault))
    }

    fn count_given(&self, past: &Past) {
        count(&self.counters.fresh);
        if past.taken_over {
            count(&self.counters.taken_over);
        }
        if past.interrupted {
            count(&self.counters.resumed);
        }
    }

    /// Has the end of a run elsewhere told; `false` where it has ended meanwhile.
    pub(super) async fn watch(&self, ask: &Ask<'_>, fence: u64) -> bool {
        let deed = Watch { key: ask.key.clone(), fence, mark: ask.hash };
        // Where it can't be told, one looks again from time to time.
        self.lanes.watch(deed).await.unwrap_or(true)
    }

    /// Counts what a request was answered.
    pub(super) fn count_answer(&self, answer: &Result<Answer>) {
        count(match answer {
            Ok(Answer::Replay(_)) => &self.counters.replays,
            Err(error) if error.is_mismatch() => &self.counters.mismatches,
            Err(error) if error.is_unknown_outcome() => &self.counters.unknown_outcomes,
            Err(_) => &self.counters.refused,
            // Counted when it was granted, or found in flight.
            Ok(_) => return,
        });
    }

    /// The public form of *in flight*.
    pub(super) fn in_flight(store: &Store, ask: &Ask<'_>, view: View) -> Answer {
        Answer::InFlight(InFlight::new(store.clone(), ask, view))
    }
}

/// What a reservation is made of.
pub(super) struct Given {
    pub(super) hash: u64,
    pub(super) slot: Slot,
    pub(super) durable: bool,
    pub(super) past: Past,
    pub(super) terms: Terms,
}

/// Why nothing was claimed.
struct Refusal {
    refused: Error,
    /// It would have been resumed or taken over.
    beyond: bool,
}

/// What came of one asking.
enum Heard {
    Granted(Box<Reservation>),
    Found(Found),
    /// Nothing is there, or no longer what the claim was made over.
    Nothing,
}
