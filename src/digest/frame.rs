//! Framing into BLAKE3: gather short parts, then hash them at once.
//!
//! Law: [`Framer::framed`] writes a part's length (u64, little-endian) before its bytes, so that no two lists
//! of parts write the same text (contract 2.1). What is hashed is the plain concatenation of all that was
//! written; the buffer is there for speed alone, since BLAKE3 is slow when fed by spoonfuls.

/// Bytes gathered on the stack: most requests fit, and then hash in one call without a hasher's state.
const BUFFER_BYTES: usize = 1024;

/// One message being written.
pub(super) struct Framer<'k> {
    key: Option<&'k [u8; blake3::KEY_LEN]>,
    /// Two kilobytes, which few need and none moves.
    hasher: Option<Box<blake3::Hasher>>,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl<'k> Framer<'k> {
    /// An unkeyed message that begins with `domain`.
    pub(super) fn in_domain(domain: &[u8]) -> Self {
        let mut framer = Self { key: None, hasher: None, buffer: [0; BUFFER_BYTES], used: 0 };
        framer.raw(domain);
        framer
    }

    /// A message under `key`.
    pub(super) fn keyed(key: &'k [u8; blake3::KEY_LEN]) -> Self {
        Self { key: Some(key), hasher: None, buffer: [0; BUFFER_BYTES], used: 0 }
    }

    /// Bytes without a frame: of fixed length, or the last of a message.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        match self.buffer[self.used..].get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.spill(bytes),
        }
    }

    /// A number, as u64 little-endian.
    #[inline]
    pub(super) fn number(&mut self, number: usize) {
        self.raw(&(number as u64).to_le_bytes());
    }

    /// Bytes after their length.
    #[inline]
    pub(super) fn framed(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.raw(bytes);
    }

    /// The hash of all that was written.
    pub(super) fn finish(self) -> blake3::Hash {
        let rest = &self.buffer[..self.used];
        match (self.hasher, self.key) {
            (Some(mut hasher), _) => hasher.update(rest).finalize(),
            (None, Some(key)) => blake3::keyed_hash(key, rest),
            (None, None) => blake3::hash(rest),
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        let key = self.key;
        let hasher = self
            .hasher
            .get_or_insert_with(|| Box::new(key.map_or_else(blake3::Hasher::new, blake3::Hasher::new_keyed)));
        hasher.update(&self.buffer[..self.used]);
        hasher.update(bytes);
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_is_the_concatenation_whatever_the_sizes_of_the_parts_2_1() {
        let key = [7; 32];
        for size in [0, 1, 7, 500, 1023, 1024, 1025, 5000] {
            let part: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[0]).collect();
            let mut framer = Framer::in_domain(b"domain");
            let mut keyed = Framer::keyed(&key);
            let mut text = Vec::new();
            for _ in 0..4 {
                framer.framed(&part);
                keyed.framed(&part);
                text.extend_from_slice(&(size as u64).to_le_bytes());
                text.extend_from_slice(&part);
            }
            assert_eq!(framer.finish(), blake3::hash(&[b"domain", &text[..]].concat()), "{size}");
            assert_eq!(keyed.finish(), blake3::keyed_hash(&key, &text), "{size}");
        }
    }
}
