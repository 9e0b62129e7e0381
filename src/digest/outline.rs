//! Parameters one by one: what lets a mismatch tell which of them differ (contract 2.6).
//!
//! Law: an outline is bounded whatever was given. A name of more than [`NAME_BYTES_MAX`] bytes is left out, in every
//! outline alike; of the others, sorted by their bytes, the first [`NAMES_MAX`] are there. What was left out is
//! noted, and a difference is told only where both outlines can see: nothing that is told is wrong, and where
//! something may be missing it says so.
//!
//! | outline | digest of a name | where |
//! | --- | --- | --- |
//! | `Outline<blake3::Hash>` | over name and values | on its way |
//! | `Outline<Digest>` | with version and rules | in memory, as the whole digest |
//! | `Outline<u64>` | bound to the key and the store's secret (contract 2.5) | in a record |

use std::cmp::Ordering;
use std::fmt;

use super::{Digest, Secret};
use crate::error::Difference;

/// Most names that are kept of one request.
pub(crate) const NAMES_MAX: usize = 64;
/// Most bytes of a name that is kept.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The names of one request's parameters, each with a digest of its values.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Outline<T> {
    /// Sorted by name; each name once.
    pub(crate) parameters: Vec<(Box<str>, T)>,
    /// There were names of more than [`NAME_BYTES_MAX`] bytes.
    pub(crate) long: bool,
    /// There were more than [`NAMES_MAX`] others: those behind the last one here.
    pub(crate) cut: bool,
}

impl Outline<blake3::Hash> {
    /// Of (name, value) sorted by name; `hash` is asked for all that have one name.
    pub(super) fn of<'a>(
        sorted: &[(&'a str, &'a [u8])],
        hash: impl Fn(&[(&'a str, &'a [u8])]) -> blake3::Hash,
    ) -> Self {
        let mut outline = Self { parameters: Vec::new(), long: false, cut: false };
        for same in sorted.chunk_by(|one, other| one.0 == other.0) {
            let name = same[0].0;
            if name.len() > NAME_BYTES_MAX {
                outline.long = true;
            } else if outline.parameters.len() == NAMES_MAX {
                outline.cut = true;
                break;
            } else {
                outline.parameters.push((name.into(), hash(same)));
            }
        }
        outline
    }
}

impl Outline<Digest> {
    /// As it is kept in a record of the key of these framed bytes.
    pub(crate) fn bound(&self, secret: &Secret, framed_key: &[u8]) -> Outline<u64> {
        self.map(|digest| secret.bind_parameter(framed_key, digest))
    }
}

impl<T> Outline<T> {
    pub(super) fn map<U>(&self, digest: impl Fn(&T) -> U) -> Outline<U> {
        let parameters = self.parameters.iter().map(|(name, own)| (name.clone(), digest(own))).collect();
        Outline { parameters, long: self.long, cut: self.cut }
    }

    /// Up to which name it tells all there is; `None` for every name.
    fn reach(&self) -> Option<&str> {
        self.parameters.last().filter(|_| self.cut).map(|(name, _)| name.as_ref())
    }
}

