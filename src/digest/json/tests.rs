//! Goal: canonical text is RFC 8785's, and no bytes do harm. Method: tables, `serde_json_canonicalizer` and
//! `serde_json` as oracles over random values, random bytes and mutated texts.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn read(text: impl AsRef<[u8]>) -> Result<String> {
    let out = canonical(text.as_ref(), &DigestRules::none(), u64::MAX)?;
    Ok(String::from_utf8(out).unwrap())
}

fn refused(text: impl AsRef<[u8]>) -> ParameterFault {
    match read(text).unwrap_err().kind() {
        ErrorKind::InvalidParameters(fault) => *fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn canonical_text_is_that_of_rfc_8785_2_3() {
    for (given, written) in [
        (" [ ] ", "[]"),
        ("\t{\r\n}", "{}"),
        ("[true , false,null]", "[true,false,null]"),
        (
            r#"{"b":{"d":1,"c":2},"a":[{"f":1,"e":{"h":[],"g":{}}}]}"#,
            r#"{"a":[{"e":{"g":{},"h":[]},"f":1}],"b":{"c":2,"d":1}}"#,
        ),
        (
            r#"{"a":{"z":1,"y":2},"b":[{"z":1},{"z":1,"y":2}],"c":3}"#,
            r#"{"a":{"y":2,"z":1},"b":[{"z":1},{"y":2,"z":1}],"c":3}"#,
        ),
        (r#"{"a":1,"":2}"#, r#"{"":2,"a":1}"#),
        (r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#, r#""€$\u000f\nA'B\"\\\\\"/""#),
        (
            "{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\\u00f6\":7}",
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}",
        ),
        (
            "[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]",
            "[333333333.33333329,1e+30,4.5,0.002,1e-27]",
        ),
        (" -0.0 ", "0"),
    ] {
        assert_eq!(read(given).unwrap(), written, "{given}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place_2_3() {
    for (text, position) in [
        (&b""[..], 0),
        (b"  ", 2),
        (b"[1,]", 3),
        (b"[1 2]", 3),
        (b"[1", 2),
        (b"{\"a\"}", 4),
        (b"{\"a\":1,}", 7),
        (b"{a:1}", 1),
        (b"{\"a\":1 \"b\":2}", 7),
        (b"01", 1),
        (b"[-]", 2),
        (b"tru", 0),
        (b"nulls", 4),
        (b"\"a", 2),
        (b"\"a\nb\"", 2),
        (b"\"\\q\"", 1),
        (b"\"x\\ud800\"", 2),
        (b"1 2", 2),
        (b"NaN", 0),
        (b"'a'", 0),
        (b"[1]//", 3),
        (b"\xef\xbb\xbf1", 0),
        (b"\"a\xff\"", 2),
        (b"\"\xed\xa0\x80\"", 1),
        (b"[1e9999999999999999999]", 2),
        (b"\x0c1", 0),
    ] {
        assert_eq!(refused(text), ParameterFault::Json { position }, "{}", text.escape_ascii());
    }
}

#[test]
fn a_member_name_given_twice_is_refused_where_the_second_stands_2_3() {
    for (text, position) in [
        (r#"{"a":1,"a":1}"#, 7),
        (r#"{"a":1,"\u0061":2}"#, 7),
        (r#"{"b":1,"a":1,"b":1}"#, 13),
        (r#"[{"x":{"c":1,"b":1,"a":1,"c":2}}]"#, 25),
        (r#"{"":1,"":1}"#, 6),
        (r#"{"\n":1,"b":1,"\u000a":1}"#, 14),
    ] {
        assert_eq!(refused(text), ParameterFault::DuplicateMember { position }, "{text}");
    }
    assert!(read(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
}

#[test]
fn nesting_is_read_to_128_and_refused_beyond_2_3() {
    let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth| r#"{"b":0,"a":"#.repeat(depth) + "0" + &"}".repeat(depth);
    assert_eq!(read(arrays(128)).unwrap(), arrays(128));
    assert_eq!(read(objects(128)).unwrap().len(), objects(128).len());
    for text in [arrays(129), objects(129), "[".repeat(1_000_000), r#"{"a":"#.repeat(1_000_000)] {
        assert_eq!(refused(text), ParameterFault::TooDeep { limit: 128 });
    }
}

#[test]
fn every_number_that_a_double_rounds_stays_apart_2_3() {
    assert_ne!(read("9007199254740993").unwrap(), read("9007199254740992").unwrap());
    assert_ne!(read("0.1").unwrap(), read("0.1000000000000000055511151231257827").unwrap());
    assert_ne!(read("1e400").unwrap(), read("1e401").unwrap());
}

/// JSON whose numbers have a double with a shortest text of the same decimal value.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-(1_i64 << 53)..=(1_i64 << 53)).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
        (-1000_i32..1000, -30_i32..30)
            .prop_map(|(digits, exponent)| Value::from(f64::from(digits) * 10_f64.powi(exponent))),
    ];
    let name = prop_oneof!["[a-c]{0,2}", any::<String>(), "[\u{d000}-\u{10ffff}\\\\\"\n\u{1}]{1,3}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        name.clone().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value in another spelling: members backwards, every character of a string escaped, spaces.
fn respelled(value: &Value) -> String {
    let string = |text: &str| {
        let mut escaped = String::from('"');
        for unit in text.encode_utf16() {
            write!(escaped, "\\u{unit:04X}").unwrap();
        }
        escaped + "\""
    };
    match value {
        Value::Array(items) => {
            format!("[ {} ]", items.iter().map(respelled).collect::<Vec<_>>().join(" ,\n"))
        }
        Value::Object(members) => {
            let members = members.iter().rev();
            let members: Vec<_> =
                members.map(|(name, value)| format!("{} : {}", string(name), respelled(value))).collect();
            format!("{{\t{} }}", members.join(", "))
        }
        Value::String(text) => string(text),
        Value::Number(number) if number.is_f64() && !number.to_string().contains('e') => {
            format!("{number}e0")
        }
        other => other.to_string(),
    }
}

/// Whether two values are the same but for how `serde_json` took their numbers: as integers or, nearly, as doubles.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value)| other.get(name).is_some_and(|other| alike(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        (Value::Number(one), Value::Number(other)) => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-15 + f64::MIN_POSITIVE
        }
        _ => one == other,
    }
}

/// What `serde_json` thinks of a text; it knows nothing of repeated names and stops at depth 127.
fn check_against_serde(text: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(text);
    match (read(text), theirs) {
        (Ok(out), Ok(theirs)) => {
            assert!(alike(&serde_json::from_str(&out).unwrap(), &theirs), "{out} {theirs}");
            assert_eq!(read(&out).unwrap(), out, "canonical text is its own canonical text");
        }
        (Err(_), Err(_)) => {}
        // Numbers beyond the doubles, and depth 128.
        (Ok(_), Err(theirs)) => {
            let message = theirs.to_string();
            assert!(message.contains("out of range") || message.contains("recursion"), "{message}");
        }
        (Err(ours), Ok(_)) => assert!(
            matches!(ours.kind(), ErrorKind::InvalidParameters(ParameterFault::DuplicateMember { .. }))
                || text.iter().filter(|byte| byte.is_ascii_digit()).count() > 18,
            "{ours}"
        ),
    }
}

proptest! {
    #[test]
    fn canonical_text_agrees_with_another_implementation_2_3(value in value()) {
        let theirs = serde_json_canonicalizer::to_string(&value).unwrap();
        prop_assert_eq!(read(value.to_string()).unwrap(), &*theirs);
        prop_assert_eq!(read(respelled(&value)).unwrap(), &*theirs);
        prop_assert_eq!(read(&theirs).unwrap(), &*theirs);
    }

    #[test]
    fn random_bytes_do_no_harm_10_4(text in prop::collection::vec(any::<u8>(), 0..200)) {
        check_against_serde(&text);
    }

    #[test]
    fn random_json_like_bytes_do_no_harm_10_4(text in r#"[\[\]{}",:\\ u0-9eE.+-dabtrufalsn]{0,60}"#) {
        check_against_serde(text.as_bytes());
    }

    #[test]
    fn mutated_json_does_no_harm_10_4(
        value in value(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut text = value.to_string().into_bytes();
        for (at, byte, how) in cuts {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
        }
        check_against_serde(&text);
    }
}
