//! Goal: `verify` finds damage anywhere in a store, says where, and ends with 1 (5.9); what is sound passes. Method: bytes of
//! closed and killed stores are changed, and segments removed.

use std::fs;
use std::path::PathBuf;

use crate::support::{CANARY, Place};
use serde_json::{Value, json};

fn segment(place: &Place, number: u64) -> PathBuf {
    place.store().join(format!("segment-{number:010}"))
}

/// Flips a byte of every place of the file that holds these bytes.
fn damage(path: &PathBuf, what: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let found: Vec<_> =
        bytes.windows(what.len()).enumerate().filter(|(_, own)| *own == what).map(|own| own.0).collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

fn damages(told: &Value) -> &Vec<Value> {
    told["damage"].as_array().unwrap()
}

#[test]
fn a_sound_store_passes_with_every_record_counted_5_9() {
    for (place, segments) in [(Place::closed(), 1), (Place::killed(), 2)] {
        let told = place.run(&["verify", "--json"]).json(0);
        assert_eq!((&told["damage"], &told["segments"]), (&json!([]), &json!(segments)), "{told}");
        assert!(told["sound_records"].as_u64().unwrap() >= 6);
        let words = place.run(&["verify"]).ended(0).out;
        assert!(words.ends_with("no damage\n"), "{words}");
    }
}

#[test]
fn a_damaged_record_of_a_sealed_segment_is_found_with_its_place_5_9() {
    let place = Place::killed();
    damage(&segment(&place, 1), CANARY.as_bytes());
    let told = place.run(&["verify", "--json"]).json(1);
    assert_eq!(damages(&told).len(), 1, "{told}");
    let found = &damages(&told)[0];
    assert_eq!(
        (&found["segment"], &found["what"]),
        (&json!(1), &json!("a record does not pass its checksum"))
    );
    assert!(found["block"].as_u64() > Some(0) && found["byte"].as_u64() > Some(0), "{found}");
    let words = place.run(&["verify"]).ended(1).out;
    assert!(words.contains("DAMAGE in 1 place") && !words.contains("canary"), "{words}");

    // Its key says so, and the rest is there.
    let ran = place.run(&["get", "account-1", "paid"]).ended(1);
    assert!(ran.err.contains("damaged bytes in segment 1"), "{ran:?}");
    let listed = place.run(&["list", "--state", "all", "--json"]).json(1);
    assert_eq!((&listed["damaged"], listed["keys"].as_array().unwrap().len()), (&json!(1), 5));
    let exported = place.run(&["export"]).ended(1);
    assert!(
        exported.err.contains("left out") && exported.out.ends_with("{\"exported_records\":5}\n"),
        "{exported:?}"
    );
}

#[test]
fn damage_of_the_segment_that_was_being_written_is_found_5_9() {
    let place = Place::killed();
    damage(&segment(&place, 2), CANARY.as_bytes());
    let told = place.run(&["verify", "--json"]).json(1);
    assert!(damages(&told).iter().all(|own| own["segment"] == 2) && !damages(&told).is_empty(), "{told}");
}

#[test]
fn every_byte_of_a_sealed_segment_that_says_something_is_checked_5_9() {
    let place = Place::killed();
    let path = segment(&place, 1);
    let sound = fs::read(&path).unwrap();
    // Magic of the two heads of each block that is in use; the fingerprints stand behind and before them.
    let heads: Vec<_> =
        sound.windows(4).enumerate().filter(|(_, own)| *own == b"oKb1").map(|own| own.0).collect();
    let mut found = 0;
    for head in heads {
        let mut bytes = sound.clone();
        bytes[head + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        // What lies in pages that redb has given back is no part of the store any more.
        let told = place.run(&["verify", "--json"]);
        found += usize::from(told.status == 1);
        assert!(told.status < 2, "{told:?}");
    }
    assert!(found >= 2, "{found}");
    for at in [20, 512 + 20] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let told = place.run(&["verify", "--json"]);
        assert!(told.status < 2, "one slot of the page is enough: {told:?}");
    }
}

#[test]
fn blocks_whose_fingerprints_read_in_neither_copy_are_found_5_9() {
    let place = Place::killed();
    // Both heads of every block.
    let path = segment(&place, 1);
    let mut bytes = fs::read(&path).unwrap();
    let heads: Vec<_> =
        bytes.windows(4).enumerate().filter(|(_, own)| *own == b"oKb1").map(|own| own.0).collect();
    for head in heads {
        bytes[head + 20] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let told = place.run(&["verify", "--json"]).json(1);
    let blind = |own: &&Value| own["what"].as_str().unwrap().starts_with("neither copy");
    assert!(damages(&told).iter().filter(blind).count() > 1, "{told}");
}

#[test]
fn a_missing_and_a_ruined_segment_are_found_and_the_rest_is_still_read_5_6() {
    let place = Place::killed();
    fs::write(segment(&place, 1), [7; 10_000]).unwrap();
    let told = place.run(&["verify", "--json"]).json(1);
    assert_eq!(damages(&told)[0]["segment"], 1, "{told}");
    assert_eq!(place.run(&["list", "--json"]).json(1)["keys"][0]["token"], "running");

    fs::remove_file(segment(&place, 1)).unwrap();
    let ran = place.run(&["verify"]).ended(1);
    assert!(ran.out.contains("segment 1 is missing"), "{ran:?}");

    fs::remove_file(segment(&place, 2)).unwrap();
    place.run(&["verify"]).ended(1);
}

#[test]
fn a_damaged_identity_is_said_5_6() {
    let place = Place::closed();
    let path = place.store().join("oncekey.identity");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = place.run(&["verify"]).ended(1);
    assert!(ran.err.contains("identity is damaged"), "{ran:?}");
}
