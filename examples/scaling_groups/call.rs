//! One request, read: who calls which action with which parameters.
//!
//! Law: everything a client sends is judged here, once. What it sends twice or in two ways that disagree is
//! refused and never chosen between, since two readers of such a request would choose differently.
//!
//! Alibaba Cloud's SDKs sign in two styles, and both mean the same request:
//!
//! | | query style (older SDKs) | header style, `ACS3-HMAC-SHA256` (newer SDKs) |
//! | --- | --- | --- |
//! | account | `AccessKeyId` | `Credential=` in `Authorization` |
//! | action, version | `Action`, `Version` | `x-acs-action`, `x-acs-version` |
//! | nonce | `SignatureNonce` | `x-acs-signature-nonce` |
//! | parameters | query string, form body | query string, form body |
//!
//! Action and version enter the parameters in either style, so that a retry in the other style is still a retry.

use std::borrow::Cow;

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;

use crate::answer::Refusal;

/// The parameter that holds the token.
pub(crate) const CLIENT_TOKEN: &str = "ClientToken";
/// Most characters of an access key id: it has to fit into a scope.
const ACCOUNT_CHARACTERS_MAX: usize = 128;

/// A request as the API sees it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) nonce: Option<String>,
    /// Every parameter by name and value, as it was sent; action and version among them.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Call {
    /// Reads a request, head and body.
    ///
    /// # Errors
    /// What is wrong with it, to be answered.
    pub(crate) fn read(head: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        if head.method != Method::GET && head.method != Method::POST {
            return Err(Refusal::new(400, "UnsupportedHTTPMethod", "The HTTP method must be GET or POST."));
        }
        let mut parameters = pairs(head.uri.query().unwrap_or_default().as_bytes());
        if !body.is_empty() {
            if !is_form(head) {
                let message = "The body must be of type application/x-www-form-urlencoded.";
                return Err(Refusal::new(400, "UnsupportedContentType", message));
            }
            parameters.extend(pairs(body));
        }
        refuse_garbled(&parameters)?;
        let mut call = Self { account: String::new(), action: String::new(), nonce: None, parameters };

        let credential = header(head, AUTHORIZATION.as_str())?.and_then(credential);
        let account = call.agreed("AccessKeyId", credential)?.ok_or_else(|| missing("AccessKeyId"))?;
        let well_formed = |id: &str| (1..=ACCOUNT_CHARACTERS_MAX).contains(&id.len()) && id.is_ascii();
        if !well_formed(&account) {
            return Err(Refusal::new(404, "InvalidAccessKeyId.NotFound", "The access key is not found."));
        }
        call.account = account;

        call.nonce = call.agreed("SignatureNonce", header(head, "x-acs-signature-nonce")?)?;
        call.action =
            call.adopt("Action", header(head, "x-acs-action")?)?.ok_or_else(|| missing("Action"))?;
        call.adopt("Version", header(head, "x-acs-version")?)?;
        Ok(call)
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// It is given more than once.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values =
            self.parameters.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(invalid(name, "it is given more than once"));
        }
        Ok(value)
    }

    /// The value of a parameter that a header may give instead. Where both do, they have to agree.
    fn agreed(&self, name: &str, header: Option<&str>) -> Result<Option<String>, Refusal> {
        match (self.parameter(name)?, header) {
            (Some(parameter), Some(header)) if parameter != header => {
                Err(invalid(name, "the parameter and the header disagree"))
            }
            (parameter, header) => Ok(parameter.or(header).map(str::to_owned)),
        }
    }

    /// The same, and what only a header gave becomes a parameter.
    fn adopt(&mut self, name: &str, header: Option<&str>) -> Result<Option<String>, Refusal> {
        let value = self.agreed(name, header)?;
        if let (Some(value), None) = (&value, self.parameter(name)?) {
            self.parameters.push((name.to_owned(), value.clone()));
        }
        Ok(value)
    }
}

/// The refusal of a parameter that has to be there.
pub(crate) fn missing(name: &str) -> Refusal {
    Refusal::new(
        400,
        "MissingParameter",
        format!(
            "The input parameter \"{name}\" that is mandatory for processing this request is not supplied."
        ),
    )
}

/// The refusal of a parameter's value.
pub(crate) fn invalid(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        400,
        "InvalidParameter",
        format!("The specified value of parameter \"{name}\" is not valid: {why}."),
    )
}

/// Names and values of a query string or form.
fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// Bytes that are not UTF-8 were decoded as U+FFFD, all alike. They are refused, so that no two requests that
/// differ are taken for one. (In a token the store refuses them itself, with everything else beyond ASCII.)
fn refuse_garbled(parameters: &[(String, String)]) -> Result<(), Refusal> {
    let garbled = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    if parameters.iter().any(|(name, value)| garbled(name) || (name != CLIENT_TOKEN && garbled(value))) {
        return Err(Refusal::new(400, "InvalidParameter", "The parameters must be UTF-8."));
    }
    Ok(())
}

