//! Which parameters of a mismatch differ (contract 2.6).
//!
//! Law: names only, never values; and names are the client's bytes, so that they are given to whoever asks for
//! them by their accessor, and to nobody else: `Debug` and `Display` show how many there are (contract 10.2).

use std::fmt;

/// Which parameters differ from those that the token was first used with (contract 2.6). Each list is sorted by
/// the names' bytes; names are told, values never are.
///
/// The names are the client's own bytes: tell them to the client that sent the request, who may see them, and
/// think before writing them to a log, which a name can fill with line breaks or with what should have been a value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub(crate) added: Vec<Box<str>>,
    pub(crate) removed: Vec<Box<str>>,
    pub(crate) changed: Vec<Box<str>>,
    pub(crate) incomplete: bool,
}

impl Difference {
    /// Names that this request has and the first one had not.
    pub fn added(&self) -> impl ExactSizeIterator<Item = &str> {
        self.added.iter().map(AsRef::as_ref)
    }

    /// Names that the first request had and this one has not.
    pub fn removed(&self) -> impl ExactSizeIterator<Item = &str> {
        self.removed.iter().map(AsRef::as_ref)
    }

    /// Names that both have, with other values, or with the values in another order.
    pub fn changed(&self) -> impl ExactSizeIterator<Item = &str> {
        self.changed.iter().map(AsRef::as_ref)
    }

    /// There are parameters beyond those that are kept of a request (64 names of at most 64 bytes each): what is listed
    /// differs, and others may differ too.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Nothing to tell: no difference, and none that could be out of view.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (added, removed, changed) = (self.added.len(), self.removed.len(), self.changed.len());
        write!(f, "{added} added, {removed} removed, {changed} changed")?;
        if self.incomplete { f.write_str(", and those beyond what is kept") } else { Ok(()) }
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Difference({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn names_are_given_and_only_their_number_is_shown_2_6() {
        let difference = Difference {
            added: names(&["canary-1"]),
            removed: Vec::new(),
            changed: names(&["canary-2", "canary-3"]),
            incomplete: false,
        };
        let error = Error::mismatch(Some(difference.clone()));
        assert!(error.is_mismatch());
        assert_eq!(error.kind(), &ErrorKind::Mismatch);
        let told = error.difference().unwrap();
        assert!(told.added().eq(["canary-1"]) && told.changed().eq(["canary-2", "canary-3"]));
        assert_eq!((told.removed().len(), told.is_incomplete()), (0, false));
        let shown = format!("{error} {error:?} {error:#?} {told} {told:?}");
        assert!(shown.contains("1 added, 0 removed, 2 changed") && !shown.contains("canary"), "{shown}");
        let cut = Difference { incomplete: true, ..difference };
        assert!(cut.to_string().ends_with("and those beyond what is kept"));
    }

    #[test]
    fn a_mismatch_without_explanation_says_what_it_always_said_2_6() {
        let plain = Error::from(ErrorKind::Mismatch);
        assert_eq!(Error::mismatch(None), plain);
        assert_eq!(plain.difference(), None);
        assert_eq!(format!("{plain:?}"), "Mismatch");
        assert_eq!(plain.to_string(), ErrorKind::Mismatch.to_string());
    }
}
