//! Section 6, the caller's own write transaction (6.1, 6.2).
//!
//! Goal: effect and record are one, whatever happens. Method: accounts in a table of the test's own beside the store's,
//! looked at after every end that a transaction can have. A crash is a copy of the database's file, or a child that is
//! killed; a disk that fails is a backend of the test's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oncekey::redb::{self, Database};
use oncekey::{Answer, Completed, ErrorKind, Known, Outcome, Reservation, Store, Transaction};

use crate::support::bank::{ACCOUNTS, Bank, OWN, balance, pay, pay_once};
use crate::support::tasks::{panics, until};
use crate::support::{
    LONG, asked, asked_otherwise, assert_free, assert_replays, child, close, fresh, kept, key, plain,
    refused, run, secs, soon, started, with_clock,
};

#[test]
fn effect_and_record_are_committed_together_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    let transaction = store.transaction().expect("lent");
    pay(&transaction, 0, 7);
    let (completed, expires) = kept(transaction.complete(held, Outcome::http(201, "paid")));
    assert!(completed < expires);
    assert_eq!(bank.balance(0), 0, "not committed yet");
    assert!(matches!(store.get(&key(0)), Ok(Known::InFlight { lease_left: None, .. })));
    transaction.commit().expect("committed");
    assert_eq!(bank.balance(0), 7);
    assert_replays(&store, &key(0), "paid");
    // A crash right after leaves both.
    let bank = bank.crash(store);
    let store = bank.open(plain());
    assert_eq!(bank.balance(0), 7);
    assert_replays(&store, &key(0), "paid");
    assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
}

#[test]
fn a_crash_before_the_commit_leaves_neither_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    pay_once(&store, 0, 7);
    let held = fresh(store.begin(&key(1), &asked()));
    let transaction = store.transaction().expect("lent");
    pay(&transaction, 0, 100);
    kept(transaction.complete(held, Outcome::new("lost")));
    let bank = bank.crash((transaction, store));
    let store = bank.open(plain());
    assert_eq!(bank.balance(0), 7);
    assert_replays(&store, &key(0), "paid");
    assert_eq!(fresh(store.begin(&key(1), &asked())).attempt(), 1);
}

#[test]
fn several_reservations_are_completed_in_one_transaction_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held: Vec<Reservation> = (0..300).map(|n| fresh(store.begin(&key(n), &asked()))).collect();
    let transaction = store.transaction().expect("lent");
    for (number, held) in held.into_iter().enumerate() {
        pay(&transaction, 0, 1);
        // Some of them are large, so that they fill several blocks.
        let body = format!("{number} {}", ".".repeat(number * 5));
        kept(transaction.complete(held, Outcome::new(body)));
    }
    transaction.commit().expect("committed");
    let check = |store: &Store| {
        for number in 0..300 {
            assert_replays(store, &key(number), &format!("{number} {}", ".".repeat(number * 5)));
        }
        assert_eq!(store.stats().kept_records, 300);
    };
    check(&store);
    assert_eq!((bank.balance(0), store.stats().completed), (300, 300));
    let bank = bank.crash(store);
    check(&bank.open(plain()));
}

#[test]
fn those_who_wait_are_woken_by_the_commit_6_1_3_7() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    std::thread::scope(|scope| {
        let waiters: Vec<_> =
            (0..4).map(|_| scope.spawn(|| store.request(&key(0), &asked()).wait(LONG).begin())).collect();
        until("they wait", || store.stats().in_flight == 4);
        let transaction = store.transaction().expect("lent");
        kept(transaction.complete(held, Outcome::new("paid")));
        transaction.commit().expect("committed");
        for waiter in waiters {
            let Ok(Ok(Answer::Replay(replay))) = waiter.join() else { panic!("a replay") };
            assert_eq!(replay.outcome().body(), b"paid");
        }
    });
}

