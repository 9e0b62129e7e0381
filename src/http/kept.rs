//! A handler's answer as an outcome, and back (contract 3.3, 4.2, 4.5).
//!
//! Law: kept are the status, the body byte for byte, its trailers, and of the headers those that the server allows. Never
//! kept is what belongs to one connection or to one client: hop-by-hop headers (RFC 9110, section 7.6.1) and `Set-Cookie`.
//! What is larger than the limit is kept without its body, so that the operation never runs twice for being large.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, LINK, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as HttpBody;

use super::body::Body;
use crate::outcome::{Outcome, Replay};

/// What of an answer's headers is kept unless the server says otherwise.
pub(super) const HEADERS: [HeaderName; 9] = [
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    LINK,
    LOCATION,
];

/// What of gRPC's stands in the head where there is no message.
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// Stands before the name of a trailer; no header's name has it.
const TRAILER_MARK: char = '>';

/// Whether a header can never be kept.
pub(super) fn is_never_kept(name: &HeaderName) -> bool {
    let hop_by_hop = [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        SET_COOKIE,
    ];
    hop_by_hop.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "set-cookie2")
}

/// The outcome that an answer is kept as.
pub(super) fn outcome(
    status: StatusCode,
    headers: &HeaderMap,
    allowed: &[HeaderName],
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Outcome {
    let mut outcome = Outcome::http(status.as_u16(), body);
    let is_kept = |name: &HeaderName| {
        allowed.contains(name) || [GRPC_STATUS, GRPC_MESSAGE, GRPC_DETAILS].contains(&name.as_str())
    };
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        outcome = outcome.with_metadata(name.as_str(), text(value));
    }
    for (name, value) in trailers.into_iter().flatten() {
        outcome = outcome.with_metadata(format!("{TRAILER_MARK}{name}"), text(value));
    }
    outcome
}

/// The answer that was kept; `None` where its body was not.
pub(super) fn answer<B: HttpBody<Data = Bytes>>(replay: &Replay) -> Option<Response<Body<B>>> {
    if replay.omitted().is_some() {
        return None;
    }
    let outcome = replay.outcome();
    let (mut headers, mut trailers) = (HeaderMap::new(), HeaderMap::new());
    for (name, value) in outcome.metadata() {
        let (map, name) = match name.strip_prefix(TRAILER_MARK) {
            Some(name) => (&mut trailers, name),
            None => (&mut headers, name.as_str()),
        };
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value_of(value)) {
            map.append(name, value);
        }
    }
    let trailers = Some(trailers).filter(|own| !own.is_empty());
    let mut response = Response::new(Body::whole(Bytes::copy_from_slice(outcome.body()), trailers));
    let status = outcome.status().and_then(|own| StatusCode::from_u16(own).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    *response.headers_mut() = headers;
    Some(response)
}

/// The status of a gRPC call, in its trailers or, where there is no message, in its head; `None` for any other answer.
pub(super) fn grpc_status(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<u8> {
    let status = headers.get(GRPC_STATUS).or_else(|| trailers?.get(GRPC_STATUS))?;
    // What is no number is UNKNOWN.
    Some(status.to_str().ok().and_then(|own| own.parse().ok()).unwrap_or(2))
}

/// Whether a call of gRPC that ended so would end so again, as contract 4.2 has it of HTTP: OK, `INVALID_ARGUMENT`,
/// `NOT_FOUND`, `ALREADY_EXISTS`, `FAILED_PRECONDITION`, `OUT_OF_RANGE`, `UNIMPLEMENTED`. The others say *later*, or nothing of the
/// operation.
pub(super) fn is_final_in_grpc(status: u8) -> bool {
    matches!(status, 0 | 3 | 5 | 6 | 9 | 11 | 12)
}

/// A value's bytes as characters of the same numbers: any byte can stand in a value, and metadata are text.
fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

fn value_of(text: &str) -> Option<HeaderValue> {
    let bytes: Option<Vec<u8>> = text.chars().map(|own| u8::try_from(own).ok()).collect();
    HeaderValue::from_bytes(&bytes?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{CONTENT_LENGTH, DATE, SERVER};
    use http_body_util::Empty;

    use super::*;
    use crate::digest::Parameters;
    use crate::store::{Answer, Store};

    fn map(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    /// The answer that a store gives again.
    fn replayed(outcome: Outcome, without_body: bool) -> Option<Response<Body<Empty<Bytes>>>> {
        let store = Store::in_memory().unwrap();
        let key = store.key("scope", "token").unwrap();
        let Ok(Answer::Fresh(held)) = store.begin(&key, &Parameters::none()) else { panic!("never seen") };
        let ended = if without_body { held.complete_without_body(outcome) } else { held.complete(outcome) };
        ended.unwrap();
        let Ok(Answer::Replay(replay)) = store.begin(&key, &Parameters::none()) else { panic!("kept") };
        store.close(Duration::ZERO).unwrap();
        answer(&replay)
    }

    #[test]
    fn status_body_allowed_headers_and_trailers_come_back_byte_for_byte_3_3() {
        let headers = map(&[
            ("content-type", b"text/plain"),
            ("link", b"<one>"),
            ("link", b"<two>"),
            ("location", b"/caf\xe9"),
            ("set-cookie", b"canary"),
            ("x-request-id", b"canary"),
        ]);
        let trailers = map(&[("grpc-status", b"0"), ("x-any", b"\xff")]);
        let kept = outcome(StatusCode::CREATED, &headers, &HEADERS, b"\0body", Some(&trailers));
        let mut again = replayed(kept, false).unwrap();
        assert_eq!(
            (again.status(), again.body_mut().bytes().as_ref()),
            (StatusCode::CREATED, &b"\0body"[..])
        );
        let expected = map(&[
            ("content-type", b"text/plain"),
            ("link", b"<one>"),
            ("link", b"<two>"),
            ("location", b"/caf\xe9"),
        ]);
        assert_eq!((again.headers(), again.body().trailers()), (&expected, Some(&trailers)));
    }

    #[test]
    fn what_was_kept_without_its_body_is_no_answer_4_5() {
        assert!(replayed(Outcome::http(200, "large"), true).is_none());
    }

    #[test]
    fn an_outcome_without_status_is_200_and_metadata_that_are_no_headers_are_left_out() {
        let own = Outcome::new("body").with_metadata("no header", "x").with_metadata("etag", "snow \u{2603}");
        let again = replayed(own.with_metadata("etag", "sound"), false).unwrap();
        assert_eq!((again.status(), again.headers()), (StatusCode::OK, &map(&[("etag", b"sound")])));
    }

    #[test]
    fn what_belongs_to_a_connection_or_a_client_can_never_be_kept() {
        for name in [CONNECTION, TRANSFER_ENCODING, TE, TRAILER, UPGRADE, SET_COOKIE, PROXY_AUTHENTICATE] {
            assert!(is_never_kept(&name), "{name}");
        }
        assert!(is_never_kept(&HeaderName::from_static("keep-alive")));
        assert!(HEADERS.iter().chain(&[CONTENT_LENGTH, DATE, SERVER]).all(|name| !is_never_kept(name)));
    }

    #[test]
    fn a_status_of_grpcs_is_found_in_head_and_trailers_4_2() {
        let (none, three) = (map(&[]), map(&[("grpc-status", b"3")]));
        assert_eq!(grpc_status(&none, None), None);
        assert_eq!(grpc_status(&three, None), Some(3));
        assert_eq!(grpc_status(&none, Some(&three)), Some(3));
        assert_eq!(grpc_status(&map(&[("grpc-status", b"x")]), None), Some(2), "UNKNOWN");
    }
}
