//! Claims, and what there is of a key.
//!
//! Law: whoever is told *granted* has the key alone, and it had no unexpired record then. Each statement is a transaction of its
//! own under READ COMMITTED, with a snapshot of its own; they go to one server, on one connection, in this order:
//!
//! 1. insert a claim for each key that has, in the snapshot, neither claim nor record;
//! 2. take over the claims that are named, where nobody holds them;
//! 3. read the claims of all keys, their unexpired records, and the time.
//!
//! A completion deletes the claim and inserts the record in one statement, so every snapshot has both or neither of it. From
//! that, and from the order, it follows that
//!
//! * who does not see the claim in (3), because it was completed, sees the record there;
//! * (1) may insert a claim beside a record: its snapshot was taken before a completion, and the row that was in its way was gone
//!   by the time that it looked, or it waited for the one who deleted it. But then the completion came before the insertion, and
//!   (3) after it: (3) sees the record, the answer is *finished*, and the claim, which nobody was told of, goes again. Until
//!   then, or for ever if its maker dies, whoever reads finds the record first and knows that the claim is none; the
//!   sweep removes it when it is free;
//! * a claim that stands is nobody else's: keys are unique, and (2) looks at the fence again under the row's lock.
//!
//! A key whose claim is just being completed in a transaction that is still open is not waited for: in (1) its claim
//! is still seen, in (2) a locked row is passed by.

use std::time::Duration;

use futures_util::future::{OptionFuture, join3};

use super::House;
use super::fault::Wrong;
use super::link::Link;
use super::values::{Hidden, Seen, bigint, column, keys, millis, parts};
use crate::engine::{At, Claim, Claimed, Fault, Sight};
use crate::time::Timestamp;
use crate::token::Key;

/// How long an answer is held back that says of a free claim that it is held, since somebody has its row locked: who asks again
/// at once does so at this pace.
const PASSED_BY: Duration = Duration::from_millis(4);

impl House {
    pub(super) async fn claim(&self, claims: &[Claim]) -> Result<At<Vec<Claimed>>, Fault> {
        let mut all = At { now: Timestamp::default(), answer: Vec::with_capacity(claims.len()) };
        for part in parts(claims, |own| own.started.len()) {
            let link = self.link().await?;
            let came = link.wait(self.try_claim(&link, part)).await;
            let At { now, answer } = link.settle("claiming keys", came)?;
            all.now = now;
            all.answer.extend(answer);
        }
        Ok(all)
    }

    async fn try_claim(&self, link: &Link, claims: &[Claim]) -> Result<At<Vec<Claimed>>, Wrong> {
        let mut seen = self.insert_and_read(link, claims).await?;
        let stray: Vec<&Claim> = claims.iter().filter(|own| is_stray(own, &seen)).collect();
        if !stray.is_empty() {
            let (keys, fences) =
                (keys(stray.iter().map(|own| &own.key)), column(stray, |own| bigint(own.fence)));
            link.ask(&self.sql.release, &[&keys, &fences]).await?;
        }
        let passed_by = |own: &Claim| {
            let held = seen.claims.get(own.key.as_framed());
            held.is_some_and(|held| Some(held.fence) == own.over && held.is_free())
        };
        if claims.iter().any(passed_by) {
            tokio::time::sleep(PASSED_BY).await;
        }
        let answer = claims.iter().map(|own| decide(own, &mut seen)).collect();
        Ok(At { now: seen.now, answer })
    }

    async fn insert_and_read(&self, link: &Link, claims: &[Claim]) -> Result<Seen, Wrong> {
        let sql = &self.sql;
        let (over, fresh): (Vec<&Claim>, Vec<&Claim>) = claims.iter().partition(|own| own.over.is_some());
        let (fresh, over, all) =
            (Columns::of(&fresh), Columns::of(&over), Columns::of(&claims.iter().collect::<Vec<_>>()));
        let texts = [sql.claim.of_batch(fresh.keys.len()), &sql.take_over, sql.seen.of_batch(claims.len())];
        let [claim, take_over, seen] = link.prepare(texts).await?;
        let client = link.client();
        // Each is sent when it is first polled, which is in this order.
        let (inserted, taken, rows) = join3(
            OptionFuture::from((!fresh.keys.is_empty()).then_some(async {
                let own = &fresh;
                client
                    .query(&claim, &[&own.keys, &own.fences, &own.standings, &own.leases, &own.started])
                    .await
            })),
            OptionFuture::from((!over.keys.is_empty()).then_some(async {
                let own = &over;
                client
                    .query(
                        &take_over,
                        &[&own.keys, &own.fences, &own.standings, &own.leases, &own.started, &own.over],
                    )
                    .await
            })),
            client.query(&seen, &[&all.keys, &all.fences]),
        )
        .await;
        drop((inserted.transpose()?, taken.transpose()?));
        Seen::of(&rows?)
    }

    pub(super) async fn look_up(&self, keys: &[Key]) -> Result<At<Vec<Sight>>, Fault> {
        let link = self.link().await?;
        let came = link.wait(self.read(&link, keys)).await;
        let mut seen = link.settle("looking keys up", came)?;
        let sight = |key: &Key| {
            let record = seen.records.remove(key.as_framed());
            // A claim beside a record is none.
            let held = seen.claims.remove(key.as_framed()).filter(|_| record.is_none());
            Sight { record, held }
        };
        Ok(At { answer: keys.iter().map(sight).collect(), now: seen.now })
    }

    async fn read(&self, link: &Link, asked: &[Key]) -> Result<Seen, Wrong> {
        // No claim has this fence, so that all come with what was started.
        let (keys, fences) = (keys(asked), vec![0_i64; asked.len()]);
        Seen::of(&link.ask(self.sql.seen.of_batch(asked.len()), &[&keys, &fences]).await?)
    }
}

/// Claims as columns.
struct Columns<'a> {
    keys: Vec<Hidden<'a>>,
    fences: Vec<i64>,
    standings: Vec<i16>,
    leases: Vec<i64>,
    started: Vec<Hidden<'a>>,
    over: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(claims: &[&'a Claim]) -> Self {
        let standing = |own: &&Claim| own.standing.code();
        Self {
            keys: keys(claims.iter().map(|own| &own.key)),
            fences: column(claims, |own| bigint(own.fence)),
            standings: column(claims, standing),
            leases: column(claims, |own| millis(own.lease)),
            started: column(claims, |own| Hidden(&own.started)),
            over: column(claims, |own| own.over.map(bigint)),
        }
    }
}

/// Whether a claim was made beside a record.
fn is_stray(own: &Claim, seen: &Seen) -> bool {
    let key = own.key.as_framed();
    seen.records.contains_key(key) && seen.claims.get(key).is_some_and(|held| held.fence == own.fence)
}

/// What a claim came to, from what was seen after it.
fn decide(own: &Claim, seen: &mut Seen) -> Claimed {
    let key = own.key.as_framed();
    if let Some(record) = seen.records.remove(key) {
        return Claimed::Finished(record);
    }
    match seen.claims.remove(key) {
        Some(held) if held.fence == own.fence => Claimed::Granted,
        Some(held) => Claimed::Held(held),
        None => Claimed::Gone,
    }
}
