//! The caller's own write transaction, lent by the store: an operation's effect and its record as one (contract 6).
//!
//! Law: a reservation that is completed here has passed its fence, and its record waits beside the caller's changes; one
//! commit writes both, and only then is anything published. Where there is no commit the reservation runs on, and is
//! released as any other that is dropped, after the changes are gone. Where the commit failed nobody knows, and nobody
//! runs it until a store was opened that has looked (6.2). The writer waits meanwhile, so this thread never waits for it.
//!
//! | the transaction | its completed reservations | those with retryable outcomes |
//! | --- | --- | --- |
//! | lent | completing: no lease runs, others wait or are told *in flight* | running |
//! | committed | finished: replayed, waiters woken | released |
//! | aborted, dropped, or failed before its commit | released; a panic leaves a durable one interrupted (4.3) | released |
//! | its commit failed | unknown | released |

#![expect(clippy::result_large_err, reason = "a refusal hands the reservation back by value, and is rare")]

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Store;
use super::completing::{Completed, Refused};
use super::publish::Told;
use super::quota::Tally;
use super::reservation::Reservation;
use super::shared::{Shared, Tag};
use crate::error::{ErrorKind, Result};
use crate::ledger::{
    Column, Entry, Fate, House, Lent, Meaning, MultimapTable, MultimapTableDefinition, MultimapTableHandle,
    Table, TableDefinition, TableError, TableHandle, Value, What,
};
use crate::outcome::{Class, Outcome};
use crate::record::Weight;
use crate::time::Timestamp;

/// The write transaction of the database that the store lives in, lent to the caller (contract 6.1).
///
/// Write the operation's effect into your own tables, complete its reservation here, and commit: both are on disk, or
/// neither is, whatever happens in between. There is no moment at which the effect is there and the record is not, so a
/// retry after a crash either replays, or runs for the first time: **exactly once**, without looking for an earlier
/// effect. Several reservations can be completed in one transaction; that is also the way to make it cheap.
///
/// ```
/// use std::sync::Arc;
/// use oncekey::redb::{self, ReadableTable};
/// use oncekey::{Answer, Key, Outcome, Parameters, Store};
///
/// const BALANCES: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("balances");
///
/// # let directory = tempfile::tempdir().expect("a directory");
/// # let path = directory.path().join("bank.redb");
/// let database = Arc::new(redb::Database::create(path)?);
/// let store = Store::builder().open_in(Arc::clone(&database), "oncekey")?;
///
/// let key = Key::new("account-1", "token-1")?;
/// let parameters = Parameters::pairs([("Amount", "7")]);
/// if let Answer::Fresh(reservation) = store.begin(&key, &parameters)? {
///     let transaction = store.transaction()?;
///     {
///         let mut balances = transaction.open_table(BALANCES)?;
///         let before = balances.get("account-1")?.map_or(0, |row| row.value());
///         balances.insert("account-1", before + 7)?;
///     }
///     transaction.complete(reservation, Outcome::http(200, "paid"))?;
///     transaction.commit()?; // effect and record, together
/// }
/// assert!(matches!(store.begin(&key, &parameters)?, Answer::Replay(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Which mode?
/// | | volatile reservation (the default) | durable reservation | transaction |
/// | --- | --- | --- | --- |
/// | where the effect is | anywhere | anywhere, outside | in the same redb database |
/// | killed between effect and record | a retry runs again | known as *interrupted* | **can't be between**: neither happened |
/// | what your operation has to do | find its own earlier effect | find out how far it came (checkpoints) | nothing |
/// | costs | one grouped sync | two grouped syncs | the commit that your effect needs anyway, and one more table in it |
/// | who writes at the same time | everybody, grouped | everybody, grouped | one at a time: redb has one writer |
///
/// Take the transaction where the effect is in your own redb database, and keep it short: nobody else writes meanwhile,
/// and no other completion of this store reaches the disk. What has to be called outside (a bank, another service) does not
/// belong into it: use a durable reservation there.
///
/// # Rules
/// - It stays on its thread. A call there that would wait for the writer is refused as *lent*: `complete` of a reservation
///   itself, a durable start, a checkpoint, `forget`, `resolve`, `flush`, `sweep`, `rotate_secret`, `reopen`, `close`,
///   another transaction (contract 6.4). On other threads they wait until it has ended. `begin`, `get` and replays go on
///   everywhere.
/// - Dropping it gives up: your changes are gone, the reservations are released (6.2).
/// - A write transaction that you begin on the database yourself is none of the store's: it works, and knows nothing of
///   reservations; whoever completes one while the same thread holds it waits for ever.
/// - A caller who waits on this thread for a key that is completed here waits until his patience ends.
/// - The store's own table can't be opened here.
#[must_use = "dropping it gives up what was written in it, and releases its reservations: `commit` it"]
pub struct Transaction {
    // Before the store's handle: what was not committed is gone before anything else.
    lent: Option<Lent>,
    done: RefCell<Done>,
    store: Store,
}

