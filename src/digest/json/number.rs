//! Numbers of JSON by their exact decimal value (contract 2.3).
//!
//! Law: two numbers have one canonical text exactly when they are the same decimal number. A number is taken as
//! its significant digits (no zero at either end), k of them, and the place n of the decimal point before the
//! first: 0.DIGITS times 10 to the n. That is laid out as ECMAScript's `Number::toString` lays out a double:
//!
//! | n | layout | example |
//! | --- | --- | --- |
//! | k <= n <= 21 | digits, n - k zeros | 12e1: `120` |
//! | 0 < n <= 21, n < k | point after n digits | `1.25` |
//! | -6 < n <= 0 | `0.`, -n zeros, digits | `0.000001` |
//! | else, k = 1 | digit, `e`, sign, n - 1 | `1e+21` |
//! | else | first digit, `.`, the others, `e`, sign, n - 1 | `1.5e-7` |
//!
//! Zero is `0`, -0 too. An exponent of more than 18 digits is refused (unless the number is zero), so that no
//! sum overflows; no exponent makes it write more than 21 zeros.

/// Most significant digits of an exponent: ten to that fits an i64 with room for the digits of any text.
const EXPONENT_DIGITS_MAX: usize = 18;

/// Writes the number at the head of `input` and returns its length, or the offset where it stops being one.
pub(super) fn canonical(input: &[u8], out: &mut Vec<u8>) -> Result<usize, usize> {
    let sign = usize::from(input.first() == Some(&b'-'));
    let whole = match input.get(sign) {
        Some(b'0') => &input[sign..=sign],
        _ => digits(input, sign)?,
    };
    let mut end = sign + whole.len();
    if !matches!(input.get(end), Some(b'.' | b'e' | b'E'))
        && whole.len() <= 21
        && (sign == 0 || whole != b"0")
    {
        out.extend_from_slice(&input[..end]);
        return Ok(end);
    }
    let mut fraction = &[][..];
    if input.get(end) == Some(&b'.') {
        fraction = digits(input, end + 1)?;
        end += 1 + fraction.len();
    }
    let mut exponent = Some(0);
    let exponent_at = end;
    if let Some(b'e' | b'E') = input.get(end) {
        let minus = input.get(end + 1) == Some(&b'-');
        let signed = usize::from(matches!(input.get(end + 1), Some(b'-' | b'+')));
        let written = digits(input, end + 1 + signed)?;
        end += 1 + signed + written.len();
        exponent = exponent_of(written).map(|exponent| if minus { -exponent } else { exponent });
    }
    let significant = Significant::new(whole, fraction);
    if significant.count == 0 {
        out.push(b'0');
        return Ok(end);
    }
    let exponent = exponent.ok_or(exponent_at)?;
    if sign == 1 {
        out.push(b'-');
    }
    significant.write(exponent, out);
    Ok(end)
}

/// The digits from `start` on, at least one.
fn digits(input: &[u8], start: usize) -> Result<&[u8], usize> {
    let rest = input.get(start..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err(start) } else { Ok(&rest[..count]) }
}

fn exponent_of(written: &[u8]) -> Option<i64> {
    let zeros = written.iter().take_while(|&&digit| digit == b'0').count();
    let digits = &written[zeros..];
    if digits.len() > EXPONENT_DIGITS_MAX {
        return None;
    }
    Some(digits.iter().fold(0, |exponent, digit| exponent * 10 + i64::from(digit - b'0')))
}

/// The significant digits of a number, which stand in two places.
struct Significant<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    /// Zeros before them, counted over both.
    skipped: usize,
    count: usize,
}

impl<'a> Significant<'a> {
    fn new(whole: &'a [u8], fraction: &'a [u8]) -> Self {
        let zero = |digit: &&u8| **digit == b'0';
        let all = whole.len() + fraction.len();
        let skipped = whole.iter().chain(fraction).take_while(zero).count();
        let trailing = whole.iter().chain(fraction).rev().take_while(zero).count();
        Self { whole, fraction, skipped, count: all.saturating_sub(skipped + trailing) }
    }

