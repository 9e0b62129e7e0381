//! Section 6, a caller's disk that fails (6.1, 6.2, 5.1, 5.5).
//!
//! Goal: whatever fails, and whenever, nothing that was acknowledged is lost, no effect is there without its record, and
//! no record without its effect. Method: a day's work on a disk whose n-th change fails, before or after it was done, for
//! n = 1 until nothing fails any more; then the database and the store are opened anew on what is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oncekey::redb::backends::InMemoryBackend;
use oncekey::redb::{self, Database};
use oncekey::{Answer, Error, ErrorKind, Key, Known, ManualClock, Outcome, Result, Store};

use crate::support::bank::{ACCOUNTS, OWN, balance};
use crate::support::{asked, key, run, secs, with_clock};

/// A disk in memory that fails at one change and from there on: redb asks nothing of it after that.
#[derive(Clone, Debug)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    left: Arc<AtomicU64>,
    /// The change that fails is done all the same.
    done: bool,
}

impl Disk {
    fn change(&self, change: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 1 {
            return change();
        }
        if left == 1 && self.done {
            change()?;
        }
        Err(std::io::ErrorKind::Other.into())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.change(|| self.memory.set_len(len))
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.change(|| Ok(()))
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.change(|| self.memory.write(offset, data))
    }
}

/// What is known of a key, from what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Kept,
    Forgotten,
    /// Something about it failed.
    Unknown,
}

/// Of a hundred seconds each, while a record is kept for two hundred and fifty: so the low end is carried on and removed.
const ROUNDS: usize = 10;

/// Each of these is an account and a key.
type Seen = BTreeMap<usize, Told>;

fn open(disk: &Disk, clock: &ManualClock) -> Result<(Arc<Database>, Store), String> {
    let database = redb::Builder::new().create_with_backend(disk.clone()).map_err(|own| own.to_string())?;
    let database = Arc::new(database);
    let builder = with_clock().0.clock(clock.clone()).retention(secs(250));
    let store = builder.open_in(Arc::clone(&database), OWN).map_err(|own| own.to_string())?;
    Ok((database, store))
}

/// Pays into the accounts of these keys, in one transaction.
fn pay(store: &Store, keys: &[usize]) -> Result<(), Error> {
    let mut held = Vec::new();
    for number in keys {
        if let Answer::Fresh(reservation) = store.begin(&key(*number), &asked())? {
            held.push((*number, reservation));
        }
    }
    let transaction = store.transaction()?;
    for (number, reservation) in held {
        let effect = || -> Result<(), redb::Error> {
            transaction.open_table(ACCOUNTS)?.insert(number as u64, 1)?;
            Ok(())
        };
        effect().map_err(|_| ErrorKind::UnknownOutcome)?;
        transaction.complete(reservation, Outcome::new(vec![b'x'; 3000]))?;
    }
    transaction.commit()
}

/// A day's work; goes on after each failure as a service would. What the sweeps did.
fn work(store: &Store, clock: &ManualClock, seen: &mut Seen) -> u64 {
    let mut done = 0;
    let mut note = |keys: &[usize], told: Result<(), Error>, told_well: Told| {
        let told = if told.is_ok() { told_well } else { Told::Unknown };
        seen.extend(keys.iter().map(|key| (*key, told)));
    };
    for round in 0..ROUNDS {
        let keys: Vec<usize> = (round * 10..round * 10 + 4).collect();
        note(&keys, pay(store, &keys), Told::Kept);
        let plain = [round * 10 + 5];
        let told = store.begin(&key(plain[0]), &asked()).and_then(|answer| match answer {
            Answer::Fresh(held) => held.complete(Outcome::new("plain")).map(drop).map_err(Error::from),
            other => panic!("{other:?}"),
        });
        note(&plain, told, Told::Kept);
        note(&plain, store.forget(&key(plain[0])).map(drop), Told::Forgotten);
        clock.advance(secs(100));
        done += store.sweep().map_or(0, |swept| swept.carried + swept.bytes);
    }
    done
}

fn check(database: &Database, store: &Store, seen: &Seen, context: &str) {
    for (number, told) in seen {
        let own: Key = key(*number);
        let known = store.get(&own).unwrap_or_else(|error| panic!("{context}: key {number}: {error}"));
        let (kept, paid) = (matches!(known, Known::Finished(_)), balance(database, *number as u64) == 1);
        assert!(kept || known == Known::Absent, "{context}: key {number}: {known:?}");
        let expired = number / 10 + 2 < ROUNDS;
        if number % 10 < 4 && !expired {
            assert_eq!(kept, paid, "{context}: key {number}: effect and record");
        }
        match told {
            Told::Kept if expired => {
                assert!(number % 10 > 3 || paid, "{context}: key {number} was acknowledged");
            }
            Told::Kept => assert!(kept, "{context}: key {number} was acknowledged"),
            Told::Forgotten => assert!(!kept, "{context}: key {number} was forgotten"),
            Told::Unknown => {}
        }
    }
}

#[test]
fn whatever_fails_on_the_callers_disk_effect_and_record_stay_one_6_1_6_2_5_1() {
    for done in [false, true] {
        let mut last = None;
        for at in 1_u64.. {
            let context = format!("change {at}, done: {done}");
            let left = Arc::new(AtomicU64::new(at));
            let disk = Disk { memory: Arc::default(), left: Arc::clone(&left), done };
            let (_, clock) = with_clock();
            let (mut seen, mut swept) = (Seen::new(), 0);
            if let Ok((_database, store)) = open(&disk, &clock) {
                swept = work(&store, &clock, &mut seen);
            }
            let failed = left.swap(u64::MAX, Ordering::SeqCst) == 0;
            // A disk that failed while the file was made leaves one that redb itself may refuse.
            match open(&disk, &clock) {
                Ok((database, store)) => {
                    check(&database, &store, &seen, &context);
                    run(&store, &key(99), "goes on");
                }
                Err(error) => assert!(seen.is_empty(), "{context}: {error}"),
            }
            last = Some(at);
            if !failed {
                assert!(swept > 10_000, "the sweeps were real: {swept}");
                break;
            }
        }
        println!("{last:?} changes failed, one after the other");
        assert!(last > Some(100), "the work was real: {last:?}");
    }
}
