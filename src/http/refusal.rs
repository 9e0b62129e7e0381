//! Why a request gets no answer of its handler's, and what it is answered instead (contract 9.1).
//!
//! Law: each refusal is one row, with a type that never changes. A detail never holds the client's bytes (contract 10.2):
//! lengths, limits, positions and remedies alone.
//!
//! | refusal | draft | cloud API | Stripe | gRPC |
//! | --- | --- | --- | --- | --- |
//! | `key-missing` | 400 | 400 `MissingClientToken` | 400 | `INVALID_ARGUMENT` |
//! | `key-refused`: against its rule, or two of them | 400 | 400 `InvalidClientToken` | 400 | `INVALID_ARGUMENT` |
//! | `scope-unknown` | 403 | 403 `Forbidden` | 403 | `PERMISSION_DENIED` |
//! | `request-broken` | 400 | 400 `InvalidRequest` | 400 | `INVALID_ARGUMENT` |
//! | `request-too-large` | 413 | 413 `RequestTooLarge` | 413 | `RESOURCE_EXHAUSTED` |
//! | `mismatch` | 422 | 400 `IdempotentParameterMismatch` | 400 | `INVALID_ARGUMENT` |
//! | `in-flight`, with `Retry-After` | 409 | 403 `IdempotentProcessing` | 409 | `ABORTED` |
//! | `expired` | 410 | 410 `IdempotentRequestExpired` | 410 | `FAILED_PRECONDITION` |
//! | `answer-not-kept`: it ran, and its answer was too large | 410 | 410 `IdempotentAnswerNotKept` | 410 | `DATA_LOSS` |
//! | `unknown-outcome`: it may have run | 503 | 503 `IdempotentOutcomeUnknown` | 503 | `UNAVAILABLE` |
//! | `unavailable`, with `Retry-After`: it did not run, or is not known to have | 503 | 503 `ServiceUnavailable` | 503 | `UNAVAILABLE` |

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as HttpBody;
use serde::Serialize;

use super::body::Body;
use crate::error::{Error, ErrorKind};

/// How refusals are spelled, and what else a family of APIs has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    /// draft-ietf-httpapi-idempotency-key-header-07, with problem details (RFC 9457).
    Draft,
    CloudApi,
    Stripe,
}

/// What it has of settings.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) convention: Convention,
    /// What a problem's type begins with.
    pub(super) types: Box<str>,
    /// Where people read about it.
    pub(super) documentation: Option<HeaderValue>,
    pub(super) retry_after: Duration,
}

