//! Goal: a record that went out as `entry` writes it comes back as the very bytes that it was, and no line makes an import
//! panic or take in what no writer says (10.4). Method: random records there and back; random values in every field.

use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::entry::entry;
use super::*;
use crate::record::{HashKeys, Location, Record, seal};

fn numbers() -> Numbers {
    Numbers { secrets: vec![Some(1), None], rules: vec![0] }
}

fn line_of(bytes: &[u8]) -> String {
    let (at, keys, mut sealed) = (Location::new(1, 0), HashKeys::derive(&[1; 32]), bytes.to_vec());
    seal(&mut sealed, at, &keys);
    Value::from(entry(&Record::open(&sealed, at, &keys).unwrap(), true).unwrap()).to_string()
}

fn bound(digest: [u8; 32], outlined: bool) -> Bound {
    // No name, and of those that there are not all.
    let outline = outlined.then(|| [1, 0, 0][..].into());
    Bound { digest, version: 1, rules: 0, secret: 1, outline }
}

fn key(scope: &[u8], token: &str) -> Key {
    Key::within(scope, token.as_bytes(), SCOPE_BYTES_MAX, TOKEN_BYTES_MAX).unwrap()
}

fn comes_back(key: &Key, bytes: &[u8], weighs: u32, expires: Timestamp) {
    let line: Line = serde_json::from_str(&line_of(bytes)).unwrap();
    let foreign = line.foreign(&numbers()).unwrap();
    assert!(foreign.key == *key && foreign.bytes == bytes);
    assert_eq!((foreign.weighs, foreign.expires), (weighs, expires));
}

proptest! {
    #[test]
    fn a_finished_record_comes_back_byte_for_byte_3_3(
        scope in proptest::collection::vec(any::<u8>(), 1..40),
        token in "[ -~]{1,64}",
        (status, body, attempts, format) in (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..80), 1_u32.., any::<u32>()),
        metadata in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..3),
        (completed, expires, digest, outlined) in (any::<u64>(), any::<u64>(), any::<[u8; 32]>(), any::<bool>()),
        omitted in of((any::<u64>(), any::<[u8; 32]>())),
    ) {
        let mut outcome = Outcome::http(status, if omitted.is_some() { Vec::new() } else { body });
        for (name, value) in metadata {
            outcome = outcome.with_metadata(name, value);
        }
        let (key, bound) = (key(&scope, &token), bound(digest, outlined));
        let [completed, expires] = [completed, expires].map(Timestamp::from_millis);
        let omitted = omitted.map(|(bytes, digest)| Omitted { bytes, digest });
        let record =
            Finished { key: key.as_framed(), bound, completed, expires, attempts, format, outcome: &outcome, omitted };
        comes_back(&key, &record.encode(), record.weighs(), expires);
    }

    #[test]
    fn an_unfinished_record_comes_back_byte_for_byte_3_4_6_3(
        scope in ".{1,20}",
        (attempt, format, since, digest) in (1_u32.., any::<u32>(), any::<u64>(), any::<[u8; 32]>()),
        checkpoint in of((1_u32.., proptest::collection::vec(any::<u8>(), 0..40))),
        until in of(any::<u64>()),
    ) {
        let (key, bound) = (key(scope.as_bytes(), "token"), bound(digest, false));
        let checkpoint = checkpoint.map(|(attempt, bytes)| Checkpoint { attempt, bytes: bytes.into() });
        let (since, released_until) = (Timestamp::from_millis(since), until.map(Timestamp::from_millis));
        let (key_bytes, checkpoint) = (key.as_framed(), checkpoint.as_ref());
        let record = Started { key: key_bytes, bound, since, attempt, format, checkpoint, released_until };
        comes_back(&key, &record.encode(), record.weighs(), record.expires());
    }

    #[test]
    fn no_line_makes_an_import_panic_10_4(field in 0_usize..23, text in ".{0,40}", number in any::<u64>(), how in 0..4) {
        let key = key(b"scope", "token");
        let outcome = Outcome::http(200, "body").with_metadata("name", "value");
        let record = Finished {
            key: key.as_framed(),
            bound: bound([7; 32], true),
            completed: Timestamp::default(),
            expires: Timestamp::MAX,
            attempts: 1,
            format: 0,
            outcome: &outcome,
            omitted: None,
        };
        let mut line: Value = serde_json::from_str(&line_of(&record.encode())).unwrap();
        let names = [
            "scope", "scope_base64", "token", "state", "attempts", "format", "digest", "digest_version", "rules", "secret",
            "completed_ms", "since_ms", "expires_ms", "outline_base64", "status", "body", "body_base64", "metadata",
            "omitted_bytes", "omitted_digest", "checkpoint_attempt", "checkpoint", "checkpoint_base64",
        ];
        line[names[field]] = match how {
            0 => json!(text),
            1 => json!(number),
            2 => json!(BASE64_STANDARD.encode(&text)),
            _ => Value::Null,
        };
        for text in [line.to_string(), text] {
            if let Ok(line) = serde_json::from_str::<Line>(&text) {
                drop(line.foreign(&numbers()));
            }
            drop(origin(&text, Vec::new()));
        }
    }
}

#[test]
fn a_record_under_a_secret_that_is_not_at_hand_is_refused_2_5() {
    let key = key(b"scope", "token");
    let outcome = Outcome::new("body");
    let bound = Bound { secret: 2, ..bound([7; 32], false) };
    let (completed, expires) = (Timestamp::default(), Timestamp::MAX);
    let record = Finished {
        key: key.as_framed(),
        bound,
        completed,
        expires,
        attempts: 1,
        format: 0,
        outcome: &outcome,
        omitted: None,
    };
    let line: Line = serde_json::from_str(&line_of(&record.encode())).unwrap();
    assert_eq!(line.foreign(&numbers()).err(), Some(UNKNOWN_SECRET));
}
