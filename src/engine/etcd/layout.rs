//! What stands where in etcd, byte by byte.
//!
//! Law: all keys of a store begin with its prefix and a slash; a prefix has no slash, so no store lies within another.
//! Numbers are big-endian, so that their bytes have their order.
//!
//! | key, behind the prefix | value |
//! | --- | --- |
//! | `/identity` | what belongs to the store |
//! | `/epochs` | the last epoch that began, 8 bytes |
//! | `/e/`, the epoch in 8 bytes | its node; there while the epoch has not ended |
//! | `/n/`, the node | its epoch, 8 bytes |
//! | `/c/`, the framed key | a claim: fence 8, standing 1, stamp 4, lease 8, until 8, the started record |
//! | `/r/`, the framed key | a record: fence 8, expires 8, the finished record |
//!
//! The fence stands first in both, so that *begins with this fence* is two comparisons of the whole value by order, which
//! etcd can do without anybody reading first; and standings that run come before those that do not, so that *runs with
//! this fence* is two as well. A claim needs no second key for its fence.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Standing;
use crate::error::{ErrorKind, Result};
use crate::time::Timestamp;
use crate::token::Key;

use super::wire::{Compare, Delete, Operation, Put, Range, Txn, What, With};

/// Most bytes of a prefix.
const PREFIX_BYTES_MAX: usize = 64;
const EQUAL: i32 = 0;
const GREATER: i32 = 1;
const LESS: i32 = 2;
const MADE: i32 = 1;
const MODIFIED: i32 = 2;
const VALUE: i32 = 3;

/// The keys of one store.
#[derive(Clone)]
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    pub(super) fn below(prefix: String) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(plain) {
            let rule = "1 to 64 bytes long, of letters, digits, '.', '_' and '-' (it is measured in bytes)";
            return Err(
                ErrorKind::InvalidSetting { setting: "prefix", measured: prefix.len() as u64, rule }.into()
            );
        }
        Ok(Self { prefix })
    }

    pub(super) fn identity(&self) -> Vec<u8> {
        self.at("identity", &[])
    }

    pub(super) fn epochs(&self) -> Vec<u8> {
        self.at("epochs", &[])
    }

    pub(super) fn epoch(&self, epoch: u64) -> Vec<u8> {
        self.at("e/", &epoch.to_be_bytes())
    }

    pub(super) fn node(&self, node: &str) -> Vec<u8> {
        self.at("n/", node.as_bytes())
    }

    pub(super) fn claim(&self, key: &Key) -> Vec<u8> {
        self.at("c/", key.as_framed())
    }

    pub(super) fn record(&self, key: &Key) -> Vec<u8> {
        self.at("r/", key.as_framed())
    }

    /// All claims behind that one, or all.
    pub(super) fn claims(&self, after: Option<&Key>) -> Range {
        // Nothing comes between a key and itself with a zero byte behind it.
        let key = after.map_or_else(|| self.at("c/", &[]), |key| [&*self.claim(key), &[0]].concat());
        Range { key, end: self.at("c0", &[]), ..Range::default() }
    }

    pub(super) fn records(&self) -> Range {
        Range { key: self.at("r/", &[]), end: self.at("r0", &[]), ..Range::default() }
    }

    /// The key whose claim stands there.
    pub(super) fn key_of(&self, claim: &[u8]) -> Option<Key> {
        Key::from_framed(claim.strip_prefix(self.at("c/", &[]).as_slice())?)
    }

    fn at(&self, room: &str, rest: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"/", room.as_bytes(), rest].concat()
    }
}

/// A claim as it stands in etcd.
#[derive(Clone)]
pub(super) struct Stood {
    pub(super) fence: u64,
    pub(super) standing: Standing,
    /// One more at each renewal of the lease, and unchanged by all else.
    pub(super) stamp: u32,
    pub(super) lease: Duration,
    /// When the lease ends on the clock of whoever wrote it: a released claim is forgotten then, and nothing else is
    /// judged by it.
    pub(super) until: Timestamp,
    pub(super) started: Arc<[u8]>,
}

impl Stood {
    pub(super) fn encode(&self) -> Vec<u8> {
        let standing = u8::try_from(self.standing.code()).expect("there are five");
        let mut bytes = Vec::with_capacity(29 + self.started.len());
        bytes.extend(self.fence.to_be_bytes());
        bytes.push(standing);
        bytes.extend(self.stamp.to_be_bytes());
        bytes.extend(u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(self.until.as_millis().to_be_bytes());
        bytes.extend(&*self.started);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fence, rest) = bytes.split_first_chunk()?;
        let ([standing], rest) = rest.split_first_chunk()?;
        let (stamp, rest) = rest.split_first_chunk()?;
        let (lease, rest) = rest.split_first_chunk()?;
        let (until, started) = rest.split_first_chunk()?;
        Some(Self {
            fence: u64::from_be_bytes(*fence),
            standing: Standing::of(i16::from(*standing))?,
            stamp: u32::from_be_bytes(*stamp),
            lease: Duration::from_millis(u64::from_be_bytes(*lease)),
            until: Timestamp::from_millis(u64::from_be_bytes(*until)),
            started: started.into(),
        })
    }
}

/// A record as it stands in etcd.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) fence: u64,
    pub(super) expires: Timestamp,
    pub(super) record: Arc<[u8]>,
}

