//! Section 6, the store's table in the caller's database (6.1, 6.5).
//!
//! Goal: a table there is a store as any other, stays small, and is never taken for another one. Method: everything a
//! directory store does, then a look at the rows themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oncekey::redb::{self, ReadableDatabase, ReadableTableMetadata};
use oncekey::{ErrorKind, Home, Known, Outcome, Secret, Store};

use crate::support::bank::{ACCOUNTS, Bank, FIRST_BLOCK, FLOOR, IDENTITY, OWN, Rows, pay_once, put, row};
use crate::support::tasks::block_on;
use crate::support::{
    asked, asked_otherwise, assert_free, assert_replays, close, fresh, in_flight, kept, key, plain, refused,
    replay, run, secs, started, with_clock,
};

#[test]
fn a_store_lives_beside_the_callers_tables_and_does_all_that_a_store_does_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    run(&store, &key(0), "first");
    assert_replays(&store, &key(0), "first");
    assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
    let held = started(&store, &key(1));
    held.checkpoint(b"half").expect("noted");
    assert_eq!(in_flight(store.begin(&key(1), &asked())).attempt(), 1);
    kept(block_on(held.complete_async(Outcome::new("second"))));
    assert!(store.forget(&key(0)).expect("forgotten"));
    assert_free(&store, &key(0));
    store.flush().expect("flushed");
    store.sweep().expect("swept");
    close(store);
    let store = bank.open(plain());
    assert_free(&store, &key(0));
    assert_replays(&store, &key(1), "second");
    assert_eq!((store.stats().kept_records, store.stats().segments), (1, 0));
}

#[test]
fn the_table_is_swept_from_its_low_end_and_gives_its_pages_back_6_1() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder.retention(secs(1000)));
    // One that stays for ever at the low end holds up nothing.
    let forever = fresh(store.request(&key(999_999), &asked()).retention(secs(1_000_000)).begin());
    kept(forever.complete(Outcome::new("stays")));
    let (mut most, mut carried) = (0, 0);
    for round in 0..20 {
        let held: Vec<_> = (0..150).map(|n| fresh(store.begin(&key(round * 1000 + n), &asked()))).collect();
        let transaction = store.transaction().expect("lent");
        for held in held {
            kept(transaction.complete(held, Outcome::new(vec![7; 1000])));
        }
        transaction.commit().expect("committed");
        clock.advance(secs(500));
        carried += store.sweep().expect("swept").carried;
        most = most.max(bank.table().1);
    }
    let stats = store.stats();
    assert!(stats.kept_records <= 301, "{} kept", stats.kept_records);
    assert!(most < 20 * 150 * 1000 / 3, "the table grew to {most} bytes");
    assert!(carried >= 1);
    // Sixteen small blocks, so that of the large ones none is among those that are being filled, which are left alone.
    (500_000..500_016).for_each(|number| run(&store, &key(number), "small"));
    clock.advance(secs(2000));
    store.sweep().expect("swept");
    assert_replays(&store, &key(999_999), "stays");
    let (rows, bytes) = bank.table();
    assert!(rows <= 16 + 2 && bytes < most / 3, "{rows} rows, {bytes} bytes are left");
    clock.advance(secs(2_000_000));
    store.sweep().expect("swept");
    assert_eq!(bank.table().0, 2, "identity and floor");
    // Numbers go on where they were: what was forgotten or carried is never mistaken.
    run(&store, &key(0), "new");
    close(store);
    let store = bank.open(plain().clock(clock));
    assert_replays(&store, &key(0), "new");
    assert_eq!(store.stats().kept_records, 1);
}

#[test]
fn a_low_end_full_of_long_lived_records_is_carried_on_and_the_table_stays_small_6_1() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder.retention(secs(1000)));
    for number in 0..48 {
        let held = fresh(store.request(&key(number), &asked()).retention(secs(1_000_000)).begin());
        kept(held.complete(Outcome::new(vec![1; 3000])));
    }
    let mut most = 0;
    for round in 1..=60 {
        let held: Vec<_> = (0..100).map(|n| fresh(store.begin(&key(round * 1000 + n), &asked()))).collect();
        let transaction = store.transaction().expect("lent");
        for held in held {
            kept(transaction.complete(held, Outcome::new(vec![7; 1000])));
        }
        transaction.commit().expect("committed");
        clock.advance(secs(500));
        store.sweep().expect("swept");
        most = most.max(bank.table().1);
    }
    assert!(most < 3_000_000, "of {} bytes written, {most} stood in the table", store.stats().bytes_written);
    for number in 0..48 {
        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body(), vec![1; 3000]);
    }
    close(store);
    let store = bank.open(plain().clock(clock));
    assert_eq!(replay(store.begin(&key(47), &asked())).outcome().body(), vec![1; 3000]);
}

