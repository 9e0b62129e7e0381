//! Forms and errors as Stripe's API has them.
//!
//! Law: a request's fields are a form, or a JSON object of texts and numbers (as in the newer part of that API). A failure says
//! its type, its code, the parameter and a sentence; what went wrong inside of the server is for its log.

use std::collections::BTreeMap;
use std::io;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request's fields by their names.
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|own| !own.is_empty())
    }

    fn of_form(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    fn of_json(body: &[u8]) -> Result<Self, Failure> {
        let unread = |_| Failure::invalid("body", "The body is no JSON object.".to_owned());
        let fields: BTreeMap<String, Value> = serde_json::from_slice(body).map_err(unread)?;
        let text = |value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(own) => Some(own.to_string()),
            _ => None,
        };
        Ok(Self(fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()))
    }

    #[cfg(test)]
    pub(crate) fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|own| own.to_str().ok()).unwrap_or_default();
        let is_json = kind.starts_with("application/json");
        let broken = |_| Failure::invalid("body", "The body cannot be read.".to_owned());
        let body = Bytes::from_request(request, state).await.map_err(broken)?;
        if is_json { Self::of_json(&body) } else { Ok(Self::of_form(&body)) }
    }
}

/// Why there is no object in the answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, param: None, message: message.into() }
    }

    fn request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "Send your secret key: `Authorization: Bearer sk_test_NAME`.";
        Self::request(StatusCode::UNAUTHORIZED, "api_key_missing", message)
    }

    pub(crate) fn missing(param: &'static str) -> Self {
        let message = format!("Missing required param: {param}.");
        Self { param: Some(param), ..Self::request(StatusCode::BAD_REQUEST, "parameter_missing", message) }
    }

    pub(crate) fn invalid(param: &'static str, message: String) -> Self {
        Self { param: Some(param), ..Self::request(StatusCode::BAD_REQUEST, "parameter_invalid", message) }
    }

    pub(crate) fn not_found(id: &str) -> Self {
        Self::request(StatusCode::NOT_FOUND, "resource_missing", format!("No such object: '{id}'"))
    }

    pub(crate) fn declined() -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", "card_declined", "Your card was declined.")
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "unavailable", "Come again later.")
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "internal", "Something went wrong here.")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        eprintln!("payments: {error}");
        Self::internal()
    }
}

impl From<oncekey::Error> for Failure {
    fn from(error: oncekey::Error) -> Self {
        eprintln!("payments: {error}");
        Self::internal()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, kind, code, param, message } = self;
        let error = json!({ "type": kind, "code": code, "param": param, "message": message });
        (status, Json(json!({ "error": error }))).into_response()
    }
}
