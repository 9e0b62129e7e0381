//! Goal: what `export` writes and `import` reads are the same records: outcomes byte for byte, digests that retries are
//! compared with, attempts, checkpoints, times (2.5, 3.3, 3.4). Method: a killed store goes through both into another
//! one, which the library opens and asks; and exports that are cut, changed, or lack their secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::{CANARY, NOTE, Place, Ran, begin, fill, parameters};
use oncekey::{Answer, Key, Outcome, Parameters, Secret, Store};
use serde_json::{Value, json};

fn key(scope: &str, token: &str) -> Key {
    Key::new(scope, token).unwrap()
}

/// The records of an export, without the numbers that a store gives to secrets and rules.
fn records(export: &str) -> Vec<Value> {
    let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut records: Vec<Value> = lines.filter(|own| own.get("token").is_some()).collect();
    for own in &mut records {
        let own = own.as_object_mut().unwrap();
        assert!(own.remove("secret").is_some() && own.remove("rules").is_some());
    }
    records
}

fn import(place: &Place, export: &str, words: &[&str]) -> Ran {
    place.run_with(&[&["import", "-", "--json"], words].concat(), export.as_bytes())
}

#[test]
fn all_records_go_through_export_and_import_byte_for_byte_3_3_3_4() {
    let place = Place::killed();
    let file = place.path("export");
    let told = place.run(&["export", "--with-secret", "--output", file.to_str().unwrap(), "--json"]).json(0);
    assert_eq!((&told["exported_records"], &told["newest_records_in_view"]), (&json!(6), &json!(true)));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let other = Place::new();
    let told = other.run(&["import", file.to_str().unwrap(), "--json"]).json(0);
    assert_eq!((&told["written_records"], &told["complete"]), (&json!(6), &json!(true)));
    let again = other.run(&["export"]).ended(0).out;
    assert_eq!(records(&again), records(&fs::read_to_string(&file).unwrap()));
    assert_eq!(other.run(&["verify", "--json"]).json(0)["damage"], json!([]));

    let store = Store::open(other.store()).unwrap();
    let Answer::Replay(paid) = store.begin(&key("account-1", "paid"), &parameters()).unwrap() else {
        panic!("kept")
    };
    let first = Outcome::http(201, CANARY).with_metadata("Content-Type", "canary/plain");
    assert_eq!((paid.outcome(), paid.attempts()), (&first, 1));
    let Answer::Replay(bytes) = store.begin(&key("account-2", "paid"), &parameters()).unwrap() else {
        panic!("kept")
    };
    assert_eq!(bytes.outcome().body(), b"\xff\0 no text");
    let Answer::Replay(large) = store.begin(&key("account-1", "large"), &parameters()).unwrap() else {
        panic!("kept")
    };
    assert_eq!(
        large.omitted().map(|own| (own.bytes, own.digest)),
        Some((3000, *blake3::hash(&[7; 3000]).as_bytes()))
    );
    for token in ["paid", "running"] {
        let other = store.begin(&key("account-1", token), &Parameters::query("Action=Pay&Amount=8"));
        assert!(other.unwrap_err().is_mismatch(), "{token}");
    }
    let Answer::Fresh(resumed) = store.begin(&key("account-1", "running"), &parameters()).unwrap() else {
        panic!("interrupted")
    };
    assert_eq!(
        (resumed.attempt(), resumed.last_checkpoint().unwrap().bytes().to_vec()),
        (2, NOTE.as_bytes().to_vec())
    );
    assert_eq!(begin(&store, "account-2", "released").attempt(), 2);
    resumed.complete(Outcome::new("at last")).unwrap();
}

#[test]
fn what_was_imported_is_there_after_the_store_was_killed_and_opened_again_5_1() {
    let place = Place::killed();
    let export = place.run(&["export", "--with-secret"]).ended(0).out;
    let other = Place::new();
    import(&other, &export, &[]).json(0);
    for _ in 0..2 {
        let store = Store::open(other.store()).unwrap();
        assert_eq!((store.stats().kept_records, store.stats().interrupted), (6, 1));
        store.close(Duration::ZERO).unwrap();
    }
}

#[test]
fn without_its_secret_an_export_is_taken_in_by_its_own_store_alone_2_5() {
    let place = Place::closed();
    let export = place.run(&["export"]).ended(0).out;
    assert!(!export.lines().next().unwrap().contains("\"secret\":\""), "{export}");
    let other = Place::new();
    let ran = import(&other, &export, &[]).ended(2);
    assert!(ran.err.contains("line 2: its digest was made under a secret that is not at hand"), "{ran:?}");
    assert!(!ran.err.contains("canary"), "{ran:?}");

    place.run(&["forget", "account-1", "--all"]).ended(0);
    let told = import(&place, &export, &[]).json(0);
    assert_eq!((&told["written_records"], &told["known_records"]), (&json!(2), &json!(2)));
    let store = Store::open(place.store()).unwrap();
    assert!(matches!(store.begin(&key("account-1", "paid"), &parameters()).unwrap(), Answer::Replay(_)));
}

