//! Goal: a record is read alone, whatever the size of its block, and nothing but the very record passes. Method: a file
//! in memory that counts the bytes that are read, and is damaged.

use redb::StorageBackend;

use super::*;
use crate::ledger::block::{Item, encode};
use crate::ledger::disk::{Counted, Disk, DiskFile, Memory};
use crate::ledger::faulty::{Failure, Faulty};
use crate::ledger::page::Identity;
use crate::ledger::room::{MARGIN_BYTES, page_of};
use crate::record::control;

/// A segment of one block with these records, its file, and their places.
fn segment(records: &[Vec<u8>]) -> (Segment, Arc<Counted>, Vec<Location>) {
    let keys = HashKeys::derive(&[1; 32]);
    let file = Arc::new(Counted::from(Memory::default().create("segment").unwrap()));
    let identity = Identity { store: [4; 16], segment: 1 };
    let backend = Backend::create(Arc::<Counted>::clone(&file), identity, Arc::default(), None).unwrap();
    let segment = Segment::create(1, 1, backend, keys, None).unwrap();
    let items: Vec<_> = records.iter().map(|bytes| Item { hash: 7, bytes }).collect();
    let (now, mut places) = (Timestamp::default(), Vec::new());
    segment.append(&[encode(1, now, now, &items, (&keys).into(), &mut places)], true, false).unwrap();
    file.bytes();
    (segment, file, places)
}

#[test]
fn a_record_of_a_large_block_is_read_without_the_block() {
    let records: Vec<_> = (0..100).map(|number| control(&[number; 300])).collect();
    let (segment, file, places) = segment(&records);
    let check = || {
        for (number, at) in (0..).zip(&places) {
            let body = segment.read(*at, |record| record.control().to_vec()).unwrap();
            assert_eq!((body, file.bytes()), (vec![number; 300], NEAR_BYTES as u64));
        }
    };
    check();
    segment.seal(Timestamp::default(), &[]).unwrap();
    file.bytes();
    check();
}

#[test]
fn a_record_that_is_longer_than_what_is_read_at_once_is_read_whole() {
    let record = control(&vec![7; 100_000]);
    let (segment, file, places) = segment(std::slice::from_ref(&record));
    assert_eq!(segment.read(places[0], |record| record.control().len()).unwrap(), 100_000);
    assert_eq!(file.bytes(), (NEAR_BYTES + record.len()) as u64);
}

#[test]
fn damage_of_a_record_that_is_read_alone_is_found_and_harms_no_other_5_9() {
    let records: Vec<_> = (0..100).map(|number| control(&[number; 300])).collect();
    let (segment, file, places) = segment(&records);
    segment.seal(Timestamp::default(), &[]).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut bytes).unwrap();
    for at in bytes.windows(300).enumerate().filter(|(_, own)| **own == [50; 300]).map(|(at, _)| at) {
        file.write(at as u64 + 200, &[51]).unwrap();
    }
    assert!(matches!(segment.read(places[50], |_| ()), Err(Fault::Damaged)));
    for at in places.iter().filter(|at| **at != places[50]) {
        assert!(segment.read(*at, |_| ()).is_ok());
    }
}

#[test]
fn a_record_whose_length_lies_is_damaged_and_nothing_beyond_its_block_is_read_5_9_10_4() {
    let records: Vec<_> = (0..100).map(|number| control(&[number; 300])).collect();
    let (segment, file, places) = segment(&records);
    segment.seal(Timestamp::default(), &[]).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut bytes).unwrap();
    let body = bytes.windows(300).position(|own| *own == [50; 300]).unwrap();
    let begin = body + 300 - records[50].len();
    assert_eq!(u32_at(&bytes, begin) as usize, records[50].len());
    for length in [0, 1, 299, 40_000, 1 << 20, u32::MAX] {
        file.write(begin as u64, &length.to_le_bytes()).unwrap();
        file.bytes();
        assert!(matches!(segment.read(places[50], |_| ()), Err(Fault::Damaged)), "{length}");
        assert!(file.bytes() <= bytes.len() as u64, "{length}");
        assert!(segment.read(places[51], |_| ()).is_ok());
    }
}

#[test]
fn what_a_length_that_lies_would_take_is_not_asked_for_10_4() {
    let records: Vec<_> = (0..100).map(|number| control(&[number; 300])).collect();
    let (segment, file, places) = segment(&records);
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut bytes).unwrap();
    let begin = bytes.windows(300).position(|own| *own == [1; 300]).unwrap() + 300 - records[1].len();
    let (mut near, mut far) = ([0; NEAR_BYTES], Vec::new());
    assert!(segment.peek(places[1], &mut near, &mut far).is_some());
    for length in [bytes.len(), 1 << 30] {
        file.write(begin as u64, &u32::try_from(length).unwrap().to_le_bytes()).unwrap();
        assert!(segment.peek(places[1], &mut near, &mut far).is_none());
        assert_eq!(far.capacity(), 0, "{length}");
    }
}

