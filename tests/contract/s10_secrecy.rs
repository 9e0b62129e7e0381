//! Section 10: files' modes (10.1) and what is never shown (10.2).
//!
//! Goal: nobody else reads the files, and no log line shows a caller's bytes. Method: modes of all that a store
//! ever makes; one canary word in every place that takes bytes, looked for in every text that comes out. Names of
//! parameters are given by `Error::difference` and stand in the files, where the store was told to explain (2.6).

use std::fmt::{Debug, Display};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use oncekey::{
    Answer, Class, Digest, DigestRules, ErrorKind, Executed, Key, Known, OperationError, Outcome, Parameters,
    Secret, Store, Token,
};

use crate::support::files::{find_all, mode, read_all};
use crate::support::{Home, close, fresh, in_flight, kept, plain, refusal, refused, replay};

const CANARY: &str = "canary";

#[test]
fn files_are_0600_and_a_new_directory_is_0700_10_1() {
    let home = Home::directory();
    let store = home.open(plain());
    crate::support::run(&store, &crate::support::key(0), "done");
    store.backup(home.beside("backup")).expect("backed up");
    store.rotate_secret(&Secret::new([7; 32])).expect("rotated");
    for dir in [home.path(), home.beside("backup")] {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        let names: Vec<_> = read_all(&dir).into_keys().collect();
        assert!(names.len() >= 3, "{names:?}");
        for name in names {
            assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
        }
    }
    close(store);
}

#[test]
fn the_mode_of_a_directory_that_was_there_is_the_callers_10_1() {
    let home = Home::directory();
    fs::create_dir(home.path()).expect("made");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).expect("set");
    close(home.open(plain()));
    assert_eq!(mode(&home.path()), 0o750);
    assert!(read_all(&home.path()).keys().all(|name| mode(&home.path().join(name)) == 0o600));
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Failure(String);

impl OperationError for Failure {
    fn class(&self) -> Class {
        Class::Final
    }
}

/// Collects texts, and says which of them shows something.
#[derive(Default)]
struct Shown(Vec<String>);

impl Shown {
    fn debug(&mut self, value: &impl Debug) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }

    fn error(&mut self, value: &(impl Debug + Display)) {
        self.debug(value);
        self.0.push(value.to_string());
    }

    /// The canary in any of the ways in which bytes are shown.
    fn check(&self) {
        let numbers = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
        let hex = hexadecimal(CANARY.as_bytes());
        let ways = [CANARY.to_owned(), numbers.join(", "), numbers.join(",\n"), hex];
        for text in &self.0 {
            let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for way in &ways {
                assert!(!text.to_lowercase().contains(way) && !squeezed.contains(way), "{text}");
            }
        }
    }
}

fn canary(more: &str) -> String {
    format!("{CANARY}{more}")
}

#[test]
fn answers_and_guards_show_no_callers_bytes_10_2() {
    let store = plain().open_in_memory().expect("opens");
    let own = Key::new(canary("-scope"), canary("-token")).expect("sound");
    let text = canary("=value&x=canary");
    let parameters = Parameters::query(&text);
    let mut shown = Shown::default();
    shown.debug(&own);
    shown.debug(&own.derive(canary("-label")));
    shown.error(&own.derive(CANARY.repeat(50)).expect_err("too long"));
    shown.debug(&parameters);
    shown.debug(&store.request(&own, &parameters));
    let outcome = || Outcome::http(200, CANARY).with_metadata(CANARY, CANARY).with_code(CANARY);
    let answer = store.begin(&own, &parameters);
    shown.debug(&answer);
    let held = fresh(answer);
    shown.debug(&held);
    let other = store.begin(&own, &parameters);
    shown.debug(&other);
    shown.debug(&in_flight(other));
    shown.debug(&store.get(&own));
    shown.debug(&outcome());
    shown.debug(&held.complete(outcome()));
    let again = store.begin(&own, &parameters);
    shown.debug(&again);
    shown.debug(&replay(again));
    shown.debug(&store.get(&own));
    shown.debug(&(store.stats(), store.guarantees(), store.sweep()));
    shown.debug(&store);
    shown.check();
}

