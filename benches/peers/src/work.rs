//! What is every contender asked to do? *Is this token new? Reserve it, and complete it durably with 200 bytes.* One
//! ask of ten is a retry of an earlier token and must get that token's bytes: they differ from token to token, and
//! each is checked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fill::token;

pub(crate) const OUTCOME_BYTES: usize = 200;
/// One ask of so many is a retry.
const RETRY_EVERY: usize = 10;

/// One call of one caller.
pub(crate) struct Ask {
    pub(crate) token: String,
    /// Known to the one who asks; of the contenders only the limits, which keep nothing, look at it.
    pub(crate) retry: bool,
}

/// The bytes that belong to a token.
pub(crate) fn outcome_of(token: &str) -> Vec<u8> {
    token.bytes().cycle().take(OUTCOME_BYTES).collect()
}

/// Tokens that nobody has seen. Those of a fill are numbered from 0, these from far above.
pub(crate) fn fresh_tokens(count: usize) -> Vec<String> {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    let first = NEXT.fetch_add(count as u64, Ordering::Relaxed);
    (first..first + count as u64).map(token).collect()
}

/// The asks of every caller, `steps` each. Retries are of the tokens in `earlier`, which all were completed;
/// each of them once, so that no two callers ask for one at the same time.
pub(crate) fn plan(callers: usize, steps: usize, earlier: &[String]) -> Vec<Vec<Ask>> {
    let mut fresh = fresh_tokens(callers * steps).into_iter();
    let mut retried = earlier.iter();
    let mut ask = |caller: usize, step: usize| {
        let is_turn = (caller + step).is_multiple_of(RETRY_EVERY);
        match is_turn.then(|| retried.next()).flatten() {
            Some(known) => Ask { token: known.clone(), retry: true },
            None => Ask { token: fresh.next().expect("one for each ask"), retry: false },
        }
    };
    (0..callers).map(|caller| (0..steps).map(|step| ask(caller, step)).collect()).collect()
}
