//! Section 11, the feature `encryption`: what records say is unreadable without the caller's key, and after they are gone
//! also with it.
//!
//! Goal: whoever gets the files gets no outcome, no checkpoint and no parameter name. Method: one canary word in all of
//! them, looked for in every byte of every file, beside a store that is not encrypted, where it is found; keys that
//! are missing, wrong, replaced; and hard links, which keep what a sweep removes.

use std::fs;
use std::path::Path;

use oncekey::{Answer, Archive, Builder, EncryptionKey, Error, ErrorKind, Known, Outcome, Store};

use crate::support::files::{find_all, read_all, segments};
use crate::support::{
    Home, asked, assert_free, assert_replays, close, crash, fresh, in_every_home, kept, key, plain, refusal,
    run, secs, started, with_clock,
};

const CANARY: &str = "canary";

fn own(byte: u8) -> EncryptionKey {
    EncryptionKey::new([byte; 32])
}

/// A store that keeps the canary in all that it takes from a caller beside scope and token.
fn keep_canaries(store: &Store) {
    let parameters = oncekey::Parameters::pairs([("canary", "1")]);
    let held = fresh(store.begin(&key(0), &parameters));
    kept(held.complete(Outcome::http(201, CANARY).with_metadata("canary", CANARY)));
    let held = fresh(store.request(&key(1), &parameters).start_durably().begin());
    held.checkpoint(CANARY.as_bytes()).expect("written");
    drop(held);
}

fn canaries(dir: &Path) -> usize {
    read_all(dir).values().map(|bytes| find_all(bytes, CANARY.as_bytes()).len()).sum()
}

#[track_caller]
fn locked(result: Result<impl std::fmt::Debug, Error>) -> ErrorKind {
    result.expect_err("it is refused").kind().clone()
}

#[test]
fn no_file_holds_an_outcome_a_checkpoint_or_a_parameters_name_11() {
    let found = |builder: Builder| {
        let home = Home::directory();
        let store = home.open(builder.explain_mismatches(true).segment_bytes_max(1 << 20));
        keep_canaries(&store);
        store.backup(home.beside("backup")).expect("backed up");
        store.sweep().expect("sealed");
        close(store);
        [canaries(&home.path()), canaries(&home.beside("backup"))]
    };
    assert!(found(plain()).into_iter().all(|count| count >= 5), "without a key they are found");
    assert_eq!(found(plain().encryption_key(own(1))), [0, 0]);
}

#[test]
fn an_encrypted_store_answers_as_any_other_and_so_after_a_crash_11() {
    in_every_home(|home| {
        let builder = || plain().encryption_key(own(1)).explain_mismatches(true);
        let store = home.open(builder());
        assert!(store.guarantees().encrypted);
        run(&store, &key(0), &"long".repeat(50_000));
        kept(fresh(store.begin(&key(1), &asked())).complete(Outcome::http(201, "").with_metadata("a", "b")));
        let held = started(&store, &key(2));
        held.checkpoint(b"half").expect("written");
        let check = |store: &Store| {
            assert_replays(store, &key(0), &"long".repeat(50_000));
            let Answer::Replay(replay) = store.begin(&key(1), &asked()).expect("an answer") else {
                panic!("kept")
            };
            assert_eq!(replay.outcome().metadata(), [("a".to_owned(), "b".to_owned())]);
            let other = oncekey::Parameters::pairs([("Action", "CreateGroup"), ("Other", "1")]);
            let error = store.begin(&key(0), &other).expect_err("a mismatch");
            assert!(error.difference().expect("explained").added().eq(["Other"]));
        };
        check(&store);
        if home.is_memory() {
            return;
        }
        let store = crash(home, store, held, builder());
        check(&store);
        let resumed = fresh(store.begin(&key(2), &asked()));
        assert_eq!(resumed.last_checkpoint().map(oncekey::Checkpoint::bytes), Some(&b"half"[..]));
        drop(resumed);
        close(store);
        check(&home.open(builder()));
    });
}

#[test]
fn without_its_key_or_with_another_a_store_is_refused_unchanged_11() {
    let home = Home::directory();
    let store = home.open(plain().encryption_key(own(1)));
    run(&store, &key(0), "done");
    close(store);
    let before = read_all(&home.path());
    assert_eq!(refusal(plain(), &home.path()).kind(), &ErrorKind::Encrypted { segment: 1 });
    for builder in [plain().encryption_key(own(2)), plain().old_encryption_key(own(2))] {
        assert_eq!(refusal(builder, &home.path()).kind(), &ErrorKind::WrongEncryptionKey { segment: 1 });
    }
    assert_eq!(read_all(&home.path()), before);
    assert_replays(&home.open(plain().encryption_key(own(1))), &key(0), "done");
}

#[test]
fn from_the_opening_with_a_first_or_new_key_on_all_is_under_that_and_what_was_is_still_read_11() {
    let home = Home::directory();
    let steps: [fn(Builder) -> Builder; 4] = [
        |plain| plain,
        |plain| plain.encryption_key(own(1)),
        |plain| plain.encryption_key(own(2)).old_encryption_key(own(1)),
        |plain| plain.old_encryption_key(own(1)).old_encryption_key(own(2)),
    ];
    for (done, with) in steps.into_iter().enumerate() {
        let store = home.open(with(plain()));
        assert_eq!(store.guarantees().encrypted, done == 1 || done == 2);
        run(&store, &key(done), &format!("{CANARY}{done}"));
        for own in 0..=done {
            assert_replays(&store, &key(own), &format!("{CANARY}{own}"));
        }
        close(store);
        let readable = if done == 3 { 2 } else { 1 };
        assert_eq!(canaries(&home.path()), readable, "after {done}");
    }
    assert_eq!(
        refusal(plain().encryption_key(own(2)), &home.path()).kind(),
        &ErrorKind::WrongEncryptionKey { segment: 2 }
    );
}

