//! What went wrong, in the words of the seam.
//!
//! Law: a fault never says less than is true. What may have been done is *unheard*, whatever the server said last; what
//! certainly was not is *unreached* or in *conflict*; everything else is *refused*, so that nobody sends it for ever. A
//! sentence names the operation and a kind of error, never what the server wrote, which quotes values.
//!
//! | SQLSTATE, or what else was seen | while connecting | afterwards | and the connection |
//! | --- | --- | --- | --- |
//! | the system's error, a close, no answer in time | unreached | unheard | is closed |
//! | 57P03 starting or stopping, 53300 too many | unreached | unreached | is closed |
//! | 57P01, 57P02, 57P05, 25P03, 08xxx, 26000: the session ended, or is not ours any more | unreached | unheard | is closed |
//! | 25006 read only: a standby since | unreached | unreached | is closed |
//! | 40001, 40P01, 55P03, 57014 | unreached | conflict | stays |
//! | 40003 completion unknown (`CockroachDB`) | refused | unheard | stays |
//! | all others: syntax, permission, 53100 disk full | refused | refused | stays |

use std::error::Error as _;
use std::io;

use tokio_postgres::Error as Said;
use tokio_postgres::error::SqlState;

use crate::engine::Fault;
use crate::error::{Error, ErrorKind};

/// Why a call on a connection came to nothing.
#[derive(Debug)]
pub(super) enum Wrong {
    /// There was no answer in time.
    Late,
    /// The server or the way to it.
    Said(Said),
    /// It was judged already.
    Judged(Fault),
}

impl From<Said> for Wrong {
    fn from(error: Said) -> Self {
        Self::Said(error)
    }
}

impl From<ErrorKind> for Wrong {
    fn from(kind: ErrorKind) -> Self {
        Self::Judged(Fault::Refused(kind.into()))
    }
}

impl Wrong {
    /// Whether the server answered with one of these codes.
    pub(super) fn is(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Said(error) if error.code().is_some_and(|own| codes.contains(&own.code())))
    }
}

/// What a fault is of a connection that never was.
pub(super) fn connecting(error: &Said) -> Fault {
    let refused = |kind| refused("connecting to PostgreSQL", kind);
    let Some(code) = error.code().map(SqlState::code) else {
        return match io_kind(error) {
            // What rustls thinks of a certificate comes as this.
            Some(io::ErrorKind::InvalidData) => refused(io::ErrorKind::InvalidData),
            Some(kind) => Fault::Unreached(kind),
            None if error.is_closed() => Fault::Unreached(io::ErrorKind::ConnectionAborted),
            None => refused(io::ErrorKind::InvalidInput),
        };
    };
    match judged(code) {
        Judgement::Passing(kind) | Judgement::Ended(kind) => Fault::Unreached(kind),
        Judgement::Conflict => Fault::Unreached(io::ErrorKind::ResourceBusy),
        Judgement::Unknown | Judgement::Refused => refused(kind_of(code)),
    }
}

/// What a fault is of a connection that was sent something, and whether that can be used again.
pub(super) fn calling(operation: &'static str, wrong: Wrong) -> (Fault, bool) {
    let error = match wrong {
        Wrong::Late => return (Fault::Unheard(io::ErrorKind::TimedOut), false),
        Wrong::Judged(fault) => return (fault, true),
        Wrong::Said(error) => error,
    };
    let Some(code) = error.code().map(SqlState::code) else {
        return match io_kind(&error) {
            Some(kind) => (Fault::Unheard(kind), false),
            None if error.is_closed() => (Fault::Unheard(io::ErrorKind::ConnectionAborted), false),
            None => (refused(operation, io::ErrorKind::InvalidData), true),
        };
    };
    match judged(code) {
        Judgement::Passing(kind) => (Fault::Unreached(kind), false),
        Judgement::Ended(kind) => (Fault::Unheard(kind), false),
        Judgement::Conflict => (Fault::Conflict, true),
        Judgement::Unknown => (Fault::Unheard(io::ErrorKind::Interrupted), true),
        Judgement::Refused => (refused(operation, kind_of(code)), true),
    }
}

/// What a code means for what comes next.
enum Judgement {
    /// Nothing was done, and this connection is no good.
    Passing(io::ErrorKind),
    /// The session is over, wherever it was.
    Ended(io::ErrorKind),
    /// In another's way.
    Conflict,
    /// The server itself does not know.
    Unknown,
    Refused,
}

fn judged(code: &str) -> Judgement {
    match code {
        "57P03" | "53300" => Judgement::Passing(io::ErrorKind::ConnectionRefused),
        "25006" => Judgement::Passing(io::ErrorKind::ReadOnlyFilesystem),
        "57P01" | "57P02" | "57P05" | "25P03" | "26000" => Judgement::Ended(io::ErrorKind::ConnectionAborted),
        "40001" | "40P01" | "55P03" | "57014" => Judgement::Conflict,
        "40003" => Judgement::Unknown,
        _ if code.starts_with("08") => Judgement::Ended(io::ErrorKind::ConnectionReset),
        _ => Judgement::Refused,
    }
}

/// The nearest word of the system's for why a server refused.
fn kind_of(code: &str) -> io::ErrorKind {
    match code {
        "53100" => io::ErrorKind::StorageFull,
        "53200" => io::ErrorKind::OutOfMemory,
        "42501" => io::ErrorKind::PermissionDenied,
        "42P01" | "42883" | "3D000" | "3F000" => io::ErrorKind::NotFound,
        "54000" => io::ErrorKind::FileTooLarge,
        _ if code.starts_with("28") => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    }
}

fn refused(operation: &'static str, kind: io::ErrorKind) -> Fault {
    Fault::Refused(Error::from(ErrorKind::Io { operation, kind }))
}

/// The system's error at the bottom of it, if there is one.
fn io_kind(error: &Said) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(own) = cause {
        if let Some(own) = own.downcast_ref::<io::Error>() {
            return Some(own.kind());
        }
        cause = own.source();
    }
    None
}
