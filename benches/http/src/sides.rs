//! What is measured: one handler behind nothing, behind the layer, and behind a middleware over `idempotent`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use idempotent::entry::ExistingEntry;
use idempotent::fingerprint::{DefaultFingerprintStrategy, FingerprintStrategy};
use idempotent::store::memory::MemoryStore;
use idempotent::store::{IdempotencyStore, InsertResult};
use idempotent::{CachedResponse, IdempotencyEntry, IdempotencyKey, Metadata};
use oncekey::Store;
use oncekey::http::{IdempotencyLayer, Scope};

pub const BODY: &str = r#"{"amount":7,"currency":"EUR"}"#;
pub const ANSWER: &str = r#"{"id":"ch_1","amount":7}"#;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub enum Asked {
    /// A new key each time, so that the handler runs.
    Anew,
    /// The same key, so that the first answer is given.
    Again,
}

pub struct Side {
    pub name: &'static str,
    pub router: Router,
    pub asked: Asked,
    keys: AtomicU64,
}

impl Side {
    fn new(name: &'static str, router: Router, asked: Asked) -> Self {
        Self { name, router, asked, keys: AtomicU64::new(0) }
    }

    pub fn next_key(&self) -> String {
        format!("key-{}", self.keys.fetch_add(1, Relaxed))
    }
}

/// All sides; the bare one first.
pub fn all(directory: &Path) -> Vec<Side> {
    let handler = || Router::new().route("/orders", post(order));
    let layer = |store: Store| {
        let layer = IdempotencyLayer::draft(store, Scope::single("shop")).build().expect("sound settings");
        handler().layer(layer)
    };
    let memory = || layer(Store::in_memory().expect("memory"));
    let disk = |name: &str| layer(Store::open(directory.join(name)).expect("a new store"));
    let lag = Duration::from_millis(100);
    let relaxed = layer(Store::builder().relaxed(lag).open(directory.join("relaxed")).expect("a new store"));
    let peer = || {
        let store = Arc::new(MemoryStore::new(4096, DAY));
        handler().layer(from_fn_with_state(store, over_idempotent))
    };
    vec![
        Side::new("bare handler", handler(), Asked::Anew),
        Side::new("oncekey, fresh, in memory", memory(), Asked::Anew),
        Side::new("idempotent 0.3, fresh, in memory", peer(), Asked::Anew),
        Side::new("oncekey, replay, in memory", memory(), Asked::Again),
        Side::new("idempotent 0.3, replay, in memory", peer(), Asked::Again),
        Side::new("oncekey, replay, store on disk", disk("replay"), Asked::Again),
        Side::new("oncekey, fresh, relaxed (synced each 100 ms)", relaxed, Asked::Anew),
        Side::new("oncekey, fresh, durable", disk("durable"), Asked::Anew),
    ]
}

async fn order() -> Response {
    ([("content-type", "application/json")], ANSWER).into_response()
}

/// As the README of `idempotent` has it, with the body compared and kept, and one header.
async fn over_idempotent(State(store): State<Arc<MemoryStore>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let key = head.headers.get("idempotency-key").and_then(|own| own.to_str().ok()).expect("a key");
    let key = IdempotencyKey::new(key).expect("a sound key");
    let fingerprint = DefaultFingerprintStrategy.compute("POST /orders", &body);
    let entry = IdempotencyEntry::new(fingerprint, DAY);
    match store.try_insert(&key, entry.clone()).await.expect("memory does not fail") {
        InsertResult::Claimed { fencing_token } => {
            let response = next.run(Request::from_parts(head, Body::from(body))).await;
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let kept = CachedResponse {
                status_code: head.status.as_u16(),
                metadata: Metadata::default(),
                body: body.clone(),
            };
            store.complete(&key, entry.complete(kept), fencing_token).await.expect("memory does not fail");
            Response::from_parts(head, Body::from(body))
        }
        InsertResult::Exists(ExistingEntry::Completed(entry)) if entry.fingerprint_matches(fingerprint) => {
            let body: Bytes = entry.into_response().body;
            ([("content-type", "application/json")], body).into_response()
        }
        InsertResult::Exists(_) => http::StatusCode::CONFLICT.into_response(),
    }
}
