//! The statements.
//!
//! Law: each takes a whole batch as arrays, touches keys in their order, and is right alone: no transaction spans two of them.
//! What a lone caller waits for has a text for a batch of one, too, of which the server need not make a plan each time: it is
//! the same whatever the tables hold, and planning took longer than the statement.
//! All time is the schema's `clock()`, asked in a sub-select of its own, once for a statement. What writes names a fence.
//! Nothing is built of values: texts hold the schema's name, which was checked, and nothing else.
//!
//! Who may wait for a row's lock: those who end a claim or change what it is, for its rightful holder. Whoever wants another's
//! claim, renews, or watches passes by what is locked (`SKIP LOCKED`), so that a transaction in which somebody completes an
//! operation (`completion`) holds up its own key alone.

use std::fmt::Write;

use super::values::bigint;
use crate::engine::{Completion, FENCE_BITS};

/// A statement for a batch of one, and for a batch of any length, of the same arguments.
pub(super) struct Text {
    one: String,
    many: String,
}

impl Text {
    /// Made of where the arguments are read from, by their types and names; and of what says that a key is among them.
    fn of(types: &[&str], names: &str, text: impl Fn(&str, &str) -> String) -> Self {
        let list = |each: fn((usize, &&str)) -> String| {
            types.iter().enumerate().map(each).collect::<Vec<_>>().join(", ")
        };
        let first = list(|(at, kind)| format!("(${}::{kind}[])[1]", at + 1));
        let all = list(|(at, kind)| format!("${}::{kind}[]", at + 1));
        Self {
            one: text(&format!("(VALUES ({first})) AS a({names})"), "= ($1::bytea[])[1]"),
            many: text(&format!("unnest({all}) AS a({names})"), "= ANY($1::bytea[])"),
        }
    }

    pub(super) fn of_batch(&self, len: usize) -> &str {
        if len == 1 { &self.one } else { &self.many }
    }
}

/// Texts of one schema.
pub(super) struct Sql {
    /// The schema's name, in quotation marks.
    pub(super) schema: String,
    pub(super) clock: String,
    pub(super) identity: String,
    pub(super) replace_identity: String,
    pub(super) begin_epoch: String,
    pub(super) end_node: String,
    pub(super) end_epoch: String,
    pub(super) claim: Text,
    pub(super) take_over: String,
    pub(super) claims: String,
    pub(super) seen: Text,
    pub(super) complete: Text,
    pub(super) completed: String,
    pub(super) change: String,
    pub(super) renew: String,
    pub(super) release: String,
    pub(super) watch: String,
    pub(super) forget: String,
    pub(super) page: String,
    pub(super) count: String,
    pub(super) sweep_claims: String,
    pub(super) sweep_records: String,
    pub(super) partitions: String,
    told: String,
}

