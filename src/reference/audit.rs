//! Counting (contract 8), and the model's audit of itself.

use std::collections::BTreeSet;

use super::{Condition, Model, Slot, Usage, What};
use crate::token::Key;

impl Model {
    /// What is held in all.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage_where(|_| true)
    }

    /// What is held of one scope.
    #[must_use]
    pub fn usage_of_scope(&self, scope: &[u8]) -> Usage {
        self.usage_where(|key| key.scope() == scope)
    }

    /// Counted anew each time: a model has no counters that could be wrong.
    fn usage_where(&self, counts: impl Fn(&Key) -> bool) -> Usage {
        let mut usage = Usage::default();
        for (_, slot) in self.slots.iter().filter(|(key, _)| counts(key)) {
            if let Slot::Running(live) = slot {
                usage.live_reservations += 1;
                usage.live_starts += u64::from(live.durable);
                usage.declared_bytes = usage.declared_bytes.saturating_add(live.declared);
            }
        }
        for (key, record) in self.records.iter().filter(|(key, _)| counts(key)) {
            usage.kept_records += 1; // 8.3: expired or not
            usage.kept_bytes += (key.scope().len() + key.token().len()) as u64 + record.size();
        }
        usage
    }

    /// Recounts everything and checks every sentence of the module's head.
    ///
    /// # Panics
    /// Where the model contradicts itself, which is a bug of the model.
    pub fn validate(&self) {
        let (now, usage) = (self.now(), self.usage());
        let mut fences = BTreeSet::new();
        for (key, slot) in &self.slots {
            let record = self.records.get(key).filter(|record| !record.has_expired(now));
            let replayed = record.is_some_and(|record| matches!(record.what, What::Finished(_)));
            assert!(!replayed, "a key that runs or is in doubt has no record that could be replayed (3.6)");
            match slot {
                Slot::Running(live) => {
                    assert!(
                        live.fence <= self.last_fence && fences.insert(live.fence),
                        "one fence each (4.4)"
                    );
                    assert!(live.attempt >= 1 && live.since <= now, "attempts count from 1, in the past");
                    assert_ne!(self.condition, Condition::Shut, "who closed holds nothing");
                    let started = match record.map(|record| &record.what) {
                        Some(What::Started(own)) => Some(own.attempt),
                        _ => None,
                    };
                    assert_eq!(
                        started,
                        live.durable.then_some(live.attempt),
                        "a durable one was started (5.4)"
                    );
                }
                Slot::Doubt(..) => {
                    assert_ne!(self.condition, Condition::Open, "a doubt stops the store (5.5)");
                }
            }
        }
        for (id, waiter) in &self.waiters {
            assert!(
                id.0 <= self.waiters_ever && waiter.deadline > self.time.monotonic,
                "patience is not over"
            );
            let Some(Slot::Running(live)) = self.slots.get(&waiter.key) else {
                panic!("waits for a running key")
            };
            assert!(live.fingerprint == waiter.asking.fingerprint, "waits for the same parameters");
            assert!(!self.lease_left(live).is_zero(), "a lapsed lease does not keep waiters waiting (4.4)");
        }
        let last = |key: &Key| {
            let unsynced = self.unsynced.iter().rev().find(|(unsynced, _)| unsynced == key);
            unsynced.map(|(_, record)| record).or(self.disk.get(key))
        };
        for key in self.disk.keys().chain(self.unsynced.iter().map(|(key, _)| key)) {
            let expired = last(key).is_some_and(|record| record.has_expired(now));
            assert!(expired || self.records.contains_key(key), "what is on the disk is known");
        }
        for (key, record) in &self.records {
            assert_eq!(last(key), Some(record), "what is kept is on the disk, or on its way");
            let (time, attempt) = record.written();
            assert!(time <= now && attempt >= 1, "written in the past (7.2)");
        }
        let scopes: BTreeSet<&[u8]> = self.slots.keys().chain(self.records.keys()).map(Key::scope).collect();
        let of_scopes =
            scopes.iter().map(|scope| self.usage_of_scope(scope)).fold(Usage::default(), Usage::plus);
        assert_eq!(of_scopes, usage, "the scopes add up to all");
        if !self.settings_replaced {
            let admitted = |slot: &&Slot| matches!(slot, Slot::Running(live) if !live.beyond_limits);
            let admitted = self.slots.values().filter(admitted).count() as u64;
            assert!(admitted <= self.settings.live_reservations_max, "not overloaded (8.1)");
            let held = usage.kept_records + usage.live_reservations - usage.live_starts;
            assert!(self.settings.kept_records_max.is_none_or(|limit| held <= limit), "not over full (8.1)");
        }
    }
}

impl Usage {
    fn plus(self, other: Self) -> Self {
        Self {
            live_reservations: self.live_reservations + other.live_reservations,
            live_starts: self.live_starts + other.live_starts,
            declared_bytes: self.declared_bytes.saturating_add(other.declared_bytes),
            kept_records: self.kept_records + other.kept_records,
            kept_bytes: self.kept_bytes + other.kept_bytes,
        }
    }
}
