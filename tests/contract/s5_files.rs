//! Section 5.6: what is not a sound store of ours is refused, with an error that says which, and not changed.
//!
//! Goal: no file is damaged by being opened, and nothing lost is taken for a store that knows nothing. Method:
//! foreign things at every place of a store, files patched with their checksums put right, files taken away.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use oncekey::{Error, ErrorKind};

use crate::support::files::{Files, IDENTITY, LOCK, make, put_back, read_all, segments};
use crate::support::{Home, assert_replays, close, key, plain, refusal, run, with_clock};

/// A closed store with three records, and its files.
fn closed_store() -> (Home, Files) {
    let home = Home::directory();
    let store = home.open(plain());
    for number in 0..3 {
        run(&store, &key(number), "done");
    }
    close(store);
    let files = read_all(&home.path());
    (home, files)
}

#[track_caller]
fn not_a_store(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::NotAStore(_)), "{error}");
}

/// Opening must fail and leave every file as it is.
#[track_caller]
fn refused_and_unchanged(path: &Path) -> Error {
    let before = read_all(path);
    let error = refusal(plain(), path);
    assert!(before == read_all(path), "a refused store was changed: {error}");
    error
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[test]
fn a_second_opening_in_the_same_process_is_locked_5_6() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "done");
    assert_eq!(refusal(plain(), &home.path()).kind(), &ErrorKind::Locked);
    let clone = store.clone();
    drop(store);
    assert_eq!(refusal(plain(), &home.path()).kind(), &ErrorKind::Locked, "a clone still holds it");
    drop(clone);
    assert_replays(&home.open(plain()), &key(0), "done");
}

#[test]
fn a_file_a_fifo_or_a_symlink_in_place_of_the_directory_is_refused_5_6() {
    let (home, _) = closed_store();
    let (file, pipe, link, dangling) =
        (home.beside("file"), home.beside("pipe"), home.beside("link"), home.beside("dangling"));
    fs::write(&file, "somebody's").expect("written");
    fifo(&pipe);
    symlink(home.path(), &link).expect("linked");
    symlink(home.beside("nowhere"), &dangling).expect("linked");
    for path in [&file, &pipe, &link, &dangling] {
        not_a_store(&refusal(plain(), path));
    }
    assert_eq!(fs::read(&file).expect("read"), b"somebody's");
    assert!(!home.beside("nowhere").exists());
}

#[test]
fn a_directory_with_somebody_elses_files_is_refused_5_6() {
    let home = Home::directory();
    let foreign = home.beside("foreign");
    make(&foreign, &Files::from([("notes.txt".to_owned(), b"mine".to_vec())]));
    not_a_store(&refused_and_unchanged(&foreign));
    put_back(
        &foreign,
        &Files::from([(IDENTITY.to_owned(), b"not one of ours".to_vec()), (LOCK.to_owned(), vec![])]),
    );
    not_a_store(&refused_and_unchanged(&foreign));
    put_back(&foreign, &Files::from([(IDENTITY.to_owned(), b"not one of ours".to_vec())]));
    not_a_store(&refused_and_unchanged(&foreign));
}

#[test]
fn segments_without_their_identity_are_refused_5_6() {
    let (home, mut files) = closed_store();
    files.remove(IDENTITY);
    put_back(&home.path(), &files);
    not_a_store(&refused_and_unchanged(&home.path()));
    files.remove(LOCK);
    put_back(&home.path(), &files);
    not_a_store(&refused_and_unchanged(&home.path()));
}

#[test]
fn a_parent_that_is_missing_is_an_io_error_5_6() {
    let home = Home::directory();
    let error = refusal(plain(), &home.beside("missing").join("store"));
    assert!(matches!(error.kind(), ErrorKind::Io { kind: std::io::ErrorKind::NotFound, .. }), "{error}");
    assert!(!home.beside("missing").exists());
}