/// Says that it is over, whatever the end.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_reader_always_finds_what_is_kept_while_it_is_carried_on_6_1() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder.retention(secs(10)));
    for number in 0..32 {
        let held = fresh(store.request(&key(number), &asked()).retention(secs(1_000_000)).begin());
        kept(held.complete(Outcome::new(vec![1; 3000])));
    }
    let (done, mut carried) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    for number in 0..32 {
                        assert_eq!(replay(store.begin(&key(number), &asked())).outcome().body().len(), 3000);
                        assert!(matches!(store.get(&key(number)), Ok(Known::Finished(_))));
                    }
                }
            });
        }
        let _end = Ends(&done);
        for round in 1..=30 {
            let held = fresh(store.begin(&key(round * 1000), &asked()));
            kept(held.complete(Outcome::new(vec![7; 1_000_000])));
            clock.advance(secs(20));
            carried += store.sweep().expect("swept").carried;
        }
    });
    assert!(carried >= 32, "{carried} carried");
}

#[test]
fn what_was_forgotten_carried_or_replaced_stays_so_after_reopening_6_1_4_6() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder);
    let unfinished = started(&store, &key(500));
    unfinished.checkpoint(b"half").expect("noted");
    for number in 0..100 {
        run(&store, &key(number), &format!("{number}"));
    }
    for number in (0..100).filter(|number| number % 10 != 0) {
        assert!(store.forget(&key(number)).expect("forgotten"));
    }
    // Started records are looked at again after a while, and the low end is sparse by then.
    clock.advance(secs(100));
    let swept = store.sweep().expect("swept");
    assert!(swept.carried > 0 && swept.bytes > 0, "{swept:?}");
    let bank = bank.crash((store, unfinished));
    let store = bank.open(plain().clock(clock.clone()));
    for number in 0..100 {
        match number % 10 {
            0 => assert_replays(&store, &key(number), &format!("{number}")),
            _ => assert_free(&store, &key(number)),
        }
    }
    let held = fresh(store.begin(&key(500), &asked()));
    assert_eq!((held.attempt(), held.last_checkpoint().expect("noted").bytes()), (2, &b"half"[..]));
    assert_eq!(store.stats().kept_records, 11);
}

#[test]
fn blocks_are_appended_at_the_upper_end_and_fill_their_pages_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    (0..300).for_each(|number| pay_once(&store, number, 1));
    let rows = bank.database.begin_read().expect("a reader").open_table(Rows::new(OWN)).expect("a table");
    let stats = rows.stats().expect("its pages");
    // A leaf that was divided in its middle and never filled again is half empty.
    let (filled, pages) = (stats.stored_bytes(), stats.leaf_pages() * 4096);
    assert!(filled * 4 > pages * 3, "{filled} bytes in {pages} of leaves");
}

fn refusal(bank: &Bank, table: &str) -> ErrorKind {
    let told = plain().open_in(Arc::clone(&bank.database), table);
    told.expect_err("refused").kind().clone()
}

#[test]
fn a_callers_table_is_refused_and_stays_as_it_is_6_1_5_6() {
    let bank = Bank::new();
    let transaction = bank.database.begin_write().expect("a writer");
    transaction.open_table(ACCOUNTS).expect("a table").insert(1, 2).expect("a row");
    transaction.commit().expect("committed");
    assert!(matches!(refusal(&bank, "accounts"), ErrorKind::NotAStore(_)));
    put(&bank, "blobs", 1, Some(b"x"));
    assert!(matches!(refusal(&bank, "blobs"), ErrorKind::NotAStore(_)));
    assert_eq!(bank.balance(1), 2);
}

