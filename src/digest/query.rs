//! Query strings and forms taken apart (`application/x-www-form-urlencoded`, contract 2.3).
//!
//! Law: what comes out are pairs, the very ones that the client put in; what is not a form is refused with the
//! byte where reading stopped. Names are UTF-8, values any bytes.
//!
//! | piece | pair |
//! | --- | --- |
//! | `a=1`, `%61=%31` | a, 1 |
//! | `a`, `a=` | a, empty |
//! | `=1` | empty, 1 |
//! | `a=b=c` | a, b=c |
//! | `a+b=c%2Bd` | a b, c+d |
//! | nothing between two `&` | none |
//! | `%`, `%4`, `%zz`, a name that is not UTF-8 | refused |

use std::borrow::Cow;

use super::parameters::Pair;
use crate::error::{Error, ErrorKind, ParameterFault, Result};

/// How many pairs [`parse`] will find.
pub(super) fn count(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).count()
}

/// The pairs, in the order given.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Pair<'_>>> {
    let mut pairs = Vec::with_capacity(count(text));
    let mut start = 0;
    for piece in text.split(|&byte| byte == b'&') {
        if !piece.is_empty() {
            pairs.push(pair(piece, start)?);
        }
        start += piece.len() + 1;
    }
    Ok(pairs)
}

fn pair(piece: &[u8], start: usize) -> Result<Pair<'_>> {
    let cut = piece.iter().position(|&byte| byte == b'=').unwrap_or(piece.len());
    let name = text(decode(&piece[..cut], start)?, start)?;
    let value = decode(piece.get(cut + 1..).unwrap_or_default(), start + cut + 1)?;
    Ok((name, value))
}

/// A name as text. A fault is placed where the name begins, or at the byte itself if nothing was decoded.
fn text(name: Cow<'_, [u8]>, start: usize) -> Result<Cow<'_, str>> {
    match name {
        Cow::Borrowed(name) => match std::str::from_utf8(name) {
            Ok(name) => Ok(Cow::Borrowed(name)),
            Err(error) => Err(fault(start + error.valid_up_to())),
        },
        Cow::Owned(name) => String::from_utf8(name).map(Cow::Owned).map_err(|_| fault(start)),
    }
}

fn decode(text: &[u8], start: usize) -> Result<Cow<'_, [u8]>> {
    let Some(first) = text.iter().position(|&byte| byte == b'%' || byte == b'+') else {
        return Ok(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(&text[..first]);
    let mut at = first;
    while let Some(&byte) = text.get(at) {
        let escape = text.get(at + 1..at + 3);
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => escape.and_then(hex_byte).ok_or_else(|| fault(start + at))?,
            _ => byte,
        });
        at += if byte == b'%' { 3 } else { 1 };
    }
    Ok(Cow::Owned(decoded))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |byte, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(byte << 4 | u8::try_from(value).ok()?)
    })
}

fn fault(position: usize) -> Error {
    ErrorKind::InvalidParameters(ParameterFault::Query { position }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let own =
            |(name, value): Pair<'_>| (name.into_owned(), String::from_utf8(value.into_owned()).unwrap());
        parse(text.as_bytes()).unwrap().into_iter().map(own).collect()
    }

    #[test]
    fn a_form_is_taken_apart_as_the_table_says_2_3() {
        for (text, pairs) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1", &[("a", "1")]),
            ("%61=%31", &[("a", "1")]),
            ("a&b=", &[("a", ""), ("b", "")]),
            ("=1", &[("", "1")]),
            ("=", &[("", "")]),
            ("a=b=c&", &[("a", "b=c")]),
            ("&a+b=c%2Bd&&%C3%A4=%c3%a4", &[("a b", "c+d"), ("\u{e4}", "\u{e4}")]),
            ("a%26b%3Dc=%25", &[("a&b=c", "%")]),
        ] {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(parsed(text), pairs, "{text}");
            assert_eq!(count(text.as_bytes()), pairs.len(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_form_is_refused_with_its_place_2_3() {
        for (text, position) in [
            (&b"%"[..], 0),
            (b"a=1&b=%4", 6),
            (b"a=%zz", 2),
            (b"a=1%+1", 3),
            (b"&a%", 2),
            (b"x=1&\xff=1", 4),
            (b"x=1&ab%ff=1", 4),
        ] {
            assert_eq!(parse(text).unwrap_err(), fault(position), "{text:?}");
        }
        assert_eq!(parse(b"a=\xff").unwrap()[0].1, &b"\xff"[..], "a value is any bytes");
    }
}
