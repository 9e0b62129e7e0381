//! Whether one key's history is one that a single caller after another could have had: linearizability, by search.
//!
//! Law: each call takes effect at one instant between its invocation and its answer; one without an answer (its process
//! was killed, or its end is on its way) at some later instant, or never. [`State`] says what each call does and answers
//! at its instant. The search goes through all orders that respect time, and remembers where it has been (the way of
//! Wing and Gong, with Lowe's memory).

use std::collections::HashSet;

/// A call, as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// When it was made and answered, in one count of all threads; never answered, if that is not known.
    pub(crate) made: u64,
    pub(crate) answered: u64,
    /// What the store's clock showed before and after it.
    pub(crate) clock: (u64, u64),
    pub(crate) what: What,
}

pub(crate) const NEVER: u64 = u64::MAX;

/// What was called, and what came back. Reservations and outcomes are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Asked with these parameters, ready to wait or not; `durable` starts survive a crash.
    Begin {
        digest: u8,
        durable: bool,
        waits: bool,
        answer: Option<Began>,
    },
    /// Completed this reservation; whether it was still its own.
    Complete {
        held: u64,
        outcome: u64,
        kept: Option<bool>,
    },
    /// Released, or dropped, which tells nothing.
    Release {
        held: u64,
        released: Option<bool>,
    },
    Get(Seen),
    /// What it came to, if that was told.
    Forget(Option<Forgot>),
    /// The process ended, and the store was opened again.
    Crash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Began {
    Fresh { held: u64, attempt: u32, resumed: bool },
    Replay(u64),
    InFlight,
    Mismatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgot {
    Kept,
    Nothing,
    InFlight,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Absent,
    InFlight,
    Finished(u64),
    Interrupted,
}

/// What a key is at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Free, after so many durable attempts that were released; and promised to those who wait, if it was released while
    /// somebody did: for all others one with this digest still runs (3.7).
    Free(u32, Option<u8>),
    Reserved(Reserved),
    Finished {
        digest: u8,
        outcome: u64,
    },
    Interrupted {
        digest: u8,
        attempt: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reserved {
    held: u64,
    digest: u8,
    attempt: u32,
    /// Durable attempts that were released before it.
    before: u32,
    durable: bool,
    /// Its lease began between these.
    since: (u64, u64),
}

/// Finds out whether the calls, of one key whose leases last `lease`, have an order.
///
/// # Errors
/// The longest order that was found, and the call that did not fit behind it.
pub(crate) fn check(calls: &[Call], lease: u64) -> Result<(), String> {
    assert!(calls.len() <= 128, "one bit for each");
    let mut search = Search { calls, lease, been: HashSet::new(), deepest: Vec::new() };
    let mut order = Vec::new();
    if search.goes_on(0, &State::Free(0, None), &mut order) {
        return Ok(());
    }
    let lines = |own: Vec<&Call>| {
        let lines: Vec<_> = own.iter().map(|call| format!("  {call:?}")).collect();
        lines.join("\n")
    };
    let told = lines(search.deepest.iter().map(|at| &calls[*at]).collect());
    let rest: Vec<_> =
        (0..calls.len()).filter(|at| !search.deepest.contains(at)).map(|at| &calls[at]).collect();
    Err(format!("in this order as far as it goes:\n{told}\nand then none of:\n{}", lines(rest)))
}

struct Search<'a> {
    calls: &'a [Call],
    lease: u64,
    been: HashSet<(u128, State)>,
    deepest: Vec<usize>,
}

impl Search<'_> {
    fn goes_on(&mut self, done: u128, state: &State, order: &mut Vec<usize>) -> bool {
        let left = || (0..self.calls.len()).filter(|at| done & (1 << at) == 0);
        if left().all(|at| self.calls[at].answered == NEVER) {
            return true;
        }
        if !self.been.insert((done, state.clone())) {
            return false;
        }
        if order.len() > self.deepest.len() {
            self.deepest.clone_from(order);
        }
        // Whatever was answered before another was made comes before it.
        let first = left().map(|at| self.calls[at].answered).min().unwrap_or(NEVER);
        // One that was never answered died with its process, if it had not happened by then.
        let crash = |at: usize| if self.calls[at].what == What::Crash { self.calls[at].made } else { 0 };
        let crashed = (0..self.calls.len()).filter(|at| done & (1 << at) != 0).map(crash).max().unwrap_or(0);
        let lives = |call: &Call| call.answered < NEVER || call.made >= crashed;
        let next: Vec<_> =
            left().filter(|at| self.calls[*at].made < first && lives(&self.calls[*at])).collect();
        for at in next {
            let call = &self.calls[at];
            for state in state.after(call, self).into_iter().chain(state.after_unwritten(call)) {
                order.push(at);
                if self.goes_on(done | 1 << at, &state, order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }
}

impl Search<'_> {
    /// Whether the start or the end of this reservation is on its way to the disk while a call is answered: then no lease
    /// runs (4.1, 5.4).
    fn is_writing(&self, reservation: u64, call: &Call) -> bool {
        let writes = |other: &Call| match &other.what {
            What::Complete { held, .. } | What::Release { held, .. } => *held == reservation,
            What::Begin { durable: true, answer: Some(Began::Fresh { held, .. }), .. } => {
                *held == reservation
            }
            _ => false,
        };
        self.meanwhile(call).any(writes)
    }

    /// Whether anybody waits while a call is answered.
    fn is_waiting(&self, call: &Call) -> bool {
        self.meanwhile(call).any(|other| matches!(other.what, What::Begin { waits: true, .. }))
    }

    /// Calls that overlap with this one.
    fn meanwhile(&self, call: &Call) -> impl Iterator<Item = &Call> {
        let (made, answered) = (call.made, call.answered);
        self.calls.iter().filter(move |own| own.made != made && own.made < answered && own.answered > made)
    }
}

impl State {
    /// What it is after this call, if the call could have been answered so.
    fn after(&self, call: &Call, search: &Search<'_>) -> Option<Self> {
        match &call.what {
            What::Begin { digest, durable, answer, .. } => {
                self.after_begin(call, *digest, *durable, answer.as_ref(), search)
            }
            What::Complete { held, outcome, kept } => {
                let own = matches!(self, Self::Reserved(own) if own.held == *held);
                let digest = self.digest();
                kept.is_none_or(|kept| kept == own).then(|| match digest {
                    Some(digest) if own => Self::Finished { digest, outcome: *outcome },
                    _ => self.clone(),
                })
            }
            What::Release { held, released } => {
                let own = matches!(self, Self::Reserved(own) if own.held == *held);
                released.is_none_or(|released| released == own).then(|| match self {
                    Self::Reserved(reserved) if own => Self::Free(
                        if reserved.durable { reserved.attempt } else { reserved.before },
                        Some(reserved.digest),
                    ),
                    _ => self.clone(),
                })
            }
            What::Get(seen) => {
                let flies = || self.promised(call, search).is_some() || self.is_settling(call, search);
                (self.seen() == *seen || *seen == Seen::InFlight && flies()).then(|| self.clone())
            }
            What::Forget(Some(Forgot::InFlight))
                if self.promised(call, search).is_some() || self.is_settling(call, search) =>
            {
                Some(self.clone())
            }
            What::Forget(told) => {
                let (forgot, after) = match self {
                    Self::Reserved(_) => (Forgot::InFlight, self.clone()),
                    Self::Free(..) => (Forgot::Nothing, Self::Free(0, None)),
                    _ => (Forgot::Kept, Self::Free(0, None)),
                };
                told.is_none_or(|told| told == forgot).then_some(after)
            }
            What::Crash => Some(match self {
                Self::Reserved(own) if own.durable => {
                    Self::Interrupted { digest: own.digest, attempt: own.attempt }
                }
                Self::Reserved(own) => Self::Free(own.before, None),
                _ => self.clone(),
            }),
        }
    }

    /// What it is while a durable start is on its way to the disk, of which a crash left nothing there.
    fn after_unwritten(&self, call: &Call) -> Option<Self> {
        let What::Begin { digest, durable, answer: None, .. } = call.what else { return None };
        let reserve = |attempt: u32, before: u32, durable: bool| {
            Some(Self::Reserved(Reserved {
                held: NEVER,
                digest,
                attempt,
                before,
                durable,
                since: call.clock,
            }))
        };
        match self {
            Self::Free(before, _) if durable => reserve(before + 1, *before, false),
            Self::Interrupted { digest: own, attempt } if *own == digest => reserve(*attempt, *attempt, true),
            _ => None,
        }
    }

    fn after_begin(
        &self,
        call: &Call,
        digest: u8,
        durable: bool,
        answer: Option<&Began>,
        search: &Search<'_>,
    ) -> Option<Self> {
        let since = call.clock;
        let reserve = |before: u32, attempt: u32, durable: bool, resumes: bool| match answer {
            Some(Began::Fresh { held, attempt: told, resumed }) => (*told == attempt && *resumed == resumes)
                .then_some(Self::Reserved(Reserved { held: *held, digest, attempt, before, durable, since })),
            // Given by a process that was killed before it said so: nobody will ever complete it.
            None => Some(Self::Reserved(Reserved { held: NEVER, digest, attempt, before, durable, since })),
            _ => None,
        };
        let told = |own: &Began| answer.is_none_or(|answer| answer == own).then(|| self.clone());
        match self {
            _ if answer == Some(&Began::InFlight) && self.is_settling(call, search) => Some(self.clone()),
            _ if self.digest().is_some_and(|own| own != digest) => told(&Began::Mismatch),
            Self::Free(..) if matches!(answer, Some(Began::InFlight | Began::Mismatch)) => {
                let running = self.promised(call, search)?;
                told(if running == digest { &Began::InFlight } else { &Began::Mismatch })
            }
            Self::Free(attempts, _) => reserve(*attempts, attempts + 1, durable, false),
            Self::Interrupted { attempt, .. } => reserve(*attempt, attempt + 1, true, true),
            Self::Finished { outcome, .. } => told(&Began::Replay(*outcome)),
            Self::Reserved(own) => {
                let lease = search.lease;
                // Lapsed for certain, perhaps, or not at all, as far as the clock was seen.
                let may_have_lapsed = call.clock.1 >= own.since.0.saturating_add(lease);
                let may_hold =
                    call.clock.0 < own.since.1.saturating_add(lease) || search.is_writing(own.held, call);
                let flying = told(&Began::InFlight).filter(|_| may_hold);
                flying.or_else(|| {
                    let over = || reserve(own.before, own.attempt + 1, own.durable || durable, false);
                    if may_have_lapsed { over() } else { None }
                })
            }
        }
    }

    /// The digest of one that was released while somebody waits.
    fn promised(&self, call: &Call, search: &Search<'_>) -> Option<u8> {
        match self {
            Self::Free(_, promised) => promised.filter(|_| search.is_waiting(call)),
            _ => None,
        }
    }

    /// Whether somebody forgets, during a call, what an attempt has left: for that long it is claimed.
    fn is_settling(&self, call: &Call, search: &Search<'_>) -> bool {
        let has_attempts = matches!(self, Self::Free(1.., _) | Self::Interrupted { .. });
        has_attempts && search.meanwhile(call).any(|other| matches!(other.what, What::Forget(_)))
    }

    fn digest(&self) -> Option<u8> {
        match self {
            Self::Free(..) => None,
            Self::Reserved(Reserved { digest, .. })
            | Self::Finished { digest, .. }
            | Self::Interrupted { digest, .. } => Some(*digest),
        }
    }

    fn seen(&self) -> Seen {
        match self {
            Self::Free(..) => Seen::Absent,
            Self::Reserved(_) => Seen::InFlight,
            Self::Finished { outcome, .. } => Seen::Finished(*outcome),
            Self::Interrupted { .. } => Seen::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: u64 = 100;

    fn call(made: u64, answered: u64, what: What) -> Call {
        Call { made, answered, clock: (0, 0), what }
    }

    fn begin(digest: u8, answer: Began) -> What {
        What::Begin { digest, durable: false, waits: false, answer: Some(answer) }
    }

    fn fresh(held: u64, attempt: u32) -> What {
        begin(1, Began::Fresh { held, attempt, resumed: false })
    }

    fn kept(held: u64, outcome: u64) -> What {
        What::Complete { held, outcome, kept: Some(true) }
    }

    fn good(calls: &[Call]) {
        check(calls, LEASE).unwrap();
    }

    fn bad(calls: &[Call]) {
        assert!(check(calls, LEASE).is_err(), "{calls:#?}");
    }

    #[test]
    fn calls_one_after_the_other_are_held_to_the_contract() {
        let fresh = || call(1, 2, fresh(1, 1));
        let kept = || call(3, 4, kept(1, 7));
        good(&[fresh(), kept(), call(5, 6, begin(1, Began::Replay(7)))]);
        good(&[fresh(), kept(), call(5, 6, begin(2, Began::Mismatch))]);
        good(&[
            fresh(),
            kept(),
            call(5, 6, What::Forget(Some(Forgot::Kept))),
            call(7, 8, What::Get(Seen::Absent)),
        ]);
        bad(&[fresh(), kept(), call(5, 6, begin(1, Began::Replay(8)))]);
        bad(&[fresh(), kept(), call(5, 6, begin(2, Began::Replay(7)))]);
        bad(&[fresh(), kept(), call(5, 6, begin(1, Began::Mismatch))]);
        bad(&[fresh(), kept(), call(5, 6, super::tests::fresh(2, 1))]);
        bad(&[fresh(), kept(), call(5, 6, What::Get(Seen::InFlight))]);
        bad(&[fresh(), call(3, 4, What::Forget(Some(Forgot::Nothing)))]);
    }

    #[test]
    fn two_fresh_reservations_at_once_are_refused_3_6() {
        bad(&[call(1, 4, fresh(1, 1)), call(2, 3, fresh(2, 1))]);
        good(&[call(1, 4, fresh(1, 1)), call(2, 3, begin(1, Began::InFlight))]);
        let release = |made, answered| call(made, answered, What::Release { held: 1, released: Some(true) });
        good(&[call(1, 2, fresh(1, 1)), release(3, 6), call(4, 5, fresh(2, 1))]);
        bad(&[call(1, 2, fresh(1, 1)), call(3, 4, fresh(2, 1)), release(5, 6)]);
    }

    #[test]
    fn a_stale_answer_after_an_acknowledged_completion_is_refused_4_1() {
        let (fresh, flying) = (call(1, 2, fresh(1, 1)), begin(1, Began::InFlight));
        good(&[fresh.clone(), call(3, 6, kept(1, 7)), call(4, 5, flying.clone())]);
        good(&[fresh.clone(), call(3, 6, kept(1, 7)), call(4, 5, begin(1, Began::Replay(7)))]);
        bad(&[fresh.clone(), call(3, 4, kept(1, 7)), call(5, 6, flying.clone())]);
        let (seen, unseen) = (call(4, 5, begin(1, Began::Replay(7))), call(6, 7, flying));
        bad(&[fresh, call(3, 8, kept(1, 7)), seen, unseen]);
    }

    #[test]
    fn a_take_over_needs_a_lapsed_lease_and_the_late_holder_is_lost_4_4() {
        let first = call(1, 2, fresh(1, 1));
        let over = |clock| Call { clock, ..call(3, 4, fresh(2, 2)) };
        let late = |kept| call(5, 6, What::Complete { held: 1, outcome: 7, kept: Some(kept) });
        good(&[first.clone(), over((90, 100)), late(false)]);
        bad(&[first.clone(), over((90, 99))]);
        bad(&[first.clone(), over((100, 100)), late(true)]);
        let flying = Call { clock: (100, 100), ..call(3, 4, begin(1, Began::InFlight)) };
        bad(&[first, flying]);
    }

    #[test]
    fn a_call_without_an_answer_may_or_may_not_have_happened_5_1() {
        let lost = Call { answered: NEVER, ..call(3, 0, What::Complete { held: 1, outcome: 7, kept: None }) };
        let (first, crash) = (call(1, 2, fresh(1, 1)), call(4, 5, What::Crash));
        let seen = |seen| call(6, 7, What::Get(seen));
        good(&[first.clone(), lost.clone(), crash.clone(), seen(Seen::Finished(7))]);
        good(&[first.clone(), lost.clone(), crash.clone(), seen(Seen::Absent)]);
        bad(&[first.clone(), lost.clone(), crash.clone(), seen(Seen::Finished(8))]);
        bad(&[first.clone(), lost, crash.clone(), seen(Seen::Interrupted)]);
        bad(&[first, call(2, 3, kept(1, 7)), crash, seen(Seen::Absent)]);
    }

    #[test]
    fn a_crash_interrupts_what_was_durably_started_and_nothing_else_5_4() {
        let answer = Some(Began::Fresh { held: 1, attempt: 1, resumed: false });
        let started = call(1, 2, What::Begin { digest: 1, durable: true, waits: false, answer });
        let resumed = |attempt| call(6, 7, begin(1, Began::Fresh { held: 2, attempt, resumed: true }));
        let crash = call(3, 4, What::Crash);
        good(&[started.clone(), crash.clone(), call(5, 6, What::Get(Seen::Interrupted)), resumed(2)]);
        bad(&[started.clone(), crash.clone(), resumed(1)]);
        bad(&[started, crash.clone(), call(5, 6, What::Get(Seen::Absent))]);
        good(&[call(1, 2, fresh(1, 1)), crash, call(5, 6, What::Get(Seen::Absent))]);
    }
}
