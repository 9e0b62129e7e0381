//! Goal: contract 9 where a retry comes to another process than the request (3.2, 3.3, 3.7, 4.3). Method: two servers with a store
//! each over one engine, in memory: what real engines do stands in `tests/engines`, below the layer.

use std::sync::Arc;
use std::time::Duration;

use oncekey::distributed::{Memory, Store};
use oncekey::http::{IdempotencyLayer, LayerBuilder};
use oncekey::{ErrorKind, Known};
use oncekey_servers::by_account;

use crate::support::{Server, answer, start, until};

async fn server(engine: &Memory, settings: impl FnOnce(LayerBuilder) -> LayerBuilder) -> Server<Store> {
    let store = oncekey::Store::builder().connect_async(engine.clone()).await.unwrap();
    start(store.clone(), settings(IdempotencyLayer::draft(store, by_account()))).await
}

/// Two processes; the second one waits for the first.
async fn two() -> [Server<Store>; 2] {
    let engine = Memory::default();
    [server(&engine, |own| own).await, server(&engine, |own| own.wait(Duration::from_secs(30))).await]
}

#[tokio::test]
async fn a_retry_at_another_server_gets_the_first_answer_byte_for_byte_3_3_9_1() {
    let [one, other] = two().await;
    let first = one.order("k", r#"{"size": 1, "name": "web"}"#).await;
    assert_eq!((first.status, first.is_replayed()), (201, false));
    for server in [&other, &one] {
        let again = server.order("k", r#"{"name": "web", "size": 1}"#).await;
        assert_eq!((again.status, again.is_replayed(), &again.body), (201, true, &first.body));
        assert_eq!(again.header("location"), first.header("location"));
        let mismatch = server.order("k", r#"{"name": "web", "size": 2}"#).await;
        assert_eq!((mismatch.status, mismatch.problem().as_str()), (422, "mismatch"));
    }
    let missing = one.store.key("b", "k").unwrap();
    assert_eq!((one.store.get(&missing).unwrap(), one.shop.runs() + other.shop.runs()), (Known::Absent, 1));
}

#[tokio::test]
async fn what_one_server_runs_the_other_refuses_or_waits_for_3_2_3_7() {
    let [one, waiting] = two().await;
    let running = tokio::spawn(answer(one.post("/slow", "k")));
    let shop = Arc::clone(&one.shop);
    until(|| shop.runs() == 1).await;
    let refused = answer(one.post("/slow", "k")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "in-flight"));
    let waiter = tokio::spawn(answer(waiting.post("/slow", "k")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiter.is_finished());
    one.shop.gate.add_permits(1);
    let (first, told) = (running.await.unwrap(), waiter.await.unwrap());
    assert_eq!((told.status, told.is_replayed(), &told.body), (200, true, &first.body));
    assert_eq!((one.shop.runs(), waiting.shop.runs()), (1, 0));
}

#[tokio::test]
async fn a_client_that_leaves_one_server_finds_its_answer_at_the_other_3_3() {
    let [one, other] = two().await;
    let leaving = one.post("/slow", "k").timeout(Duration::from_millis(300));
    assert!(leaving.send().await.unwrap_err().is_timeout());
    one.shop.gate.add_permits(1);
    let again = answer(other.post("/slow", "k")).await;
    assert_eq!((again.status, again.is_replayed(), again.body.as_str()), (200, true, "slow 1"));
}

#[tokio::test]
async fn a_handler_that_panics_leaves_its_key_to_the_other_server_4_3() {
    let [one, other] = two().await;
    assert!(one.post("/panic", "k").send().await.is_err());
    assert!(other.post("/panic", "k").send().await.is_err());
    assert_eq!((one.shop.runs(), other.shop.runs()), (1, 1), "it was free at once");
}

#[tokio::test]
async fn what_an_engine_does_not_promise_is_refused_when_the_layer_is_made() {
    let store = oncekey::Store::builder().connect_async(Memory::default()).await.unwrap();
    let layer = IdempotencyLayer::draft(store, by_account()).declared_answer_bytes(Some(100)).build();
    let refused = layer.unwrap_err();
    let not_promised = ErrorKind::NotPromised { engine: "memory", setting: "declared_answer_bytes" };
    assert_eq!(refused.kind(), &not_promised);
}