    fn write(&self, exponent: i64, out: &mut Vec<u8>) {
        let count = signed(self.count);
        let point = signed(self.whole.len()) - signed(self.skipped) + exponent;
        match point {
            1..=21 if count <= point => {
                self.copy(0, self.count, out);
                zeros(point - count, out);
            }
            1..=21 => {
                let split = usize::try_from(point).unwrap_or_default();
                self.copy(0, split, out);
                out.push(b'.');
                self.copy(split, self.count, out);
            }
            -5..=0 => {
                out.extend_from_slice(b"0.");
                zeros(-point, out);
                self.copy(0, self.count, out);
            }
            _ => self.write_scientific(point - 1, out),
        }
    }

    fn write_scientific(&self, exponent: i64, out: &mut Vec<u8>) {
        self.copy(0, 1, out);
        if self.count > 1 {
            out.push(b'.');
            self.copy(1, self.count, out);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(exponent.unsigned_abs().to_string().as_bytes());
    }

    /// Writes significant digits `from..to`.
    fn copy(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        let (from, to) = (self.skipped + from, self.skipped + to);
        let border = self.whole.len();
        out.extend_from_slice(&self.whole[from.min(border)..to.min(border)]);
        out.extend_from_slice(&self.fraction[from.max(border) - border..to.max(border) - border]);
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("no text has 2^63 bytes")
}

fn zeros(count: i64, out: &mut Vec<u8>) {
    out.extend((0..count).map(|_| b'0'));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: &str) -> String {
        let mut out = Vec::new();
        assert_eq!(canonical(number.as_bytes(), &mut out), Ok(number.len()), "{number}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_is_written_by_its_decimal_value_in_the_layout_of_ecmascript_2_3() {
        for (written, number) in [
            ("0", "0 -0 0.0 -0.00 0e5 0E-9 -0e99999999999999999999 0.000e+0"),
            ("100", "100 1e2 100.0 1E+2 0.1e3 1000e-1 100.000 1e0002 1000000e-4"),
            ("-100", "-100 -1e2 -0.001e5"),
            ("0.1", "0.1 1e-1 0.10 0.01e1 1.0e-1"),
            ("1.25", "1.25 125e-2 0.0125e2 1.250"),
            ("0.000001", "0.000001 1e-6"),
            ("1e-7", "0.0000001 1e-7 10e-8 0.1e-6"),
            ("1.5e-7", "0.00000015 15e-8"),
            ("100000000000000000000", "100000000000000000000 1e20"),
            (
                "123456789012345678901",
                "123456789012345678901 123456789012345678901.0 1234567890123456789.01e2",
            ),
            ("1e+21", "1e21 1000000000000000000000 0.1e22"),
            ("1.234567890123456789012e+21", "1234567890123456789012"),
            ("123456789012345678901.5", "123456789012345678901.5 1234567890123456789015e-1"),
            ("9007199254740993", "9007199254740993 9007199254740.993e3"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("1e+400", "1e400 10e399"),
            ("1e+999999999999999999", "1e999999999999999999"),
            ("1e-999999999999999999", "1e-999999999999999999 1e-000000000999999999999999999"),
            ("1.2e+1000000000000000000", "12e999999999999999999"),
        ] {
            for number in number.split(' ') {
                assert_eq!(text(number), written, "{number}");
            }
        }
    }

    #[test]
    fn a_huge_exponent_neither_allocates_nor_overflows_10_4() {
        for (number, at) in [
            ("1e1000000000000000000", 1),
            ("1E-9999999999999999999999", 1),
            ("12.5e999999999999999999999999", 4),
        ] {
            let mut out = Vec::new();
            assert_eq!(canonical(number.as_bytes(), &mut out), Err(at), "{number}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_where_it_stops_being_one_2_3() {
        for (number, at) in [
            ("-", 1),
            ("", 0),
            ("1.", 2),
            ("1.e1", 2),
            ("1e", 2),
            ("1e+", 3),
            ("-x", 1),
            (".5", 0),
            ("+1", 0),
        ] {
            assert_eq!(canonical(number.as_bytes(), &mut Vec::new()), Err(at), "{number}");
        }
        assert_eq!(canonical(b"01", &mut Vec::new()), Ok(1), "the caller finds the rest");
        assert_eq!(canonical(b"-01", &mut Vec::new()), Ok(2));
    }
}
