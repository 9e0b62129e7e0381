//! The schema, and how it comes about.
//!
//! Law: it is made by whoever finds it missing, in numbered steps. A step is one message, which the server does wholly or not at
//! all (one that has no transactions over definitions does each part of it once); it says last that it was done. Several
//! processes may take the same step at once: one of them makes it, the others are refused a name that is taken by then,
//! or one that they have not heard of yet, and look again. A schema of a newer library is not touched.
//!
//! What the first one chose is kept in `store` and followed by all: whether `records` is partitioned, and how finely.
//!
//! | table | what stands there |
//! | --- | --- |
//! | `migrations` | the steps that were taken |
//! | `store` | one row: the store's identity, the width of a partition in milliseconds (none: not partitioned) |
//! | `epochs` | by number: its node, and whether it has ended |
//! | `claims` | by key: fence, standing, end of the lease, mark of those who watch, started record |
//! | `records` | by key and expiry: fence, finished record |
//!
//! Epochs are numbered by the highest one and one more, and not by a sequence: where several servers take numbers from it
//! ahead, those of a sequence do not rise in the order that they are given out.

use std::time::Duration;

use super::fault::Wrong;
use super::link::Link;
use super::settings::Settings;
use super::sql::Sql;
use super::values::{millis, unsigned};
use crate::engine::Fault;
use crate::error::ErrorKind;

/// The newest step that this library knows.
const LATEST: u32 = 1;
/// How often a step is tried beside others, and the pause between.
const TRIES: (u32, Duration) = (100, Duration::from_millis(20));
/// The name is taken, by a schema, a table, a function or its row in a catalogue; or rows of a catalogue were in each other's way.
const TAKEN: [&str; 8] = ["23505", "42P06", "42P07", "42710", "42723", "40001", "40P01", "XX000"];
/// There is no such table, or no such schema. Also what a session is told that looked for it before it was made: it sees the row
/// in the catalogue, and still remembers that there is none, until it hears of the change, which comes after the commit.
const MISSING: [&str; 2] = ["42P01", "3F000"];

/// How records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In one table.
    Plain,
    /// In partitions by expiry, so many milliseconds wide.
    Partitioned(i64),
}

impl Layout {
    pub(super) fn of(stored: Option<i64>) -> Self {
        stored.map_or(Self::Plain, |width| Self::Partitioned(width.max(1)))
    }
}

/// Takes the steps that are missing.
pub(super) async fn make(link: &Link, sql: &Sql, settings: &Settings) -> Result<(), Wrong> {
    let mut failed = None;
    for _ in 0..TRIES.0 {
        let found = version(link, sql).await?;
        if found == LATEST {
            return Ok(());
        }
        if found > LATEST {
            return Err(ErrorKind::NewerFormat { found, supported: LATEST }.into());
        }
        match step(link, sql, settings).await {
            Err(wrong) if !wrong.is(&TAKEN) && !wrong.is(&MISSING) => return Err(wrong),
            Err(wrong) => failed = Some(wrong),
            Ok(()) => {}
        }
        tokio::time::sleep(TRIES.1).await;
    }
    // Somebody else's table of one of these names, say.
    Err(failed.unwrap_or(Wrong::Judged(Fault::Conflict)))
}

/// The last step that was taken; 0: none.
async fn version(link: &Link, sql: &Sql) -> Result<u32, Wrong> {
    let text = format!("SELECT coalesce(max(version), 0)::bigint FROM {}.migrations", sql.schema);
    match link.client().query_one(&text, &[]).await.map_err(Wrong::from) {
        Ok(row) => Ok(u32::try_from(unsigned(row.try_get(0)?)).unwrap_or(u32::MAX)),
        Err(wrong) if wrong.is(&MISSING) => Ok(0),
        Err(wrong) => Err(wrong),
    }
}

async fn step(link: &Link, sql: &Sql, settings: &Settings) -> Result<(), Wrong> {
    // Who may use a schema that an administrator made may not be allowed to make one, even one that exists.
    let there = link
        .client()
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&settings.schema])
        .await?
        .is_some();
    let own = if there { String::new() } else { format!("CREATE SCHEMA IF NOT EXISTS {};", sql.schema) };
    Ok(link.client().batch_execute(&(own + &first(sql, settings))).await?)
}

/// The first step.
fn first(sql: &Sql, settings: &Settings) -> String {
    let s = &sql.schema;
    let (width, by_expiry, beside) = match settings.width {
        Some(width) => (
            millis(width).to_string(),
            "PARTITION BY RANGE (expires)",
            // A claim lives for moments: what is dead of them is to be cleaned away before there is much of it.
            format!(
                "ALTER TABLE {s}.claims SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
                    autovacuum_vacuum_threshold = 1000);"
            ),
        ),
        None => (
            "NULL".to_owned(),
            "",
            format!("CREATE INDEX IF NOT EXISTS records_by_expiry ON {s}.records (expires);"),
        ),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {s}.migrations (version integer PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS {s}.store (
            one boolean PRIMARY KEY DEFAULT true CHECK (one), identity bytea, partition_ms bigint);
        INSERT INTO {s}.store (one, partition_ms) VALUES (true, {width}) ON CONFLICT (one) DO NOTHING;
        CREATE TABLE IF NOT EXISTS {s}.epochs (epoch bigint PRIMARY KEY, node text, ended boolean NOT NULL);
        CREATE TABLE IF NOT EXISTS {s}.claims (
            key bytea PRIMARY KEY, fence bigint NOT NULL, standing smallint NOT NULL,
            lease_ends bigint NOT NULL, mark bigint, started bytea NOT NULL);
        CREATE TABLE IF NOT EXISTS {s}.records (
            key bytea NOT NULL, fence bigint NOT NULL, expires bigint NOT NULL, record bytea NOT NULL,
            PRIMARY KEY (key, expires)) {by_expiry};
        {beside}
        CREATE OR REPLACE FUNCTION {s}.clock() RETURNS bigint LANGUAGE sql VOLATILE
            AS 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
        INSERT INTO {s}.migrations (version) VALUES (1) ON CONFLICT (version) DO NOTHING"
    )
}