#[test]
fn a_transaction_that_is_given_up_releases_and_keeps_nothing_6_2() {
    type End = fn(Transaction);
    let ends: [End; 3] = [
        drop,
        |own| own.abort().expect("aborted"),
        |own| {
            assert!(panics(move || {
                let _own = own;
                panic!("planned");
            }));
        },
    ];
    for end in ends {
        let bank = Bank::new();
        let store = bank.open(plain());
        let held = fresh(store.begin(&key(0), &asked()));
        let transaction = store.transaction().expect("lent");
        pay(&transaction, 0, 7);
        kept(transaction.complete(held, Outcome::new("never")));
        end(transaction);
        assert_eq!((bank.balance(0), store.stats().live_reservations), (0, 0));
        assert_free(&store, &key(0));
        pay_once(&store, 0, 5);
        assert_eq!(bank.balance(0), 5);
        let bank = bank.crash(store);
        assert_replays(&bank.open(plain()), &key(0), "paid");
    }
}

#[test]
fn one_who_waits_takes_over_from_a_transaction_that_is_given_up_6_2_3_7() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.request(&key(0), &asked()).wait(LONG).begin());
        until("it waits", || store.stats().in_flight == 1);
        let transaction = store.transaction().expect("lent");
        kept(transaction.complete(held, Outcome::new("never")));
        drop(transaction);
        let Ok(Ok(Answer::Fresh(held))) = waiter.join() else { panic!("a reservation") };
        kept(held.complete(Outcome::new("second")));
    });
    assert_replays(&store, &key(0), "second");
}

#[test]
fn a_durable_reservation_that_is_given_up_is_released_and_by_a_panic_interrupted_6_2_4_3() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let (dropped, panicked) = (started(&store, &key(0)), started(&store, &key(1)));
    dropped.checkpoint(b"a").expect("noted");
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(dropped, Outcome::new("never")));
    drop(transaction);
    let held = soon(&store, &key(0));
    assert_eq!((held.attempt(), held.is_resumed()), (2, false));
    drop(held);
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(panicked, Outcome::new("never")));
    assert!(panics(move || {
        let _transaction = transaction;
        panic!("planned");
    }));
    assert!(matches!(store.get(&key(1)), Ok(Known::Interrupted { attempt: 1, .. })));
    let held = fresh(store.begin(&key(1), &asked()));
    assert!(held.is_resumed() && held.attempt() == 2);
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(held, Outcome::new("at last")));
    transaction.commit().expect("committed");
    let bank = bank.crash(store);
    let store = bank.open(plain());
    assert_replays(&store, &key(1), "at last");
    assert_eq!(store.stats().interrupted, 0);
}

#[test]
fn a_completion_in_a_transaction_is_refused_as_elsewhere_and_hands_the_reservation_back_6_1_4_5() {
    let (bank, other) = (Bank::new(), Bank::new());
    let (store, other) =
        (bank.open(plain().outcome_bytes_max(8).declared_outcome_bytes(8)), other.open(plain()));
    let transaction = store.transaction().expect("lent");
    let held = fresh(store.begin(&key(0), &asked()));
    let told = transaction.complete(held, Outcome::new("nine bytes")).expect_err("too large");
    assert!(matches!(told.error.kind(), ErrorKind::TooLarge { measured: 10, limit: 8, .. }));
    let held = told.reservation.expect("still held");
    let held = {
        let foreign = fresh(other.begin(&key(0), &asked()));
        let told = transaction.complete(foreign, Outcome::new("x")).expect_err("another store's");
        assert_eq!(told.error.kind(), &ErrorKind::OtherStore);
        kept(told.reservation.expect("still held").complete(Outcome::new("there")));
        held
    };
    kept(transaction.complete_without_body(held, Outcome::new("nine bytes")));
    transaction.commit().expect("committed");
    let Ok(Answer::Replay(replay)) = store.begin(&key(0), &asked()) else { panic!("a replay") };
    assert_eq!(replay.omitted().expect("without its body").bytes, 10);
    assert_replays(&other, &key(0), "there");
}

