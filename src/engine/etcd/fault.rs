//! What etcd's refusals mean.
//!
//! Law: nothing is taken for *has not happened* unless etcd says so before it proposes anything to its members, or the
//! connection was never made. Whatever is not known here may have happened.
//!
//! | etcd, or the way there | is |
//! | --- | --- |
//! | no connection; no leader; too many requests | not reached |
//! | timed out, leader lost, server stopped, connection lost after sending, anything unknown | not heard |
//! | the token is old | asked again with a new one, once |
//! | the lease of a bucket has ended | in the way: asked again with another lease |
//! | too large, too many operations, no space, not permitted, not etcd | refused, with what to do |

use std::error::Error as _;
use std::io;

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::engine::Fault;
use crate::error::{ErrorKind, Limit};

/// What came instead of an answer.
#[derive(Debug)]
pub(super) enum Failure {
    Fault(Fault),
    /// The lease that a key was to be attached to has ended; nothing has happened.
    NoSuchLease,
    /// The token is not, or no longer, valid; nothing has happened.
    BadToken,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(fault) => fault,
            Failure::NoSuchLease => Self::Conflict,
            Failure::BadToken => not_permitted(),
        }
    }
}

/// What a request was, for refusals that say so.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    pub(super) operations_max: usize,
}

/// What an answer without a message means.
pub(super) fn judge(status: &Status, measured: Measured) -> Failure {
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        Code::Unavailable if says("etcdserver: no leader") => unreached(io::ErrorKind::HostUnreachable),
        Code::Unavailable => match kinds(status) {
            (true, kind) => unreached(kind.unwrap_or(io::ErrorKind::NotConnected)),
            (false, kind) => unheard(kind.unwrap_or(io::ErrorKind::ConnectionAborted)),
        },
        Code::DeadlineExceeded => unheard(io::ErrorKind::TimedOut),
        Code::ResourceExhausted if says("too many requests") => unreached(io::ErrorKind::ResourceBusy),
        Code::ResourceExhausted if says("database space exceeded") => refused(ErrorKind::Io {
            operation: "writing to etcd beyond its quota (compact and defragment it, then disarm its alarm)",
            kind: io::ErrorKind::StorageFull,
        }),
        Code::ResourceExhausted if says("larger than max") => too_large(measured),
        Code::InvalidArgument if says("request is too large") => refused(ErrorKind::InvalidSetting {
            setting: "request_bytes_max",
            measured: measured.bytes_max as u64,
            rule: "at most etcd's own `--max-request-bytes`",
        }),
        Code::InvalidArgument if says("too many operations") => refused(ErrorKind::InvalidSetting {
            setting: "operations_max",
            measured: measured.operations_max as u64,
            rule: "at most etcd's own `--max-txn-ops`",
        }),
        Code::InvalidArgument if says("revision of auth store is old") => Failure::BadToken,
        // No token came, and one is needed.
        Code::InvalidArgument if says("user name is empty") => Failure::BadToken,
        Code::InvalidArgument if says("authentication failed") => not_permitted().into(),
        Code::Unauthenticated => Failure::BadToken,
        Code::PermissionDenied => not_permitted().into(),
        Code::NotFound if says("requested lease not found") => Failure::NoSuchLease,
        Code::OutOfRange if says("message length too large") => refused(ErrorKind::Io {
            operation: "reading an answer of etcd that is larger than any should be",
            kind: io::ErrorKind::InvalidData,
        }),
        Code::Unimplemented => refused(ErrorKind::Io {
            operation: "asking etcd (is it one, of version 3.4 or later?)",
            kind: io::ErrorKind::Unsupported,
        }),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound => {
            refused(ErrorKind::Io {
                operation: "a request to etcd, which found fault with it,",
                kind: io::ErrorKind::InvalidInput,
            })
        }
        _ => unheard(kinds(status).1.unwrap_or(io::ErrorKind::ConnectionAborted)),
    }
}

