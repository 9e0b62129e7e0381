//! Section 5, what survives a kill (5.1, 5.2, 5.3, 5.7, 5.8).
//!
//! Goal: what was acknowledged is there after the process died at any moment. Method: a child works and dies by
//! `abort`, and its parent opens what it left. Power cuts are a simulation's business, not these tests'.

use std::time::Duration;

use oncekey::{Known, Outcome, Store};

use crate::support::child::{Told, part, start, tell};
use crate::support::{
    Home, LONG, asked, assert_free, assert_replays, close, fresh, kept, key, plain, refusal, run, secs,
};

fn died(told: &Told) {
    assert!(!told.status.success(), "it died: {}", told.all);
}

/// How many keys from 0 on are kept; none may be kept behind one that is not.
fn kept_prefix(store: &Store, of: usize) -> usize {
    let kept: Vec<bool> =
        (0..of).map(|number| matches!(store.get(&key(number)).expect("known"), Known::Finished(_))).collect();
    let count = kept.iter().filter(|kept| **kept).count();
    assert!(kept[..count].iter().all(|kept| *kept), "a hole: {kept:?}");
    count
}

#[test]
fn an_acknowledged_completion_survives_a_kill_5_1() {
    if let Some(path) = part() {
        let store = plain().open(path).expect("opens");
        for number in 0..40 {
            run(&store, &key(number), &format!("body {number}"));
            tell(&format!("acknowledged {number}"));
        }
        std::process::abort();
    }
    let home = Home::directory();
    let told = start("s5_survival::an_acknowledged_completion_survives_a_kill_5_1", &home.path());
    died(&told);
    assert_eq!(told.lines.len(), 40);
    for _ in 0..2 {
        let store = home.open(plain());
        for number in 0..40 {
            assert_replays(&store, &key(number), &format!("body {number}"));
        }
        assert_eq!(store.stats().kept_records, 40);
        close(store);
    }
}

#[test]
fn a_relaxed_completion_that_was_flushed_survives_and_later_ones_are_a_prefix_5_2() {
    if let Some(path) = part() {
        let store = plain().relaxed(Duration::from_secs(3600)).open(path).expect("opens");
        for number in 0..30 {
            run(&store, &key(number), "done");
            if number == 9 {
                store.flush().expect("flushed");
                tell("flushed");
            }
        }
        std::process::abort();
    }
    let home = Home::directory();
    died(&start(
        "s5_survival::a_relaxed_completion_that_was_flushed_survives_and_later_ones_are_a_prefix_5_2",
        &home.path(),
    ));
    let store = home.open(plain());
    assert!(kept_prefix(&store, 30) >= 10, "what was flushed is kept");
}

#[test]
fn relaxed_completions_are_synced_within_their_lag_5_2() {
    if let Some(path) = part() {
        let store = plain().relaxed(Duration::from_millis(10)).open(path).expect("opens");
        run(&store, &key(0), "done");
        std::thread::sleep(Duration::from_secs(2));
        tell("slept");
        std::process::abort();
    }
    let home = Home::directory();
    died(&start("s5_survival::relaxed_completions_are_synced_within_their_lag_5_2", &home.path()));
    assert_replays(&home.open(plain()), &key(0), "done");
}

#[test]
fn a_durable_completion_makes_the_relaxed_ones_before_it_durable_5_2() {
    if let Some(path) = part() {
        let store = plain().relaxed(Duration::from_secs(3600)).open(path).expect("opens");
        for number in 0..5 {
            run(&store, &key(number), "done");
        }
        let parameters = asked();
        let own = key(5);
        kept(fresh(store.request(&own, &parameters).durable().begin()).complete(Outcome::new("done")));
        tell("acknowledged");
        std::process::abort();
    }
    let home = Home::directory();
    died(&start(
        "s5_survival::a_durable_completion_makes_the_relaxed_ones_before_it_durable_5_2",
        &home.path(),
    ));
    assert_eq!(kept_prefix(&home.open(plain()), 6), 6);
}

