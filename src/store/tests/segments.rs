//! Goal: segments come and go as the law of `sweep` says, what is told of it is true, and nobody asks more of a disk than
//! is needed. Method: a store of small segments, swept by hand, on a disk that can be looked at.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::{Answer, Known, Store};
use super::script::parameters;
use crate::ledger::{Change, Disk, Faulty, Hint, House, Ledger};
use crate::options::Builder;
use crate::outcome::Outcome;
use crate::sweep::Swept;
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(100_000);

fn key(number: u64) -> Key {
    Key::new("scope", format!("token-{number}")).unwrap()
}

fn settings(clock: &ManualClock) -> Builder {
    Store::builder().background_sweep(false).segment_bytes_max(1 << 20).clock(clock.clone())
}

fn fresh() -> (Faulty, ManualClock, Store) {
    let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
    let store = settings(&clock).open_on(Arc::new(disk.clone())).unwrap();
    (disk, clock, store)
}

fn complete(store: &Store, number: u64, bytes: usize, retention: Duration) {
    let (own, asked) = (key(number), parameters(1));
    let Ok(Answer::Fresh(held)) = store.request(&own, &asked).retention(retention).begin() else {
        panic!("{number} is new")
    };
    held.complete(Outcome::new(vec![1; bytes])).unwrap();
}

fn with_ledger<T>(store: &Store, ask: impl FnOnce(&Ledger) -> T) -> T {
    match &*store.shared().ledger().unwrap() {
        House::Files(own) => ask(own),
        #[cfg(feature = "redb-transactions")]
        House::Guest(_) => unreachable!("it has files of its own"),
    }
}

/// Begins a new segment.
fn rotate(store: &Store) {
    let now = store.shared().chronometer.now().time;
    with_ledger(store, |own| own.rotate(&mut own.log(), now).unwrap());
}

/// What the segment that is being written says.
fn hints(store: &Store) -> Vec<Hint> {
    with_ledger(store, |own| own.log().hints_from(0, 1000))
}

/// Whether it is a segment's, and not the next one's space.
fn is_segment(name: &str) -> bool {
    name.starts_with("segment-") && !name.contains(".new")
}

/// The segment files, and their bytes.
fn files(disk: &Faulty) -> Vec<(String, u64)> {
    let names = disk.list().unwrap().into_iter().filter(|name| is_segment(name));
    names.map(|name| (name.clone(), disk.open(&name).unwrap().len().unwrap())).collect()
}

fn syncs(disk: &Faulty) -> usize {
    disk.log().iter().filter(|change| matches!(change, Change::Sync(_))).count()
}

#[test]
fn what_is_not_synced_fills_segments_as_far_as_what_is_5_10() {
    let [durable, relaxed] = [false, true].map(|relaxed| {
        let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
        let builder = if relaxed { settings(&clock).relaxed(SHORT) } else { settings(&clock) };
        let store = builder.open_on(Arc::new(disk.clone())).unwrap();
        (0..3000).for_each(|number| complete(&store, number, 1000, LONG));
        store.flush().unwrap();
        files(&disk)
    });
    let bytes = |own: &[(String, u64)]| own.iter().map(|file| file.1).sum::<u64>();
    assert!(bytes(&relaxed) * 10 <= bytes(&durable) * 11, "{relaxed:?} and not {durable:?}");
}

#[test]
fn a_sweep_carries_what_lasts_removes_all_segments_that_are_left_and_tells_so_8_3() {
    let (disk, clock, store) = fresh();
    for number in 0..400 {
        complete(&store, number, 8 << 10, if number % 25 == 0 { LONG } else { SHORT });
    }
    assert_eq!(store.sweep().unwrap(), Swept::default(), "nothing has expired, and all is sealed");
    let before = files(&disk);
    assert!(before.len() > 3);
    clock.advance(SHORT);
    let swept = store.sweep().unwrap();
    let after = disk.list().unwrap();
    let gone = before.iter().filter(|(name, _)| !after.contains(name));
    let told = (swept.segments, swept.bytes);
    assert_eq!(told, gone.fold((0, 0), |(count, bytes), own| (count + 1, bytes + own.1)));
    assert_eq!(
        swept.segments,
        before.len() as u64 - 1,
        "one sweep is enough for all but the one being written"
    );
    assert_eq!((swept.records, store.stats().kept_records), (400 - 16, 16));
    assert!((1..=16).contains(&swept.carried));
    for number in (0..400).step_by(25) {
        assert!(matches!(store.get(&key(number)), Ok(Known::Finished(_))), "{number}");
    }
}

