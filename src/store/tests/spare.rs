//! Goal: the next segment's space is made before it is needed, and a spare harms nothing: not a rotation that comes
//! before it is ready, not a kill, not a disk without space for it. Method: a store of small segments, swept by hand, on
//! a real directory and on a disk that fails.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::{Answer, Known, Store};
use super::script::{key, parameters};
use crate::digest::Parameters;
use crate::options::Builder;
use crate::outcome::Outcome;

const KIBIBYTE: usize = 1 << 10;
const NEXT: &str = "segment-0000000002.new";

fn settings() -> Builder {
    Store::builder().background_sweep(false).segment_bytes_max(1 << 20)
}

/// Completes a key with so many bytes.
fn complete(store: &Store, number: u8, bytes: usize) {
    let Answer::Fresh(held) = store.begin(&key(number), &parameters(number)).unwrap() else {
        panic!("fresh")
    };
    held.complete(Outcome::new(vec![number; bytes])).unwrap();
}

fn assert_kept(store: &Store, number: u8, bytes: usize) {
    let Known::Finished(replay) = store.get(&key(number)).unwrap() else { panic!("kept") };
    assert_eq!(replay.outcome().body(), vec![number; bytes]);
}

fn there(path: &Path, name: &str) -> bool {
    path.join(name).exists()
}

/// Bytes of all segments there, and of a spare.
fn bytes_in(path: &Path) -> u64 {
    let files = fs::read_dir(path).unwrap().map(Result::unwrap);
    let segments = files.filter(|own| own.file_name().to_string_lossy().starts_with("segment-"));
    segments.map(|own| own.metadata().unwrap().len()).sum()
}

#[test]
fn a_spare_is_made_in_time_taken_by_the_rotation_and_given_back_at_the_close() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("store");
    let store = settings().open(&path).unwrap();
    complete(&store, 0, 50 * KIBIBYTE);
    store.sweep().unwrap();
    assert!(!there(&path, NEXT) && !store.shared().ledger().unwrap().wants_spare(), "its end is far");
    (1..5).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    store.sweep().unwrap();
    let bytes = fs::metadata(path.join(NEXT)).unwrap().len();
    assert!(bytes > 1 << 20 && bytes % (1 << 20) == 4096, "pieces of 1 MiB, and our page: {bytes}");
    let (stats, bytes) = (store.stats(), bytes_in(&path));
    assert_eq!((stats.segments, stats.file_bytes), (1, bytes), "the spare's bytes are the store's, too");
    assert!(stats.bytes_written > 450 << 10 && stats.zeros_written > 1 << 20);
    let zeros = stats.zeros_written;
    (5..10).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    assert_eq!(store.stats().segments, 2);
    assert!(!there(&path, NEXT), "it was taken");
    assert_eq!(store.stats().zeros_written, zeros, "no zero was written for the second segment");
    store.sweep().unwrap();
    assert!(there(&path, "segment-0000000003.new"));
    store.clone().close(std::time::Duration::ZERO).unwrap();
    assert!(!there(&path, "segment-0000000003.new"), "closing gives its space back");
    let store = settings().open(&path).unwrap();
    assert_kept(&store, 0, 50 * KIBIBYTE);
    (1..10).for_each(|number| assert_kept(&store, number, 100 * KIBIBYTE));
}

#[test]
fn a_spare_that_a_kill_left_behind_is_removed_and_one_in_the_way_is_no_segment_5_7() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("store");
    let store = settings().open(&path).unwrap();
    // More than a quarter of a segment, so that a spare is wanted, and less than the half, so that nobody rotates.
    complete(&store, 0, 200 * KIBIBYTE);
    fs::write(path.join(NEXT), "half a spare").unwrap();
    drop(store);
    let store = settings().open(&path).unwrap();
    assert!(!there(&path, NEXT));
    fs::write(path.join(NEXT), "in the way").unwrap();
    store.sweep().unwrap();
    // It could not be made; the rotation makes its own file and is not stopped by what is in the way.
    (1..8).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    assert!(store.stats().segments > 1);
    assert_kept(&store, 0, 200 * KIBIBYTE);
    assert_kept(&store, 7, 100 * KIBIBYTE);
}

#[test]
fn a_spare_that_is_given_up_in_the_making_leaves_nothing_behind_and_is_not_missed() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("store");
    let store = settings().open(&path).unwrap();
    (0..3).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    assert!(store.shared().ledger().unwrap().wants_spare());
    store.shared().ledger().unwrap().make_spare(&|| false);
    assert!(!there(&path, NEXT));
    store.sweep().unwrap();
    assert!(!there(&path, NEXT), "none is made for this segment any more");
    (3..10).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    assert_eq!(store.stats().segments, 2);
    drop(store);
    let store = settings().open(&path).unwrap();
    (0..10).for_each(|number| assert_kept(&store, number, 100 * KIBIBYTE));
}

#[test]
fn a_spare_in_the_making_is_given_up_where_a_rotation_takes_its_name() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("store");
    let store = settings().open(&path).unwrap();
    (0..5).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
    let (ledger, rotated) = (store.shared().ledger().unwrap(), Cell::new(false));
    ledger.make_spare(&|| {
        if !rotated.replace(true) {
            (5..10).for_each(|number| complete(&store, number, 100 * KIBIBYTE));
        }
        true
    });
    assert!(rotated.get());
    assert_eq!(store.stats().segments, 2);
    assert_eq!(store.stats().file_bytes, bytes_in(&path), "no spare is counted");
    drop((store, ledger));
    let store = settings().open(&path).unwrap();
    (0..10).for_each(|number| assert_kept(&store, number, 100 * KIBIBYTE));
}

#[test]
fn rotations_and_spares_in_the_making_leave_each_other_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let store = settings().open(temporary.path().join("store")).unwrap();
    let (sweeping, ended) = (store.clone(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&ended);
    let sweeper = thread::spawn(move || {
        while !told.load(Ordering::Acquire) {
            sweeping.shared().ledger().unwrap().make_spare(&|| true);
        }
    });
    for number in 0..400_u64 {
        let (key, asked) = (store.key("a", number.to_string()).unwrap(), Parameters::none());
        let Answer::Fresh(held) = store.begin(&key, &asked).unwrap() else { panic!("fresh") };
        held.complete(Outcome::new(vec![7; 60 * KIBIBYTE])).unwrap();
    }
    ended.store(true, Ordering::Release);
    sweeper.join().unwrap();
    assert!(store.stats().segments > 10);
}
