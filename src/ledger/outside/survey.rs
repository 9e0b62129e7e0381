//! Looking at a store from outside: at all of it where it is closed, at what is sealed where another process has it open
//! (feature `cli`).
//!
//! Law: nothing is changed. A closed store is held by a lock that readers share, so that nobody begins to write under
//! their eyes; beside its owner nothing is locked, and the segment that is being written is not looked at. Segments are
//! judged as an opening judges them, through backends that keep writes in memory; but where an opening refuses the
//! store at the first flaw, this notes the flaw and looks on.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::super::backend::copy;
use super::super::block::Block;
use super::super::disk::{Directory, Disk};
use super::super::fault::{Fault, io_error};
use super::super::files::{Listed, Maker, segment_name, segment_number};
use super::super::hint::Hint;
use super::super::identity::Identity;
use super::super::recovery::{Judged, LOCK_NAME, Opener};
use super::super::segment::Segment;
use crate::encryption::Keyring;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{HashKeys, Location};
use crate::sync::after;
use crate::time::Timestamp;

/// How long to wait for a segment that does not read, beside an owner who may be sealing it just now.
const SEALING_TAKES: Duration = Duration::from_secs(1);

/// What is to be seen of a store.
pub(crate) struct Survey {
    pub(crate) identity: Identity,
    /// Those that could be judged, oldest first.
    pub(crate) segments: Vec<Surveyed>,
    /// What could not be judged, and why.
    pub(crate) flaws: Vec<Flaw>,
    /// Whether the newest records are in view: the store is closed, and all of it was looked at.
    pub(crate) is_whole: bool,
    pub(super) keys: HashKeys,
    _lock: Option<Box<dyn fmt::Debug + Send + Sync>>,
}

/// A segment that was judged.
pub(crate) struct Surveyed {
    pub(crate) segment: Segment,
    pub(crate) is_sealed: bool,
    pub(crate) hints: Vec<Hint>,
    /// The latest time in it.
    pub(crate) time: Timestamp,
    /// It holds fingerprints that do not read: a key without a record may be one of those (contract 5.9).
    pub(crate) is_blind: bool,
}

/// Something that is not as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) segment: u64,
    pub(crate) place: Option<Location>,
    pub(crate) what: String,
}

impl Surveyed {
    /// Records that its hints tell of.
    pub(crate) fn records(&self) -> u64 {
        self.hints.iter().filter(|hint| !hint.is_forgotten()).count() as u64
    }

    /// When the last of its records expires, if it has any that does.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        Some(self.segment.expires()).filter(|at| *at > Timestamp::default())
    }

    /// When its first block was written, and when its last one was; as far as they read.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        let time = |block| {
            let read = self.segment.with_block(block, |bytes| {
                let table = Block::new(bytes, block, self.segment.keys()).table();
                Ok(table.map_or(self.time, |table| table.head.time))
            });
            read.unwrap_or(self.time)
        };
        (time(*self.segment.blocks().start()), time(*self.segment.blocks().end()))
    }
}

impl Survey {
    /// Looks at the store on `disk`; `sealed_only` also where nobody has it open.
    ///
    /// # Errors
    /// *Not a store*, *newer format*, *damaged store* (its identity), *encrypted*, *wrong encryption key*, *io*.
    pub(crate) fn open(disk: &Directory, keyring: Keyring, sealed_only: bool) -> Result<Self> {
        let none = || ErrorKind::NotAStore("it holds no identity of a store");
        let held = if sealed_only { Hold::Taken } else { hold(disk)? };
        let identity = Identity::load(disk)?.ok_or_else(none)?;
        let keys = HashKeys::derive(&identity.seed);
        let opener = Opener { disk, maker: Maker::new(identity.store, keys, keyring, false) };
        let (is_whole, lock) = match held {
            Hold::Ours(lock) => (true, lock),
            Hold::Taken => (false, None),
        };
        let (segments, flaws) = (Vec::new(), Vec::new());
        let mut survey = Self { identity, segments, flaws, is_whole, keys, _lock: lock };
        if !survey.identity.born {
            return Ok(survey);
        }
        if is_whole {
            survey.judge_all(&opener)?;
        } else {
            survey.judge_sealed(&opener)?;
        }
        Ok(survey)
    }

