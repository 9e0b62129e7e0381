//! The layer, and a request's walk through it.
//!
//! Law: nothing runs before its answer could be kept, and nothing is answered before it is. The walk: does the layer apply?
//! whose is it, and which token? the body, to its end; `begin`; and then a replay, a refusal, or the handler ([`super::running`]).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::asked::{Kind, parameters};
use super::body::{Body, Reading};
use super::counts::{Counters, Counts};
use super::drain::Drain;
use super::identity::Scope;
use super::kept;
use super::refusal::{Refusal, is_grpc};
use super::running::{Unstoppable, attempt};
use super::settings::LayerBuilder;
use super::stores::{Answer, AnyStore, Held};
use crate::error::{Error, ErrorKind};
use crate::outcome::Replay;
use crate::token::Key;

/// Runs each operation of a server once, and gives its retries the first answer. Clones share all they have.
///
/// It is a [`tower_layer::Layer`] over any service of HTTP requests that takes a body of any type, as axum's, tonic's and hyper's do.
/// Where the service asks for one type of body, put `tower`'s `map_request` between them.
#[derive(Clone)]
pub struct IdempotencyLayer(Arc<Shared>);

pub(super) struct Shared {
    pub(super) settings: LayerBuilder,
    pub(super) drain: Drain,
    pub(super) counters: Counters,
}

/// A service behind an [`IdempotencyLayer`].
#[derive(Clone)]
pub struct Idempotent<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What becomes of a request once all is known that can be known without its handler.
#[cfg_attr(
    any(feature = "distributed", feature = "tracing"),
    expect(
        clippy::large_enum_variant,
        reason = "it is taken apart at once, and a box would be one more allocation"
    )
)]
enum Admitted<B: HttpBody> {
    /// It goes to the handler as if there were no layer.
    Passed(Request<Body<B>>),
    Run(Request<Body<B>>, Held),
    Replayed(Replay),
}

impl IdempotencyLayer {
    /// As draft-ietf-httpapi-idempotency-key-header-07 has it: the header `Idempotency-Key` is required of POST and PATCH,
    /// and refusals are problem details (RFC 9457) with status 400, 409 or 422.
    pub fn draft(store: impl Into<AnyStore>, scope: Scope) -> LayerBuilder {
        LayerBuilder::draft(store.into(), scope)
    }

    /// As cloud APIs have it: the parameter `ClientToken` of a query or a form, optional; `IdempotentParameterMismatch`
    /// (400) and `IdempotentProcessing` (403). The store needs [`crate::DigestRules::cloud_api`].
    pub fn cloud_api(store: impl Into<AnyStore>, scope: Scope) -> LayerBuilder {
        LayerBuilder::cloud_api(store.into(), scope)
    }

    /// As Stripe's API has it: `Idempotency-Key` on any POST, optional; errors in Stripe's form, `Idempotent-Replayed` and
    /// `Stripe-Should-Retry`; whatever an operation that began has answered is kept, a 500 too. Stripe's keys have up to 255 characters: see
    /// [`crate::Builder::token_bytes_max`].
    pub fn stripe(store: impl Into<AnyStore>, scope: Scope) -> LayerBuilder {
        LayerBuilder::stripe(store.into(), scope)
    }

    pub(super) fn new(settings: LayerBuilder) -> Self {
        Self(Arc::new(Shared { settings, drain: Drain::default(), counters: Counters::default() }))
    }

    /// Waits, when a server ends, for the handlers whose clients have hung up.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.0.drain.clone()
    }

    /// How often the layer answered what, since it was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counters.counts()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotent<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotent { inner, shared: Arc::clone(&self.0) }
    }
}

impl<S, B, A> Service<Request<B>> for Idempotent<S>
where
    S: Service<Request<Body<B>>, Response = Response<A>, Error: Send, Future: Send> + Clone + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Send> + Send + 'static,
    A: HttpBody<Data = Bytes, Error: Send> + Send + 'static,
{
    type Response = Response<Body<A>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was found ready takes the request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        let (head, body) = request.into_parts();
        let is_grpc = is_grpc(&head);
        Box::pin(async move {
            match shared.admit(head, Body::unread(body)).await {
                Ok(Admitted::Passed(request)) => Ok(inner.call(request).await?.map(Body::unread)),
                Ok(Admitted::Run(request, reservation)) => {
                    Unstoppable::new(attempt(shared, inner, request, reservation, is_grpc)).await
                }
                Ok(Admitted::Replayed(replay)) => Ok(shared.replay(&replay, is_grpc)),
                Err(refusal) => Ok(shared.refuse(&refusal, is_grpc)),
            }
        })
    }
}

