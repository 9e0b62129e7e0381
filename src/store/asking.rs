//! Asking: from a key and parameters to one answer (contract 3).
//!
//! A request's walk: stripe: in flight? → index: finished? → (disk: the record) → `verdict` → answer. A token never
//! seen touches one stripe's lock and no disk. Whatever was read outside the lock is looked at again under it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::reading::{Found, Stale, replays};
use super::seat::{Patience, Seat};
use super::shared::{Shared, count};
use super::stripe::Stripe;
use crate::comparing::{Outlined, bytes_of, digest_of, mismatch_with_slot};
use crate::digest::{Digest, Fingerprinted, Outline, Parameters};
use crate::error::{ErrorKind, Limit, Result};
use crate::inflight::{Phase, Remembered, Slot};
use crate::ledger::Room;
use crate::options::OnInterrupted;
use crate::outcome::{Checkpoint, Replay};
use crate::record::{Bound, Location};
use crate::time::{Now, Timestamp};
use crate::token::Key;
use crate::trace::answered;
use crate::verdict::{Comparison, State, Verdict, judge};

/// What a request asks for beside its key and parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) declared: u64,
    pub(super) first_sent: Option<Timestamp>,
    pub(super) format: u32,
    pub(super) relaxed: bool,
    /// The start is on disk before the reservation is given (contract 5.4).
    pub(super) start_durably: bool,
    pub(super) on_interrupted: OnInterrupted,
}

/// One request, its digest made.
pub(super) struct Ask<'a> {
    pub(super) key: &'a Key,
    pub(super) hash: u64,
    pub(super) parameters: &'a Parameters<'a>,
    /// The digest under today's version and settings; a ready-made one may be of others.
    pub(super) digest: Fingerprinted,
    /// The parameters one by one, for mismatches that explain themselves.
    pub(super) outline: Outlined,
    pub(super) terms: Terms,
}

/// The answer, as plain data and guards.
pub(super) enum Asked {
    Fresh(Given),
    Replay(Replay),
    InFlight(View, Option<Seat>),
}

/// A reservation, as it is given.
pub(super) struct Given {
    pub(super) fence: u64,
    pub(super) attempt: u32,
    pub(super) since: Timestamp,
    pub(super) digest: Digest,
    pub(super) outline: Outlined,
    pub(super) room: u64,
    pub(super) past: Option<Box<Past>>,
}

/// What a durably started operation left behind for its next holder (contract 3.4, 4.3).
#[derive(Clone, Default)]
pub(super) struct Past {
    /// How many attempts there were.
    pub(super) attempts: u32,
    /// The last checkpoint, made with the same parameters.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The last attempt was interrupted.
    pub(super) interrupted: bool,
    /// The attempt that begins now is durable too.
    pub(super) durable: bool,
    /// Until when a release is remembered on disk.
    pub(super) remembered_until: Timestamp,
    /// The digest that its start is kept with, from when on that was handed over.
    pub(super) started: Option<Bound>,
}

/// What can be seen of a running reservation.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) since: Timestamp,
    pub(super) attempt: u32,
    pub(super) lease_left: Option<Duration>,
    /// When the lease ends on the monotonic clock.
    pub(super) lease_end: Option<Duration>,
}

impl View {
    pub(super) fn of(slot: &Slot, now: Now) -> Self {
        let lease_left = slot.lease_left(now);
        let lease_end = lease_left.map(|_| slot.lease_end);
        Self { since: slot.since, attempt: slot.attempt, lease_left, lease_end }
    }
}

/// What was set aside for a reservation that is not there yet; given back unless it is taken.
struct Admission<'a> {
    shared: &'a Shared,
    key: &'a Key,
    declared: u64,
    room: u64,
    /// The fence of the reservation that is to be taken over, which was admitted before: only more room was set aside.
    over: Option<u64>,
    taken: bool,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        if self.over.is_none() {
            self.shared.stripes.quota.dismiss(|| self.shared.scope_hash(self.key), self.declared);
        }
        self.shared.room.give_back(self.room);
    }
}

/// What one look under the stripe's lock came to.
enum Look {
    Answered(Asked),
    /// It is reserved with these other parameters.
    Differs(Arc<Outline<Digest>>),
    /// Records may be there: read them, outside the lock.
    Read(Vec<Location>),
    /// More disk room is needed: this much in all.
    Room(u64),
}

