//! Tests of the record's bytes.

use super::*;
use crate::digest::Outline;
use crate::outcome::Checkpoint;
use proptest::prelude::*;

fn keys() -> HashKeys {
    HashKeys::derive(&[7; 32])
}

fn sample(outcome: &Outcome, omitted: Option<Omitted>, at: Location) -> Vec<u8> {
    outlined(outcome, omitted, at, None)
}

fn bound(outline: Option<&[u8]>) -> Bound {
    Bound { digest: [9; 32], version: 1, rules: 2, secret: 3, outline: outline.map(Into::into) }
}

fn outlined(outcome: &Outcome, omitted: Option<Omitted>, at: Location, outline: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Finished {
        key: b"\x05scope\x05token",
        bound: bound(outline),
        completed: Timestamp::from_millis(1000),
        expires: Timestamp::from_millis(2000),
        attempts: 4,
        format: 5,
        outcome,
        omitted,
    }
    .encode_into(&mut bytes);
    seal(&mut bytes, at, &keys());
    bytes
}

#[test]
fn what_was_encoded_is_replayed_byte_for_byte_3_3() {
    let at = Location::new(7, 3);
    let outcome = Outcome::http(201, "made").with_metadata("Content-Type", "text/plain");
    let bytes = sample(&outcome, None, at);
    let record = Record::open(&bytes, at, &keys()).unwrap();
    let replay = record.replay().unwrap();
    assert_eq!(replay.outcome(), &outcome);
    assert_eq!((replay.attempts(), replay.format()), (4, 5));
    assert_eq!((record.key(), record.digest()), (&b"\x05scope\x05token"[..], [9; 32]));
    assert_eq!((record.digest_version(), record.rules(), record.secret()), (1, 2, 3));
    assert_eq!(record.weight(&keys()).bytes, 10 + 4 + 12 + 10);
}

#[test]
fn an_outcome_is_beyond_a_limit_by_what_is_kept_of_it_or_by_its_metadata_4_5() {
    let with = |bytes: usize| Outcome::new("ten bytes.").with_metadata("a", "x".repeat(bytes));
    let most = usize::try_from(METADATA_KEPT_MAX).unwrap() - 1 - 16;
    assert_eq!(beyond_limit(&with(most), 10, 10), None);
    assert_eq!(beyond_limit(&with(1), 11, 10), Some((11, 10)));
    assert_eq!(beyond_limit(&with(most + 1), 10, 10), Some((METADATA_KEPT_MAX + 1, METADATA_KEPT_MAX)));
}

#[test]
fn metadata_up_to_its_limit_is_replayed_however_it_is_cut_3_3_4_5() {
    assert_eq!(METADATA_KEPT_MAX, 256 << 10);
    let at = Location::new(1, 0);
    for bytes in [0, 1, 100, 250_000] {
        let pairs = METADATA_KEPT_MAX / (17 + bytes as u64);
        let outcome =
            (0..pairs).fold(Outcome::new("body"), |own, _| own.with_metadata("a", "x".repeat(bytes)));
        assert_eq!(beyond_limit(&outcome, 0, 0), None);
        let bytes = sample(&outcome, None, at);
        assert_eq!(Record::open(&bytes, at, &keys()).unwrap().replay().unwrap().outcome(), &outcome);
    }
}

#[cfg(feature = "cli")]
#[test]
fn bytes_from_elsewhere_read_back_only_if_they_can_be_replayed_10_4() {
    let at = Location::new(1, 0);
    let bytes = sample(&Outcome::new("body"), None, at);
    assert!(reads_back(&bytes) && reads_back(&control(b"note")) && !reads_back(&bytes[..bytes.len() - 1]));
    let mut bytes = sample(&Outcome::new("body").with_metadata("a", "b"), None, at);
    assert!(reads_back(&bytes));
    bytes.push(0);
    assert!(Record::parse(&bytes).is_ok() && !reads_back(&bytes), "its metadata says more than it is");
}

#[test]
fn an_omitted_body_leaves_its_length_and_digest_4_5() {
    let at = Location::new(1, 0);
    let omitted = Omitted { bytes: 9_000_000, digest: [1; 32] };
    let bytes = sample(&Outcome::http(200, "dropped"), Some(omitted), at);
    let replay = Record::open(&bytes, at, &keys()).unwrap().replay().unwrap();
    assert_eq!((replay.omitted(), replay.outcome().body()), (Some(omitted), &b""[..]));
}

