//! Goal: contract 2.1 and 2.3 hold for all lists of pairs, not only for those one thinks of. Method: random
//! pairs from a small alphabet, so that collisions would be found, against what a reader of the contract expects.

use std::fmt::Write;

use proptest::prelude::*;

use super::{Digest, DigestRules, Parameters};

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
