//! Comparing a request with what is known of its key, and telling which parameters differ (contract 2.6).
//!
//! Law: a record is compared as it was digested: its version, its exclusions, its secret (2.2, 2.4, 2.5). What is told of
//! a mismatch are names only, and only of this very key. A store that was not told to explain makes no outline and
//! pays for none; records that have one go on explaining.

use std::sync::Arc;

use crate::digest::{
    DIGEST_VERSION, Digest, DigestRules, Fingerprinted, Outline, ParameterLimits, Parameters, Secret,
};
use crate::error::{Error, Incomparable, Result};
use crate::record::{Bound, Record, outline_bytes, outline_length};
use crate::token::Key;
use crate::verdict::Comparison;

/// The parameters of a live reservation one by one, shared by all who need them.
pub(crate) type Outlined = Option<Arc<Outline<Digest>>>;

/// What a request is compared by.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) key: &'a Key,
    pub(crate) parameters: &'a Parameters<'a>,
    /// The digest under today's version and settings; a ready-made one may be of others.
    pub(crate) digest: Fingerprinted,
    /// The parameters one by one, for mismatches that explain themselves.
    pub(crate) outline: &'a Outlined,
    pub(crate) limits: &'a ParameterLimits,
}

/// The digest of a request, and its outline where the store was told to explain.
#[inline]
pub(crate) fn digest_of(
    parameters: &Parameters<'_>,
    rules: &DigestRules,
    limits: &ParameterLimits,
    explain: bool,
) -> Result<(Fingerprinted, Outlined)> {
    if explain {
        outlined(parameters, rules, limits)
    } else {
        Ok((parameters.fingerprint(DIGEST_VERSION, rules, limits)?, None))
    }
}

#[inline(never)]
fn outlined(
    parameters: &Parameters<'_>,
    rules: &DigestRules,
    limits: &ParameterLimits,
) -> Result<(Fingerprinted, Outlined)> {
    let (digest, outline) = parameters.outlined(DIGEST_VERSION, rules, limits)?;
    Ok((digest, outline.map(Arc::new)))
}

/// Bytes that an outline will take in a record, beside those of the outcome.
pub(crate) fn bytes_of(outline: &Outlined) -> u64 {
    outline.as_ref().map_or(0, |outline| outline_length(outline) as u64)
}

/// The mismatch of a request with a live reservation, or with one whose outcome is unknown.
#[cold]
pub(crate) fn mismatch_with_slot(asked: &Outlined, known: &Outline<Digest>) -> Error {
    Error::mismatch(asked.as_ref().and_then(|asked| known.difference(asked)))
}

/// What digests of records may have been made under.
pub(crate) struct Comparer {
    /// By number, from 1.
    pub(crate) secrets: Vec<Option<Secret>>,
    /// By number, from 0.
    pub(crate) rules: Vec<DigestRules>,
    pub(crate) current_rules: u16,
}

impl Comparer {
    /// Number and value of the secret that new digests are bound under.
    pub(crate) fn current_secret(&self) -> (u16, &Secret) {
        let number = u16::try_from(self.secrets.len()).expect("the identity counts secrets in 16 bits");
        let secret = self.secrets.last().and_then(Option::as_ref);
        (number, secret.expect("a store opens only with its current secret"))
    }

    /// A digest, and the parameters one by one, as they are kept: bound to their key, under the current secret
    /// (contract 2.5, 2.6).
    pub(crate) fn bind(&self, key: &Key, digest: &Digest, outline: &Outlined) -> Bound {
        let (number, secret) = self.current_secret();
        let outline = outline.as_ref().map(|own| outline_bytes(&own.bound(secret, key.as_framed())).into());
        let digest = *secret.bind(key.as_framed(), digest).as_bytes();
        Bound { digest, version: DIGEST_VERSION, rules: self.current_rules, secret: number, outline }
    }

    /// Whether a digest is bound as one would be today.
    pub(crate) fn is_bound_today(&self, bound: &Bound) -> bool {
        let Bound { version, rules, secret, .. } = *bound;
        (version, rules, usize::from(secret)) == (DIGEST_VERSION, self.current_rules, self.secrets.len())
    }

    /// Whether a record was digested as requests are digested today.
    pub(crate) fn is_current(&self, record: &Record<'_>) -> bool {
        record.digest_version() == DIGEST_VERSION && record.rules() == self.current_rules
    }

    fn secret(&self, number: u16) -> Option<&Secret> {
        self.secrets.get(usize::from(number).checked_sub(1)?)?.as_ref()
    }

    /// Compares as the record was digested: its version, its settings, its secret (contract 2.2, 2.4, 2.5).
    pub(crate) fn compare(&self, asked: &Question<'_>, record: &Record<'_>) -> Result<Comparison> {
        let Some(rules) = self.rules.get(usize::from(record.rules())) else {
            return Ok(Comparison::Incomparable(Incomparable::Rules));
        };
        let Some(secret) = self.secret(record.secret()) else {
            return Ok(Comparison::Incomparable(Incomparable::Secret { number: record.secret() }));
        };
        let digest = if self.is_current(record) {
            asked.digest
        } else {
            asked.parameters.fingerprint(record.digest_version(), rules, asked.limits)?
        };
        let digest = match digest {
            Fingerprinted::Digest(digest) => digest,
            Fingerprinted::Incomparable(why) => return Ok(Comparison::Incomparable(why)),
        };
        // `blake3::Hash` compares in constant time.
        let equal = secret.bind(asked.key.as_framed(), &digest) == blake3::Hash::from_bytes(record.digest());
        Ok(if equal { Comparison::Equal } else { Comparison::Different })
    }

    /// The mismatch of a request with a record.
    #[cold]
    pub(crate) fn mismatch_with(&self, asked: &Question<'_>, record: &Record<'_>) -> Error {
        let explain = || {
            let known = record.outline()?;
            let rules = self.rules.get(usize::from(record.rules()))?;
            let secret = self.secret(record.secret())?;
            let (version, framed_key) = (record.digest_version(), asked.key.as_framed());
            let own = match asked.outline {
                Some(own) if self.is_current(record) => own.bound(secret, framed_key),
                _ => {
                    asked.parameters.outlined(version, rules, asked.limits).ok()?.1?.bound(secret, framed_key)
                }
            };
            known.difference(&own)
        };
        Error::mismatch(explain())
    }
}
