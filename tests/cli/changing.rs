//! Goal: `resolve`, `forget` and `compact` do to a store what its own calls do (4.6). Method: a killed store is changed by
//! the tool, then opened by the library and asked.

use std::time::Duration;

use crate::support::{Place, begin, parameters};
use oncekey::{Answer, Key, Known, ManualClock, Outcome, Store, SystemClock};
use serde_json::json;

fn key(scope: &str, token: &str) -> Key {
    Key::new(scope, token).unwrap()
}

#[test]
fn an_interrupted_key_is_resolved_and_its_retry_replays_that_outcome_4_6() {
    let place = Place::killed();
    let bytes = b"found out \xff by hand".to_vec();
    let words = ["resolve", "account-1", "running", "--outcome-file", "-", "--status", "200"];
    let more = ["--metadata", "By=operator", "--retention", "2h", "--json"];
    let told = place.run_with(&[&words[..], &more].concat(), &bytes).json(0);
    assert_eq!(told["resolved"], "kept");
    let store = Store::open(place.store()).unwrap();
    let Answer::Replay(replay) = store.begin(&key("account-1", "running"), &parameters()).unwrap() else {
        panic!("resolved")
    };
    assert_eq!((replay.outcome().body(), replay.outcome().status()), (&bytes[..], Some(200)));
    assert_eq!(replay.outcome().metadata(), [("By".to_owned(), "operator".to_owned())]);
    assert_eq!(replay.expires().since(replay.completed()), Duration::from_secs(2 * 3600));
    assert_eq!(told["expires_ms"], replay.expires().as_millis());
    drop(store);
    let again = place.run_with(&words, b"").ended(1);
    assert!(again.err.contains("not interrupted"), "{again:?}");
}

#[test]
fn an_interrupted_key_is_released_and_its_retry_runs_as_attempt_2_4_6() {
    let place = Place::killed();
    let told = place.run(&["resolve", "account-1", "running", "--release", "--json"]).json(0);
    assert_eq!(told["resolved"], "released");
    let store = Store::open(place.store()).unwrap();
    let Answer::Fresh(held) = store.begin(&key("account-1", "running"), &parameters()).unwrap() else {
        panic!("released")
    };
    assert_eq!(held.attempt(), 2);
}

#[test]
fn an_outcome_that_would_not_be_kept_is_refused_before_the_store_is_opened_4_2() {
    let place = Place::killed();
    let before = place.files();
    let words = ["resolve", "account-1", "running", "--outcome-file", "-", "--status", "503"];
    let ran = place.run_with(&words, b"").ended(2);
    assert!(ran.err.contains("--release"), "{ran:?}");
    place.run(&["resolve", "account-1", "running"]).ended(2);
    let words = ["resolve", "account-1", "running", "--outcome-file", "-", "--metadata", "none"];
    place.run_with(&words, b"").ended(2);
    assert!(place.files() == before);
}

#[test]
fn a_key_or_a_whole_scope_is_forgotten_and_no_other_4_6_1_2() {
    let place = Place::killed();
    assert_eq!(place.run(&["forget", "account-2", "paid", "--json"]).json(0)["forgotten"], 1);
    assert_eq!(place.run(&["forget", "account-2", "paid", "--json"]).json(1)["forgotten"], 0);
    assert_eq!(place.run(&["forget", "account-1", "--all", "--json"]).json(0)["forgotten"], 4);
    assert_eq!(place.run(&["list", "--state", "all", "--json"]).json(0)["keys"].as_array().unwrap().len(), 1);
    let store = Store::open(place.store()).unwrap();
    for (scope, token) in [("account-1", "paid"), ("account-1", "running"), ("account-2", "paid")] {
        assert_eq!(store.get(&key(scope, token)), Ok(Known::Absent));
    }
    // The one of another scope that was released is still attempt 2.
    assert_eq!(begin(&store, "account-2", "released").attempt(), 2);
    drop(store);
    place.run(&["forget", "account-2"]).ended(2);
    place.run(&["forget", "account-2", "paid", "--all"]).ended(2);
}

#[test]
fn compact_removes_what_has_expired_and_gives_its_space_back_8_3() {
    let place = Place::new();
    let clock = ManualClock::at(oncekey::Clock::wall(&SystemClock::new()));
    let yesterday =
        oncekey::Timestamp::from_millis(oncekey::Clock::wall(&clock).as_millis() - 25 * 3600 * 1000);
    let builder = Store::builder().clock(ManualClock::at(yesterday)).background_sweep(false);
    let store = builder.open(place.store()).unwrap();
    for token in 0..50 {
        begin(&store, "account-1", &token.to_string()).complete(Outcome::new(vec![1; 50_000])).unwrap();
    }
    store.backup(place.path("sealed")).unwrap();
    store.close(Duration::ZERO).unwrap();
    let expired = place.run(&["inspect", "--json"]).json(0);
    assert_eq!((&expired["records"], &expired["expired"]), (&json!(0), &json!(50)));
    assert_eq!(
        place.run(&["list", "--state", "expired", "--limit", "3", "--json"]).json(0)["keys"][2]["expired"],
        true
    );
    let told = place.run(&["compact", "--json"]).json(0);
    assert_eq!((&told["removed_segments"], &told["kept_records"]), (&json!(1), &json!(0)));
    assert!(told["freed_bytes"].as_u64().unwrap() > 2_500_000, "{told}");
    assert_eq!(place.run(&["inspect", "--json"]).json(0)["expired"], 0);
}