impl Shared {
    /// Makes the digest: all that is refused without looking anything up is refused here (contract 3.1).
    pub(super) fn prepare<'a>(
        &self,
        key: &'a Key,
        parameters: &'a Parameters<'a>,
        terms: Terms,
    ) -> Result<Ask<'a>> {
        if key.token_bytes() > self.options.token_bytes_max
            || key.scope().len() > self.options.scope_bytes_max
        {
            let (scope_max, token_max) = (self.options.scope_bytes_max, self.options.token_bytes_max);
            Key::within(key.scope(), key.token().as_bytes(), scope_max, token_max)?;
        }
        if terms.declared > self.options.outcome_bytes_max {
            let (measured, limit) = (terms.declared, self.options.outcome_bytes_max);
            return Err(ErrorKind::TooLarge { what: Limit::OutcomeBytes, measured, limit }.into());
        }
        let explain = self.options.explain_mismatches;
        let (digest, outline) = digest_of(parameters, &self.options.rules, &self.limits, explain)?;
        Ok(Ask { key, hash: self.keys.fingerprint(key.as_framed()), parameters, digest, outline, terms })
    }

    /// Asks. One who is patient and is told *in flight* gets a place among the waiters, or keeps his.
    pub(super) fn ask(self: &Arc<Self>, ask: &Ask<'_>, patience: Patience) -> Result<Asked> {
        self.check_open()?;
        let mut patience = patience;
        let sat = patience.seat.is_some();
        let asked = self.ask_until_answered(ask, &mut patience);
        // A place that is not kept is left, outside the stripe's lock.
        drop(patience);
        match &asked {
            Ok(Asked::Fresh(Given { past: Some(past), .. })) if past.interrupted => {
                count(&self.counters.resumed);
            }
            Ok(Asked::Fresh(_)) => {}
            Ok(Asked::Replay(_)) => answered(ask.hash, Ok("replay")),
            // One who waits is counted when he sits down, and not each time that he wakes up and looks.
            Ok(Asked::InFlight(..)) if sat => {}
            Ok(Asked::InFlight(..)) => {
                answered(ask.hash, Ok("in flight"));
                count(&self.counters.in_flight);
            }
            Err(error) => {
                answered(ask.hash, Err(error));
                count(match error {
                    _ if error.is_mismatch() => &self.counters.mismatches,
                    _ if error.is_expired() => &self.counters.expired,
                    _ if error.is_unknown_outcome() => &self.counters.unknown,
                    _ => &self.counters.refused,
                });
            }
        }
        asked
    }

    fn ask_until_answered(self: &Arc<Self>, ask: &Ask<'_>, patience: &mut Patience) -> Result<Asked> {
        let now = self.chronometer.now();
        let mut stale = Stale::default();
        let mut admission = None;
        loop {
            match self.look(ask, now, patience, &mut stale, &mut admission)? {
                Look::Answered(asked) => return Ok(asked),
                Look::Differs(known) => return Err(mismatch_with_slot(&ask.outline, &known)),
                Look::Room(reserved) => self.with_engine(|engine| engine.ledger.make_room(reserved))?,
                Look::Read(places) => match self.read(ask, places, now)? {
                    Found::Kept(replay, _) => {
                        count(&self.counters.replays);
                        return Ok(Asked::Replay(replay));
                    }
                    Found::Nothing(found) => stale = found,
                },
            }
        }
    }

    /// One look under the stripe's lock.
    fn look<'a>(
        self: &'a Arc<Self>,
        ask: &Ask<'a>,
        now: Now,
        patience: &mut Patience,
        stale: &mut Stale,
        admission: &mut Option<Admission<'a>>,
    ) -> Result<Look> {
        let mut stripe = self.stripes.lock(ask.hash);
        if self.reopening.load(Ordering::Acquire) {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        }
        let Stripe { slots, fence, index, recent, .. } = &mut *stripe;
        let places = || index.find(self.stripes.fingerprint(ask.hash));
        let unread = || !places().eq(stale.places.iter().copied());
        if let Some(slot) = slots.find(ask.hash, ask.key).filter(|slot| !patience.may_claim(slot, now)) {
            // Only its record knows the digest of one that is being resolved.
            if slot.is_settled() && unread() {
                return Ok(Look::Read(places().collect()));
            }
            return match (self.look_at_slot(slot, fence, ask, now, patience, admission), &slot.outline) {
                // Told outside the lock.
                (Err(error), Some(known)) if error.is_mismatch() => Ok(Look::Differs(Arc::clone(known))),
                (look, _) => look,
            };
        }
        if unread() {
            let mut found = places();
            if let (Some(at), None, true) = (found.next(), found.next(), self.room.is_ready())
                && let Some(known) = recent.find(ask.hash, ask.key, at, |known| replays(known, ask, now))
            {
                return Ok(Look::Answered(Asked::Replay(known.clone())));
            }
            return Ok(Look::Read(places().collect()));
        }
        let digest = match ask.digest {
            Fingerprinted::Digest(digest) => digest,
            Fingerprinted::Incomparable(why) => return Err(ErrorKind::CannotCompare(why).into()),
        };
        if admission.as_ref().is_none_or(|own| own.over.is_some()) {
            *admission = None;
            let interrupted = stale.past.as_ref().is_some_and(|past| past.interrupted);
            let (admitted, needed) = self.admit(ask, now, interrupted)?;
            *admission = Some(admitted);
            if let Some(reserved) = needed {
                return Ok(Look::Room(reserved));
            }
        }
        if let Some(admission) = admission {
            admission.taken = true;
        }
        Ok(Look::Answered(reserve(&mut stripe, ask, digest, now, std::mem::take(stale))))
    }

    /// The key is reserved, or its outcome unknown.
    fn look_at_slot<'a>(
        self: &'a Arc<Self>,
        slot: &mut Slot,
        fence: &mut u64,
        ask: &Ask<'a>,
        now: Now,
        patience: &mut Patience,
        admission: &mut Option<Admission<'a>>,
    ) -> Result<Look> {
        let state = match slot.phase {
            Phase::Running => State::Running { lapsed: slot.is_lapsed(now) },
            // Promised to those who wait: for anybody else it runs.
            Phase::Vacant => State::Running { lapsed: false },
            Phase::Writing | Phase::Completing | Phase::Settling => State::Completing,
            Phase::Unknown | Phase::Unsettled => State::Unknown,
        };
        let compare = || match ask.digest {
            // Its record was read, and compared, a moment ago.
            _ if slot.is_settled() => Comparison::Equal,
            Fingerprinted::Digest(digest) if digest == slot.digest => Comparison::Equal,
            Fingerprinted::Digest(_) => Comparison::Different,
            Fingerprinted::Incomparable(why) => Comparison::Incomparable(why),
        };
        match judge(state, compare) {
            Verdict::Refuse(kind) => Err(kind.into()),
            Verdict::TakeOver => {
                if let Some(reserved) = self.widen(slot, ask, admission) {
                    return Ok(Look::Room(reserved));
                }
                count(&self.counters.taken_over);
                *fence += 1;
                slot.fence = *fence;
                slot.attempt = slot.attempt.saturating_add(1);
                // One who comes with a ready-made digest knows no names.
                slot.outline = ask.outline.clone().or_else(|| slot.outline.take());
                slot.since = now.time;
                slot.lease = ask.terms.lease;
                slot.lease_end = now.tick.saturating_add(ask.terms.lease);
                if slot.durable.is_some() || ask.terms.start_durably {
                    slot.begin_start();
                }
                Ok(Look::Answered(Asked::Fresh(given(slot, false))))
            }
            Verdict::InFlight | Verdict::Replay | Verdict::Reserve | Verdict::Resume => {
                let seat = self.seat(slot, ask, patience)?;
                Ok(Look::Answered(Asked::InFlight(View::of(slot, now), seat)))
            }
        }
    }

    /// One who takes over may have declared more than the one before: sets that aside, and has the slot answer for it
    /// (contract 5.10). Gives the new sum if it needs more than lies ready.
    fn widen<'a>(
        &'a self,
        slot: &mut Slot,
        ask: &Ask<'a>,
        admission: &mut Option<Admission<'a>>,
    ) -> Option<u64> {
        let room = room_of(ask).saturating_sub(slot.room);
        if room > 0 && admission.as_ref().is_none_or(|own| own.over != Some(slot.fence)) {
            let (over, key) = (Some(slot.fence), ask.key);
            let needed = self.room.reserve(room).err();
            *admission = Some(Admission { shared: self, key, declared: 0, room, over, taken: false });
            if needed.is_some() {
                return needed;
            }
        }
        if let Some(own) = admission.as_mut().filter(|own| own.over == Some(slot.fence)) {
            own.taken = true;
            slot.room += own.room;
        }
        None
    }

    /// Only a key that would run is asked whether its time, the load and the space allow it (contract 3.5, 3.8); one
    /// that is resumed was asked before.
    fn admit<'a>(
        &'a self,
        ask: &Ask<'a>,
        now: Now,
        interrupted: bool,
    ) -> Result<(Admission<'a>, Option<u64>)> {
        let terms = &ask.terms;
        if interrupted {
            self.stripes.quota.enter(|| self.scope_hash(ask.key), terms.declared);
        } else if let Some(age) =
            terms.first_sent.map(|sent| now.time.since(sent)).filter(|age| *age >= terms.retention)
        {
            return Err(ErrorKind::Expired { age, retention: terms.retention }.into());
        } else {
            match self.blind.load(Ordering::Acquire) {
                0 => self.stripes.quota.admit(|| self.scope_hash(ask.key), terms.declared)?,
                segment => return Err(ErrorKind::Damaged { segment }.into()),
            }
        }
        let (key, declared, room) = (ask.key, terms.declared, room_of(ask));
        let needed = self.room.reserve(room).err();
        Ok((Admission { shared: self, key, declared, room, over: None, taken: false }, needed))
    }
}

