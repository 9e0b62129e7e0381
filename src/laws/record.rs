//! A record and its bytes: what the reader accepts is exactly what the writer writes (contract 5.9, 10.4).
//!
//! Law: no bytes make the reader panic, or keep more than a few times their number; what it accepts encodes back to the
//! same bytes; what was encoded comes back as it was, and with any one bit changed, at another place or cut it is damage.

use super::tape::Tape;
use crate::outcome::{Checkpoint, Omitted, Outcome};
use crate::record::{
    Bound, Finished, Forgotten, HashKeys, Kind, Location, PREFIX_BYTES, Record, Started, Unreadable, Weight,
    control, seal,
};
use crate::time::Timestamp;

const KIND: usize = 4;
const FLAGS: usize = 5;
const CHECKSUM: usize = 8;

fn keys() -> HashKeys {
    HashKeys::derive(&[7; 32])
}

/// Any bytes as a record. The first byte says how much of what guards them is made good: nothing, length and checksum,
/// kind and flags too.
///
/// # Panics
/// Where the law does not hold.
pub fn record_decode(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (repair, at) = (tape.byte() % 4, Location::new(3, 1));
    let mut bytes = tape.rest().to_vec();
    if repair > 0 && bytes.len() >= PREFIX_BYTES {
        if repair > 1 {
            bytes[KIND] = [1, 2, 3, 4, 16][usize::from(bytes[KIND]) % 5];
            bytes[FLAGS] &= 7;
        }
        let length = if repair == 3 { bytes.len() } else { bytes.len() - usize::from(bytes[0]) % 3 };
        bytes[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        if length >= PREFIX_BYTES {
            seal(&mut bytes[..length], at, &keys());
        }
    }
    let Ok(record) = Record::open(&bytes, at, &keys()) else { return };
    assert!(bytes.starts_with(record.bytes()));
    match again(&record) {
        Some(mut again) => {
            seal(&mut again, at, &keys());
            assert_eq!(again, record.bytes(), "what is accepted encodes back to the same bytes");
        }
        None => assert_eq!(record.kind(), Kind::Finished, "only metadata is looked at later"),
    }
}

/// What the record says, written anew; `None` where the metadata does not decode.
fn again(record: &Record<'_>) -> Option<Vec<u8>> {
    let keyed = matches!(record.kind(), Kind::Finished | Kind::Started | Kind::Released);
    if keyed {
        let _ = (record.weight(&keys()), record.outline());
        assert_ne!(record.key(), b"", "a record has a key");
    }
    Some(match record.kind() {
        Kind::Finished => {
            let replay = record.replay()?;
            let held = replay.outcome().held_bytes();
            assert!(held <= 64 + 8 * record.bytes().len(), "{held} bytes of {}", record.bytes().len());
            let finished = Finished {
                key: record.key(),
                bound: record.bound(),
                completed: record.completed(),
                expires: record.expires(),
                attempts: record.attempts(),
                format: record.format(),
                outcome: replay.outcome(),
                omitted: replay.omitted(),
            };
            assert_eq!(finished.weighs(), record.weight(&keys()).bytes);
            finished.encode()
        }
        Kind::Started | Kind::Released => {
            let checkpoint = record.checkpoint();
            let started = Started {
                key: record.key(),
                bound: record.bound(),
                since: record.since(),
                attempt: record.attempts(),
                format: record.format(),
                checkpoint: checkpoint.as_ref(),
                released_until: (record.kind() == Kind::Released).then(|| record.expires()),
            };
            assert_eq!(started.weighs(), record.weight(&keys()).bytes);
            started.encode()
        }
        Kind::Forgotten => record.forgotten().unwrap().encode(),
        Kind::Control => control(record.control()),
    })
}

/// A record of choices, written, read, and damaged.
///
/// # Panics
/// Where the law does not hold.
pub fn record_roundtrip(data: &[u8]) {
    let mut tape = Tape::new(data);
    let at = Location::from_u64(tape.u64());
    let mut bytes = match tape.byte() % 4 {
        0 => {
            let forgotten = Forgotten {
                time: Timestamp::from_millis(tape.u64()),
                target: Location::from_u64(tape.u64()),
                hash: tape.u64(),
                weight: Weight { scope: tape.u64(), bytes: tape.u32() },
            };
            let bytes = sealed(forgotten.encode(), at);
            assert_eq!(open(&bytes, at).forgotten(), Some(forgotten));
            bytes
        }
        1 => unfinished(&mut tape, at),
        _ => finished(&mut tape, at),
    };
    let bit = usize::try_from(tape.below(bytes.len() as u64 * 8)).unwrap();
    for bit in [bit, bit / 3, bit / 7, 0].into_iter().chain((0..8).map(|nth| nth + 8 * (bit % CHECKSUM))) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damaged = Record::open(&bytes, at, &keys()).err();
        assert_eq!(damaged, Some(Unreadable::Damaged), "bit {bit} is changed and it is read");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let elsewhere = Location::from_u64(at.as_u64() ^ 1 << tape.below(64));
    assert!(Record::open(&bytes, elsewhere, &keys()).is_err(), "it is read at another place");
    let cut = usize::try_from(tape.below(bytes.len() as u64)).unwrap();
    assert!(Record::open(&bytes[..cut], at, &keys()).is_err(), "it is read although it is cut");
    bytes.extend_from_slice(tape.rest());
    open(&bytes, at);
}

fn sealed(mut bytes: Vec<u8>, at: Location) -> Vec<u8> {
    seal(&mut bytes, at, &keys());
    bytes
}

fn open(bytes: &[u8], at: Location) -> Record<'_> {
    Record::open(bytes, at, &keys()).unwrap()
}