#[test]
fn a_record_is_read_alone_too_once_another_block_stands_behind_its_own() {
    let records: Vec<_> = (0..100).map(|number| control(&[number; 300])).collect();
    let (segment, file, places) = segment(&records);
    let (keys, now) = (HashKeys::derive(&[1; 32]), Timestamp::default());
    let items = [Item { hash: 7, bytes: &records[2] }];
    let block = encode(2, now, now, &items, (&keys).into(), &mut Vec::new());
    segment.append(&[block], true, false).unwrap();
    file.bytes();
    segment.read(places[1], |record| assert_eq!(record.control(), [1; 300])).unwrap();
    assert_eq!(file.bytes(), NEAR_BYTES as u64);
}

#[test]
fn a_segment_says_when_its_last_record_expires_and_when_it_is_to_be_looked_at_8_3() {
    let (segment, file, _) = segment(&[control(b"first")]);
    let at = Timestamp::from_millis;
    assert!(segment.is_due(at(0)));
    segment.look_again_at(at(10));
    assert!(!segment.is_due(at(9)) && segment.is_due(at(10)));
    assert_eq!(segment.expires(), at(0));
    for millis in [5, 9, 7] {
        segment.stretch(at(millis));
    }
    assert_eq!(segment.expires(), at(9));
    segment.seal(at(3), &[]).unwrap();
    let judge = Backend::judge(file, Identity { store: [4; 16], segment: 1 }, Arc::default()).unwrap();
    let (again, footer) = Segment::open_sealed(1, judge, HashKeys::derive(&[1; 32]), None).unwrap();
    assert_eq!((again.expires(), footer.expires, footer.time), (at(9), 9, 3));
}

#[test]
fn hints_come_back_from_as_many_chunks_as_they_take() {
    let (segment, ..) = segment(&[control(b"first")]);
    let hint = |number: u64| Hint {
        what: hint::What::Kept,
        hash: number,
        at: Location::from_u64(number),
        expires: Timestamp::from_millis(number),
        weight: crate::record::Weight::default(),
    };
    let hints: Vec<Hint> = (1..2 * hint::CHUNK as u64 + 2).map(hint).collect();
    segment.seal(Timestamp::default(), &hints).unwrap();
    assert_eq!(segment.chunks(), Some(3));
    assert_eq!((0..3).flat_map(|chunk| segment.hints(chunk).unwrap()).collect::<Vec<_>>(), hints);
    assert!(segment.hints(3).is_err());
}

#[test]
fn a_segment_whose_first_block_has_no_number_of_ours_is_damaged_5_9_10_4() {
    let file = Memory::default().create("segment").unwrap();
    let identity = Identity { store: [4; 16], segment: 1 };
    let backend = Backend::create(Arc::clone(&file), identity, Arc::default(), None).unwrap();
    let database = builder(WRITING_CACHE_BYTES, false).create_with_backend(backend.clone()).unwrap();
    commit(&database, true, false, [(0, &b"forged"[..])].into_iter()).unwrap();
    drop(database);
    let judge = Backend::judge(file, identity, Arc::default()).unwrap();
    let taken = Segment::take_up(1, judge, HashKeys::derive(&[1; 32]), None);
    assert!(matches!(taken, Err(Fault::Damaged)));
}

/// However far it came, the footer says that it was sealed, and an opening ends what was begun.
#[test]
fn a_sealing_that_was_cut_short_is_ended_at_the_next_opening_5_7() {
    let (identity, keys) = (Identity { store: [4; 16], segment: 1 }, HashKeys::derive(&[1; 32]));
    let mut ended = 0;
    for nth in 1.. {
        let disk = Faulty::new();
        let backend = Backend::create(disk.create("segment").unwrap(), identity, Arc::default(), None);
        let segment = Segment::create(1, 1, backend.unwrap(), keys, None).unwrap();
        let now = Timestamp::default();
        let record = control(b"first");
        let items = [Item { hash: 7, bytes: &record }];
        let block = encode(1, now, now, &items, (&keys).into(), &mut Vec::new());
        segment.append(&[block], true, false).unwrap();
        disk.fail(Some(Failure::From(disk.asked().0 + nth, std::io::ErrorKind::Other)));
        let sealed = segment.seal(now, &[]);
        if sealed.is_ok() {
            break;
        }
        drop(segment);
        let disk = Faulty::over(disk.copied());
        let judge = Backend::judge(disk.open("segment").unwrap(), identity, Arc::default()).unwrap();
        let (segment, footer) = Segment::take_up(1, judge, keys, None).unwrap();
        if footer.is_some() {
            segment.backend().go_live().unwrap();
            assert!(!segment.is_sealed());
            segment.finish_seal().unwrap();
            assert!(segment.is_sealed());
            ended += 1;
        }
    }
    assert!(ended > 0);
}

