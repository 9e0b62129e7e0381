//! Section 6, one writer for all (6.4).
//!
//! Goal: nothing in the caller's database ever waits for itself, and whoever waits for somebody else is served. Method:
//! every durable call there is, on the thread that holds the lent transaction and on others; then closing, reopening and
//! sweeping beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncekey::{Answer, ErrorKind, Outcome, Secret};

use crate::support::bank::{Bank, lent, pay, pay_once};
use crate::support::tasks::{Task, block_on, until};
use crate::support::{
    LONG, asked, assert_free, assert_replays, fresh, kept, key, plain, run, secs, started, with_clock,
};

#[test]
fn durable_calls_on_the_lending_thread_are_refused_and_change_nothing_6_4() {
    let bank = Bank::new();
    let store = bank.open(plain());
    run(&store, &key(9), "kept");
    let (held, durable) = (fresh(store.begin(&key(0), &asked())), started(&store, &key(1)));
    let transaction = store.transaction().expect("lent");
    let told = held.complete(Outcome::new("x")).expect_err("would wait for itself");
    assert_eq!(told.error.kind(), &ErrorKind::Lent);
    let held = told.reservation.expect("still held");
    let told = block_on(held.complete_async(Outcome::http(503, "x"))).expect_err("the same");
    let held = told.reservation.expect("still held");
    lent(durable.checkpoint(b"x"));
    lent(store.request(&key(2), &asked()).start_durably().begin());
    lent(store.forget(&key(9)));
    lent(store.resolve(&key(9), Outcome::new("x")));
    lent(store.flush());
    lent(store.sweep());
    lent(store.rotate_secret(&Secret::new([1; 32])));
    lent(store.reopen());
    lent(store.clone().close(LONG));
    lent(store.transaction());
    lent(plain().open_in(Arc::clone(&bank.database), "another"));
    let mut ran = false;
    lent(store.execute::<(), oncekey::Never>(&key(3), &asked(), |_| {
        ran = true;
        Ok(())
    }));
    assert!(!ran, "what could not be recorded did not run");
    // What waits for nobody goes on, on this thread too.
    assert_replays(&store, &key(9), "kept");
    assert_free(&store, &key(2));
    assert_free(&store, &key(3));
    drop(fresh(store.begin(&key(4), &asked())));
    kept(transaction.complete(held, Outcome::new("here")));
    kept(transaction.complete(durable, Outcome::new("here")));
    transaction.commit().expect("committed");
    assert_replays(&store, &key(1), "here");
    run(&store, &key(2), "again possible");
}

#[test]
fn two_stores_in_one_database_share_its_writer_and_the_refusal_6_4() {
    let bank = Bank::new();
    let one = bank.open(plain());
    let two = plain().open_in(Arc::clone(&bank.database), "two").expect("a table of its own");
    run(&one, &key(0), "one");
    run(&two, &key(0), "two");
    let held = fresh(two.begin(&key(1), &asked()));
    let transaction = one.transaction().expect("lent");
    let told = held.complete(Outcome::new("x")).expect_err("its writer waits for this thread");
    assert_eq!(told.error.kind(), &ErrorKind::Lent);
    let told =
        transaction.complete(told.reservation.expect("held"), Outcome::new("x")).expect_err("not its own");
    assert_eq!(told.error.kind(), &ErrorKind::OtherStore);
    lent(two.transaction());
    // Its last handle goes while this thread holds up its writer: it ends when it can.
    drop((told, two));
    drop(transaction);
    until("the other one has ended", || {
        let again = plain().open_in(Arc::clone(&bank.database), "two");
        again.is_ok_and(|two| {
            assert_replays(&two, &key(0), "two");
            true
        })
    });
    assert_replays(&one, &key(0), "one");
}

#[test]
fn a_durable_call_on_another_thread_waits_until_the_transaction_has_ended_6_4() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let transaction = store.transaction().expect("lent");
        scope.spawn(|| {
            run(&store, &key(0), "other thread");
            done.store(true, Ordering::SeqCst);
        });
        until("it runs", || store.stats().live_reservations == 1);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!done.load(Ordering::SeqCst), "it waits");
        pay(&transaction, 0, 1);
        transaction.commit().expect("committed");
    });
    assert_replays(&store, &key(0), "other thread");
}

