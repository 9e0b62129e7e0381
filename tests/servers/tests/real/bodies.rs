//! Goal: bodies at, over and far over the limits, both ways, and streams without end (contract 4.5, 8.1, 10.4).

use bytes::Bytes;
use futures_util::StreamExt;
use oncekey::http::LargeAnswer;
use oncekey::{Known, Store};
use reqwest::Body;

use crate::support::{answer, draft, read, start};

const LIMIT: usize = 1000;

#[tokio::test]
async fn a_request_at_the_limit_runs_and_one_beyond_it_is_413_and_does_not_8_1() {
    let server = draft(|own| own.request_bytes_max(LIMIT as u64)).await;
    let streamed = |bytes: usize| {
        let pieces = vec![Bytes::from(vec![b'x'; bytes / 2]); 2];
        Body::wrap_stream(futures_util::stream::iter(pieces).map(Ok::<_, std::io::Error>))
    };
    assert_eq!(answer(server.post("/orders", "a").body(vec![b'x'; LIMIT])).await.status, 201);
    assert!(answer(server.post("/orders", "a").body(streamed(LIMIT))).await.is_replayed());
    for (key, body) in [
        ("b", Body::from(vec![b'x'; LIMIT + 1])),
        ("c", streamed(LIMIT + 2)),
        ("d", Body::from(vec![b'x'; 100 * LIMIT])),
    ] {
        let refused = answer(server.post("/orders", key).body(body)).await;
        assert_eq!((refused.status, refused.problem().as_str()), (413, "request-too-large"));
        assert!(refused.body.contains("1000 bytes"));
    }
    assert_eq!(server.shop.runs(), 1);
}

#[tokio::test]
async fn a_request_without_end_meets_its_limit_10_4() {
    let server = draft(|own| own).await;
    let piece = Bytes::from(vec![b'x'; 1 << 14]);
    let endless = Body::wrap_stream(futures_util::stream::repeat(piece).map(Ok::<_, std::io::Error>));
    // The server may hang up on the sender once it has refused: then there is nothing to read.
    if let Ok(response) = server.post("/orders", "k").body(endless).send().await {
        assert_eq!(read(response).await.status, 413);
    }
    assert_eq!((server.shop.runs(), server.store.stats().live_reservations), (0, 0));
}

#[tokio::test]
async fn an_answer_at_the_limit_is_replayed_and_a_larger_one_is_sent_once_and_never_runs_again_4_5() {
    let server = draft(|own| own.answer_bytes_max(LIMIT as u64)).await;
    let at = format!("/large/{LIMIT}");
    assert_eq!(answer(server.post(&at, "a")).await.body.len(), LIMIT);
    assert_eq!(answer(server.post(&at, "a")).await.body.len(), LIMIT);
    for (key, bytes) in [("b", LIMIT + 1), ("c", 1000 * LIMIT)] {
        let path = format!("/large/{bytes}");
        let first = answer(server.post(&path, key)).await;
        assert_eq!((first.status, first.body.len()), (200, bytes));
        for _ in 0..2 {
            let again = answer(server.post(&path, key)).await;
            assert_eq!((again.status, again.problem().as_str()), (410, "answer-not-kept"));
            assert!(again.is_replayed() && again.body.contains("status 200"));
        }
    }
    assert_eq!((server.shop.runs(), server.layer.counts().too_large), (3, 6));
}

#[tokio::test]
async fn an_answer_that_is_too_large_can_be_refused_from_the_first_on_4_5() {
    let server = draft(|own| own.answer_bytes_max(10).large_answer(LargeAnswer::Refuse)).await;
    for _ in 0..2 {
        let refused = answer(server.post("/large/11", "k")).await;
        assert_eq!((refused.status, refused.problem().as_str()), (410, "answer-not-kept"));
    }
    assert_eq!(server.shop.runs(), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_recorded_at_its_limit_and_goes_on_4_5_10_4() {
    let server = draft(|own| own.answer_bytes_max(1 << 20)).await;
    let mut first = server.post("/endless", "k").send().await.unwrap();
    let mut bytes = 0;
    while bytes < 5 << 20 {
        bytes += first.chunk().await.unwrap().unwrap().len();
    }
    drop(first);
    assert_eq!(answer(server.post("/endless", "k")).await.status, 410);
    assert_eq!(server.shop.runs(), 1);
}

#[tokio::test]
async fn what_is_too_large_for_the_store_is_kept_without_its_body_and_headers_4_5() {
    let store = Store::builder().outcome_bytes_max(500).declared_outcome_bytes(100).open_in_memory().unwrap();
    let settings = oncekey::http::IdempotencyLayer::draft(store.clone(), oncekey_servers::by_account());
    let server = start(store, settings).await;
    for path in ["/large/501", "/headers/600"] {
        let first = answer(server.post(path, &path[1..])).await;
        assert_eq!(first.status, 200);
        assert_eq!(answer(server.post(path, &path[1..])).await.status, 410, "{path}");
    }
    assert_eq!(server.shop.runs(), 2);
    let key = server.store.key("a", "large/501").unwrap();
    let Ok(Known::Finished(replay)) = server.store.get(&key) else { panic!("it is recorded") };
    assert_eq!(replay.omitted().map(|own| own.bytes), Some(501));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept() {
    let server = draft(|own| own).await;
    for runs in 1..=2 {
        // The connection breaks before the head is sent, or after it.
        if let Ok(broken) = server.post("/broken", "k").send().await {
            assert!(broken.text().await.is_err());
        }
        assert_eq!((server.shop.runs(), server.store.stats().live_reservations), (runs, 0));
    }
}
