//! Strings of JSON: runs that need no care, escapes read and written (RFC 8259 section 7, RFC 8785 section 3.2.2.2).

use std::borrow::Cow;
use std::cmp::Ordering;

/// How many bytes at the head of `text` are neither a quotation mark, nor a backslash, nor below 0x20: eight are
/// looked at a time.
#[inline]
pub(super) fn plain_run(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    const QUOTES: u64 = ONES * 0x22;
    const BACKSLASHES: u64 = ONES * 0x5c;
    // The lowest byte that is marked is marked rightly; borrows reach only the bytes above it.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let marked = below_space | zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if marked != 0 {
            return at * 8 + marked.trailing_zeros() as usize / 8;
        }
    }
    let tail = words.len() * 8;
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    text[tail..].iter().position(special).map_or(text.len(), |at| tail + at)
}

/// The character of the escape at the head of `text`, and the length of the escape. `None` for what is no
/// escape, lone surrogates among it.
pub(super) fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_units(text),
        _ => return None,
    };
    Some((character, 2))
}

fn unescape_units(text: &[u8]) -> Option<(char, usize)> {
    let first = unit(text)?;
    if !(0xd800..0xe000).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(text.get(6..)?)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let character = 0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00));
    Some((char::from_u32(character)?, 12))
}

/// The code unit of the `\uXXXX` at the head of `text`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

/// Writes a character the one way that RFC 8785 has for it.
pub(super) fn escape(character: char, out: &mut Vec<u8>) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\0'..='\u{1f}' => {
            let code = character as usize;
            let hex = b"0123456789abcdef";
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex[code >> 4], hex[code & 15]]);
            return;
        }
        _ => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// What stands in a canonical string, without its quotation marks; `None` for bytes that are none.
pub(super) fn decoded(canonical: &[u8]) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(canonical) {
        Ok(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => characters(canonical).collect::<Option<String>>().map(Cow::Owned),
    }
}

/// The order of two canonical strings (without quotation marks) by UTF-16 code units of what they stand for.
pub(super) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    // Bytes order as UTF-16 does, but for escapes and for U+E000 to U+FFFF (0xee, 0xef), which stand behind the
    // surrogates of what is above them.
    let plain = |text: &[u8]| text.iter().all(|&byte| byte < 0xee && byte != b'\\');
    if plain(one) && plain(other) {
        return one.cmp(other);
    }
    let rank = |character: Option<char>| match character.map(u32::from) {
        Some(code @ 0xe000..=0xffff) => Some(code + 0x11_0000),
        code => code,
    };
    characters(one).map(rank).cmp(characters(other).map(rank))
}

/// The characters that a canonical string stands for; the last one is `None` where the bytes are none.
fn characters(canonical: &[u8]) -> impl Iterator<Item = Option<char>> {
    let mut rest = Some(std::str::from_utf8(canonical).ok());
    std::iter::from_fn(move || {
        let Some(text) = rest.take()? else { return Some(None) };
        let first = text.chars().next()?;
        let own = if first == '\\' { unescape(text.as_bytes()) } else { Some((first, first.len_utf8())) };
        rest = own.map(|(_, length)| text.get(length..));
        Some(own.map(|(character, _)| character))
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn a_plain_run_ends_at_the_first_byte_that_needs_care() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for before in 0..40 {
                for after in [0, 1, 7, 8, 20] {
                    let mut text = vec![0xc3; before];
                    text.push(special);
                    text.extend(std::iter::repeat_n(0x21, after));
                    assert_eq!(plain_run(&text), before, "{special} {before} {after}");
                }
            }
        }
        for plain in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
            assert_eq!(plain_run(&[plain; 21]), 21, "{plain}");
        }
    }

    #[test]
    fn each_character_is_written_one_way_and_read_back_2_3() {
        for character in
            ('\0'..'\u{300}').chain(['\u{2028}', '\u{d7ff}', '\u{e000}', '\u{ffff}', '\u{10000}', char::MAX])
        {
            let mut out = Vec::new();
            escape(character, &mut out);
            assert_eq!(decoded(&out).unwrap(), character.to_string());
            let mut escaped = String::new();
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{unit:04X}").unwrap();
            }
            assert_eq!(unescape(escaped.as_bytes()), Some((character, escaped.len())));
        }
    }

    #[test]
    fn what_has_a_short_escape_is_written_by_it_2_3() {
        for (character, written) in [
            ('"', "\\\""),
            ('\\', "\\\\"),
            ('\u{8}', "\\b"),
            ('\t', "\\t"),
            ('\n', "\\n"),
            ('\u{c}', "\\f"),
            ('\r', "\\r"),
            ('\0', "\\u0000"),
            ('\u{b}', "\\u000b"),
            ('\u{1f}', "\\u001f"),
            ('/', "/"),
            ('\u{7f}', "\u{7f}"),
        ] {
            let mut out = Vec::new();
            escape(character, &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(written), "{written}");
        }
    }

    #[test]
    fn lone_surrogates_and_broken_escapes_are_refused_2_3() {
        for text in [
            r"\ud800",
            r"\udc00",
            r"\udc00\ud800",
            r"\ud800\ud800",
            r"\ud800x",
            r"\ud800\n",
            r"\ud800\u12",
            r"\u12",
            r"\u12g4",
            r"\u+123",
            r"\x",
            r"\",
            r"\U0041",
        ] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_are_ordered_by_utf_16_code_units_2_3() {
        // RFC 8785 section 3.2.3, and escapes in the middle.
        let ordered = [
            "",
            r"\n",
            r"\r",
            "1",
            r"\\",
            "a",
            r"a\u0001",
            "ab",
            "\u{80}",
            "\u{f6}",
            "\u{20ac}",
            "\u{1f600}",
            "\u{fb33}",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(compare(one.as_bytes(), other.as_bytes()), at.cmp(&other_at), "{one} {other}");
            }
        }
    }
}
