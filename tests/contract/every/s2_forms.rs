//! Section 2, first half: what counts as the same parameters (2.1, 2.2, 2.3).
//!
//! Goal: a retry that means the same is replayed, any other is a mismatch. Method: one key is finished with the
//! first form, then asked with others, through the store and not through digests.

use std::collections::BTreeMap;

use oncekey::{Builder, DigestRules, ErrorKind, Outcome, ParameterFault, Parameters};

use super::support::{Home, Store, assert_free, fresh, in_every_home, key, plain, refused, replay};

/// Finishes `key(0)` with `first`; each of `same` must be replayed and each of `other` be a mismatch.
#[track_caller]
fn judge(builder: &Builder, first: &Parameters<'_>, same: &[Parameters<'_>], other: &[Parameters<'_>]) {
    in_every_home(|home| {
        let store = home.open(builder.clone());
        let held = fresh(store.begin(&key(0), first));
        let compare = |store: &Store, running: bool| {
            for (number, parameters) in same.iter().enumerate() {
                let answer = store.begin(&key(0), parameters);
                assert!(answer.is_ok(), "{number} means the same (running: {running}): {answer:?}");
            }
            for (number, parameters) in other.iter().enumerate() {
                let error = refused(store.begin(&key(0), parameters));
                assert!(error.is_mismatch(), "{number} is another (running: {running}): {error}");
            }
        };
        compare(&store, true);
        held.complete(Outcome::new("done")).expect("kept");
        compare(&store, false);
        for parameters in same {
            assert_eq!(replay(store.begin(&key(0), parameters)).outcome().body(), b"done");
        }
    });
}

fn malformed(parameters: &Parameters<'_>) -> ParameterFault {
    let home = Home::any();
    let store = home.open(plain());
    let error = refused(store.begin(&key(0), parameters));
    assert!(error.is_bad_input(), "{error}");
    assert_free(&store, &key(0));
    match error.kind() {
        ErrorKind::InvalidParameters(fault) => *fault,
        other => panic!("expected refused parameters, got {other}"),
    }
}

#[test]
fn the_order_of_parameters_never_matters_2_1() {
    let first = Parameters::pairs([("a", "1"), ("b", "2"), ("c", "3")]);
    let same = [
        Parameters::pairs([("c", "3"), ("b", "2"), ("a", "1")]),
        Parameters::pairs([("b", "2"), ("c", "3"), ("a", "1")]),
    ];
    judge(&plain(), &first, &same, &[Parameters::pairs([("a", "2"), ("b", "1"), ("c", "3")])]);
}

#[test]
fn moving_a_byte_between_values_names_and_pairs_always_matters_2_1() {
    let first = Parameters::pairs([("ab", "cd"), ("ef", "gh")]);
    let other = [
        Parameters::pairs([("a", "bcd"), ("ef", "gh")]),
        Parameters::pairs([("abc", "d"), ("ef", "gh")]),
        Parameters::pairs([("ab", "c"), ("ef", "dgh")]),
        Parameters::pairs([("ab", "cdef"), ("", "gh")]),
        Parameters::pairs([("ab", "cdefgh")]),
        Parameters::pairs([("ab", "cd"), ("ef", "gh"), ("", "")]),
        Parameters::pairs([("ab", "cd"), ("ef", "gh"), ("ef", "gh")]),
        Parameters::pairs([("ab", "cd")]),
        Parameters::pairs([("ab", "cd"), ("ef", "")]),
        Parameters::none(),
    ];
    judge(&plain(), &first, &[], &other);
}

#[test]
fn repeated_names_keep_the_order_of_their_values_2_1() {
    let first = Parameters::pairs([("x", "1"), ("a", "0"), ("x", "2")]);
    let same = [Parameters::pairs([("a", "0"), ("x", "1"), ("x", "2")])];
    judge(&plain(), &first, &same, &[Parameters::pairs([("a", "0"), ("x", "2"), ("x", "1")])]);
}

#[test]
fn names_of_the_cloud_api_preset_never_count_2_2() {
    let first = Parameters::query("Action=Run&Size=1&Timestamp=1&SignatureNonce=n1&Signature=s1");
    let same = [
        Parameters::query("Action=Run&Size=1"),
        Parameters::query(
            "Action=Run&Size=1&Timestamp=2&SignatureNonce=n2&Signature=s2&SignatureMethod=m&SignatureVersion=v\
             &SignatureType=t&SecurityToken=st&AccessKeyId=k&ClientToken=c",
        ),
        Parameters::pairs([("Size", "1"), ("ClientToken", "other"), ("Action", "Run")]),
    ];
    let other = [
        Parameters::query("Action=Stop&Size=1"),
        Parameters::query("Action=Run&Size=1&timestamp=1"),
        Parameters::query("Action=Run&Size=1&Timestamp2=1"),
        Parameters::query("Action=Run&Size=1&signature=s"),
        Parameters::query("Action=Run&Size=1&%20Timestamp=1"),
    ];
    judge(&plain().rules(DigestRules::cloud_api()), &first, &same, &other);
}

#[test]
fn by_default_every_name_counts_and_the_set_is_a_setting_2_2() {
    let first = Parameters::query("Action=Run&Timestamp=1");
    judge(&plain(), &first, &[], &[Parameters::query("Action=Run&Timestamp=2")]);
    let own = plain().rules(DigestRules::excluding(["TraceId"]));
    let first = Parameters::query("Action=Run&TraceId=1");
    judge(
        &own,
        &first,
        &[Parameters::query("Action=Run&TraceId=2")],
        &[Parameters::query("Action=Run&Timestamp=1")],
    );
}

