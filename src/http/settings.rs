//! What a layer is told, and what a family of APIs expects of it.
//!
//! Law: what is not allowed is refused when the layer is made, and never when a request comes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use super::identity::{Scope, TokenSource};
use super::kept;
use super::refusal::{Convention, Manner};
use super::service::IdempotencyLayer;
use super::stores::AnyStore;
use crate::error::{ErrorKind, Result};
use crate::options::{OnInterrupted, settings};

/// Bytes of a request's body that are read at most, by default.
const REQUEST_BYTES_DEFAULT: u64 = 1 << 20;
/// Bytes of an answer that are read at most, by default: as a store keeps.
const ANSWER_BYTES_DEFAULT: u64 = 1 << 20;
/// What a problem's type begins with, by default.
const TYPES_DEFAULT: &str = "urn:oncekey:problem:";
/// What tells a retry's answer from the first one's (contract 9.1).
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const REPLAYED_BY_STRIPE: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One that no policy refuses.
const ANY_TOKEN: &str = "t";

type ByHead = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;
type ByStatus = Arc<dyn Fn(StatusCode) -> bool + Send + Sync>;

/// What becomes of an answer that is larger than is kept. The operation is recorded either way, and never runs again: a
/// retry is told 410, `answer-not-kept`. The record has the status, and length and digest of what was read of the body until it
/// was too large ([`crate::Replay::omitted`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LargeAnswer {
    /// The first request gets it whole, as it comes.
    #[default]
    SendOnce,
    /// The first request is told 410 too, as every retry will be.
    Refuse,
}

/// Whether an answer is kept, as its handler says: an extension of the response. It counts before the status
/// ([`LayerBuilder::keep_statuses`]).
///
/// ```
/// use oncekey::http::Keep;
///
/// // "Your order has no lines": nothing began, so the same key may come with the lines.
/// let mut response = http::Response::new("");
/// *response.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
/// response.extensions_mut().insert(Keep::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It would come again: retries get it.
    Yes,
    /// It says nothing of the next try: a retry runs.
    No,
}

/// Settings of an [`IdempotencyLayer`]: a convention of a family of APIs, and what differs from it.
#[derive(Clone)]
#[must_use = "settings become a layer by `build`"]
pub struct LayerBuilder {
    pub(super) store: AnyStore,
    pub(super) scope: Scope,
    pub(super) token: TokenSource,
    pub(super) required: bool,
    pub(super) methods: Vec<Method>,
    pub(super) routes: Option<ByHead>,
    pub(super) digest_headers: Vec<HeaderName>,
    pub(super) kept_headers: Vec<HeaderName>,
    pub(super) kept_statuses: Option<ByStatus>,
    pub(super) request_bytes_max: u64,
    pub(super) answer_bytes_max: u64,
    pub(super) large_answer: LargeAnswer,
    pub(super) wait: Duration,
    pub(super) declared_answer_bytes: Option<u64>,
    pub(super) lease: Option<Duration>,
    pub(super) retention: Option<Duration>,
    pub(super) start_durably: bool,
    pub(super) on_interrupted: Option<OnInterrupted>,
    pub(super) run_unprotected: bool,
    pub(super) replayed: HeaderName,
    pub(super) manner: Manner,
}

impl LayerBuilder {
    /// As draft-ietf-httpapi-idempotency-key-header-07 has it: the header `Idempotency-Key` is required of POST and PATCH, and
    /// refusals are problem details (RFC 9457) with status 400, 409 or 422.
    pub(super) fn draft(store: AnyStore, scope: Scope) -> Self {
        Self {
            store,
            scope,
            token: TokenSource::Header(HeaderName::from_static("idempotency-key")),
            required: true,
            methods: vec![Method::POST, Method::PATCH],
            routes: None,
            digest_headers: Vec::new(),
            kept_headers: kept::HEADERS.to_vec(),
            kept_statuses: None,
            request_bytes_max: REQUEST_BYTES_DEFAULT,
            answer_bytes_max: ANSWER_BYTES_DEFAULT,
            large_answer: LargeAnswer::SendOnce,
            wait: Duration::ZERO,
            declared_answer_bytes: None,
            lease: None,
            retention: None,
            start_durably: false,
            on_interrupted: None,
            run_unprotected: false,
            replayed: REPLAYED,
            manner: Manner {
                convention: Convention::Draft,
                types: TYPES_DEFAULT.into(),
                documentation: None,
                retry_after: Duration::from_secs(1),
            },
        }
    }

