//! What is live and what is kept, counted against the limits (contract 8).
//!
//! Law: refused before anything is allocated, nothing is ever evicted to make room (8.2, 8.3). A new key is asked
//! in this order: live in all, live of its scope, records in all, bytes in all, records of its scope, bytes of
//! its scope. Live reservations count against the kept ones too, since each may become one: so what was admitted
//! can complete; the start of a durable one is a record already, and counts once. Scopes are counted only where a limit asks for it.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;

use crate::error::{ErrorKind, Limit};
use crate::options::Builder;
use crate::record::Weight;
use crate::sync::{CachePadded, Mutex};

/// The counts, and their limits.
pub(super) struct Quota {
    /// Apart from all else: whoever asks counts here, and a core that has another's line taken from it waits.
    counts: CachePadded<Counts>,
    limits: Limits,
    scopes: Option<Mutex<HashMap<u64, Use, foldless::State>>>,
}

#[derive(Default)]
struct Counts {
    live: AtomicU64,
    /// Live reservations whose start is among the records.
    starts: AtomicU64,
    declared: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

struct Limits {
    live: u64,
    records: u64,
    bytes: u64,
    scope_live: Option<u64>,
    scope_records: Option<u64>,
    scope_bytes: Option<u64>,
}

/// What a group of ends changes in the counts, and in what was set aside: summed up, since whoever asks at that moment
/// counts in the same memory, and each change of it is waited for by both.
#[derive(Default)]
pub(super) struct Tally {
    records: u64,
    bytes: u64,
    left: u64,
    declared: u64,
    /// Disk room to give back.
    pub(super) room: u64,
    pub(super) completed: u64,
}

impl Tally {
    /// Whether live reservations have ended.
    pub(super) fn is_leaving(&self) -> bool {
        self.left > 0
    }
}

/// What one scope uses.
#[derive(Clone, Copy, Default)]
struct Use {
    live: u64,
    starts: u64,
    declared: u64,
    records: u64,
    bytes: u64,
}

/// The scopes' fingerprints are keyed hashes already, so the table needs no hash of its own (contract 10.3).
mod foldless {
    use std::hash::{BuildHasherDefault, Hasher};

    pub(super) type State = BuildHasherDefault<Plain>;

    #[derive(Default)]
    pub(super) struct Plain(u64);

    impl Hasher for Plain {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, _bytes: &[u8]) {
            unreachable!("only 64-bit fingerprints are hashed");
        }

        fn write_u64(&mut self, fingerprint: u64) {
            self.0 = fingerprint;
        }
    }
}

impl Quota {
    pub(super) fn new(options: &Builder) -> Self {
        let limits = Limits {
            live: options.live_reservations_max,
            records: options.kept_records_max,
            bytes: options.kept_bytes_max,
            scope_live: options.live_reservations_per_scope_max,
            scope_records: options.kept_records_per_scope_max,
            scope_bytes: options.kept_bytes_per_scope_max,
        };
        let count_scopes =
            limits.scope_live.is_some() || limits.scope_records.is_some() || limits.scope_bytes.is_some();
        Self { counts: CachePadded::default(), limits, scopes: count_scopes.then(Mutex::default) }
    }

    /// Counts one more live reservation, or says which limit is against it.
    pub(super) fn admit(&self, scope: impl FnOnce() -> u64, declared: u64) -> Result<(), ErrorKind> {
        let all = Use {
            live: self.counts.live.fetch_add(1, Ordering::AcqRel),
            starts: self.counts.starts.load(Ordering::Acquire),
            declared: self.counts.declared.fetch_add(declared, Ordering::AcqRel),
            records: self.counts.records.load(Ordering::Acquire),
            bytes: self.counts.bytes.load(Ordering::Acquire),
        };
        let admitted = match &self.scopes {
            None => self.limits.check(&all, &Use::default(), declared),
            Some(scopes) => {
                let (mut scopes, scope) = (scopes.lock(), scope());
                let own = scopes.get(&scope).copied().unwrap_or_default();
                let admitted = self.limits.check(&all, &own, declared);
                if admitted.is_ok() {
                    change(&mut scopes, scope, |own| {
                        own.live += 1;
                        own.declared += declared;
                    });
                }
                admitted
            }
        };
        if admitted.is_err() {
            self.counts.live.fetch_sub(1, Ordering::AcqRel);
            self.counts.declared.fetch_sub(declared, Ordering::AcqRel);
        }
        admitted
    }

