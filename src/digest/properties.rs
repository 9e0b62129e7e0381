//! Goal: contract 2.1 and 2.3 hold for all lists of pairs, not only for those one thinks of. Method: random
//! pairs from a small alphabet, so that collisions would be found, against what a reader of the contract expects.

use std::fmt::Write;

use proptest::prelude::*;

use super::{DIGEST_VERSION, Digest, DigestRules, ParameterLimits, Parameters};
use crate::error::{ErrorKind, Limit};

type Pairs = Vec<(String, String)>;

fn digest(parameters: &Parameters<'_>) -> Digest {
    parameters.digest_under(&DigestRules::none()).unwrap()
}

fn of(pairs: &Pairs) -> Digest {
    digest(&Parameters::pairs(pairs.iter().map(|(name, value)| (name, value))))
}

/// What two lists have to share to be equal: names sorted, the values of a name in their order.
fn meaning(pairs: &Pairs) -> Pairs {
    let mut pairs = pairs.clone();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    pairs
}

fn pairs() -> impl Strategy<Value = Pairs> {
    prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..5)
}

/// With names all different.
fn distinct_pairs() -> impl Strategy<Value = Pairs> {
    prop::collection::btree_map(any::<String>(), any::<String>(), 0..40)
        .prop_map(|pairs| pairs.into_iter().collect())
}

fn encoded(text: &str, every: bool, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' if !every => out.push('+'),
            _ if !every && byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02x}").unwrap(),
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_pairs_never_matters_2_1((given, shuffled) in distinct_pairs().prop_flat_map(|pairs| {
        (Just(pairs.clone()), Just(pairs).prop_shuffle())
    })) {
        prop_assert_eq!(of(&given), of(&shuffled));
    }

    #[test]
    fn two_lists_are_equal_exactly_when_they_mean_the_same_2_1(one in pairs(), other in pairs()) {
        prop_assert_eq!(of(&one) == of(&other), meaning(&one) == meaning(&other));
    }

    #[test]
    fn moving_a_byte_between_name_value_and_next_pair_always_matters_2_1(
        texts in prop::collection::vec("[a-z]{0,4}", 2..12),
        from in any::<prop::sample::Index>(),
    ) {
        // Names and values in a row; the last byte of one moves to the front of the next.
        let paired = |texts: &[String]| -> Pairs {
            texts.chunks(2).map(|pair| (pair[0].clone(), pair.get(1).cloned().unwrap_or_default())).collect()
        };
        let from = from.index(texts.len() - 1);
        let mut moved = texts.clone();
        if let Some(byte) = moved[from].pop() {
            moved[from + 1].insert(0, byte);
            let (given, moved) = (paired(&texts), paired(&moved));
            prop_assume!(meaning(&given) != meaning(&moved));
            prop_assert_ne!(of(&given), of(&moved));
        }
    }

    #[test]
    fn form_query_and_pairs_agree_2_3(
        given in prop::collection::vec((any::<String>(), any::<String>()), 0..10),
        every in any::<bool>(),
        gaps in any::<u8>(),
    ) {
        let mut text = "&".repeat(usize::from(gaps % 2));
        for (at, (name, value)) in given.iter().enumerate() {
            encoded(name, every, &mut text);
            if at % 2 == 0 || !value.is_empty() || name.is_empty() {
                text.push('=');
                encoded(value, every, &mut text);
            }
            text.push('&');
        }
        prop_assert_eq!(digest(&Parameters::query(&text)), of(&given));
        prop_assert_eq!(digest(&Parameters::form(text.as_bytes())), of(&given));
    }

    #[test]
    fn random_bytes_as_a_form_do_no_harm_10_4(text in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Parameters::form(&text).digest_under(&DigestRules::cloud_api());
    }

    #[test]
    fn excluding_a_name_is_leaving_its_pairs_out_2_2(given in pairs(), name in "[ab]{0,2}") {
        let rules = DigestRules::excluding([name.clone()]);
        let left: Pairs = given.iter().filter(|(own, _)| *own != name).cloned().collect();
        let all = Parameters::pairs(given.iter().map(|(name, value)| (name, value))).digest_under(&rules);
        let left = Parameters::pairs(left.iter().map(|(name, value)| (name, value))).digest_under(&rules);
        prop_assert_eq!(all, left);
    }
}

/// A part of any kind, small enough to collide.
fn part() -> impl Strategy<Value = Parameters<'static>> {
    prop_oneof![
        pairs().prop_map(Parameters::pairs),
        "[ab]{0,2}".prop_map(|text| Parameters::bytes(text.as_bytes()).into_owned()),
        "[12]".prop_map(|text| Parameters::json(text.as_bytes()).into_owned()),
        Just(Parameters::of("1").unwrap()),
    ]
}

