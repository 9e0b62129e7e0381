//! Section 5, damaged bytes (5.6, 5.9, 10.4): cut files and flipped bits, everywhere.
//!
//! Goal: right answers or a clear error, never a panic, never a wrong answer, never a damaged key taken for one
//! never seen; and a refused store's files stay byte-identical. Method: the files of small closed stores, one
//! with a sealed segment and one without, each damaged at many positions, opened, and asked for every key.

use std::fs;
use std::path::Path;

use oncekey::{Answer, ErrorKind, Key, Outcome, Store};

use crate::support::files::{Files, LOCK, find_all, put_back, read_all};
use crate::support::{Home, asked, assert_replays, close, fresh, kept, key, plain, run, secs, with_clock};

const KEYS: usize = 4;

fn body(number: usize) -> String {
    format!("body of {number} ").repeat(20)
}

/// A closed store: some records in a sealed segment if `sealed`, the others in the one being written.
fn closed_store(sealed: bool) -> (Home, Files) {
    let home = Home::directory();
    let store = home.open(plain());
    for number in 0..KEYS {
        run(&store, &key(number), &body(number));
        if sealed && number == 1 {
            store.backup(home.beside("backup")).expect("a backup seals what there is");
        }
    }
    run(&store, &key(100), "forgotten");
    assert!(store.forget(&key(100)).expect("forgotten"));
    close(store);
    let files = read_all(&home.path());
    (home, files)
}

/// Opens and asks for everything. `Err` says what is wrong with the answers.
fn judged(path: &Path) -> Result<&'static str, String> {
    let before = read_all(path);
    let store = match plain().open(path) {
        Ok(store) => store,
        Err(error) => {
            let clear = matches!(
                error.kind(),
                ErrorKind::DamagedStore { .. }
                    | ErrorKind::Damaged { .. }
                    | ErrorKind::NotAStore(_)
                    | ErrorKind::NewerFormat { .. }
                    | ErrorKind::SegmentMissing { .. }
                    | ErrorKind::WrongSecret
            );
            return if !clear {
                Err(format!("refused with {error}"))
            } else if before != read_all(path) {
                Err(format!("changed, though refused with {error}"))
            } else {
                Ok("refused")
            };
        }
    };
    let mut verdict = "right";
    for number in 0..KEYS {
        match store.begin(&key(number), &asked()) {
            Ok(Answer::Replay(replay)) if replay.outcome() == &Outcome::new(body(number)) => {}
            Err(error) if error.is_damaged() => verdict = "damaged key",
            other => return Err(format!("key {number} was answered {other:?}")),
        }
    }
    match store.begin(&key(100), &asked()) {
        Ok(Answer::Fresh(_)) => {}
        Err(error) if error.is_damaged() => verdict = "damaged key",
        other => return Err(format!("the forgotten key was answered {other:?}")),
    }
    drop(store);
    Ok(verdict)
}

/// Damages one file in many ways; every one must be judged well. How often which verdict came.
fn damage_everywhere(
    home: &Home,
    files: &Files,
    damages: impl Fn(&str, &[u8]) -> Vec<Vec<u8>>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| *name != LOCK) {
        let mut counts = std::collections::BTreeMap::new();
        for (number, damaged) in damages(name, bytes).into_iter().enumerate() {
            put_back(&home.path(), files);
            fs::write(home.path().join(name), damaged).expect("written");
            let path = home.path();
            match std::panic::catch_unwind(|| judged(&path)) {
                Ok(Ok(verdict)) => *counts.entry(verdict).or_insert(0) += 1,
                Ok(Err(complaint)) => complaints.push(format!("{name}, damage {number}: {complaint}")),
                Err(_) => complaints.push(format!("{name}, damage {number}: a panic")),
            }
        }
        println!("{name}: {counts:?}");
    }
    complaints
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Positions worth damaging: all at the file's begin and around what is not zero, some elsewhere.
fn positions(bytes: &[u8], most: usize) -> Vec<usize> {
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let step = (used.len() / most).max(1);
    let mut all: Vec<usize> = used.into_iter().step_by(step).collect();
    all.extend((0..bytes.len()).step_by((bytes.len() / 16).max(1)));
    all.sort_unstable();
    all.dedup();
    all
}

fn flip(bytes: &[u8], at: usize, bit: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[at] ^= 1 << bit;
    damaged
}

fn flips(bytes: &[u8], most: usize) -> Vec<Vec<u8>> {
    positions(bytes, most).into_iter().map(|at| flip(bytes, at, at % 8)).collect()
}

/// redb's header: behind our page of 4096 bytes, a magic of 9, then flags, sizes, and two slots of 128 bytes.
fn header_flips(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.len() < 8192 {
        return Vec::new();
    }
    let flags = (0..8).map(|bit| flip(bytes, 4096 + 9, bit));
    flags.chain((4096..4096 + 320).map(|at| flip(bytes, at, at % 7))).collect()
}

fn cuts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let last_used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut lengths = vec![0, 1, 15, 16, 20, 51, 52, 511, 512, 1024, 4095, 4096, 4097, 8192];
    lengths.extend([
        last_used.saturating_sub(1),
        last_used,
        bytes.len() - 1,
        bytes.len() / 2,
        bytes.len() / 3,
    ]);
    lengths.extend((0..last_used).step_by((last_used / 24).max(1)));
    lengths.sort_unstable();
    lengths.dedup();
    lengths
        .into_iter()
        .filter(|length| *length < bytes.len())
        .map(|length| bytes[..length].to_vec())
        .collect()
}