#[test]
fn the_background_sweep_never_waits_for_a_caller_who_writes_6_4() {
    let bank = Bank::new();
    let (builder, clock) = with_clock();
    let store = bank.open(builder.background_sweep(true));
    run(&store, &key(0), "expires");
    clock.advance(secs(100_000));
    let transaction = store.transaction().expect("lent");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(store.stats().kept_records, 1, "it was skipped");
    drop(transaction);
    // The caller's own write transaction: what needs none is done, and closing waits for no sweep.
    let own = bank.database.begin_write().expect("his own");
    until("it leaves the index", || store.stats().kept_records == 0);
    drop(own);
    until("its block goes", || store.stats().file_bytes == 0);
}

#[test]
fn a_closing_store_waits_for_a_transaction_on_another_thread_and_its_commit_counts_6_1_11() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(held, Outcome::new("paid")));
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| store.clone().close(secs(0)));
        until("it is closing", || store.get(&key(5)).is_err());
        std::thread::sleep(Duration::from_millis(20));
        transaction.commit().expect("committed");
        closing.join().expect("no panic").expect("closed");
    });
    assert_eq!(store.transaction().expect_err("closed").kind(), &ErrorKind::Closed);
    drop(store);
    assert_replays(&bank.open(plain()), &key(0), "paid");
}

#[test]
fn a_reopening_waits_for_a_transaction_on_another_thread_6_4_5_5() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    let transaction = store.transaction().expect("lent");
    std::thread::scope(|scope| {
        let reopening = scope.spawn(|| store.reopen());
        let secret = scope.spawn(|| store.rotate_secret(&Secret::new([3; 32])));
        std::thread::sleep(Duration::from_millis(50));
        // Meanwhile this thread is not held up by those who wait for it.
        drop(fresh(store.begin(&key(1), &asked())));
        kept(transaction.complete(held, Outcome::new("paid")));
        transaction.commit().expect("committed");
        reopening.join().expect("no panic").expect("reopened");
        secret.join().expect("no panic").expect("rotated");
    });
    assert_replays(&store, &key(0), "paid");
    pay_once(&store, 2, 1);
}

#[test]
fn a_reservation_on_its_way_to_the_disk_is_not_completed_in_a_transaction_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = started(&store, &key(0));
    let transaction = store.transaction().expect("lent");
    let held = std::thread::scope(|scope| {
        // Another thread notes a checkpoint and waits for it: the writer waits for this transaction.
        let noting = scope.spawn(|| {
            let mut noting = Task::new(held.checkpoint_async(b"late"));
            assert!(noting.poll().is_pending());
            drop(noting);
            held
        });
        noting.join().expect("noted")
    });
    let told = transaction.complete(held, Outcome::new("x")).expect_err("it would be overtaken");
    assert!(told.error.is_in_flight());
    let held = told.reservation.expect("still held");
    drop(transaction);
    until("it is written", || store.stats().checkpoints == 1);
    let transaction = store.transaction().expect("lent");
    kept(transaction.complete(held, Outcome::new("done")));
    transaction.commit().expect("committed");
    let bank = bank.crash(store);
    assert_replays(&bank.open(plain()), &key(0), "done");
}

#[test]
fn several_threads_take_turns_and_every_payment_counts_once_6_1() {
    let bank = Bank::new();
    let store = bank.open(plain());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, own) = (&store, move |n: usize| key(thread / 2 * 1000 + n));
            scope.spawn(move || {
                for number in 0..25 {
                    let key = own(number);
                    match store.request(&key, &asked()).wait(LONG).begin().expect("an answer") {
                        Answer::Fresh(held) => {
                            let transaction = store.transaction().expect("lent");
                            pay(&transaction, 0, 1);
                            kept(transaction.complete(held, Outcome::new("paid")));
                            transaction.commit().expect("committed");
                        }
                        Answer::Replay(replay) => assert_eq!(replay.outcome().body(), b"paid"),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!((bank.balance(0), store.stats().kept_records), (50, 50));
}
