//! Canonical JSON beside `serde_json` and `serde_json_canonicalizer` (contract 2.3, RFC 8785).
//!
//! Law: what we accept, serde reads; what serde reads and we refuse has a member twice, is nested too deeply, or has an
//! exponent of no sane length. Our text is canonical already, means what the given one means, and is RFC 8785's wherever
//! all its numbers are the shortest texts of their doubles.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::tape::Tape;
use crate::digest::{DigestRules, canonical};
use crate::error::{Error, ErrorKind, ParameterFault};

/// Bytes as a JSON text. The first one says whether they are taken as they are or as an alphabet's numbers.
///
/// # Panics
/// Where the law does not hold.
pub fn json_canonical(data: &[u8]) {
    let mut tape = Tape::new(data);
    let made = tape.byte() == 1;
    let text = tape.rest();
    let text = if made { respelled(text) } else { text.to_vec() };
    let (ours, theirs) = (read(&text), serde_json::from_slice::<Value>(&text));
    match (ours, theirs) {
        (Ok(ours), theirs) => {
            let fits = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
            assert!(fits, "serde refuses what we accept");
            assert!(ours.len() <= 8 * text.len() + 8, "{} bytes of {}", ours.len(), text.len());
            match read(&ours) {
                // 81e999999999999999999 has an exponent of 19 digits once it is 8.1e+1000000000000000000.
                Err(_) if ours.windows(20).any(is_long_exponent) => {}
                again => assert_eq!(again.as_ref(), Ok(&ours), "canonical text is canonical"),
            }
            if let Ok(value) = theirs {
                check_meaning(&ours, &value);
            }
        }
        (Err(fault), Ok(value)) => check_refusal(&text, &fault, &value),
        (Err(_), Err(_)) => {}
    }
}

fn read(text: &[u8]) -> Result<Vec<u8>, Error> {
    canonical(text, &DigestRules::none(), u64::MAX)
}

fn check_meaning(ours: &[u8], value: &Value) {
    let Ok(theirs) = serde_json_canonicalizer::to_vec(value) else { return };
    let again: Value = serde_json::from_slice(ours).expect("our own text is JSON");
    let again = serde_json_canonicalizer::to_vec(&again).expect("it was written before");
    assert_eq!(again, theirs, "our text means what the given one means");
    assert_eq!(read(&theirs).as_ref(), Ok(&theirs), "RFC 8785's text is canonical for us too");
}

fn check_refusal(text: &[u8], error: &Error, value: &Value) {
    let ErrorKind::InvalidParameters(fault) = *error.kind() else { panic!("{error}") };
    match fault {
        ParameterFault::DuplicateMember { position } => {
            assert_eq!(text[position], b'"');
            assert!(members(value) < colons(text), "no member is there twice");
        }
        ParameterFault::TooDeep { .. } => assert!(depth(text) > 128, "it is not nested that deeply"),
        ParameterFault::Json { position } => {
            let exponent = text[..=position].iter().rposition(|byte| matches!(byte, b'e' | b'E'));
            let exponent = exponent.map(|at| &text[at + 1..]).unwrap_or_default();
            let digits = exponent.iter().skip_while(|byte| matches!(byte, b'+' | b'-'));
            let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
            assert!(digits > 18, "it is JSON: {:?}", String::from_utf8_lossy(text));
        }
        other => panic!("{other:?}"),
    }
}

/// `e`, a sign and more digits than are read.
fn is_long_exponent(text: &[u8]) -> bool {
    text.starts_with(b"e") && text[2..].iter().all(u8::is_ascii_digit)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(members).sum(),
        Value::Object(own) => own.values().map(|value| 1 + members(value)).sum(),
        _ => 0,
    }
}

/// Colons outside of strings: one for each member.
fn colons(text: &[u8]) -> usize {
    outside(text).filter(|byte| *byte == b':').count()
}

fn depth(text: &[u8]) -> i64 {
    let (mut now, mut most) = (0_i64, 0);
    for byte in outside(text) {
        now += i64::from(matches!(byte, b'[' | b'{')) - i64::from(matches!(byte, b']' | b'}'));
        most = most.max(now);
    }
    most
}

/// The bytes that do not stand in a string.
fn outside(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (mut inside, mut escaped) = (false, false);
    text.iter().copied().filter(move |byte| {
        let was = inside;
        match byte {
            b'"' if !escaped => inside = !inside,
            _ => escaped = inside && *byte == b'\\' && !escaped,
        }
        if *byte == b'"' {
            escaped = false;
        }
        !was && *byte != b'"'
    })
}

/// Bytes as pieces of JSON, so that few of them are needed to say something.
fn respelled(bytes: &[u8]) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"b\"",
        "\"\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "0",
        "-0",
        "1",
        "12",
        "1.0",
        "1e2",
        "1E-7",
        "9007199254740993",
        "1e400",
        "0.1",
        "true",
        "false",
        "null",
        " ",
        "\n",
        "[[[[[[[[",
        "]]]]]]]]",
        "\"\\\\\"",
        "\"\\ud800\"",
        "1e999999999999999999",
        "\"a\":",
        "123456789012345678901234567890",
    ];
    let known: BTreeMap<u8, &str> = (0..).zip(PIECES.iter().copied()).collect();
    let piece = |byte: &u8| known.get(byte).map_or_else(|| vec![*byte], |piece| piece.as_bytes().to_vec());
    bytes.iter().flat_map(piece).collect()
}
