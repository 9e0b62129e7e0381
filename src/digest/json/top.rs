//! The members of a top-level object, found again in canonical text.
//!
//! Law: what is read here was written by [`canonical`](super::canonical): no white space, every string and bracket
//! closed. Bytes that are not such a text give `None`; no bytes make it panic.

use std::borrow::Cow;

use super::text;

/// Name and canonical value of each member, in the order of the text; `None` for what is not an object.
pub(in super::super) fn top_members(canonical: &[u8]) -> Option<Vec<(Cow<'_, str>, &[u8])>> {
    let mut rest = canonical.strip_prefix(b"{")?;
    let mut members = Vec::new();
    if rest == b"}" {
        return Some(members);
    }
    loop {
        let name = &rest[..string_end(rest)?];
        let behind = rest[name.len()..].strip_prefix(b":")?;
        let value = &behind[..value_end(behind)?];
        members.push((text::decoded(name.get(1..name.len() - 1)?)?, value));
        match &behind[value.len()..] {
            [b',', more @ ..] => rest = more,
            [b'}'] => return Some(members),
            _ => return None,
        }
    }
}

/// Length of the string at the head of `text`, with its quotation marks.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    text.first().filter(|first| **first == b'"')?;
    loop {
        at += text::plain_run(text.get(at..)?);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

/// Length of the value at the head of `text`: up to the comma or bracket that ends it.
fn value_end(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => at += string_end(&text[at..])? - 1,
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{DigestRules, canonical};
    use super::*;

    #[test]
    fn the_members_of_an_object_are_found_and_nothing_else_has_any_2_6() {
        for (text, found) in [
            ("{}", &[][..]),
            (r#"{"a":1}"#, &[("a", "1")]),
            (
                r#"{"":[{"x":","},2],"a\"}":"}\\","b":{"c":{}}}"#,
                &[("", r#"[{"x":","},2]"#), ("a\"}", r#""}\\""#), ("b", r#"{"c":{}}"#)],
            ),
        ] {
            let members = top_members(text.as_bytes()).unwrap();
            let expected: Vec<_> =
                found.iter().map(|(name, value)| (Cow::from(*name), value.as_bytes())).collect();
            assert_eq!(members, expected, "{text}");
        }
        for text in [
            "",
            "[]",
            "1",
            "\"{}\"",
            "null",
            "{",
            "{\"a\":1",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":]}",
            "{\"a\":[1,2}",
            "{\"a\":1}}x",
            "{\"a\u{1}\":1}",
            "{\"",
            "{\"\\",
            "{\"\\a\":1}",
            "{\"\\u12\":1}",
        ] {
            assert_eq!(top_members(text.as_bytes()), None, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\{}\\[\\],:\u{1}\u{e9}]{0,4}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"\\\\]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::from(members.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_members_are_those_that_serde_json_reads_2_6(
            members in prop::collection::btree_map("[ab\"\\\\,:{}]{0,3}", value(), 0..5)
        ) {
            let object: serde_json::Map<_, _> = members.clone().into_iter().collect();
            let text = canonical(Value::from(object).to_string().as_bytes(), &DigestRules::none(), u64::MAX).unwrap();
            let found = top_members(&text).unwrap();
            let read = found.iter().map(|(name, value)| (name.to_string(), serde_json::from_slice(value).unwrap()));
            prop_assert_eq!(read.collect::<std::collections::BTreeMap<String, Value>>(), members);
        }

        #[test]
        fn no_bytes_make_the_search_panic_10_4(text in "[{}\\[\\],:\"\\\\a]{0,20}") {
            let _ = top_members(text.as_bytes());
        }
    }
}
