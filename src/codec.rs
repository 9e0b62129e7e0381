//! The one door to bincode: fixed-width little endian, bounded, every byte consumed.
//!
//! Law: nothing else in the crate names bincode, so that the codec can be replaced without moving a file. The
//! configuration is bincode 1's (`legacy`), which others read and write too. Decoding is bounded by a limit, so
//! that a few hostile bytes can't ask for gigabytes (contract 10.4), and leftover bytes are an error.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
pub(crate) use bincode::{Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn settings<const BYTES_MAX: usize>() -> Configuration<LittleEndian, Fixint, Limit<BYTES_MAX>> {
    config::legacy().with_limit::<BYTES_MAX>()
}

/// Appends a value of ours to `out`.
pub(crate) fn encode_into(value: &impl Encode, out: &mut Vec<u8>) {
    let bytes = bincode::encode_to_vec(value, config::legacy())
        .expect("plain strings, numbers and lists of them always encode");
    out.extend_from_slice(&bytes);
}

/// A value of ours, of at most `BYTES_MAX` bytes in memory; `None` where the bytes are not exactly one.
pub(crate) fn decode<T: Decode<()>, const BYTES_MAX: usize>(bytes: &[u8]) -> Option<T> {
    let (value, used) = bincode::decode_from_slice(bytes, settings::<BYTES_MAX>()).ok()?;
    (used == bytes.len()).then_some(value)
}

/// Most bytes of a caller's value, written or read.
const VALUE_BYTES_MAX: usize = 1 << 30;

/// A caller's value as bytes; `None` where its type can't be written.
pub(crate) fn write_value(value: &impl Serialize) -> Option<Vec<u8>> {
    bincode::serde::encode_to_vec(value, settings::<VALUE_BYTES_MAX>()).ok()
}

/// A caller's value out of bytes; `None` where they are not exactly one of its type.
pub(crate) fn read_value<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, settings::<VALUE_BYTES_MAX>()).ok()?;
    (used == bytes.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decode_bomb_is_refused_before_it_allocates_10_4() {
        let bomb = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4];
        assert_eq!(decode::<Vec<(String, String)>, 1024>(&bomb), None);
        assert_eq!(read_value::<Vec<String>>(&bomb), None);
    }

    #[test]
    fn leftover_bytes_are_an_error() {
        let mut bytes = write_value(&7_u32).unwrap();
        assert_eq!(read_value::<u32>(&bytes), Some(7));
        bytes.push(0);
        assert_eq!(read_value::<u32>(&bytes), None);
    }
}
