//! Section 2, third part: mismatches that tell which parameters differ (2.6).
//!
//! Goal: an explanation says what is so, to the one who may know it, and only where the store was told to keep what it
//! takes. Method: every state in which a mismatch can be met, in every form of parameters, under settings that
//! changed since; random lists against sets; and what stands in the files.

use std::collections::{BTreeMap, BTreeSet};

use oncekey::{Builder, Difference, DigestRules, ErrorKind, Outcome, Parameters};
use proptest::prelude::*;

use super::support::{
    Home, Store, close, fresh, in_every_home, in_flight, kept, key, plain, refused, replay, secs,
};

pub(crate) fn explaining() -> Builder {
    plain().explain_mismatches(true)
}

pub(crate) fn first() -> Parameters<'static> {
    Parameters::query("Action=Run&MinSize=1&MaxSize=2&Tag=a&Tag=b")
}

pub(crate) fn other() -> Parameters<'static> {
    Parameters::query("Tag=b&Action=Run&Tag=a&MinSize=2&Zone=z")
}

/// Added, removed and changed names, each joined by a space.
pub(crate) fn told(difference: &Difference) -> [String; 3] {
    let joined = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(" ");
    [joined(&mut difference.added()), joined(&mut difference.removed()), joined(&mut difference.changed())]
}

#[track_caller]
pub(crate) fn difference(store: &Store, number: usize, parameters: &Parameters<'_>) -> Option<Difference> {
    let error = refused(store.begin(&key(number), parameters));
    assert_eq!(error.kind(), &ErrorKind::Mismatch);
    error.difference().cloned()
}

#[track_caller]
pub(crate) fn assert_explained(store: &Store, number: usize) {
    let difference = difference(store, number, &other()).expect("explained");
    assert_eq!(told(&difference), ["Zone", "MaxSize", "MinSize Tag"]);
    assert!(!difference.is_incomplete());
}

#[track_caller]
pub(crate) fn assert_unexplained(store: &Store, number: usize, parameters: &Parameters<'_>) {
    assert_eq!(difference(store, number, parameters), None);
}

pub(crate) fn finish(store: &Store, number: usize, parameters: &Parameters<'_>) {
    kept(fresh(store.begin(&key(number), parameters)).complete(Outcome::new("done")));
}

#[test]
fn a_mismatch_names_what_was_added_removed_and_changed_2_6() {
    in_every_home(|home| {
        let (builder, clock) = home.with_clock();
        let store = home.open(builder.explain_mismatches(true));
        let held = fresh(store.begin(&key(0), &first()));
        assert_explained(&store, 0);
        drop(in_flight(store.begin(&key(0), &first())));
        clock.advance(secs(61));
        assert_explained(&store, 0);
        let second = fresh(store.begin(&key(0), &first()));
        assert_explained(&store, 0);
        assert!(held.complete(Outcome::new("late")).is_err());
        kept(second.complete(Outcome::new("done")));
        assert_explained(&store, 0);
        replay(store.begin(&key(0), &first()));
    });
}

