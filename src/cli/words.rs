//! Times, ages, sizes and bytes in words.
//!
//! Law: what came from callers goes to a terminal escaped, so that no token moves a cursor or sets a title.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use indicatif::{HumanBytes, HumanCount, HumanDuration};

use crate::time::Timestamp;

/// The last millisecond that RFC 3339 has a name for.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// RFC 3339, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    let millis = at.as_millis();
    if millis > LAST_MILLIS {
        return "never".to_owned();
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}

/// How long ago that was, or in how long it will be.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    if at.as_millis() > LAST_MILLIS {
        "never".to_owned()
    } else if at > now {
        format!("in {}", span(at.since(now)))
    } else {
        format!("{} ago", span(now.since(at)))
    }
}

pub(super) fn span(time: Duration) -> String {
    HumanDuration(time).to_string()
}

pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `1 record`, `2 records`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As many bytes as are asked for, out of hexadecimal digits.
pub(super) fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digit = |own: u8| char::from(own).to_digit(16).and_then(|own| u8::try_from(own).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(*pair.get(1)?)?;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

/// Bytes of a caller's, fit for a terminal.
pub(super) fn shown(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.escape_ascii().to_string() };
    let mut shown = String::with_capacity(text.len());
    for own in text.chars() {
        match own {
            '"' | '\'' => shown.push(own),
            _ => shown.extend(own.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_and_the_end_of_time_is_never() {
        assert_eq!(time(Timestamp::from_millis(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(time(Timestamp::from_millis(LAST_MILLIS)), "9999-12-31T23:59:59.999Z");
        for late in [Timestamp::from_millis(LAST_MILLIS + 1), Timestamp::MAX] {
            assert_eq!((time(late), age(late, Timestamp::default())), ("never".into(), "never".into()));
        }
    }

    #[test]
    fn ages_and_sizes_are_in_words() {
        let now = Timestamp::from_millis(7_200_000);
        assert_eq!(age(Timestamp::default(), now), "2 hours ago");
        assert_eq!(age(now.saturating_add(Duration::from_secs(80)), now), "in 80 seconds");
        assert_eq!((size(1536), count(1_000_000)), ("1.50 KiB".into(), "1,000,000".into()));
    }

    #[test]
    fn hexadecimal_digits_come_back_and_nothing_else_does() {
        assert_eq!(unhex(hex(&[0, 0xab, 255]).as_bytes()), Some([0, 0xab, 255]));
        for wrong in ["", "00", "0000000", "00000g", "00ab", "0000+0"] {
            assert_eq!(unhex::<3>(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_callers_sent_moves_no_cursor_10_2() {
        assert_eq!(shown(b"a\x1b[2J\n\\"), "a\\u{1b}[2J\\n\\\\");
        assert_eq!(shown("\u{202e}\"é".as_bytes()), "\\u{202e}\"é");
        assert_eq!(shown(b"\xff\0a"), "\\xff\\x00a");
    }
}
