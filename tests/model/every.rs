//! All sequences of so many things, one after the other.
//!
//! Law: a sequence is a row of picks, and they come in order, the last place fastest. Whoever follows one tells for each
//! place which picks would have been idle there; they are passed over. What is idle at a place may depend on what stands
//! before it, never on what stands behind it. The first pick is never idle.

/// The next one; `false` behind the last.
pub(crate) fn next(picks: &mut [usize], idle: &[Vec<bool>]) -> bool {
    for place in (0..picks.len()).rev() {
        let next = (picks[place] + 1..idle[place].len()).find(|pick| !idle[place][*pick]);
        if let Some(next) = next {
            picks[place] = next;
            picks[place + 1..].fill(0);
            return true;
        }
    }
    false
}
