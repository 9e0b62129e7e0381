//! Goal: where the store can't take a request it does not run, unless the server says so, and then it is counted (contract 5.5,
//! 8.1, 9.1). Settings that can't be are refused when the layer is made.

use std::time::Duration;

use oncekey::http::{IdempotencyLayer, Scope};
use oncekey::{DigestRules, ErrorKind, Store};
use oncekey_servers::by_account;
use reqwest::header::{CONNECTION, ETAG, SET_COOKIE};

use crate::support::{answer, draft, start, until};

#[tokio::test]
async fn a_closed_store_is_503_with_a_time_to_come_again_and_nothing_runs_5_5() {
    let server = draft(|own| own.retry_after(Duration::from_millis(2500))).await;
    server.store.clone().close(Duration::ZERO).unwrap();
    let refused = server.order("k", "{}").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"));
    assert_eq!((refused.header("retry-after"), server.shop.runs()), (Some("3"), 0));
    assert_eq!(server.layer.counts().unavailable, 1);
}

#[tokio::test]
async fn a_server_may_run_unprotected_and_counts_it() {
    let server = draft(|own| own.run_unprotected(true)).await;
    server.store.clone().close(Duration::ZERO).unwrap();
    for runs in 1..=2 {
        let ran = server.order("k", "{}").await;
        assert_eq!((ran.status, ran.is_replayed()), (201, false));
        assert_eq!((server.shop.runs(), server.layer.counts().unprotected), (runs, runs));
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_kept_is_not_given_unless_the_server_says_so_4_1() {
    for unprotected in [false, true] {
        let server = draft(|own| own.run_unprotected(unprotected)).await;
        let first = tokio::spawn(answer(server.post("/slow", "k")));
        until(|| server.shop.runs() == 1).await;
        let store = server.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close(Duration::ZERO));
        closed.await.unwrap().unwrap();
        server.shop.gate.add_permits(1);
        let first = first.await.unwrap();
        assert_eq!(first.status, if unprotected { 200 } else { 503 });
        assert_eq!(server.layer.counts().unprotected, u64::from(unprotected));
    }
}

#[tokio::test]
async fn beyond_a_limit_of_reservations_it_is_503_8_1() {
    let store = Store::builder().live_reservations_max(1).open_in_memory().unwrap();
    let server = start(store.clone(), IdempotencyLayer::draft(store, by_account())).await;
    let first = tokio::spawn(answer(server.post("/slow", "k")));
    until(|| server.shop.runs() == 1).await;
    assert_eq!(server.order("other", "{}").await.problem(), "unavailable");
    server.shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(server.order("other", "{}").await.status, 201);
}

#[test]
fn what_can_never_be_is_refused_when_the_layer_is_made() {
    let store = Store::in_memory().unwrap();
    let made = || IdempotencyLayer::draft(store.clone(), Scope::single("shop"));
    let setting = |error: oncekey::Error| match error.kind() {
        ErrorKind::InvalidSetting { setting, .. } => *setting,
        other => panic!("{other:?}"),
    };
    for name in [SET_COOKIE, CONNECTION] {
        assert_eq!(setting(made().keep_headers([ETAG, name]).build().unwrap_err()), "keep_headers");
    }
    for name in [String::new(), "s".repeat(256)] {
        let refused = IdempotencyLayer::draft(store.clone(), Scope::single(name)).build().unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::InvalidScope(_)), "{refused}");
    }
    assert_eq!(setting(made().methods([]).build().unwrap_err()), "methods");
    let cloud = IdempotencyLayer::cloud_api(store.clone(), Scope::single("shop"));
    assert_eq!(setting(cloud.build().unwrap_err()), "rules");
    let store = Store::builder().rules(DigestRules::cloud_api().with("RequestId")).open_in_memory().unwrap();
    assert!(IdempotencyLayer::cloud_api(store, Scope::single("shop")).build().is_ok());
    assert!(made().keep_headers([ETAG]).build().is_ok());
}

#[test]
fn no_debug_shows_a_scope_10_2() {
    let layer =
        IdempotencyLayer::draft(Store::in_memory().unwrap(), Scope::single("canary")).build().unwrap();
    assert!(!format!("{layer:?}").contains("canary"));
}
