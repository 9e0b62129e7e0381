//! What an operation was asked, described without copying it.
//!
//! Law: making a description checks nothing and can't fail (but for [`Parameters::of`], which runs the caller's
//! `Serialize`). Digesting checks everything, in this order: count and bytes against their limits, before
//! anything is allocated in proportion (contract 8.2), then version and rules, then the form itself (2.3).
//! Limits count what was given, excluded names included.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::outline::Outline;
use super::value::ParameterValue;
use super::{DIGEST_VERSION, Digest, DigestRules, Fingerprinted, query, v1};
use crate::error::{Error, ErrorKind, Incomparable, Limit, ParameterFault, Result};

/// Most parameters that any setting can allow in one request.
pub const PARAMETER_COUNT_MAX: u64 = 1 << 20;
/// Most bytes that any setting can allow in the parameters of one request: 256 MiB.
pub const PARAMETER_BYTES_MAX: u64 = 1 << 28;

/// The parameters of one operation (contract 2.3).
///
/// Two requests are equal when their parameters mean the same, not when they are spelled the same: the order of
/// pairs, percent escapes, JSON's white space, `1.0` for `1` make no difference.
///
/// ```
/// use oncekey::{DigestRules, Parameters};
///
/// let rules = DigestRules::none();
/// let pairs = Parameters::pairs([("MinSize", "1"), ("Name", "web server")]);
/// let query = Parameters::query("Name=web+server&MinSize=%31");
/// assert_eq!(pairs.digest_under(&rules)?, query.digest_under(&rules)?);
///
/// let json = Parameters::json(br#"{"MinSize": 1.0, "Name": "web server"}"#);
/// let same = Parameters::json(br#"{"Name":"web server","MinSize":1}"#);
/// assert_eq!(json.digest_under(&rules)?, same.digest_under(&rules)?);
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct Parameters<'a> {
    form: Form<'a>,
}

#[derive(Clone)]
enum Form<'a> {
    Ready(Digest),
    Given(Source<'a>),
}

/// One (name, value).
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// One (name, what stands under it).
pub(super) type Part<'a> = (Cow<'a, str>, Source<'a>);

