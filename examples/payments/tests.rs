//! Goal: what a client can't see from outside. Method: the router is called without a server; `tests/client` has the server.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use oncekey::{Answer, Key, Parameters, Store};
use serde_json::Value;
use tower_service::Service;

use crate::operator::Operator;
use crate::payment::{Operation, Shop};
use crate::stripe::Fields;
use crate::{api, trouble};

/// A router over what lies in `directory`.
fn router(shop: Shop, backups: Option<&std::path::Path>) -> (Router, String) {
    let layer = api::layer(&shop.store).expect("sound settings");
    let operator = Operator::new(backups.map(Into::into), layer.clone());
    let key = operator.key().to_owned();
    (api::router(shop, layer, operator, trouble::Trouble::default()), key)
}

fn open(directory: &std::path::Path) -> Shop {
    Shop::open(directory, Duration::ZERO).expect("opened")
}

/// Sends a request; gives status, whether it is a replay, and the body.
async fn send(router: &mut Router, request: Request<Body>) -> (StatusCode, bool, Value) {
    let response = router.call(request).await.expect("routers don't fail");
    let replayed = response.headers().contains_key("idempotent-replayed");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, replayed, serde_json::from_slice(&body).expect("JSON"))
}

fn ask(method: &str, path: &str, bearer: &str, form: &'static str) -> Request<Body> {
    let own = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {bearer}"));
    let own = own.header("content-type", "application/x-www-form-urlencoded").header("idempotency-key", "k");
    own.body(Body::from(form)).expect("a request")
}

fn pay(bearer: &str, form: &'static str) -> Request<Body> {
    ask("POST", "/v1/payment_intents", bearer, form)
}

#[tokio::test]
async fn a_run_that_was_killed_before_its_answer_was_kept_is_charged_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let shop = open(directory.path());
    let key = Key::new("ann", "k").expect("a sound key");
    let fields = Fields::of([("amount", "1200"), ("currency", "eur")]);
    // As a killed run leaves it: charged and entered, and nothing in the store.
    let left = shop.pay(&Operation::under("ann", key), &fields).expect("paid");
    let (mut router, _) = router(shop, None);
    for is_replay in [false, true] {
        let (status, replayed, paid) =
            send(&mut router, pay("sk_test_ann", "amount=1200&currency=eur")).await;
        assert_eq!((status, replayed, &paid), (StatusCode::OK, is_replay, &left));
    }
    let (_, _, charges) = send(&mut router, ask("GET", "/v1/charges", "sk_test_ann", "")).await;
    assert_eq!(charges["total_count"], 1);
}

#[tokio::test]
async fn a_decline_is_kept_and_a_refused_form_may_be_corrected() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut router, _) = router(open(directory.path()), None);
    let (status, _, refused) = send(&mut router, pay("sk_test_ann", "amount=x&currency=eur")).await;
    assert_eq!((status, &refused["error"]["param"]), (StatusCode::BAD_REQUEST, &Value::from("amount")));
    let declined = "amount=1&currency=eur&payment_method=pm_card_chargeDeclined";
    for is_replay in [false, true] {
        let (status, replayed, answer) = send(&mut router, pay("sk_test_ann", declined)).await;
        assert_eq!((status, replayed), (StatusCode::PAYMENT_REQUIRED, is_replay));
        assert_eq!(answer["error"]["code"], "card_declined");
    }
}

#[tokio::test]
async fn nobody_is_asked_for_and_nobody_elses_object_is_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut router, _) = router(open(directory.path()), None);
    for bearer in ["", "sk_live_ann", "sk_test_", "sk_test_a/b", "op_"] {
        let (status, ..) = send(&mut router, pay(bearer, "amount=1&currency=eur")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bearer}");
    }
    let (_, _, paid) = send(&mut router, pay("sk_test_ann", "amount=1&currency=eur")).await;
    let path = format!("/v1/payment_intents/{}", paid["id"].as_str().expect("an id"));
    assert_eq!(send(&mut router, ask("GET", &path, "sk_test_ann", "")).await.2, paid);
    assert_eq!(send(&mut router, ask("GET", &path, "sk_test_bob", "")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        send(&mut router, ask("GET", "/operator/counts", "sk_test_ann", "")).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_backup_that_the_operator_asks_for_has_tokens_and_payments() {
    let directory = tempfile::tempdir().expect("a directory");
    let backups = directory.path().join("backups");
    let (mut router, operator) = router(open(&directory.path().join("own")), Some(&backups));
    let (_, _, paid) = send(&mut router, pay("sk_test_ann", "amount=1&currency=eur")).await;
    for name in ["1", "2"] {
        let (status, _, made) = send(&mut router, ask("POST", "/operator/backups", &operator, "")).await;
        assert_eq!((status, &made["name"]), (StatusCode::OK, &Value::from(name)));
    }
    let shop = open(&backups.join("2"));
    assert_eq!(shop.book.get("ann", paid["id"].as_str().expect("an id")), Some(paid));
    let store: Store = shop.store;
    let key = store.key("ann", "k").expect("a sound key");
    // Kept: so another request under this key is refused, and not taken for the first one.
    let other = store.begin(&key, &Parameters::none());
    assert!(
        matches!(&other, Err(error) if error.is_mismatch()),
        "{:?}",
        other.map(|own| matches!(own, Answer::Fresh(_)))
    );
}