#[test]
fn an_outline_stands_beside_everything_else_and_weighs_nothing_2_6() {
    let at = Location::new(1, 0);
    let parameters = vec![("MaxSize".into(), 7), ("MinSize".into(), u64::MAX)];
    let outline = Outline { parameters, long: false, cut: true };
    let omitted = Omitted { bytes: 9_000_000, digest: [1; 32] };
    for (metadata, omitted) in [(false, None), (true, None), (false, Some(omitted)), (true, Some(omitted))] {
        let outcome = Outcome::http(200, if omitted.is_some() { "" } else { "body" });
        let outcome = if metadata { outcome.with_metadata("a", "b") } else { outcome };
        let plain = sample(&outcome, omitted, at);
        let bytes = outlined(&outcome, omitted, at, Some(&outline_bytes(&outline)));
        let (plain, record) =
            (Record::open(&plain, at, &keys()).unwrap(), Record::open(&bytes, at, &keys()).unwrap());
        assert_eq!((plain.outline(), record.outline()), (None, Some(outline.clone())));
        assert_eq!(record.replay(), plain.replay());
        assert_eq!(record.replay().unwrap().outcome(), &outcome);
        assert_eq!(record.weight(&keys()), plain.weight(&keys()));
        assert_eq!(record.bytes().len(), plain.bytes().len() + 3 + 2 * (9 + 7));
        assert_eq!(plain.bytes()[FLAGS] & FLAG_OUTLINE, 0, "what has none is as it always was");
    }
}

#[test]
fn a_note_of_version_1_that_forgets_is_pinned_5_6() {
    let weight = Weight { scope: 4, bytes: 5 };
    let note = Forgotten { time: Timestamp::from_millis(1), target: Location::from_u64(2), hash: 3, weight };
    let words = [1_u64, 2, 3, 4].map(u64::to_le_bytes).concat();
    let bytes = [&[52, 0, 0, 0, 2, 0, 0, 0][..], &[0; 8], &words, &[5, 0, 0, 0]].concat();
    assert_eq!(note.encode(), bytes, "but for its checksum");
}

#[test]
fn a_record_of_version_1_without_outline_is_pinned_5_6() {
    let at = Location::new(7, 3);
    let bytes = sample(&Outcome::http(201, "made").with_metadata("a", "b"), None, at);
    assert_eq!(blake3::hash(&bytes).to_hex()[..16], *"f15788e41d827879");
}

#[test]
fn an_outline_that_is_longer_than_the_record_is_damage_5_9() {
    let at = Location::new(1, 0);
    for outline in [&[2, 0, 0][..], &[0xff, 0xff, 0], &[9], &[0, 0]] {
        let bytes = outlined(&Outcome::new("x"), None, at, Some(outline));
        assert_eq!(Record::open(&bytes, at, &keys()).err(), Some(Unreadable::Damaged), "{outline:?}");
    }
}

#[test]
fn a_start_and_a_release_come_back_with_attempt_and_checkpoint_4_3_6_3() {
    let at = Location::new(7, 3);
    let note = Checkpoint { attempt: 3, bytes: b"charged"[..].into() };
    let until = Timestamp::from_millis(2000);
    let names = Outline { parameters: vec![("MinSize".into(), 7)], long: false, cut: false };
    let kept = outline_bytes(&names);
    let (no, yes) = (None, Some(&kept[..]));
    for (checkpoint, released_until, outline) in [
        (None, None, no),
        (None, None, yes),
        (Some(&note), None, no),
        (Some(&note), None, yes),
        (Some(&note), Some(until), yes),
    ] {
        let started = Started {
            key: b"\x05scope\x05token",
            bound: bound(outline),
            since: Timestamp::from_millis(1000),
            attempt: 4,
            format: 5,
            checkpoint,
            released_until,
        };
        let mut bytes = started.encode();
        seal(&mut bytes, at, &keys());
        let record = Record::open(&bytes, at, &keys()).unwrap();
        let kind = if released_until.is_some() { Kind::Released } else { Kind::Started };
        assert_eq!((record.kind(), record.since().as_millis()), (kind, 1000));
        assert_eq!((record.attempts(), record.format()), (4, 5));
        assert_eq!(
            record.expires(),
            released_until.unwrap_or(Timestamp::MAX),
            "a started one never expires (4.6)"
        );
        assert_eq!(record.checkpoint().as_ref(), checkpoint);
        assert_eq!((record.key(), record.digest()), (&b"\x05scope\x05token"[..], [9; 32]));
        assert_eq!(record.weight(&keys()).bytes, started.weighs());
        assert_eq!(record.outline(), outline.map(|_| names.clone()));
        assert_eq!(record.bound().outline.as_deref(), outline, "to be kept again");
    }
}

#[test]
fn a_record_read_at_another_place_is_damage_5_9() {
    let bytes = sample(&Outcome::new("x"), None, Location::new(1, 0));
    assert_eq!(Record::open(&bytes, Location::new(1, 1), &keys()).err(), Some(Unreadable::Damaged));
}

#[test]
fn a_kind_of_a_newer_library_is_told_apart_from_damage_5_6() {
    let at = Location::new(1, 0);
    let mut bytes = sample(&Outcome::new("x"), None, at);
    bytes[KIND] = 5;
    seal(&mut bytes, at, &keys());
    assert_eq!(Record::open(&bytes, at, &keys()).err(), Some(Unreadable::Newer));
}