/// What a digest is made from.
#[derive(Clone)]
pub(super) enum Source<'a> {
    Pairs(Vec<Pair<'a>>),
    Query(Cow<'a, [u8]>),
    Bytes(Cow<'a, [u8]>),
    Json(Cow<'a, [u8]>),
    Value(Cow<'a, [u8]>),
    Parts(Vec<Part<'a>>),
}

/// Most that one request may bring, settings of a store (contract 8.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParameterLimits {
    /// Pairs, or members of a top-level JSON object.
    pub(crate) count_max: u64,
    /// Names and values together, or the text.
    pub(crate) bytes_max: u64,
}

impl ParameterLimits {
    /// What no setting can exceed.
    pub(crate) const ABSOLUTE: Self = Self { count_max: PARAMETER_COUNT_MAX, bytes_max: PARAMETER_BYTES_MAX };

    fn bounded(self) -> Self {
        let Self { count_max, bytes_max } = Self::ABSOLUTE;
        Self { count_max: self.count_max.min(count_max), bytes_max: self.bytes_max.min(bytes_max) }
    }
}

impl<'a> Parameters<'a> {
    /// No parameters: the same as an empty list of pairs.
    #[must_use]
    pub fn none() -> Self {
        Source::Pairs(Vec::new()).into()
    }

    /// Names and values. Order between different names never matters, order among equal ones does (contract 2.1).
    pub fn pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Cow<'a, str>>,
        V: ParameterValue<'a>,
    {
        Source::Pairs(pairs.into_iter().map(|(name, value)| (name.into(), value.into_value())).collect())
            .into()
    }

    /// A query string, without its `?`. The same kind as [`Parameters::form`] and [`Parameters::pairs`].
    #[must_use]
    pub fn query(text: &'a str) -> Self {
        Self::form(text.as_bytes())
    }

    /// A body of `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte, a name without `=` has the
    /// empty value, empty pieces between `&` are skipped.
    #[must_use]
    pub fn form(body: &'a [u8]) -> Self {
        Source::Query(Cow::Borrowed(body)).into()
    }

    /// Bytes that mean nothing but themselves.
    #[must_use]
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Source::Bytes(Cow::Borrowed(bytes)).into()
    }

    /// A JSON text (RFC 8259), compared by what it means: canonical as in RFC 8785, numbers by their exact decimal
    /// value (contract 2.3).
    #[must_use]
    pub fn json(text: &'a [u8]) -> Self {
        Source::Json(Cow::Borrowed(text)).into()
    }

    /// Parts of several kinds, each under a name: a request's path as bytes, its query, its body as JSON. Order between
    /// different names never matters, order among equal ones does. Excluded names are left out among the parts, and in each
    /// of them; limits count what all have together, but for the members of JSON objects, which are counted for each part. A
    /// kind of its own.
    ///
    /// A mismatch names a parameter of a part by both, `body.MinSize` (contract 2.6). A ready-made digest as a part counts as
    /// its bytes.
    ///
    /// ```
    /// use oncekey::{DigestRules, Parameters};
    ///
    /// let rules = DigestRules::none();
    /// let request = |body| {
    ///     Parameters::parts([
    ///         ("path", Parameters::bytes(b"/groups")),
    ///         ("query", Parameters::query("zone=z-1")),
    ///         ("body", Parameters::json(body)),
    ///     ])
    /// };
    /// let first = request(br#"{"MinSize": 1, "Name": "web"}"#);
    /// let retry = request(br#"{"Name": "web", "MinSize": 1.0}"#);
    /// assert_eq!(first.digest_under(&rules)?, retry.digest_under(&rules)?);
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    #[must_use]
    pub fn parts<N: Into<Cow<'a, str>>>(parts: impl IntoIterator<Item = (N, Self)>) -> Self {
        let source = |own: Self| match own.form {
            Form::Ready(digest) => Source::Bytes(Cow::Owned(digest.to_bytes().to_vec())),
            Form::Given(source) => source,
        };
        Source::Parts(parts.into_iter().map(|(name, own)| (name.into(), source(own))).collect()).into()
    }

    /// A digest that was made before, by [`Parameters::digest_under`] with the store's exclusions. Where it can't
    /// be compared with the record's, the answer is [`ErrorKind::CannotCompare`] (contract 2.4).
    #[must_use]
    pub fn digest(digest: Digest) -> Self {
        Self { form: Form::Ready(digest) }
    }

    /// The digest of these parameters by the current version, within [`PARAMETER_COUNT_MAX`] and
    /// [`PARAMETER_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`], [`ErrorKind::InvalidParameters`] where the form is broken, and
    /// [`ErrorKind::CannotCompare`] for a ready-made digest of another version or of other rules.
    pub fn digest_under(&self, rules: &DigestRules) -> Result<Digest> {
        match self.fingerprint(DIGEST_VERSION, rules, &ParameterLimits::ABSOLUTE)? {
            Fingerprinted::Digest(digest) => Ok(digest),
            Fingerprinted::Incomparable(why) => Err(Error::from(ErrorKind::CannotCompare(why))),
        }
    }

    /// The digest as a record of this version and these rules asks for it (contract 2.4).
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] and [`ErrorKind::InvalidParameters`].
    pub(crate) fn fingerprint(
        &self,
        version: u16,
        rules: &DigestRules,
        limits: &ParameterLimits,
    ) -> Result<Fingerprinted> {
        Ok(match self.source(version, rules, limits)? {
            Ok((source, count_max)) => {
                let hash = v1::hash(source, rules, count_max)?;
                Fingerprinted::Digest(Digest { version, rules: rules.id(), hash })
            }
            Err(other) => other,
        })
    }

    /// [`Parameters::fingerprint`], and the outline of parameters that have names (contract 2.6).
    ///
    /// # Errors
    /// As [`Parameters::fingerprint`].
    pub(crate) fn outlined(
        &self,
        version: u16,
        rules: &DigestRules,
        limits: &ParameterLimits,
    ) -> Result<(Fingerprinted, Option<Outline<Digest>>)> {
        let digest = |hash| Digest { version, rules: rules.id(), hash };
        Ok(match self.source(version, rules, limits)? {
            Ok((source, count_max)) => {
                let (hash, outline) = v1::outlined(source, rules, count_max)?;
                (Fingerprinted::Digest(digest(hash)), outline.map(|own| own.map(|hash| digest(*hash))))
            }
            Err(other) => (other, None),
        })
    }

    /// What is to be digested, and the most members that an object may have; or what comes without digesting.
    #[inline]
    fn source(
        &self,
        version: u16,
        rules: &DigestRules,
        limits: &ParameterLimits,
    ) -> Result<std::result::Result<(&Source<'a>, u64), Fingerprinted>> {
        let source = match &self.form {
            Form::Ready(digest) => return Ok(Err(digest.compared_under(version, rules.id()))),
            Form::Given(source) => source,
        };
        let limits = limits.bounded();
        source.check(limits)?;
        Ok(match version {
            1 => Ok((source, limits.count_max)),
            _ => Err(Fingerprinted::Incomparable(Incomparable::Version {
                record: version,
                given: DIGEST_VERSION,
            })),
        })
    }

    /// The same parameters, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Parameters<'static> {
        match self.form {
            Form::Ready(digest) => Parameters::digest(digest),
            Form::Given(source) => source.into_owned().into(),
        }
    }
}