#[test]
fn relaxed_completions_survive_a_close_5_2() {
    let home = Home::directory();
    let store = home.open(plain().relaxed(Duration::from_secs(3600)));
    for number in 0..5 {
        run(&store, &key(number), "done");
    }
    drop(store);
    assert_eq!(kept_prefix(&home.open(plain()), 5), 5);
}

#[test]
fn a_volatile_reservation_is_gone_with_its_process_and_a_retry_runs_afresh_5_3() {
    if let Some(path) = part() {
        let store = plain().open(path).expect("opens");
        run(&store, &key(0), "done");
        let held = fresh(store.begin(&key(1), &asked()));
        tell(&format!("attempt {}", held.attempt()));
        std::process::abort();
    }
    let home = Home::directory();
    died(&start(
        "s5_survival::a_volatile_reservation_is_gone_with_its_process_and_a_retry_runs_afresh_5_3",
        &home.path(),
    ));
    let store = home.open(plain());
    assert_replays(&store, &key(0), "done");
    assert_free(&store, &key(1));
    assert_eq!(fresh(store.begin(&key(1), &asked())).attempt(), 1);
}

#[test]
fn a_reservation_is_gone_with_its_closed_store_5_3() {
    let home = Home::directory();
    let store = home.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    store.close(secs(0)).expect("closed over it");
    let store = home.open(plain());
    assert_eq!(fresh(store.begin(&key(0), &asked())).attempt(), 1);
    let refusal = held.complete(Outcome::new("late")).expect_err("its store is closed");
    assert_eq!(refusal.error.kind(), &oncekey::ErrorKind::Closed);
}

#[test]
fn opening_after_a_kill_at_any_moment_finds_a_prefix_without_a_manual_step_5_7_5_8() {
    if let Some(path) = part() {
        let (path, after) = (path.join("store"), path.join("after"));
        let after: u64 = std::fs::read_to_string(after).expect("told").parse().expect("a number");
        tell("begun");
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(after));
            std::process::abort();
        });
        let store = plain().segment_bytes_max(1 << 20).open(path).expect("opens");
        for number in 0.. {
            run(&store, &key(number), &"x".repeat(20_000));
            tell(&format!("acknowledged {number}"));
        }
    }
    let name = "s5_survival::opening_after_a_kill_at_any_moment_finds_a_prefix_without_a_manual_step_5_7_5_8";
    for round in 0..25_u64 {
        let home = Home::directory();
        let dir = home.beside("");
        std::fs::write(home.beside("after"), (round * round * 900).to_string()).expect("written");
        let told = start(name, &dir);
        died(&told);
        let acknowledged = told.lines.iter().filter(|line| line.starts_with("acknowledged")).count();
        let store = home.open(plain());
        let found = kept_prefix(&store, acknowledged + 2);
        assert!(found >= acknowledged, "round {round}: {acknowledged} acknowledged, {found} found");
        run(&store, &key(1_000_000), "goes on");
        close(store);
        assert_eq!(kept_prefix(&home.open(plain()), acknowledged + 2), found);
    }
}

#[test]
fn a_creation_that_was_cut_short_is_done_again_5_7() {
    let home = Home::directory();
    std::fs::create_dir(home.path()).expect("made");
    std::fs::write(home.path().join("oncekey.identity.new"), "half of an ident").expect("written");
    std::fs::write(home.path().join("oncekey.lock"), "").expect("written");
    let store = home.open(plain());
    run(&store, &key(0), "done");
    close(store);
    assert!(!home.path().join("oncekey.identity.new").exists(), "the leftover is gone");
    assert_replays(&home.open(plain()), &key(0), "done");
}

#[test]
fn a_store_held_by_another_process_is_refused_as_locked_5_6() {
    if let Some(path) = part() {
        let error = refusal(plain(), &path);
        tell(&format!("{:?}", error.kind()));
        return;
    }
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "done");
    let name = "s5_survival::a_store_held_by_another_process_is_refused_as_locked_5_6";
    assert_eq!(start(name, &home.path()).lines, ["Locked"]);
    assert_replays(&store, &key(0), "done");
    store.close(LONG).expect("closed");
}