#[test]
fn a_symlink_a_directory_or_a_fifo_in_place_of_any_file_is_refused_and_not_followed_10_1() {
    let (home, files) = closed_store();
    for name in files.keys() {
        let path = home.path().join(name);
        let replacements: [&dyn Fn(); 3] = [
            &|| {
                fs::write(home.beside("target"), &files[name]).expect("written");
                symlink(home.beside("target"), &path).expect("linked");
            },
            &|| fs::create_dir(&path).expect("made"),
            &|| fifo(&path),
        ];
        for (what, replace) in replacements.iter().enumerate() {
            fs::remove_file(&path).expect("removed");
            replace();
            not_a_store(&refusal(plain(), &home.path()));
            if what == 0 {
                assert!(fs::read(home.beside("target")).expect("read") == files[name], "{name} was followed");
            }
            if what == 1 { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("removed");
            fs::write(&path, &files[name]).expect("put back");
        }
    }
    assert_replays(&home.open(plain()), &key(0), "done");
}

#[test]
fn a_symlink_under_a_temporary_name_is_not_followed_10_1() {
    let (home, _) = closed_store();
    let target = home.beside("target");
    fs::write(&target, "somebody's").expect("written");
    symlink(&target, home.path().join("oncekey.identity.new")).expect("linked");
    symlink(&target, home.path().join("segment-0000000002.new")).expect("linked");
    let store = home.open(plain());
    store.backup(home.beside("backup")).expect("a new segment is begun");
    close(store);
    assert_eq!(fs::read(&target).expect("read"), b"somebody's");
}

/// An identity with another format, its checksum put right (`src/ledger/identity.rs`).
fn identity_of_format(bytes: &[u8], format: u32) -> Vec<u8> {
    let content = bytes.len() - 32;
    let mut patched = bytes[..content].to_vec();
    patched[16..20].copy_from_slice(&format.to_le_bytes());
    let checksum = blake3::hash(&patched);
    patched.extend_from_slice(checksum.as_bytes());
    patched
}

/// A segment with another format in both slots of its page (`src/ledger/backend.rs`).
fn segment_of_format(bytes: &[u8], format: u32) -> Vec<u8> {
    let mut patched = bytes.to_vec();
    for slot in patched[..1024].chunks_exact_mut(512).filter(|slot| slot.starts_with(b"oncekey\n")) {
        slot[8..12].copy_from_slice(&format.to_le_bytes());
        let checksum = blake3::hash(&slot[..56]);
        slot[56..64].copy_from_slice(&checksum.as_bytes()[..8]);
    }
    patched
}

#[test]
fn a_newer_format_of_identity_or_segment_is_said_and_not_changed_5_6() {
    let (home, files) = closed_store();
    for (name, bytes) in files.iter().filter(|(name, _)| *name != LOCK) {
        // A segment of format 2 is encrypted: it has its key behind what all have.
        let supported = if name == IDENTITY { 1 } else { 2 };
        for format in [supported + 1, 77, u32::MAX] {
            let patched = match name.as_str() {
                IDENTITY => identity_of_format(bytes, format),
                _ => segment_of_format(bytes, format),
            };
            assert!(patched != *bytes);
            fs::write(home.path().join(name), patched).expect("written");
            let error = refused_and_unchanged(&home.path());
            assert_eq!(error.kind(), &ErrorKind::NewerFormat { found: format, supported }, "{name}");
        }
        fs::write(home.path().join(name), bytes).expect("put back");
    }
    // Format 1, patched the same way, opens: so it is the format that was refused.
    fs::write(home.path().join(IDENTITY), identity_of_format(&files[IDENTITY], 1)).expect("written");
    assert_replays(&home.open(plain()), &key(0), "done");
}

#[test]
fn a_missing_segment_is_said_and_never_taken_for_an_empty_store_5_6() {
    let home = Home::directory();
    let (builder, _clock) = with_clock();
    let store = home.open(builder.clone());
    for segment in 1..=3 {
        run(&store, &key(segment), "done");
        store.backup(home.beside(&format!("backup-{segment}"))).expect("each backup begins a segment");
    }
    close(store);
    let files = read_all(&home.path());
    let names = segments(&home.path());
    assert_eq!(names.len(), 4);
    for (number, path) in names.iter().enumerate().take(3) {
        fs::remove_file(path).expect("removed");
        let before = read_all(&home.path());
        let error = builder.clone().open(home.path()).expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::SegmentMissing { segment: number as u64 + 1 });
        assert!(before == read_all(&home.path()), "it was changed");
        put_back(&home.path(), &files);
    }
    // Without the newest, the one before says by its seal that there was a later one.
    fs::remove_file(&names[3]).expect("removed");
    let error = builder.clone().open(home.path()).expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::SegmentMissing { segment: 4 });
    for path in &names[..3] {
        fs::remove_file(path).expect("removed");
    }
    let error = builder.clone().open(home.path()).expect_err("refused");
    assert!(matches!(error.kind(), ErrorKind::SegmentMissing { .. }), "{error}");
    put_back(&home.path(), &files);
    let store = builder.open(home.path()).expect("opens");
    for segment in 1..=3 {
        assert_replays(&store, &key(segment), "done");
    }
}