#[test]
fn one_who_lost_the_key_completes_nothing_in_a_transaction_6_1_4_4() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder);
    let late = fresh(store.begin(&key(0), &asked()));
    clock.advance(secs(60));
    let second = fresh(store.begin(&key(0), &asked()));
    let transaction = store.transaction().expect("lent");
    let told = transaction.complete(late, Outcome::new("late")).expect_err("lost");
    assert!(told.error.is_reservation_lost() && told.reservation.is_none());
    kept(transaction.complete(second, Outcome::new("second")));
    // It has passed its fence: its lease no longer runs.
    clock.advance(secs(600));
    assert!(matches!(store.begin(&key(0), &asked()), Ok(Answer::InFlight(_))));
    transaction.commit().expect("committed");
    assert_replays(&store, &key(0), "second");
    assert_eq!(store.stats().lost, 1);
}

#[test]
fn a_retryable_outcome_is_not_kept_and_released_when_the_transaction_ends_6_1_4_2() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let (held, durable) = (fresh(store.begin(&key(0), &asked())), started(&store, &key(1)));
    let transaction = store.transaction().expect("lent");
    pay(&transaction, 0, 3);
    for held in [held, durable] {
        let told = transaction.complete(held, Outcome::http(503, "later")).expect("released");
        assert_eq!(told, Completed::Released);
    }
    assert!(matches!(store.begin(&key(0), &asked()), Ok(Answer::InFlight(_))), "until the end");
    transaction.commit().expect("committed");
    assert_eq!(bank.balance(0), 3, "what may stay without it");
    assert_free(&store, &key(0));
    assert_eq!(soon(&store, &key(1)).attempt(), 2);
}

/// The caller's file, on a disk that fails when it is told to.
#[derive(Clone, Debug)]
struct Failing {
    memory: Arc<redb::backends::InMemoryBackend>,
    /// Its writes reach the disk all the same, or they do not.
    fails: Arc<AtomicBool>,
    writes: bool,
}

impl Failing {
    fn new(writes: bool) -> Self {
        Self { memory: Arc::default(), fails: Arc::default(), writes }
    }

    fn database(&self) -> Arc<Database> {
        Arc::new(redb::Builder::new().create_with_backend(self.clone()).expect("a database"))
    }

    fn check(&self, good: bool) -> std::io::Result<()> {
        if good || !self.fails.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(std::io::ErrorKind::Other.into())
        }
    }
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.check(false)
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check(self.writes)?;
        self.memory.write(offset, data)
    }
}

#[test]
fn a_commit_that_fails_leaves_its_keys_unknown_until_a_store_was_opened_that_has_looked_6_2_5_1() {
    for writes in [true, false] {
        let disk = Failing::new(writes);
        let database = disk.database();
        let store = plain().open_in(Arc::clone(&database), OWN).expect("the store opens");
        pay_once(&store, 9, 1);
        let held = fresh(store.begin(&key(0), &asked()));
        let waiting = fresh(store.begin(&key(1), &asked()));
        let transaction = store.transaction().expect("lent");
        pay(&transaction, 0, 7);
        kept(transaction.complete(held, Outcome::new("perhaps")));
        disk.fails.store(true, Ordering::SeqCst);
        let told = transaction.commit().expect_err("the disk fails");
        assert_eq!(told.kind(), &ErrorKind::UnknownOutcome);
        disk.fails.store(false, Ordering::SeqCst);
        assert!(refused(store.begin(&key(0), &asked())).is_unknown_outcome());
        assert!(refused(store.begin(&key(0), &asked_otherwise())).is_mismatch());
        assert_eq!(store.get(&key(0)), Ok(Known::Unknown));
        let stopped = ErrorKind::Stopped { operation: "commit" };
        assert_eq!(store.transaction().expect_err("stopped").kind(), &stopped);
        let told = waiting.complete(Outcome::new("x")).expect_err("stopped");
        assert!(told.error.kind() == &stopped && told.reservation.is_some());
        // redb answers nothing any more, so nobody can look in place.
        drop(store.reopen().expect_err("the database is broken"));
        assert!(store.begin(&key(0), &asked()).is_err());
        drop((told, store, database));

        let database = disk.database();
        let store = plain().open_in(Arc::clone(&database), OWN).expect("it looks");
        assert_replays(&store, &key(9), "paid");
        match store.get(&key(0)).expect("known") {
            Known::Finished(_) => assert_eq!(balance(&database, 0), 8),
            Known::Absent => assert_eq!(balance(&database, 0), 1),
            other => panic!("{other:?}"),
        }
        assert_free(&store, &key(1));
    }
}

