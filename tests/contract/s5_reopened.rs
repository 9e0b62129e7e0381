//! Section 5, a store that is opened again in place (5.5).
//!
//! Goal: it knows what it knew, live reservations stay, and no fence is used twice. Method: reopened without need.

use oncekey::Outcome;

use crate::every::s4_leases::is_lost;
use crate::support::{
    asked, assert_free, assert_replays, fresh, in_every_home, in_flight, kept, key, refused, run, secs,
    with_clock,
};

/// Fences begin anew with each epoch: only that it is another one tells the old holder's first fence from the new one's.
#[test]
fn a_fence_is_never_used_twice_though_the_store_was_opened_again_in_between_4_4() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.stripes(1).lease(secs(10)));
        let lost = fresh(store.begin(&key(0), &asked()));
        store.reopen().expect("opened in place");
        clock.advance(secs(10));
        let held = fresh(store.begin(&key(0), &asked()));
        is_lost(&lost.complete(Outcome::new("late").finally()).expect_err("taken over").error);
        kept(held.complete(Outcome::new("right").finally()));
        assert_replays(&store, &key(0), "right");
    });
}

#[test]
fn a_store_reopened_in_place_knows_what_it_knew_and_live_reservations_stay_5_5() {
    in_every_home(|home| {
        let (builder, clock) = with_clock();
        let store = home.open(builder.kept_records_per_scope_max(Some(3)));
        run(&store, &key(0), "done");
        run(&store, &key(1), "gone");
        assert!(store.forget(&key(1)).expect("forgotten"));
        let held = fresh(store.begin(&key(2), &asked()));
        for _ in 0..3 {
            clock.advance(secs(1));
            store.reopen().expect("opened in place");
            assert_replays(&store, &key(0), "done");
            assert_free(&store, &key(1));
            assert_eq!(in_flight(store.begin(&key(2), &asked())).attempt(), 1);
            assert_eq!((store.stats().kept_records, store.stats().live_reservations), (1, 1));
        }
        let (completed, _) = kept(held.complete(Outcome::new("done")));
        assert_eq!(completed.as_millis(), 1_800_000_003_000);
        run(&store, &key(3), "done");
        assert!(refused(store.begin(&key(4), &asked())).is_full());
    });
}
