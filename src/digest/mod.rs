//! Fingerprints of what an operation was asked (contract 2).
//!
//! Law: equal meaning gives equal digests, and other meaning gives other digests. A digest tells the version
//! and the exclusions that it was made under, since only digests of one version and one set of exclusions can
//! be compared (2.2, 2.4). [`Parameters`] is a borrowed description; all that can be wrong with it is found
//! when it is digested, limits first (3.1, 8.2). Nothing here shows a caller's byte (10.2), and no bytes make
//! it panic, loop or allocate more than a constant times their number (10.4).
//!
//! # Version 1, so that another implementation can follow it
//! A digest is unkeyed BLAKE3-256 over a *domain* and what follows it. A *framed* byte string is its length as
//! u64, little-endian, then its bytes. No domain is the beginning of another.
//!
//! | kind | made by | domain (ends in one zero byte) | what follows |
//! | --- | --- | --- | --- |
//! | pairs | `none`, `pairs`, `query`, `form` | `oncekey digest v1 pairs` | number of pairs as u64 LE, then for each pair name framed, value framed |
//! | bytes | `bytes` | `oncekey digest v1 bytes` | the bytes |
//! | json | `json` | `oncekey digest v1 json` | the canonical text |
//! | value | `of` | `oncekey digest v1 value` | the canonical text of the value as `serde_json` writes it |
//! | parts | `parts` | `oncekey digest v1 parts` | number of parts as u64 LE, then for each part name framed, and the 32 bytes of the part's own digest |
//!
//! *Parts*: those with an excluded name are left out, the rest is sorted by the bytes of the names; parts of one name keep
//! their order. Exclusions hold within each part too.
//!
//! *Pairs*: those with an excluded name are left out, the rest is sorted by the bytes of the names; pairs of one
//! name keep their order. A query string or form is cut at `&`, empty pieces are skipped, each piece is cut at
//! its first `=` (without one the value is empty), then `+` becomes a space and `%XX` its byte in both halves.
//!
//! *Canonical text*: RFC 8785, after the top-level members with an excluded name were left out. Members are
//! sorted by the UTF-16 code units of their names, strings escape only `"`, `\` and what is below U+0020 (`\b`,
//! `\t`, `\n`, `\f`, `\r`, otherwise `\u00xx` in lower case), no white space. The one difference: a number enters by its
//! exact decimal value, its significant digits laid out as ECMAScript's `Number::toString` lays out those of a
//! double. For every number whose double has a shortest text of the same value that *is* RFC 8785's text;
//! others (9007199254740993, 1e400) stay apart instead of being rounded together.
//!
//! *Rules*: the id of a set of exclusions is the first 8 bytes, as u64 LE, of BLAKE3 over
//! `oncekey digest rules v1` and a zero byte, the number of names as u64 LE, and the names, sorted, each framed.
//!
//! *Outlines* (contract 2.6): of parameters that have names, each name with a digest of its own, by version 1
//! unkeyed BLAKE3-256 over a domain (`oncekey digest v1 pair` or `oncekey digest v1 member`, and a zero byte), the name
//! framed, and its values framed, in their order; the value of a member of a top-level JSON object is its canonical
//! text. `bytes`, `of` and ready-made digests have no outline. That of parts has the names of their outlines, each behind
//! its part's name and a full stop, with what stands there hashed once more (`oncekey digest v1 part`); a part without an
//! outline stands under its own name.
//!
//! Deliberately absent: the token and the scope (they are the key, bound in by [`Secret`]), Unicode
//! normalisation (two spellings are two values), and defaults (a parameter left out is not one given empty).

mod frame;
mod json;
mod outline;
mod parameters;
#[cfg(test)]
mod properties;
mod query;
mod rules;
mod secret;
mod v1;
mod value;

use std::fmt;

#[cfg(any(test, fuzzing))]
pub(crate) use json::canonical;
pub(crate) use outline::{NAME_BYTES_MAX, NAMES_MAX, Outline};
pub(crate) use parameters::ParameterLimits;
pub use parameters::{PARAMETER_BYTES_MAX, PARAMETER_COUNT_MAX, Parameters};
pub use rules::DigestRules;
pub use secret::Secret;
pub use value::ParameterValue;

use crate::error::Incomparable;

/// The version that new digests are made under (contract 2.4).
pub const DIGEST_VERSION: u16 = 1;