fn key(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    for _ in 0..2 {
        let part = tape.some(256);
        let part = if part.is_empty() { b"x" } else { part };
        key.push(u8::try_from(part.len()).unwrap());
        key.extend_from_slice(part);
    }
    key
}

fn bound(tape: &mut Tape<'_>) -> Bound {
    let mut digest = [0; 32];
    digest.fill_with(|| tape.byte());
    let (version, rules, secret) = (tape.u16(), tape.u16(), tape.u16());
    let mut outline = vec![0, 0, tape.byte() % 4];
    let mut names =
        (0..tape.below(6)).map(|_| tape.some(65)).filter(|name| name.is_ascii()).collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    for name in names {
        outline.extend_from_slice(&tape.u64().to_le_bytes());
        outline.push(u8::try_from(name.len()).unwrap());
        outline.extend_from_slice(name);
    }
    let length = u16::try_from(outline.len() - 2).unwrap().to_le_bytes();
    outline[..2].copy_from_slice(&length);
    Bound { digest, version, rules, secret, outline: tape.flag().then(|| outline.into()) }
}

fn assert_bound(record: &Record<'_>, key: &[u8], bound: &Bound) {
    let found = record.bound();
    assert_eq!((record.key(), found.digest), (key, bound.digest));
    assert_eq!((found.version, found.rules, found.secret), (bound.version, bound.rules, bound.secret));
    assert_eq!(found.outline, bound.outline);
    assert_eq!(record.outline().is_some(), bound.outline.is_some());
}

fn finished(tape: &mut Tape<'_>, at: Location) -> Vec<u8> {
    let (key, bound) = (key(tape), bound(tape));
    let omitted = tape.flag().then(|| Omitted { bytes: tape.u64(), digest: [tape.byte(); 32] });
    let mut outcome = Outcome::http(tape.u16(), tape.some(600));
    for _ in 0..tape.below(4) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        outcome = outcome.with_metadata(text(tape.some(20)), text(tape.some(20)));
    }
    let (completed, expires) = (Timestamp::from_millis(tape.u64()), Timestamp::from_millis(tape.u64()));
    let (attempts, format) = (tape.u32(), tape.u32());
    let kept = Finished {
        key: &key,
        bound: bound.clone(),
        completed,
        expires,
        attempts,
        format,
        outcome: &outcome,
        omitted,
    };
    let bytes = sealed(kept.encode(), at);
    let record = open(&bytes, at);
    assert_bound(&record, &key, &bound);
    assert_eq!(record.weight(&keys()).bytes, kept.weighs());
    let replay = record.replay().unwrap();
    assert_eq!((replay.completed(), replay.expires()), (completed, expires));
    assert_eq!((replay.attempts(), replay.format(), replay.omitted()), (attempts, format, omitted));
    let body = if omitted.is_some() { b"" } else { outcome.body() };
    assert_eq!((replay.outcome().body(), replay.outcome().metadata()), (body, outcome.metadata()));
    assert_eq!(replay.outcome().status(), outcome.status());
    bytes
}

fn unfinished(tape: &mut Tape<'_>, at: Location) -> Vec<u8> {
    let (key, bound) = (key(tape), bound(tape));
    let note = Checkpoint { attempt: tape.u32().max(1), bytes: tape.some(300).into() };
    let started = Started {
        key: &key,
        bound: bound.clone(),
        since: Timestamp::from_millis(tape.u64()),
        attempt: tape.u32(),
        format: tape.u32(),
        checkpoint: tape.flag().then_some(&note),
        released_until: tape.flag().then(|| Timestamp::from_millis(tape.u64())),
    };
    let bytes = sealed(started.encode(), at);
    let record = open(&bytes, at);
    assert_bound(&record, &key, &bound);
    assert_eq!(record.kind() == Kind::Released, started.released_until.is_some());
    assert_eq!((record.since(), record.expires()), (started.since, started.expires()));
    assert_eq!((record.attempts(), record.format()), (started.attempt, started.format));
    assert_eq!(record.checkpoint().as_ref(), started.checkpoint);
    assert_eq!(record.weight(&keys()).bytes, started.weighs());
    bytes
}