#[test]
fn what_no_writer_says_is_refused_though_it_passes_its_checksum_5_6_5_9() {
    let at = Location::new(1, 0);
    let open = |mut bytes: Vec<u8>, change: &[(usize, &[u8])]| {
        for (offset, value) in change {
            put(&mut bytes, *offset, value);
        }
        seal(&mut bytes, at, &keys());
        let opened = Record::open(&bytes, at, &keys());
        opened.map(|record| record.kind() == Kind::Finished && record.replay().is_none())
    };
    let finished = || sample(&Outcome::http(200, "body"), None, at);
    let no_outline = bound(None);
    let started = Started {
        key: b"\x05scope\x05token",
        bound: no_outline,
        since: Timestamp::from_millis(1000),
        attempt: 4,
        format: 5,
        checkpoint: None,
        released_until: None,
    };
    let noted = Checkpoint { attempt: 3, bytes: b"charged"[..].into() };
    let noted = Started { checkpoint: Some(&noted), bound: bound(None), ..started };
    assert_eq!(open(finished(), &[]), Ok(false));
    assert_eq!(open(noted.encode(), &[]), Ok(false));
    assert_eq!(open(control(b"hello"), &[(FLAGS, &[1])]), Err(Unreadable::Newer));
    assert_eq!(open(control(b"hello"), &[(DIGEST_VERSION, &[1])]), Err(Unreadable::Newer));
    assert_eq!(open(finished(), &[(STATUS + 2, &[1])]), Err(Unreadable::Damaged), "two bytes are reserved");
    assert_eq!(open(noted.encode(), &[(EXPIRES, &[0])]), Err(Unreadable::Damaged), "it never expires (4.6)");
    assert_eq!(open(noted.encode(), &[(STATUS, &[0])]), Err(Unreadable::Damaged), "in which attempt?");
    let omitted = Omitted { bytes: 9, digest: [0; 32] };
    let omitted = sample(&Outcome::http(200, ""), Some(omitted), at);
    let both = [&omitted[..KEY + 12], b"body", &omitted[KEY + 12..]].concat();
    let length = length(&both).to_le_bytes();
    assert_eq!(open(both, &[(LENGTH, &length), (BODY_LENGTH, &[4])]), Err(Unreadable::Damaged), "4.5");
    let empty = open(finished(), &[(FLAGS, &[FLAG_METADATA])]);
    assert_eq!(empty, Err(Unreadable::Damaged), "what has none says so by its flag");
    // The body's last 8 bytes, as metadata that say that there is none.
    let bare = sample(&Outcome::http(200, [0; 8]), None, at);
    assert_eq!(open(bare, &[(FLAGS, &[FLAG_METADATA]), (BODY_LENGTH, &[0])]), Ok(true), "no replay");
}

#[test]
fn a_record_whose_key_lacks_scope_or_token_is_damage_1_1_1_2_5_9() {
    let at = Location::new(1, 0);
    for (key, sound) in [(&b"\x01s\x01t"[..], true), (b"\0\x01t", false), (b"\x01s\0", false)] {
        let (outcome, time) = (Outcome::new("x"), Timestamp::from_millis(1000));
        let (bound, completed, expires, omitted) = (bound(None), time, time, None);
        let own =
            Finished { key, bound, completed, expires, attempts: 1, format: 0, outcome: &outcome, omitted };
        let mut bytes = own.encode();
        seal(&mut bytes, at, &keys());
        let opened = Record::open(&bytes, at, &keys());
        assert_eq!(opened.err(), (!sound).then_some(Unreadable::Damaged), "{key:?}");
    }
}

#[test]
fn forgetting_and_control_come_back_as_they_were() {
    let at = Location::new(2, 0);
    let note = Forgotten {
        time: Timestamp::from_millis(5),
        target: Location::new(1, 2),
        hash: 77,
        weight: Weight { scope: 8, bytes: 9 },
    };
    let mut bytes = note.encode();
    seal(&mut bytes, at, &keys());
    assert_eq!(Record::open(&bytes, at, &keys()).unwrap().forgotten(), Some(note));
    let mut bytes = control(b"hello");
    seal(&mut bytes, at, &keys());
    assert_eq!(Record::open(&bytes, at, &keys()).unwrap().control(), b"hello");
}

proptest! {
    #[test]
    fn any_changed_bit_is_damage_5_9(body in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..10_000) {
        let place = Location::new(3, 1);
        let mut bytes = sample(&Outcome::http(200, body).with_metadata("a", "b"), None, place);
        let bit = at % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Record::open(&bytes, place, &keys()).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic_10_4(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let place = Location::new(3, 1);
        prop_assert!(Record::open(&bytes, place, &keys()).is_err());
        let mut sealed = bytes;
        if sealed.len() >= PREFIX_BYTES {
            let length = length(&sealed).to_le_bytes();
            put(&mut sealed, LENGTH, &length);
            sealed[KIND] = [1, 2, 3, 4, 16][usize::from(sealed[KIND]) % 5];
            sealed[FLAGS] &= FLAGS_KNOWN;
            seal(&mut sealed, place, &keys());
            if let Ok(record) = Record::open(&sealed, place, &keys())
                && matches!(record.kind(), Kind::Finished | Kind::Started | Kind::Released)
            {
                if record.kind() == Kind::Finished {
                    let _ = record.replay();
                }
                let _ = (record.weight(&keys()), record.checkpoint(), record.outline());
            }
        }
    }
}