impl Manner {
    /// What clients of this convention go by before they look at the status: Stripe's own, and those that are generated.
    pub(super) fn say_whether_to_retry(&self, headers: &mut HeaderMap, again: bool) {
        if self.convention == Convention::Stripe {
            for name in ["stripe-should-retry", "x-should-retry"] {
                let again = HeaderValue::from_static(if again { "true" } else { "false" });
                headers.insert(HeaderName::from_static(name), again);
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Refusal {
    NoToken {
        source: Box<str>,
    },
    TwoTokens,
    Token(Error),
    NoScope,
    Request(Error),
    BrokenBody,
    LargeBody {
        limit: u64,
    },
    Mismatch(Error),
    InFlight {
        lease_left: Option<Duration>,
    },
    Expired(Error),
    NotKept {
        status: u16,
    },
    /// Of this key.
    Unknown,
    /// The store can't take it now, or the server ends.
    Unavailable,
}

/// What stands in a refusal's row.
struct Row {
    name: &'static str,
    title: &'static str,
    draft: u16,
    cloud: (u16, &'static str),
    grpc: u8,
}

impl Row {
    const fn new(name: &'static str, title: &'static str, draft: u16, code: &'static str, grpc: u8) -> Self {
        Self { name, title, draft, cloud: (draft, code), grpc }
    }

    const fn in_cloud(self, status: u16) -> Self {
        Self { cloud: (status, self.cloud.1), ..self }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CloudError<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct StripeError<'a> {
    error: StripeDetail<'a>,
}

#[derive(Serialize)]
struct StripeDetail<'a> {
    r#type: &'a str,
    code: &'a str,
    message: &'a str,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidToken(_) => Self::Token(error),
            ErrorKind::InvalidScope(_) => Self::NoScope,
            ErrorKind::InvalidParameters(_) | ErrorKind::TooLarge { .. } => Self::Request(error),
            ErrorKind::Mismatch => Self::Mismatch(error),
            ErrorKind::InFlight { lease_left, .. } => Self::InFlight { lease_left: *lease_left },
            // Whoever took over has the answer, or will have it.
            ErrorKind::ReservationLost { .. } => Self::InFlight { lease_left: None },
            ErrorKind::Expired { .. } => Self::Expired(error),
            ErrorKind::UnknownOutcome
            | ErrorKind::Interrupted { .. }
            | ErrorKind::Damaged { .. }
            | ErrorKind::DamagedRecord { .. }
            | ErrorKind::CannotCompare(_) => Self::Unknown,
            _ => Self::Unavailable,
        }
    }
}

impl Refusal {
    fn row(&self) -> Row {
        match self {
            Self::NoToken { .. } => {
                Row::new("key-missing", "An idempotency key is required", 400, "MissingClientToken", 3)
            }
            Self::TwoTokens | Self::Token(_) => {
                Row::new("key-refused", "The idempotency key is refused", 400, "InvalidClientToken", 3)
            }
            Self::NoScope => {
                Row::new("scope-unknown", "It is not known whose request this is", 403, "Forbidden", 7)
            }
            Self::Request(error) if matches!(error.kind(), ErrorKind::TooLarge { .. }) => {
                Row::new("request-too-large", "The request is too large", 413, "RequestTooLarge", 8)
            }
            Self::LargeBody { .. } => {
                Row::new("request-too-large", "The request is too large", 413, "RequestTooLarge", 8)
            }
            Self::Request(_) | Self::BrokenBody => {
                Row::new("request-broken", "The request cannot be read", 400, "InvalidRequest", 3)
            }
            Self::Mismatch(_) => Row::new(
                "mismatch",
                "The idempotency key was used with another request",
                422,
                "IdempotentParameterMismatch",
                3,
            )
            .in_cloud(400),
            Self::InFlight { .. } => Row::new(
                "in-flight",
                "A request with this idempotency key is being processed",
                409,
                "IdempotentProcessing",
                10,
            )
            .in_cloud(403),
            Self::Expired(_) => Row::new(
                "expired",
                "The request is too old to be retried",
                410,
                "IdempotentRequestExpired",
                9,
            ),
            Self::NotKept { .. } => Row::new(
                "answer-not-kept",
                "The request was processed, and its answer was not kept",
                410,
                "IdempotentAnswerNotKept",
                15,
            ),
            Self::Unknown => Row::new(
                "unknown-outcome",
                "It is not known whether the request was processed",
                503,
                "IdempotentOutcomeUnknown",
                14,
            ),
            Self::Unavailable => {
                Row::new("unavailable", "The request cannot be processed now", 503, "ServiceUnavailable", 14)
            }
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoToken { source } => {
                format!(
                    "send `{source}` with a value that is new for each operation, and the same for its retries"
                )
            }
            Self::TwoTokens => "the request names two different keys; send one".to_owned(),
            Self::NoScope => {
                "the request names nobody whose keys it could use; authenticate first".to_owned()
            }
            Self::BrokenBody => "the body ended before it was whole; send it again".to_owned(),
            Self::LargeBody { limit } => format!("the body has more than {limit} bytes; send less"),
            Self::InFlight { .. } => "wait, and send the same request again".to_owned(),
            Self::NotKept { status } => {
                format!(
                    "it was answered with status {status} and more bytes than are kept; it will not run again"
                )
            }
            Self::Token(error) | Self::Request(error) | Self::Mismatch(error) | Self::Expired(error) => {
                error.to_string()
            }
            // What the operator does next is not for the client to read.
            Self::Unknown => {
                "send the same request again later; it does not run before that is known".to_owned()
            }
            Self::Unavailable => "send the same request again later".to_owned(),
        }
    }

    /// When to come again.
    fn retry_after(&self, manner: &Manner) -> Option<u64> {
        let soon = manner.retry_after;
        let wait = match self {
            Self::InFlight { lease_left } => lease_left.map_or(soon, |left| left.min(soon)),
            Self::Unavailable | Self::Unknown => soon,
            _ => return None,
        };
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|own| own.max(1))
    }

    /// The answer to a request with this head.
    pub(super) fn answer<B: HttpBody<Data = Bytes>>(
        &self,
        is_grpc: bool,
        manner: &Manner,
    ) -> Response<Body<B>> {
        let (row, detail) = (self.row(), self.detail());
        let mut response = if is_grpc { grpc(&row, &detail) } else { problem(&row, &detail, manner) };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after(manner) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        manner.say_whether_to_retry(headers, self.retry_after(manner).is_some());
        if let Some(link) = &manner.documentation {
            headers.insert(LINK, link.clone());
        }
        response
    }
}

fn problem<B: HttpBody<Data = Bytes>>(row: &Row, detail: &str, manner: &Manner) -> Response<Body<B>> {
    let (status, kind, written) = match manner.convention {
        Convention::Draft => {
            let r#type = format!("{}{}", manner.types, row.name);
            let own = Problem { r#type: &r#type, title: row.title, status: row.draft, detail };
            (row.draft, "application/problem+json", serde_json::to_vec(&own))
        }
        Convention::CloudApi => {
            let message = format!("{}: {detail}", row.title);
            let own = CloudError { code: row.cloud.1, message: &message };
            (row.cloud.0, "application/json", serde_json::to_vec(&own))
        }
        Convention::Stripe => {
            let status = if row.name == "mismatch" { 400 } else { row.draft };
            let kind = if status < 500 { "idempotency_error" } else { "api_error" };
            let code = if row.name == "in-flight" { "idempotency_key_in_use" } else { row.name };
            let message = format!("{}: {detail}", row.title);
            let own = StripeError { error: StripeDetail { r#type: kind, code, message: &message } };
            (status, "application/json", serde_json::to_vec(&own))
        }
    };
    let body = written.expect("names and texts are written as JSON");
    let mut response = Response::new(Body::whole(body.into(), None));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A call's end as gRPC has it where there is no message: status and trailers in the head.
fn grpc<B: HttpBody<Data = Bytes>>(row: &Row, detail: &str) -> Response<Body<B>> {
    let mut response = Response::new(Body::whole(Bytes::new(), None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(row.grpc)));
    let message = format!("{}: {detail}", row.title);
    // Percent-encoded, of which titles and details have nothing but this sign itself.
    if let Ok(message) = HeaderValue::from_str(&message.replace('%', "%25")) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    response
}

/// Whether this is a call of gRPC's.
pub(super) fn is_grpc(head: &Parts) -> bool {
    head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;
    use crate::error::{Incomparable, Limit, ParameterFault, ScopeFault, TokenFault};

    fn answered(refusal: &Refusal, convention: Convention, is_grpc: bool) -> Response<Body<Empty<Bytes>>> {
        let (types, retry_after) = ("urn:x:".into(), Duration::from_millis(1500));
        refusal.answer(is_grpc, &Manner { convention, types, documentation: None, retry_after })
    }

    #[test]
    fn every_error_of_the_store_has_its_row_9_1() {
        let limit = || (Limit::LiveReservations, 2, 1);
        let overloaded = |(what, measured, limit)| ErrorKind::Overloaded { what, measured, limit };
        let full = |(what, measured, limit)| ErrorKind::Full { what, measured, limit };
        let large = |(what, measured, limit)| ErrorKind::TooLarge { what, measured, limit };
        let second = Duration::from_secs(1);
        let cases = [
            (ErrorKind::InvalidToken(TokenFault::Empty), "key-refused", [400, 400, 400], 3, false),
            (ErrorKind::InvalidScope(ScopeFault::Empty), "scope-unknown", [403, 403, 403], 7, false),
            (
                ErrorKind::InvalidParameters(ParameterFault::Json { position: 0 }),
                "request-broken",
                [400, 400, 400],
                3,
                false,
            ),
            (large(limit()), "request-too-large", [413, 413, 413], 8, false),
            (ErrorKind::Mismatch, "mismatch", [422, 400, 400], 3, false),
            (ErrorKind::InFlight { attempt: 1, lease_left: None }, "in-flight", [409, 403, 409], 10, true),
            (ErrorKind::ReservationLost { attempt: 1 }, "in-flight", [409, 403, 409], 10, true),
            (ErrorKind::Expired { age: second, retention: second }, "expired", [410, 410, 410], 9, false),
            (ErrorKind::UnknownOutcome, "unknown-outcome", [503, 503, 503], 14, true),
            (ErrorKind::Interrupted { attempt: 1 }, "unknown-outcome", [503, 503, 503], 14, true),
            (ErrorKind::Damaged { segment: 1 }, "unknown-outcome", [503, 503, 503], 14, true),
            (ErrorKind::CannotCompare(Incomparable::Rules), "unknown-outcome", [503, 503, 503], 14, true),
            (overloaded(limit()), "unavailable", [503, 503, 503], 14, true),
            (full(limit()), "unavailable", [503, 503, 503], 14, true),
            (ErrorKind::Stopped { operation: "commit" }, "unavailable", [503, 503, 503], 14, true),
            (ErrorKind::Closed, "unavailable", [503, 503, 503], 14, true),
        ];
        let conventions = [Convention::Draft, Convention::CloudApi, Convention::Stripe];
        for (kind, name, statuses, grpc, later) in cases {
            let grpc: u16 = grpc;
            let refusal = Refusal::from(Error::from(kind));
            assert_eq!(refusal.row().name, name, "{refusal:?}");
            for (convention, status) in conventions.into_iter().zip(statuses) {
                let response = answered(&refusal, convention, false);
                assert_eq!(response.status(), status, "{refusal:?}, {convention:?}");
                let retry_after = response.headers().get(RETRY_AFTER).map(HeaderValue::as_bytes);
                assert_eq!(retry_after, later.then_some(&b"2"[..]), "rounded up: {refusal:?}");
            }
            let response = answered(&refusal, Convention::Draft, true);
            assert_eq!(
                (response.status(), &response.headers()["grpc-status"]),
                (StatusCode::OK, &HeaderValue::from(grpc))
            );
        }
    }

    #[test]
    fn nobody_is_told_to_come_later_than_the_lease_lasts_or_at_once() {
        let told = |left: u64| {
            let refusal = Refusal::InFlight { lease_left: Some(Duration::from_millis(left)) };
            let response = answered(&refusal, Convention::Draft, false);
            response.headers()[RETRY_AFTER].to_str().unwrap().to_owned()
        };
        assert_eq!([0, 1, 1000, 1001, 60_000].map(told), ["1", "1", "1", "2", "2"]);
    }
}
