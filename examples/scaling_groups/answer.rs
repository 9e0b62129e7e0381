//! What goes back to a client: JSON, with a status and the vendor's error codes.

use oncekey::{Error, ErrorKind, Token};
use serde::Serialize;

/// An answer, as it is sent. A replay has the same status and the same bytes as the first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether it comes from the store. Told in a header, beside the body, which stays as it was.
    pub(crate) replayed: bool,
}

impl Answer {
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::new(200, body)
    }

    fn new(status: u16, body: &impl Serialize) -> Self {
        let body =
            serde_json::to_vec(body).expect("strings, numbers and lists of them can be written as JSON");
        Self { status, body, replayed: false }
    }
}

/// A request that was not done, and why, in the vendor's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The server can't do it now; the client may send the same request again.
    pub(crate) fn unavailable() -> Self {
        let message =
            "The request has failed due to a temporary failure of the server. Please try again later.";
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The server does not know whether it was done.
    pub(crate) fn internal() -> Self {
        Self::new(500, "InternalError", "The request processing has failed due to some unknown error.")
    }

    pub(crate) fn mismatch() -> Self {
        let message = "The request uses the same client token as a previous, but non-identical request. \
                       Do not reuse a client token with different requests, unless the requests are identical.";
        Self::new(400, "IdempotentParameterMismatch", message)
    }

    pub(crate) fn in_flight() -> Self {
        let message = "The previous idempotent request is still processing. Please try again later.";
        Self::new(403, "IdempotentProcessing", message)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            request_id: String,
        }
        let body = Body { code: refusal.code, message: &refusal.message, request_id: request_id() };
        Self::new(refusal.status, &body)
    }
}

/// What a client is told of an error of the store. One that is the operator's to mend is also logged.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Mismatch => Self::mismatch(),
            ErrorKind::InFlight { .. } => Self::in_flight(),
            ErrorKind::InvalidToken(fault) => Self::new(
                400,
                "InvalidClientToken.ValueNotSupported",
                format!("The ClientToken is not supported: {fault}."),
            ),
            _ if error.is_bad_input() => {
                Self::new(400, "InvalidParameter", format!("The request is not valid: {error}."))
            }
            // Another caller has taken over, and the client will get that one's answer.
            ErrorKind::ReservationLost { .. } | ErrorKind::Overloaded { .. } | ErrorKind::Closed => {
                Self::unavailable()
            }
            _ => {
                eprintln!("store: {error}");
                if error.is_retryable() { Self::unavailable() } else { Self::internal() }
            }
        }
    }
}

/// A fresh request id, in the vendor's form.
pub(crate) fn request_id() -> String {
    let hex = Token::random().as_str().to_ascii_uppercase();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncekey::Key;

    #[test]
    fn a_refusal_is_json_with_code_message_and_request_id() {
        let answer = Answer::from(Refusal::mismatch());
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["Code"]), (400, &"IdempotentParameterMismatch".into()));
        assert_eq!(body["RequestId"].as_str().unwrap().len(), 36);
        assert!(body["Message"].is_string());
    }

    #[test]
    fn errors_of_the_store_become_the_vendors_codes() {
        let refused = |error: Error| (Refusal::from(error.clone()).status, Refusal::from(error).code);
        assert_eq!(refused(ErrorKind::Mismatch.into()), (400, "IdempotentParameterMismatch"));
        let in_flight = ErrorKind::InFlight { attempt: 1, lease_left: None };
        assert_eq!(refused(in_flight.into()), (403, "IdempotentProcessing"));
        let long = Key::new("s", "x".repeat(65)).unwrap_err();
        assert_eq!(refused(long), (400, "InvalidClientToken.ValueNotSupported"));
        assert_eq!(refused(ErrorKind::UnknownOutcome.into()), (500, "InternalError"));
        assert_eq!(refused(ErrorKind::Stopped { operation: "sync" }.into()), (503, "ServiceUnavailable"));
        assert_eq!(refused(ErrorKind::ReservationLost { attempt: 1 }.into()), (503, "ServiceUnavailable"));
    }
}