    /// Counts one more live reservation, whatever the limits say: it was admitted once.
    pub(super) fn enter(&self, scope: impl FnOnce() -> u64, declared: u64) {
        self.counts.live.fetch_add(1, Ordering::AcqRel);
        self.counts.declared.fetch_add(declared, Ordering::AcqRel);
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), scope(), |own| {
                own.live += 1;
                own.declared += declared;
            });
        }
    }

    /// The start of a live reservation is now among the records: it and its outcome are one record, not two.
    pub(super) fn begin_start(&self, scope: impl FnOnce() -> u64) {
        self.counts.starts.fetch_add(1, Ordering::AcqRel);
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), scope(), |own| own.starts += 1);
        }
    }

    /// The same, of one that is dismissed next.
    pub(super) fn end_start(&self, scope: impl FnOnce() -> u64) {
        self.counts.starts.fetch_sub(1, Ordering::AcqRel);
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), scope(), |own| own.starts = own.starts.saturating_sub(1));
        }
    }

    /// One live reservation less.
    pub(super) fn dismiss(&self, scope: impl FnOnce() -> u64, declared: u64) {
        let mut tally = Tally::default();
        self.leave(scope, declared, &mut tally);
        self.settle(&tally);
    }

    /// The same, for all but its scope's count once it is settled.
    pub(super) fn leave(&self, scope: impl FnOnce() -> u64, declared: u64, tally: &mut Tally) {
        tally.left += 1;
        tally.declared += declared;
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), scope(), |own| {
                own.live = own.live.saturating_sub(1);
                own.declared = own.declared.saturating_sub(declared);
            });
        }
    }

    /// One kept record more.
    pub(super) fn keep(&self, weight: Weight) {
        let mut tally = Tally::default();
        self.stay(weight, &mut tally);
        self.settle(&tally);
    }

    /// The same, for all but its scope's count once it is settled.
    pub(super) fn stay(&self, weight: Weight, tally: &mut Tally) {
        tally.records += 1;
        tally.bytes += u64::from(weight.bytes);
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), weight.scope, |own| {
                own.records += 1;
                own.bytes += u64::from(weight.bytes);
            });
        }
    }

    /// Counts what was summed up: what stays before what has left, so that there is never room for more than there is.
    pub(super) fn settle(&self, tally: &Tally) {
        if tally.records > 0 {
            self.counts.records.fetch_add(tally.records, Ordering::AcqRel);
            self.counts.bytes.fetch_add(tally.bytes, Ordering::AcqRel);
        }
        if tally.left > 0 {
            self.counts.live.fetch_sub(tally.left, Ordering::AcqRel);
            self.counts.declared.fetch_sub(tally.declared, Ordering::AcqRel);
        }
    }

    /// One kept record less.
    pub(super) fn let_go(&self, weight: Weight) {
        self.counts.records.fetch_sub(1, Ordering::AcqRel);
        self.counts.bytes.fetch_sub(u64::from(weight.bytes), Ordering::AcqRel);
        if let Some(scopes) = &self.scopes {
            change(&mut scopes.lock(), weight.scope, |own| {
                own.records = own.records.saturating_sub(1);
                own.bytes = own.bytes.saturating_sub(u64::from(weight.bytes));
            });
        }
    }
}

impl Quota {
    pub(super) fn live(&self) -> u64 {
        self.counts.live.load(Ordering::Acquire)
    }