    /// As cloud APIs have it: the parameter `ClientToken` of a query or a form, of any method since actions are parameters
    /// too; a request without one is not protected.
    pub(super) fn cloud_api(store: AnyStore, scope: Scope) -> Self {
        let draft = Self::draft(store, scope);
        let manner = Manner { convention: Convention::CloudApi, ..draft.manner };
        let methods = vec![Method::GET, Method::POST];
        Self {
            token: TokenSource::Parameter("ClientToken".into()),
            required: false,
            methods,
            manner,
            ..draft
        }
    }

    /// As Stripe's API has it: `Idempotency-Key` on any POST, optional; whatever an operation that began has answered is kept, a
    /// 500 too, and what says that it never began (400, 401, 403, 404, 409, 429) is not.
    pub(super) fn stripe(store: AnyStore, scope: Scope) -> Self {
        let draft = Self::draft(store, scope);
        let manner = Manner { convention: Convention::Stripe, ..draft.manner };
        let methods = vec![Method::POST];
        let replayed = REPLAYED_BY_STRIPE;
        let own = Self { required: false, methods, manner, replayed, ..draft };
        own.keep_statuses(|status| !matches!(status.as_u16(), 400 | 401 | 403 | 404 | 407 | 409 | 429))
    }

    settings! {
        /// Whether a request without a token is refused with 400; one that may go without is not protected. By default yes
        /// by the draft, no in cloud APIs and by Stripe.
        required: bool;
        /// Bytes of a request's body that are read at most, by default 1 MiB; beyond it the answer is 413. Requests that the
        /// layer does not apply to are not read by it, and have no limit here.
        request_bytes_max: u64;
        /// Bytes of an answer that are kept at most, by default 1 MiB, and never more than the store's own
        /// [`crate::Builder::outcome_bytes_max`] together with its headers.
        answer_bytes_max: u64;
        /// What becomes of a larger one.
        large_answer: LargeAnswer;
        /// How long a retry waits while the first request is being processed, by default not at all; then it is told 409.
        wait: Duration;
        /// Bytes of an answer for which disk room is set aside before the handler is called (contract 5.10), in place of the
        /// store's [`crate::Builder::declared_outcome_bytes`]; refused over an engine, which has no disk of its own to promise.
        declared_answer_bytes: Option<u64>;
        /// Whether the start of an operation is on disk before the handler is called (contract 5.4), by default no; the store's
        /// own setting holds where this says no.
        start_durably: bool;
        /// Whether a request runs *unprotected* where the store can't take it: stopped after a disk error, closed, full or
        /// overloaded. By default no: the answer is 503. Such runs are counted ([`super::Counts::unprotected`]).
        run_unprotected: bool;
    }

    /// The token stands in this header, quoted or bare (contract 9.2).
    pub fn token_header(self, name: HeaderName) -> Self {
        Self { token: TokenSource::Header(name), ..self }
    }

    /// The token stands in this parameter of the query, or of a form in the body.
    pub fn token_parameter(self, name: impl Into<Arc<str>>) -> Self {
        Self { token: TokenSource::Parameter(name.into()), ..self }
    }

    /// The token is what this makes of the request's head; `None` where it names none.
    pub fn token_of_request<T: Into<Vec<u8>>>(
        self,
        token: impl Fn(&Parts) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        Self { token: TokenSource::Request(Arc::new(move |head| token(head).map(Into::into))), ..self }
    }