#[test]
fn a_process_killed_in_a_transaction_leaves_effect_and_record_together_or_not_at_all_6_1() {
    const NAME: &str = "s6_transactions::a_process_killed_in_a_transaction_leaves_effect_and_record_together_or_not_at_all_6_1";
    if let Some(path) = child::part() {
        let database = Arc::new(Database::create(path).expect("a database"));
        let store = plain().open_in(database, OWN).expect("the store opens");
        pay_once(&store, 0, 7);
        let held = fresh(store.begin(&key(1), &asked()));
        let durable = started(&store, &key(2));
        let transaction = store.transaction().expect("lent");
        pay(&transaction, 0, 100);
        kept(transaction.complete(held, Outcome::new("never")));
        kept(transaction.complete(durable, Outcome::new("never")));
        child::tell("in the middle");
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
        unreachable!("killed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bank");
    let told = child::start(NAME, &path);
    assert!(told.lines == ["in the middle"] && !told.status.success(), "{}", told.all);
    let database = Arc::new(Database::create(path).expect("opens after a kill"));
    let store = plain().open_in(Arc::clone(&database), OWN).expect("opens after a kill");
    assert_eq!(balance(&database, 0), 7);
    assert_replays(&store, &key(0), "paid");
    assert_eq!(fresh(store.begin(&key(1), &asked())).attempt(), 1);
    assert!(fresh(store.begin(&key(2), &asked())).is_resumed());
}

#[test]
fn a_panic_in_the_middle_of_a_transaction_harms_nobody_else_6_2_5_11() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let transaction = store.transaction().expect("lent");
        let mut accounts = transaction.open_table(ACCOUNTS).expect("the accounts");
        accounts.insert(0, 1).expect("a row");
        let _held = &held;
        panic!("planned");
    }));
    assert!(panicked.is_err());
    run(&store, &key(1), "others go on");
    drop(held);
    pay_once(&store, 0, 5);
    assert_eq!(bank.balance(0), 5);
    let bank = bank.crash(store);
    assert_eq!(bank.balance(0), 5);
    assert_replays(&bank.open(plain()), &key(0), "paid");
}

#[test]
fn a_release_is_not_remembered_beyond_a_shorter_outcome_of_a_transaction_4_3_6_1_7_1() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder.clone());
    let held = started(&store, &key(0));
    held.checkpoint(b"of a life that is over").expect("noted");
    drop(held);
    until("released", || store.get(&key(0)) == Ok(Known::Absent));
    let held = fresh(store.request(&key(0), &asked()).retention(secs(10)).begin());
    assert_eq!(held.attempt(), 2);
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(held, Outcome::new("short")));
    transaction.commit().expect("committed");
    clock.advance(secs(20));
    let mut store = store;
    for _ in 0..3 {
        store.sweep().expect("swept");
        close(store);
        store = bank.open(builder.clone());
    }
    let held = fresh(store.begin(&key(0), &asked()));
    assert_eq!((held.attempt(), held.last_checkpoint()), (1, None));
}
