//! Which parameters do not count: names that every retry carries anew (contract 2.2).
//!
//! Law: names are matched exactly, byte for byte. A set is known by its id, which depends on the names alone
//! (not on their order, nor on repetition), so that a record can tell the settings it was digested under. Names
//! are settings, not callers' bytes: they may be shown.

use std::fmt;
use std::sync::Arc;

use super::frame::Framer;

const RULES_DOMAIN: &[u8] = b"oncekey digest rules v1\0";

const CLOUD_API_NAMES: [&str; 9] = [
    "AccessKeyId",
    "ClientToken",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureNonce",
    "SignatureType",
    "SignatureVersion",
    "Timestamp",
];

/// Names of parameters that never enter a digest (contract 2.2): of pairs, of a query string or form, and of
/// the top-level members of a JSON object. Cloning shares the names.
///
/// ```
/// use oncekey::{DigestRules, Parameters};
///
/// let rules = DigestRules::cloud_api().with("TraceId");
/// let first = Parameters::query("Action=Run&Timestamp=1&TraceId=a").digest_under(&rules)?;
/// let retry = Parameters::query("Action=Run&Timestamp=2&TraceId=b").digest_under(&rules)?;
/// assert_eq!(first, retry);
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone)]
pub struct DigestRules {
    /// Sorted, without repetition.
    names: Arc<[Box<str>]>,
    /// Bit `min(length, 63)` for each name: most names are told apart by it alone.
    lengths: u64,
    id: u64,
}

impl DigestRules {
    /// Every parameter counts.
    #[must_use]
    pub fn none() -> Self {
        Self::excluding([""; 0])
    }

    /// The names that a cloud API's client makes anew for each retry, and the token's own: `SignatureNonce`,
    /// `Timestamp`, `Signature`, `SignatureMethod`, `SignatureVersion`, `SignatureType`, `SecurityToken`,
    /// `AccessKeyId` and `ClientToken`.
    #[must_use]
    pub fn cloud_api() -> Self {
        Self::excluding(CLOUD_API_NAMES)
    }

    /// Exactly these names do not count.
    pub fn excluding(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(|name| name.into().into_boxed_str()).collect();
        names.sort_unstable();
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        let id = id_of(&names);
        Self { names: names.into(), lengths, id }
    }

    /// These names and one more.
    #[must_use]
    pub fn with(self, name: impl Into<String>) -> Self {
        Self::excluding(self.names().map(String::from).chain([name.into()]))
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// What a record knows this set by: equal for equal sets of names, whatever their order.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether a parameter of this name does not count.
    #[inline]
    pub(super) fn excludes(&self, name: &str) -> bool {
        self.lengths & length_bit(name) != 0
            && self.names.binary_search_by(|own| own.as_ref().cmp(name)).is_ok()
    }

    /// Whether every parameter counts.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl Default for DigestRules {
    fn default() -> Self {
        Self::none()
    }
}

impl PartialEq for DigestRules {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for DigestRules {}

impl fmt::Debug for DigestRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestRules")?;
        f.debug_list().entries(self.names()).finish()
    }
}

#[inline]
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

fn id_of(names: &[Box<str>]) -> u64 {
    let mut framer = Framer::in_domain(RULES_DOMAIN);
    framer.number(names.len());
    for name in names {
        framer.framed(name.as_bytes());
    }
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = *framer.finish().as_bytes();
    u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_the_set_of_names_alone_2_2() {
        assert_eq!(
            DigestRules::excluding(["b", "a", "b"]).id(),
            DigestRules::none().with("a").with("b").id()
        );
        assert_eq!(DigestRules::excluding(["b", "a"]), DigestRules::excluding(["a", "b"]));
        assert_eq!(DigestRules::default(), DigestRules::none(), "nothing is left out unless it is asked for");
        let ids = [
            DigestRules::none().id(),
            DigestRules::excluding(["ab"]).id(),
            DigestRules::excluding(["a", "b"]).id(),
            DigestRules::excluding([""]).id(),
            DigestRules::cloud_api().id(),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(id));
        }
    }

    #[test]
    fn the_ids_of_the_presets_are_pinned_2_2() {
        assert_eq!(format!("{:016x}", DigestRules::none().id()), "76508e5f46e69cbc");
        assert_eq!(format!("{:016x}", DigestRules::cloud_api().id()), "a43e115cf1e2668a");
    }

    #[test]
    fn names_match_exactly_2_2() {
        let long = "x".repeat(200);
        let rules = DigestRules::cloud_api().with(&long).with("");
        for name in ["Timestamp", "SignatureNonce", "ClientToken", &long, ""] {
            assert!(rules.excludes(name), "{name}");
        }
        for name in ["timestamp", "Timestamp ", "Signatur", "Action", &long[1..]] {
            assert!(!rules.excludes(name), "{name}");
        }
        assert!(!DigestRules::none().excludes(""));
    }

    #[test]
    fn sets_are_equal_by_their_names_whatever_the_order_2_2() {
        assert_eq!(DigestRules::excluding(["a", "b"]), DigestRules::excluding(["b", "a", "b"]));
        assert_ne!(DigestRules::excluding(["a", "b"]), DigestRules::excluding(["a"]));
    }

    #[test]
    fn the_names_are_listed_sorted() {
        assert!(DigestRules::cloud_api().names().eq(CLOUD_API_NAMES));
        assert_eq!(format!("{:?}", DigestRules::excluding(["b", "a"])), r#"DigestRules["a", "b"]"#);
    }
}
