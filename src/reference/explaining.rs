//! What a mismatch tells of the parameters (contract 2.6).
//!
//! Law: by sets. Of a request the first 64 names of at most 64 bytes are kept, sorted by their bytes; what is told is
//! the difference of two such sets, as far as both are whole.

use std::collections::BTreeMap;
use std::fmt;

use super::{Asking, Fingerprint, Model, Slot};
use crate::digest::{NAME_BYTES_MAX, NAMES_MAX};
use crate::error::Difference;
use crate::token::Key;

/// The parameters of a request one by one: each name with the fingerprint of its values. `Debug` shows their number.
///
/// ```
/// use oncekey::reference::{Asking, Fingerprint, Model, Named, Refusal, Settings};
///
/// let ask = |size: &str| Asking {
///     fingerprint: Fingerprint::of(size),
///     named: Some(Named::from_iter([("Size", Fingerprint::of(size)), ("Zone", Fingerprint::of("z"))])),
///     ..Asking::default()
/// };
/// let mut model = Model::new(Settings { explain_mismatches: true, ..Settings::default() });
/// let key = model.key("account-1", "5f0e9a").unwrap();
/// model.begin(&key, ask("40")).unwrap();
/// assert_eq!(model.begin(&key, ask("41")), Err(Refusal::Mismatch));
/// assert!(model.difference(&key, &ask("41")).unwrap().changed().eq(["Size"]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Named(BTreeMap<String, Fingerprint>);

impl<N: Into<String>> FromIterator<(N, Fingerprint)> for Named {
    fn from_iter<I: IntoIterator<Item = (N, Fingerprint)>>(names: I) -> Self {
        Self(names.into_iter().map(|(name, fingerprint)| (name.into(), fingerprint)).collect())
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({} names)", self.0.len())
    }
}

impl Model {
    /// What a mismatch of this request tells, at this moment: `None` where the first request or this one has no
    /// names, or the settings were not to explain when the reservation was given.
    #[must_use]
    pub fn difference(&self, key: &Key, asking: &Asking) -> Option<Difference> {
        let record = self.records.get(key).filter(|record| !record.has_expired(self.now()));
        let known = match (self.slots.get(key), record) {
            (Some(Slot::Running(live)), _) => live.named.as_ref(),
            (Some(Slot::Doubt(record, _)), _) | (None, Some(record)) => record.named.as_ref(),
            (None, None) => None,
        };
        known?.difference(asking.named.as_ref()?)
    }
}

impl Named {
    /// How `asked` differs from these, as far as both are kept.
    fn difference(&self, asked: &Self) -> Option<Difference> {
        let (known, known_whole) = self.kept();
        let (asked, asked_whole) = asked.kept();
        let ends = [(&known, known_whole), (&asked, asked_whole)].map(|(kept, whole)| {
            let last = kept.keys().next_back().filter(|_| !whole && kept.len() == NAMES_MAX);
            last.copied()
        });
        let end = ends.into_iter().flatten().min();
        let seen = |name: &str| end.is_none_or(|end| name <= end);
        let names = |of: &BTreeMap<&str, Fingerprint>, differs: &dyn Fn(&str) -> bool| -> Vec<Box<str>> {
            of.keys().filter(|name| seen(name) && differs(name)).map(|name| Box::from(*name)).collect()
        };
        let told = Difference {
            added: names(&asked, &|name| !known.contains_key(name)),
            removed: names(&known, &|name| !asked.contains_key(name)),
            changed: names(&known, &|name| asked.get(name).is_some_and(|own| *own != known[name])),
            incomplete: !(known_whole && asked_whole),
        };
        (!told.is_empty()).then_some(told)
    }

    /// Those that are kept, and whether they are all.
    fn kept(&self) -> (BTreeMap<&str, Fingerprint>, bool) {
        let short = self.0.iter().filter(|(name, _)| name.len() <= NAME_BYTES_MAX);
        let kept: BTreeMap<&str, Fingerprint> =
            short.take(NAMES_MAX).map(|(name, own)| (name.as_str(), *own)).collect();
        let whole = kept.len() == self.0.len();
        (kept, whole)
    }
}
