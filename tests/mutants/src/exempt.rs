//! The mutants that no test needs to catch, each with its reason: `exempt.txt`.
//!
//! A paragraph is a line with file and function (the file alone for its constants), indented lines with the changes, and one
//! that begins with `because`. Of changes that a function has more than once, `#n` behind one says which is meant; without
//! it all are.

use std::collections::BTreeMap;
use std::path::Path;

/// Names of mutants, and why no test catches them.
pub(crate) struct Exempt(BTreeMap<String, String>);

impl Exempt {
    pub(crate) fn read() -> Result<Self, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("exempt.txt");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("exempt.txt: {error}"))?;
        Self::of(&text)
    }

    fn of(text: &str) -> Result<Self, String> {
        let (mut all, mut own, mut place) = (BTreeMap::new(), Vec::new(), None);
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let said = line.trim();
            if let Some(reason) = said.strip_prefix("because ") {
                let names: Vec<String> = std::mem::take(&mut own);
                if names.is_empty() {
                    return Err(format!("a reason for nothing: {said}"));
                }
                all.extend(names.into_iter().map(|name| (name, reason.to_owned())));
            } else if line.starts_with(' ') {
                let place: &str = place.as_deref().ok_or_else(|| format!("of which function: {said}"))?;
                own.push(format!("{place}\t{said}"));
            } else if own.is_empty() {
                let (file, function) = said.split_once(' ').unwrap_or((said, ""));
                place = Some(format!("{file}\t{function}"));
            } else {
                return Err(format!("without a reason: {own:?}"));
            }
        }
        if own.is_empty() { Ok(Self(all)) } else { Err(format!("without a reason: {own:?}")) }
    }

    /// Whether a mutant is exempt, the `nth` of its name.
    pub(crate) fn has(&self, name: &str, nth: usize) -> bool {
        self.0.contains_key(name) || self.0.contains_key(&numbered(name, nth))
    }

    /// Exemptions that match nothing; `all` are the mutants, by name and which one of it.
    pub(crate) fn unmatched(&self, all: &[(String, usize)]) -> Vec<&str> {
        let is_one = |said: &str| all.iter().any(|(name, nth)| said == name || said == numbered(name, *nth));
        self.0.keys().map(String::as_str).filter(|said| !is_one(said)).collect()
    }
}

fn numbered(name: &str, nth: usize) -> String {
    format!("{name} #{nth}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_exempts_its_changes_for_one_reason() {
        let text = "# head\n\nsrc/a.rs A::f\n  return 0\n  + becomes - in a + b\n  because it is a hint\n";
        let own = Exempt::of(text).unwrap();
        let fixed = Exempt::of("src/a.rs\n  << becomes >> in 1 << 2\n  because it is a hint").unwrap();
        assert!(fixed.has("src/a.rs\t\t<< becomes >> in 1 << 2", 1));
        let second = Exempt::of("src/a.rs A::f\n  return 0 #2\n  because it is a hint").unwrap();
        let name = "src/a.rs\tA::f\treturn 0".to_owned();
        assert_eq!([1, 2, 3].map(|nth| second.has(&name, nth)), [false, true, false]);
        assert_eq!([1, 2].map(|nth| second.unmatched(&[(name.clone(), nth)]).len()), [1, 0]);
        assert!(own.has("src/a.rs\tA::f\treturn 0", 1) && own.has("src/a.rs\tA::f\t+ becomes - in a + b", 2));
        assert_eq!(own.unmatched(&[("src/a.rs\tA::f\treturn 0".to_owned(), 1)]).len(), 1);
        for wrong in
            ["src/a.rs A::f\n  return 0\n", "src/a.rs A::f\n  because x\n", "  return 0\n  because x\n"]
        {
            assert!(Exempt::of(wrong).is_err(), "{wrong}");
        }
    }
}
