//! Section 1: token, scope and key.
//!
//! Goal: a token is refused or accepted by its rule alone, and no call reaches across keys. Method: bounds, each
//! with one beyond, and pairs of keys that a careless framing would mix up.

use oncekey::{ErrorKind, Key, Known, Outcome, ScopeFault, Token, TokenFault};

use super::support::{
    asked, assert_free, assert_replays, fresh, in_every_home, plain, refused, rejected, run,
};

fn token_fault(token: impl AsRef<[u8]>) -> TokenFault {
    match Key::new("account-1", token).expect_err("refused").kind() {
        ErrorKind::InvalidToken(fault) => *fault,
        other => panic!("expected a refused token, got {other}"),
    }
}

fn scope_fault(scope: impl AsRef<[u8]>) -> ScopeFault {
    match Key::new(scope, "token").expect_err("refused").kind() {
        ErrorKind::InvalidScope(fault) => *fault,
        other => panic!("expected a refused scope, got {other}"),
    }
}

#[test]
fn a_token_has_1_to_64_ascii_characters_1_1() {
    for length in [1, 2, 63, 64] {
        assert_eq!(Key::new("s", "x".repeat(length)).expect("accepted").token().len(), length);
    }
    assert_eq!(token_fault(""), TokenFault::Empty);
    assert_eq!(token_fault("x".repeat(65)), TokenFault::TooLong { measured: 65, limit: 64 });
    assert_eq!(token_fault("a\u{e9}"), TokenFault::NotAscii { position: 1 });
    assert_eq!(token_fault([b'a', b'b', 0xff]), TokenFault::NotAscii { position: 2 });
    let every_ascii: Vec<u8> = (0..128).collect();
    for half in every_ascii.chunks(64) {
        assert!(Key::new("s", half).is_ok(), "every ASCII character is allowed");
    }
}

#[test]
fn a_refusal_gives_the_rule_1_1() {
    for token in [String::new(), "x".repeat(65), "\u{e9}".into()] {
        let sentence = Key::new("s", token).expect_err("refused").to_string();
        assert!(sentence.contains("1 to 64") && sentence.contains("ASCII"), "{sentence}");
        assert!(Token::parse("\u{e9}").is_err());
    }
    let error = Key::new("s", "").expect_err("refused");
    assert!(error.is_bad_input() && !error.is_retryable());
}

#[test]
fn tokens_are_case_sensitive_and_compared_byte_for_byte_1_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let tokens = ["Token", "token", "TOKEN", "token ", " token", "token\0", "token\n"];
        for token in tokens {
            run(&store, &Key::new("s", token).expect("sound"), token);
        }
        for token in tokens {
            assert_replays(&store, &Key::new("s", token).expect("sound"), token);
        }
    });
}

#[test]
fn a_policy_allows_tokens_up_to_255_and_no_more_1_1() {
    in_every_home(|home| {
        let store = home.open(plain().token_bytes_max(255));
        let long = store.key("s", "x".repeat(255)).expect("the policy allows it");
        run(&store, &long, "long");
        assert_replays(&store, &long, "long");
        let error = store.key("s", "x".repeat(256)).expect_err("refused");
        let fault = TokenFault::TooLong { measured: 256, limit: 255 };
        assert_eq!(error.kind(), &ErrorKind::InvalidToken(fault));
    });
    let beyond = rejected(plain().token_bytes_max(256));
    assert!(
        matches!(beyond.kind(), ErrorKind::InvalidSetting { setting: "token_bytes_max", .. }),
        "{beyond}"
    );
}

#[test]
fn a_store_with_a_stricter_policy_refuses_a_key_made_elsewhere_1_1() {
    in_every_home(|home| {
        let store = home.open(plain().token_bytes_max(8).scope_bytes_max(4));
        let long_token = Key::new("s", "x".repeat(9)).expect("sound by the default");
        let fault = TokenFault::TooLong { measured: 9, limit: 8 };
        let error = refused(store.begin(&long_token, &asked()));
        assert_eq!(error.kind(), &ErrorKind::InvalidToken(fault));
        let long_scope = Key::new("s".repeat(5), "x").expect("sound by the default");
        let fault = ScopeFault::TooLong { measured: 5, limit: 4 };
        let error = refused(store.begin(&long_scope, &asked()));
        assert_eq!(error.kind(), &ErrorKind::InvalidScope(fault));
        run(&store, &store.key("ssss", "x".repeat(8)).expect("at the bounds"), "done");
    });
}

