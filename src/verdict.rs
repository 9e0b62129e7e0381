//! The one judgement: from what is known of a key, and how the digests compare, to the answer.
//!
//! Law: pure. Nothing here touches a disk, a lock or a clock, and every path (the first asking, after a wait, on
//! a take-over, after a read) comes through [`judge`], so that the digest can't be forgotten on one of them.
//! The rows are contract section 3, in its order of precedence:
//!
//! | state | equal | different | incomparable |
//! | --- | --- | --- | --- |
//! | expired (3.5); absent and released leave nothing to judge | reserve | reserve | reserve |
//! | running, lease left (3.2) | in flight | mismatch | cannot compare |
//! | running, lapsed (4.4) | take over | mismatch | cannot compare |
//! | completing (4.1) | in flight | mismatch | cannot compare |
//! | commit failed (3.9) | unknown outcome | mismatch | cannot compare |
//! | finished, kept (3.3) | replay | mismatch | cannot compare |
//! | interrupted (3.4), to be resumed | resume | mismatch | cannot compare |
//! | interrupted (3.4), to be refused | unknown outcome | mismatch | cannot compare |

use crate::error::{ErrorKind, Incomparable};

/// How the digest asked with compares with the one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Different,
    Incomparable(Incomparable),
}

/// What is known of a key of which something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running { lapsed: bool },
    Completing,
    Unknown,
    Finished { expired: bool },
    Interrupted { attempt: u32, resume: bool },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reserve,
    TakeOver,
    Resume,
    InFlight,
    Replay,
    Refuse(ErrorKind),
}

/// Decides. `compare` is asked only where there is something to compare with.
pub(crate) fn judge(state: State, compare: impl FnOnce() -> Comparison) -> Verdict {
    if state == (State::Finished { expired: true }) {
        return Verdict::Reserve;
    }
    match (compare(), state) {
        (Comparison::Different, _) => Verdict::Refuse(ErrorKind::Mismatch),
        (Comparison::Incomparable(why), _) => Verdict::Refuse(ErrorKind::CannotCompare(why)),
        (Comparison::Equal, State::Running { lapsed: true }) => Verdict::TakeOver,
        (Comparison::Equal, State::Running { .. } | State::Completing) => Verdict::InFlight,
        (Comparison::Equal, State::Unknown) => Verdict::Refuse(ErrorKind::UnknownOutcome),
        (Comparison::Equal, State::Interrupted { resume: true, .. }) => Verdict::Resume,
        (Comparison::Equal, State::Interrupted { attempt, .. }) => {
            Verdict::Refuse(ErrorKind::Interrupted { attempt })
        }
        (Comparison::Equal, State::Finished { .. }) => Verdict::Replay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_3() {
        let why = Incomparable::Rules;
        let states = [
            (State::Running { lapsed: false }, Verdict::InFlight),
            (State::Running { lapsed: true }, Verdict::TakeOver),
            (State::Completing, Verdict::InFlight),
            (State::Unknown, Verdict::Refuse(ErrorKind::UnknownOutcome)),
            (State::Finished { expired: false }, Verdict::Replay),
            (State::Interrupted { attempt: 1, resume: true }, Verdict::Resume),
            (
                State::Interrupted { attempt: 1, resume: false },
                Verdict::Refuse(ErrorKind::Interrupted { attempt: 1 }),
            ),
        ];
        for (state, equal) in states {
            assert_eq!(judge(state, || Comparison::Equal), equal);
            assert_eq!(judge(state, || Comparison::Different), Verdict::Refuse(ErrorKind::Mismatch));
            let refused = Verdict::Refuse(ErrorKind::CannotCompare(why));
            assert_eq!(judge(state, || Comparison::Incomparable(why)), refused);
        }
        let expired = State::Finished { expired: true };
        assert_eq!(judge(expired, || unreachable!("there is nothing to compare with")), Verdict::Reserve);
    }
}
