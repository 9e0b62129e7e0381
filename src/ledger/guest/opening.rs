//! Opening a table: judged and scanned in one pass, block by block, before anything is changed.
//!
//! Law: what is not ours, of a newer format or damaged is refused unchanged (contract 5.6). The scan holds one block in
//! memory and fills the index as it goes; of one key the later record wins. Then one commit says that a new epoch has
//! begun: a crash before it changes nothing, and none is left half done.
//!
//! | what stands there | what it means |
//! | --- | --- |
//! | no table, or an empty one | a new store is made |
//! | a table of other types, or rows without an identity | *not a store* |
//! | identity, no floor, or blocks that do not follow each other from the floor on | *damaged store* |
//! | a block whose fingerprints do not read | the store is *blind* there (5.9) |

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use redb::{ReadableTable, TableError};

use super::super::block::{Block, Table};
use super::super::fault::{Fault, barrier};
use super::super::hint::What;
use super::super::identity::Identity;
use super::super::recovery::{Opening, check_jump};
use super::super::{Catalogue, House, Room};
use super::floor::{BLOCKS, FLOOR, Floor, IDENTITY};
use super::place::{Place, Rows};
use super::spans::{Seen, Spans};
use super::{Guest, ROOM, TABLE_NUMBER, Tail, look_at};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Builder;
use crate::record::{HashKeys, Kind, Location, Record, Unreadable, Weight};
use crate::sync::Mutex;
use crate::time::Timestamp;

/// Opens the store at `place`, or makes one there, and fills `catalogue`.
pub(in super::super) fn open(
    place: &Place,
    options: &Builder,
    wall: Timestamp,
    room: Arc<Room>,
    catalogue: &dyn Catalogue,
) -> Result<Opening> {
    if !options.keyring.is_empty() {
        return Err(ErrorKind::WrongHome("a file that is the caller's is the caller's to encrypt").into());
    }
    place.check_thread()?;
    let taken = place.take()?;
    let rows = place.rows()?;
    let found = rows.as_ref().map(identity_in).transpose()?.flatten();
    let is_new = found.is_none();
    let mut identity = found.map_or_else(|| Identity::new(options.secret.as_ref()), Ok)?;
    let secrets = identity.secrets(options.secret.as_ref(), &options.old_secrets)?;
    let current_rules = identity.number_of(&options.rules)?;
    let keys = HashKeys::derive(&identity.seed);
    let (mut scanned, last_time) = match rows.filter(|_| !is_new) {
        None => (Scan::starting_at(BLOCKS.start), Timestamp::default()),
        Some(rows) => barrier(|| last_time(&rows, &keys))
            .map(|(floor, time)| {
                let scan = Scan { rows: Some(rows), ..Scan::starting_at(floor.first) };
                (scan, time)
            })
            .map_err(refusal)?,
    };
    check_jump(last_time, wall, options)?;
    let start = wall.max(last_time);
    barrier(|| scanned.run(&keys, start, catalogue)).map_err(refusal)?;

    // Everything is sound: from here on the table is changed.
    identity.epoch += 1;
    identity.born = true;
    let (epoch, rules) = (identity.epoch, identity.all_rules());
    let Scan { spans, blind, .. } = scanned;
    let low = spans.first();
    room.set_ready(ROOM);
    let guest = Guest {
        place: place.clone(),
        taken: Mutex::new(Some(taken)),
        keys,
        two_phase: options.two_phase,
        low: AtomicU64::new(low),
        bytes: AtomicU64::new(spans.bytes()),
        tail: Arc::new(Mutex::new(Tail { spans, time: last_time, unsynced: false, buffer: Vec::new() })),
        identity: Mutex::new(identity),
        room,
        stopped: OnceLock::new(),
        retired: AtomicBool::new(false),
        blind,
        written: AtomicU64::new(0),
    };
    guest.begin_epoch(is_new.then_some(Floor { first: low, time: start }))?;
    Ok(Opening { ledger: House::Guest(Arc::new(guest)), start, epoch, secrets, rules, current_rules })
}

impl Place {
    /// The table, if there is one.
    fn rows(&self) -> Result<Option<Rows>> {
        let opened = barrier(|| match self.begin_read()?.open_table(self.definition()) {
            Ok(rows) => Ok(Ok(Some(rows))),
            Err(TableError::TableDoesNotExist(_)) => Ok(Ok(None)),
            Err(TableError::Storage(error)) => Err(error.into()),
            Err(_) => Ok(Err(ErrorKind::NotAStore("the table holds values of other types"))),
        });
        Ok(opened.map_err(refusal)??)
    }
}

impl Guest {
    fn begin_epoch(&self, floor: Option<Floor>) -> Result<()> {
        let row = self.identity.lock().encode()?;
        let written = self.commit(true, |own| {
            self.put(own, IDENTITY, &row)?;
            floor.map_or(Ok(()), |floor| self.put(own, FLOOR, &floor.encode(&self.keys)))
        });
        written.map_err(|fault| fault.in_segment(TABLE_NUMBER, "writing the store's identity"))
    }
}

/// What an opening says of a fault.
fn refusal(fault: Fault) -> Error {
    match fault {
        Fault::Damaged => ErrorKind::DamagedStore { file: "table".to_owned() }.into(),
        other => other.in_segment(TABLE_NUMBER, "reading the store's table"),
    }
}

