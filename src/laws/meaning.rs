//! What parameters mean, made up from a tape, and the ways to spell it.
//!
//! Law: a meaning is made first and spelled afterwards, so that whether two spellings mean the same is known without
//! asking the code under test: pairs are compared sorted by name (stable), JSON as trees with members by name and numbers
//! as significant digits and exponent. Spellings differ in order, white space, escapes and the writing of numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::tape::Tape;
use crate::digest::{DigestRules, Parameters};

const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "ba",
    "A",
    "=",
    "&",
    "%",
    "+",
    " ",
    "é",
    "\u{1f600}",
    "\u{ffff}",
    "\"",
    "\\",
    "\0",
    "Timestamp",
    "Signature",
    "aa",
    "1",
    "true",
];
const DEPTH: u8 = 3;

/// What was asked.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Pairs(Vec<(String, Vec<u8>)>),
    Bytes(Vec<u8>),
    Json(Tree),
    Value(Tree),
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    /// So many times ten to that; the digits do not end in zero, unless they are zero.
    Number(i64, i64),
    Text(String),
    List(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
}

fn text(tape: &mut Tape<'_>) -> String {
    let one = |tape: &mut Tape<'_>| tape.pick(TEXTS).to_owned();
    if tape.byte() < 200 { one(tape) } else { one(tape) + &one(tape) }
}

impl Meaning {
    pub(super) fn of(tape: &mut Tape<'_>) -> Self {
        match tape.byte() % 8 {
            0 => Self::Bytes(tape.some(9).to_vec()),
            1..4 => Self::Json(Tree::of(tape, 0)),
            4 => Self::Value(Tree::of(tape, 0)),
            _ => Self::Pairs((0..tape.below(6)).map(|_| (text(tape), value(tape))).collect()),
        }
    }

    /// Changed in one place, or in none.
    pub(super) fn edited(mut self, tape: &mut Tape<'_>) -> Self {
        match &mut self {
            Self::Bytes(bytes) => bytes.push(tape.byte()),
            Self::Json(tree) | Self::Value(tree) => tree.edit(tape),
            Self::Pairs(pairs) if pairs.is_empty() => pairs.push((text(tape), value(tape))),
            Self::Pairs(pairs) => {
                let at = usize::try_from(tape.below(pairs.len() as u64)).unwrap();
                let next = (at + 1) % pairs.len();
                match tape.byte() % 7 {
                    0 => drop(pairs.remove(at)),
                    1 => pairs.insert(at, pairs[next].clone()),
                    2 => pairs.swap(at, next),
                    3 => pairs[at].0 = text(tape),
                    4 => pairs[at].1 = value(tape),
                    // A byte from one value to the next, or from a name to its value.
                    5 => {
                        let moved = pairs[at].1.pop();
                        pairs[next].1.splice(0..0, moved);
                    }
                    _ => {
                        let moved = pairs[at].0.pop().map(String::from).unwrap_or_default();
                        pairs[at].1.splice(0..0, moved.bytes());
                    }
                }
            }
        }
        self
    }

    /// Whether it means the same as the other where these names do not count.
    pub(super) fn equals(&self, other: &Self, rules: &DigestRules) -> bool {
        let excluded = |name: &str| rules.names().any(|own| own == name);
        let sorted = |pairs: &[(String, Vec<u8>)]| {
            let mut pairs: Vec<_> = pairs.iter().filter(|(name, _)| !excluded(name)).cloned().collect();
            pairs.sort_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
            pairs
        };
        let left = |tree: &Tree| match tree {
            Tree::Object(members) => {
                let mut members = members.clone();
                members.retain(|name, _| !excluded(name));
                Tree::Object(members)
            }
            other => other.clone(),
        };
        match (self, other) {
            (Self::Pairs(one), Self::Pairs(other)) => sorted(one) == sorted(other),
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Json(one), Self::Json(other)) | (Self::Value(one), Self::Value(other)) => {
                left(one) == left(other)
            }
            _ => false,
        }
    }

    /// One of the ways to say it.
    pub(super) fn spelled(&self, tape: &mut Tape<'_>) -> Parameters<'static> {
        match self {
            Self::Bytes(bytes) => Parameters::bytes(bytes).into_owned(),
            Self::Json(tree) => {
                let mut out = String::new();
                tree.spell(tape, &mut out);
                Parameters::json(out.as_bytes()).into_owned()
            }
            Self::Value(tree) => Parameters::of(&tree.value()).unwrap(),
            Self::Pairs(pairs) => {
                let pairs = shuffled(pairs.clone(), tape);
                if tape.flag() {
                    return Parameters::pairs(
                        pairs.into_iter().map(|(name, value)| (Cow::from(name), value)),
                    );
                }
                let form = form(&pairs, tape);
                match std::str::from_utf8(&form) {
                    Ok(query) if tape.flag() => Parameters::query(query).into_owned(),
                    _ => Parameters::form(&form).into_owned(),
                }
            }
        }
    }
}

