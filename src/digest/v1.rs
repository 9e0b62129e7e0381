//! Version 1 of the digest. What it hashes is laid down in the head of the module above, and pinned by its tests.
//!
//! Law: this file never changes what it computes; another way to digest is another version beside it
//! (contract 2.4).

use super::frame::Framer;
use super::parameters::{Pair, Source};
use super::rules::DigestRules;
use super::{json, query};
use crate::error::Result;

const PAIRS: &[u8] = b"oncekey digest v1 pairs\0";
const BYTES: &[u8] = b"oncekey digest v1 bytes\0";
const JSON: &[u8] = b"oncekey digest v1 json\0";
const VALUE: &[u8] = b"oncekey digest v1 value\0";

/// The hash of `source` without what `rules` exclude. `count_max` bounds the members of a top-level object,
/// which are only known once they are read; all other limits were checked.
pub(super) fn hash(source: &Source<'_>, rules: &DigestRules, count_max: u64) -> Result<blake3::Hash> {
    Ok(match source {
        Source::Pairs(given) => pairs(given, rules),
        Source::Query(text) => pairs(&query::parse(text)?, rules),
        Source::Bytes(bytes) => text(BYTES, bytes),
        Source::Json(given) => text(JSON, &json::canonical(given, rules, count_max)?),
        Source::Value(given) => text(VALUE, &json::canonical(given, rules, count_max)?),
    })
}

fn pairs(given: &[Pair<'_>], rules: &DigestRules) -> blake3::Hash {
    let mut counted = Vec::with_capacity(given.len());
    counted.extend(
        given
            .iter()
            .filter(|(name, _)| !rules.excludes(name))
            .map(|(name, value)| (name.as_bytes(), value.as_ref())),
    );
    // Stable: pairs of one name keep their order (contract 2.1).
    counted.sort_by_key(|&(name, _)| name);
    let mut framer = Framer::in_domain(PAIRS);
    framer.number(counted.len());
    for (name, value) in counted {
        framer.framed(name);
        framer.framed(value);
    }
    framer.finish()
}

fn text(domain: &[u8], text: &[u8]) -> blake3::Hash {
    let mut framer = Framer::in_domain(domain);
    framer.raw(text);
    framer.finish()
}
