//! Section 2, third part: mismatches that tell which parameters differ (2.6).
//!
//! Goal: an explanation says what is so, to the one who may know it, and only where the store was told to keep what it
//! takes. Method: every state in which a mismatch can be met, in every form of parameters, under settings that
//! changed since; random lists against sets; and what stands in the files.

use std::collections::{BTreeMap, BTreeSet};

use oncekey::{
    Builder, Difference, DigestRules, ErrorKind, Incomparable, OnInterrupted, Outcome, Parameters, Secret,
    Store,
};
use proptest::prelude::*;

use crate::support::files::{find_all, make, read_all};
use crate::support::{
    Home, close, fresh, in_both_homes, in_flight, kept, key, plain, refused, replay, secs, with_clock,
};

fn explaining() -> Builder {
    plain().explain_mismatches(true)
}

fn first() -> Parameters<'static> {
    Parameters::query("Action=Run&MinSize=1&MaxSize=2&Tag=a&Tag=b")
}

fn other() -> Parameters<'static> {
    Parameters::query("Tag=b&Action=Run&Tag=a&MinSize=2&Zone=z")
}

/// Added, removed and changed names, each joined by a space.
fn told(difference: &Difference) -> [String; 3] {
    let joined = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(" ");
    [joined(&mut difference.added()), joined(&mut difference.removed()), joined(&mut difference.changed())]
}

#[track_caller]
fn difference(store: &Store, number: usize, parameters: &Parameters<'_>) -> Option<Difference> {
    let error = refused(store.begin(&key(number), parameters));
    assert_eq!(error.kind(), &ErrorKind::Mismatch);
    error.difference().cloned()
}

#[track_caller]
fn assert_explained(store: &Store, number: usize) {
    let difference = difference(store, number, &other()).expect("explained");
    assert_eq!(told(&difference), ["Zone", "MaxSize", "MinSize Tag"]);
    assert!(!difference.is_incomplete());
}

#[track_caller]
fn assert_unexplained(store: &Store, number: usize, parameters: &Parameters<'_>) {
    assert_eq!(difference(store, number, parameters), None);
}

fn finish(store: &Store, number: usize, parameters: &Parameters<'_>) {
    kept(fresh(store.begin(&key(number), parameters)).complete(Outcome::new("done")));
}