/// The fingerprint of one operation's parameters: 32 bytes, with the version and the exclusions that they were
/// made under (contract 2.1, 2.2, 2.4).
///
/// It is no secret by itself, but whoever holds it can test guesses of the parameters: `Debug` hides it, and
/// what a store keeps is bound to the store's secret (contract 2.5). Comparing takes the same time wherever
/// two digests differ.
///
/// ```
/// use oncekey::{DIGEST_VERSION, Digest, DigestRules, Parameters};
///
/// let digest = Parameters::query("a=1&b=2").digest_under(&DigestRules::none())?;
/// assert_eq!(digest, Parameters::pairs([("b", "2"), ("a", "1")]).digest_under(&DigestRules::none())?);
/// assert_eq!(digest.version(), DIGEST_VERSION);
/// assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    version: u16,
    rules: u64,
    /// Its `PartialEq` is the constant-time one (contract 2.5).
    hash: blake3::Hash,
}

impl Digest {
    /// Bytes of [`Digest::to_bytes`].
    pub const BYTES: usize = 2 + 8 + blake3::OUT_LEN;

    /// The version that it was made under.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The id of the exclusions that it was made under: [`DigestRules::id`].
    #[must_use]
    pub fn rules(&self) -> u64 {
        self.rules
    }

    /// All of it, to hand to another process: version as u16, rules as u64, both little-endian, and the hash.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..2].copy_from_slice(&self.version.to_le_bytes());
        bytes[2..10].copy_from_slice(&self.rules.to_le_bytes());
        bytes[10..].copy_from_slice(self.hash.as_bytes());
        bytes
    }

    /// What [`Digest::to_bytes`] wrote. Every 42 bytes are some digest; one that nobody made equals none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [v0, v1, r0, r1, r2, r3, r4, r5, r6, r7, hash @ ..] = bytes;
        Self {
            version: u16::from_le_bytes([v0, v1]),
            rules: u64::from_le_bytes([r0, r1, r2, r3, r4, r5, r6, r7]),
            hash: blake3::Hash::from_bytes(hash),
        }
    }

    /// This ready-made digest, where one of `version` and `rules` is asked for (contract 2.4).
    fn compared_under(self, version: u16, rules: u64) -> Fingerprinted {
        if self.version != version {
            Fingerprinted::Incomparable(Incomparable::Version { record: version, given: self.version })
        } else if self.rules != rules {
            Fingerprinted::Incomparable(Incomparable::Rules)
        } else {
            Fingerprinted::Digest(self)
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest(version {})", self.version)
    }
}

/// What came of fingerprinting parameters the way a record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fingerprinted {
    /// A digest under the version and the exclusions that were asked for.
    Digest(Digest),
    /// There is none, so that neither a run nor a replay may follow (contract 2.4).
    Incomparable(Incomparable),
}

#[cfg(test)]
mod tests {
    //! Goal: the public face keeps contract 2 as a whole. Method: tables of what is equal and what is not, and
    //! fixed digests of version 1, which must never change while the version is called 1.

    use super::*;
    use crate::error::{Error, ErrorKind, ParameterFault};

    fn digest(parameters: &Parameters<'_>) -> Digest {
        parameters.digest_under(&DigestRules::none()).unwrap()
    }

    fn hex(parameters: &Parameters<'_>) -> String {
        digest(parameters).hash.to_hex().to_string()
    }

