//! Goal: `inspect`, `get` and `list` tell what a store holds, and no more than they are asked for (10.2); nothing is
//! changed on disk (5.6). Method: a closed store and one whose process was killed, in words and in JSON.

use crate::support::{CANARY, NOTE, Place, program};
use serde_json::json;
use std::process::Stdio;

const READING: &[&[&str]] = &[
    &["inspect"],
    &["get", "account-1", "paid"],
    &["get", "account-1", "paid", "--show-outcome"],
    &["get", "account-1", "never"],
    &["list"],
    &["list", "--state", "all", "--show-outcome"],
    &["verify"],
    &["export"],
];

#[test]
fn reading_changes_no_byte_of_a_closed_store_nor_of_one_that_was_killed_5_6() {
    for place in [Place::closed(), Place::killed()] {
        let before = place.files();
        for words in READING {
            for form in [&[][..], &["--json"], &["--sealed"]] {
                let ran = place.run(&[words, form].concat());
                assert!(ran.status < 2, "{words:?} {form:?}: {ran:?}");
                assert!(place.files() == before, "{words:?} {form:?}");
            }
        }
    }
}

#[test]
fn no_outcome_and_no_checkpoint_shows_that_was_not_asked_for_10_2() {
    let place = Place::killed();
    for words in READING.iter().filter(|words| words[0] != "export" && !words.contains(&"--show-outcome")) {
        for form in [&[][..], &["--json"]] {
            let ran = place.run(&[words, form].concat());
            assert!(
                !ran.out.contains("canary") && !ran.err.contains("canary"),
                "{words:?} {form:?}: {ran:?}"
            );
        }
    }
    let shown = place.run(&["get", "account-1", "paid", "--show-outcome"]).ended(0).out;
    assert!(shown.contains(CANARY) && shown.contains("Content-Type: canary/plain"), "{shown}");
    let shown = place.run(&["list", "--show-outcome"]).ended(0).out;
    assert!(shown.contains(NOTE), "{shown}");
}

#[test]
fn inspect_counts_records_segments_and_when_they_expire() {
    let place = Place::killed();
    let told = place.run(&["inspect", "--json"]).json(0);
    assert_eq!(told["newest_records_in_view"], true);
    // Three finished ones and `newest`, one that was released, one that was running.
    assert_eq!((&told["records"], &told["interrupted"], &told["expired"]), (&json!(5), &json!(1), &json!(0)));
    let segments = told["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!((&segments[0]["sealed"], &segments[1]["sealed"]), (&json!(true), &json!(false)));
    let bars: u64 =
        told["expiry"].as_array().unwrap().iter().map(|bar| bar["records"].as_u64().unwrap()).sum();
    assert_eq!(bars, 5);

    let words = place.run(&["inspect"]).ended(0).out;
    for part in ["5 records", "1 operation", "2 segments", "within 1 day", "████", "the store's own"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn get_tells_state_digest_times_and_lengths_of_a_key() {
    let place = Place::killed();
    let paid = place.run(&["get", "account-1", "paid", "--json"]).json(0);
    assert_eq!(
        (&paid["state"], &paid["status"], &paid["attempts"]),
        (&json!("finished"), &json!(201), &json!(1))
    );
    assert_eq!((&paid["body_bytes"], &paid["metadata_count"]), (&json!(CANARY.len()), &json!(1)));
    assert_eq!((&paid["digest_version"], paid["digest"].as_str().unwrap().len()), (&json!(1), 64));
    let day = paid["expires_ms"].as_u64().unwrap() - paid["completed_ms"].as_u64().unwrap();
    assert_eq!(day, 24 * 3600 * 1000);
    let large = place.run(&["get", "account-1", "large", "--json"]).json(0);
    assert_eq!((&large["omitted_bytes"], &large["body_bytes"]), (&json!(3000), &json!(0)));
    let bytes = place.run(&["get", "account-2", "paid", "--show-outcome", "--json"]).json(0);
    assert_eq!(bytes["body_base64"], "/wAgbm8gdGV4dA==");
    let running = place.run(&["get", "account-1", "running", "--json"]).json(0);
    assert_eq!((&running["state"], &running["checkpoint_attempt"]), (&json!("interrupted"), &json!(1)));
    assert_eq!(running["checkpoint_bytes"], json!(NOTE.len()));
    let released = place.run(&["get", "account-2", "released", "--json"]).json(0);
    assert_eq!(released["state"], "released");

    let words = place.run(&["get", "account-1", "paid"]).ended(0).out;
    assert!(
        words.contains("finished") && words.contains("Z, 0 seconds ago") || words.contains("second"),
        "{words}"
    );
    let absent = place.run(&["get", "account-3", "paid", "--json"]).json(1);
    assert_eq!(absent["state"], "absent");
    place.run(&["get", "account-3", "paid"]).ended(1);
}

#[test]
fn list_tells_what_was_interrupted_and_the_rest_by_state_scope_and_age() {
    let place = Place::killed();
    let keys = |words: &[&str]| -> Vec<String> {
        let told = place.run(&[&["list", "--json"], words].concat()).json(0);
        assert_eq!(told["newest_records_in_view"], true);
        let keys = told["keys"].as_array().unwrap().iter();
        let key = |own: &serde_json::Value| format!("{}/{}", own["scope"], own["token"]).replace('"', "");
        let mut keys: Vec<_> = keys.map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&[]), ["account-1/running"]);
    assert_eq!(keys(&["--state", "released"]), ["account-2/released"]);
    let finished = ["account-1/large", "account-1/newest", "account-1/paid", "account-2/paid"];
    assert_eq!(keys(&["--state", "finished"]), finished);
    assert_eq!(keys(&["--state", "all", "--scope", "account-2"]), ["account-2/paid", "account-2/released"]);
    assert_eq!(keys(&["--state", "all", "--older-than", "1h"]), [""; 0]);
    assert_eq!(keys(&["--state", "all", "--younger-than", "1h"]).len(), 6);
    assert_eq!(keys(&["--state", "all", "--limit", "2"]).len(), 2);
    assert_eq!(keys(&["--state", "expired"]), [""; 0]);
    let words = place.run(&["list"]).ended(0).out;
    assert!(words.starts_with("interrupted ") && words.contains("account-1  running"), "{words}");
}

#[test]
fn a_reader_who_has_read_enough_and_closes_the_pipe_is_no_error() {
    let place = Place::closed();
    for words in [&["list", "--state", "all"][..], &["export"], &["inspect"], &["verify"], &["man"]] {
        let mut command = program();
        command.args(words).env("ONCEKEY_STORE", place.store());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = crate::support::Ran::of(child.wait_with_output().unwrap()).ended(0);
        assert_eq!(ran.err, "", "{words:?}");
    }
}

#[test]
fn what_is_no_store_is_said_and_left_as_it_is_5_6() {
    let place = Place::new();
    std::fs::create_dir(place.store()).unwrap();
    std::fs::write(place.store().join("letter"), "none of yours").unwrap();
    for words in
        READING.iter().chain(&[&["compact"][..], &["forget", "s", "t"], &["resolve", "s", "t", "--release"]])
    {
        let ran = place.run(words).ended(2);
        assert!(ran.err.contains("not a store of ours"), "{ran:?}");
        assert_eq!(place.files().len(), 1);
    }
    let nowhere = place.run(&["list", "--store", "/nowhere/at/all"]).ended(2);
    assert!(nowhere.err.contains("/nowhere/at/all"), "{nowhere:?}");
}
