//! Goal: an encrypted store is read and changed with its key, and refused clearly without (11, feature `encryption`). Method:
//! keys in files, as bytes and as digits, right, wrong, missing, and from before a rotation.

use std::fs;
use std::time::Duration;

use crate::support::{CANARY, Place, begin, fill};
use oncekey::{EncryptionKey, Outcome, Store};
use serde_json::json;

const KEY: [u8; 32] = [0x1f; 32];

fn encrypted() -> (Place, String) {
    let place = Place::new();
    let store = Store::builder().encryption_key(EncryptionKey::new(KEY)).open(place.store()).unwrap();
    fill(&store);
    store.close(Duration::ZERO).unwrap();
    let file = place.path("key");
    fs::write(&file, KEY).unwrap();
    (place, file.display().to_string())
}

#[test]
fn an_encrypted_store_is_refused_without_its_key_and_with_a_wrong_one_11() {
    let (place, file) = encrypted();
    let before = place.files();
    for words in
        [&["inspect"][..], &["verify"], &["list"], &["export"], &["compact"], &["get", "account-1", "paid"]]
    {
        let ran = place.run(words).ended(2);
        assert!(ran.err.contains("encrypted; give its key (--encryption-key-file)"), "{ran:?}");
    }
    fs::write(&file, [2; 32]).unwrap();
    let ran = place.run(&["verify", "--encryption-key-file", &file]).ended(2);
    assert!(ran.err.contains("no key that was given is the one of segment 1"), "{ran:?}");
    fs::write(&file, "none").unwrap();
    let ran = place.run(&["verify", "--encryption-key-file", &file]).ended(2);
    assert!(ran.err.contains("it has 4 bytes, and should have 32, or 64 hexadecimal digits"), "{ran:?}");
    assert!(before == place.files());
}

#[test]
fn with_its_key_it_is_read_and_changed_and_stays_encrypted_11() {
    let (place, file) = encrypted();
    let key = ["--encryption-key-file", &file];
    let run = |words: &[&str]| place.run(&[words, &key].concat());
    assert_eq!(run(&["verify", "--json"]).json(0)["damage"], json!([]));
    let inspected = run(&["inspect", "--json"]).json(0);
    assert_eq!((&inspected["records"], &inspected["segments"][0]["encrypted"]), (&json!(4), &json!(true)));
    let paid = run(&["get", "account-1", "paid", "--show-outcome", "--json"]).json(0);
    assert_eq!(paid["body"], CANARY);
    fs::write(&file, "1f".repeat(32)).unwrap();
    run(&["forget", "account-1", "paid"]).ended(0);
    run(&["compact"]).ended(0);
    assert_eq!(run(&["list", "--state", "all", "--json"]).json(0)["keys"].as_array().unwrap().len(), 3);
    let all: Vec<u8> = place.files().into_values().flatten().collect();
    assert!(!all.windows(6).any(|own| own == b"canary"));
}

#[test]
fn after_a_rotation_it_takes_both_keys_the_current_one_first_11() {
    let (place, old) = encrypted();
    let (new, current) = ([3; 32], place.path("new").display().to_string());
    fs::write(&current, new).unwrap();
    let builder =
        Store::builder().encryption_key(EncryptionKey::new(new)).old_encryption_key(EncryptionKey::new(KEY));
    let store = builder.open(place.store()).unwrap();
    begin(&store, "account-3", "paid").complete(Outcome::new(CANARY)).unwrap();
    store.close(Duration::ZERO).unwrap();
    place.run(&["verify", "--encryption-key-file", &current]).ended(2);
    let both = ["--encryption-key-file", &current, "--encryption-key-file", &old];
    for words in [&["verify"][..], &["get", "account-3", "paid"], &["get", "account-1", "paid"], &["compact"]]
    {
        place.run(&[words, &both].concat()).ended(0);
    }
}