    #[test]
    fn version_1_of_each_kind_is_pinned_2_4() {
        let golden = [
            (Parameters::none(), "1510874919e59ab1ca34318173c676ba4002d34c9296131e3ef0be901acb85e1"),
            (
                Parameters::pairs([("RegionId", "cn-hangzhou"), ("MinSize", "1"), ("MinSize", "")]),
                "b998c3b1240af0428e78e04e2febc249539b88bf9ce1ea6c7e2242416dc70617",
            ),
            (
                Parameters::query("b=%C3%A4+x&a&&=y"),
                "621acb4b4f850c6af5fed94eb3b71d0afaf79c0434f44b1ce65d213bffb93738",
            ),
            (
                Parameters::parts([("path", Parameters::bytes(b"/x")), ("body", Parameters::json(b"[1]"))]),
                "fae95fb66b6199f61f96523de1a385a38895a1aeb9356d2c58abd879afa6ce70",
            ),
            (
                Parameters::bytes(b"any bytes"),
                "e2da700ce6810650a313822060160afb3000b24de62fb2a2a7026454109ad847",
            ),
            (
                Parameters::json(br#"{"b":[1.0,-0,1e21,9007199254740993],"a":{"\u20ac":"\u000F\/"}}"#),
                "d19557b723867a4856102e3ecc2964f5e88fee2a84ea130fb3009d16afe2988f",
            ),
            (
                Parameters::of(&("x", 1.5, None::<u8>)).unwrap(),
                "817450896cbe9c9231f46274cfb41211393ca26b3108aed503fc3a83c858674e",
            ),
        ];
        for (parameters, pinned) in golden {
            assert_eq!(hex(&parameters), pinned, "{parameters:?}");
        }
    }

    #[test]
    fn the_documented_layout_is_what_is_hashed_2_1() {
        let mut text = b"oncekey digest v1 pairs\0".to_vec();
        text.extend(2_u64.to_le_bytes());
        for part in ["a", "1", "b", "22"] {
            text.extend((part.len() as u64).to_le_bytes());
            text.extend(part.as_bytes());
        }
        assert_eq!(digest(&Parameters::pairs([("b", "22"), ("a", "1")])).hash, blake3::hash(&text));
        let text = b"oncekey digest v1 json\0{\"a\":1}";
        assert_eq!(digest(&Parameters::json(b" {\"a\" : 1.0} ")).hash, blake3::hash(text));
    }

    #[test]
    fn equal_meaning_gives_equal_digests_2_3() {
        let equal = [
            (Parameters::none(), Parameters::pairs([("", ""); 0])),
            (Parameters::none(), Parameters::query("&&")),
            (Parameters::pairs([("a", "1"), ("b", "2")]), Parameters::pairs([("b", "2"), ("a", "1")])),
            (Parameters::query("a=%31&b"), Parameters::form(b"b=&a=1")),
            (Parameters::json(br#"{"a":1,"b":2}"#), Parameters::json(b"{\"b\":2e0,\n\"\\u0061\":1.0}")),
            (Parameters::of(&[1, 2]).unwrap(), Parameters::of(&vec![1_u8, 2]).unwrap()),
            (Parameters::pairs([("a", "1")]), Parameters::pairs([(String::from("a"), b"1".to_vec())])),
        ];
        for (one, other) in equal {
            assert_eq!(digest(&one), digest(&other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn other_meaning_gives_other_digests_2_1() {
        let different = [
            Parameters::none(),
            Parameters::bytes(b""),
            Parameters::pairs([("", "")]),
            Parameters::pairs([("", ""), ("", "")]),
            Parameters::pairs([("a", "1"), ("b", "2")]),
            Parameters::pairs([("a", "1b"), ("", "2")]),
            Parameters::pairs([("a1", ""), ("b", "2")]),
            Parameters::pairs([("a", "2"), ("b", "1")]),
            Parameters::pairs([("a", "1"), ("a", "2")]),
            Parameters::pairs([("a", "2"), ("a", "1")]),
            Parameters::pairs([("A", "1"), ("b", "2")]),
            Parameters::bytes(b"[1]"),
            Parameters::json(b"[1]"),
            Parameters::of(&[1]).unwrap(),
            Parameters::json(b"{}"),
            Parameters::json(b"[9007199254740993]"),
            Parameters::json(b"[9007199254740992]"),
            Parameters::json(br#"["1"]"#),
            Parameters::json(br#"{"a":null}"#),
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[at + 1..] {
                assert_ne!(digest(one), digest(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn excluded_names_never_enter_the_digest_2_2() {
        let rules = DigestRules::cloud_api();
        let under = |parameters: &Parameters<'_>| parameters.digest_under(&rules).unwrap();
        let plain = under(&Parameters::query("Action=Run&MinSize=1"));
        for text in [
            "Action=Run&MinSize=1&Timestamp=2026-01-01T00:00:00Z",
            "Signature=x&Action=Run&MinSize=1&SignatureNonce=17&ClientToken=abc",
            "MinSize=1&%53ignature=y&Action=Run&SecurityToken&AccessKeyId=k&SignatureType=&SignatureMethod=m&SignatureVersion=1",
        ] {
            assert_eq!(under(&Parameters::query(text)), plain, "{text}");
        }
        assert_ne!(under(&Parameters::query("Action=Run&MinSize=1&timestamp=1")), plain, "matching is exact");
        let json = under(&Parameters::json(br#"{"Action":"Run"}"#));
        for text in [
            &br#"{"Action":"Run","Timestamp":{"deep":[1]}}"#[..],
            br#"{"Timestamp":1,"Action":"Run","\u0053ignature":2}"#,
        ] {
            assert_eq!(under(&Parameters::json(text)), json);
        }
        let nested = under(&Parameters::json(br#"{"Action":"Run","x":{"Timestamp":1}}"#));
        assert_ne!(nested, under(&Parameters::json(br#"{"Action":"Run","x":{}}"#)), "only top-level members");
        assert_eq!(
            under(
                &Parameters::of(
                    &[("Timestamp", 1)].into_iter().collect::<std::collections::BTreeMap<_, _>>()
                )
                .unwrap()
            ),
            under(&Parameters::of(&std::collections::BTreeMap::<String, u8>::new()).unwrap())
        );
    }

    #[test]
    fn an_excluded_member_given_twice_is_still_refused_2_3() {
        let error = Parameters::json(br#"{"Timestamp":1,"Timestamp":1}"#)
            .digest_under(&DigestRules::cloud_api())
            .unwrap_err();
        let fault = ParameterFault::DuplicateMember { position: 15 };
        assert_eq!(error, Error::from(ErrorKind::InvalidParameters(fault)));
    }

    #[test]
    fn digests_under_other_rules_differ_2_2() {
        let parameters = Parameters::pairs([("a", "1")]);
        assert_ne!(digest(&parameters), parameters.digest_under(&DigestRules::cloud_api()).unwrap());
    }

    #[test]
    fn a_ready_made_digest_is_compared_only_under_its_own_version_and_rules_2_4() {
        let rules = DigestRules::none();
        let ready = digest(&Parameters::bytes(b"x"));
        let parameters = Parameters::digest(ready);
        let ask = |version, rules: &DigestRules| {
            parameters.fingerprint(version, rules, &ParameterLimits::ABSOLUTE).unwrap()
        };
        assert_eq!(ask(1, &rules), Fingerprinted::Digest(ready));
        assert_eq!(
            ask(2, &rules),
            Fingerprinted::Incomparable(Incomparable::Version { record: 2, given: 1 })
        );
        assert_eq!(ask(1, &DigestRules::cloud_api()), Fingerprinted::Incomparable(Incomparable::Rules));
        let error = parameters.digest_under(&DigestRules::cloud_api()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::CannotCompare(Incomparable::Rules));
    }

    #[test]
    fn a_version_that_this_library_does_not_know_can_not_be_compared_2_4() {
        let got =
            Parameters::none().fingerprint(9, &DigestRules::none(), &ParameterLimits::ABSOLUTE).unwrap();
        assert_eq!(got, Fingerprinted::Incomparable(Incomparable::Version { record: 9, given: 1 }));
    }

    #[test]
    fn a_digest_tells_its_version_and_its_rules_2_2_2_4() {
        let rules = DigestRules::cloud_api();
        let digest = Parameters::none().digest_under(&rules).unwrap();
        assert_eq!((digest.version(), digest.rules()), (DIGEST_VERSION, rules.id()));
        let mut later = digest.to_bytes();
        later[0] = 2;
        assert_eq!(Digest::from_bytes(later).version(), 2);
    }

    #[test]
    fn debug_tells_what_a_thing_is_and_how_large_10_2() {
        let pairs = Parameters::pairs([("name", "1"), ("b", "")]);
        let rules = DigestRules::none();
        let limits = ParameterLimits::ABSOLUTE;
        let outline = pairs.outlined(DIGEST_VERSION, &rules, &limits).unwrap().1.unwrap();
        for (shown, expected) in [
            (format!("{:?}", digest(&pairs)), "Digest(version 1)"),
            (format!("{:?}", Secret::new([1; 32])), "Secret(..)"),
            (format!("{outline:?}"), "Outline(2 names, long: false, cut: false)"),
            (format!("{pairs:?}"), "Parameters(pairs: 2, 6 bytes)"),
            (format!("{:?}", Parameters::query("a=1")), "Parameters(query: 3 bytes)"),
            (format!("{:?}", Parameters::bytes(b"a")), "Parameters(bytes: 1 bytes)"),
            (format!("{:?}", Parameters::json(b"[]")), "Parameters(json: 2 bytes)"),
            (format!("{:?}", Parameters::of("a").unwrap()), "Parameters(value: 3 bytes)"),
            (format!("{:?}", Parameters::digest(digest(&pairs))), "Parameters(Digest(version 1))"),
        ] {
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn debug_shows_no_parameter_no_digest_and_no_secret_10_2() {
        let digest = digest(&Parameters::bytes(b"x"));
        let secret = Secret::new([0xab; 32]);
        let shown = format!(
            "{digest:?} {secret:?} {:?} {:?}",
            Parameters::pairs([("canary", "canary")]),
            Parameters::json(b"[\"canary\"]")
        );
        assert!(!shown.contains("canary") && !shown.contains("ab") && !shown.contains("171"), "{shown}");
        assert!(!shown.contains(&digest.hash.to_hex()[..8]), "{shown}");
    }
}
