//! Comparing a request with what is known of its key, and telling which parameters differ (contract 2.6).
//!
//! Law: a record is compared as it was digested: its version, its exclusions, its secret (2.2, 2.4, 2.5). What is told of
//! a mismatch are names only, and only of this very key. A store that was not told to explain makes no outline and
//! pays for none; records that have one go on explaining.

use std::sync::Arc;

use super::asking::Ask;
use super::shared::{Comparer, Shared};
use crate::digest::{DIGEST_VERSION, Digest, Fingerprinted, Outline, Parameters};
use crate::error::{Error, Incomparable, Result};
use crate::record::{Record, outline_length};
use crate::verdict::Comparison;

/// The parameters of a live reservation one by one, shared by all who need them.
pub(super) type Outlined = Option<Arc<Outline<Digest>>>;

impl Shared {
    /// The digest of a request, and its outline where the store was told to explain.
    #[inline]
    pub(super) fn digest_of(&self, parameters: &Parameters<'_>) -> Result<(Fingerprinted, Outlined)> {
        if self.options.explain_mismatches { self.outlined(parameters) } else { self.plain(parameters) }
    }

    #[inline]
    fn plain(&self, parameters: &Parameters<'_>) -> Result<(Fingerprinted, Outlined)> {
        Ok((parameters.fingerprint(DIGEST_VERSION, &self.options.rules, &self.limits)?, None))
    }

    #[inline(never)]
    fn outlined(&self, parameters: &Parameters<'_>) -> Result<(Fingerprinted, Outlined)> {
        let (digest, outline) = parameters.outlined(DIGEST_VERSION, &self.options.rules, &self.limits)?;
        Ok((digest, outline.map(Arc::new)))
    }

    /// Compares as the record was digested: its version, its settings, its secret (contract 2.2, 2.4, 2.5).
    pub(super) fn compare(
        &self,
        ask: &Ask<'_>,
        record: &Record<'_>,
        comparer: &Comparer,
    ) -> Result<Comparison> {
        let Some(rules) = comparer.rules.get(usize::from(record.rules())) else {
            return Ok(Comparison::Incomparable(Incomparable::Rules));
        };
        let Some(secret) = comparer.secret(record.secret()) else {
            return Ok(Comparison::Incomparable(Incomparable::Secret { number: record.secret() }));
        };
        let digest = if comparer.is_current(record) {
            ask.digest
        } else {
            ask.parameters.fingerprint(record.digest_version(), rules, &self.limits)?
        };
        let digest = match digest {
            Fingerprinted::Digest(digest) => digest,
            Fingerprinted::Incomparable(why) => return Ok(Comparison::Incomparable(why)),
        };
        // `blake3::Hash` compares in constant time.
        let equal = secret.bind(ask.key.as_framed(), &digest) == blake3::Hash::from_bytes(record.digest());
        Ok(if equal { Comparison::Equal } else { Comparison::Different })
    }

    /// The mismatch of a request with a record.
    #[cold]
    pub(super) fn mismatch_with(&self, ask: &Ask<'_>, record: &Record<'_>, comparer: &Comparer) -> Error {
        let explain = || {
            let known = record.outline()?;
            let rules = comparer.rules.get(usize::from(record.rules()))?;
            let secret = comparer.secret(record.secret())?;
            let (version, framed_key) = (record.digest_version(), ask.key.as_framed());
            let asked = match &ask.outline {
                Some(own) if comparer.is_current(record) => own.bound(secret, framed_key),
                _ => ask.parameters.outlined(version, rules, &self.limits).ok()?.1?.bound(secret, framed_key),
            };
            known.difference(&asked)
        };
        Error::mismatch(explain())
    }
}

/// The mismatch of a request with a live reservation, or with one whose outcome is unknown.
#[cold]
pub(super) fn mismatch_with_slot(ask: &Ask<'_>, known: &Outline<Digest>) -> Error {
    Error::mismatch(ask.outline.as_ref().and_then(|asked| known.difference(asked)))
}

/// Bytes that an outline will take in a record, beside those of the outcome.
pub(super) fn bytes_of(outline: &Outlined) -> u64 {
    outline.as_ref().map_or(0, |outline| outline_length(outline) as u64)
}
