//! Goal: what ends early has lost nothing, and who comes next goes on where it was left. Method: a sweep that is to end
//! at its n-th step, for every n until it has none left; and a sync of relaxed outcomes that fails.

use std::io::ErrorKind as IoKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::{Answer, Known, Store};
use super::script::parameters;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Failure, Faulty};
use crate::options::Builder;
use crate::outcome::Outcome;
use crate::sweep::sweep;
use crate::time::{ManualClock, Timestamp};
use crate::token::Key;

const RECORDS: u64 = 400;
/// One of so many is kept longer than the others.
const LASTING: u64 = 25;

fn key(number: u64) -> Key {
    Key::new("scope", format!("token-{number}")).unwrap()
}

fn lasts(number: u64) -> bool {
    number.is_multiple_of(LASTING)
}

fn settings(clock: &ManualClock) -> Builder {
    let builder = Store::builder().background_sweep(false).segment_bytes_max(1 << 20);
    builder.clock(clock.clone()).recent_bytes_max(0)
}

fn complete(store: &Store, number: u64, bytes: usize, retention: u64) {
    let (own, asked) = (key(number), parameters(1));
    let request = store.request(&own, &asked).relaxed().retention(Duration::from_secs(retention));
    let Ok(Answer::Fresh(held)) = request.begin() else { panic!("{number} is new") };
    held.complete(Outcome::new(vec![1; bytes])).unwrap();
}

fn is_stopped(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stopped { .. })
}

/// What lasts is there, and what has expired is not.
#[track_caller]
fn assert_kept(store: &Store) {
    for number in 0..RECORDS {
        let known = store.get(&key(number)).unwrap();
        let is_as_it_should =
            matches!((lasts(number), &known), (true, Known::Finished(_)) | (false, Known::Absent));
        assert!(is_as_it_should, "{number}: {known:?}");
    }
}

#[test]
fn a_sweep_that_ends_early_at_any_step_loses_nothing_and_the_next_one_goes_on_8_3() {
    let mut steps = 0;
    for last in 1.. {
        let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
        let store = settings(&clock).open_on(Arc::new(disk.clone())).unwrap();
        for number in 0..RECORDS {
            // Of what lasts so little that there is at most one segment which is not hollow with a part of it.
            let (bytes, retention) = if lasts(number) { (5 << 10, 100_000) } else { (8 << 10, 10) };
            complete(&store, number, bytes, retention);
            if number % 20 == 0 {
                store.flush().unwrap();
            }
        }
        assert!(store.stats().segments > 2);
        clock.advance(Duration::from_secs(20));
        let asked = AtomicU64::new(0);
        let pause = || asked.fetch_add(1, Ordering::Relaxed) + 1 < last;
        let shared = store.shared();
        let now = shared.chronometer.now().time;
        sweep(&shared.ledger().unwrap(), &*shared.stripes, now, &pause, true).unwrap();
        assert_kept(&store);
        store.sweep().unwrap();
        assert_kept(&store);
        let stats = store.stats();
        assert_eq!(stats.kept_records, RECORDS / LASTING);
        assert!(stats.segments <= 2, "{stats:?}");
        store.close(Duration::ZERO).unwrap();
        assert_kept(&settings(&clock).open_on(Arc::new(disk)).unwrap());
        steps = asked.into_inner();
        if steps < last {
            break;
        }
    }
    assert!(steps > 8, "there were {steps} steps to end at");
}

#[test]
fn a_failed_sync_of_relaxed_outcomes_stops_the_store_and_loses_none_that_was_synced_5_2_5_5() {
    let (disk, clock) = (Faulty::new(), ManualClock::at(Timestamp::from_millis(1_000_000)));
    let builder = settings(&clock).relaxed(Duration::from_secs(3600));
    let store = builder.open_on(Arc::new(disk.clone())).unwrap();
    (0..3).for_each(|number| complete(&store, number, 100, 100));
    store.flush().unwrap();
    (3..6).for_each(|number| complete(&store, number, 100, 100));
    disk.fail(Some(Failure::From(disk.asked().0 + 1, IoKind::Other)));
    assert!(is_stopped(&store.flush().unwrap_err()));
    // What is on the disk is replayed; what may not be there is neither replayed nor run again.
    for number in 0..6 {
        match store.begin(&key(number), &parameters(1)) {
            Ok(Answer::Replay(_)) => assert!(number < 3, "{number} was not synced"),
            Err(error) => assert!(number >= 3, "{number} was synced: {error}"),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(is_stopped(&store.begin(&key(6), &parameters(1)).unwrap_err()));
    disk.fail(None);
    store.reopen().unwrap();
    let known: Vec<bool> =
        (0..6).map(|number| matches!(store.get(&key(number)), Ok(Known::Finished(_)))).collect();
    assert!(known[..3].iter().all(|own| *own), "{known:?}");
    assert!(known.is_sorted_by(|one, later| one >= later), "no holes: {known:?}");
    complete(&store, 6, 100, 100);
}