impl<T: PartialEq> Outline<T> {
    /// How `asked` differs from what is known; `None` where there is nothing to tell. Digests of one kind compare in
    /// constant time: [`Digest`] does, and so does a machine word.
    pub(crate) fn difference(&self, asked: &Self) -> Option<Difference> {
        let incomplete = self.long || self.cut || asked.long || asked.cut;
        let mut told = Difference { incomplete, ..Difference::default() };
        let (mut known, mut given) = (self.seen_by(asked), asked.seen_by(self));
        loop {
            let order = match (known.first(), given.first()) {
                (Some((one, _)), Some((other, _))) => one.cmp(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match order {
                Ordering::Less => told.removed.extend(next(&mut known).map(|(name, _)| name.clone())),
                Ordering::Greater => told.added.extend(next(&mut given).map(|(name, _)| name.clone())),
                Ordering::Equal => {
                    let both = next(&mut known).zip(next(&mut given));
                    told.changed
                        .extend(both.filter(|(one, other)| one.1 != other.1).map(|(one, _)| one.0.clone()));
                }
            }
        }
        (!told.is_empty()).then_some(told)
    }

    /// Its parameters as far as `other` tells all there is.
    fn seen_by(&self, other: &Self) -> &[(Box<str>, T)] {
        let seen = |name: &str| other.reach().is_none_or(|last| name <= last);
        &self.parameters[..self.parameters.partition_point(|(name, _)| seen(name))]
    }
}

impl<T> fmt::Debug for Outline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outline({} names, long: {}, cut: {})", self.parameters.len(), self.long, self.cut)
    }
}

