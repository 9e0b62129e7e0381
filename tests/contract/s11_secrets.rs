//! Section 11: rotation of the secret, and *wrong secret* told apart from *damaged* (with 2.5).
//!
//! Goal: a rotation loses no honest retry as long as the old secret is at hand, and says so where it is not. Method:
//! records made under one secret, asked under others, over reopenings and in place.

use oncekey::{Error, ErrorKind, Incomparable, Secret, Store};

use crate::support::files::{IDENTITY, read_all};
use crate::support::{
    Home, asked, asked_otherwise, assert_replays, close, in_every_home, key, plain, refusal, refused, run,
};

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32])
}

fn not_comparable(error: &Error, number: u16) {
    assert_eq!(error.kind(), &ErrorKind::CannotCompare(Incomparable::Secret { number }));
}

/// One record under each of two secrets, closed.
fn rotated() -> Home {
    let home = Home::directory();
    let store = home.open(plain().secret(secret(1)));
    run(&store, &key(1), "under the first");
    store.rotate_secret(&secret(2)).expect("rotated");
    run(&store, &key(2), "under the second");
    close(store);
    home
}

fn replays_both(store: &Store) {
    assert_replays(store, &key(1), "under the first");
    assert_replays(store, &key(2), "under the second");
    for number in [1, 2] {
        assert!(refused(store.begin(&key(number), &asked_otherwise())).is_mismatch());
    }
}

#[test]
fn after_a_rotation_records_of_before_and_after_are_compared_11() {
    in_every_home(|home| {
        let store = home.open(plain().secret(secret(1)));
        run(&store, &key(1), "under the first");
        store.rotate_secret(&secret(2)).expect("rotated");
        run(&store, &key(2), "under the second");
        replays_both(&store);
    });
}

#[test]
fn a_rotated_store_opens_with_the_new_secret_and_needs_the_old_one_to_compare_11() {
    let home = rotated();
    for _ in 0..2 {
        let store = home.open(plain().secret(secret(2)).old_secret(secret(1)));
        replays_both(&store);
        close(store);
    }
    let store = home.open(plain().secret(secret(2)));
    not_comparable(&refused(store.begin(&key(1), &asked())), 1);
    not_comparable(&refused(store.begin(&key(1), &asked_otherwise())), 1);
    assert_replays(&store, &key(2), "under the second");
    assert!(matches!(store.get(&key(1)), Ok(oncekey::Known::Finished(_))), "get compares nothing");
    assert!(store.forget(&key(1)).expect("forgotten"));
    run(&store, &key(1), "under the first");
    replays_both(&store);
}

#[test]
fn a_rotated_store_does_not_open_with_the_old_secret_alone_11() {
    let home = rotated();
    for builder in [plain().secret(secret(1)), plain(), plain().secret(secret(3)).old_secret(secret(2))] {
        assert_eq!(refusal(builder, &home.path()).kind(), &ErrorKind::WrongSecret);
    }
    replays_both(&home.open(plain().secret(secret(2)).old_secret(secret(9)).old_secret(secret(1))));
}

#[test]
fn a_store_with_a_secret_of_its_own_can_be_rotated_to_the_callers_11() {
    let home = Home::directory();
    let store = home.open(plain());
    assert!(!store.guarantees().callers_secret);
    run(&store, &key(1), "under the first");
    store.rotate_secret(&secret(2)).expect("rotated");
    run(&store, &key(2), "under the second");
    replays_both(&store);
    close(store);
    assert_eq!(refusal(plain(), &home.path()).kind(), &ErrorKind::WrongSecret);
    let store = home.open(plain().secret(secret(2)));
    assert!(store.guarantees().callers_secret);
    replays_both(&store);
}

#[test]
fn a_store_that_was_rotated_can_be_reopened_in_place_5_5() {
    in_every_home(|home| {
        for builder in [plain(), plain().secret(secret(1))] {
            let home = if home.is_memory() { Home::memory() } else { Home::directory() };
            let store = home.open(builder);
            run(&store, &key(1), "under the first");
            store.rotate_secret(&secret(2)).expect("rotated");
            run(&store, &key(2), "under the second");
            store.reopen().expect("opened in place");
            replays_both(&store);
            run(&store, &key(3), "after");
            store.rotate_secret(&secret(3)).expect("rotated again");
            store.reopen().expect("opened in place again");
            replays_both(&store);
            assert_replays(&store, &key(3), "after");
        }
    });
}

#[test]
fn a_wrong_secret_is_told_apart_from_damage_11() {
    let home = Home::directory();
    let store = home.open(plain().secret(secret(1)));
    run(&store, &key(1), "done");
    close(store);
    let files = read_all(&home.path());
    let wrong = refusal(plain().secret(secret(2)), &home.path());
    assert_eq!(wrong.kind(), &ErrorKind::WrongSecret);
    assert!(!wrong.is_damaged());
    assert_eq!(refusal(plain(), &home.path()).kind(), &ErrorKind::WrongSecret);
    assert!(files == read_all(&home.path()), "nothing was changed");

    let mut bytes = files[IDENTITY].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(home.path().join(IDENTITY), bytes).expect("written");
    let damaged = refusal(plain().secret(secret(1)), &home.path());
    assert_eq!(damaged.kind(), &ErrorKind::DamagedStore { file: "identity".into() });
    std::fs::write(home.path().join(IDENTITY), &files[IDENTITY]).expect("put back");
    assert_replays(&home.open(plain().secret(secret(1))), &key(1), "done");
}

#[test]
fn a_callers_secret_lies_in_no_file_2_5() {
    let home = rotated();
    for (name, bytes) in read_all(&home.path()) {
        for byte in [1, 2] {
            assert!(!bytes.windows(16).any(|window| window == [byte; 16]), "{name} holds secret {byte}");
        }
    }
}
