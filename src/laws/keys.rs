//! Tokens, scopes and keys: the rule of contract 1 and nothing else.
//!
//! Law: a key is accepted exactly where the rule says so, and refused with what broke it; two keys have one encoding
//! exactly where they are one key, no encoding is the beginning of another, and none lies under another's scope. A header
//! names a token quoted or bare (contract 9.2): what is quoted comes back, and what comes back was quoted so, or is bare.

use super::tape::Tape;
use crate::error::{Error, ErrorKind, ScopeFault, TokenFault};
use crate::token::{
    Key, LABEL_BYTES_MAX, SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX, Token, token_in_header,
};

/// Two keys, often near each other, and a frame of any bytes.
///
/// # Panics
/// Where the law does not hold.
pub fn key_framing(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut texts = [tape.some(256), tape.some(256)].concat();
    for byte in &mut texts {
        *byte &= 0x7f;
    }
    let (near, at, other_at) = (tape.flag(), tape.u16(), tape.u16());
    let cut = |texts: &[u8], at: u16| -> Option<Key> {
        let (scope, token) = texts.split_at(usize::from(at) % (texts.len() + 1));
        Key::within(scope, token, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX).ok()
    };
    // The same bytes cut elsewhere, or with one byte more or less: what framing is for.
    let mut other = texts.clone();
    if near {
        let position = usize::from(tape.byte()) % (other.len() + 1);
        match tape.byte() % 4 {
            0 => other.insert(position, tape.byte() & 0x7f),
            1 if position < other.len() => drop(other.remove(position)),
            2 if position < other.len() => other[position] ^= 1 << (tape.byte() % 7),
            _ => {}
        }
    }
    if let (Some(one), Some(other)) = (cut(&texts, at), cut(&other, other_at)) {
        check_pair(&one, &other);
        check_derived(&one, &other, tape.some(300), tape.some(300));
    }
    check_frame(tape.rest());
}

fn check_pair(one: &Key, other: &Key) {
    let same = (one.scope(), one.token()) == (other.scope(), other.token());
    let (framed, other_framed) = (one.as_framed(), other.as_framed());
    assert_eq!(framed == other_framed, same, "one encoding for one key alone");
    assert_eq!(one == other, same);
    if !same {
        assert!(!framed.starts_with(other_framed) && !other_framed.starts_with(framed), "a key within a key");
    }
    let scope_frame = |key: &Key| key.as_framed()[..=key.scope().len()].to_vec();
    let under = other_framed.starts_with(&scope_frame(one));
    assert_eq!(under, one.scope() == other.scope(), "a scope contains its own keys alone");
    assert_eq!(Key::from_framed(framed).as_ref(), Some(one));
    assert_eq!(one.token_bytes(), one.token().len());
    let shown = format!("Key(scope: {} bytes, token: {} bytes)", one.scope().len(), one.token().len());
    assert_eq!(format!("{one:?}"), shown, "its bytes are never shown");
}

fn check_derived(one: &Key, other: &Key, label: &[u8], other_label: &[u8]) {
    let fits = |label: &[u8]| (1..=LABEL_BYTES_MAX).contains(&label.len());
    let (derived, other_derived) = (one.derive(label), other.derive(other_label));
    assert_eq!((derived.is_ok(), other_derived.is_ok()), (fits(label), fits(other_label)));
    if let (Ok(derived), Ok(other_derived)) = (derived, other_derived) {
        assert_eq!(derived == other_derived, one == other && label == other_label);
        assert!(Token::parse(&derived).is_ok(), "within the default rule");
    }
}

/// Bytes that may be a frame: if so, they are the frame of that very key.
fn check_frame(bytes: &[u8]) {
    if let Some(key) = Key::from_framed(bytes) {
        assert_eq!(key.as_framed(), bytes, "what is accepted encodes back to the same bytes");
    }
}

/// Token and scope under limits of a store.
///
/// # Panics
/// Where the law does not hold.
pub fn token_and_header(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (scope_max, token_max) = (usize::from(tape.u16()) % 300, usize::from(tape.u16()) % 300);
    let scope = tape.some(300);
    let token = tape.rest();
    let (scope_limit, token_limit) = (scope_max.min(255), token_max.min(255));
    let scope_fault = match scope.len() {
        0 => Some(ScopeFault::Empty),
        measured if measured > scope_limit => Some(ScopeFault::TooLong { measured, limit: scope_limit }),
        _ => None,
    };
    let expected =
        scope_fault.map_or(token_fault(token, token_limit), |own| Some(ErrorKind::InvalidScope(own)));
    let key = Key::within(scope, token, scope_max, token_max);
    assert_eq!(key.as_ref().err().map(Error::kind), expected.as_ref());
    if let Ok(key) = key {
        assert_eq!((key.scope(), key.token().as_bytes()), (scope, token));
    }
    let parsed = Token::parse(token);
    assert_eq!(parsed.as_ref().err().map(Error::kind), token_fault(token, TOKEN_BYTES_DEFAULT).as_ref());
    if let Ok(parsed) = parsed {
        assert_eq!((parsed.as_str().as_bytes(), parsed.as_ref()), (token, token));
        assert_eq!(
            format!("{parsed:?}"),
            format!("Token({} bytes)", token.len()),
            "its bytes are never shown"
        );
    }
    check_header(token);
}

/// These bytes as a header, and in one.
fn check_header(bytes: &[u8]) {
    let value = bytes.trim_ascii();
    match token_in_header(bytes) {
        Ok(named) if value.starts_with(b"\"") => assert!(value.starts_with(&quoted(&named))),
        Ok(named) => assert_eq!(named, value),
        Err(error) => {
            assert!(value.starts_with(b"\"") && error.is_bad_input(), "{error}");
        }
    }
    let named = token_in_header(&quoted(bytes)).map(|own| own == bytes);
    let visible = bytes.iter().all(|own| matches!(own, b' '..=b'~'));
    assert_eq!(named.ok(), visible.then_some(true));
}

/// A structured-field string (RFC 9651, section 4.1.6).
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for own in bytes {
        quoted.extend(matches!(own, b'"' | b'\\').then_some(b'\\'));
        quoted.push(*own);
    }
    quoted.push(b'"');
    quoted
}

/// The rule, as the contract says it: one to so many ASCII characters.
fn token_fault(token: &[u8], limit: usize) -> Option<ErrorKind> {
    let fault = match token.len() {
        0 => TokenFault::Empty,
        measured if measured > limit => TokenFault::TooLong { measured, limit },
        _ => TokenFault::NotAscii { position: token.iter().position(|byte| *byte > 0x7f)? },
    };
    Some(ErrorKind::InvalidToken(fault))
}
