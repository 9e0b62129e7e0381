//! Goal: every row of draft-ietf-httpapi-idempotency-key-header-07, section 2.7, and what contract 9 says beside it.

use reqwest::Method;

use crate::support::{answer, draft};

#[tokio::test]
async fn a_retry_gets_the_first_answer_byte_for_byte_and_is_marked_3_3_9_1() {
    let server = draft(|own| own).await;
    let first = server.order("\"k-1\"", r#"{"size": 1, "name": "web"}"#).await;
    assert_eq!((first.status, first.is_replayed()), (201, false));
    assert_eq!(first.body, r#"{"order":1,"attempt":1,"bytes":26}"#);
    assert_eq!(first.header("set-cookie"), Some("session=canary"));
    for (key, body) in [("\"k-1\"", r#"{"size": 1, "name": "web"}"#), ("k-1", r#"{"name":"web","size":1.0}"#)]
    {
        let again = server.order(key, body).await;
        assert_eq!((again.status, again.is_replayed(), &again.body), (201, true, &first.body));
        assert_eq!(again.header("content-type"), Some("application/json"));
        assert_eq!(again.header("location"), Some("/orders/1"));
        assert_eq!(
            (again.header("set-cookie"), again.header("x-request-id")),
            (None, None),
            "the client's own"
        );
    }
    assert_eq!(server.shop.runs(), 1);
    assert_eq!((server.layer.counts().ran, server.layer.counts().replayed), (1, 2));
}

#[tokio::test]
async fn a_missing_key_is_400_where_one_is_required_and_not_protected_where_not_9_1() {
    let server = draft(|own| own).await;
    let refused = answer(server.ask(Method::POST, "/orders")).await;
    assert_eq!((refused.status, refused.problem().as_str()), (400, "key-missing"));
    assert!(refused.body.contains("`idempotency-key`"));
    assert_eq!(server.shop.runs(), 0);

    let server = draft(|own| own.required(false)).await;
    for run in 1..=2 {
        let ran = answer(server.ask(Method::POST, "/orders").body("x")).await;
        assert_eq!((ran.status, ran.json()["attempt"].as_u64()), (201, Some(0)));
        assert_eq!(server.shop.runs(), run);
    }
}

#[tokio::test]
async fn a_refused_key_is_400_and_nothing_runs_1_1_9_1_9_2() {
    let server = draft(|own| own).await;
    let long = "k".repeat(65);
    for key in ["", "\"\"", "\"no end", "\"a\" \"b\"", long.as_str()] {
        let refused = server.order(key, "{}").await;
        assert_eq!((refused.status, refused.problem().as_str()), (400, "key-refused"), "{key}");
        assert!(!refused.body.contains("no end"), "never the client's bytes");
    }
    let twice = server.post("/orders", "one").header("idempotency-key", "two");
    let refused = answer(twice).await;
    assert_eq!((refused.status, refused.problem().as_str()), (400, "key-refused"));
    let same = server.post("/orders", "one").header("idempotency-key", "\"one\"");
    assert_eq!(answer(same).await.status, 201, "named twice, and the same");
    let longest = server.order(&"k".repeat(64), "{}").await;
    assert_eq!((longest.status, server.shop.runs()), (201, 2));
}

#[tokio::test]
async fn the_same_key_with_another_request_is_422_whatever_differs_3_2_9_1() {
    let server = draft(|own| own.digest_headers([reqwest::header::ACCEPT_LANGUAGE])).await;
    let path = "/orders?zone=z-1&name=a";
    let json = || server.post(path, "k").header("content-type", "application/json");
    assert_eq!(answer(json().body(r#"{"size":1}"#)).await.status, 201);
    let others = [
        json().body(r#"{"size":2}"#),
        json().body(r#"{"size":"1"}"#),
        server.post(path, "k").body(r#"{"size":1}"#),
        json().header("accept-language", "de").body(r#"{"size":1}"#),
        server
            .post("/orders?zone=z-2&name=a", "k")
            .header("content-type", "application/json")
            .body(r#"{"size":1}"#),
        server
            .post("/status/200?zone=z-1&name=a", "k")
            .header("content-type", "application/json")
            .body(r#"{"size":1}"#),
        server
            .ask(Method::PATCH, path)
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body(r#"{"size":1}"#),
    ];
    for other in others {
        let refused = answer(other).await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "mismatch"));
    }
    let same = server
        .post("/orders?name=%61&zone=z-1", "k")
        .header("content-type", "application/json; charset=utf-8");
    assert!(answer(same.body(r#"{ "size" : 1e0 }"#)).await.is_replayed(), "spelled otherwise, and the same");
    assert_eq!((server.shop.runs(), server.layer.counts().mismatches), (1, 7));
}

#[tokio::test]
async fn a_body_that_says_it_is_json_and_is_none_is_compared_byte_for_byte() {
    let server = draft(|own| own).await;
    let twice = r#"{"a":1,"a":2}"#;
    for broken in [twice, "{", ""] {
        let key = format!("k{}", broken.len());
        let send = |body: &'static str| {
            answer(
                server.post("/orders", &key).header("content-type", "application/vnd.shop+json").body(body),
            )
        };
        assert!(!send(broken).await.is_replayed());
        assert!(send(broken).await.is_replayed());
        assert_eq!(send(r#"{"a":1,"a":3}"#).await.status, 422);
    }
}

#[tokio::test]
async fn a_form_is_compared_by_what_it_means() {
    let server = draft(|own| own).await;
    let send = |body: &'static str| {
        answer(
            server
                .post("/orders", "k")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body),
        )
    };
    assert_eq!(send("name=web+server&size=1").await.status, 201);
    assert!(send("size=%31&name=web%20server").await.is_replayed());
    assert_eq!(send("size=2&name=web%20server").await.status, 422);
}

#[tokio::test]
async fn one_key_of_two_tenants_is_two_operations_1_2() {
    let server = draft(|own| own).await;
    let send = |account: &'static str| {
        let request = server.client.post(server.url("/orders")).header("idempotency-key", "k");
        answer(request.header("x-account", account))
    };
    let (one, other) = (send("a").await, send("b").await);
    assert_ne!(one.body, other.body);
    assert_eq!((send("a").await.body, send("b").await.body), (one.body, other.body));
    assert_eq!(server.shop.runs(), 2);

    let nobody = answer(server.client.post(server.url("/orders")).header("idempotency-key", "k")).await;
    assert_eq!((nobody.status, nobody.problem().as_str()), (403, "scope-unknown"));
}

#[tokio::test]
async fn other_methods_and_routes_are_not_touched() {
    let server = draft(|own| own.routes(|head| head.uri.path() != "/status/200")).await;
    for _ in 0..2 {
        assert_eq!(
            answer(server.ask(Method::GET, "/orders").header("idempotency-key", "k")).await.status,
            201
        );
        assert_eq!(answer(server.post("/status/200", "k")).await.status, 200);
    }
    assert_eq!((server.shop.runs(), server.layer.counts().ran), (4, 0));
}

#[tokio::test]
async fn while_the_first_is_processed_a_retry_is_409_with_a_time_to_come_again_and_may_wait_instead_9_1() {
    let server = draft(|own| own).await;
    let waiting = draft(|own| own.wait(std::time::Duration::from_secs(60))).await;
    for server in [&server, &waiting] {
        let first = tokio::spawn(answer(server.post("/slow", "k")));
        crate::support::until(|| server.shop.runs() == 1).await;
        if std::ptr::eq(server, &waiting) {
            let second = tokio::spawn(answer(server.post("/slow", "k")));
            // It waits, or comes when all is done: it gets the same.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            server.shop.gate.add_permits(1);
            let (first, second) = (first.await.unwrap(), second.await.unwrap());
            assert_eq!((first.body.as_str(), second.body.as_str()), ("slow 1", "slow 1"));
            assert!(!first.is_replayed() && second.is_replayed());
        } else {
            let refused = answer(server.post("/slow", "k")).await;
            assert_eq!((refused.status, refused.problem().as_str()), (409, "in-flight"));
            assert_eq!(refused.header("retry-after"), Some("1"));
            let other = answer(server.post("/slow?other", "k")).await;
            assert_eq!((other.status, other.problem().as_str()), (422, "mismatch"));
            server.shop.gate.add_permits(1);
            assert_eq!(first.await.unwrap().body, "slow 1");
        }
        assert_eq!(server.shop.runs(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_requests_at_once_one_runs_and_all_get_its_answer_3_6_3_7() {
    for http2 in [false, true] {
        let mut server = draft(|own| own.wait(std::time::Duration::from_secs(60))).await;
        if http2 {
            server.client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        }
        server.shop.gate.add_permits(1);
        let asked: Vec<_> = (0..64).map(|_| tokio::spawn(answer(server.post("/slow", "k")))).collect();
        let mut replayed = 0;
        for own in asked {
            let own = own.await.unwrap();
            assert_eq!((own.status, own.body.as_str()), (200, "slow 1"));
            replayed += u32::from(own.is_replayed());
        }
        assert_eq!((server.shop.runs(), replayed), (1, 63));
    }
}

#[tokio::test]
async fn what_says_later_is_not_kept_and_what_would_come_again_is_4_2() {
    let server = draft(|own| own).await;
    for status in [500, 502, 503, 408, 425, 429, 401, 403] {
        let key = format!("k{status}");
        let runs = server.shop.runs();
        for _ in 0..2 {
            let own = answer(server.post(&format!("/status/{status}"), &key)).await;
            assert_eq!((own.status, own.is_replayed()), (status, false));
        }
        assert_eq!(server.shop.runs(), runs + 2, "{status}");
    }
    for status in [200, 204, 303, 400, 404, 409, 422] {
        let key = format!("k{status}");
        let runs = server.shop.runs();
        let first = answer(server.post(&format!("/status/{status}"), &key)).await;
        let again = answer(server.post(&format!("/status/{status}"), &key)).await;
        assert_eq!((again.status, &again.body, again.is_replayed()), (first.status, &first.body, true));
        assert_eq!(server.shop.runs(), runs + 1, "{status}");
    }
    for _ in 0..2 {
        assert!(!answer(server.post("/later", "later")).await.is_replayed(), "a 400 that says later");
    }
    let server = draft(|own| own.keep_statuses(|status| status.as_u16() == 500)).await;
    for (status, kept) in [(500, true), (200, false)] {
        let path = format!("/status/{status}");
        let key = format!("k{status}");
        answer(server.post(&path, &key)).await;
        assert_eq!(answer(server.post(&path, &key)).await.is_replayed(), kept);
    }
}

#[tokio::test]
async fn a_handler_says_whether_its_answer_is_kept_whatever_its_status_4_2() {
    let server = draft(|own| own).await;
    for keep in [false, true] {
        let path = format!("/says/{keep}");
        let key = format!("k-{keep}");
        let first = answer(server.post(&path, &key)).await;
        let again = answer(server.post(&path, &key)).await;
        assert_eq!((again.is_replayed(), again.body == first.body), (keep, keep));
    }
    assert_eq!(server.shop.runs(), 3);
}
