//! Goal: beside a running server the tool reads what is sealed, says that the newest records are not in view, changes
//! nothing, and refuses to write (5.6, 11); a copy is read as a store of its own. Method: a child holds the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Held, Place, begin, files};
use oncekey::{Outcome, Store};
use serde_json::json;

/// The files that their owner leaves alone: he makes room ahead in the one that he writes.
fn still(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = place.files();
    files.remove(Path::new("segment-0000000002")).unwrap();
    files
}

#[test]
fn beside_a_live_process_reading_sees_the_sealed_segments_and_says_so_11() {
    let place = Place::new();
    let held = Held::start(&place);
    let before = still(&place);
    for words in [&["inspect"][..], &["list"], &["verify"], &["export"], &["get", "account-1", "paid"]] {
        let ran = place.run(words).ended(0);
        assert!(ran.err.contains("another process has the store open"), "{ran:?}");
        assert!(ran.err.contains("newest records are not in view"), "{ran:?}");
    }
    let inspected = place.run(&["inspect", "--json"]).json(0);
    assert_eq!((&inspected["newest_records_in_view"], &inspected["records"]), (&json!(false), &json!(4)));
    assert_eq!(place.run(&["verify", "--json"]).json(0)["newest_records_in_view"], false);
    let newest = place.run(&["get", "account-1", "newest", "--json"]).json(1);
    assert_eq!((&newest["state"], &newest["newest_records_in_view"]), (&json!("absent"), &json!(false)));
    let listed = place.run(&["list", "--state", "all", "--json"]).json(0);
    assert_eq!(
        (&listed["newest_records_in_view"], listed["keys"].as_array().unwrap().len()),
        (&json!(false), 4)
    );
    assert!(before == still(&place));

    // Killed, all of it is in view.
    held.kill();
    assert_eq!(place.run(&["get", "account-1", "newest", "--json"]).json(0)["newest_records_in_view"], true);
}

#[test]
fn segments_that_wait_to_be_sealed_are_in_view_and_what_nobody_else_holds_can_be_looked_at_so_11() {
    let place = Place::new();
    let builder = Store::builder().segment_bytes_max(1 << 20).background_sweep(false);
    let store = builder.open(place.store()).unwrap();
    for number in 0..40 {
        let outcome = Outcome::new(vec![b'x'; 100_000]);
        begin(&store, "account-1", &number.to_string()).complete(outcome).unwrap();
    }
    assert!(store.stats().segments > 2);
    let seen = |words: &[&str]| {
        let told = place.run(&[&["inspect", "--json"], words].concat()).json(0);
        assert_eq!(place.run(&[&["verify", "--json"], words].concat()).json(0)["damage"], json!([]));
        let sealed = told["segments"].as_array().unwrap().iter().filter(|own| own["sealed"] == true).count();
        (told["records"].as_u64().unwrap(), sealed, told["newest_records_in_view"] == true)
    };
    let (beside, sealed, whole) = seen(&[]);
    assert!((20..40).contains(&beside) && sealed == 0 && !whole, "{beside} {sealed}");
    store.sweep().unwrap();
    let (swept, sealed, _) = seen(&[]);
    assert!(swept == beside && sealed > 1, "{swept} {sealed}");
    store.close(Duration::ZERO).unwrap();
    assert_eq!(seen(&["--sealed"]), (beside, sealed, false));
    assert_eq!(seen(&[]), (40, sealed, true));
}

#[test]
fn beside_a_live_process_nothing_is_changed_and_nothing_is_copied_5_6() {
    let place = Place::new();
    let _held = Held::start(&place);
    let before = still(&place);
    let copy = place.path("copy").display().to_string();
    for words in [
        &["resolve", "account-1", "running", "--release"][..],
        &["forget", "account-1", "paid"],
        &["forget", "account-1", "--all"],
        &["compact"],
        &["backup", &copy],
    ] {
        let ran = place.run(words).ended(2);
        assert!(ran.err.contains("the store is open elsewhere"), "{ran:?}");
        let told = place.run(&[words, &["--json"]].concat()).ended(2).err;
        assert!(told.lines().last().unwrap().starts_with("{\"error\":\"the store is open"), "{told}");
        assert!(before == still(&place), "{words:?}");
        assert!(!place.path("copy").exists());
    }
}

#[test]
fn a_copy_of_a_killed_stores_files_is_read_in_full_though_the_original_lives() {
    let place = Place::new();
    let held = Held::start(&place);
    let copy = Place::new();
    std::fs::create_dir(copy.store()).unwrap();
    for (name, bytes) in place.files() {
        std::fs::write(copy.store().join(name), bytes).unwrap();
    }
    let told = copy.run(&["list", "--json"]).json(0);
    assert_eq!(
        (&told["newest_records_in_view"], &told["keys"][0]["token"]),
        (&json!(true), &json!("running"))
    );
    held.kill();
}

#[test]
fn backup_copies_a_closed_store_as_it_is_and_the_copy_is_a_store() {
    let place = Place::killed();
    let (before, copy) = (place.files(), place.path("copy"));
    let told = place.run(&["backup", copy.to_str().unwrap(), "--json"]).json(0);
    assert!(place.files() == before);
    let copied = files(&copy);
    for (name, bytes) in before.iter().filter(|(name, _)| !name.ends_with("oncekey.lock")) {
        assert!(copied.get(name) == Some(bytes), "{}", name.display());
    }
    let segments = before.iter().filter(|(name, _)| name.display().to_string().starts_with("segment-"));
    assert_eq!(told["copied_bytes"], segments.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert_eq!(
        place.run(&["verify", "--store", copy.to_str().unwrap(), "--json"]).json(0)["damage"],
        json!([])
    );
    let store = Store::open(&copy).unwrap();
    assert_eq!(store.stats().kept_records, 6);
    store.close(Duration::ZERO).unwrap();

    let again = place.run(&["backup", copy.to_str().unwrap()]).ended(2);
    assert!(again.err.contains("not empty"), "{again:?}");
}

#[test]
fn two_readers_share_a_closed_store_and_a_server_that_starts_meanwhile_waits_its_turn() {
    let place = Place::closed();
    let lock = std::fs::File::open(place.store().join("oncekey.lock")).unwrap();
    lock.lock_shared().unwrap();
    assert_eq!(place.run(&["inspect", "--json"]).json(0)["newest_records_in_view"], true);
    assert!(Store::open(place.store()).is_err());
    assert_eq!(place.run(&["inspect", "--sealed", "--json"]).json(0)["newest_records_in_view"], false);
    drop(lock);
    assert!(Store::open(place.store()).is_ok());
}