#[test]
fn a_damaged_or_newer_table_is_refused_and_stays_as_it_is_6_1_5_6() {
    let bank = Bank::new();
    let store = bank.open(plain());
    (0..40).for_each(|number| run(&store, &key(number), "kept"));
    close(store);
    let before = bank.table();
    // A block in the middle, the lowest one, the floor.
    for number in [20, FIRST_BLOCK, FLOOR] {
        let taken = row(&bank, number);
        put(&bank, OWN, number, None);
        assert!(matches!(refusal(&bank, OWN), ErrorKind::DamagedStore { .. }), "row {number}");
        put(&bank, OWN, number, Some(&taken));
    }
    let identity = row(&bank, IDENTITY);
    let newer = [&identity[..16], &[99, 0, 0, 0], &identity[20..identity.len() - 32]].concat();
    let newer = [&newer[..], blake3::hash(&newer).as_bytes()].concat();
    put(&bank, OWN, IDENTITY, Some(&newer));
    assert!(matches!(refusal(&bank, OWN), ErrorKind::NewerFormat { found: 99, .. }));
    put(&bank, OWN, IDENTITY, Some(&identity[..identity.len() - 1]));
    assert!(matches!(refusal(&bank, OWN), ErrorKind::DamagedStore { .. }));
    put(&bank, OWN, IDENTITY, None);
    assert!(matches!(refusal(&bank, OWN), ErrorKind::NotAStore(_)));
    put(&bank, OWN, IDENTITY, Some(&identity));
    assert_eq!(bank.table(), before, "nothing was changed");
    assert_replays(&bank.open(plain()), &key(39), "kept");
}

#[test]
fn a_damaged_record_in_the_table_is_told_and_never_replayed_6_1_5_9() {
    let bank = Bank::new();
    let store = bank.open(plain());
    run(&store, &key(0), "canary");
    run(&store, &key(1), "sound");
    close(store);
    let mut bytes = row(&bank, FIRST_BLOCK);
    let at = bytes.windows(6).position(|window| window == b"canary").expect("its body");
    bytes[at] ^= 1;
    put(&bank, OWN, FIRST_BLOCK, Some(&bytes));
    let store = bank.open(plain());
    assert!(refused(store.begin(&key(0), &asked())).is_damaged());
    assert_replays(&store, &key(1), "sound");
    run(&store, &key(2), "new");
}

#[test]
fn a_table_is_open_once_and_another_store_takes_another_table_6_1_5_6() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let twice = plain().open_in(Arc::clone(&bank.database), OWN).expect_err("open already");
    assert_eq!(twice.kind(), &ErrorKind::Locked);
    let other = plain().open_in(Arc::clone(&bank.database), "other").expect("another table");
    // Nobody writes into a store's table behind its back.
    let transaction = store.transaction().expect("lent");
    for name in [OWN, "other"] {
        let own = Rows::new(name);
        assert!(matches!(transaction.open_table(own), Err(redb::TableError::TableAlreadyOpen(..))));
        assert!(matches!(transaction.delete_table(own), Err(redb::TableError::TableAlreadyOpen(..))));
    }
    drop(transaction);
    close(store);
    let store = bank.open(plain());
    run(&store, &key(0), "one");
    assert_free(&other, &key(0));
    // A reopening in place keeps the table, and lends again.
    store.reopen().expect("reopened");
    assert_replays(&store, &key(0), "one");
    pay_once(&store, 1, 1);
}

#[test]
fn what_does_not_hold_in_a_callers_database_is_said_6_5() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let own = store.guarantees();
    assert_eq!(own.home, Home::Database);
    assert!(!own.room_set_aside && !own.private_files && !own.judges_files && !own.replays_when_stopped);
    assert!(own.lends_transactions && own.survives_kill && own.durable_reservations && own.one_completion);
    let told = store.backup(bank.dir.path().join("copy")).expect_err("the caller's to copy");
    assert!(matches!(told.kind(), ErrorKind::WrongHome(_)), "{told}");
    assert!(!bank.dir.path().join("copy").exists());
    let told = Store::in_memory().expect("a store").transaction().expect_err("lends nothing");
    assert!(matches!(told.kind(), ErrorKind::WrongHome(_)), "{told}");
}

#[test]
fn a_secret_is_rotated_in_a_callers_database_too_6_5_11() {
    let bank = Bank::new();
    let secret = |byte| Secret::new([byte; 32]);
    let store = bank.open(plain().secret(secret(1)));
    run(&store, &key(0), "before");
    store.rotate_secret(&secret(2)).expect("rotated");
    pay_once(&store, 1, 1);
    store.reopen().expect("reopened");
    assert_replays(&store, &key(0), "before");
    close(store);
    let told = plain().secret(secret(1)).open_in(Arc::clone(&bank.database), OWN).expect_err("the old one");
    assert_eq!(told.kind(), &ErrorKind::WrongSecret);
    let store = bank.open(plain().secret(secret(2)).old_secret(secret(1)));
    assert_replays(&store, &key(0), "before");
    assert_replays(&store, &key(1), "paid");
}