impl Sql {
    #[expect(clippy::too_many_lines, reason = "one list: each text beside its name")]
    pub(super) fn of(schema: &str, notifications: bool) -> Self {
        let s = &format!("\"{schema}\"");
        let now = &format!("(SELECT {s}.clock())");
        let told = if notifications {
            format!("CASE WHEN c.mark IS NOT NULL THEN pg_notify('{schema}', c.mark::text)::text END")
        } else {
            "NULL::text".to_owned()
        };
        let ended = &format!(
            "NOT EXISTS (SELECT 1 FROM {s}.epochs e WHERE e.epoch = (c.fence >> {FENCE_BITS}) AND NOT e.ended)"
        );
        let free = &format!("(c.standing >= 3 OR c.lease_ends <= {now} OR {ended})");
        let record = |of: &str| {
            format!("EXISTS (SELECT 1 FROM {s}.records r WHERE r.key = {of}.key AND r.expires > {now})")
        };
        let (asked, stood) = (record("a"), record("c"));
        let held = &format!("c.fence, c.standing, c.lease_ends - {now}, {ended}");
        Self {
            clock: format!("SELECT {s}.clock()"),
            identity: format!("SELECT identity, partition_ms FROM {s}.store"),
            replace_identity: format!(
                "UPDATE {s}.store SET identity = $1 WHERE identity IS NOT DISTINCT FROM $2::bytea RETURNING one"
            ),
            begin_epoch: format!(
                "INSERT INTO {s}.epochs (epoch, node, ended)
                SELECT coalesce(max(e.epoch), 0) + 1, $1::text, false FROM {s}.epochs e
                ON CONFLICT (epoch) DO NOTHING RETURNING epoch"
            ),
            end_node: format!(
                "UPDATE {s}.epochs SET ended = true WHERE node = $1 AND epoch < $2 AND NOT ended"
            ),
            end_epoch: format!("UPDATE {s}.epochs SET ended = true WHERE epoch = $1"),
            claim: Text::of(
                &["bytea", "bigint", "smallint", "bigint", "bytea"],
                "key, fence, standing, lease, started",
                |arguments, _| {
                    format!(
                        "INSERT INTO {s}.claims (key, fence, standing, lease_ends, started)
                        SELECT a.key, a.fence, a.standing, {now} + a.lease, a.started FROM {arguments}
                        WHERE NOT EXISTS (SELECT 1 FROM {s}.claims c WHERE c.key = a.key) AND NOT {asked}
                        ORDER BY a.key
                        ON CONFLICT (key) DO NOTHING"
                    )
                },
            ),
            take_over: format!(
                "WITH held AS (
                    SELECT c.key, a.fence, a.standing, a.lease, a.started
                    FROM unnest($1::bytea[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bytea[], $6::bigint[])
                        AS a(key, fence, standing, lease, started, prior)
                    JOIN {s}.claims c ON c.key = a.key AND c.fence = a.prior
                    WHERE {free} AND NOT {stood}
                    ORDER BY c.key FOR UPDATE OF c SKIP LOCKED)
                UPDATE {s}.claims c SET fence = held.fence, standing = held.standing,
                    lease_ends = {now} + held.lease, started = held.started
                FROM held WHERE c.key = held.key
                RETURNING c.key, {told}"
            ),
            claims: format!(
                "SELECT c.key, {held}, CASE WHEN c.fence = a.fence THEN NULL ELSE c.started END
                FROM unnest($1::bytea[], $2::bigint[]) AS a(key, fence) JOIN {s}.claims c ON c.key = a.key"
            ),
            seen: Text::of(&["bytea", "bigint"], "key, fence", |arguments, among| {
                format!(
                    "SELECT c.key, {held}, CASE WHEN c.fence = a.fence THEN NULL ELSE c.started END
                    FROM {arguments} JOIN {s}.claims c ON c.key = a.key
                    UNION ALL
                    SELECT r.key, r.fence, NULL::smallint, r.expires, NULL::boolean, r.record
                    FROM {s}.records r WHERE r.key {among} AND r.expires > {now}
                    UNION ALL
                    SELECT NULL::bytea, {now}, NULL::smallint, NULL::bigint, NULL::boolean, NULL::bytea"
                )
            }),
            complete: Text::of(
                &["bytea", "bigint", "bigint", "bytea"],
                "key, fence, expires, record",
                |arguments, _| {
                    format!(
                        "WITH held AS (
                            DELETE FROM {s}.claims c USING {arguments}
                            WHERE c.key = a.key AND c.fence = a.fence
                            RETURNING c.key, c.fence, c.mark, a.expires, a.record),
                        kept AS (
                            INSERT INTO {s}.records (key, fence, expires, record)
                            SELECT key, fence, expires, record FROM held
                            ON CONFLICT (key, expires) DO UPDATE
                                SET fence = excluded.fence, record = excluded.record)
                        SELECT c.key, {told} FROM held c"
                    )
                },
            ),
            completed: format!(
                "SELECT r.key FROM unnest($1::bytea[], $2::bigint[]) AS a(key, fence)
                JOIN {s}.records r ON r.key = a.key AND r.fence = a.fence"
            ),
            change: format!(
                "UPDATE {s}.claims c SET lease_ends = coalesce({now} + a.lease, c.lease_ends),
                    standing = coalesce(a.standing, c.standing), started = coalesce(a.started, c.started)
                FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bytea[])
                    AS a(key, fence, lease, standing, started)
                WHERE c.key = a.key AND c.fence = a.fence AND c.standing < 3
                RETURNING c.key, CASE WHEN c.standing >= 3 OR c.lease_ends <= {now} THEN {told} END"
            ),
            renew: format!(
                "WITH held AS (
                    SELECT c.key, a.lease
                    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS a(key, fence, lease)
                    JOIN {s}.claims c ON c.key = a.key AND c.fence = a.fence
                    WHERE c.standing < 3 ORDER BY c.key FOR UPDATE OF c SKIP LOCKED)
                UPDATE {s}.claims c SET lease_ends = {now} + held.lease
                FROM held WHERE c.key = held.key RETURNING c.key"
            ),
            release: format!(
                "DELETE FROM {s}.claims c USING unnest($1::bytea[], $2::bigint[]) AS a(key, fence)
                WHERE c.key = a.key AND c.fence = a.fence AND c.standing < 3 RETURNING c.key, {told}"
            ),
            watch: format!(
                "WITH held AS (
                    SELECT c.key, a.mark
                    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS a(key, fence, mark)
                    JOIN {s}.claims c ON c.key = a.key AND c.fence = a.fence
                    WHERE c.standing < 3 ORDER BY c.key FOR UPDATE OF c SKIP LOCKED)
                UPDATE {s}.claims c SET mark = held.mark
                FROM held WHERE c.key = held.key RETURNING c.key"
            ),
            forget: format!(
                "WITH gone AS (
                    DELETE FROM {s}.claims c USING unnest($1::bytea[], $2::bigint[]) AS a(key, prior)
                    WHERE c.key = a.key AND c.fence = a.prior AND {free}
                    RETURNING c.key, c.standing IN (2, 3) AS was, c.mark),
                lost AS (
                    DELETE FROM {s}.records r USING unnest($1::bytea[]) AS a(key)
                    WHERE r.key = a.key RETURNING r.key, r.expires > {now} AS was)
                SELECT c.key, c.was, {told} FROM gone c UNION ALL SELECT key, was, NULL FROM lost"
            ),
            page: format!(
                "SELECT c.key, {held}, c.started FROM {s}.claims c
                WHERE c.key > $1 AND NOT {stood} ORDER BY c.key LIMIT $2"
            ),
            count: format!(
                "SELECT count(*) FILTER (WHERE c.standing < 3 AND NOT c.ended),
                    count(*) FILTER (WHERE c.standing <> 1) + (SELECT count(*) FROM {s}.records)
                FROM (SELECT c.standing, {ended} AS ended FROM {s}.claims c) c"
            ),
            sweep_claims: format!(
                "WITH gone AS (
                    SELECT c.key FROM {s}.claims c
                    WHERE c.key > $1 AND ((c.standing = 4 AND c.lease_ends <= {now})
                        OR (c.standing = 1 OR {stood}) AND {ended}
                        OR (c.standing <= 1 OR {stood}) AND c.lease_ends <= {now} - $2::bigint)
                    ORDER BY c.key LIMIT $3 FOR UPDATE OF c SKIP LOCKED)
                DELETE FROM {s}.claims c USING gone WHERE c.key = gone.key RETURNING c.key, {told}"
            ),
            sweep_records: format!(
                "DELETE FROM {s}.records WHERE (key, expires) IN (
                    SELECT key, expires FROM {s}.records WHERE expires <= {now} ORDER BY expires LIMIT $1)"
            ),
            partitions: format!(
                "SELECT p.relname::text, p.reltuples FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid
                WHERE i.inhparent = '{s}.records'::regclass"
            ),
            schema: s.clone(),
            told,
        }
    }

    /// One completion as a text of its own, without arguments, for a transaction of the caller's: one row where the claim was
    /// still held, none otherwise. The claim is to be older than the transaction's snapshot.
    pub(super) fn completion(&self, own: &Completion) -> String {
        let Self { schema: s, told, .. } = self;
        let (key, record) = (hex(own.key.as_framed()), hex(&own.record));
        let (fence, expires) = (bigint(own.fence), bigint(own.expires.as_millis()));
        format!(
            "WITH held AS (
                DELETE FROM {s}.claims c WHERE c.key = {key} AND c.fence = {fence} RETURNING c.key, c.mark),
            kept AS (
                INSERT INTO {s}.records (key, fence, expires, record)
                SELECT key, {fence}, {expires}, {record} FROM held
                ON CONFLICT (key, expires) DO UPDATE SET fence = excluded.fence, record = excluded.record)
            SELECT 1 AS completed, {told} AS told FROM held c"
        )
    }
}

/// Bytes as a literal that no setting of the session reads in another way.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 16);
    text.push_str("decode('");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text.push_str("', 'hex')");
    text
}