#[test]
fn every_form_that_has_names_is_explained_2_6() {
    let home = Home::any();
    let store = home.open(explaining());
    let forms = [
        (
            Parameters::pairs([("a", "1"), ("b", "2"), ("c", "3")]),
            Parameters::pairs([("b", "3"), ("d", "4"), ("c", "3")]),
        ),
        (Parameters::query("a=1&b=2&c=3"), Parameters::form(b"b=3&d=4&c=%33")),
        (
            Parameters::json(br#"{"a":1,"b":{"x":[1]},"c":3}"#),
            Parameters::json(br#"{"c":3.0,"d":1,"b":{"x":[1,2]}}"#),
        ),
    ];
    for (number, (one, two)) in forms.iter().enumerate() {
        let held = fresh(store.begin(&key(number), one));
        assert_eq!(told(&difference(&store, number, two).expect("explained")), ["d", "a", "b"]);
        kept(held.complete(Outcome::new("done")));
        assert_eq!(told(&difference(&store, number, two).expect("explained")), ["d", "a", "b"]);
    }
}

#[test]
fn what_has_no_names_stays_without_explanation_2_6() {
    let home = Home::any();
    let store = home.open(explaining());
    let ready = |text: &str| Parameters::query(text).digest_under(&DigestRules::none()).expect("digested");
    let nameless = [
        Parameters::bytes(b"a=1"),
        Parameters::of(&BTreeMap::from([("a", 1)])).expect("written"),
        Parameters::json(b"[1]"),
        Parameters::digest(ready("a=1")),
    ];
    for (number, one) in nameless.iter().enumerate() {
        let held = fresh(store.begin(&key(number), one));
        assert_unexplained(&store, number, &Parameters::query("a=2"));
        kept(held.complete(Outcome::new("done")));
        assert_unexplained(&store, number, &Parameters::query("a=2"));
        finish(&store, 100 + number, &Parameters::query("a=3"));
        assert_unexplained(&store, 100 + number, one);
    }
    // A ready-made digest takes over from parameters with names, and they stay known.
    let held = fresh(store.request(&key(50), &Parameters::query("a=1")).lease(secs(0)).begin());
    let second = fresh(store.begin(&key(50), &Parameters::digest(ready("a=1"))));
    let names = told(&difference(&store, 50, &Parameters::query("a=2")).expect("explained"));
    assert_eq!(names, ["", "", "a"]);
    kept(second.complete(Outcome::new("done")));
    let names = told(&difference(&store, 50, &Parameters::query("a=2")).expect("explained"));
    assert_eq!(names, ["", "", "a"]);
    drop(held);
}

#[test]
fn excluded_names_never_appear_and_a_record_is_explained_under_its_own_exclusions_2_6() {
    let home = Home::lasting();
    let store = home.open(explaining().rules(DigestRules::cloud_api()));
    finish(&store, 0, &Parameters::query("a=1&Timestamp=1"));
    let later = Parameters::query("a=2&Timestamp=2&Signature=x");
    assert_eq!(told(&difference(&store, 0, &later).expect("explained")), ["", "", "a"]);
    close(store);

    let store = home.open(explaining().rules(DigestRules::excluding(["a"])));
    assert_eq!(told(&difference(&store, 0, &later).expect("explained")), ["", "", "a"], "as it was digested");
    finish(&store, 1, &later);
    let more = Parameters::query("a=3&Timestamp=3&Signature=x");
    assert_eq!(told(&difference(&store, 1, &more).expect("explained")), ["", "", "Timestamp"]);
    close(store);
}

#[test]
fn beyond_the_bound_an_explanation_says_that_it_is_incomplete_2_6() {
    let home = Home::any();
    let store = home.open(explaining());
    let many = |count: usize, value: &str| {
        Parameters::pairs((0..count).map(|at| (format!("n{at:03}"), value.to_owned())).collect::<Vec<_>>())
    };
    for (number, (count, seen, incomplete)) in
        [(64, 64, false), (65, 64, true), (1000, 64, true)].into_iter().enumerate()
    {
        finish(&store, number, &many(count, "1"));
        let difference = difference(&store, number, &many(count, "2")).expect("explained");
        assert_eq!((difference.changed().len(), difference.is_incomplete()), (seen, incomplete), "{count}");
        assert_eq!((difference.added().len(), difference.removed().len()), (0, 0));
    }
    let long = "x".repeat(65);
    finish(&store, 9, &Parameters::pairs([("a", "1"), (&long[..64], "1"), (&long, "1")]));
    let difference = difference(&store, 9, &Parameters::pairs([("a", "2")])).expect("explained");
    assert_eq!(told(&difference), ["", &long[..64], "a"]);
    assert!(difference.is_incomplete());
}

type Pairs = Vec<(String, String)>;

fn by_name(pairs: &Pairs) -> BTreeMap<&str, Vec<&str>> {
    let mut by_name = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in pairs {
        by_name.entry(name).or_default().push(value);
    }
    by_name
}

fn pairs() -> impl Strategy<Value = Pairs> {
    prop::collection::vec(("[abcd&= \u{e9}]{0,2}", "[01]{0,1}"), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_is_exactly_the_symmetric_difference_of_two_lists_2_6(
        lists in prop::collection::vec((pairs(), pairs()), 1..8)
    ) {
        let home = Home::any();
        let store = home.open(explaining());
        for (number, (one, two)) in lists.iter().enumerate() {
            let given = |pairs: &Pairs| Parameters::pairs(pairs.clone());
            let (known, asked) = (by_name(one), by_name(two));
            let all: BTreeSet<&str> = known.keys().chain(asked.keys()).copied().collect();
            let names = |differs: &dyn Fn(&&str) -> bool| all.iter().copied().filter(|name| differs(name)).collect::<Vec<_>>();
            let expected = [
                names(&|name| !known.contains_key(name)),
                names(&|name| !asked.contains_key(name)),
                names(&|name| known.get(name).zip(asked.get(name)).is_some_and(|(one, two)| one != two)),
            ];
            let held = fresh(store.begin(&key(number), &given(one)));
            let same = expected.iter().all(Vec::is_empty);
            let ask = || store.begin(&key(number), &given(two));
            let mut seen = Vec::new();
            if !same {
                seen.push(refused(ask()));
            }
            kept(held.complete(Outcome::new("done")));
            if same {
                replay(ask());
            } else {
                seen.push(refused(ask()));
            }
            for error in seen {
                let told = error.difference().expect("explained");
                let told = [told.added().collect::<Vec<_>>(), told.removed().collect(), told.changed().collect()];
                prop_assert_eq!(&told, &expected);
            }
        }
    }
}