impl Shared {
    fn applies(&self, head: &Parts) -> bool {
        let settings = &self.settings;
        settings.methods.contains(&head.method)
            && settings.routes.as_ref().is_none_or(|applies| applies(head))
    }

    async fn admit<B>(&self, head: Parts, mut body: Body<B>) -> Result<Admitted<B>, Refusal>
    where
        B: HttpBody<Data = Bytes>,
    {
        let settings = &self.settings;
        if !self.applies(&head) {
            return Ok(Admitted::Passed(Request::from_parts(head, body)));
        }
        let kind = Kind::of(&head);
        let mut token = settings.token.in_head(&head)?;
        let in_body = token.is_none() && settings.token.is_parameter() && kind == Kind::Form;
        if token.is_none() && !in_body {
            return self.without_token(head, body);
        }
        match body.read(settings.request_bytes_max).await {
            Reading::Whole => {}
            Reading::Beyond => return Err(Refusal::LargeBody { limit: settings.request_bytes_max }),
            Reading::Broken => return Err(Refusal::BrokenBody),
        }
        let bytes = body.bytes();
        if in_body {
            token = settings.token.in_form(&bytes)?;
        }
        let Some(token) = token else { return self.without_token(head, body) };
        let key = settings.store.key(settings.scope.of(&head)?, token)?;
        let answer = match self.begin(&key, &head, &bytes, kind).await {
            Err(error) if kind == Kind::Json && matches!(error.kind(), ErrorKind::InvalidParameters(_)) => {
                self.begin(&key, &head, &bytes, Kind::Bytes).await
            }
            other => other,
        };
        let mut request = Request::from_parts(head, body);
        match answer.map_err(Refusal::from) {
            Ok(Answer::Replay(replay)) => Ok(Admitted::Replayed(replay)),
            Ok(Answer::InFlight(lease_left)) => Err(Refusal::InFlight { lease_left }),
            Ok(Answer::Fresh(reservation)) => {
                request.extensions_mut().insert(Attempt::of(&reservation));
                Ok(Admitted::Run(request, reservation))
            }
            Err(Refusal::Unavailable) if settings.run_unprotected => {
                self.counters.unprotected();
                Ok(Admitted::Passed(request))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn without_token<B: HttpBody<Data = Bytes>>(
        &self,
        head: Parts,
        body: Body<B>,
    ) -> Result<Admitted<B>, Refusal> {
        if self.settings.required {
            return Err(Refusal::NoToken { source: self.settings.token.name().into() });
        }
        Ok(Admitted::Passed(Request::from_parts(head, body)))
    }

    async fn begin(&self, key: &Key, head: &Parts, body: &[u8], kind: Kind) -> Result<Answer, Error> {
        let settings = &self.settings;
        let parameters = parameters(head, body, kind, &settings.digest_headers);
        settings.store.begin(key, &parameters, settings).await
    }

    pub(super) fn replay<A: HttpBody<Data = Bytes>>(
        &self,
        replay: &Replay,
        is_grpc: bool,
    ) -> Response<Body<A>> {
        let Some(mut response) = kept::answer(replay) else {
            let status = replay.outcome().status().unwrap_or_default();
            let mut response = self.refuse(&Refusal::NotKept { status }, is_grpc);
            self.mark(&mut response);
            return response;
        };
        self.counters.replayed();
        self.mark(&mut response);
        response
    }

    /// Says that it was answered before, and so will be again.
    fn mark<A: HttpBody>(&self, response: &mut Response<Body<A>>) {
        self.settings.manner.say_whether_to_retry(response.headers_mut(), false);
        response.headers_mut().insert(self.settings.replayed.clone(), HeaderValue::from_static("true"));
    }

    pub(super) fn refuse<A: HttpBody<Data = Bytes>>(
        &self,
        refusal: &Refusal,
        is_grpc: bool,
    ) -> Response<Body<A>> {
        self.counters.refused(refusal);
        refusal.answer(is_grpc, &self.settings.manner)
    }
}

/// Which attempt of which operation a handler runs: an extension of its request.
///
/// What the handler calls in turn gets a token of its own from [`Key::derive`], the same in each attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    key: Key,
    number: u32,
    is_resumed: bool,
}

impl Attempt {
    fn of(reservation: &Held) -> Self {
        let (key, number) = (reservation.key().clone(), reservation.attempt());
        Self { key, number, is_resumed: reservation.is_resumed() }
    }

    /// The operation's scope and token.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Which attempt it is, from 1 (contract 4.4).
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether an earlier attempt was interrupted, so that a part of it may have happened (contract 3.4).
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdempotencyLayer").field(&self.0.settings).finish()
    }
}

impl<S> fmt::Debug for Idempotent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotent").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