impl Parameters<'static> {
    /// Any value that serde can write as JSON. A kind of its own: it equals no [`Parameters::json`].
    ///
    /// Maps may be in any order. Floats are as `serde_json` writes them: NaN and the infinities are `null`.
    ///
    /// ```
    /// use oncekey::{DigestRules, Parameters};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Transfer<'a> {
    ///     to: &'a str,
    ///     cents: u64,
    /// }
    ///
    /// let parameters = Parameters::of(&Transfer { to: "account-2", cents: 12_50 })?;
    /// parameters.digest_under(&DigestRules::none())?;
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ParameterFault::Serialize`] where the value's `Serialize` fails, or JSON can't hold it: a map whose keys
    /// are neither strings nor numbers.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let text = serde_json::to_vec(value)
            .map_err(|_| Error::from(ErrorKind::InvalidParameters(ParameterFault::Serialize)))?;
        Ok(Source::Value(Cow::Owned(text)).into())
    }
}

impl<'a> From<Source<'a>> for Parameters<'a> {
    fn from(source: Source<'a>) -> Self {
        Self { form: Form::Given(source) }
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, text) = match &self.form {
            Form::Ready(digest) => return write!(f, "Parameters({digest:?})"),
            Form::Given(Source::Pairs(pairs)) => {
                return write!(f, "Parameters(pairs: {}, {} bytes)", pairs.len(), bytes_of(pairs));
            }
            Form::Given(source @ Source::Parts(parts)) => {
                return write!(f, "Parameters(parts: {}, {} bytes)", parts.len(), source.measure().1);
            }
            Form::Given(Source::Query(text)) => ("query", text),
            Form::Given(Source::Bytes(text)) => ("bytes", text),
            Form::Given(Source::Json(text)) => ("json", text),
            Form::Given(Source::Value(text)) => ("value", text),
        };
        write!(f, "Parameters({form}: {} bytes)", text.len())
    }
}

impl Source<'_> {
    /// Whatever can be measured without reading the form. Members of a JSON object are counted as they are read.
    fn check(&self, limits: ParameterLimits) -> Result<()> {
        let (count, bytes) = self.measure();
        within(Limit::ParameterBytes, bytes, limits.bytes_max)?;
        within(Limit::ParameterCount, count + self.count_read(), limits.count_max)
    }

    /// Pairs and parts, and the bytes of all there is.
    fn measure(&self) -> (u64, u64) {
        match self {
            Self::Pairs(pairs) => (pairs.len() as u64, bytes_of(pairs)),
            Self::Query(text) | Self::Bytes(text) | Self::Json(text) | Self::Value(text) => {
                (0, text.len() as u64)
            }
            Self::Parts(parts) => parts.iter().fold((0, 0), |(count, bytes), (name, own)| {
                let (more, own) = own.measure();
                (count + more + 1, bytes + name.len() as u64 + own)
            }),
        }
    }

    /// Pairs that stand in a text, which is read for that: not before its length was found to be within its limit.
    fn count_read(&self) -> u64 {
        match self {
            Self::Query(text) => query::count(text) as u64,
            Self::Parts(parts) => parts.iter().map(|(_, own)| own.count_read()).sum(),
            _ => 0,
        }
    }

    fn into_owned(self) -> Source<'static> {
        let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        let name = |name: Cow<'_, str>| Cow::Owned(name.into_owned());
        match self {
            Self::Pairs(pairs) => {
                Source::Pairs(pairs.into_iter().map(|(text, value)| (name(text), own(value))).collect())
            }
            Self::Query(text) => Source::Query(own(text)),
            Self::Bytes(bytes) => Source::Bytes(own(bytes)),
            Self::Json(text) => Source::Json(own(text)),
            Self::Value(text) => Source::Value(own(text)),
            Self::Parts(parts) => {
                Source::Parts(parts.into_iter().map(|(text, part)| (name(text), part.into_owned())).collect())
            }
        }
    }
}

/// Refuses what is over its limit.
pub(super) fn within(what: Limit, measured: u64, limit: u64) -> Result<()> {
    if measured <= limit { Ok(()) } else { Err(ErrorKind::TooLarge { what, measured, limit }.into()) }
}

fn bytes_of(pairs: &[Pair<'_>]) -> u64 {
    pairs.iter().fold(0, |sum, (name, value)| sum.saturating_add(name.len() as u64 + value.len() as u64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const LIMITS: ParameterLimits = ParameterLimits { count_max: 2, bytes_max: 16 };

    fn refused(parameters: &Parameters<'_>) -> ErrorKind {
        parameters.fingerprint(DIGEST_VERSION, &DigestRules::none(), &LIMITS).unwrap_err().kind().clone()
    }

    fn fits(parameters: &Parameters<'_>) -> bool {
        parameters.fingerprint(DIGEST_VERSION, &DigestRules::none(), &LIMITS).is_ok()
    }

    #[test]
    fn too_many_parameters_are_refused_with_count_and_limit_8_1() {
        let over = |measured| ErrorKind::TooLarge { what: Limit::ParameterCount, measured, limit: 2 };
        assert_eq!(refused(&Parameters::pairs([("a", ""), ("b", ""), ("c", "")])), over(3));
        assert_eq!(refused(&Parameters::query("&a&b&&c&d")), over(4));
        assert_eq!(refused(&Parameters::json(br#"{"a":1,"b":1,"c"#)), over(3));
        assert!(fits(&Parameters::pairs([("a", ""), ("b", "")])));
        assert!(fits(&Parameters::query("&a&b&&")));
        assert!(fits(&Parameters::json(br#"{"a":1,"b":2}"#)));
        assert!(fits(&Parameters::json(b"[[1,2,3,4,5]]")), "only members of the top-level object count");
    }

    #[test]
    fn too_many_bytes_are_refused_with_size_and_limit_8_1() {
        let over = ErrorKind::TooLarge { what: Limit::ParameterBytes, measured: 17, limit: 16 };
        let text = "12345678901234567";
        assert_eq!(refused(&Parameters::pairs([(&text[..1], &text[1..])])), over);
        assert_eq!(refused(&Parameters::query(text)), over);
        assert_eq!(refused(&Parameters::bytes(text.as_bytes())), over);
        assert_eq!(refused(&Parameters::json(text.as_bytes())), over);
        assert_eq!(refused(&Parameters::of(&text[..15]).unwrap()), over);
        assert!(fits(&Parameters::bytes(&text.as_bytes()[1..])));
        assert!(fits(&Parameters::of(&text[..14]).unwrap()));
    }

    #[test]
    fn limits_are_asked_before_the_form_8_2() {
        assert!(matches!(refused(&Parameters::query("%%%%%%%%%%%%%%%%%")), ErrorKind::TooLarge { .. }));
        assert!(matches!(refused(&Parameters::json(b"{{{{{{{{{{{{{{{{{")), ErrorKind::TooLarge { .. }));
    }

    #[test]
    fn no_setting_exceeds_the_absolute_limits_8_1() {
        let limits = ParameterLimits { count_max: u64::MAX, bytes_max: u64::MAX };
        let many = vec![("", ""); usize::try_from(PARAMETER_COUNT_MAX).unwrap() + 1];
        let error = Parameters::pairs(many).fingerprint(1, &DigestRules::none(), &limits).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: PARAMETER_COUNT_MAX, .. }));
    }

    #[test]
    fn owned_parameters_have_the_digest_of_the_borrowed_ones() {
        let rules = DigestRules::none();
        let digest = Parameters::bytes(b"x").digest_under(&rules).unwrap();
        for parameters in [
            Parameters::pairs([("a", "1")]),
            Parameters::query("a=1"),
            Parameters::bytes(b"[1]"),
            Parameters::json(b"[1]"),
            Parameters::of(&[1]).unwrap(),
            Parameters::digest(digest),
        ] {
            let owned: Parameters<'static> = parameters.clone().into_owned();
            assert_eq!(owned.digest_under(&rules).unwrap(), parameters.digest_under(&rules).unwrap());
            assert_eq!(format!("{owned:?}"), format!("{parameters:?}"));
        }
    }

    #[test]
    fn a_value_that_json_can_not_hold_is_refused_2_3() {
        let error = Parameters::of(&BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidParameters(ParameterFault::Serialize));
        let rules = DigestRules::none();
        let nan = Parameters::of(&f64::NAN).unwrap().digest_under(&rules);
        assert_eq!(
            nan,
            Parameters::of(&()).unwrap().digest_under(&rules),
            "NaN is null, as serde_json has it"
        );
    }
}