#[test]
fn errors_show_no_callers_bytes_10_2() {
    let store = plain().outcome_bytes_max(8).declared_outcome_bytes(8).open_in_memory().expect("opens");
    let own = Key::new(CANARY, CANARY).expect("sound");
    let mut shown = Shown::default();
    for token in [canary("\u{e9}"), CANARY.repeat(50), String::new()] {
        shown.error(&Key::new(CANARY, &token).expect_err("refused"));
        shown.error(&Token::parse(&token).expect_err("refused"));
    }
    shown.error(&Key::new(CANARY.repeat(50), CANARY).expect_err("refused"));
    let broken = [
        Parameters::json(br#"{"canary":"canary","canary":1}"#),
        Parameters::json(b"[\"canary\" canary"),
        Parameters::query("canary=%canary"),
        Parameters::bytes(CANARY.as_bytes()),
    ];
    let held = fresh(store.begin(&own, &Parameters::none()));
    for parameters in &broken {
        shown.error(&refused(store.begin(&own, parameters)));
    }
    let refusal = held.complete(Outcome::http(200, CANARY.repeat(2))).expect_err("too large");
    shown.error(&refusal);
    shown.error(&store.forget(&own).expect_err("in flight"));
    let held = refusal.reservation.expect("handed back");
    kept(held.complete_without_body(Outcome::http(200, CANARY.repeat(2))));
    let value = |_: &oncekey::Reservation| Ok::<String, Failure>(CANARY.to_owned());
    shown.error(&store.execute(&own, &Parameters::none(), value).expect_err("without body"));
    shown.check();
}

/// Names are told, by `Error::difference` alone (2.6); values never are.
#[test]
fn a_mismatch_shows_how_many_parameters_differ_and_no_name_or_value_10_2() {
    let home = Home::directory();
    let store = home.open(plain().explain_mismatches(true));
    let own = Key::new("s", "t").expect("sound");
    let held = fresh(store.begin(&own, &Parameters::pairs([(CANARY, CANARY), ("canary-2", CANARY)])));
    let other = Parameters::pairs([(CANARY, "1"), ("canary-3", CANARY), ("canary-4", CANARY)]);
    let mut shown = Shown::default();
    let mut check = |error: &oncekey::Error| {
        let difference = error.difference().expect("explained");
        assert!(difference.added().eq(["canary-3", "canary-4"]) && difference.changed().eq([CANARY]));
        shown.error(error);
        shown.error(difference);
        shown.debug(&(error.kind(), error.clone()));
        assert!(error.to_string().ends_with("(2 added, 1 removed, 1 changed)"), "{error}");
    };
    check(&refused(store.begin(&own, &other)));
    kept(held.complete(Outcome::new("done")));
    check(&refused(store.begin(&own, &other)));
    shown.debug(&(store.stats(), store.guarantees(), store.get(&own)));
    shown.check();
    close(store);
}

#[test]
fn the_files_hold_names_where_they_were_asked_for_and_never_a_value_or_its_digest_10_2() {
    let value = format!("{CANARY}-value");
    let parameters = Parameters::pairs([("canary-name", value.as_str())]);
    for explaining in [false, true] {
        let home = Home::directory();
        let store = home.open(plain().explain_mismatches(explaining));
        let keys = [Key::new("s", "t1").expect("sound"), Key::new("s", "t2").expect("sound")];
        drop(fresh(store.request(&keys[0], &parameters).start_durably().begin()));
        kept(fresh(store.begin(&keys[1], &parameters)).complete(Outcome::new("done")));
        close(store);
        let unkeyed = blake3::hash(value.as_bytes());
        let files = read_all(&home.path());
        let found = |needle: &[u8]| files.values().any(|bytes| !find_all(bytes, needle).is_empty());
        assert_eq!(found(b"canary-name"), explaining);
        assert!(!found(value.as_bytes()) && !found(&unkeyed.as_bytes()[..8]));
    }
}

#[test]
fn the_error_of_an_unreadable_outcome_shows_its_length_alone_10_2() {
    let store = plain().open_in_memory().expect("opens");
    let own = Key::new("s", "t").expect("sound");
    let text = |_: &oncekey::Reservation| Ok::<String, Failure>(CANARY.to_owned());
    store.execute(&own, &Parameters::none(), text).expect("runs");
    let error = store.execute::<u8, Failure>(&own, &Parameters::none(), |_| Ok(1)).expect_err("another type");
    let mut shown = Shown::default();
    shown.error(&error);
    shown.check();
    match error.kind() {
        ErrorKind::UnreadableOutcome { bytes, .. } => {
            assert!(bytes.as_bytes().ends_with(CANARY.as_bytes()), "the bytes are given, and not shown");
        }
        other => panic!("expected an unreadable outcome, got {other}"),
    }
}

#[test]
fn values_of_execute_are_not_shown_10_2() {
    let store = plain().open_in_memory().expect("opens");
    let mut shown = Shown::default();
    for (number, fails) in [false, true].into_iter().enumerate() {
        let own = Key::new("s", format!("t{number}")).expect("sound");
        let operation =
            |_: &oncekey::Reservation| if fails { Err(Failure(CANARY.into())) } else { Ok(canary("!")) };
        for _ in 0..2 {
            let executed: Executed<String, Failure> =
                store.execute(&own, &Parameters::none(), operation).expect("executed");
            shown.debug(&executed);
        }
    }
    shown.check();
}

#[test]
fn secrets_digests_and_settings_are_not_shown_10_2() {
    let secret = Secret::new(*b"canarycanarycanarycanarycanaryca");
    let parameters = Parameters::bytes(CANARY.as_bytes());
    let digest = parameters.digest_under(&DigestRules::none()).expect("digested");
    let builder = plain().secret(secret.clone()).old_secret(secret.clone());
    let store = builder.clone().open_in_memory().expect("opens");
    let mut shown = Shown::default();
    shown.debug(&secret);
    shown.debug(&builder);
    shown.debug(&store);
    shown.debug(&(digest, Parameters::digest(digest)));
    shown.check();
    let hash = &digest.to_bytes()[10..];
    shown_digest(&shown, hash);
    let home = Home::directory();
    close(home.open(plain().secret(secret)));
    let mut shown = Shown::default();
    shown.error(&refusal(plain(), &home.path()));
    shown.check();
    assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
}

#[test]
fn the_digest_of_a_body_that_was_not_kept_is_not_shown_10_2() {
    let store: Store = plain().open_in_memory().expect("opens");
    let own = Key::new("s", "t").expect("sound");
    kept(fresh(store.begin(&own, &Parameters::none())).complete_without_body(Outcome::new("pin 1234")));
    let replay = replay(store.begin(&own, &Parameters::none()));
    let omitted = replay.omitted().expect("omitted");
    let mut shown = Shown::default();
    shown.debug(&(replay, omitted, store.get(&own).expect("known")));
    shown_digest(&shown, &omitted.digest);
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// No text holds the first bytes of `digest`, as numbers or in hexadecimal.
fn shown_digest(shown: &Shown, digest: &[u8]) {
    let numbers = digest[..4].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hex = hexadecimal(&digest[..4]);
    for text in &shown.0 {
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!squeezed.contains(&numbers) && !text.contains(&hex), "{text}");
    }
}

#[test]
fn a_known_key_is_shown_by_its_lengths_10_2() {
    let key = Key::new("scope", "token-1").expect("sound");
    assert_eq!(format!("{key:?}"), "Key(scope: 5 bytes, token: 7 bytes)");
    let store = plain().open_in_memory().expect("opens");
    assert!(matches!(store.get(&key), Ok(Known::Absent)));
    match store.begin(&key, &Parameters::none()) {
        Ok(Answer::Fresh(held)) => assert!(format!("{held:?}").contains("token: 7 bytes")),
        other => panic!("expected a reservation, got {other:?}"),
    }
}
