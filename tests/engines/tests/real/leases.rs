//! Goal: what becomes of a run whose process dies, hangs or is cut off (4.4, 5.3, 5.4, 6.3).

use std::time::Duration;

use oncekey::{Answer, Checkpoint, Known, Outcome};
use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::postgres::Cluster;
use oncekey_engines::proxy::Mode;
use oncekey_engines::worker::{Role, key, parameters};

use crate::support::{begin, behind_proxy, fresh, replay, start, wait};

/// A process claims a key, says so, and is killed.
fn killed_holder(engine: &Engine, settings: &Settings, key: u64, durable: bool) {
    let holder = start(1, engine, settings, Role::Hold { key, durable });
    holder.wait_for(&["fresh"], 1);
    holder.kill();
}

pub(crate) fn taken_over_after_its_lease(engine: &Engine) {
    let (settings, key) = (Settings::lease(1), key(1));
    killed_holder(engine, &settings, 1, false);
    let store = engine.store(&settings);
    let reservation = fresh(wait(&store, &key));
    assert_eq!(reservation.attempt(), 2);
    reservation.complete(Outcome::http(200, "second")).unwrap();
    assert_eq!(replay(begin(&store, &key)), "second");
}

#[test]
fn the_run_of_a_process_that_was_killed_is_taken_over_after_its_lease_4_4() {
    taken_over_after_its_lease(&Engine::postgres(Cluster::shared().url(), "killed"));
}

pub(crate) fn known_at_once_by_its_node(engine: &Engine) {
    let settings = Settings::default().node("one");
    let other = engine.store(&Settings::default().node("two"));
    let runs = |number| begin(&other, &key(number)).is_ok_and(|own| matches!(own, Answer::InFlight(_)));
    killed_holder(engine, &settings, 1, false);
    // Another node knows nothing of its end: the lease of ten minutes runs, until the node is there again.
    assert!(runs(1));
    killed_holder(engine, &settings, 2, true);
    assert_eq!(fresh(begin(&other, &key(1))).attempt(), 1, "a volatile one is gone (5.3)");
    assert!(runs(2));
    let store = engine.store(&settings);
    let known = store.get(&key(2)).unwrap();
    let Known::Interrupted { attempt: 1, .. } = known else { panic!("{known:?}") };
    let reservation = fresh(store.request(&key(2), &parameters()).start_durably().begin());
    assert_eq!(reservation.attempt(), 2);
    assert!(reservation.is_resumed());
    assert_eq!(reservation.last_checkpoint().map(Checkpoint::bytes), Some(&b"half"[..]));
    reservation.complete(Outcome::http(200, "resumed")).unwrap();
    assert_eq!(replay(begin(&other, &key(2))), "resumed");
}

#[test]
fn a_process_of_the_same_node_ends_what_the_killed_one_held_at_once_5_3_5_4_6_3() {
    let cluster = Cluster::shared();
    known_at_once_by_its_node(&Engine::postgres(cluster.url(), "node"));
}

pub(crate) fn late_holder_is_refused(engine: &Engine) {
    let (slow, quick) = (engine.store(&Settings::lease(1)), engine.store(&Settings::lease(600)));
    let (first, second) = (key(1), key(2));
    let late = fresh(begin(&slow, &first));
    let later = fresh(begin(&slow, &second));
    let over = fresh(wait(&quick, &first));
    assert_eq!((late.attempt(), over.attempt()), (1, 2));
    assert!(late.renew().is_err_and(|error| error.is_reservation_lost()));
    let refused = late.complete(Outcome::http(200, "late")).unwrap_err();
    assert!(refused.error.is_reservation_lost(), "{}", refused.error);
    assert!(refused.reservation.is_none());
    over.complete(Outcome::http(200, "in time")).unwrap();
    assert_eq!(replay(begin(&slow, &first)), "in time");
    // Also where the other one has finished before.
    let over = fresh(wait(&quick, &second));
    over.complete(Outcome::http(200, "in time")).unwrap();
    let refused = later.complete(Outcome::http(200, "late")).unwrap_err();
    assert!(refused.error.is_reservation_lost(), "{}", refused.error);
    assert_eq!(replay(begin(&slow, &second)), "in time");
}

