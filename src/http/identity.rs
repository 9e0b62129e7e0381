//! Whose request it is, and which operation it names (contract 1.2, 9.2).
//!
//! Law: there is no scope but the one that the server names: one tenant, by name, or what it makes of the request. A
//! request that names its token twice, differently, names none.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;

use super::refusal::Refusal;
use crate::error::Error;
use crate::token::token_in_header;

type ByRequest = Arc<dyn Fn(&Parts) -> Option<Vec<u8>> + Send + Sync>;

/// Whose tokens they are (contract 1.2). There is no default: the server says which.
#[derive(Clone)]
pub struct Scope(Source);

#[derive(Clone)]
enum Source {
    Single(Arc<[u8]>),
    Request(ByRequest),
}

impl Scope {
    /// There is one tenant, of this name.
    #[must_use]
    pub fn single(name: impl AsRef<[u8]>) -> Self {
        Self(Source::Single(name.as_ref().into()))
    }

    /// The tenant, as the request's head says: who was authenticated before this layer, say. Where it says `None`, the
    /// request is refused (403).
    ///
    /// ```
    /// use oncekey::http::Scope;
    ///
    /// #[derive(Clone)]
    /// struct Account(String);
    ///
    /// let scope = Scope::of_request(|head| head.extensions.get::<Account>().map(|own| own.0.clone()));
    /// # drop(scope);
    /// ```
    #[must_use]
    pub fn of_request<S: Into<Vec<u8>>>(scope: impl Fn(&Parts) -> Option<S> + Send + Sync + 'static) -> Self {
        Self(Source::Request(Arc::new(move |head| scope(head).map(Into::into))))
    }

    pub(super) fn single_name(&self) -> Option<&[u8]> {
        match &self.0 {
            Source::Single(name) => Some(name),
            Source::Request(_) => None,
        }
    }

    pub(super) fn of(&self, head: &Parts) -> Result<Vec<u8>, Refusal> {
        match &self.0 {
            Source::Single(name) => Ok(name.to_vec()),
            Source::Request(scope) => scope(head).filter(|own| !own.is_empty()).ok_or(Refusal::NoScope),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Single(_) => "Scope::single",
            Source::Request(_) => "Scope::of_request",
        })
    }
}

/// Where a request names its token.
#[derive(Clone)]
pub(super) enum TokenSource {
    Header(HeaderName),
    /// Of the query, or of a form in the body.
    Parameter(Arc<str>),
    Request(ByRequest),
}

impl TokenSource {
    /// What it is called, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Header(name) => name.as_str(),
            Self::Parameter(name) => name,
            Self::Request(_) => "idempotency key",
        }
    }

    /// The token that the head of a request names.
    pub(super) fn in_head(&self, head: &Parts) -> Result<Option<Vec<u8>>, Refusal> {
        match self {
            Self::Header(name) => {
                let read = |value: &http::HeaderValue| {
                    token_in_header(value.as_bytes()).map(std::borrow::Cow::into_owned)
                };
                once(head.headers.get_all(name).iter().map(read))
            }
            Self::Parameter(name) => parameter(name, head.uri.query().unwrap_or_default().as_bytes()),
            Self::Request(token) => Ok(token(head)),
        }
    }

    /// The token that a form in the body names, where the token is looked for in parameters.
    pub(super) fn in_form(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        match self {
            Self::Parameter(name) => parameter(name, body),
            _ => Ok(None),
        }
    }

    pub(super) fn is_parameter(&self) -> bool {
        matches!(self, Self::Parameter(_))
    }
}

fn parameter(name: &str, text: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let own = form_urlencoded::parse(text).filter(|(own, _)| own == name);
    once(own.map(|(_, value)| Ok(value.into_owned().into_bytes())))
}

/// The one token of these, which may stand there twice.
fn once(tokens: impl Iterator<Item = Result<Vec<u8>, Error>>) -> Result<Option<Vec<u8>>, Refusal> {
    let mut found = None;
    for token in tokens {
        let token = token.map_err(Refusal::Token)?;
        if found.as_ref().is_some_and(|own| *own != token) {
            return Err(Refusal::TwoTokens);
        }
        found = Some(token);
    }
    Ok(found)
}