/// Disk room of what a request declares.
fn room_of(ask: &Ask<'_>) -> u64 {
    Room::of_completion(ask.terms.declared + bytes_of(&ask.outline))
}

/// Gives the key to this caller.
#[inline]
fn reserve(stripe: &mut Stripe, ask: &Ask<'_>, digest: Digest, now: Now, stale: Stale) -> Asked {
    stripe.fresh += 1;
    let vacant = stripe.slots.find(ask.hash, ask.key).map(|slot| (slot.fence, slot.waiters));
    let vacant = vacant.and_then(|(fence, waiters)| Some((stripe.slots.remove(ask.hash, fence)?, waiters)));
    let (gate, waiters) = vacant.map_or((None, 0), |(slot, waiters)| (slot.gate, waiters));
    let Past { attempts, interrupted, checkpoint, remembered_until: until, .. } =
        stale.past.map(|past| *past).unwrap_or_default();
    let mut slot = Slot {
        hash: ask.hash,
        key: ask.key.clone(),
        fence: stripe.next_fence(),
        phase: Phase::Running,
        digest,
        outline: ask.outline.clone(),
        attempt: attempts.saturating_add(1),
        since: now.time,
        lease: ask.terms.lease,
        lease_end: now.tick.saturating_add(ask.terms.lease),
        declared: ask.terms.declared,
        room: room_of(ask),
        durable: None,
        remembered: (attempts > 0).then(|| Box::new(Remembered { until, checkpoint })),
        replaces: stale.replaces,
        waiters,
        gate,
    };
    if ask.terms.start_durably || interrupted {
        slot.begin_start();
    }
    let given = given(&slot, interrupted);
    stripe.slots.insert(slot);
    Asked::Fresh(given)
}

/// What its holder gets of a slot: a volatile attempt, too, sees what a durable one before it left.
fn given(slot: &Slot, interrupted: bool) -> Given {
    let Slot { fence, attempt, since, digest, room, .. } = *slot;
    let (durable, remembered) = (slot.durable.as_deref(), slot.remembered.as_deref());
    let left = durable.map(|own| &own.checkpoint).or(remembered.map(|own| &own.checkpoint));
    let past = left.map(|checkpoint| {
        Box::new(Past {
            attempts: attempt - 1,
            checkpoint: checkpoint.clone(),
            interrupted,
            durable: durable.is_some(),
            remembered_until: remembered.map_or_else(Timestamp::default, |own| own.until),
            started: None,
        })
    });
    Given { fence, attempt, since, digest, outline: slot.outline.clone(), room, past }
}
