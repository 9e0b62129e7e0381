//! The token that a header field names (contract 9.2).
//!
//! Law: a field is either a structured-field string (RFC 9651, section 3.3.3: quoted, `\` before `"` and `\`, visible ASCII and
//! spaces, parameters after it ignored), as draft-ietf-httpapi-idempotency-key-header-07 has it, or else *bare*: its bytes
//! as they stand, without the white space around them. Both spell the same token. What begins with a quotation mark and is
//! no such string is refused: nothing is guessed. Whether the token itself is allowed is for [`super::Key`] to say.

use std::borrow::Cow;

use crate::error::{ErrorKind, Result, TokenFault};

/// The token that the value of an `Idempotency-Key` header field names, quoted or bare (contract 9.2). Its length and its
/// characters are checked where it becomes a key.
///
/// ```
/// use oncekey::token_in_header;
///
/// let quoted = token_in_header(br#""8e03978e-40d5-43dd-bc93-6894a57f9324""#)?;
/// assert_eq!(quoted, token_in_header(b"8e03978e-40d5-43dd-bc93-6894a57f9324")?);
/// assert!(token_in_header(br#""no end"#).is_err());
/// # Ok::<(), oncekey::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidToken`], with the position at which a quoted string stops being one.
pub fn token_in_header(value: &[u8]) -> Result<Cow<'_, [u8]>> {
    let value = value.trim_ascii();
    let Some(quoted) = value.strip_prefix(b"\"") else { return Ok(Cow::Borrowed(value)) };
    let mut token = Cow::Borrowed(&quoted[..0]);
    let mut at = 0;
    loop {
        let fault = ErrorKind::InvalidToken(TokenFault::BadQuotes { position: at + 1 });
        match (quoted.get(at), quoted.get(at + 1)) {
            (Some(b'"'), next) => {
                let parameters = matches!(next, None | Some(b';' | b' ' | b'\t'))
                    && matches!(quoted[at + 1..].trim_ascii_start(), [] | [b';', ..]);
                return if parameters { Ok(token) } else { Err(fault.into()) };
            }
            (Some(b'\\'), Some(escaped @ (b'"' | b'\\'))) => {
                token.to_mut().push(*escaped);
                at += 2;
            }
            (Some(own @ b' '..=b'~'), _) if *own != b'\\' => {
                match &mut token {
                    Cow::Borrowed(run) => *run = &quoted[..=at],
                    Cow::Owned(bytes) => bytes.push(*own),
                }
                at += 1;
            }
            _ => return Err(fault.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<String> {
        token_in_header(value.as_bytes()).ok().map(|own| String::from_utf8(own.into_owned()).unwrap())
    }

    #[test]
    fn quoted_and_bare_are_the_same_token_9_2() {
        let cases = [
            ("abc", Some("abc")),
            ("  abc\t", Some("abc")),
            ("\"abc\"", Some("abc")),
            (" \"abc\" ", Some("abc")),
            ("\"a\\\"b\\\\c\"", Some("a\"b\\c")),
            ("\"a b\"", Some("a b")),
            ("\"\"", Some("")),
            ("", Some("")),
            ("\"abc\";v=1", Some("abc")),
            ("\"abc\" ; v=1", Some("abc")),
            ("a\"b", Some("a\"b")),
            ("abc;v=1", Some("abc;v=1")),
        ];
        for (value, expected) in cases {
            assert_eq!(read(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_begins_as_a_string_and_is_none_is_refused_where_it_stops_9_2() {
        let cases = [
            ("\"", 1),
            ("\"abc", 4),
            ("\"abc\\", 4),
            ("\"a\\bc\"", 2),
            ("\"a\"b", 2),
            ("\"a\", \"b\"", 2),
            ("\"a\" \"b\"", 2),
            ("\"a\tb\"", 2),
            ("\"\u{e9}\"", 1),
        ];
        for (value, position) in cases {
            let error = token_in_header(value.as_bytes()).unwrap_err();
            let expected = ErrorKind::InvalidToken(TokenFault::BadQuotes { position });
            assert_eq!(error.kind(), &expected, "{value}");
        }
    }
}
