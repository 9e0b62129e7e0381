//! A shop with every manner of answer, behind the layer: what the tests ask, in this process or in another.
//!
//! Law: every run of a handler counts, so that a test can tell a run from a replay.

pub mod greeter;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::StreamExt;
use oncekey::http::{Attempt, IdempotencyLayer, Keep, Scope};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What all handlers share.
#[derive(Debug)]
pub struct Shop {
    /// How often a handler was called.
    pub runs: AtomicU64,
    /// How often one came to its end.
    pub ends: AtomicU64,
    /// What `/slow` waits for: one permit for each run.
    pub gate: Semaphore,
    /// Requests whose clients have hung up, as the server has noticed.
    pub hung_up: AtomicU64,
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            runs: AtomicU64::new(0),
            ends: AtomicU64::new(0),
            gate: Semaphore::new(0),
            hung_up: AtomicU64::new(0),
        }
    }
}

impl Shop {
    /// How often a handler was called.
    pub fn runs(&self) -> u64 {
        self.runs.load(SeqCst)
    }
}

type Shared = State<Arc<Shop>>;

/// The shop's routes, behind the layer.
pub fn router(shop: Arc<Shop>, layer: IdempotencyLayer) -> Router {
    Router::new()
        .route("/orders", any(order))
        .route("/slow", post(slow))
        .route("/status/{status}", post(status))
        .route("/later", post(later))
        .route("/says/{keep}", post(says))
        .route("/large/{bytes}", post(large))
        .route("/endless", post(endless))
        .route("/headers/{bytes}", post(headers))
        .route("/broken", post(broken))
        .route("/panic", post(panics))
        .route("/runs", get(runs))
        .layer(layer)
        .layer(from_fn_with_state(Arc::clone(&shop), notice))
        .with_state(shop)
}

/// Outside of all else: a server drops the future of a request whose client has hung up.
async fn notice(State(shop): Shared, request: Request, next: Next) -> Response {
    struct Waiting(Option<Arc<Shop>>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            if let Some(shop) = self.0.take().filter(|_| !std::thread::panicking()) {
                shop.hung_up.fetch_add(1, SeqCst);
            }
        }
    }
    let mut waiting = Waiting(Some(shop));
    let response = next.run(request).await;
    waiting.0 = None;
    response
}

/// The account that the request's head names, as if it had been authenticated by it.
pub fn by_account() -> Scope {
    Scope::of_request(|head| head.headers.get("x-account").map(|own| own.as_bytes().to_vec()))
}

/// Serves on loopback until `stop`.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
    axum::serve(listener, router).with_graceful_shutdown(stop).await.expect("it serves");
}

/// A free port of loopback.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

async fn order(State(shop): Shared, attempt: Option<Extension<Attempt>>, body: Bytes) -> Response {
    let number = shop.runs.fetch_add(1, SeqCst) + 1;
    shop.ends.fetch_add(1, SeqCst);
    let attempt = attempt.map_or(0, |own| own.0.number());
    let answer = format!("{{\"order\":{number},\"attempt\":{attempt},\"bytes\":{}}}", body.len());
    let headers = [
        ("content-type", "application/json"),
        ("location", "/orders/1"),
        ("set-cookie", "session=canary"),
        ("x-request-id", "first"),
    ];
    (http::StatusCode::CREATED, headers, answer).into_response()
}

async fn slow(State(shop): Shared) -> String {
    let number = shop.runs.fetch_add(1, SeqCst) + 1;
    shop.gate.acquire().await.expect("it is never closed").forget();
    shop.ends.fetch_add(1, SeqCst);
    format!("slow {number}")
}

async fn status(State(shop): Shared, Path(status): Path<u16>) -> Response {
    let number = shop.runs.fetch_add(1, SeqCst) + 1;
    let status = http::StatusCode::from_u16(status).expect("a status");
    (status, format!("status {number}")).into_response()
}

async fn later(State(shop): Shared) -> Response {
    shop.runs.fetch_add(1, SeqCst);
    (http::StatusCode::BAD_REQUEST, "the group is busy, try it later").into_response()
}

/// The handler says whether its answer is kept.
async fn says(State(shop): Shared, Path(keep): Path<bool>) -> Response {
    let number = shop.runs.fetch_add(1, SeqCst) + 1;
    // Of each, the status alone would say the opposite.
    let status = if keep { http::StatusCode::SERVICE_UNAVAILABLE } else { http::StatusCode::OK };
    let keep = if keep { Keep::Yes } else { Keep::No };
    (status, Extension(keep), format!("says {number}")).into_response()
}

async fn large(State(shop): Shared, Path(bytes): Path<usize>) -> Vec<u8> {
    shop.runs.fetch_add(1, SeqCst);
    vec![b'x'; bytes]
}

async fn endless(State(shop): Shared) -> Body {
    shop.runs.fetch_add(1, SeqCst);
    let piece = Bytes::from(vec![b'e'; 1 << 16]);
    Body::from_stream(futures_util::stream::repeat(piece).map(Ok::<_, Infallible>))
}

async fn headers(State(shop): Shared, Path(bytes): Path<usize>) -> Response {
    shop.runs.fetch_add(1, SeqCst);
    ([("etag", "e".repeat(bytes))], "small").into_response()
}

async fn broken(State(shop): Shared) -> Body {
    shop.runs.fetch_add(1, SeqCst);
    let pieces = [Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("the disk went away"))];
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn panics(State(shop): Shared) -> String {
    shop.runs.fetch_add(1, SeqCst);
    panic!("as it was asked to")
}

async fn runs(State(shop): Shared) -> String {
    shop.runs().to_string()
}
