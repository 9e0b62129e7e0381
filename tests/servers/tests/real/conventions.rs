//! Goal: the conventions of cloud APIs and of Stripe, as their clients meet them (contract 2.2, 9.1).

use oncekey::http::IdempotencyLayer;
use oncekey::{DigestRules, Store};
use oncekey_servers::by_account;
use reqwest::Method;

use crate::support::{Answer, Server, answer, start, until};

async fn cloud_api() -> Server {
    let store = Store::builder().rules(DigestRules::cloud_api()).open_in_memory().unwrap();
    start(store.clone(), IdempotencyLayer::cloud_api(store, by_account())).await
}

async fn stripe() -> Server {
    let store = Store::builder().token_bytes_max(255).open_in_memory().unwrap();
    start(store.clone(), IdempotencyLayer::stripe(store, by_account())).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["Code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_retry_of_a_cloud_api_with_a_new_nonce_and_signature_is_replayed_2_2() {
    let server = cloud_api().await;
    let path = |nonce: &str, size: u32| {
        format!(
            "/orders?Action=Create&ClientToken=t&MinSize={size}&SignatureNonce={nonce}&Signature=s{nonce}&Timestamp={nonce}"
        )
    };
    for method in [Method::GET, Method::POST] {
        let send = |path: String| answer(server.ask(method.clone(), &path));
        let first = send(path("1", 1)).await;
        if first.status == 400 {
            assert_eq!(method, Method::POST, "the same token with another method");
            continue;
        }
        let again = send(path("2", 1)).await;
        assert_eq!((&again.body, again.is_replayed()), (&first.body, true));
        assert_eq!(code(&send(path("3", 2)).await), (400, "IdempotentParameterMismatch".into()));
    }
    assert_eq!(server.shop.runs(), 1);
}

#[tokio::test]
async fn a_token_of_a_cloud_api_may_stand_in_a_form_and_may_be_absent() {
    let server = cloud_api().await;
    let send = |body: &'static str| {
        let form =
            server.ask(Method::POST, "/orders").header("content-type", "application/x-www-form-urlencoded");
        answer(form.body(body))
    };
    assert_eq!(send("ClientToken=t&MinSize=1&SignatureNonce=1").await.status, 201);
    assert!(send("SignatureNonce=2&MinSize=1&ClientToken=t").await.is_replayed());
    assert_eq!(code(&send("ClientToken=t&MinSize=2").await), (400, "IdempotentParameterMismatch".into()));
    assert_eq!(code(&send("ClientToken=t&ClientToken=u").await), (400, "InvalidClientToken".into()));
    assert_eq!(code(&send("ClientToken=&MinSize=1").await), (400, "InvalidClientToken".into()));
    for runs in 2..=3 {
        assert_eq!(send("MinSize=1").await.json()["attempt"], 0, "not protected");
        assert_eq!(server.shop.runs(), runs);
    }
}

#[tokio::test]
async fn an_operation_of_a_cloud_api_that_runs_is_403_idempotent_processing_9_1() {
    let server = cloud_api().await;
    let first = tokio::spawn(answer(server.ask(Method::POST, "/slow?ClientToken=t")));
    until(|| server.shop.runs() == 1).await;
    let refused = answer(server.ask(Method::POST, "/slow?ClientToken=t")).await;
    assert_eq!(code(&refused), (403, "IdempotentProcessing".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    server.shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
}

#[tokio::test]
async fn stripe_keeps_a_500_too_and_says_whether_to_retry() {
    let server = stripe().await;
    let key = "k".repeat(255);
    let first = answer(server.post("/status/500", &key)).await;
    let again = answer(server.post("/status/500", &key)).await;
    assert_eq!(
        (first.status, &again.body, again.header("idempotent-replayed")),
        (500, &first.body, Some("true"))
    );

    assert_eq!(again.header("stripe-should-retry"), Some("false"), "it will not change");
    assert!(answer(server.post("/status/400", "never began")).await.header("idempotent-replayed").is_none());
    let began = answer(server.post("/status/402", "never began")).await;
    assert_eq!((began.status, began.header("idempotent-replayed")), (402, None));

    let other = answer(server.post("/status/500?other", &key)).await;
    assert_eq!((other.status, other.header("stripe-should-retry")), (400, Some("false")));
    let error = &other.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&"idempotency_error".into(), &"mismatch".into()));

    let slow = tokio::spawn(answer(server.post("/slow", "slow")));
    until(|| server.shop.runs() == 4).await;
    let busy = answer(server.post("/slow", "slow")).await;
    assert_eq!((busy.status, busy.header("stripe-should-retry")), (409, Some("true")));
    assert_eq!(busy.json()["error"]["code"], "idempotency_key_in_use");
    server.shop.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(answer(server.ask(Method::POST, "/orders")).await.status, 201, "a key is optional");
}

#[tokio::test]
async fn types_of_problems_and_their_documentation_are_the_servers_own() {
    let link = reqwest::header::HeaderValue::from_static("https://shop.example/keys");
    let server =
        crate::support::draft(|own| own.problem_types("https://shop.example/problems/").documentation(&link))
            .await;
    let refused = answer(server.ask(Method::POST, "/orders")).await;
    assert_eq!(refused.json()["type"], "https://shop.example/problems/key-missing");
    assert_eq!(
        refused.header("link"),
        Some(r#"<https://shop.example/keys>; rel="describedby"; type="text/html""#)
    );
}