    fn judge_all(&mut self, opener: &Opener<'_>) -> Result<()> {
        let numbers = opener.numbers()?;
        let Some(&newest) = numbers.last() else {
            self.note(1, &ErrorKind::SegmentMissing { segment: 1 }.into())?;
            return Ok(());
        };
        let active = opener.judge_unsealed(newest);
        let listed = active.as_ref().ok().and_then(Judged::listed);
        // Without a manifest, all that is there.
        let all = || numbers.iter().filter(|own| **own < newest).map(|own| (*own, None)).collect();
        let wanted: Vec<(u64, Option<Listed>)> =
            listed.map_or_else(all, |own| own.into_iter().map(|own| (own.0, Some(own))).collect());
        for (number, listed) in wanted {
            if !numbers.contains(&number) {
                self.note(number, &ErrorKind::SegmentMissing { segment: number }.into())?;
                continue;
            }
            let judged = opener.judge_sealed(number).or_else(|_| opener.judge_unsealed(number));
            let other =
                |own: &Judged| listed.is_some_and(|(_, first, last)| own.segment.blocks() != (first..=last));
            if judged.as_ref().is_ok_and(other) {
                self.note(number, &Fault::Damaged.at_opening(number))?;
            }
            self.add(number, judged)?;
        }
        if active.as_ref().is_ok_and(|active| active.sealed) {
            self.note(newest + 1, &ErrorKind::SegmentMissing { segment: newest + 1 }.into())?;
        }
        if active.as_ref().is_ok_and(|active| active.listed().is_none() && !active.sealed) {
            self.note(newest, &Fault::Damaged.at_opening(newest))?;
        }
        self.add(newest, active)
    }

    /// All but the newest one, which is being written. One that was written a moment ago may still wait to be sealed:
    /// nobody writes to it then.
    fn judge_sealed(&mut self, opener: &Opener<'_>) -> Result<()> {
        let numbers = opener.numbers()?;
        for &number in numbers.iter().rev().skip(1).rev() {
            let judge = || opener.judge_sealed(number).or_else(|_| opener.judge_unsealed(number));
            let mut judged = judge();
            if judged.as_ref().is_err_and(|error| !error.is_locked_away()) {
                // Nobody sends: it is the time that passes.
                let _ = after(SEALING_TAKES).recv();
                judged = judge();
            }
            if judged.is_err() && !opener.numbers()?.contains(&number) {
                continue;
            }
            self.add(number, judged)?;
        }
        Ok(())
    }

    fn add(&mut self, number: u64, judged: Result<Judged>) -> Result<()> {
        match judged {
            Ok(Judged { segment, sealed, hints, time, blind, .. }) => {
                self.segments.push(Surveyed { segment, is_sealed: sealed, hints, time, is_blind: blind });
                Ok(())
            }
            Err(error) => self.note(number, &error),
        }
    }

    /// Takes note of what is wrong with a segment; what is wrong with the keys that were given goes up.
    fn note(&mut self, segment: u64, error: &Error) -> Result<()> {
        if error.is_locked_away() {
            return Err(error.clone());
        }
        self.flaws.push(Flaw { segment, place: None, what: error.to_string() });
        Ok(())
    }

    /// The latest time on disk that is in view.
    pub(crate) fn last_time(&self) -> Timestamp {
        self.segments.iter().map(|own| own.time).max().unwrap_or_default()
    }

    pub(crate) fn fingerprint(&self, framed_key: &[u8]) -> u64 {
        self.keys.fingerprint(framed_key)
    }
}

/// Who has a store.
enum Hold {
    /// Nobody else writes for as long as this lock is held: where there is one to hold, since a copy may have none.
    Ours(Option<Box<dyn fmt::Debug + Send + Sync>>),
    /// Another process, which may write.
    Taken,
}

fn hold(disk: &Directory) -> Result<Hold> {
    match disk.lock_to_read(LOCK_NAME) {
        Ok(lock) => Ok(Hold::Ours(lock)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Hold::Taken),
        Err(error) => Err(io_error("locking the store")(error)),
    }
}

/// Whether a store stands there, whoever has it open.
///
/// # Errors
/// *Not a store*, *newer format*, *damaged store*, *io*.
pub(crate) fn holds_store(disk: &Directory) -> Result<bool> {
    Ok(Identity::load(disk)?.is_some())
}

/// Copies a closed store's files as they are into a directory that is empty, or is made; gives their bytes. The identity
/// goes last: until it is there, the copy is no store.
///
/// # Errors
/// *Locked* where another process has it open, *not a store* where the target is not empty, *io*.
pub(crate) fn copy_closed(disk: &Directory, target: &Path) -> Result<u64> {
    let Hold::Ours(_lock) = hold(disk)? else { return Err(ErrorKind::Locked.into()) };
    let none = || ErrorKind::NotAStore("it holds no identity of a store");
    let identity = Identity::load(disk)?.ok_or_else(none)?;
    let failed = io_error("writing the backup");
    let target = &Directory::at(target).map_err(&failed)?;
    if !target.list().map_err(&failed)?.is_empty() {
        return Err(ErrorKind::NotAStore("the backup's directory is not empty").into());
    }
    let mut bytes = 0;
    let names = disk.list().map_err(io_error("listing the store"))?;
    for number in names.iter().filter_map(|name| segment_number(name)) {
        let file = disk.open(&segment_name(number)).map_err(io_error("opening a segment"))?;
        file.sync().map_err(io_error("syncing a segment"))?;
        file.read_anew();
        let copied = target.create(&segment_name(number)).and_then(|new| copy(&*file, &*new));
        copied.map_err(&failed)?;
        bytes += file.len().map_err(&failed)?;
    }
    identity.save(target)?;
    Ok(bytes)
}