#[test]
fn a_flipped_bit_in_any_file_of_a_fresh_store_is_never_a_wrong_answer_5_9() {
    let (home, files) = closed_store(false);
    assert_none(&damage_everywhere(&home, &files, |_, bytes| flips(bytes, 160)));
}

#[test]
fn a_flipped_bit_in_the_header_of_redb_never_leads_back_to_an_older_state_5_9() {
    for sealed in [false, true] {
        let (home, files) = closed_store(sealed);
        assert_none(&damage_everywhere(&home, &files, |_, bytes| header_flips(bytes)));
    }
}

#[test]
fn a_flipped_bit_in_any_file_of_a_store_with_a_sealed_segment_is_never_a_wrong_answer_5_9() {
    let (home, files) = closed_store(true);
    assert_none(&damage_everywhere(&home, &files, |_, bytes| flips(bytes, 120)));
}

#[test]
fn a_cut_file_is_never_a_wrong_answer_5_6() {
    for sealed in [false, true] {
        let (home, files) = closed_store(sealed);
        assert_none(&damage_everywhere(&home, &files, |_, bytes| cuts(bytes)));
    }
}

#[test]
fn zeros_and_garbage_over_a_page_are_never_a_wrong_answer_10_4() {
    let (home, files) = closed_store(true);
    let over = |bytes: &[u8], filling: u8| -> Vec<Vec<u8>> {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let pages = (0..=used).step_by((used / 12).next_multiple_of(512).max(512));
        let fill = |at: usize| {
            let mut damaged = bytes.to_vec();
            let end = (at + 512).min(damaged.len());
            damaged[at..end].fill(filling);
            damaged
        };
        pages.map(fill).collect()
    };
    assert_none(&damage_everywhere(&home, &files, |_, bytes| [over(bytes, 0), over(bytes, 0xff)].concat()));
}

/// A store with one sealed segment; its file's name and bytes.
fn sealed_segment(home: &Home) -> (String, Vec<u8>) {
    let (builder, _clock) = with_clock();
    let store = home.open(builder);
    for number in 0..KEYS {
        let parameters = asked();
        let own = key(number);
        let held = fresh(store.request(&own, &parameters).retention(secs(123_456)).begin());
        kept(held.complete(Outcome::new(body(number))));
    }
    store.backup(home.beside("backup")).expect("sealed");
    close(store);
    let name = "segment-0000000001".to_owned();
    let bytes = fs::read(home.path().join(&name)).expect("read");
    (name, bytes)
}

fn open_at_the_same_time(home: &Home) -> Store {
    with_clock().0.open(home.path()).expect("it opens")
}

#[test]
fn a_damaged_record_answers_damaged_and_names_its_segment_5_9() {
    let home = Home::directory();
    let (name, mut bytes) = sealed_segment(&home);
    let at = find_all(&bytes, body(2).as_bytes());
    assert!(!at.is_empty());
    at.iter().for_each(|at| bytes[at + 3] ^= 0x10);
    fs::write(home.path().join(&name), bytes).expect("written");
    let store = open_at_the_same_time(&home);
    for parameters in [asked(), crate::support::asked_otherwise()] {
        let error = store.begin(&key(2), &parameters).expect_err("damaged");
        assert_eq!(error.kind(), &ErrorKind::Damaged { segment: 1 }, "3.10");
    }
    assert!(store.get(&key(2)).expect_err("damaged").is_damaged());
    assert_replays(&store, &key(1), &body(1));
    drop(fresh(store.begin(&key(50), &asked())));
    store.accept_damage();
    assert!(store.begin(&key(2), &asked()).expect_err("still damaged").is_damaged());
}

#[test]
fn a_damaged_key_in_a_record_is_damaged_and_not_never_seen_5_9() {
    let home = Home::directory();
    let (name, mut bytes) = sealed_segment(&home);
    let at = find_all(&bytes, b"\x07token-2");
    assert!(!at.is_empty());
    at.iter().for_each(|at| bytes[at + 7] = b'9');
    fs::write(home.path().join(&name), bytes).expect("written");
    let store = open_at_the_same_time(&home);
    assert!(store.begin(&key(2), &asked()).expect_err("damaged").is_damaged());
    drop(fresh(store.begin(&key(9), &asked())));
}

#[test]
fn where_neither_copy_of_the_fingerprints_reads_new_keys_are_refused_until_the_operator_decides_5_9() {
    let home = Home::directory();
    let (name, mut bytes) = sealed_segment(&home);
    // The time of expiry stands in the heads of a block, in its record and in its hint: all four are damaged. It
    // stands in the segment's footer too, behind the number of chunks, which is left alone: it would be refused.
    let expires = 1_800_000_000_000_u64 + 123_456_000;
    let mut at = find_all(&bytes, &expires.to_le_bytes());
    at.retain(|at| bytes[at - 16..at - 8] != 1_u64.to_le_bytes());
    assert!(at.len() >= 4 * KEYS, "{at:?}");
    at.iter().for_each(|at| bytes[*at] ^= 0x20);
    fs::write(home.path().join(&name), bytes).expect("written");
    let store = open_at_the_same_time(&home);
    let refused = |key: &Key| {
        let error = store.begin(key, &asked()).expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::Damaged { segment: 1 });
    };
    refused(&key(0));
    refused(&key(77));
    assert!(store.get(&key(77)).expect_err("not known").is_damaged());
    assert!(store.forget(&key(77)).expect_err("not known").is_damaged());
    store.accept_damage();
    run(&store, &key(77), "after the decision");
    assert_replays(&store, &key(77), "after the decision");
}