fn value(tape: &mut Tape<'_>) -> Vec<u8> {
    if tape.byte() < 200 { text(tape).into_bytes() } else { tape.some(4).to_vec() }
}

/// In another order, in which those of one name keep theirs.
fn shuffled(mut pairs: Vec<(String, Vec<u8>)>, tape: &mut Tape<'_>) -> Vec<(String, Vec<u8>)> {
    for _ in 0..tape.below(8) {
        let at = usize::try_from(tape.below(pairs.len() as u64)).unwrap();
        if at + 1 < pairs.len() && pairs[at].0 != pairs[at + 1].0 {
            pairs.swap(at, at + 1);
        }
    }
    pairs
}

fn form(pairs: &[(String, Vec<u8>)], tape: &mut Tape<'_>) -> Vec<u8> {
    let style = tape.byte();
    let mut form = if style & 1 == 0 { Vec::new() } else { b"&&".to_vec() };
    for (name, value) in pairs {
        escape(name.as_bytes(), style, &mut form);
        if !value.is_empty() || name.is_empty() || style & 2 == 0 {
            form.push(b'=');
            escape(value, style, &mut form);
        }
        form.push(b'&');
    }
    form
}

fn escape(text: &[u8], style: u8, out: &mut Vec<u8>) {
    for byte in text {
        let plain = byte.is_ascii_alphanumeric() || (style & 4 == 0 && *byte >= 0x80);
        match byte {
            b' ' if style & 8 == 0 => out.push(b'+'),
            byte if plain && style & 16 == 0 => out.push(*byte),
            byte if style & 32 == 0 => out.extend(format!("%{byte:02x}").bytes()),
            byte => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
}

impl Tree {
    fn of(tape: &mut Tape<'_>, depth: u8) -> Self {
        match tape.byte() % if depth < DEPTH { 9 } else { 6 } {
            0 => Self::Null,
            1 => Self::Flag(tape.flag()),
            2 | 3 => Self::number(tape),
            4 | 5 => Self::Text(text(tape)),
            6 => Self::List((0..tape.below(4)).map(|_| Self::of(tape, depth + 1)).collect()),
            _ => Self::Object((0..tape.below(5)).map(|_| (text(tape), Self::of(tape, depth + 1))).collect()),
        }
    }

    fn number(tape: &mut Tape<'_>) -> Self {
        // 2^53 and its neighbours are where doubles are no longer exact.
        let (mut digits, mut exponent) = match tape.byte() % 4 {
            0 => (tape.below(20).cast_signed(), 0),
            1 => (9_007_199_254_740_990 + tape.below(8).cast_signed(), 0),
            2 => (tape.u32().into(), tape.below(40).cast_signed() - 20),
            _ => (tape.u64().cast_signed() / 2, tape.below(1000).cast_signed() - 500),
        };
        if tape.flag() {
            digits = -digits;
        }
        while digits != 0 && digits % 10 == 0 {
            (digits, exponent) = (digits / 10, exponent + 1);
        }
        Self::Number(digits, if digits == 0 { 0 } else { exponent })
    }

    fn edit(&mut self, tape: &mut Tape<'_>) {
        match self {
            Self::List(list) if !list.is_empty() && tape.byte() < 220 => {
                let at = usize::try_from(tape.below(list.len() as u64)).unwrap();
                match tape.byte() % 4 {
                    0 => list.swap(0, at),
                    1 => drop(list.remove(at)),
                    _ => list[at].edit(tape),
                }
            }
            Self::Object(members) if !members.is_empty() && tape.byte() < 220 => {
                let at = usize::try_from(tape.below(members.len() as u64)).unwrap();
                let name = members.keys().nth(at).unwrap().clone();
                let mut own = members.remove(&name).unwrap();
                match tape.byte() % 4 {
                    0 => drop(members.insert(text(tape), own)),
                    1 => {}
                    _ => {
                        own.edit(tape);
                        members.insert(name, own);
                    }
                }
            }
            Self::Number(digits, exponent) if *digits != 0 => match tape.byte() % 3 {
                0 => *exponent += 1,
                1 if (*digits + 1) % 10 != 0 => *digits += 1,
                _ => *digits = -*digits,
            },
            own => *own = Self::of(tape, DEPTH),
        }
    }

    /// As serde sees it: a number that it would round becomes a text.
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Number(digits, 0) => (*digits).into(),
            Self::Number(digits, exponent) => format!("number {digits} {exponent}").into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(list) => list.iter().map(Self::value).collect::<Vec<_>>().into(),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(name, own)| (name.clone(), own.value())).collect())
            }
        }
    }

    fn spell(&self, tape: &mut Tape<'_>, out: &mut String) {
        space(tape, out);
        match self {
            Self::Null => out.push_str("null"),
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Number(digits, exponent) => spell_number(*digits, *exponent, tape, out),
            Self::Text(text) => spell_text(text, tape, out),
            Self::List(list) => {
                out.push('[');
                for (at, own) in list.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    own.spell(tape, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let turn = usize::try_from(tape.below(members.len() as u64)).unwrap();
                members.rotate_left(turn);
                if tape.flag() {
                    members.reverse();
                }
                out.push('{');
                for (at, (name, own)) in members.into_iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    space(tape, out);
                    spell_text(name, tape, out);
                    space(tape, out);
                    out.push(':');
                    own.spell(tape, out);
                }
                out.push('}');
            }
        }
        space(tape, out);
    }
}