fn named_parts() -> impl Strategy<Value = Vec<(String, Parameters<'static>)>> {
    prop::collection::vec(("[ab]{0,2}", part()), 0..4)
}

fn of_parts(parts: &[(String, Parameters<'static>)]) -> Digest {
    digest(&Parameters::parts(parts.iter().cloned()))
}

/// Names sorted, the digests of a name in their order.
fn meaning_of_parts(parts: &[(String, Parameters<'static>)]) -> Vec<(String, [u8; 42])> {
    let mut parts: Vec<_> = parts.iter().map(|(name, own)| (name.clone(), digest(own).to_bytes())).collect();
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    parts
}

proptest! {
    #[test]
    fn parts_are_equal_exactly_when_each_is_2_1(one in named_parts(), other in named_parts()) {
        prop_assert_eq!(of_parts(&one) == of_parts(&other), meaning_of_parts(&one) == meaning_of_parts(&other));
        prop_assert_ne!(of_parts(&one), digest(&Parameters::pairs(Pairs::new())), "a kind of its own");
    }

    #[test]
    fn excluding_a_name_leaves_out_the_part_and_the_parameter_of_a_part_2_2(given in pairs(), name in "[ab]{1,2}") {
        let rules = DigestRules::excluding([name.clone()]);
        let left: Pairs = given.iter().filter(|(own, _)| *own != name).cloned().collect();
        let all = Parameters::parts([("x", Parameters::pairs(given)), (name.as_str(), Parameters::bytes(b"1"))]);
        let left = Parameters::parts([("x", Parameters::pairs(left))]);
        prop_assert_eq!(all.digest_under(&rules), left.digest_under(&rules));
    }
}

#[test]
fn limits_count_what_all_parts_have_together_8_1() {
    let all = Parameters::parts([
        ("a", Parameters::query("x=1&y=2")),
        ("b", Parameters::parts([("c", Parameters::bytes(b"four"))])),
    ]);
    let fingerprint = |count_max, bytes_max| {
        let limits = ParameterLimits { count_max, bytes_max };
        all.fingerprint(DIGEST_VERSION, &DigestRules::none(), &limits).map_err(|error| error.kind().clone())
    };
    assert!(fingerprint(5, 14).is_ok());
    let (what, limit) = (Limit::ParameterCount, 4);
    assert_eq!(fingerprint(4, 14).unwrap_err(), ErrorKind::TooLarge { what, measured: 5, limit });
    let (what, limit) = (Limit::ParameterBytes, 13);
    assert_eq!(fingerprint(5, 13).unwrap_err(), ErrorKind::TooLarge { what, measured: 14, limit });
    assert_eq!(format!("{all:?}"), "Parameters(parts: 2, 14 bytes)");
}

#[test]
fn a_broken_part_breaks_the_whole_and_a_ready_made_digest_counts_as_its_bytes_2_3_2_4() {
    let broken = Parameters::parts([("a", Parameters::json(b"{"))]);
    assert!(broken.digest_under(&DigestRules::none()).unwrap_err().is_bad_input());
    let ready = digest(&Parameters::query("a=1"));
    let bytes = Parameters::bytes(&ready.to_bytes()).into_owned();
    assert_eq!(
        digest(&Parameters::parts([("a", Parameters::digest(ready))])),
        digest(&Parameters::parts([("a", bytes)]).into_owned())
    );
}

#[test]
fn a_mismatch_names_the_parameter_of_a_part_by_both_2_6() {
    let outline = |parameters: &Parameters<'_>| {
        let limits = ParameterLimits::ABSOLUTE;
        parameters.outlined(DIGEST_VERSION, &DigestRules::none(), &limits).unwrap().1
    };
    let request = |path: &'static [u8], body: &'static [u8]| {
        Parameters::parts([("path", Parameters::bytes(path)), ("body", Parameters::json(body))])
    };
    let known = outline(&request(b"/a", br#"{"A": 1, "B": 2}"#)).unwrap();
    let asked = outline(&request(b"/b", br#"{"A": 2, "C": 3}"#)).unwrap();
    let told = known.difference(&asked).unwrap();
    assert!(told.added().eq(["body.C"]) && told.removed().eq(["body.B"]));
    assert!(told.changed().eq(["body.A", "path"]));
    let many: Vec<String> = (0..65).map(|at| format!("{at}=1")).collect();
    assert!(
        outline(&Parameters::parts([("query", Parameters::query(&many.join("&")))])).is_none(),
        "it lacks names"
    );
}