#[test]
fn pairs_query_string_and_form_are_one_kind_2_3() {
    let first = Parameters::pairs([("Name", "web server"), ("Tag", "a&b=c"), ("Empty", "")]);
    let same = [
        Parameters::query("Name=web+server&Tag=a%26b%3Dc&Empty"),
        Parameters::query("&Empty=&Tag=a%26b%3dc&&Name=web%20server&"),
        Parameters::form(b"%4eame=web+server&Tag=a%26b=c&Empty="),
    ];
    judge(&plain(), &first, &same, &[Parameters::query("Name=web%2Bserver&Tag=a%26b%3Dc&Empty")]);
}

#[test]
fn every_other_kind_has_a_domain_of_its_own_2_3() {
    let text = r#"{"a":"1"}"#;
    let value = BTreeMap::from([("a", "1")]);
    let kinds = [
        Parameters::pairs([("a", "1")]),
        Parameters::bytes(text.as_bytes()),
        Parameters::json(text.as_bytes()),
        Parameters::of(&value).expect("written"),
    ];
    for (at, first) in kinds.iter().enumerate() {
        let other: Vec<_> = kinds
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(_, kind)| kind.clone())
            .collect();
        judge(&plain(), first, std::slice::from_ref(first), &other);
    }
}

#[test]
fn json_is_compared_by_what_it_means_2_3() {
    let first = Parameters::json(br#"{"b":[1,2.50,"\u00e9"],"a":{"y":null,"x":true}}"#);
    let same = [
        Parameters::json("{ \"a\" : {\"x\":true, \"y\":null}, \"b\" : [1.0, 25e-1, \"é\"] }".as_bytes()),
        Parameters::json(b"\t{\"a\":{\"y\":null,\"x\":true},\"\\u0062\":[10e-1,2.5,\"\\u00E9\"]}\n"),
    ];
    let other = [
        Parameters::json(br#"{"b":[2.5,1,"\u00e9"],"a":{"y":null,"x":true}}"#),
        Parameters::json(br#"{"b":[1,2.5,"e\u0301"],"a":{"y":null,"x":true}}"#),
        Parameters::json(br#"{"b":[1,2.5,"\u00e9"],"a":{"x":true}}"#),
        Parameters::json(br#"{"b":["1",2.5,"\u00e9"],"a":{"y":null,"x":true}}"#),
    ];
    judge(&plain(), &first, &same, &other);
}

#[test]
fn numbers_that_no_double_holds_stay_apart_2_3() {
    let first = Parameters::json(b"[9007199254740993]");
    let same = [Parameters::json(b"[9007199254740993.0]"), Parameters::json(b"[9.007199254740993e15]")];
    let other = [
        Parameters::json(b"[9007199254740992]"),
        Parameters::json(b"[9007199254740994]"),
        Parameters::json(b"[1e400]"),
    ];
    judge(&plain(), &first, &same, &other);
    judge(
        &plain(),
        &Parameters::json(b"[1e400]"),
        &[Parameters::json(b"[10e399]")],
        &[Parameters::json(b"[1e401]")],
    );
}

#[test]
fn duplicate_members_are_refused_2_3() {
    for text in [&br#"{"a":1,"a":1}"#[..], br#"{"a":1,"\u0061":2}"#, br#"[{"x":{"b":1,"b":2}}]"#] {
        let fault = malformed(&Parameters::json(text));
        assert!(matches!(fault, ParameterFault::DuplicateMember { .. }), "{fault}");
    }
}

#[test]
fn nesting_over_128_is_refused_2_3() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let home = Home::any();
    let store = home.open(plain());
    drop(fresh(store.begin(&key(0), &Parameters::json(nested(128).as_bytes()))));
    assert_eq!(malformed(&Parameters::json(nested(129).as_bytes())), ParameterFault::TooDeep { limit: 128 });
    let fault = malformed(&Parameters::json("[".repeat(1_000_000).as_bytes()));
    assert_eq!(fault, ParameterFault::TooDeep { limit: 128 });
}

#[test]
fn what_is_not_well_formed_is_refused_with_its_position_2_3() {
    assert_eq!(malformed(&Parameters::json(b"{\"a\":01}")), ParameterFault::Json { position: 6 });
    assert!(matches!(malformed(&Parameters::json(b"")), ParameterFault::Json { .. }));
    assert_eq!(malformed(&Parameters::query("a=%zz")), ParameterFault::Query { position: 2 });
}

#[test]
fn equal_serde_values_are_equal_whatever_the_order_of_their_maps_2_3() {
    #[derive(serde::Serialize)]
    struct One {
        a: u8,
        b: Option<&'static str>,
    }
    #[derive(serde::Serialize)]
    struct Other {
        b: Option<String>,
        a: f64,
    }
    let first = Parameters::of(&One { a: 1, b: Some("x") }).expect("written");
    let same = [
        Parameters::of(&Other { b: Some("x".into()), a: 1.0 }).expect("written"),
        Parameters::of(&serde_json::json!({"b": "x", "a": 1})).expect("written"),
    ];
    let other = [
        Parameters::of(&One { a: 2, b: Some("x") }).expect("written"),
        Parameters::of(&One { a: 1, b: None }).expect("written"),
    ];
    judge(&plain(), &first, &same, &other);
}
