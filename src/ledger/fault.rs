//! What redb and the disk can say, in the ledger's own words; and the barrier around redb.
//!
//! Law: redb's error types end here. Reading a damaged file can make redb panic; the barrier turns that into
//! damage, so that nothing unwinds out of our API (contract 5.9, 10.4).

use std::io;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::error::{Error, ErrorKind};
use crate::record::{FORMAT, Unreadable};
use crate::sync::shielded;

/// What went wrong below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Bytes that can't be right.
    Damaged,
    /// Bytes of a newer library.
    Newer,
    /// The system refused.
    Io(io::ErrorKind),
}

impl Fault {
    /// This fault of a segment while the store serves.
    pub(crate) fn in_segment(self, segment: u64, operation: &'static str) -> Error {
        match self {
            Self::Damaged => ErrorKind::Damaged { segment }.into(),
            Self::Newer => ErrorKind::NewerFormat { found: FORMAT + 1, supported: FORMAT }.into(),
            Self::Io(kind) => ErrorKind::Io { operation, kind }.into(),
        }
    }

    /// This fault of a segment while the store opens.
    pub(crate) fn at_opening(self, segment: u64) -> Error {
        match self {
            Self::Damaged => ErrorKind::DamagedStore { file: format!("segment {segment}") }.into(),
            other => other.in_segment(segment, "opening a segment"),
        }
    }
}

/// Calls redb; a panic of it is damage.
pub(crate) fn barrier<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    shielded(call).unwrap_or(Err(Fault::Damaged))
}

/// An error of the file system, with what was attempted.
pub(crate) fn io_error(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| ErrorKind::Io { operation, kind: error.kind() }.into()
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // So redb says that a header is none, and our backend that something ends too soon.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            kind => Self::Io(kind),
        }
    }
}

impl From<Unreadable> for Fault {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Damaged => Self::Damaged,
            Unreadable::Newer => Self::Newer,
        }
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            // Not the system's words but redb's and the backend's: a header or a length that can't be right.
            StorageError::Io(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged
            }
            StorageError::Io(error) => Self::Io(error.kind()),
            StorageError::PreviousIo | StorageError::DatabaseClosed => Self::Io(io::ErrorKind::BrokenPipe),
            _ => Self::Damaged,
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            _ => Self::Damaged,
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            _ => Self::Damaged,
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            _ => Self::Damaged,
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            _ => Self::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redb_says_keeps_its_meaning_whatever_call_said_it_5_5_5_9() {
        let io = |kind| StorageError::Io(io::Error::from(kind));
        for (said, meant) in [
            (io::ErrorKind::InvalidData, Fault::Damaged),
            (io::ErrorKind::UnexpectedEof, Fault::Damaged),
            (io::ErrorKind::StorageFull, Fault::Io(io::ErrorKind::StorageFull)),
        ] {
            assert_eq!(Fault::from(io(said)), meant);
            assert_eq!(Fault::from(io::Error::from(said)), meant);
            assert_eq!(Fault::from(DatabaseError::Storage(io(said))), meant);
            assert_eq!(Fault::from(TableError::Storage(io(said))), meant);
            assert_eq!(Fault::from(TransactionError::Storage(io(said))), meant);
            assert_eq!(Fault::from(CommitError::Storage(io(said))), meant);
        }
        for closed in [StorageError::PreviousIo, StorageError::DatabaseClosed] {
            assert_eq!(Fault::from(closed), Fault::Io(io::ErrorKind::BrokenPipe));
        }
        assert_eq!(Fault::from(StorageError::Corrupted(String::new())), Fault::Damaged);
        assert_eq!(Fault::from(DatabaseError::UpgradeRequired(1)), Fault::Damaged);
    }

    #[test]
    fn bytes_of_a_newer_library_are_said_to_be_so_5_6() {
        let (found, supported) = (FORMAT + 1, FORMAT);
        assert_eq!(Fault::Newer.in_segment(1, "").kind(), &ErrorKind::NewerFormat { found, supported });
    }
}