fn is_form(head: &Parts) -> bool {
    let kind = head
        .headers
        .get(CONTENT_TYPE)
        .map_or(Cow::Borrowed(""), |kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A header that may be given once, in visible ASCII.
fn header<'a>(head: &'a Parts, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str()).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        (Ok(_), Some(_)) => Err(invalid(name, "the header is given more than once")),
        (Err(_), _) => Err(invalid(name, "the header is not ASCII")),
    }
}

/// `AKID` of `ACS3-HMAC-SHA256 Credential=AKID,SignedHeaders=…,Signature=…`.
fn credential(authorization: &str) -> Option<&str> {
    let (_scheme, fields) = authorization.trim().split_once(' ')?;
    fields.split(',').find_map(|field| field.trim().strip_prefix("Credential="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn read(request: hyper::http::request::Builder, body: &[u8]) -> Result<Call, Refusal> {
        Call::read(&request.body(()).unwrap().into_parts().0, body)
    }

    fn query_style() -> hyper::http::request::Builder {
        let uri =
            "/?Action=CreateScalingGroup&Version=2014-08-28&AccessKeyId=AK&SignatureNonce=n-1&MinSize=1";
        Request::post(uri).header("x-acs-action", "CreateScalingGroup").header("x-acs-version", "2014-08-28")
    }

    fn header_style() -> hyper::http::request::Builder {
        Request::post("/?MinSize=1")
            .header("x-acs-action", "CreateScalingGroup")
            .header("x-acs-version", "2014-08-28")
            .header("x-acs-signature-nonce", "n-1")
            .header("authorization", "ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=host,Signature=00")
    }

    #[test]
    fn both_signing_styles_read_as_the_same_call() {
        for request in [query_style(), header_style()] {
            let call = read(request, b"").unwrap();
            assert_eq!((call.account.as_str(), call.action.as_str()), ("AK", "CreateScalingGroup"));
            assert_eq!(call.nonce.as_deref(), Some("n-1"));
            for (name, value) in
                [("Action", "CreateScalingGroup"), ("Version", "2014-08-28"), ("MinSize", "1")]
            {
                assert_eq!(call.parameter(name).unwrap(), Some(value));
            }
        }
    }

    #[test]
    fn a_form_body_adds_parameters_and_another_body_is_refused() {
        let form = query_style().header("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8");
        assert_eq!(read(form, b"Name=a+b%C3%A9").unwrap().parameter("Name").unwrap(), Some("a bé"));
        assert!(read(query_style().header("content-type", "application/json"), b"{}").is_err());
        assert!(read(query_style(), b"{}").is_err());
        assert!(read(query_style().header("content-type", "application/json"), b"").is_ok());
    }

    #[test]
    fn what_is_said_twice_or_in_two_ways_that_disagree_is_refused() {
        let codes = |request| read(request, b"").unwrap_err().code;
        assert_eq!(codes(query_style().header("x-acs-action", "DescribeScalingGroups")), "InvalidParameter");
        assert_eq!(
            codes(query_style().header("authorization", "ACS3 Credential=Other,Signature=0")),
            "InvalidParameter"
        );
        assert_eq!(codes(query_style().header("x-acs-signature-nonce", "n-2")), "InvalidParameter");
        assert_eq!(codes(Request::get("/?Action=A&Action=A&AccessKeyId=AK")), "InvalidParameter");
    }

    #[test]
    fn a_call_without_account_or_action_is_refused_whatever_else_it_holds() {
        let codes = |uri: &str| read(Request::get(uri), b"").unwrap_err().code;
        assert_eq!(codes("/"), "MissingParameter");
        assert_eq!(codes("/?Action=A"), "MissingParameter");
        assert_eq!(codes("/?AccessKeyId=AK"), "MissingParameter");
        assert_eq!(codes("/?AccessKeyId=&Action=A"), "InvalidAccessKeyId.NotFound");
        assert_eq!(
            codes(&format!("/?AccessKeyId={}&Action=A", "k".repeat(129))),
            "InvalidAccessKeyId.NotFound"
        );
        assert_eq!(codes("/?AccessKeyId=%C3%A9&Action=A"), "InvalidAccessKeyId.NotFound");
        assert_eq!(codes("/?AccessKeyId=AK&Action=A&MinSize=%FF"), "InvalidParameter");
        assert_eq!(
            read(Request::put("/?AccessKeyId=AK&Action=A"), b"").unwrap_err().code,
            "UnsupportedHTTPMethod"
        );
        let bytes = Request::get("/").header("authorization", &b"Credential=\xff"[..]);
        assert_eq!(read(bytes, b"").unwrap_err().code, "InvalidParameter");
    }
}