/// The identity in a table that holds anything.
fn identity_in(rows: &Rows) -> Result<Option<Identity>> {
    let row = barrier(|| Ok((rows.get(IDENTITY)?.map(|row| row.value().to_vec()), rows.first()?.is_some())));
    match row.map_err(refusal)? {
        (Some(bytes), _) => Identity::parse(&bytes).map(Some),
        (None, true) => Err(ErrorKind::NotAStore("the table holds rows, and no identity of a store").into()),
        (None, false) => Ok(None),
    }
}

/// The floor, and the last time on disk: times rise from block to block.
fn last_time(rows: &Rows, keys: &HashKeys) -> Result<(Floor, Timestamp), Fault> {
    let row = rows.get(FLOOR)?.ok_or(Fault::Damaged)?;
    let floor = Floor::decode(row.value(), keys).ok_or(Fault::Damaged)?;
    if rows.range(BLOCKS.end..)?.next().is_some() {
        return Err(Fault::Damaged);
    }
    for row in rows.range(BLOCKS)?.rev() {
        let (number, bytes) = row?;
        if let Some(table) = Block::new(bytes.value(), number.value(), keys).table() {
            return Ok((floor, floor.time.max(table.head.time)));
        }
    }
    Ok((floor, floor.time))
}

/// A scan of all blocks.
struct Scan {
    rows: Option<Rows>,
    spans: Spans,
    blind: u64,
}

impl Scan {
    fn starting_at(first: u64) -> Self {
        Self { rows: None, spans: Spans::starting_at(first), blind: 0 }
    }

    fn run(&mut self, keys: &HashKeys, start: Timestamp, catalogue: &dyn Catalogue) -> Result<(), Fault> {
        let Some(rows) = self.rows.take() else { return Ok(()) };
        let adoption = Adoption { rows: &rows, keys, start, catalogue };
        for row in rows.range(BLOCKS)? {
            let (number, bytes) = row?;
            if number.value() != self.spans.next() {
                return Err(Fault::Damaged);
            }
            let bytes = bytes.value();
            let block = Block::new(bytes, number.value(), keys);
            let seen = if let Some(table) = block.table() {
                adoption.adopt(block, table)?
            } else {
                self.blind = TABLE_NUMBER;
                Seen { due: u64::MAX, known: bytes.len() as u64 }
            };
            self.spans.add(bytes.len() as u64, seen);
        }
        Ok(())
    }
}

/// Enters what blocks hold into the index.
struct Adoption<'a> {
    rows: &'a Rows,
    keys: &'a HashKeys,
    start: Timestamp,
    catalogue: &'a dyn Catalogue,
}

impl Adoption<'_> {
    fn adopt(&self, block: Block<'_>, table: Table<'_>) -> Result<Seen, Fault> {
        let mut seen = Seen::default();
        for (hash, at) in table.entries() {
            match block.record(at) {
                Ok(opened) => self.note(&mut seen, hash, at, opened.record())?,
                Err(Unreadable::Newer) => return Err(Fault::Newer),
                // It stays known by its fingerprint, so that its key answers *damaged* and never runs again.
                Err(Unreadable::Damaged) => {
                    self.keep(&mut seen, hash, at, What::Kept, table.head.expires, Weight::default(), 1);
                }
            }
        }
        Ok(seen)
    }

    fn note(&self, seen: &mut Seen, hash: u64, at: Location, record: Record<'_>) -> Result<(), Fault> {
        match record.kind() {
            Kind::Finished | Kind::Released | Kind::Started => {
                self.supersede(hash, record.key())?;
                let what = if record.kind() == Kind::Started { What::Started } else { What::Kept };
                let (weight, bytes) = (record.weight(self.keys), record.bytes().len() as u64);
                self.keep(seen, hash, at, what, record.expires(), weight, bytes);
            }
            Kind::Forgotten => {
                if let Some(note) = record.forgotten() {
                    self.catalogue.remove(note.hash, note.target, note.weight);
                }
            }
            Kind::Control => {}
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all that the index has to know of one record")]
    fn keep(
        &self,
        seen: &mut Seen,
        hash: u64,
        at: Location,
        what: What,
        expires: Timestamp,
        weight: Weight,
        bytes: u64,
    ) {
        // What has expired is not counted again (contract 8.3): an opening sweeps.
        if expires > self.start {
            drop(self.catalogue.insert(hash, at, what));
            self.catalogue.keep(&mut std::iter::once(weight));
            seen.known += bytes;
            seen.due = seen.due.min(look_at(what, expires, self.start));
        }
    }

    /// A later record of this key was found: the earlier one is no longer known.
    fn supersede(&self, hash: u64, key: &[u8]) -> Result<(), Fault> {
        for at in self.catalogue.find(hash) {
            let earlier = barrier(|| {
                let row = self.rows.get(at.block())?.ok_or(Fault::Damaged)?;
                let opened = Block::new(row.value(), at.block(), self.keys).record(at)?;
                let record = opened.record();
                Ok((record.key() == key).then(|| record.weight(self.keys)))
            });
            match earlier {
                Ok(Some(weight)) => drop(self.catalogue.remove(hash, at, weight)),
                // What reads as damaged stays, and answers so when it is asked for.
                Ok(None) | Err(Fault::Damaged) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