#[test]
fn under_a_callers_secret_an_export_needs_that_one_and_never_holds_it_2_5() {
    let (place, other) = (Place::new(), Place::new());
    let (secret, file) = ([0xab; 32], place.path("secret"));
    fs::write(&file, "ab".repeat(32) + "\n").unwrap();
    let store = Store::builder().secret(Secret::new(secret)).open(place.store()).unwrap();
    fill(&store);
    drop(store);
    let export = place.run(&["export", "--with-secret"]).ended(0).out;
    assert!(!export.contains(&"ab".repeat(32)));
    import(&other, &export, &[]).ended(2);
    let given = ["--secret-file", file.to_str().unwrap()];
    // The store was made a moment ago, with a secret of its own.
    assert!(import(&other, &export, &given).ended(2).err.contains("wrong secret"));
    fs::remove_dir_all(other.store()).unwrap();
    import(&other, &export, &given).json(0);
    let store = Store::builder().secret(Secret::new(secret)).open(other.store()).unwrap();
    assert!(matches!(store.begin(&key("account-1", "paid"), &parameters()).unwrap(), Answer::Replay(_)));
    drop(store);

    // To change such a store takes its secret, too.
    assert!(other.run(&["compact"]).ended(2).err.contains("--secret-file"));
    other.run(&["compact", "--secret-file", file.to_str().unwrap()]).ended(0);
    fs::write(&file, "short").unwrap();
    assert!(
        other
            .run(&["compact", "--secret-file", file.to_str().unwrap()])
            .ended(2)
            .err
            .contains("it has 5 bytes")
    );
}

#[test]
fn records_that_are_known_stay_unless_they_are_to_be_replaced() {
    let place = Place::closed();
    let export = place.run(&["export", "--with-secret"]).ended(0).out;
    let other = Place::new();
    let store = Store::open(other.store()).unwrap();
    begin(&store, "account-1", "paid").complete(Outcome::new("here before")).unwrap();
    drop(store);
    assert_eq!(import(&other, &export, &[]).json(0)["known_records"], 1);
    let shown =
        || other.run(&["get", "account-1", "paid", "--show-outcome", "--json"]).json(0)["body"].clone();
    assert_eq!(shown(), "here before");
    assert_eq!(import(&other, &export, &["--replace"]).json(0)["written_records"], 4);
    assert_eq!(shown(), CANARY);
    let store = Store::open(other.store()).unwrap();
    assert_eq!(store.stats().kept_records, 4);
}

#[test]
fn explanations_of_mismatches_go_with_their_records_2_6() {
    let (place, other) = (Place::new(), Place::new());
    let builder = || Store::builder().explain_mismatches(true);
    let store = builder().open(place.store()).unwrap();
    fill(&store);
    drop(store);
    import(&other, &place.run(&["export", "--with-secret"]).ended(0).out, &[]).json(0);
    let store = builder().open(other.store()).unwrap();
    let error =
        store.begin(&key("account-1", "paid"), &Parameters::query("Action=Pay&Amount=9")).unwrap_err();
    assert!(error.difference().unwrap().changed().eq(["Amount"]));
}

#[test]
fn an_export_that_was_cut_or_changed_is_noticed_by_the_number_of_its_line_10_2_10_4() {
    let place = Place::closed();
    let export = place.run(&["export", "--with-secret"]).ended(0).out;
    let lines: Vec<&str> = export.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let told = import(&Place::new(), &cut, &[]).json(1);
    assert_eq!((&told["complete"], &told["written_records"]), (&json!(false), &json!(4)));

    let wrong = |at: usize, from: &str, to: &str| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert!(lines[at].contains(from), "{from}");
        lines[at] = lines[at].replace(from, to);
        let ran = import(&Place::new(), &lines.join("\n"), &[]).ended(2);
        assert!(ran.err.contains(&format!("line {}", at + 1)) && !ran.err.contains("canary"), "{ran:?}");
    };
    wrong(0, "\"oncekey_export\":1", "\"oncekey_export\":2");
    wrong(1, "\"state\":\"finished\"", "\"state\":\"canary\"");
    wrong(1, "\"attempts\":1", "\"attempts\":\"canary\"");
    wrong(1, "\"token\":\"paid\"", "\"token\":\"\"");
    wrong(1, "\"digest\":\"", "\"digest\":\"canary");
    wrong(1, "\"secret\":1", "\"secret\":9");
    wrong(1, "\"rules\":0", "\"rules\":9");
    wrong(1, "\"body\":", "\"canary\":");
    wrong(3, "\"body_base64\":\"", "\"body_base64\":\"?");
    wrong(2, "{", "canary");
    for nothing in ["", "canary", "{}"] {
        let ran = import(&Place::new(), nothing, &[]).ended(2);
        assert!(ran.err.contains("line 1: it is not the head of an export"), "{ran:?}");
    }
}

#[test]
fn an_export_never_overwrites_a_file_and_can_be_of_one_scope() {
    let place = Place::closed();
    let file = place.path("export");
    fs::write(&file, "precious").unwrap();
    place.run(&["export", "--output", file.to_str().unwrap()]).ended(2);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let export = place.run(&["export", "--scope", "account-2"]).ended(0).out;
    assert_eq!(records(&export).len(), 2);
}
