//! Mismatches that tell which parameters differ (contract 2.6).
//!
//! Law: names only, and only of this very key. What is kept in a record is bound to the key and the store's secret
//! as its digest is (2.5), and compared as the record was digested: its version, its exclusions, its secret. A store
//! that was not told to explain makes no outline and pays for none; records that have one go on explaining.

use std::sync::Arc;

use super::asking::Ask;
use super::shared::{Comparer, Shared};
use crate::digest::{DIGEST_VERSION, Digest, Fingerprinted, Outline, Parameters};
use crate::error::{Error, Result};
use crate::record::{Record, outline_length};

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

    /// The mismatch of a request with a record.
    #[cold]
    pub(super) fn mismatch_with(&self, ask: &Ask<'_>, record: &Record<'_>, comparer: &Comparer) -> Error {
        let explain = || {
            let known = record.outline()?;
            let rules = comparer.rules.get(usize::from(record.rules()))?;
            let secret = comparer.secret(record.secret())?;
            let asked = ask.parameters.outlined(record.digest_version(), rules, &self.limits).ok()?.1?;
            known.difference(&asked.bound(secret, ask.key.as_framed()))
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
