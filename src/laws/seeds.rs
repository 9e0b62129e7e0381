//! What the corpora began with: `cargo test --lib laws::seeds -- --ignored` writes it into `fuzz/corpus`.
//!
//! Law: the same bytes on every run. Laws that read a tape begin with tapes of chance of several lengths; those that
//! read a format, with some bytes of that format.

use std::fs;
use std::path::Path;

use super::LAWS;
use crate::ledger::Chance;

/// Texts for `json_canonical`, after the byte that says how they are read.
const TEXTS: &[&str] = &[
    "\0{\"b\":[1,2.50,-0,1e21],\"a\":{\"\\u20ac\":null}}",
    "\0[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001]",
    "\0{\"\\ud83d\\ude00\":\"\\ufb33\",\"\\r\":true}",
    "\0{\"a\":1,\"a\":2}",
    "\0\"\\ud800\"",
    "\09007199254740993",
    "\0[1e400,1e9999999999999999999]",
    "\x01\0\x1f\r\x05\x07\x04\x0e\x01",
    "\x01\x1a\x1a\x1a\x1a\x1a\x0d\x1b\x1b\x1b\x1b\x1b",
];

/// Tapes of chance: how many, and of how many bytes at most.
fn tapes(law: &str) -> (u64, u64) {
    match law {
        "record_decode" | "key_framing" | "token_and_header" => (8, 300),
        "store_ops" | "segment_ops" => (12, 600),
        _ => (10, 250),
    }
}

#[test]
#[ignore = "writes the corpora that are committed"]
fn write_the_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (nth, (law, _)) in (1..).zip(LAWS) {
        let folder = corpus.join(law);
        fs::create_dir_all(&folder).unwrap();
        let write = |name: String, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        if *law == "json_canonical" {
            for (at, text) in TEXTS.iter().enumerate() {
                write(format!("seed-{at}"), text.as_bytes());
            }
            continue;
        }
        let (count, most) = tapes(law);
        for at in 1..=count {
            let mut chance = Chance(nth * 1000 + at);
            let bytes: Vec<u8> = (0..most * at / count).map(|_| chance.next().to_le_bytes()[0]).collect();
            write(format!("seed-{at}"), &bytes);
        }
    }
}
