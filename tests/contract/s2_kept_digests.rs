//! Section 2, what is kept of a digest (2.5).
//!
//! Goal: a stolen file gives no dictionary attack. Method: the bytes of the files.

use oncekey::{DigestRules, Parameters, Secret};

use crate::every::s2_mismatches::finish;
use crate::support::files::{find_all, read_all};
use crate::support::{Home, close, plain};

#[test]
fn no_plain_digest_of_known_parameters_stands_in_any_file_2_5() {
    let home = Home::directory();
    let store = home.open(plain());
    let given = Parameters::pairs([("Pin", "1234")]);
    for number in 0..3 {
        finish(&store, number, &given);
    }
    close(store);
    let digest = given.digest_under(&DigestRules::none()).expect("digested").to_bytes();
    let plain_hash = &digest[10..];
    for (name, bytes) in read_all(&home.path()) {
        assert!(find_all(&bytes, plain_hash).is_empty(), "{name} holds a plain digest");
        assert!(find_all(&bytes, &plain_hash[..12]).is_empty(), "{name} holds a part of a plain digest");
    }
}

/// The digests kept for two tokens with equal parameters, by the layout of `src/record`: 52 bytes before the key.
fn kept_digests(secret: [u8; 32]) -> Vec<Vec<u8>> {
    let home = Home::directory();
    let store = home.open(plain().secret(Secret::new(secret)));
    for number in 0..2 {
        finish(&store, number, &Parameters::pairs([("Pin", "1234")]));
    }
    close(store);
    let files = read_all(&home.path());
    let bytes = files.iter().find(|(name, _)| name.starts_with("segment-")).expect("a segment").1;
    let digest = |token: &str| {
        let framed = format!("\x09account-1\x07{token}");
        let at = find_all(bytes, framed.as_bytes()).last().copied().expect("the whole key is kept (1.3)");
        bytes[at - 52..at - 20].to_vec()
    };
    ["token-0", "token-1"].map(digest).to_vec()
}

#[test]
fn equal_parameters_look_unrelated_under_two_tokens_and_under_two_secrets_2_5() {
    let (one, other) = (kept_digests([1; 32]), kept_digests([2; 32]));
    assert_eq!(one, kept_digests([1; 32]), "this is where the digests stand");
    let all = [&one[0], &one[1], &other[0], &other[1]];
    for (at, digest) in all.iter().enumerate() {
        for later in &all[at + 1..] {
            let shared = digest.windows(4).filter(|part| !find_all(later, part).is_empty()).count();
            assert_eq!(shared, 0, "{digest:?} {later:?}");
        }
    }
}