#[test]
fn a_segment_that_was_sealed_or_closed_takes_nothing_more_and_a_closed_one_says_nothing() {
    let (segment, file, places) = segment(&[control(b"first")]);
    segment.seal(Timestamp::default(), &[]).unwrap();
    let length = file.len().unwrap();
    segment.seal(Timestamp::default(), &[]).unwrap();
    assert!(segment.append(&[vec![1]], true, false).is_err());
    assert_eq!((segment.last(), file.len().unwrap(), segment.chunks()), (1, length, Some(0)));
    segment.close().unwrap();
    assert!(segment.append(&[vec![1]], true, false).is_err());
    assert!(matches!(segment.with_block(places[0].block(), |_| Ok(())), Err(Fault::Io(_))));
}

/// A power cut took a commit, whose block lies in the file still: redb looks at it when it repairs.
#[test]
fn a_block_is_not_taken_for_one_that_was_lost_under_its_number_5_8_5_9() {
    let (segment, ..) = segment(&[control(b"first")]);
    let (keys, now) = (HashKeys::derive(&[1; 32]), Timestamp::default());
    let block = |body: &[u8]| {
        let (record, mut places) = (control(body), Vec::new());
        let items = [Item { hash: 7, bytes: &record }];
        (encode(2, now, now, &items, (&keys).into(), &mut places), places[0])
    };
    let (lost, at) = block(&[7; 9000]);
    let mut page = [&[0; 16][..], &lost].concat();
    page.resize(16 << 10, 0);
    let offset = segment.backend.len().unwrap() - page.len() as u64;
    segment.backend.write(offset, &page).unwrap();
    assert!(segment.read(at, |_| ()).is_ok(), "the lost one was seen, and is sound");
    let (new, place) = block(b"new");
    assert_eq!(place, at);
    segment.append(&[new], true, false).unwrap();
    assert!(segment.read(at, |record| record.control() == b"new").unwrap());
}

/// A segment on `disk` of `count` blocks, one record of so many bytes in each.
fn of_blocks(disk: &Faulty, count: u8, bytes: usize) -> (Segment, Vec<Location>) {
    let (keys, now) = (HashKeys::derive(&[1; 32]), Timestamp::default());
    let identity = Identity { store: [4; 16], segment: 1 };
    let backend = Backend::create(disk.create("segment").unwrap(), identity, Arc::default(), None).unwrap();
    let segment = Segment::create(1, 1, backend, keys, None).unwrap();
    let mut places = Vec::new();
    for number in 1..=count {
        let bytes = control(&vec![number; bytes]);
        let items = [Item { hash: number.into(), bytes: &bytes }];
        let block = encode(number.into(), now, now, &items, (&keys).into(), &mut places);
        segment.append(&[block], true, false).unwrap();
    }
    (segment, places)
}

/// Whether every record of [`of_blocks`] is read, by redb and beside it.
fn check_blocks(segment: &Segment, places: &[Location], bytes: usize) {
    for (number, at) in (1..).zip(places) {
        assert!(
            segment
                .with_block(at.block(), |block| Ok(block.len() > bytes && block.contains(&number)))
                .unwrap()
        );
        assert_eq!(segment.read(*at, |record| record.control().to_vec()).unwrap(), vec![number; bytes]);
    }
}

#[test]
fn what_redb_takes_beside_a_blocks_page_is_within_the_margin_5_10() {
    let disk = Faulty::new();
    let (segment, _) = of_blocks(&disk, 1, 20_000);
    let mut most = 0;
    for number in 2..300 {
        let before = segment.backend().used_bytes();
        let block = vec![0; 20_000];
        let page = page_of(block.len());
        segment.append(&[block], number % 3 > 0, false).unwrap();
        most = most.max((segment.backend().used_bytes() - before).saturating_sub(page));
    }
    assert!((1..=MARGIN_BYTES).contains(&most), "{most} of {MARGIN_BYTES}");
}

#[test]
fn a_sealing_that_fails_anywhere_leaves_every_block_to_be_read_5_5() {
    // More than redb keeps in memory: after a failure it answers with nothing else.
    let (count, bytes) = (180, 100_000);
    let mut failed = 0;
    for nth in 0.. {
        let disk = Faulty::new();
        let (segment, places) = of_blocks(&disk, count, bytes);
        disk.fail(Some(Failure::From(disk.asked().0 + nth, std::io::ErrorKind::Other)));
        let sealed = segment.seal(Timestamp::default(), &[]);
        disk.fail(None);
        check_blocks(&segment, &places, bytes);
        if sealed.is_ok() {
            break;
        }
        failed += 1;
    }
    assert!(failed > 4, "{failed}");
}
