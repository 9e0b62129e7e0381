//! The parameters one by one, as a record keeps them so that a mismatch can tell which differ (contract 2.6).
//!
//! Law: laid out by hand and bounded by what an outline may hold, [`OUTLINE_BYTES_MAX`]. A record without one is
//! byte for byte what it always was, and one with it is *newer format* to a reader that does not know it.
//!
//! ```text
//! length u16 of what follows | reach u8 | for each name, sorted: digest u64 | length u8 | name
//! ```
//! Reach: 1 where longer names were left out, 2 where those behind the last were.

use super::{
    BODY_LENGTH, FLAG_OMITTED, FLAG_OUTLINE, FLAGS, KEY, Kind, OMITTED_BYTES, Record, u16_at, u32_at, u64_at,
};
use crate::digest::{NAME_BYTES_MAX, NAMES_MAX, Outline};

const HEAD: usize = 3;
const NAME_HEAD: usize = 8 + 1;
/// Most bytes that an outline takes in a record: 4675.
const OUTLINE_BYTES_MAX: usize = HEAD + NAMES_MAX * (NAME_HEAD + NAME_BYTES_MAX);

const LONG: u8 = 1;
const CUT: u8 = 2;

/// How many bytes an outline takes in a record.
pub(crate) fn outline_length<T>(outline: &Outline<T>) -> usize {
    HEAD + outline.parameters.iter().map(|(name, _)| NAME_HEAD + name.len()).sum::<usize>()
}

/// An outline as it stands in a record.
pub(crate) fn outline_bytes(outline: &Outline<u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(outline_length(outline));
    bytes.resize(HEAD, 0);
    bytes[HEAD - 1] = if outline.long { LONG } else { 0 } | if outline.cut { CUT } else { 0 };
    for (name, digest) in &outline.parameters {
        bytes.extend_from_slice(&digest.to_le_bytes());
        bytes.push(u8::try_from(name.len()).expect("names in an outline have at most 64 bytes"));
        bytes.extend_from_slice(name.as_bytes());
    }
    let length = u16::try_from(bytes.len() - 2).expect("an outline has at most 64 names");
    bytes[..2].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Length of the outline at the head of `bytes`, its own length included.
pub(super) fn length_at(bytes: &[u8]) -> Option<usize> {
    let length = 2 + usize::from(u16_at(bytes.get(..2)?, 0));
    (HEAD..=OUTLINE_BYTES_MAX).contains(&length).then_some(length)
}

/// What [`outline_bytes`] wrote.
fn read(bytes: &[u8]) -> Option<Outline<u64>> {
    let reach = *bytes.get(HEAD - 1)?;
    let mut parameters: Vec<(Box<str>, u64)> = Vec::new();
    let mut rest = &bytes[HEAD..];
    while !rest.is_empty() {
        let (head, behind) = rest.split_at_checked(NAME_HEAD)?;
        let (name, behind) = behind.split_at_checked(usize::from(head[NAME_HEAD - 1]))?;
        parameters.push((std::str::from_utf8(name).ok()?.into(), u64_at(head, 0)));
        rest = behind;
    }
    let sorted = parameters.is_sorted_by(|one, other| one.0 < other.0);
    sorted.then_some(Outline { parameters, long: reach & LONG != 0, cut: reach & CUT != 0 })
}

impl<'a> Record<'a> {
    /// The parameters one by one, of a record that has them.
    pub(crate) fn outline(&self) -> Option<Outline<u64>> {
        let bytes = self.outline_bytes();
        if bytes.is_empty() { None } else { read(bytes) }
    }

    /// The bytes of its outline; empty for none.
    pub(crate) fn outline_bytes(&self) -> &'a [u8] {
        let keyed = matches!(self.kind, Kind::Finished | Kind::Started | Kind::Released);
        if !keyed || self.bytes[FLAGS] & FLAG_OUTLINE == 0 {
            return &[];
        }
        let omitted = if self.bytes[FLAGS] & FLAG_OMITTED != 0 { OMITTED_BYTES } else { 0 };
        let from = &self.bytes[KEY + self.key_len + u32_at(self.bytes, BODY_LENGTH) as usize + omitted..];
        length_at(from).and_then(|length| from.get(..length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Outline<u64> {
        let parameters = (1..).zip(names).map(|(digest, name)| (Box::from(*name), digest)).collect();
        Outline { parameters, long: false, cut: false }
    }

    #[test]
    fn the_layout_is_pinned_and_comes_back_2_6() {
        let outline = Outline { long: true, ..of(&["", "ab"]) };
        let bytes = outline_bytes(&outline);
        assert_eq!(bytes, b"\x15\0\x01\x01\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02ab");
        assert_eq!(outline_length(&outline), bytes.len());
        assert_eq!((read(&bytes), length_at(&bytes)), (Some(outline), Some(bytes.len())));
        let none = Outline { cut: true, ..of(&[]) };
        assert_eq!(read(&outline_bytes(&none)), Some(none));
    }

    #[test]
    fn the_largest_outline_has_the_stated_size_2_6() {
        let names: Vec<String> = (0..NAMES_MAX).map(|number| format!("{number:0>NAME_BYTES_MAX$}")).collect();
        let bytes = outline_bytes(&of(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!((bytes.len(), length_at(&bytes)), (4675, Some(OUTLINE_BYTES_MAX)));
    }

    #[test]
    fn what_is_no_outline_is_told_from_one_10_4() {
        for (bytes, length) in [(&[][..], None), (&[1], None), (&[0, 0, 0], None), (&[1, 0, 0], Some(3))] {
            assert_eq!(length_at(bytes), length, "{bytes:?}");
        }
        assert_eq!(length_at(&[0xff; 3]), None, "larger than any");
        let sound = outline_bytes(&of(&["a", "b"]));
        for length in HEAD + 1..sound.len() {
            let whole = length == HEAD + NAME_HEAD + 1;
            assert_eq!(read(&sound[..length]).is_some(), whole, "{length}");
        }
        let unsorted = outline_bytes(&of(&["b", "a"]));
        assert_eq!(read(&unsorted), None);
        assert_eq!(read(&outline_bytes(&of(&["a", "a"]))), None, "each name once");
    }
}