/// What was completed so far.
#[derive(Default)]
struct Done {
    kept: Vec<Kept>,
    /// Their records, one behind the other.
    bytes: Vec<u8>,
    /// Their outcomes were retryable.
    released: Vec<Reservation>,
}

/// A completion that waits for the commit.
struct Kept {
    reservation: Reservation,
    completed: Timestamp,
    expires: Timestamp,
    weight: Weight,
    /// Where its record stands.
    bytes: Range<usize>,
    /// Until its commit has decided.
    tag: Option<Tag>,
}

impl Store {
    /// Lends the write transaction of the database that this store lives in (contract 6.1); waits until nobody else
    /// writes there.
    ///
    /// # Errors
    /// *Wrong home*: the store was not opened by `Builder::open_in`. *Lent*: this thread holds one already. *Stopped*,
    /// *closed*, *io*.
    pub fn transaction(&self) -> Result<Transaction> {
        let shared = self.shared();
        shared.check_open()?;
        shared.check_process()?;
        let House::Guest(guest) = &*shared.ledger()? else {
            let why = "only one in your own database lends its transaction; open it by `open_in`";
            return Err(ErrorKind::WrongHome(why).into());
        };
        let mut lent = guest.lend()?;
        let done = Done { bytes: lent.take_buffer(), ..Done::default() };
        Ok(Transaction { lent: Some(lent), done: RefCell::new(done), store: self.clone() })
    }
}