#[test]
fn a_scope_is_1_to_255_bytes_and_always_given_1_2() {
    for length in [1, 2, 254, 255] {
        assert_eq!(Key::new("s".repeat(length), "t").expect("accepted").scope().len(), length);
    }
    assert!(Key::new([0, 0xff, b'\n'], "t").is_ok(), "a scope is bytes");
    assert_eq!(scope_fault(""), ScopeFault::Empty);
    assert_eq!(scope_fault("s".repeat(256)), ScopeFault::TooLong { measured: 256, limit: 255 });
}

#[test]
fn one_token_under_two_scopes_is_two_keys_1_2() {
    in_every_home(|home| {
        let store = home.open(plain());
        let (mine, theirs) =
            (Key::new("tenant-1", "t").expect("sound"), Key::new("tenant-2", "t").expect("sound"));
        let held = fresh(store.begin(&mine, &asked()));
        let other = fresh(store.begin(&theirs, &asked()));
        held.complete(Outcome::new("mine")).expect("kept");
        assert!(matches!(store.get(&theirs).expect("known"), Known::InFlight { .. }));
        other.complete(Outcome::new("theirs")).expect("kept");
        assert_replays(&store, &mine, "mine");
        assert_replays(&store, &theirs, "theirs");
        assert!(store.forget(&mine).expect("forgotten"));
        assert_free(&store, &mine);
        assert_replays(&store, &theirs, "theirs");
    });
}

#[test]
fn no_two_pairs_of_scope_and_token_are_one_key_1_3() {
    in_every_home(|home| {
        let store = home.open(plain());
        let pairs: [(&[u8], &str); 8] = [
            (b"ab", "c"),
            (b"a", "bc"),
            (b"abc", "c"),
            (b"a\x01b", "c"),
            (b"a", "\x01bc"),
            (b"a\x02bc", "d"),
            (b"c", "ab"),
            (b"a\0", "b"),
        ];
        for (scope, token) in pairs {
            let key = Key::new(scope, token).expect("sound");
            run(&store, &key, &format!("{scope:?} {token:?}"));
        }
        for (scope, token) in pairs {
            assert_replays(&store, &Key::new(scope, token).expect("sound"), &format!("{scope:?} {token:?}"));
        }
    });
}

#[test]
fn many_keys_in_one_stripe_are_told_apart_by_the_whole_key_1_3() {
    in_every_home(|home| {
        let store = home.open(plain().stripes(1));
        let keys: Vec<Key> = (0..300).map(super::support::key).collect();
        let held: Vec<_> = keys.iter().map(|key| fresh(store.begin(key, &asked()))).collect();
        for (number, reservation) in held.into_iter().enumerate() {
            reservation.complete(Outcome::new(number.to_string())).expect("kept");
        }
        for (number, key) in keys.iter().enumerate() {
            assert_replays(&store, key, &number.to_string());
        }
    });
}

#[test]
fn a_derived_token_is_the_same_for_every_attempt_and_obeys_the_rule_1_1() {
    in_every_home(|home| {
        let store = home.open(plain());
        let own = super::support::key(0);
        let first = fresh(store.begin(&own, &asked()));
        let token = first.key().derive("charge").expect("derived");
        drop(first);
        let again = fresh(store.begin(&own, &asked()));
        assert_eq!(
            again.key().derive("charge").expect("derived"),
            token,
            "what an earlier attempt called with"
        );
        assert_eq!(Token::parse(&token).expect("within the rule"), token);
        assert!(token.as_str().len() <= 64 && token.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        run(&store, &Key::new("downstream", &token).expect("a sound key"), "charged");
    });
}

#[test]
fn a_derived_token_reaches_no_other_scope_token_or_label_1_2() {
    let derive = |scope: &str, token: &str, label: &str| {
        Key::new(scope, token).expect("sound").derive(label).expect("derived")
    };
    let own = derive("account-1", "token", "charge");
    for other in [
        derive("account-2", "token", "charge"),
        derive("account-1", "tokem", "charge"),
        derive("account-1", "token", "charge again"),
        derive("account-1t", "oken", "charge"),
        derive("account-1", "tokenc", "harge"),
    ] {
        assert_ne!(other, own);
    }
    for label in [String::new(), "l".repeat(256)] {
        let error = Key::new("account-1", "token").expect("sound").derive(&label).expect_err("refused");
        let kind = ErrorKind::InvalidLabel { measured: label.len(), limit: 255 };
        assert_eq!(error.kind(), &kind);
    }
}
