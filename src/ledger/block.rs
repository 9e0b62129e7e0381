//! A block: the records of one commit (or a part of them) packed into one value.
//!
//! Law: a record's place says where in the block it begins, so whoever has it needs no table. The fingerprints of a
//! block's records stand in it twice, in front and at the end, each copy with a checksum of its own, so that a damaged
//! record still says which key it belonged to and is never taken for a key never seen (contract 5.9). If neither copy
//! reads, the block is *blind* and the ledger says so.
//!
//! ```text
//! front:   magic u32 | length u32 | number u64 | time u64 | expires u64 | count u32 | 0 u32 | checksum u64 | table
//! records: one behind the other
//! end:     table | magic u32 | length u32 | number u64 | time u64 | expires u64 | count u32 | 1 u32 | checksum u64
//! table:   count × (hash u64 | offset u16)
//! ```

use crate::record::{HashKeys, Location, Opened, RecordKeys, Unreadable, u16_at, u32_at, u64_at};
use crate::time::Timestamp;

const MAGIC: u32 = u32::from_le_bytes(*b"oKb1");
const HEAD_BYTES: usize = 48;
const CHECKSUM: usize = HEAD_BYTES - 8;
const ENTRY_BYTES: usize = 10;
/// How far from the head of a page of redb's a block may begin that stands in it alone.
const GLIMPSE_BYTES: usize = 64;

/// Bytes that a block adds to its records.
pub(crate) const fn overhead(records: usize) -> usize {
    2 * (HEAD_BYTES + records * ENTRY_BYTES)
}

/// What all records of a block share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    /// The store's time when it was written.
    pub(crate) time: Timestamp,
    /// When the last of its records expires.
    pub(crate) expires: Timestamp,
    pub(crate) count: usize,
}

/// A record that goes into a block: fingerprint of its key and bytes without checksum.
pub(crate) struct Item<'a> {
    pub(crate) hash: u64,
    pub(crate) bytes: &'a [u8],
}

/// Packs records into a block's bytes, seals each for its place, and puts these behind `places`.
pub(crate) fn encode(
    number: u64,
    time: Timestamp,
    expires: Timestamp,
    items: &[Item<'_>],
    keys: RecordKeys<'_>,
    places: &mut Vec<Location>,
) -> Vec<u8> {
    let records: usize = items.iter().map(|item| item.bytes.len() + keys.tag_bytes()).sum();
    let size = overhead(items.len()) + records;
    let mut bytes = Vec::with_capacity(size);
    let head = Head { number, time, expires, count: items.len() };
    bytes.resize(HEAD_BYTES + items.len() * ENTRY_BYTES, 0);
    for (nth, item) in items.iter().enumerate() {
        let begin = bytes.len();
        let offset = u16::try_from(begin).expect("a block of more than one record is under 64 KiB");
        let at = Location::new(number, offset);
        bytes.extend_from_slice(item.bytes);
        keys.seal(&mut bytes, begin, at);
        places.push(at);
        let entry = &mut bytes[HEAD_BYTES + nth * ENTRY_BYTES..][..ENTRY_BYTES];
        entry[..8].copy_from_slice(&item.hash.to_le_bytes());
        entry[8..].copy_from_slice(&offset.to_le_bytes());
    }
    bytes.extend_from_within(HEAD_BYTES..HEAD_BYTES + items.len() * ENTRY_BYTES);
    let at = bytes.len();
    bytes.resize(at + HEAD_BYTES, 0);
    write_head(&mut bytes, 0, &head, 0, keys.hash);
    write_head(&mut bytes, at, &head, 1, keys.hash);
    bytes
}

fn write_head(bytes: &mut [u8], at: usize, head: &Head, copy: u32, keys: &HashKeys) {
    let length = u32::try_from(bytes.len()).expect("a block is far under 4 GiB");
    let count = u32::try_from(head.count).expect("a block holds at most 65,536 records");
    let mut fields = Vec::with_capacity(CHECKSUM);
    for word in [MAGIC, length] {
        fields.extend_from_slice(&word.to_le_bytes());
    }
    for word in [head.number, head.time.as_millis(), head.expires.as_millis()] {
        fields.extend_from_slice(&word.to_le_bytes());
    }
    for word in [count, copy] {
        fields.extend_from_slice(&word.to_le_bytes());
    }
    let table = &bytes[HEAD_BYTES..HEAD_BYTES + head.count * ENTRY_BYTES];
    let checksum = keys.checksum(head.number, &[&fields, table]);
    bytes[at..at + CHECKSUM].copy_from_slice(&fields);
    bytes[at + CHECKSUM..at + HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Number of the block whose front stands near the head of these bytes, where it begins in them, and its length: as they
/// say, nothing of it is checked.
pub(super) fn glimpse(bytes: &[u8]) -> Option<(u64, usize, u32)> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES + GLIMPSE_BYTES)];
    let at = head.windows(4).position(|word| u32_at(word, 0) == MAGIC)?;
    let own = head.get(at..at + 16)?;
    Some((u64_at(own, 8), at, u32_at(own, 4)))
}