/// Whether a connection is of no more use after this.
pub(super) fn breaks(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(Fault::Unreached(_) | Fault::Unheard(_)))
}

/// Whether it was the connection that could not be made, and the system's reason.
fn kinds(status: &Status) -> (bool, Option<io::ErrorKind>) {
    let (mut connecting, mut kind, mut source) = (false, None, status.source());
    while let Some(error) = source {
        connecting |= error.is::<ConnectError>();
        kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
        kind = error.is::<TimeoutExpired>().then_some(io::ErrorKind::TimedOut).or(kind);
        source = error.source();
    }
    (connecting, kind)
}

/// The system's reason why a connection could not be made.
pub(super) fn kind_of(error: &tonic::transport::Error) -> io::ErrorKind {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind();
        }
        source = error.source();
    }
    io::ErrorKind::NotConnected
}

pub(super) fn unreached(kind: io::ErrorKind) -> Failure {
    Fault::Unreached(kind).into()
}

pub(super) fn unheard(kind: io::ErrorKind) -> Failure {
    Fault::Unheard(kind).into()
}

pub(super) fn refused(kind: ErrorKind) -> Failure {
    Fault::Refused(kind.into()).into()
}

pub(super) fn too_large(measured: Measured) -> Failure {
    refused(ErrorKind::TooLarge {
        what: Limit::EngineRequestBytes,
        measured: measured.bytes as u64,
        limit: measured.bytes_max as u64,
    })
}

/// What stands in etcd under one of our keys can't be read.
pub(super) fn damaged(what: &str) -> Fault {
    Fault::Refused(ErrorKind::DamagedStore { file: format!("{what} in etcd") }.into())
}

/// An answer came that can't be one to what was asked.
pub(super) fn garbled() -> Fault {
    Fault::Unheard(io::ErrorKind::InvalidData)
}

fn not_permitted() -> Fault {
    let operation = "asking etcd as this user (see `Etcd::user`, and the user's rights below the prefix)";
    Fault::Refused(ErrorKind::Io { operation, kind: io::ErrorKind::PermissionDenied }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_etcd_says_before_it_proposes_has_not_happened() {
        let measured = Measured { bytes: 7, bytes_max: 5, operations_max: 128 };
        let judged = |code, text: &str| judge(&Status::new(code, text), measured);
        let cases = [
            (Code::Unavailable, "etcdserver: no leader", "Unreached"),
            (Code::ResourceExhausted, "etcdserver: too many requests", "Unreached"),
            (Code::Unavailable, "etcdserver: request timed out", "Unheard"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                "Unheard",
            ),
            (Code::Unavailable, "etcdserver: leader changed", "Unheard"),
            (Code::Unavailable, "etcdserver: server stopped", "Unheard"),
            (Code::DeadlineExceeded, "context deadline exceeded", "Unheard"),
            (Code::Cancelled, "operation was canceled", "Unheard"),
            (Code::Unknown, "transport error", "Unheard"),
            (Code::Internal, "stream closed", "Unheard"),
            (Code::InvalidArgument, "etcdserver: request is too large", "request_bytes_max"),
            (Code::InvalidArgument, "etcdserver: too many operations in txn request", "operations_max"),
            (Code::ResourceExhausted, "grpc: received message larger than max (9 vs. 5)", "TooLarge"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "StorageFull"),
            (Code::PermissionDenied, "etcdserver: permission denied", "PermissionDenied"),
            (Code::Unauthenticated, "etcdserver: invalid auth token", "BadToken"),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", "BadToken"),
            (Code::NotFound, "etcdserver: requested lease not found", "NoSuchLease"),
            (Code::Unimplemented, "unknown service etcdserverpb.KV", "Unsupported"),
        ];
        for (code, text, expected) in cases {
            let failure = format!("{:?}", judged(code, text));
            assert!(failure.contains(expected), "{text}: {failure}");
        }
    }
}