#[test]
fn a_mismatch_names_what_was_added_removed_and_changed_2_6() {
    in_both_homes(|home| {
        let (builder, clock) = with_clock();
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
    let store = explaining().open_in_memory().expect("opens");
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
    let store = explaining().open_in_memory().expect("opens");
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
fn without_the_setting_nothing_is_kept_and_records_that_have_it_go_on_explaining_2_6() {
    let home = Home::directory();
    let store = home.open(plain());
    finish(&store, 0, &first());
    assert_unexplained(&store, 0, &other());
    let held = fresh(store.begin(&key(1), &first()));
    assert_unexplained(&store, 1, &other());
    drop(held);
    close(store);
    let names = |home: &Home| {
        read_all(&home.path()).values().map(|bytes| find_all(bytes, b"MinSize").len()).sum::<usize>()
    };
    assert_eq!(names(&home), 0, "no name in any file");

    let store = home.open(explaining());
    assert_unexplained(&store, 0, &other());
    finish(&store, 1, &first());
    assert_explained(&store, 1);
    close(store);
    assert!(names(&home) > 0, "and now there is");

    let store = home.open(plain());
    assert_unexplained(&store, 0, &other());
    assert_explained(&store, 1);
    finish(&store, 2, &first());
    assert_unexplained(&store, 2, &other());
    close(store);
}

#[test]
fn excluded_names_never_appear_and_a_record_is_explained_under_its_own_exclusions_2_6() {
    let home = Home::directory();
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
fn a_record_is_explained_under_the_secret_that_it_was_made_with_2_6() {
    let home = Home::directory();
    let (old, new) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let store = home.open(explaining().secret(old.clone()));
    finish(&store, 0, &first());
    let across = fresh(store.begin(&key(1), &first()));
    store.rotate_secret(&new).expect("rotated");
    assert_explained(&store, 0);
    assert_explained(&store, 1);
    kept(across.complete(Outcome::new("done")));
    assert_explained(&store, 1);
    close(store);

    let store = home.open(explaining().secret(new.clone()).old_secret(old));
    assert_explained(&store, 0);
    assert_explained(&store, 1);
    close(store);
    let store = home.open(explaining().secret(new));
    let why = ErrorKind::CannotCompare(Incomparable::Secret { number: 1 });
    let error = refused(store.begin(&key(0), &other()));
    assert_eq!((error.kind(), error.difference()), (&why, None));
    assert_explained(&store, 1);
    close(store);
}

#[test]
fn a_record_goes_on_explaining_after_reopening_packing_and_in_a_backup_2_6() {
    let home = Home::directory();
    let (builder, clock) = with_clock();
    let store = home.open(builder.clone().explain_mismatches(true).segment_age_max(secs(1)));
    for number in 0..20 {
        let parameters = first();
        let own = key(number);
        let request = store.request(&own, &parameters).retention(secs(if number == 0 { 10_000 } else { 1 }));
        kept(fresh(request.begin()).complete(Outcome::new("done")));
        clock.advance(secs(2));
    }
    store.sweep().expect("swept");
    assert_explained(&store, 0);
    store.backup(home.beside("backup")).expect("backed up");
    close(store);
    for path in [home.path(), home.beside("backup")] {
        let store = builder.clone().open(path).expect("opens");
        assert_explained(&store, 0);
        close(store);
    }
}

#[test]
fn an_interrupted_key_a_resolved_and_a_resumed_one_explain_themselves_2_6() {
    let home = Home::directory();
    let store = home.open(explaining());
    let mut held = Vec::new();
    for number in 0..3 {
        held.push(fresh(store.request(&key(number), &first()).start_durably().begin()));
        assert_explained(&store, number);
    }
    held[1].checkpoint(b"half").expect("noted");
    assert_explained(&store, 1);
    // The process is killed: a copy of its files is what is left.
    make(&home.beside("copy"), &read_all(&home.path()));

    for policy in [OnInterrupted::Resume, OnInterrupted::Refuse] {
        let copy = Home::directory();
        make(&copy.path(), &read_all(&home.beside("copy")));
        let store = copy.open(plain().on_interrupted(policy));
        for number in 0..3 {
            assert_explained(&store, number);
        }
        store.resolve(&key(0), Outcome::new("resolved")).expect("resolved");
        assert_explained(&store, 0);
        close(store);
        let store = copy.open(plain());
        assert_explained(&store, 0);
        let resumed = fresh(store.begin(&key(1), &first()));
        assert_eq!(resumed.last_checkpoint().expect("noted").bytes(), b"half");
        assert_unexplained(&store, 1, &other());
        kept(resumed.complete(Outcome::new("done")));
        assert_unexplained(&store, 1, &other());
        assert_explained(&store, 2);
        close(store);
    }
    drop(held);
}

#[test]
fn beyond_the_bound_an_explanation_says_that_it_is_incomplete_2_6() {
    let store = explaining().open_in_memory().expect("opens");
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

#[test]
fn what_is_kept_counts_for_no_limit_and_its_disk_room_is_set_aside_2_6() {
    in_both_homes(|home| {
        let store =
            home.open(explaining().kept_bytes_max(200).declared_outcome_bytes(100).outcome_bytes_max(100));
        let names: Vec<_> = (0..64).map(|at| (format!("{at:064}"), "1")).collect();
        let parameters = Parameters::pairs(names);
        let held = fresh(store.begin(&key(0), &parameters));
        kept(held.complete(Outcome::new("x".repeat(100))));
        let weight = "account-1".len() + "token-0".len() + 100;
        assert_eq!(store.stats().kept_bytes, weight as u64);
        assert_eq!(replay(store.begin(&key(0), &parameters)).outcome().body().len(), 100);
    });
}

#[test]
fn the_same_value_under_two_keys_looks_unrelated_and_no_value_is_kept_2_6() {
    let home = Home::directory();
    let store = home.open(explaining());
    for number in 0..2 {
        finish(&store, number, &Parameters::pairs([("Amount-in-cents", "value-4711")]));
    }
    close(store);
    let mut kept = BTreeSet::new();
    for bytes in read_all(&home.path()).values() {
        assert!(find_all(bytes, b"value-4711").is_empty());
        // A digest of 8 bytes and the name's length stand before the name.
        kept.extend(find_all(bytes, b"Amount-in-cents").into_iter().map(|at| bytes[at - 9..at - 1].to_vec()));
    }
    assert_eq!(kept.len(), 2, "one for each key");
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
        let store = explaining().open_in_memory().expect("opens");
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
