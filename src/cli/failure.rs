//! What goes wrong, and the status it ends with.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::error::{Error, ErrorKind};

/// How a command ended that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Fine,
    /// Damage was found, or a key was not.
    Found,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Fine => 0,
            Status::Found => 1,
        })
    }
}

/// Why a command did not end as it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store says so.
    Store(Error),
    /// What was given can't be done.
    Use(String),
    /// The system says so, of this.
    System(String, io::Error),
    /// Whoever read the output has read enough.
    Closed,
}

impl Failure {
    /// A failure of the system at this file.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::System(path, error)
    }

    fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Store(error) => match error.kind() {
                ErrorKind::Damaged { .. }
                | ErrorKind::DamagedStore { .. }
                | ErrorKind::SegmentMissing { .. }
                | ErrorKind::NotInterrupted => 1,
                _ => 2,
            },
            Self::Use(_) | Self::System(..) => 2,
        }
    }

    /// Says it on standard error; gives the status to end with.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        if !matches!(self, Self::Closed) {
            super::output::tell(json, "error", &self.to_string());
        }
        ExitCode::from(self.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => match error.kind() {
                ErrorKind::Locked => {
                    write!(
                        f,
                        "{error}: stop the server first, or let it do this by its own handle of the store"
                    )
                }
                ErrorKind::Encrypted { segment } if cfg!(feature = "encryption") => {
                    write!(f, "segment {segment} is encrypted; give its key (--encryption-key-file)")
                }
                ErrorKind::Encrypted { segment } => {
                    write!(
                        f,
                        "segment {segment} is encrypted, and this build reads no encrypted store: install it with --features cli,encryption"
                    )
                }
                ErrorKind::WrongEncryptionKey { segment } => {
                    write!(
                        f,
                        "no key that was given is the one of segment {segment}; give that one too (--encryption-key-file, once for each key)"
                    )
                }
                ErrorKind::WrongSecret => {
                    write!(f, "{error}; the server's current secret comes first (--secret-file)")
                }
                ErrorKind::ClockJump { .. } => write!(f, "{error} (--accept-clock-jump)"),
                _ => error.fmt(f),
            },
            Self::Use(why) => f.write_str(why),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Closed => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Of the output alone: other files say which they are.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::System("writing the output".to_owned(), error)
        }
    }
}