impl Transaction {
    /// Opens a table of the caller's; makes it where there is none.
    ///
    /// # Errors
    /// As redb's own; *already open* for a table that a store lives in.
    #[track_caller]
    pub fn open_table<K: Column + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Table<'_, K, V>, TableError> {
        self.lent().open_table(definition)
    }

    /// Opens a multimap table of the caller's; makes it where there is none.
    ///
    /// # Errors
    /// As redb's own; *already open* for a table that a store lives in.
    #[track_caller]
    pub fn open_multimap_table<K: Column + 'static, V: Column + 'static>(
        &self,
        definition: MultimapTableDefinition<'_, K, V>,
    ) -> Result<MultimapTable<'_, K, V>, TableError> {
        self.lent().open_multimap_table(definition)
    }

    /// Deletes a table of the caller's; whether there was one.
    ///
    /// # Errors
    /// As redb's own; *already open* for a table that a store lives in.
    #[track_caller]
    pub fn delete_table(&self, table: impl TableHandle) -> Result<bool, TableError> {
        self.lent().delete_table(table)
    }

    /// Deletes a multimap table of the caller's; whether there was one.
    ///
    /// # Errors
    /// As redb's own; *already open* for a table that a store lives in.
    #[track_caller]
    pub fn delete_multimap_table(&self, table: impl MultimapTableHandle) -> Result<bool, TableError> {
        self.lent().delete_multimap_table(table)
    }

    /// Keeps what the operation returned, once this transaction is committed: until then its key is *in flight*, and
    /// nobody takes it over. The time of completion is now. A retryable outcome is not kept: the reservation is released
    /// when the transaction ends, whether it commits or not (contract 4.2), so commit only what may stay without it.
    ///
    /// # Errors
    /// As [`Reservation::complete`], and *other store*: the reservation comes back, still held, and the transaction goes
    /// on as if nothing had been asked. *In flight*: a checkpoint of it was not waited for; it is written when this
    /// transaction has ended. *Reservation lost*: another caller took over, so give the transaction up.
    pub fn complete(&self, reservation: Reservation, outcome: Outcome) -> Result<Completed, Refused> {
        self.take(reservation, outcome, false)
    }

    /// [`Transaction::complete`], keeping status, metadata, length and digest of an outcome whose body is too large to
    /// keep (contract 4.5).
    ///
    /// # Errors
    /// As [`Transaction::complete`].
    pub fn complete_without_body(
        &self,
        reservation: Reservation,
        outcome: Outcome,
    ) -> Result<Completed, Refused> {
        self.take(reservation, outcome, true)
    }

    /// Commits the caller's changes and the records of what was completed, together, and waits until they are on disk.
    /// Then they are replayed, and those who wait are woken.
    ///
    /// # Errors
    /// *Unknown outcome*: the commit failed. Whether it is on disk is known when the database and the store were opened
    /// anew; until then the keys answer *unknown outcome* and nobody runs them (contract 6.2). *Io*: it failed before
    /// the commit, nothing was kept, and the reservations are released; likewise *forked*, in a child of this process.
    pub fn commit(mut self) -> Result<()> {
        // In a forked child neither: its parent writes the same file.
        self.store.shared().check_forked()?;
        let Some(lent) = self.lent.take() else { return Ok(()) };
        let Done { mut kept, bytes, released } = std::mem::take(&mut *self.done.borrow_mut());
        let shared = Arc::clone(self.store.shared());
        let now = kept.iter().map(|own| own.completed).max().unwrap_or_default();
        let (fate, mut turn) = lent.commit(now, &entries(&kept, &bytes));
        turn.keep_buffer(bytes);
        let mut tally = Tally::default();
        let (told, ended): (Vec<_>, _) = match fate {
            Fate::Committed(places) => {
                let each = kept.iter_mut().zip(places);
                let told = each.filter_map(|(own, at)| Some(shared.publish(own.end()?, at, &mut tally)));
                (told.collect(), Ok(()))
            }
            Fate::Unknown => {
                let each = kept.iter_mut().filter_map(|own| Some(shared.publish_failed(own.end()?)));
                (each.collect(), Err(ErrorKind::UnknownOutcome.into()))
            }
            Fate::Aborted(error) => {
                drop(turn);
                give_back(&shared, kept);
                return Err(error);
            }
        };
        shared.settle(&tally);
        drop(turn);
        // Now that others write again: wakers, and releases, are for after the lock.
        told.into_iter().for_each(Told::tell);
        drop((kept, released));
        ended
    }

    /// Gives up, as dropping does: the caller's changes are gone, and the reservations are released (contract 6.2).
    ///
    /// # Errors
    /// *Io*, where the database reports that it is broken; nothing was kept in that case either.
    pub fn abort(mut self) -> Result<()> {
        self.give_up()
    }

    fn take(
        &self,
        reservation: Reservation,
        outcome: Outcome,
        without_body: bool,
    ) -> Result<Completed, Refused> {
        let shared = self.store.shared();
        if !Arc::ptr_eq(shared, reservation.store().shared()) {
            return Err(Refused { error: ErrorKind::OtherStore.into(), reservation: Some(reservation) });
        }
        if outcome.class_by(shared.options.classifier.as_ref()) == Class::Retryable {
            self.done.borrow_mut().released.push(reservation);
            return Ok(Completed::Released);
        }
        let mut reservation = reservation;
        let replay = match reservation.pass_fence(outcome, without_body, true) {
            Ok(replay) => replay,
            Err(error) => return Err(reservation.refuse(error)),
        };
        let (completed, expires) = (replay.completed(), replay.expires());
        let done = &mut *self.done.borrow_mut();
        let begin = done.bytes.len();
        let packed = shared.with_engine(|engine| {
            let record = reservation.record(engine, &replay);
            record.encode_into(&mut done.bytes);
            Ok(reservation.tag(shared, None, &record, &replay))
        });
        match packed {
            Ok(tag) => {
                let (weight, bytes) = (tag.weight, begin..done.bytes.len());
                let tag = Some(tag);
                done.kept.push(Kept { reservation, completed, expires, weight, bytes, tag });
                Ok(Completed::Kept { completed, expires })
            }
            Err(error) => {
                let (hash, fence) = reservation.fence();
                shared.step_back(hash, fence);
                Err(reservation.refuse(error))
            }
        }
    }

    fn lent(&self) -> &Lent {
        self.lent.as_ref().expect("it is taken only by what ends the transaction")
    }

    fn give_up(&mut self) -> Result<()> {
        let aborted = self.lent.take().map_or(Ok(()), Lent::abort);
        let Done { kept, released, .. } = std::mem::take(&mut *self.done.borrow_mut());
        give_back(self.store.shared(), kept);
        drop(released);
        aborted
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // There is nobody left to tell.
        drop(self.give_up());
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.done.borrow();
        f.debug_struct("Transaction")
            .field("completed", &done.kept.len())
            .field("released", &done.released.len())
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Its commit decided: nothing is left for the reservation's drop to do.
    fn end(&mut self) -> Option<Tag> {
        self.reservation.armed = false;
        self.tag.take()
    }
}

fn entries<'a>(kept: &[Kept], bytes: &'a [u8]) -> Vec<Entry<'a>> {
    let entry = |own: &Kept| {
        let (hash, meaning) = (own.reservation.hash, Meaning::Kept(What::Kept, own.weight));
        Entry { hash, bytes: bytes[own.bytes.clone()].into(), expires: own.expires, meaning }
    };
    kept.iter().map(entry).collect()
}

/// Nothing was kept: the reservations run on for the moment that it takes to drop them, as any other.
fn give_back(shared: &Shared, kept: Vec<Kept>) {
    for own in kept {
        let (hash, fence) = own.reservation.fence();
        shared.step_back(hash, fence);
        drop(own);
    }
}
