//! What a request asks, as parameters (contract 2.3).
//!
//! Law: method, path, query, the headers that were chosen, and the body: each a part of its own. A body is compared by what
//! it means where its content type says that it is JSON or a form, and byte for byte otherwise, also where it says so and
//! is none: to refuse that is for the handler.

use http::HeaderName;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::digest::Parameters;

/// How a body's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Form,
    Bytes,
}

impl Kind {
    pub(super) fn of(head: &Parts) -> Self {
        let said = head.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let essence = said.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let essence = essence.to_ascii_lowercase();
        match essence.as_slice() {
            b"application/json" => Self::Json,
            b"application/x-www-form-urlencoded" => Self::Form,
            // RFC 6839, section 3.1.
            own if own.ends_with(b"+json") => Self::Json,
            _ => Self::Bytes,
        }
    }
}

/// The parameters of a request with this head and this body.
pub(super) fn parameters<'a>(
    head: &'a Parts,
    body: &'a [u8],
    kind: Kind,
    headers: &'a [HeaderName],
) -> Parameters<'a> {
    let chosen = headers.iter().flat_map(|name| {
        head.headers.get_all(name).iter().map(move |value| (name.as_str(), value.as_bytes()))
    });
    let body = match kind {
        Kind::Json => Parameters::json(body),
        Kind::Form => Parameters::form(body),
        Kind::Bytes => Parameters::bytes(body),
    };
    Parameters::parts([
        ("method", Parameters::bytes(head.method.as_str().as_bytes())),
        ("path", Parameters::bytes(head.uri.path().as_bytes())),
        ("query", Parameters::form(head.uri.query().unwrap_or_default().as_bytes())),
        ("headers", Parameters::pairs(chosen)),
        ("body", body),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_says_how_a_body_is_compared_2_3() {
        let cases = [
            (None, Kind::Bytes),
            (Some("application/json"), Kind::Json),
            (Some("Application/JSON ; charset=utf-8"), Kind::Json),
            (Some("application/problem+json"), Kind::Json),
            (Some("application/x-www-form-urlencoded;charset=UTF-8"), Kind::Form),
            (Some("application/jsonlines"), Kind::Bytes),
            (Some("text/plain; format=application/json"), Kind::Bytes),
            (Some(""), Kind::Bytes),
        ];
        for (said, expected) in cases {
            let mut request = http::Request::new(());
            if let Some(said) = said {
                request.headers_mut().insert(CONTENT_TYPE, said.parse().unwrap());
            }
            assert_eq!(Kind::of(&request.into_parts().0), expected, "{said:?}");
        }
    }
}
