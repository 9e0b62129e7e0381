//! When leases were first seen, by this engine.
//!
//! Law: a lease is measured on one clock alone, that of whoever looks: it has lapsed for an observer that has known it
//! unchanged, and unrenewed, for all of its time. Whoever made or renewed it saw it first. So no clock has to agree with
//! another, only to go as fast; and a lease may seem to last longer to those who came late, never shorter.
//!
//! Notes are memory that may be lost: a lease that is not noted is as if it had begun now.

use std::collections::HashMap;
use std::time::Duration;

use crate::sync::Mutex;
use crate::token::Key;

/// Notes at most; the leases of claims beyond them seem to begin at each look, until others have gone.
const NOTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Notes {
    seen: Mutex<HashMap<Key, Note>>,
}

#[derive(Clone, Copy)]
struct Note {
    /// Of the claim, and of its lease.
    of: (u64, u32),
    since: Duration,
}

impl Notes {
    /// How long this lease has been known.
    pub(super) fn age(&self, key: &Key, of: (u64, u32), tick: Duration) -> Duration {
        let mut seen = self.seen.lock();
        let room = seen.len() < NOTES_MAX;
        match seen.get_mut(key) {
            Some(note) if note.of == of => return tick.saturating_sub(note.since),
            Some(note) => *note = Note { of, since: tick },
            None if room => drop(seen.insert(key.clone(), Note { of, since: tick })),
            None => {}
        }
        Duration::ZERO
    }

    pub(super) fn forget(&self, key: &Key) {
        self.seen.lock().remove(key);
    }

    /// Forgets all that was noted before this tick and is not among the keys that there are.
    pub(super) fn keep(&self, tick: Duration, there: impl Fn(&Key) -> bool) {
        self.seen.lock().retain(|key, note| note.since >= tick || there(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_old_as_the_observer_has_known_it_unchanged_4_4() {
        let (notes, key) = (Notes::default(), Key::new("s", "t").unwrap());
        let at = Duration::from_secs;
        assert_eq!(notes.age(&key, (1, 0), at(5)), at(0), "seen first now");
        assert_eq!(notes.age(&key, (1, 0), at(7)), at(2));
        assert_eq!(notes.age(&key, (1, 1), at(8)), at(0), "renewed");
        assert_eq!(notes.age(&key, (2, 1), at(9)), at(0), "another's");
        assert_eq!(notes.age(&key, (2, 1), at(10)), at(1));
        notes.keep(at(9), |_| false);
        assert_eq!(notes.age(&key, (2, 1), at(11)), at(2), "noted since then");
        notes.keep(at(10), |_| false);
        assert_eq!(notes.age(&key, (2, 1), at(12)), at(0), "forgotten");
        notes.forget(&key);
        assert_eq!(notes.age(&key, (2, 1), at(13)), at(0));
    }
}
