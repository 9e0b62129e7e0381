//! What may stand as the value of a pair.
//!
//! Law: text and bytes, borrowed or owned, and nothing else: how a number is spelled is the caller's matter, since
//! another spelling is another parameter. The trait is sealed so that this stays so.

use std::borrow::Cow;

/// What [`Parameters::pairs`](crate::Parameters::pairs) takes as a value: text or bytes, borrowed or owned.
pub trait ParameterValue<'a>: sealed::Sealed {
    /// The value's bytes.
    fn into_value(self) -> Cow<'a, [u8]>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! values {
    (borrowed: $([$($constant:tt)*] $borrowed:ty => $as_bytes:ident),* ; owned: $($owned:ty => $into:ident),*) => {
        $(
            impl<$($constant)*> sealed::Sealed for &$borrowed {}
            impl<'a, $($constant)*> ParameterValue<'a> for &'a $borrowed {
                fn into_value(self) -> Cow<'a, [u8]> {
                    Cow::Borrowed(self.$as_bytes())
                }
            }
        )*
        $(
            impl sealed::Sealed for $owned {}
            impl<'a> ParameterValue<'a> for $owned {
                fn into_value(self) -> Cow<'a, [u8]> {
                    Cow::Owned(self.$into())
                }
            }
        )*
    };
}

values! {
    borrowed:
        [] str => as_bytes, [] String => as_bytes, [] [u8] => as_ref, [] Vec<u8> => as_ref,
        [const N: usize] [u8; N] => as_ref;
    owned: String => into_bytes, Vec<u8> => into
}

impl sealed::Sealed for Cow<'_, str> {}
impl<'a> ParameterValue<'a> for Cow<'a, str> {
    fn into_value(self) -> Cow<'a, [u8]> {
        match self {
            Cow::Borrowed(text) => text.into_value(),
            Cow::Owned(text) => text.into_value(),
        }
    }
}

impl sealed::Sealed for Cow<'_, [u8]> {}
impl<'a> ParameterValue<'a> for Cow<'a, [u8]> {
    fn into_value(self) -> Cow<'a, [u8]> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::super::{DigestRules, Parameters};
    use super::*;

    #[test]
    fn pairs_take_text_and_bytes_borrowed_and_owned() {
        let map = BTreeMap::from([(String::from("a"), String::from("1"))]);
        let hash_map: HashMap<&str, Vec<u8>> = HashMap::from([("a", b"1".to_vec())]);
        let all = [
            Parameters::pairs([("a", "1")]),
            Parameters::pairs([("a", b"1")]),
            Parameters::pairs([("a", &b"1"[..])]),
            Parameters::pairs([(String::from("a"), String::from("1"))]),
            Parameters::pairs([(Cow::Borrowed("a"), Cow::Borrowed("1"))]),
            Parameters::pairs([("a", Cow::<str>::Owned(String::from("1")))]),
            Parameters::pairs([("a", Cow::Borrowed(&b"1"[..]))]),
            Parameters::pairs(&map),
            Parameters::pairs(map.clone()),
            Parameters::pairs(hash_map.iter().map(|(name, value)| (*name, value))),
            Parameters::pairs(hash_map.clone()),
        ];
        for parameters in &all {
            let rules = DigestRules::none();
            assert_eq!(parameters.digest_under(&rules), all[0].digest_under(&rules));
        }
    }
}
