//! The handler's run, and what is kept of it.
//!
//! Law: a client that hangs up cancels nothing: the handler goes on in a task of its own, it ends, and its answer is kept. The
//! lease is renewed meanwhile. Only when the answer is on disk is it given to anyone. A handler that panics or fails releases its
//! reservation (contract 4.3), and its panic or error goes to the server as if there were no layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::runtime::Handle;
use tower_service::Service;

use super::body::{Body, Reading};
use super::kept;
use super::refusal::Refusal;
use super::service::Shared;
use super::settings::{Keep, LargeAnswer, LayerBuilder};
use super::stores::Held;
use crate::error::{Error, ErrorKind};
use crate::outcome::Outcome;

/// Work that ends, whoever waits for it: polled where somebody does, and given to the runtime where nobody does any more.
/// Outside of a runtime it ends with whoever waits.
pub(super) struct Unstoppable<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    runtime: Option<Handle>,
}

impl<T: Send + 'static> Unstoppable<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), runtime: Handle::try_current().ok() }
    }
}

impl<T: Send + 'static> Future for Unstoppable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken while it runs, so that one that panics is gone.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Unstoppable<T> {
    fn drop(&mut self) {
        if let (Some(work), Some(runtime)) = (self.work.take(), &self.runtime) {
            drop(runtime.spawn(work));
        }
    }
}

/// Calls the handler, keeps what it answers, and gives that on.
pub(super) async fn attempt<S, B, A>(
    shared: Arc<Shared>,
    mut inner: S,
    request: Request<Body<B>>,
    mut reservation: Held,
    is_grpc: bool,
) -> Result<Response<Body<A>>, S::Error>
where
    S: Service<Request<Body<B>>, Response = Response<A>>,
    B: HttpBody<Data = Bytes>,
    A: HttpBody<Data = Bytes>,
{
    let _running = shared.drain.enter();
    shared.counters.ran();
    reservation.keep_renewed();
    // An error drops the reservation, as does a panic.
    let calling = reservation.around(inner.call(request));
    let mut response = calling.await?.map(Body::unread);
    let reading = response.body_mut().read(shared.settings.answer_bytes_max).await;
    if matches!(reading, Reading::Broken) {
        // Nobody has seen it whole: it says nothing of the next try.
        drop(reservation);
        return Ok(response);
    }
    let status = response.status().as_u16();
    let is_large = matches!(reading, Reading::Beyond);
    match keep(&shared.settings, reservation, &mut response, is_large).await {
        Ok(Kept::Whole) => Ok(response),
        Ok(Kept::WithoutBody) => match shared.settings.large_answer {
            LargeAnswer::SendOnce => {
                shared.counters.too_large();
                Ok(response)
            }
            LargeAnswer::Refuse => Ok(shared.refuse(&Refusal::NotKept { status }, is_grpc)),
        },
        Err(error) if shared.settings.run_unprotected && !error.is_reservation_lost() => {
            shared.counters.unprotected();
            Ok(response)
        }
        Err(error) => Ok(shared.refuse(&Refusal::from(error), is_grpc)),
    }
}

/// How an answer is kept.
enum Kept {
    /// As it is, or not at all, since it says *later*.
    Whole,
    WithoutBody,
}

/// Ends the reservation with this answer. What `is_large`, or is for the store, is kept as its status alone.
async fn keep<A>(
    settings: &LayerBuilder,
    mut held: Held,
    response: &mut Response<Body<A>>,
    is_large: bool,
) -> Result<Kept, Error>
where
    A: HttpBody<Data = Bytes>,
{
    if !is_large {
        let Err(refused) = held.complete(outcome(settings, response, false)).await else {
            return Ok(Kept::Whole);
        };
        held = match (refused.error.kind(), refused.reservation) {
            (ErrorKind::TooLarge { .. } | ErrorKind::Full { .. }, Some(held)) => held,
            _ => return Err(refused.error),
        };
    }
    held.complete_without_body(outcome(settings, response, true)).await?;
    Ok(Kept::WithoutBody)
}

/// An answer as an outcome, and whether it is one to keep (contract 4.2).
fn outcome<A>(settings: &LayerBuilder, response: &mut Response<Body<A>>, is_bare: bool) -> Outcome
where
    A: HttpBody<Data = Bytes>,
{
    let body = response.body_mut().bytes();
    let (status, headers, trailers) = (response.status(), response.headers(), response.body().trailers());
    let grpc_status = kept::grpc_status(headers, trailers);
    let outcome = if is_bare {
        Outcome::http(status.as_u16(), body)
    } else {
        kept::outcome(status, headers, &settings.kept_headers, &body, trailers)
    };
    let said = response.extensions().get::<Keep>().map(|keep| *keep == Keep::Yes);
    let is_final = said.or_else(|| settings.kept_statuses.as_ref().map(|keep| keep(status)));
    match is_final.or_else(|| grpc_status.map(kept::is_final_in_grpc)) {
        Some(true) => outcome.finally(),
        Some(false) => outcome.retryable(),
        None => outcome,
    }
}
