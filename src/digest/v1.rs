//! Version 1 of the digest. What it hashes is laid down in the head of the module above, and pinned by its tests.
//!
//! Law: this file never changes what it computes; another way to digest is another version beside it
//! (contract 2.4).

use super::frame::Framer;
use super::outline::Outline;
use super::parameters::{Pair, Part, Source};
use super::rules::DigestRules;
use super::{json, query};
use crate::error::Result;

const PAIRS: &[u8] = b"oncekey digest v1 pairs\0";
const BYTES: &[u8] = b"oncekey digest v1 bytes\0";
const JSON: &[u8] = b"oncekey digest v1 json\0";
const VALUE: &[u8] = b"oncekey digest v1 value\0";
const PARTS: &[u8] = b"oncekey digest v1 parts\0";
/// Of one name, for outlines.
const PAIR: &[u8] = b"oncekey digest v1 pair\0";
const MEMBER: &[u8] = b"oncekey digest v1 member\0";
const PART: &[u8] = b"oncekey digest v1 part\0";

/// Pairs at most that are sorted on the stack.
const FEW: usize = 16;

/// A hash, and the outline of what has names.
type Outlined = (blake3::Hash, Option<Outline<blake3::Hash>>);
/// One (name, value) that counts.
type Counted<'a> = (&'a str, &'a [u8]);

/// The hash of `source` without what `rules` exclude. `count_max` bounds the members of a top-level object,
/// which are only known once they are read; all other limits were checked.
pub(super) fn hash(source: &Source<'_>, rules: &DigestRules, count_max: u64) -> Result<blake3::Hash> {
    Ok(match source {
        Source::Pairs(given) => with_counted(given, rules, pairs),
        Source::Query(text) => with_counted(&query::parse(text)?, rules, pairs),
        Source::Bytes(bytes) => text(BYTES, bytes),
        Source::Json(given) => text(JSON, &json::canonical(given, rules, count_max)?),
        Source::Value(given) => text(VALUE, &json::canonical(given, rules, count_max)?),
        Source::Parts(given) => {
            parts(&counted_parts(given, rules, |source| hash(source, rules, count_max))?, |own| own)
        }
    })
}

/// [`hash`], and the outline of parameters that have names.
pub(super) fn outlined(source: &Source<'_>, rules: &DigestRules, count_max: u64) -> Result<Outlined> {
    let of_pairs = |given: &[Pair<'_>]| {
        with_counted(given, rules, |counted| {
            (pairs(counted), Some(Outline::of(counted, |same| parameter(PAIR, same))))
        })
    };
    Ok(match source {
        Source::Pairs(given) => of_pairs(given),
        Source::Query(text) => of_pairs(&query::parse(text)?),
        Source::Json(given) => {
            let canonical = json::canonical(given, rules, count_max)?;
            (text(JSON, &canonical), members(&canonical))
        }
        Source::Parts(given) => {
            let all = counted_parts(given, rules, |source| outlined(source, rules, count_max))?;
            (parts(&all, |(hash, _)| hash), outline_of_parts(&all))
        }
        Source::Bytes(_) | Source::Value(_) => (hash(source, rules, count_max)?, None),
    })
}

/// The outline of a canonical text that is an object.
fn members(canonical: &[u8]) -> Option<Outline<blake3::Hash>> {
    let given = json::top_members(canonical)?;
    let mut members: Vec<Counted<'_>> = given.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
    members.sort_unstable();
    Some(Outline::of(&members, |same| parameter(MEMBER, same)))
}

/// Calls with what counts, by name. A few are sorted where they need no memory of the heap.
fn with_counted<T>(given: &[Pair<'_>], rules: &DigestRules, call: impl FnOnce(&[Counted<'_>]) -> T) -> T {
    let counts = |(name, _): &&Pair<'_>| !rules.excludes(name);
    let counted = given.iter().filter(counts).map(|(name, value)| (name.as_ref(), value.as_ref()));
    let (mut few, mut many) = ([("", &[][..]); FEW], Vec::new());
    let sorted = if given.len() <= FEW {
        let count = few.iter_mut().zip(counted).map(|(place, own)| *place = own).count();
        &mut few[..count]
    } else {
        many.extend(counted);
        &mut many[..]
    };
    // Stable: pairs of one name keep their order (contract 2.1).
    sorted.sort_by_key(|&(name, _)| name);
    call(sorted)
}

fn pairs(counted: &[Counted<'_>]) -> blake3::Hash {
    let mut framer = Framer::in_domain(PAIRS);
    framer.number(counted.len());
    for (name, value) in counted {
        framer.framed(name.as_bytes());
        framer.framed(value);
    }
    framer.finish()
}

/// The parts that count, by name, each with what `call` makes of it. Stable: parts of one name keep their order.
fn counted_parts<'a, T>(
    given: &'a [Part<'_>],
    rules: &DigestRules,
    call: impl Fn(&Source<'_>) -> Result<T>,
) -> Result<Vec<(&'a str, T)>> {
    let mut counted: Vec<&Part<'_>> = given.iter().filter(|(name, _)| !rules.excludes(name)).collect();
    counted.sort_by_key(|(name, _)| name.as_ref());
    counted.into_iter().map(|(name, source)| Ok((name.as_ref(), call(source)?))).collect()
}

fn parts<T>(counted: &[(&str, T)], hash: impl Fn(&T) -> &blake3::Hash) -> blake3::Hash {
    let mut framer = Framer::in_domain(PARTS);
    framer.number(counted.len());
    for (name, own) in counted {
        framer.framed(name.as_bytes());
        framer.raw(hash(own).as_bytes());
    }
    framer.finish()
}

/// The names of the parts' parameters, each behind its part's name and a full stop; a part's own name where it has none.
/// `None` where a part's outline does not have them all, since what it lacks can't be told from what is not there.
fn outline_of_parts(all: &[(&str, Outlined)]) -> Option<Outline<blake3::Hash>> {
    let mut names: Vec<(String, &blake3::Hash)> = Vec::new();
    for (part, (hash, outline)) in all {
        match outline {
            None => names.push(((*part).to_owned(), hash)),
            Some(own) if own.long || own.cut => return None,
            Some(own) => {
                names.extend(own.parameters.iter().map(|(name, own)| (format!("{part}.{name}"), own)));
            }
        }
    }
    let mut sorted: Vec<Counted<'_>> =
        names.iter().map(|(name, hash)| (name.as_str(), &hash.as_bytes()[..])).collect();
    sorted.sort_by_key(|own| own.0);
    Some(Outline::of(&sorted, |same| parameter(PART, same)))
}

/// The hash of one name and its values, in their order.
fn parameter(domain: &[u8], same: &[Counted<'_>]) -> blake3::Hash {
    let mut framer = Framer::in_domain(domain);
    framer.framed(same.first().map_or(&[], |(name, _)| name.as_bytes()));
    for (_, value) in same {
        framer.framed(value);
    }
    framer.finish()
}

fn text(domain: &[u8], text: &[u8]) -> blake3::Hash {
    let mut framer = Framer::in_domain(domain);
    framer.raw(text);
    framer.finish()
}