impl Kept {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.fence.to_be_bytes()[..], &self.expires.as_millis().to_be_bytes(), &self.record].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fence, rest) = bytes.split_first_chunk()?;
        let (expires, record) = rest.split_first_chunk()?;
        Some(Self {
            fence: u64::from_be_bytes(*fence),
            expires: Timestamp::from_millis(u64::from_be_bytes(*expires)),
            record: record.into(),
        })
    }
}

/// A number that stands alone.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_be_bytes).ok()
}

/// Whether the value there begins with this fence and something behind it.
pub(super) fn has_fence(key: &[u8], fence: u64) -> Vec<Compare> {
    vec![
        value(key, GREATER, fence.to_be_bytes().to_vec()),
        value(key, LESS, fence.saturating_add(1).to_be_bytes().to_vec()),
    ]
}

/// Whether the claim there has this fence and runs.
pub(super) fn runs(key: &[u8], fence: u64) -> Vec<Compare> {
    let stopped = u8::try_from(Standing::Interrupted.code()).expect("there are five");
    vec![
        value(key, GREATER, fence.to_be_bytes().to_vec()),
        value(key, LESS, [&fence.to_be_bytes()[..], &[stopped]].concat()),
    ]
}

/// Whether this is the value there.
pub(super) fn is(key: &[u8], bytes: &[u8]) -> Compare {
    value(key, EQUAL, bytes.to_vec())
}

/// Whether there is nothing.
pub(super) fn absent(key: &[u8]) -> Compare {
    Compare { result: EQUAL, target: MADE, key: key.to_vec(), with: Some(With::Made(0)) }
}

/// Whether there is anything.
pub(super) fn present(key: &[u8]) -> Compare {
    Compare { result: GREATER, target: MADE, key: key.to_vec(), with: Some(With::Made(0)) }
}

/// Whether it was changed last in that revision; in none: there is nothing.
pub(super) fn unchanged(key: &[u8], modified: i64) -> Compare {
    Compare { result: EQUAL, target: MODIFIED, key: key.to_vec(), with: Some(With::Modified(modified)) }
}

fn value(key: &[u8], result: i32, value: Vec<u8>) -> Compare {
    Compare { result, target: VALUE, key: key.to_vec(), with: Some(With::Value(value)) }
}

pub(super) fn get(key: &[u8]) -> Operation {
    Operation { what: Some(What::Range(Range { key: key.to_vec(), ..Range::default() })) }
}

/// Whether there is something, and no more of it.
pub(super) fn look(key: &[u8]) -> Operation {
    Operation { what: Some(What::Range(Range { key: key.to_vec(), count_only: true, ..Range::default() })) }
}

pub(super) fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> Operation {
    Operation { what: Some(What::Put(Put { key, value, lease })) }
}

pub(super) fn delete(key: &[u8]) -> Operation {
    Operation { what: Some(What::Delete(Delete { key: key.to_vec() })) }
}

pub(super) fn within(txn: Txn) -> Operation {
    Operation { what: Some(What::Txn(txn)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standings_that_run_come_before_those_that_do_not() {
        let stopped = Standing::Interrupted.code();
        for code in 0..5 {
            let standing = Standing::of(code).unwrap();
            assert_eq!(
                standing.is_running(),
                code < stopped,
                "{standing:?}: the comparison `runs` stands on it"
            );
        }
    }

    #[test]
    fn a_claim_and_a_record_read_as_they_were_written_and_their_parts_do_not() {
        let stood = Stood {
            fence: 7 << 36 | 9,
            standing: Standing::Durable,
            stamp: 3,
            lease: Duration::from_millis(1_500),
            until: Timestamp::MAX,
            started: Arc::from(&b"started"[..]),
        };
        let bytes = stood.encode();
        assert_eq!(&bytes[..9], b"\0\0\0\x70\0\0\0\x09\x02");
        let read = Stood::decode(&bytes).unwrap();
        assert_eq!((read.fence, read.standing, read.stamp), (stood.fence, stood.standing, stood.stamp));
        assert_eq!((read.lease, read.until, read.started), (stood.lease, stood.until, stood.started));
        assert!((0..29).all(|end| Stood::decode(&bytes[..end]).is_none()));

        let kept = Kept { fence: 1, expires: Timestamp::from_millis(2), record: Arc::from(&b"record"[..]) };
        let read = Kept::decode(&kept.encode()).unwrap();
        assert_eq!((read.fence, read.expires, read.record), (1, kept.expires, kept.record.clone()));
        assert!((0..16).all(|end| Kept::decode(&kept.encode()[..end]).is_none()));
    }

    #[test]
    fn a_prefix_is_one_name_so_that_no_store_lies_within_another() {
        for wrong in ["", "a/b", "a b", "\u{e9}", &"x".repeat(65)] {
            assert!(Layout::below(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(Layout::below("payments-1.test_2".to_owned()).is_ok());
    }

    #[test]
    fn claims_lie_between_their_bounds_and_records_do_not() {
        let layout = Layout::below("p".to_owned()).unwrap();
        let (low, high) = (Key::new("a", "t").unwrap(), Key::new([0xff; 255], "t").unwrap());
        let all = layout.claims(None);
        for key in [&low, &high] {
            assert!(all.key <= layout.claim(key) && layout.claim(key) < all.end);
            assert!(layout.record(key) >= all.end);
            assert_eq!(layout.key_of(&layout.claim(key)).as_ref(), Some(key));
            assert_eq!(layout.key_of(&layout.record(key)), None);
        }
        let behind = layout.claims(Some(&low));
        assert!(layout.claim(&low) < behind.key && behind.key < layout.claim(&high));
    }
}