fn space(tape: &mut Tape<'_>, out: &mut String) {
    out.push_str(["", "", "", " ", "\n", "\t\r"][usize::from(tape.byte()) % 6]);
}

fn spell_number(digits: i64, exponent: i64, tape: &mut Tape<'_>, out: &mut String) {
    let (sign, mut text) = (if digits < 0 { "-" } else { "" }, digits.unsigned_abs().to_string());
    let mut exponent = exponent;
    // The point moves to the left, or zeros come to the right.
    match tape.byte() % 4 {
        0 if digits != 0 => {
            let zeros = tape.below(5);
            text.push_str(&"0".repeat(usize::try_from(zeros).unwrap()));
            exponent -= zeros.cast_signed();
        }
        1 => {
            let places = usize::try_from(tape.below(text.len() as u64)).unwrap();
            exponent += i64::try_from(places).unwrap();
            if places > 0 {
                text.insert(text.len() - places, '.');
                text.push_str(&"0".repeat(usize::from(tape.byte() % 3)));
            }
        }
        2 => text.push_str(".0"),
        _ => {}
    }
    out.push_str(sign);
    out.push_str(&text);
    if exponent != 0 || tape.byte() < 40 {
        out.push(if tape.flag() { 'e' } else { 'E' });
        out.push_str(if exponent >= 0 && tape.flag() { "+" } else { "" });
        out.push_str(&exponent.to_string());
    }
}

fn spell_text(text: &str, tape: &mut Tape<'_>, out: &mut String) {
    let style = tape.byte();
    out.push('"');
    for own in text.chars() {
        if style < 128 && own >= ' ' && own != '"' && own != '\\' {
            out.push(own);
            continue;
        }
        match own {
            '"' if style.is_multiple_of(2) => out.push_str("\\\""),
            '\\' if style.is_multiple_of(2) => out.push_str("\\\\"),
            own => own.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let unit = if style % 4 < 2 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                out.push_str(&unit);
            }),
        }
    }
    out.push('"');
}
