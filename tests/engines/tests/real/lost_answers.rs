//! Goal: what a caller is told when an answer was lost: nothing, if it is found out in time, else *unknown outcome*, until
//! it has been found out; never anything wrong (3.9, 4.1, 5.1). Method: a proxy lets the question through and loses the
//! answer, by cutting the connection or by silence, behind the moment when the engine has done what it was asked.

use std::time::Duration;

use oncekey::{Answer, Outcome};
use oncekey_engines::engine::Settings;
use oncekey_engines::postgres::Cluster;
use oncekey_engines::proxy::{Loss, Mode};
use oncekey_engines::worker::key;

use crate::support::{begin, behind_proxy, fresh, known, replay, wait};

/// Shorter than what a test waits for.
const IMPATIENT: Duration = Duration::from_millis(700);

fn unknown_until_it_is_found_out(schema: &str, loss: Loss, then: Mode) {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, schema);
    let store = through.store(&Settings::default().patience(IMPATIENT));
    let other = direct.store(&Settings::default());
    let reservation = fresh(begin(&store, &key(1)));
    proxy.lose("the-body", loss, then);
    let refused = reservation.complete(Outcome::http(200, "the-body")).unwrap_err();
    assert_eq!(proxy.lost(), 1, "it was this answer");
    assert!(refused.error.is_unknown_outcome(), "{}", refused.error);
    assert!(refused.reservation.is_none(), "nobody may run it again");
    for _ in 0..2 {
        let error = begin(&store, &key(1)).expect_err("it is not known");
        assert!(error.is_unknown_outcome(), "{error}");
    }
    assert_eq!(replay(begin(&other, &key(1))), "the-body", "who reaches the engine knows");
    proxy.set(Mode::Pass);
    assert_eq!(replay(Ok(known(&store, &key(1)))), "the-body");
}

#[test]
fn a_completion_whose_answer_is_cut_off_and_whose_engine_is_gone_is_unknown_until_it_is_found_out_3_9() {
    unknown_until_it_is_found_out("unknown", Loss::Cut, Mode::Closed);
}

#[test]
fn a_completion_whose_answer_never_comes_behind_a_partition_is_unknown_until_it_is_found_out_3_9() {
    unknown_until_it_is_found_out("silence", Loss::Silence, Mode::Hang);
}

#[test]
fn a_completion_that_reached_nobody_is_unknown_too_and_kept_as_soon_as_the_engine_is_reached_3_9() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "unsent");
    let store = through.store(&Settings::default().patience(IMPATIENT));
    let other = direct.store(&Settings::default());
    let reservation = fresh(begin(&store, &key(1)));
    proxy.set(Mode::Closed);
    let error = begin(&store, &key(2)).expect_err("it is not reached");
    assert!(error.is_retryable(), "{error}");
    let refused = reservation.complete(Outcome::http(200, "later")).unwrap_err();
    assert!(refused.error.is_unknown_outcome(), "{}", refused.error);
    assert!(refused.reservation.is_none(), "nobody may run it again");
    assert!(matches!(begin(&other, &key(1)), Ok(Answer::InFlight(_))));
    proxy.set(Mode::Pass);
    assert_eq!(replay(wait(&other, &key(1))), "later", "without anybody asking there");
    assert_eq!(replay(Ok(known(&store, &key(1)))), "later");
}

#[test]
fn a_completion_that_reached_nobody_before_its_lease_lapsed_is_another_callers_to_make_3_9_4_4() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "overtaken");
    let store = through.store(&Settings::lease(1).patience(IMPATIENT));
    let other = direct.store(&Settings::default());
    let reservation = fresh(begin(&store, &key(1)));
    proxy.set(Mode::Closed);
    let refused = reservation.complete(Outcome::http(200, "first")).unwrap_err();
    assert!(refused.error.is_unknown_outcome(), "{}", refused.error);
    let over = fresh(wait(&other, &key(1)));
    assert_eq!(over.attempt(), 2);
    over.complete(Outcome::http(200, "second")).unwrap();
    assert!(begin(&store, &key(1)).is_err_and(|error| error.is_unknown_outcome()));
    proxy.set(Mode::Pass);
    assert_eq!(replay(Ok(known(&store, &key(1)))), "second");
}

fn found_out_by_itself(schema: &str, loss: Loss) {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, schema);
    let store = through.store(&Settings::default());
    // The answer to the claim: it is the asker's own, and nobody else's.
    proxy.lose("token-0", loss, Mode::Pass);
    let reservation = fresh(begin(&store, &key(0)));
    assert_eq!((reservation.attempt(), proxy.lost()), (1, 1));
    let other = direct.store(&Settings::default());
    assert!(matches!(begin(&other, &key(0)), Ok(Answer::InFlight(_))));
    proxy.lose("the-body", loss, Mode::Pass);
    reservation.complete(Outcome::http(200, "the-body")).unwrap();
    assert_eq!(proxy.lost(), 2);
    assert_eq!(replay(begin(&other, &key(0))), "the-body");
    // The answer to a release: the key is free.
    let reservation = fresh(begin(&store, &key(1)));
    proxy.lose("token-0", loss, Mode::Pass);
    reservation.release().unwrap();
    assert_eq!(proxy.lost(), 3);
    assert_eq!(fresh(begin(&other, &key(1))).attempt(), 1);
}

#[test]
fn answers_that_are_cut_off_are_found_out_and_no_caller_notices_4_1() {
    found_out_by_itself("cut_shortly", Loss::Cut);
}

#[test]
fn answers_that_never_come_are_found_out_and_no_caller_notices_4_1() {
    found_out_by_itself("silent_shortly", Loss::Silence);
}