/// A block's bytes off a disk.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    number: u64,
    keys: RecordKeys<'a>,
}

/// One of the two copies of the fingerprints, checked.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) head: Head,
    entries: &'a [u8],
}

impl<'a> Table<'a> {
    /// Fingerprint and place of every record.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, Location)> + 'a {
        let number = self.head.number;
        let own = move |entry| (u64_at(entry, 0), Location::new(number, u16_at(entry, 8)));
        self.entries.chunks_exact(ENTRY_BYTES).map(own)
    }
}

impl<'a> Block<'a> {
    /// The bytes that stand under block `number`, not yet checked.
    pub(crate) fn new(bytes: &'a [u8], number: u64, keys: impl Into<RecordKeys<'a>>) -> Self {
        Self { bytes, number, keys: keys.into() }
    }

    #[cfg(feature = "redb-transactions")]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The fingerprints, from whichever copy passes its checksum; `None` where neither does.
    pub(crate) fn table(&self) -> Option<Table<'a>> {
        self.front().or_else(|| self.end())
    }

    /// The record at this place of the block.
    pub(crate) fn record(&self, at: Location) -> Result<Opened<'a>, Unreadable> {
        let bytes = self.bytes.get(usize::from(at.offset())..).ok_or(Unreadable::Damaged)?;
        Opened::open(bytes, at, self.keys)
    }

    /// Whether both copies of the fingerprints pass their checksums.
    #[cfg(feature = "cli")]
    pub(crate) fn has_both_tables(&self) -> bool {
        self.front().is_some() && self.end().is_some()
    }

    fn front(&self) -> Option<Table<'a>> {
        let head = self.bytes.get(..HEAD_BYTES)?;
        let entries = self.bytes.get(HEAD_BYTES..HEAD_BYTES + table_bytes(head))?;
        self.checked(head, entries, 0)
    }

    fn end(&self) -> Option<Table<'a>> {
        let at = self.bytes.len().checked_sub(HEAD_BYTES)?;
        let head = &self.bytes[at..];
        let entries = self.bytes.get(at.checked_sub(table_bytes(head))?..at)?;
        self.checked(head, entries, 1)
    }

    fn checked(&self, head: &[u8], entries: &'a [u8], copy: u32) -> Option<Table<'a>> {
        let count = u32_at(head, 32) as usize;
        let sound = u32_at(head, 0) == MAGIC
            && u32_at(head, 4) as usize == self.bytes.len()
            && u64_at(head, 8) == self.number
            && u32_at(head, 36) == copy
            && u64_at(head, CHECKSUM) == self.keys.hash.checksum(self.number, &[&head[..CHECKSUM], entries]);
        sound.then(|| Table {
            head: Head {
                number: self.number,
                time: Timestamp::from_millis(u64_at(head, 16)),
                expires: Timestamp::from_millis(u64_at(head, 24)),
                count,
            },
            entries,
        })
    }
}

