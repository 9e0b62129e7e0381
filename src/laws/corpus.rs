//! Goal: every case that fuzzing ever found, and those that it starts from, holds in plain `cargo test`. Method: each
//! file of `fuzz/corpus/LAW` goes through that law; a law without a corpus, or without a target, is a failure.
//!
//! A crate that was packaged has no `fuzz` folder, and nothing to replay.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LAWS;
use crate::time::{Clock, SystemClock};

/// How long one case may take: thousands of times what it does take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Most bytes of all that is committed.
const BYTES_MAX: usize = 2 << 20;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    folder.join("Cargo.toml").is_file().then_some(folder)
}

/// The cases of a law, by name.
fn cases(folder: &Path, law: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let own = folder.join("corpus").join(law);
    let files = fs::read_dir(&own).unwrap_or_else(|error| panic!("{law} has no corpus: {error}"));
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {law} is empty");
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn replay(law: &str) {
    let (_, holds) = LAWS.iter().find(|(name, _)| *name == law).unwrap();
    let Some(folder) = folder() else { return };
    for (path, bytes) in cases(&folder, law) {
        println!("{}", path.display());
        let clock = SystemClock::new();
        holds(&bytes);
        assert!(clock.monotonic() < TIME_MAX, "{} took {:?}", path.display(), clock.monotonic());
    }
}

/// A test for each law, so that a failure says which.
macro_rules! replays {
    ($($test:ident: $law:ident;)*) => {
        $(#[test]
        fn $test() {
            replay(stringify!($law));
        })*

        #[test]
        fn every_law_has_a_target_and_is_replayed() {
            let replayed = [$(stringify!($law)),*];
            assert_eq!(LAWS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), replayed);
            let Some(folder) = folder() else { return };
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let mut targets: Vec<_> = fs::read_dir(folder.join("fuzz_targets"))
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            targets.sort();
            let mut laws = replayed.map(str::to_owned);
            laws.sort();
            assert_eq!(targets, laws, "one target for each law, and no other");
            for law in laws {
                assert!(manifest.contains(&format!("name = \"{law}\"\n")), "{law} stands in fuzz/Cargo.toml");
            }
        }
    };
}

replays! {
    every_known_case_of_record_decode_holds_5_9_10_4: record_decode;
    every_known_case_of_record_roundtrip_holds_5_9: record_roundtrip;
    every_known_case_of_key_framing_holds_1_2_1_3: key_framing;
    every_known_case_of_digest_holds_2_1_2_3_2_5: digest;
    every_known_case_of_json_canonical_holds_2_3: json_canonical;
    every_known_case_of_token_and_header_holds_1_1: token_and_header;
    every_known_case_of_store_ops_holds_3_4_6_7_8: store_ops;
    every_known_case_of_segment_ops_holds_5: segment_ops;
    every_known_case_of_power_cut_holds_5_1_5_7_5_8: power_cut;
    every_known_case_of_io_fault_holds_5_1_5_5_5_10: io_fault;
    every_known_case_of_evil_store_holds_5_6_5_9_10_4: evil_store;
    every_known_case_of_clock_holds_7: clock;
    every_known_case_of_options_holds_8_1: options;
}

#[test]
fn the_corpora_are_small() {
    let Some(folder) = folder() else { return };
    let bytes: usize =
        LAWS.iter().flat_map(|(law, _)| cases(&folder, law)).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