#[test]
fn what_lasts_in_a_segment_is_weighed_with_what_each_record_takes_beside_its_bytes() {
    let (_, clock, store) = fresh();
    complete(&store, 0, 3000, SHORT);
    (1..11).for_each(|number| complete(&store, number, 1, LONG));
    rotate(&store);
    clock.advance(SHORT);
    let swept = store.sweep().unwrap();
    assert_eq!((swept.records, swept.carried, swept.segments), (1, 0, 0), "it is not sparse");
}

#[test]
fn what_was_forgotten_is_neither_weighed_nor_carried_4_6() {
    let (_, clock, store) = fresh();
    (0..10).for_each(|number| complete(&store, number, 100, LONG));
    complete(&store, 10, 100, SHORT);
    rotate(&store);
    assert_eq!(store.sweep().unwrap(), Swept::default(), "it is sealed with all of them");
    (1..10).for_each(|number| assert_eq!(store.forget(&key(number)), Ok(true)));
    clock.advance(SHORT);
    let swept = store.sweep().unwrap();
    assert_eq!((swept.records, swept.carried, swept.segments), (1, 1, 1));
    assert!(matches!(store.get(&key(0)), Ok(Known::Finished(_))));
}

#[test]
fn a_segment_in_which_no_record_is_left_goes_and_one_without_any_stays_8_3() {
    let (disk, clock, store) = fresh();
    store.sweep().unwrap();
    let before = disk.log().len();
    store.sweep().unwrap();
    assert_eq!(disk.log().len(), before, "an empty store is left as it is");
    (0..3).for_each(|number| complete(&store, number, 100, SHORT));
    clock.advance(SHORT);
    let swept = store.sweep().unwrap();
    assert_eq!((swept.records, swept.segments, files(&disk).len()), (3, 1, 1));
}

#[test]
fn a_note_that_forgets_goes_with_the_segment_that_it_speaks_of_4_6() {
    let (_, clock, store) = fresh();
    complete(&store, 0, 100, LONG);
    assert_eq!(store.forget(&key(0)), Ok(true));
    assert_eq!(store.sweep().unwrap().segments, 1, "nothing is known in it");
    assert!(matches!(&hints(&store)[..], [own] if own.is_forgotten()), "it was still there");
    complete(&store, 1, 100, SHORT);
    clock.advance(SHORT);
    assert_eq!(store.sweep().unwrap().segments, 1);
    assert_eq!(hints(&store), []);
}

#[test]
fn what_has_expired_at_an_opening_is_not_counted_again_8_3() {
    let (disk, clock, store) = fresh();
    (0..3).for_each(|number| complete(&store, number, 100, SHORT));
    complete(&store, 3, 100, LONG);
    store.close(Duration::ZERO).unwrap();
    clock.advance(SHORT);
    assert_eq!(settings(&clock).open_on(Arc::new(disk)).unwrap().stats().kept_records, 1);
}

#[test]
fn a_flush_of_nothing_asks_nothing_of_the_disk_11() {
    let (disk, _, store) = fresh();
    complete(&store, 0, 100, LONG);
    store.flush().unwrap();
    let before = disk.log().len();
    store.flush().unwrap();
    assert_eq!(disk.log().len(), before);
    assert!(!store.shared().ledger().unwrap().log().is_unsynced());
}

#[test]
fn what_is_relaxed_is_synced_within_its_lag_by_nobodys_asking_5_2() {
    let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
    let store = settings(&clock).relaxed(Duration::from_millis(50)).open_on(Arc::new(disk.clone())).unwrap();
    complete(&store, 0, 100, LONG);
    store.flush().unwrap();
    let before = syncs(&disk);
    complete(&store, 1, 100, LONG);
    let synced = (0..20_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        syncs(&disk) > before
    });
    assert!(synced);
}

#[test]
fn a_store_of_two_phases_syncs_each_commit_twice() {
    let counts = [false, true].map(|two_phase| {
        let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
        let store = settings(&clock).two_phase(two_phase).open_on(Arc::new(disk.clone())).unwrap();
        let before = syncs(&disk);
        (0..10).for_each(|number| complete(&store, number, 100, LONG));
        syncs(&disk) - before
    });
    assert!(counts[1] >= counts[0] + 10, "{counts:?}");
}