fn table_bytes(head: &[u8]) -> usize {
    (u32_at(head, 32) as usize).saturating_mul(ENTRY_BYTES).min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use proptest::prelude::*;

    fn keys() -> HashKeys {
        HashKeys::derive(&[1; 32])
    }

    fn sample() -> Vec<u8> {
        let records = [record::control(b"first"), record::control(b"second and longer")];
        let items: Vec<Item<'_>> = (10..).zip(&records).map(|(hash, bytes)| Item { hash, bytes }).collect();
        encode(
            9,
            Timestamp::from_millis(3),
            Timestamp::from_millis(4),
            &items,
            (&keys()).into(),
            &mut Vec::new(),
        )
    }

    /// Where the sample's records begin.
    fn places() -> [Location; 2] {
        let first = HEAD_BYTES + 2 * ENTRY_BYTES;
        [first, first + record::control(b"first").len()]
            .map(|at| Location::new(9, u16::try_from(at).unwrap()))
    }

    #[test]
    fn records_and_fingerprints_come_back() {
        let (bytes, keys) = (sample(), keys());
        let records = record::control(b"first").len() + record::control(b"second and longer").len();
        assert_eq!(bytes.len(), overhead(2) + records);
        let block = Block::new(&bytes, 9, &keys);
        let table = block.table().unwrap();
        assert_eq!(table.head.count, 2);
        #[cfg(feature = "cli")]
        assert!(block.has_both_tables());
        let [first, second] = places();
        assert_eq!(table.entries().collect::<Vec<_>>(), [(10, first), (11, second)]);
        assert_eq!(block.record(second).unwrap().record().control(), b"second and longer");
        assert!(block.record(Location::new(9, second.offset() + 1)).is_err());
        assert!(Block::new(&bytes, 8, &keys).table().is_none(), "it is read at its own number only");
    }

    #[test]
    fn either_copy_of_the_fingerprints_is_enough_5_9() {
        let keys = keys();
        for damaged in
            [0..HEAD_BYTES + 2 * ENTRY_BYTES, sample().len() - HEAD_BYTES - 2 * ENTRY_BYTES..sample().len()]
        {
            for at in damaged {
                let mut bytes = sample();
                bytes[at] ^= 0x55;
                let block = Block::new(&bytes, 9, &keys);
                assert!(block.table().is_some(), "byte {at}");
                #[cfg(feature = "cli")]
                assert!(!block.has_both_tables(), "byte {at}");
                let [first, second] = places();
                assert_eq!(block.record(first).unwrap().record().control(), b"first");
                assert_eq!(block.record(second).unwrap().record().control(), b"second and longer");
            }
        }
    }

    #[test]
    fn a_block_is_read_at_its_own_length_only_5_9() {
        let keys = keys();
        assert!(Block::new(&[&sample()[..], &[0]].concat(), 9, &keys).table().is_none());
        assert!(Block::new(&[&[0], &sample()[..]].concat(), 9, &keys).table().is_none());
        #[cfg(feature = "redb-transactions")]
        assert_eq!(Block::new(&sample(), 9, &keys).number(), 9);
    }

    #[test]
    fn a_block_is_seen_where_one_may_begin_in_a_page_and_nowhere_else() {
        let behind = |bytes| [&vec![0; bytes][..], &sample()].concat();
        let length = u32::try_from(sample().len()).unwrap();
        assert_eq!(glimpse(&behind(GLIMPSE_BYTES)), Some((9, GLIMPSE_BYTES, length)));
        assert_eq!(glimpse(&behind(GLIMPSE_BYTES + HEAD_BYTES)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_10_4(bytes in proptest::collection::vec(any::<u8>(), 0..200), offset: u16) {
            let keys = keys();
            let block = Block::new(&bytes, 9, &keys);
            prop_assert!(block.table().is_none());
            prop_assert!(block.record(Location::new(9, offset)).is_err());
        }

        #[test]
        fn damage_anywhere_never_gives_other_bytes_5_9(at in 0usize..400, bits in 1u8..) {
            let keys = keys();
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] ^= bits;
            let block = Block::new(&bytes, 9, &keys);
            prop_assert!(block.table().is_some());
            for (place, expected) in places().into_iter().zip([&b"first"[..], b"second and longer"]) {
                prop_assert!(block.record(place).map_or(true, |own| own.record().control() == expected));
            }
        }
    }
}