#[test]
fn a_segment_of_another_store_is_refused_5_6() {
    let ((home, files), (_, others)) = (closed_store(), closed_store());
    let name = "segment-0000000001";
    let mut mixed = files.clone();
    mixed.insert(name.to_owned(), others[name].clone());
    put_back(&home.path(), &mixed);
    not_a_store(&refused_and_unchanged(&home.path()));
    put_back(&home.path(), &files);
    fs::write(home.path().join("segment-0000000002"), &others[name]).expect("written");
    not_a_store(&refused_and_unchanged(&home.path()));
    fs::write(home.path().join("segment-0000000002"), &files[name]).expect("written");
    not_a_store(&refused_and_unchanged(&home.path()));
}

#[test]
fn a_refused_opening_gives_the_lock_back_5_6() {
    let (home, files) = closed_store();
    fs::write(home.path().join(IDENTITY), b"oncekey identity").expect("written");
    for _ in 0..3 {
        let error = refused_and_unchanged(&home.path());
        assert_eq!(error.kind(), &ErrorKind::DamagedStore { file: "identity".into() });
    }
    put_back(&home.path(), &files);
    assert_replays(&home.open(plain()), &key(0), "done");
}

/// A backup begins a new segment, which is so many more.
fn store_of_segments(count: usize) -> Home {
    let home = Home::directory();
    let store = home.open(plain());
    for number in 0..count {
        run(&store, &key(number), "done");
        store.backup(home.beside(&format!("backup {number}"))).expect("a backup");
    }
    close(store);
    home
}

#[test]
fn a_store_of_many_segments_opens_with_all_of_them_and_says_which_one_is_missing_5_6_5_7() {
    let home = store_of_segments(20);
    let all = segments(&home.path());
    assert_eq!(all.len(), 21);
    let taken = fs::read(&all[9]).expect("it reads");
    fs::remove_file(&all[9]).expect("it goes");
    assert_eq!(refused_and_unchanged(&home.path()).kind(), &ErrorKind::SegmentMissing { segment: 10 });
    fs::write(&all[9], taken).expect("it comes back");
    let store = home.open(plain());
    (0..20).for_each(|number| assert_replays(&store, &key(number), "done"));
}

#[test]
fn an_older_copy_of_a_segment_is_refused_and_not_taken_for_what_it_became_5_6_5_8() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "done");
    let first = segments(&home.path()).remove(0);
    let older = fs::read(&first).expect("it reads");
    run(&store, &key(1), "done");
    store.backup(home.beside("backup")).expect("a backup");
    close(store);
    let newer = fs::read(&first).expect("it reads");
    fs::write(&first, older).expect("somebody restores it");
    let error = refused_and_unchanged(&home.path());
    assert_eq!(error.kind(), &ErrorKind::DamagedStore { file: "segment 1".to_owned() });
    fs::write(&first, newer).expect("it comes back");
    let store = home.open(plain());
    (0..2).for_each(|number| assert_replays(&store, &key(number), "done"));
}
