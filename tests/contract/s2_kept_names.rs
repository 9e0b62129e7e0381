//! Section 2, mismatches that tell which parameters differ (2.6): what is kept for it, where, and for how long.
//!
//! Goal: no name is kept unasked, no value ever, and a record goes on explaining over whatever becomes of its file. Method:
//! the bytes of the files, and reopenings, rotation, packing and backups.

use std::collections::BTreeSet;

use oncekey::{ErrorKind, Incomparable, OnInterrupted, Outcome, Parameters, Secret};

use crate::every::s2_mismatches::{assert_explained, assert_unexplained, explaining, finish, first, other};
use crate::support::files::{find_all, make, read_all};
use crate::support::{
    Home, close, fresh, in_every_home, kept, key, plain, refused, replay, secs, with_clock,
};

#[test]
fn without_the_setting_nothing_is_kept_and_records_that_have_it_go_on_explaining_2_6() {
    let home = Home::directory();
    let store = home.open(plain());
    finish(&store, 0, &first());
    assert_unexplained(&store, 0, &other());
    let held = fresh(store.begin(&key(1), &first()));
    assert_unexplained(&store, 1, &other());
    drop(held);
    close(store);
    let names = |home: &Home| {
        read_all(&home.path()).values().map(|bytes| find_all(bytes, b"MinSize").len()).sum::<usize>()
    };
    assert_eq!(names(&home), 0, "no name in any file");

    let store = home.open(explaining());
    assert_unexplained(&store, 0, &other());
    finish(&store, 1, &first());
    assert_explained(&store, 1);
    close(store);
    assert!(names(&home) > 0, "and now there is");

    let store = home.open(plain());
    assert_unexplained(&store, 0, &other());
    assert_explained(&store, 1);
    finish(&store, 2, &first());
    assert_unexplained(&store, 2, &other());
    close(store);
}

#[test]
fn a_record_is_explained_under_the_secret_that_it_was_made_with_2_6() {
    let home = Home::directory();
    let (old, new) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let store = home.open(explaining().secret(old.clone()));
    finish(&store, 0, &first());
    let across = fresh(store.begin(&key(1), &first()));
    store.rotate_secret(&new).expect("rotated");
    assert_explained(&store, 0);
    assert_explained(&store, 1);
    kept(across.complete(Outcome::new("done")));
    assert_explained(&store, 1);
    close(store);

    let store = home.open(explaining().secret(new.clone()).old_secret(old));
    assert_explained(&store, 0);
    assert_explained(&store, 1);
    close(store);
    let store = home.open(explaining().secret(new));
    let why = ErrorKind::CannotCompare(Incomparable::Secret { number: 1 });
    let error = refused(store.begin(&key(0), &other()));
    assert_eq!((error.kind(), error.difference()), (&why, None));
    assert_explained(&store, 1);
    close(store);
}

#[test]
fn a_record_goes_on_explaining_after_reopening_packing_and_in_a_backup_2_6() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let store = home.open(builder.clone().explain_mismatches(true).segment_age_max(secs(1)));
    for number in 0..20 {
        let parameters = first();
        let own = key(number);
        let request = store.request(&own, &parameters).retention(secs(if number == 0 { 10_000 } else { 1 }));
        kept(fresh(request.begin()).complete(Outcome::new("done")));
        clock.advance(secs(2));
    }
    store.sweep().expect("swept");
    assert_explained(&store, 0);
    store.backup(home.beside("backup")).expect("backed up");
    close(store);
    for path in [home.path(), home.beside("backup")] {
        let store = builder.clone().open(path).expect("opens");
        assert_explained(&store, 0);
        close(store);
    }
}

#[test]
fn an_interrupted_key_a_resolved_and_a_resumed_one_explain_themselves_2_6() {
    let home = Home::directory();
    let store = home.open(explaining());
    let mut held = Vec::new();
    for number in 0..3 {
        held.push(fresh(store.request(&key(number), &first()).start_durably().begin()));
        assert_explained(&store, number);
    }
    held[1].checkpoint(b"half").expect("noted");
    assert_explained(&store, 1);
    // The process is killed: a copy of its files is what is left.
    make(&home.beside("copy"), &read_all(&home.path()));

    for policy in [OnInterrupted::Resume, OnInterrupted::Refuse] {
        let copy = Home::directory();
        make(&copy.path(), &read_all(&home.beside("copy")));
        let store = copy.open(plain().on_interrupted(policy));
        for number in 0..3 {
            assert_explained(&store, number);
        }
        store.resolve(&key(0), Outcome::new("resolved")).expect("resolved");
        assert_explained(&store, 0);
        close(store);
        let store = copy.open(plain());
        assert_explained(&store, 0);
        let resumed = fresh(store.begin(&key(1), &first()));
        assert_eq!(resumed.last_checkpoint().expect("noted").bytes(), b"half");
        assert_unexplained(&store, 1, &other());
        kept(resumed.complete(Outcome::new("done")));
        assert_unexplained(&store, 1, &other());
        assert_explained(&store, 2);
        close(store);
    }
    drop(held);
}

#[test]
fn what_is_kept_counts_for_no_limit_and_its_disk_room_is_set_aside_2_6() {
    in_every_home(|home| {
        let store =
            home.open(explaining().kept_bytes_max(200).declared_outcome_bytes(100).outcome_bytes_max(100));
        let names: Vec<_> = (0..64).map(|at| (format!("{at:064}"), "1")).collect();
        let parameters = Parameters::pairs(names);
        let held = fresh(store.begin(&key(0), &parameters));
        kept(held.complete(Outcome::new("x".repeat(100))));
        let weight = "account-1".len() + "token-0".len() + 100;
        assert_eq!(store.stats().kept_bytes, weight as u64);
        assert_eq!(replay(store.begin(&key(0), &parameters)).outcome().body().len(), 100);
    });
}

#[test]
fn the_same_value_under_two_keys_looks_unrelated_and_no_value_is_kept_2_6() {
    let home = Home::directory();
    let store = home.open(explaining());
    for number in 0..2 {
        finish(&store, number, &Parameters::pairs([("Amount-in-cents", "value-4711")]));
    }
    close(store);
    let mut kept = BTreeSet::new();
    for bytes in read_all(&home.path()).values() {
        assert!(find_all(bytes, b"value-4711").is_empty());
        // A digest of 8 bytes and the name's length stand before the name.
        kept.extend(find_all(bytes, b"Amount-in-cents").into_iter().map(|at| bytes[at - 9..at - 1].to_vec()));
    }
    assert_eq!(kept.len(), 2, "one for each key");
}
