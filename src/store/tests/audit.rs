//! The store, counted again from what stands in its stripes.

use super::super::Store;
use crate::inflight::Phase;

impl Store {
    /// Counts everything from scratch, for a store in which nothing moves at this moment, and gives how many wait in it.
    ///
    /// # Panics
    /// Where a count is not what is there.
    pub(crate) fn audit(&self) -> u64 {
        let shared = self.shared();
        let (mut live, mut room, mut records, mut waiters, mut writing) = (0, 0, 0, 0, 0);
        for stripe in shared.stripes.each() {
            stripe.index.validate();
            records += stripe.index.len() as u64;
            for slot in stripe.slots.iter() {
                let left = matches!(slot.phase, Phase::Vacant | Phase::Unknown | Phase::Unsettled);
                assert!(slot.phase != Phase::Vacant || slot.waiters > 0, "it is promised to nobody");
                live += u64::from(!left);
                room += if left { 0 } else { slot.room };
                waiters += slot.waiters;
                let durable = slot.durable.as_ref();
                records += u64::from(durable.is_some_and(|own| own.started.is_some()));
                writing += usize::from(durable.is_some_and(|own| own.writes > 0));
            }
        }
        let quota = &shared.stripes.quota;
        assert_eq!((quota.live(), shared.room.reserved()), (live, room), "live reservations, and their room");
        assert_eq!(quota.kept_records(), records, "kept records");
        assert_eq!(writing, 0, "what is being written moves");
        waiters
    }
}
