//! HTTP/1.1, with bounds on everything a client can send or hold.
//!
//! Law: reading and writing is done by `hyper`; every request that was read whole is answered on a thread of a
//! bounded pool, in plain blocking code. What that code began it finishes, also when the client has gone: a
//! future may be dropped at any moment, a thread may not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::{Answer, Refusal};
use crate::api::Api;
use crate::call::Call;

/// Connections at once; more wait in the system's own queue.
const CONNECTIONS_MAX: usize = 1024;
/// Requests answered at once, each on a thread; more are told to come later. A retry that waits for the first
/// request holds one, hence more threads than cores.
pub(crate) const REQUESTS_MAX: usize = 256;
/// Bytes of a request's head, and of its body.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take for a head (this also ends idle connections), and for a body.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the last requests may take when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after the system could not accept a connection (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Marks an answer that was given before (contract 9.1).
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What all connections share.
struct Server {
    api: Arc<Api>,
    requests: Arc<Semaphore>,
}

/// Answers requests until `stop` is done, then lets those that run finish.
pub(crate) async fn serve(listener: TcpListener, api: Arc<Api>, stop: impl Future<Output = ()>) {
    let server = Arc::new(Server { api, requests: Arc::new(Semaphore::new(REQUESTS_MAX)) });
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            (permit, accepted) = next => match accepted {
                Ok((stream, _)) => connect(Arc::clone(&server), stream, permit, &graceful),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    if timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        eprintln!("some connections did not end in time");
    }
}

/// Serves one connection in a task of its own.
fn connect(
    server: Arc<Server>,
    stream: TcpStream,
    permit: Option<OwnedSemaphorePermit>,
    graceful: &GracefulShutdown,
) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(response(server.answer(request).await)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A connection that breaks is the client's concern: it asks again, with its token.
        let _ = connection.await;
        drop(permit);
    });
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = match timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return Refusal::new(413, "RequestTooLarge", "The body is too large or broken.").into();
            }
            Err(_) => return Refusal::new(408, "RequestTimeout", "The body took too long.").into(),
        };
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
            return Refusal::unavailable().into();
        };
        let api = Arc::clone(&self.api);
        let work = tokio::task::spawn_blocking(move || {
            let answer = Call::read(&head, &body).map_or_else(Answer::from, |call| api.answer(&call));
            drop(permit);
            answer
        });
        // A panic was reported by the thread it ended. The reservation it held is released.
        work.await.unwrap_or_else(|_| Refusal::internal().into())
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if answer.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if answer.status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
