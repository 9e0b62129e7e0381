//! Goal: whoever is on call sees what a store does, and never a byte of a caller's (contract 10.2, 11). Method: one store is
//! asked in every way with canaries for everything; then its `stats()`, what a recorder was told, and what a subscriber
//! heard are held against what was done, and searched for canaries.

mod spans;
mod told;

use std::time::Duration;

use oncekey::{Answer, Builder, Key, ManualClock, Outcome, Parameters, Store, Timestamp};

/// Stands in all that is a caller's.
pub(crate) const CANARY: &str = "canary";

pub(crate) fn store(settings: impl FnOnce(Builder) -> Builder) -> (Store, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let builder = Store::builder().clock(clock.clone()).background_sweep(false);
    (settings(builder).open_in_memory().unwrap(), clock)
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(format!("{CANARY}-scope"), format!("{CANARY}-{name}")).unwrap()
}

pub(crate) fn asked() -> Parameters<'static> {
    Parameters::query("name=canary")
}

/// Fresh once and completed after 5 ms, replayed twice, released once, in flight once, mismatched once, expired once, refused
/// once.
pub(crate) fn live(store: &Store, clock: &ManualClock) {
    let fresh = |name: &str| match store.begin(&key(name), &asked()) {
        Ok(Answer::Fresh(held)) => held,
        other => panic!("never seen: {other:?}"),
    };
    let held = fresh("one");
    assert!(matches!(store.begin(&key("one"), &asked()), Ok(Answer::InFlight(_))));
    clock.advance(Duration::from_millis(5));
    held.complete(Outcome::http(200, CANARY).with_metadata(CANARY, CANARY)).unwrap();
    for _ in 0..2 {
        assert!(matches!(store.begin(&key("one"), &asked()), Ok(Answer::Replay(_))));
    }
    fresh("two").complete(Outcome::http(503, CANARY)).unwrap();
    drop(fresh("two"));
    assert!(
        store.begin(&key("one"), &Parameters::query("name=canary&more=canary")).unwrap_err().is_mismatch()
    );
    let old = Timestamp::from_millis(0);
    assert!(store.request(&key("old"), &asked()).first_sent(old).begin().unwrap_err().is_expired());
    let large = vec![b'c'; 16 << 20];
    assert!(store.begin(&key("large"), &Parameters::bytes(&large)).unwrap_err().is_bad_input());
}
