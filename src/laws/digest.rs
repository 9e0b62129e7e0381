//! Digests of two requests: equal exactly where they mean the same (contract 2.1 to 2.3), and bound to the key (2.5).

use super::meaning::Meaning;
use super::tape::Tape;
use crate::digest::{
    DIGEST_VERSION, Digest, DigestRules, Fingerprinted, ParameterLimits, Parameters, Secret,
};
use crate::token::Key;

/// A meaning, and the same one or one that was changed, each spelled in its own way.
///
/// # Panics
/// Where the law does not hold.
pub fn digest(data: &[u8]) {
    let mut tape = Tape::new(data);
    let rules = match tape.byte() % 4 {
        0 => DigestRules::cloud_api(),
        1 => DigestRules::excluding(["a", ""]),
        _ => DigestRules::none(),
    };
    let one = Meaning::of(&mut tape);
    let other = match tape.byte() % 4 {
        0 => one.clone(),
        1 | 2 => one.clone().edited(&mut tape),
        _ => Meaning::of(&mut tape),
    };
    let (first, second) = (one.spelled(&mut tape), other.spelled(&mut tape));
    let (first, second) = (checked(&first, &rules), checked(&second, &rules));
    let same = one.equals(&other, &rules);
    assert_eq!(first == second, same, "{one:?} {other:?} without {rules:?}");

    let keys = [Key::new("a", "bc").unwrap(), Key::new("ab", "c").unwrap()];
    let (key, other_key) = (&keys[usize::from(tape.flag())], &keys[usize::from(tape.flag())]);
    let secrets = [Secret::new([1; 32]), Secret::new([2; 32])];
    let (secret, other_secret) = (usize::from(tape.flag()), usize::from(tape.flag()));
    let bound = secrets[secret].bind(key.as_framed(), &first);
    let other_bound = secrets[other_secret].bind(other_key.as_framed(), &second);
    assert_eq!(bound == other_bound, same && key == other_key && secret == other_secret);
}

/// The digest, which every way to it has to give.
fn checked(parameters: &Parameters<'_>, rules: &DigestRules) -> Digest {
    let digest = parameters.digest_under(rules).unwrap();
    assert_eq!(digest.version(), DIGEST_VERSION);
    assert_eq!(digest.rules(), rules.id());
    assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
    assert_eq!(Parameters::digest(digest).digest_under(rules), Ok(digest), "a ready-made one");
    let outlined = parameters.outlined(DIGEST_VERSION, rules, &ParameterLimits::ABSOLUTE).unwrap();
    assert_eq!(outlined.0, Fingerprinted::Digest(digest), "with an outline");
    if let Some(outline) = outlined.1 {
        assert!(outline.parameters.is_sorted_by(|one, other| one.0 < other.0));
        let excluded = |name: &str| rules.names().any(|own| own == name);
        assert!(outline.parameters.iter().all(|(name, _)| !excluded(name)), "an excluded name is told");
    }
    digest
}