#[test]
fn a_holder_that_is_too_slow_loses_its_run_and_changes_nothing_4_4() {
    let cluster = Cluster::shared();
    late_holder_is_refused(&Engine::postgres(cluster.url(), "slow"));
}

pub(crate) fn interrupted_by_its_lease(engine: &Engine) {
    killed_holder(engine, &Settings::lease(1), 3, true);
    let store = engine.store(&Settings::default());
    let reservation = fresh(wait(&store, &key(3)));
    assert_eq!(reservation.attempt(), 2);
    assert_eq!(reservation.last_checkpoint().map(Checkpoint::bytes), Some(&b"half"[..]));
    reservation.complete(Outcome::http(200, "resumed")).unwrap();
    assert_eq!(replay(begin(&store, &key(3))), "resumed");
}

#[test]
fn a_durable_run_of_a_process_that_was_killed_goes_on_from_its_checkpoint_after_its_lease_5_4_6_3() {
    interrupted_by_its_lease(&Engine::postgres(Cluster::shared().url(), "interrupted"));
}

pub(crate) fn closed_at_once(engine: &Engine) {
    let (first, second) = (engine.store(&Settings::default()), engine.store(&Settings::default()));
    let held = fresh(begin(&first, &key(1)));
    assert!(matches!(begin(&second, &key(1)), Ok(Answer::InFlight(_))));
    first.close(Duration::ZERO).unwrap();
    assert_eq!(fresh(begin(&second, &key(1))).attempt(), 1);
    assert!(held.complete(Outcome::http(200, "late")).is_err());
}

#[test]
fn what_a_store_held_that_is_closed_is_free_at_once_11() {
    closed_at_once(&Engine::postgres(Cluster::shared().url(), "closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_gives_back_what_it_was_given_meanwhile_4_3() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "given_up");
    let (store, other) = (through.store(&Settings::default()), direct.store(&Settings::default()));
    // Connections are made, and the first claim in flight, when the caller goes.
    drop(fresh(store.begin_async(&key(1), &parameters()).await));
    proxy.set(Mode::Late(Duration::from_millis(50)));
    for number in 2..12 {
        let wait = Duration::from_millis(10 * number);
        drop(tokio::time::timeout(wait, store.begin_async(&key(number), &parameters())).await);
    }
    for number in 1..12 {
        let free = tokio::task::block_in_place(|| fresh(wait(&other, &key(number))));
        assert_eq!(free.attempt(), 1);
    }
}

#[test]
fn a_holder_that_is_cut_off_loses_its_run_and_one_that_is_renewed_does_not_4_4() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "apart");
    let (apart, other) = (through.store(&Settings::lease(1)), direct.store(&Settings::lease(1)));
    let mut renewed = fresh(begin(&other, &key(2)));
    renewed.keep_renewed();
    let lost = fresh(begin(&apart, &key(1)));
    proxy.set(Mode::Hang);
    let over = fresh(wait(&other, &key(1)));
    assert_eq!(over.attempt(), 2);
    // By now a lease has lapsed that was not renewed.
    assert!(begin(&other, &key(2)).is_ok_and(|own| matches!(own, Answer::InFlight(_))));
    renewed.complete(Outcome::http(200, "renewed")).unwrap();
    over.complete(Outcome::http(200, "over")).unwrap();
    proxy.set(Mode::Pass);
    let refused = lost.complete(Outcome::http(200, "lost")).unwrap_err();
    assert!(refused.error.is_reservation_lost(), "{}", refused.error);
    assert_eq!(replay(begin(&apart, &key(1))), "over");
}