    pub(super) fn kept_records(&self) -> u64 {
        self.counts.records.load(Ordering::Acquire)
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Acquire)
    }

    /// Nothing is kept any more, as far as is known: the ledger is about to be read again.
    pub(super) fn let_go_of_all(&self) {
        self.counts.records.store(0, Ordering::Release);
        self.counts.bytes.store(0, Ordering::Release);
        if let Some(scopes) = &self.scopes {
            scopes.lock().retain(|_, own| {
                (own.records, own.bytes) = (0, 0);
                own.live > 0
            });
        }
    }
}

impl Limits {
    /// Whether one more reservation, with so many declared bytes, fits beside what is used.
    fn check(&self, all: &Use, own: &Use, declared: u64) -> Result<(), ErrorKind> {
        let scope = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        let one_more = |what: Limit, used: u64, limit: u64| {
            let measured = used.saturating_add(1);
            if measured > limit { Err(ErrorKind::Overloaded { what, measured, limit }) } else { Ok(()) }
        };
        let kept = |what: Limit, measured: u64, limit: u64| {
            if measured > limit { Err(ErrorKind::Full { what, measured, limit }) } else { Ok(()) }
        };
        let records =
            |used: &Use| used.records.saturating_add(used.live).saturating_add(1).saturating_sub(used.starts);
        let bytes = |used: &Use| used.bytes.saturating_add(used.declared).saturating_add(declared);
        one_more(Limit::LiveReservations, all.live, self.live)?;
        one_more(Limit::LiveReservationsPerScope, own.live, scope(self.scope_live))?;
        kept(Limit::KeptRecords, records(all), self.records)?;
        kept(Limit::KeptBytes, bytes(all), self.bytes)?;
        kept(Limit::KeptRecordsPerScope, records(own), scope(self.scope_records))?;
        kept(Limit::KeptBytesPerScope, bytes(own), scope(self.scope_bytes))
    }
}

/// Changes what one scope uses, and forgets a scope that uses nothing.
fn change(scopes: &mut HashMap<u64, Use, foldless::State>, scope: u64, with: impl FnOnce(&mut Use)) {
    let own = scopes.entry(scope).or_default();
    with(own);
    if own.live == 0 && own.records == 0 {
        scopes.remove(&scope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_reservations_count_against_the_kept_ones_8_1() {
        let quota = Quota::new(&Builder::default().kept_records_max(2));
        quota.keep(Weight { scope: 1, bytes: 10 });
        assert_eq!(quota.admit(|| 1, 5), Ok(()));
        let full = ErrorKind::Full { what: Limit::KeptRecords, measured: 3, limit: 2 };
        assert_eq!(quota.admit(|| 1, 5), Err(full));
        quota.dismiss(|| 1, 5);
        assert_eq!(quota.admit(|| 1, 5), Ok(()));
        assert_eq!((quota.live(), quota.kept_records(), quota.kept_bytes()), (1, 1, 10));
    }

    #[test]
    fn one_scope_at_its_limit_leaves_the_others_alone_8_1() {
        let quota = Quota::new(&Builder::default().live_reservations_per_scope_max(Some(1)));
        assert_eq!(quota.admit(|| 1, 0), Ok(()));
        let overloaded =
            ErrorKind::Overloaded { what: Limit::LiveReservationsPerScope, measured: 2, limit: 1 };
        assert_eq!(quota.admit(|| 1, 0), Err(overloaded));
        assert_eq!(quota.admit(|| 2, 0), Ok(()));
        quota.dismiss(|| 1, 0);
        assert_eq!(quota.scopes.as_ref().unwrap().lock().len(), 1, "an idle scope costs nothing");
    }

    #[test]
    fn bytes_count_with_what_is_declared_8_1() {
        let quota = Quota::new(&Builder::default().kept_bytes_max(100));
        quota.keep(Weight { scope: 1, bytes: 40 });
        assert_eq!(quota.admit(|| 1, 60), Ok(()));
        let full = ErrorKind::Full { what: Limit::KeptBytes, measured: 101, limit: 100 };
        assert_eq!(quota.admit(|| 1, 1), Err(full));
    }
}