fn next<'a, T>(list: &mut &'a [T]) -> Option<&'a T> {
    let (first, rest) = list.split_first()?;
    *list = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    //! Goal: an explanation is exactly the symmetric difference, and never says what is not so. Method: random lists
    //! against sets, in every form that has names; bounds, each with one beyond.

    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::{DIGEST_VERSION, DigestRules, ParameterLimits, Parameters};
    use super::*;

    fn outline_under(parameters: &Parameters<'_>, rules: &DigestRules) -> Option<Outline<Digest>> {
        let (fingerprinted, outline) =
            parameters.outlined(DIGEST_VERSION, rules, &ParameterLimits::ABSOLUTE).unwrap();
        let alone = parameters.fingerprint(DIGEST_VERSION, rules, &ParameterLimits::ABSOLUTE).unwrap();
        assert_eq!(fingerprinted, alone);
        outline
    }

    fn outline(parameters: &Parameters<'_>) -> Outline<Digest> {
        outline_under(parameters, &DigestRules::none()).unwrap()
    }

    #[test]
    fn debug_shows_how_many_parameters_there_are_and_not_their_names_10_2() {
        let shown = format!("{:?}", outline(&Parameters::pairs([("canary", "1"), ("other", "2")])));
        assert_eq!(shown, "Outline(2 names, long: false, cut: false)");
    }

    /// What is told in memory, and out of a record, which has to be the same.
    fn difference(known: &Parameters<'_>, asked: &Parameters<'_>) -> Option<Difference> {
        let (known, asked) = (outline(known), outline(asked));
        let secret = Secret::new([3; 32]);
        let bound = |own: &Outline<Digest>| own.bound(&secret, b"key");
        let told = known.difference(&asked);
        assert_eq!(bound(&known).difference(&bound(&asked)), told);
        told
    }

    fn told(known: &Parameters<'_>, asked: &Parameters<'_>) -> (String, String, String) {
        let difference = difference(known, asked).unwrap();
        assert!(!difference.is_incomplete());
        let joined = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(" ");
        let removed = joined(&mut difference.removed());
        (joined(&mut difference.added()), removed, joined(&mut difference.changed()))
    }

    #[test]
    fn names_that_were_added_removed_and_changed_are_told_in_every_form_that_has_names_2_6() {
        let expected = || ("d".to_owned(), "a".to_owned(), "b".to_owned());
        let pairs = |list: &[(&'static str, &'static str)]| Parameters::pairs(list.to_vec());
        let one = pairs(&[("c", "3"), ("b", "2"), ("a", "1")]);
        assert_eq!(told(&one, &pairs(&[("d", "1"), ("b", "3"), ("c", "3")])), expected());
        assert_eq!(told(&one, &Parameters::query("c=%33&b=3&d")), expected());
        assert_eq!(told(&Parameters::form(b"a=1&c&b=2"), &Parameters::query("d=1&b=%32+&c=")), expected());
        let (one, other) = (br#"{"a":[1,{}],"b":{"x":1},"c":1.0}"#, br#"{"d":1,"c":1,"b":{"x":2}}"#);
        assert_eq!(told(&Parameters::json(one), &Parameters::json(other)), expected());
    }

    #[test]
    fn the_order_of_one_names_values_is_a_change_and_that_of_names_is_not_2_6() {
        let one = Parameters::query("a=1&a=2&b=3");
        assert_eq!(difference(&one, &Parameters::query("b=3&a=1&a=2")), None);
        assert_eq!(told(&one, &Parameters::query("a=2&a=1&b=3")).2, "a");
        assert_eq!(told(&one, &Parameters::query("a=12&b=3")).2, "a");
        assert_eq!(told(&Parameters::query("a=1&b=3"), &Parameters::json(br#"{"a":1,"b":3}"#)).2, "a b");
    }

    #[test]
    fn what_has_no_names_has_no_outline_2_6() {
        let rules = DigestRules::none();
        let ready = Parameters::bytes(b"x").digest_under(&rules).unwrap();
        for parameters in [
            Parameters::bytes(b"a=1"),
            Parameters::of(&BTreeMap::from([("a", 1)])).unwrap(),
            Parameters::json(b"[{\"a\":1}]"),
            Parameters::json(b"1"),
            Parameters::digest(ready),
        ] {
            assert_eq!(outline_under(&parameters, &rules), None, "{parameters:?}");
        }
        assert_eq!(
            outline(&Parameters::none()).parameters.len(),
            0,
            "no parameters, and one that comes was added"
        );
        assert_eq!(told(&Parameters::none(), &Parameters::query("a")).0, "a");
    }

    #[test]
    fn excluded_names_never_appear_2_6() {
        let rules = DigestRules::cloud_api();
        for parameters in [
            Parameters::query("Timestamp=1&a=1&Signature=x"),
            Parameters::json(br#"{"Timestamp":1,"a":1,"\u0053ignature":{}}"#),
        ] {
            let names: Vec<_> = outline_under(&parameters, &rules).unwrap().parameters;
            assert_eq!(names.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(), ["a"]);
        }
    }

    #[test]
    fn the_digest_of_a_name_is_that_of_another_implementation_of_blake3_2_6() {
        for (parameters, pinned) in [
            (
                Parameters::query("b&a=1&a=22"),
                "2f2b84f1dc0221727ec26f20805bd4f4d748f5212787cedbd10f2820ec415c47",
            ),
            (
                Parameters::json(br#"{"a":{"b":[1.0]}}"#),
                "3fe47e5f9f34d7395f88922d70a87de0b26e439b507d4c387bc3e173dfc64aeb",
            ),
        ] {
            let (name, digest) = &outline(&parameters).parameters[0];
            assert_eq!((name.as_ref(), digest.hash.to_hex().as_str()), ("a", pinned));
        }
    }

    #[test]
    fn equal_values_under_two_names_keys_or_secrets_look_unrelated_2_6() {
        let outline = outline(&Parameters::query("a=1&b=1"));
        let mut seen = BTreeSet::new();
        for (secret, key) in [([1; 32], b"k1"), ([1; 32], b"k2"), ([2; 32], b"k1")] {
            let bound = outline.bound(&Secret::new(secret), key);
            seen.extend(bound.parameters.into_iter().map(|(_, digest)| digest));
        }
        assert_eq!(seen.len(), 6);
    }

    fn numbered(numbers: impl Iterator<Item = usize>, value: &str) -> Parameters<'static> {
        Parameters::pairs(numbers.map(|number| (format!("n{number:04}"), value.to_owned())))
    }

    #[test]
    fn beyond_the_bound_an_explanation_says_that_it_is_incomplete_2_6() {
        let full = numbered(0..NAMES_MAX, "1");
        assert_eq!(difference(&full, &full), None);
        assert_eq!(told(&full, &numbered(0..NAMES_MAX - 1, "1")).1, format!("n{:04}", NAMES_MAX - 1));

        let over = numbered(0..=NAMES_MAX, "1");
        let same = difference(&over, &numbered(0..=NAMES_MAX + 1, "1")).unwrap();
        assert_eq!((same.added().len(), same.removed().len(), same.changed().len()), (0, 0, 0));
        assert!(same.is_incomplete());
        // The first name is gone, so that another comes into view on one side: it is not told as added.
        let shifted = difference(&over, &numbered(1..=NAMES_MAX, "1")).unwrap();
        assert!(shifted.removed().eq(["n0000"]) && shifted.added().len() == 0 && shifted.is_incomplete());

        let bounds = [("x".repeat(NAME_BYTES_MAX), false), ("x".repeat(NAME_BYTES_MAX + 1), true)];
        for (name, incomplete) in bounds {
            let given =
                |value: &'static str| Parameters::pairs([(name.clone(), value), ("z".to_owned(), value)]);
            let difference = difference(&given("1"), &given("2")).unwrap();
            assert_eq!(
                (difference.changed().len(), difference.is_incomplete()),
                (2 - usize::from(incomplete), incomplete)
            );
        }
    }

    type Pairs = Vec<(String, String)>;

    fn given(pairs: &Pairs) -> Parameters<'_> {
        Parameters::pairs(pairs.iter().map(|(name, value)| (name.as_str(), value)))
    }

    fn by_name(pairs: &Pairs) -> BTreeMap<&str, Vec<&str>> {
        let mut by_name = BTreeMap::<&str, Vec<&str>>::new();
        for (name, value) in pairs {
            by_name.entry(name).or_default().push(value);
        }
        by_name
    }

    /// Names of which some are long, and more than the bound now and then.
    fn pairs() -> impl Strategy<Value = Pairs> {
        let name = prop_oneof![8 => "[abc]{0,2}", 1 => "[ab]{62,66}"];
        let pair = (name, "[01]{0,1}");
        prop_oneof![
            4 => prop::collection::vec(pair.clone(), 0..6),
            1 => prop::collection::vec(("[ab]{6,7}", "[01]"), 50..90)
        ]
    }

    proptest! {
        #[test]
        fn an_explanation_is_exactly_the_symmetric_difference_2_6(one in pairs(), other in pairs()) {
            let (known, asked) = (by_name(&one), by_name(&other));
            let all: BTreeSet<&str> = known.keys().chain(asked.keys()).copied().collect();
            let long = all.iter().any(|name| name.len() > NAME_BYTES_MAX);
            let short = |side: &BTreeMap<&str, Vec<&str>>| side.keys().filter(|name| name.len() <= NAME_BYTES_MAX).count();
            let cut = short(&known) > NAMES_MAX || short(&asked) > NAMES_MAX;
            let names = |differs: &dyn Fn(&str) -> bool| all.iter().copied().filter(|name| differs(name)).collect::<Vec<_>>();
            let added = names(&|name| !known.contains_key(name));
            let removed = names(&|name| !asked.contains_key(name));
            let changed = names(&|name| known.get(name).zip(asked.get(name)).is_some_and(|(one, other)| one != other));
            let told = difference(&given(&one), &given(&other)).unwrap_or_default();
            prop_assert_eq!(told.is_incomplete(), long || cut);
            let seen = |names: &[&str]| names.iter().copied().filter(|name| name.len() <= NAME_BYTES_MAX).map(String::from).collect::<Vec<_>>();
            for (told, all) in [
                (told.added().map(String::from).collect::<Vec<_>>(), seen(&added)),
                (told.removed().map(String::from).collect(), seen(&removed)),
                (told.changed().map(String::from).collect(), seen(&changed)),
            ] {
                // All of it where nothing was cut, and else the beginning of it: never a name that does not differ.
                prop_assert!(if cut { all.starts_with(&told) } else { told == all }, "{:?} {:?}", told, all);
            }
        }
    }
}
