//! What goes to the server and comes back: arrays of a batch, rows.
//!
//! Law: a driver that logs what it sends shows lengths, never bytes (contract 10.2). Numbers are clamped to what 64 bits with a
//! sign hold, so that no sum of a time of day and a lease overflows.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error as Said, Row};

use super::fault::Wrong;
use crate::engine::{Held, Standing};
use crate::error::ErrorKind;
use crate::time::Timestamp;
use crate::token::Key;

/// Longer than any lease, and two of them still are a number.
const FAR: i64 = i64::MAX / 2;
/// Bytes in one statement, where there is more than one key.
const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Arguments of a statement.
pub(super) type Arguments<'a> = [&'a (dyn ToSql + Sync)];

/// Bytes that `Debug` shows the number of.
pub(super) struct Hidden<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl ToSql for Hidden<'_> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql(of, out)
    }

    fn accepts(of: &Type) -> bool {
        <&[u8] as ToSql>::accepts(of)
    }

    to_sql_checked!();
}

/// A column of what belongs to each deed of a batch.
pub(super) fn column<'a, D: 'a, T>(
    deeds: impl IntoIterator<Item = &'a D>,
    value: impl FnMut(&'a D) -> T,
) -> Vec<T> {
    deeds.into_iter().map(value).collect()
}

/// A column of their keys.
pub(super) fn keys<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<Hidden<'a>> {
    keys.into_iter().map(|key| Hidden(key.as_framed())).collect()
}

pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(FAR).min(FAR)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}

/// Nothing below zero.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A batch in parts that a statement can carry; one at least.
pub(super) fn parts<D>(mut deeds: &[D], bytes: impl Fn(&D) -> usize) -> Vec<&[D]> {
    let mut parts = Vec::new();
    loop {
        let mut sum = 0;
        let fits = deeds.iter().take_while(|own| {
            sum += bytes(own);
            sum <= STATEMENT_BYTES_MAX
        });
        let (part, rest) = deeds.split_at(fits.count().max(1).min(deeds.len()));
        parts.push(part);
        deeds = rest;
        if deeds.is_empty() {
            return parts;
        }
    }
}

/// The keys that rows begin with.
pub(super) fn keys_in(rows: &[Row]) -> Result<HashSet<Vec<u8>>, Said> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// What was read of keys, all in one moment.
pub(super) struct Seen {
    pub(super) claims: HashMap<Vec<u8>, Held>,
    pub(super) records: HashMap<Vec<u8>, Arc<[u8]>>,
    pub(super) now: Timestamp,
}

impl Seen {
    /// Rows of claims, of records, which have no standing, and of the time, which has no key.
    pub(super) fn of(rows: &[Row]) -> Result<Self, Wrong> {
        let (mut claims, mut records, mut now) = (HashMap::new(), HashMap::new(), None);
        for row in rows {
            let (key, standing): (Option<Vec<u8>>, Option<i16>) = (row.try_get(0)?, row.try_get(2)?);
            match key {
                None => now = Some(timestamp(row.try_get(1)?)),
                Some(key) if standing.is_some() => drop(claims.insert(key, held_in(row)?)),
                // Of two the later one stays.
                Some(key) => {
                    let (expires, record): (i64, &[u8]) = (row.try_get(3)?, row.try_get(5)?);
                    let stood = records.entry(key).or_insert((expires, record));
                    *stood = (*stood).max((expires, record));
                }
            }
        }
        let records = records.into_iter().map(|(key, (_, record))| (key, record.into()));
        Ok(Self { claims, records: records.collect(), now: now.ok_or_else(unreadable)? })
    }
}

/// Rows of a key and a claim, in their order.
pub(super) fn claims_in(rows: &[Row]) -> Result<Vec<(Vec<u8>, Held)>, Wrong> {
    rows.iter().map(|row| Ok((row.try_get(0)?, held_in(row)?))).collect()
}

fn held_in(row: &Row) -> Result<Held, Wrong> {
    let started: Option<&[u8]> = row.try_get(5)?;
    Ok(Held {
        fence: unsigned(row.try_get(1)?),
        standing: Standing::of(row.try_get(2)?).ok_or_else(unreadable)?,
        left: Duration::from_millis(unsigned(row.try_get(3)?)),
        ended: row.try_get(4)?,
        started: started.unwrap_or_default().into(),
    })
}

/// What stands in a row is nothing that this library writes.
pub(super) fn unreadable() -> Wrong {
    ErrorKind::Io { operation: "reading a row of the engine", kind: std::io::ErrorKind::InvalidData }.into()
}
