//! A store to change: opened as its owner, so that nobody else has it open.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::arguments::Owned;
use super::failure::Failure;
use super::view::{directory, keyring, secret_bytes};
use crate::digest::Secret;
use crate::error::ErrorKind;
use crate::ledger::holds_store;
use crate::options::Builder;
use crate::store::Store;
use crate::token::{Key, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX};

/// Larger outcomes than any store keeps.
const OUTCOME_BYTES_MAX: u64 = 256 << 20;

impl Owned {
    /// Opens a store that is there.
    pub(super) fn open(&self, retention: Option<Duration>) -> Result<Store, Failure> {
        if !holds_store(&directory(&self.store)?)? {
            let none = ErrorKind::NotAStore("it holds no identity of a store");
            return Err(Failure::Store(none.into()));
        }
        self.open_or_make(retention)
    }

    /// Opens a store, or makes one where there is none.
    pub(super) fn open_or_make(&self, retention: Option<Duration>) -> Result<Store, Failure> {
        let mut builder = Builder::default()
            .token_bytes_max(TOKEN_BYTES_MAX)
            .outcome_bytes_max(OUTCOME_BYTES_MAX)
            .recent_bytes_max(0)
            .background_sweep(false);
        builder.keyring = keyring(&self.keys)?;
        let secrets = self.secrets()?;
        let mut secrets = secrets.into_iter();
        builder.secret = secrets.next();
        builder.old_secrets = secrets.collect();
        if let Some(retention) = retention {
            builder = builder.retention(retention);
        }
        if self.accept_clock_jump {
            builder = builder.accept_clock_jump();
        }
        Ok(builder.open(&self.store)?)
    }

    /// The secrets that were given, the current one first.
    pub(super) fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        self.secret_file.iter().map(|file| secret_bytes(file).map(Secret::new)).collect()
    }
}

/// Closes a store, so that what that says is heard.
pub(super) fn close(store: Store) -> Result<(), Failure> {
    Ok(store.close(Duration::ZERO)?)
}

/// The key that these words name, by the widest rule that a store may have.
pub(super) fn key(scope: &OsStr, token: &OsStr) -> Result<Key, Failure> {
    Ok(Key::within(scope.as_bytes(), token.as_bytes(), SCOPE_BYTES_MAX, TOKEN_BYTES_MAX)?)
}