#[test]
fn an_opening_with_the_same_key_begins_no_segment_11() {
    let home = Home::directory();
    for _ in 0..3 {
        close(home.open(plain().encryption_key(own(1))));
        assert_eq!(segments(&home.path()).len(), 1);
    }
}

#[test]
fn an_old_key_is_needed_until_its_segments_have_expired_11() {
    let (home, (builder, clock)) = (Home::directory(), with_clock());
    let builder = builder.retention(secs(100));
    let store = home.open(builder.clone().encryption_key(own(1)));
    run(&store, &key(0), "first");
    close(store);
    let store = home.open(builder.clone().encryption_key(own(2)).old_encryption_key(own(1)));
    run(&store, &key(1), "second");
    clock.advance(secs(60));
    run(&store, &key(2), "third");
    clock.advance(secs(50));
    assert!(store.sweep().expect("swept").segments >= 1);
    close(store);
    let store = home.open(builder.encryption_key(own(2)));
    assert_replays(&store, &key(2), "third");
    assert_free(&store, &key(0));
}

#[test]
fn the_key_of_a_segment_is_gone_before_its_file_is_and_no_key_reads_what_is_left_11() {
    let (home, (builder, clock)) = (Home::directory(), with_clock());
    let builder = builder.retention(secs(100)).encryption_key(own(1));
    let store = home.open(builder);
    run(&store, &key(0), "done");
    store.backup(home.beside("backup")).expect("sealed");
    let sealed = segments(&home.path()).remove(0);
    let link = home.beside("link");
    fs::hard_link(&sealed, &link).expect("linked");
    let whole = fs::read(&link).expect("it reads");
    let archive = Archive::open_encrypted(home.path(), [own(1)]).expect("opens");
    assert_eq!(archive.get(&key(0)).expect("reads").expect("kept").outcome().body(), b"done");
    clock.advance(secs(101));
    assert_eq!(store.sweep().expect("swept").segments, 1);
    assert!(!sealed.exists());

    let left = fs::read(&link).expect("it reads");
    assert_eq!(left.len(), whole.len());
    assert!(left[..1024].iter().all(|byte| *byte == 0), "the key stood here");
    assert_eq!(left[4096..], whole[4096..], "what the disk still has");
    fs::rename(&link, &sealed).expect("put back");
    let archive = Archive::open_encrypted(home.path(), [own(1)]).expect("opens");
    assert_eq!(archive.get(&key(0)).expect("reads"), None);
    close(store);
}

#[test]
fn an_archive_of_an_encrypted_store_needs_its_keys_11() {
    let home = Home::directory();
    let store = home.open(plain().encryption_key(own(1)));
    run(&store, &key(0), "done");
    store.backup(home.beside("backup")).expect("backed up");
    close(store);
    let dir = home.beside("backup");
    assert_eq!(locked(Archive::open(&dir)), ErrorKind::Encrypted { segment: 1 });
    assert_eq!(locked(Archive::open_encrypted(&dir, [own(2)])), ErrorKind::WrongEncryptionKey { segment: 1 });
    let archive = Archive::open_encrypted(&dir, [own(2), own(1)]).expect("opens");
    assert_eq!(archive.get(&key(0)).expect("reads").expect("kept").outcome().body(), b"done");
    assert_replays(&plain().encryption_key(own(1)).open(&dir).expect("opens"), &key(0), "done");
}

#[test]
fn what_is_carried_forward_out_of_a_plain_or_older_segment_is_encrypted_under_the_newest_key_11() {
    let (home, (builder, clock)) = (Home::directory(), with_clock());
    let builder = builder.retention(secs(100)).segment_bytes_max(1 << 20);
    let store = home.open(builder.clone());
    for number in 1..200 {
        run(&store, &key(number), &"filling ".repeat(100));
    }
    clock.advance(secs(50));
    run(&store, &key(0), CANARY);
    close(store);
    let store = home.open(builder.clone().encryption_key(own(1)));
    clock.advance(secs(60));
    let swept = store.sweep().expect("swept");
    assert_eq!((swept.carried, swept.segments), (1, 1));
    assert_replays(&store, &key(0), CANARY);
    close(store);
    assert_eq!(canaries(&home.path()), 0);
    let store = home.open(builder.encryption_key(own(1)));
    assert!(matches!(store.get(&key(0)), Ok(Known::Finished(_))));
    assert_replays(&store, &key(0), CANARY);
}

#[test]
fn nothing_shows_a_key_10_2() {
    let shown = format!("{:?} {:?}", own(77), plain().encryption_key(own(77)));
    assert!(!shown.contains("77") && shown.contains("EncryptionKey(..)"));
}

#[cfg(feature = "redb-transactions")]
#[test]
fn a_callers_database_is_the_callers_to_encrypt_6_5() {
    let home = Home::directory();
    let database = redb::Database::create(home.beside("database")).expect("made");
    let refused = plain().encryption_key(own(1)).open_in(std::sync::Arc::new(database), "oncekey");
    assert!(matches!(locked(refused), ErrorKind::WrongHome(_)));
}
