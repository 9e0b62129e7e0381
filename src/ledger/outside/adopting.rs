//! What records from elsewhere were made under: their secrets and rules get numbers here (feature `cli`).
//!
//! Law: a record's digest is compared under the very secret and rules that it was made under (contract 2.2, 2.5), so a record
//! is taken in only where they are known. The store's own current ones stay the current ones: the last secret is that, so
//! it is noted once more behind one that is new.

use super::super::Ledger;
use super::super::identity::{Identity, SecretNote};
use crate::digest::{DigestRules, Secret};
use crate::error::{ErrorKind, Result};

/// Where records come from.
pub(crate) struct Origin {
    /// The id of their store.
    pub(crate) store: [u8; 16],
    /// Check value of each secret there, by number from 1, and the secret, if it came with them.
    pub(crate) secrets: Vec<([u8; 16], Option<Secret>)>,
    /// By number, from 0.
    pub(crate) rules: Vec<DigestRules>,
    /// Secrets that were given for this.
    pub(crate) given: Vec<Secret>,
}

impl Ledger {
    /// The numbers of an origin's secrets and rules, durably added where they are new; `None` for a secret that is not at
    /// hand.
    pub(crate) fn adopt(&self, origin: &Origin) -> Result<(Vec<Option<u16>>, Vec<u16>)> {
        let mut identity = self.identity.lock();
        let mut changed = identity.clone();
        let secrets =
            origin.secrets.iter().map(|(check, secret)| changed.adopt(origin, check, secret.as_ref()));
        let secrets = secrets.collect::<Result<_>>()?;
        let rules = origin.rules.iter().map(|own| changed.number_of(own)).collect::<Result<_>>()?;
        changed.save(&*self.disk)?;
        *identity = changed;
        Ok((secrets, rules))
    }
}

impl Identity {
    fn adopt(
        &mut self,
        origin: &Origin,
        check: &[u8; 16],
        with_them: Option<&Secret>,
    ) -> Result<Option<u16>> {
        let is_it = |secret: &&Secret| secret.check(&origin.store) == *check;
        if origin.store == self.store
            && let Some(at) = self.secrets.iter().position(|note| note.check == *check)
        {
            return Ok(u16::try_from(at + 1).ok());
        }
        if let Some(secret) = with_them.filter(is_it) {
            return self.number_of_secret(secret, true).map(Some);
        }
        if let Some(secret) = origin.given.iter().find(is_it) {
            return self.number_of_secret(secret, false).map(Some);
        }
        let own = |note: &SecretNote| note.own.map(Secret::new).is_some_and(|secret| is_it(&&secret));
        Ok(self.secrets.iter().position(own).and_then(|at| u16::try_from(at + 1).ok()))
    }

    /// The number of a secret, added if it is new: with the secret itself if it is to be the store's `own`.
    fn number_of_secret(&mut self, secret: &Secret, own: bool) -> Result<u16> {
        let check = secret.check(&self.store);
        if let Some(at) = self.secrets.iter().position(|note| note.check == check) {
            return Ok(u16::try_from(at + 1).unwrap_or(u16::MAX));
        }
        let damaged = || ErrorKind::DamagedStore { file: "identity".to_owned() };
        let current = self.secrets.last().cloned().ok_or_else(damaged)?;
        let number = self.add_secret(secret, own)?;
        self.push(current)?;
        Ok(number)
    }
}