    /// The methods that the layer applies to.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        Self { methods: methods.into_iter().collect(), ..self }
    }

    /// The requests that the layer applies to, by their head; by default all of its methods. A call that streams, either
    /// way, has to be left out: the layer reads a request to its end before the handler is called.
    pub fn routes(self, routes: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self { routes: Some(Arc::new(routes)), ..self }
    }

    /// Headers of a request that count as its parameters, beside method, path, query and body; by default none.
    pub fn digest_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        Self { digest_headers: names.into_iter().collect(), ..self }
    }

    /// Headers of an answer that are kept with it, beside those that describe its body (`Content-Type`, `-Encoding`,
    /// `-Language`, `-Disposition`, `-Location`, `ETag`, `Last-Modified`), `Link` and `Location`.
    pub fn keep_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.kept_headers.extend(names);
        self
    }

    /// The statuses of which an answer is kept. By default contract 4.2, or the store's classifier: 2xx, 3xx and 4xx but for
    /// those that say *later* or nothing of the operation; of gRPC those that would come again.
    pub fn keep_statuses(self, keep: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        Self { kept_statuses: Some(Arc::new(keep)), ..self }
    }

    /// How long a reservation holds without being renewed, in place of the store's; it is renewed while the handler runs, and
    /// counts only where the process can't do that.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// How long an answer is kept, in place of the store's retention (contract 7.1).
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// What a retry of an interrupted operation is told, in place of the store's policy (contract 3.4).
    pub fn on_interrupted(self, policy: OnInterrupted) -> Self {
        Self { on_interrupted: Some(policy), ..self }
    }

    /// When a client shall come again, by default after a second.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.manner.retry_after = wait;
        self
    }

    /// What the type of a problem begins with, by default `urn:oncekey:problem:`; its name follows, as `mismatch`.
    pub fn problem_types(mut self, base: impl Into<Box<str>>) -> Self {
        self.manner.types = base.into();
        self
    }

    /// Where people read about the server's keys: a `Link` of each refusal, as the draft recommends.
    pub fn documentation(mut self, address: &HeaderValue) -> Self {
        let link = [b"<", address.as_bytes(), b">; rel=\"describedby\"; type=\"text/html\""].concat();
        self.manner.documentation = HeaderValue::from_bytes(&link).ok();
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// *Invalid scope*: that of [`Scope::single`] breaks the store's rule. *Invalid setting*: a header is to be kept that never can be (`Set-Cookie`, or one of a single connection); there is no
    /// method; or the convention is that of cloud APIs, and the store's digest includes what is new in each retry
    /// ([`crate::DigestRules::cloud_api`]). *Not promised*: room is declared to a store over an engine.
    pub fn build(self) -> Result<IdempotencyLayer> {
        let invalid = |setting, measured: usize, rule| {
            Err(ErrorKind::InvalidSetting { setting, measured: measured as u64, rule }.into())
        };
        #[cfg(feature = "distributed")]
        self.store.check(&self)?;
        if let Some(name) = self.scope.single_name() {
            self.store.key(name, ANY_TOKEN)?;
        }
        let never = self.kept_headers.iter().filter(|name| kept::is_never_kept(name)).count();
        if never > 0 {
            return invalid("keep_headers", never, "no Set-Cookie and no header of one connection");
        }
        if self.methods.is_empty() {
            return invalid("methods", 0, "at least one");
        }
        let needed = crate::digest::DigestRules::cloud_api();
        let rules = self.store.rules();
        let missing = needed.names().filter(|name| rules.names().all(|own| own != *name)).count();
        if self.manner.convention == Convention::CloudApi && missing > 0 {
            return invalid(
                "rules",
                missing,
                "a store with DigestRules::cloud_api(), or every retry is a mismatch",
            );
        }
        Ok(IdempotencyLayer::new(self))
    }
}

impl fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerBuilder")
            .field("convention", &self.manner.convention)
            .field("scope", &self.scope)
            .field("required", &self.required)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}
