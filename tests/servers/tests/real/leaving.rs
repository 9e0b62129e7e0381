//! Goal: a client that hangs up cancels nothing, and a server that ends waits for what runs (contract 4.3, 5.11, 11).

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use oncekey::http::IdempotencyLayer;
use oncekey::{Known, ManualClock, Store};
use oncekey_servers::by_account;

use crate::support::{Server, answer, draft, start, until};

/// A client asks, and hangs up once `is_so`; returns when the server has noticed.
async fn hang_up(server: &Server, is_so: impl FnMut() -> bool) {
    let before = server.shop.hung_up.load(SeqCst);
    let asked = tokio::spawn(server.post("/slow", "k").send());
    until(is_so).await;
    asked.abort();
    until(|| server.shop.hung_up.load(SeqCst) > before).await;
}

#[tokio::test]
async fn the_handler_of_a_client_that_hangs_up_ends_and_its_answer_is_kept() {
    for http2 in [false, true] {
        let mut server = draft(|own| own).await;
        if http2 {
            server.client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        }
        hang_up(&server, || server.shop.runs() == 1).await;
        assert_eq!(server.layer.drain().running(), 1);
        assert_eq!(answer(server.post("/slow", "k")).await.status, 409, "it runs on");
        server.shop.gate.add_permits(1);
        server.layer.drain().finished().await;
        assert_eq!(server.shop.ends.load(SeqCst), 1);
        let again = answer(server.post("/slow", "k")).await;
        assert_eq!((again.body.as_str(), again.is_replayed(), server.shop.runs()), ("slow 1", true, 1));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_changes_nothing_3_7() {
    let server = draft(|own| own.wait(Duration::from_secs(60))).await;
    let first = tokio::spawn(answer(server.post("/slow", "k")));
    until(|| server.shop.runs() == 1).await;
    hang_up(&server, || server.store.stats().in_flight == 1).await;
    server.shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "slow 1");
    assert!(answer(server.post("/slow", "k")).await.is_replayed());
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_handler_runs_4_4() {
    let (clock, lease) = (ManualClock::default(), Duration::from_secs(60));
    let store = Store::builder().clock(clock.clone()).open_in_memory().unwrap();
    let server = start(store.clone(), IdempotencyLayer::draft(store, by_account()).lease(lease)).await;
    let first = tokio::spawn(answer(server.post("/slow", "k")));
    until(|| server.shop.runs() == 1).await;
    let key = server.store.key("a", "k").unwrap();
    let left = || match server.store.get(&key) {
        Ok(Known::InFlight { lease_left, .. }) => lease_left,
        other => panic!("it runs: {other:?}"),
    };
    for _ in 0..5 {
        clock.advance(lease / 3);
        until(|| left() == Some(lease)).await;
    }
    assert_eq!(answer(server.post("/slow", "k")).await.status, 409, "longer than its lease");
    server.shop.gate.add_permits(1);
    assert_eq!((first.await.unwrap().status, server.shop.runs()), (200, 1));
}

#[tokio::test]
async fn a_handler_that_panics_releases_its_key_and_breaks_its_own_connection_alone_4_3_5_11() {
    let server = draft(|own| own).await;
    for runs in 1..=2 {
        assert!(server.post("/panic", "k").send().await.is_err());
        assert_eq!((server.shop.runs(), server.store.stats().live_reservations), (runs, 0));
    }
    assert_eq!(server.order("other", "{}").await.status, 201);
    assert_eq!(server.layer.drain().running(), 0);
}

#[tokio::test]
async fn a_server_that_ends_waits_for_handlers_without_a_client() {
    let mut server = draft(|own| own).await;
    hang_up(&server, || server.shop.runs() == 1).await;
    server.stop();
    let drain = server.layer.drain();
    let early = tokio::time::timeout(Duration::from_millis(50), drain.finished());
    assert!(early.await.is_err(), "it still runs");
    server.shop.gate.add_permits(1);
    drain.finished().await;
    let key = server.store.key("a", "k").unwrap();
    assert!(matches!(server.store.get(&key), Ok(Known::Finished(_))));
    server.store.clone().close(Duration::ZERO).unwrap();
}
