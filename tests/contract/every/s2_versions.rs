//! Section 2, second half: under which settings digests are compared, and what is kept of them (2.2, 2.4, 2.5).
//!
//! Goal: neither a changed setting nor a ready-made digest makes an honest retry a mismatch, or a dishonest one a
//! replay. Method: records made under one setting, asked under another, over a reopening.

use oncekey::{Digest, DigestRules, Error, ErrorKind, Incomparable, Known, Outcome, Parameters};

use super::support::{Home, Store, close, fresh, in_flight, key, plain, refused, replay};

fn why(error: &Error) -> Incomparable {
    match error.kind() {
        ErrorKind::CannotCompare(why) => *why,
        other => panic!("expected that they can't be compared, got {other}"),
    }
}

fn finish(store: &Store, number: usize, parameters: &Parameters<'_>) {
    fresh(store.begin(&key(number), parameters)).complete(Outcome::new("done")).expect("kept");
}

fn with_version(digest: Digest, version: u16) -> Digest {
    let mut bytes = digest.to_bytes();
    bytes[..2].copy_from_slice(&version.to_le_bytes());
    Digest::from_bytes(bytes)
}

#[test]
fn a_changed_set_of_names_still_compares_old_records_under_the_old_one_2_2() {
    let home = Home::lasting();
    let first = Parameters::query("Action=Run&Timestamp=1");
    let later = Parameters::query("Action=Run&Timestamp=2");
    let store = home.open(plain());
    finish(&store, 0, &first);
    close(store);

    let store = home.open(plain().rules(DigestRules::cloud_api()));
    replay(store.begin(&key(0), &first));
    assert!(refused(store.begin(&key(0), &later)).is_mismatch(), "Timestamp counted when it was kept");
    finish(&store, 1, &first);
    replay(store.begin(&key(1), &later));
    close(store);

    let store = home.open(plain());
    replay(store.begin(&key(0), &first));
    replay(store.begin(&key(1), &later));
    assert!(refused(store.begin(&key(1), &Parameters::query("Action=Stop"))).is_mismatch());
}

#[test]
fn a_ready_made_digest_of_the_stores_own_settings_is_as_good_as_parameters_2_4() {
    let home = Home::any();
    let store = home.open(plain());
    let given = Parameters::pairs([("a", "1")]);
    let ready = Parameters::digest(given.digest_under(&DigestRules::none()).expect("digested"));
    let carried = Parameters::digest(Digest::from_bytes(
        given.digest_under(&DigestRules::none()).expect("digested").to_bytes(),
    ));
    let held = fresh(store.begin(&key(0), &ready));
    drop(in_flight(store.begin(&key(0), &given)));
    held.complete(Outcome::new("done")).expect("kept");
    for parameters in [&ready, &given, &carried] {
        replay(store.begin(&key(0), parameters));
    }
    let other = Parameters::pairs([("a", "2")]).digest_under(&DigestRules::none()).expect("digested");
    assert!(refused(store.begin(&key(0), &Parameters::digest(other))).is_mismatch());
}

#[test]
fn a_ready_made_digest_of_another_version_is_neither_run_nor_replayed_2_4() {
    let home = Home::any();
    let store = home.open(plain());
    let given = Parameters::pairs([("a", "1")]);
    let digest = given.digest_under(&DigestRules::none()).expect("digested");
    for version in [0, 2, u16::MAX] {
        let ready = Parameters::digest(with_version(digest, version));
        let held = fresh(store.begin(&key(0), &given));
        let expected = Incomparable::Version { record: 1, given: version };
        assert_eq!(why(&refused(store.begin(&key(0), &ready))), expected, "running");
        held.complete(Outcome::new("done")).expect("kept");
        assert_eq!(why(&refused(store.begin(&key(0), &ready))), expected, "finished");
        assert!(matches!(store.get(&key(0)).expect("known"), Known::Finished(_)));
        assert!(store.forget(&key(0)).expect("forgotten"));
    }
}

#[test]
fn a_ready_made_digest_of_other_rules_than_the_records_can_not_be_compared_2_4() {
    let home = Home::lasting();
    let cloud = DigestRules::cloud_api();
    let given = Parameters::query("Action=Run");
    let store = home.open(plain());
    finish(&store, 0, &given);
    let under_cloud = Parameters::digest(given.digest_under(&cloud).expect("digested"));
    assert_eq!(why(&refused(store.begin(&key(0), &under_cloud))), Incomparable::Rules);
    close(store);

    // Now the ready-made digest is of the store's rules, and still not of the record's.
    let store = home.open(plain().rules(cloud));
    assert_eq!(why(&refused(store.begin(&key(0), &under_cloud))), Incomparable::Rules);
    replay(store.begin(&key(0), &given));
}

#[test]
fn a_ready_made_digest_of_the_records_own_old_rules_is_compared_2_4() {
    let home = Home::lasting();
    let given = Parameters::query("Action=Run&Timestamp=1");
    let none = DigestRules::none();
    let ready =
        |parameters: &Parameters<'_>| Parameters::digest(parameters.digest_under(&none).expect("digested"));
    let store = home.open(plain());
    finish(&store, 0, &given);
    close(store);
    let store = home.open(plain().rules(DigestRules::cloud_api()));
    replay(store.begin(&key(0), &ready(&given)));
    let other = ready(&Parameters::query("Action=Run&Timestamp=2"));
    assert!(refused(store.begin(&key(0), &other)).is_mismatch());
}
