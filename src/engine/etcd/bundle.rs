//! Many keys in one request.
//!
//! Law: each key has a part of its own, and a part is one deed at one moment; parts say nothing of each other, and no two
//! write one key, so that it does not matter which of them go together. They go together as far as etcd's limits let
//! them (operations, bytes), each nested in one that holds them, and what does not fit goes in others at the same time.
//! A part that is too large by itself is refused before anything is sent.

use std::mem;
use std::sync::Arc;

use prost::Message;
use tokio::task::JoinSet;

use super::fault::{Failure, garbled, too_large};
use super::layout::within;
use super::link::Link;
use super::wire::{Came, Compare, KeyValue, OperationAnswer, Txn, TxnAnswer};
use crate::engine::Fault;

/// Operations within a part at most, with those nested in it: etcd takes them off what it lets stand side by side.
const PART_OPERATIONS: usize = 8;
/// The least that etcd has to allow.
pub(super) const OPERATIONS_MIN: usize = 2 * PART_OPERATIONS;
/// What protobuf puts around a part, at most.
const AROUND: usize = 32;

/// What came of a part.
pub(super) struct Part {
    /// The revision that it happened in, or that it saw.
    pub(super) revision: i64,
    pub(super) succeeded: bool,
    answers: Vec<OperationAnswer>,
}

impl Part {
    /// What was found by the operation at this place, if it was to get something.
    pub(super) fn found(&self, at: usize) -> Result<Option<&KeyValue>, Fault> {
        match self.answers.get(at).and_then(|own| own.came.as_ref()) {
            Some(Came::Range(range)) => Ok(range.found.first()),
            _ => Err(garbled()),
        }
    }

    /// Whether anything was there for the operation at this place, which only looked.
    pub(super) fn is_there(&self, at: usize) -> Result<bool, Fault> {
        match self.answers.get(at).and_then(|own| own.came.as_ref()) {
            Some(Came::Range(range)) => Ok(range.count > 0),
            _ => Err(garbled()),
        }
    }

    /// Whether what was nested at this place succeeded.
    pub(super) fn succeeded_at(&self, at: usize) -> Result<bool, Fault> {
        match self.answers.get(at).and_then(|own| own.came.as_ref()) {
            Some(Came::Txn(txn)) => Ok(txn.succeeded),
            _ => Err(garbled()),
        }
    }
}

/// Sends all parts. What came of each, in their order; `None`: of some nothing, since the guard did not hold.
pub(super) async fn guarded(
    link: &Arc<Link>,
    guard: &[Compare],
    parts: Vec<Txn>,
) -> Result<Option<Vec<Part>>, Failure> {
    let mut chunks = chunks(link, guard, parts)?;
    if chunks.len() == 1 {
        return send(link, guard, chunks.remove(0)).await;
    }
    let mut sending = JoinSet::new();
    let count = chunks.len();
    for (at, chunk) in chunks.into_iter().enumerate() {
        let (link, guard) = (Arc::clone(link), guard.to_vec());
        sending.spawn(async move { (at, send(&link, &guard, chunk).await) });
    }
    let mut came: Vec<_> = (0..count).map(|_| Err(garbled().into())).collect();
    while let Some(sent) = sending.join_next().await {
        if let Ok((at, own)) = sent {
            came[at] = own;
        }
    }
    together(came)
}

/// Sends all parts. What came of each, in their order.
pub(super) async fn bundle(link: &Arc<Link>, parts: Vec<Txn>) -> Result<Vec<Part>, Failure> {
    Ok(guarded(link, &[], parts).await?.ok_or_else(garbled)?)
}

/// All, or the gravest failure: where some of it has happened, or may have, nobody may say that nothing has.
fn together(came: Vec<Result<Option<Vec<Part>>, Failure>>) -> Result<Option<Vec<Part>>, Failure> {
    let some = came.iter().any(Result::is_ok);
    let weight = |failure: &Failure| match failure {
        Failure::NoSuchLease => 4,
        Failure::Fault(Fault::Refused(_)) | Failure::BadToken => 3,
        Failure::Fault(Fault::Unheard(_)) => 2,
        Failure::Fault(Fault::Unreached(_) | Fault::Conflict) => 1,
    };
    let (mut all, mut gravest, mut held) = (Vec::new(), None::<Failure>, true);
    for own in came {
        match own {
            Ok(Some(parts)) => all.extend(parts),
            Ok(None) => held = false,
            Err(own) if gravest.as_ref().is_none_or(|other| weight(other) < weight(&own)) => {
                gravest = Some(own);
            }
            Err(_) => {}
        }
    }
    match gravest {
        Some(Failure::Fault(Fault::Unreached(kind))) if some => Err(Fault::Unheard(kind).into()),
        Some(failure) => Err(failure),
        None => Ok(held.then_some(all)),
    }
}

fn chunks(link: &Link, guard: &[Compare], parts: Vec<Txn>) -> Result<Vec<Vec<Txn>>, Failure> {
    let count_max = link.settings.operations_max.saturating_sub(PART_OPERATIONS).max(1);
    let guard: usize = guard.iter().map(|own| own.encoded_len() + AROUND).sum();
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), guard);
    for part in parts {
        let own = part.encoded_len() + AROUND;
        let measured = link.measured(guard + own);
        if measured.bytes > measured.bytes_max {
            return Err(too_large(measured));
        }
        if chunk.len() == count_max || link.measured(bytes + own).bytes > measured.bytes_max {
            chunks.push(mem::take(&mut chunk));
            bytes = guard;
        }
        bytes += own;
        chunk.push(part);
    }
    chunks.push(chunk);
    Ok(chunks)
}

async fn send(link: &Link, guard: &[Compare], mut parts: Vec<Txn>) -> Result<Option<Vec<Part>>, Failure> {
    let count = parts.len();
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    if count == 1 && guard.is_empty() {
        let answer = link.call(&parts.remove(0)).await?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        return Ok(Some(vec![part(revision, answer)]));
    }
    let success = parts.into_iter().map(within).collect();
    let answer = link.call(&Txn { compare: guard.to_vec(), success, failure: Vec::new() }).await?;
    if !answer.succeeded {
        return Ok(None);
    }
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let nested = |own: OperationAnswer| match own.came {
        Some(Came::Txn(answer)) => Ok(part(revision, answer)),
        _ => Err(Failure::from(garbled())),
    };
    let parts = answer.answers.into_iter().map(nested).collect::<Result<Vec<_>, _>>()?;
    if parts.len() == count { Ok(Some(parts)) } else { Err(garbled().into()) }
}

fn part(revision: i64, answer: TxnAnswer) -> Part {
    Part { revision, succeeded: answer.succeeded, answers: answer.answers }
}
