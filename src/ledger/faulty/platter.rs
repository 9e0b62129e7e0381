//! The durable side of a disk, and the disks that a power cut may leave of it.
//!
//! Law: a [`Platter`] goes through the log of a [`super::Faulty`] disk and knows what of it is durable: bytes once their
//! file was synced, names once the directory was. All else is *pending*, in the order in which it was asked for: writes,
//! lengths, names that came or went. [`Platter::cut`] gives one of the disks that a cut at this moment may leave: each
//! pending change by itself is lost, kept or torn, whatever became of the others. A torn write keeps a subset of its
//! 512-byte sectors, or its bytes up to one of them, or from one of them on.

use std::collections::BTreeMap;

use super::paged::{Paged, Pages};
use super::{Chance, Change, Data};

const SECTOR: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Lost,
    /// Everything.
    Kept,
    /// Names without bytes.
    Names,
    /// Bytes without names.
    Bytes,
    /// All but one.
    Without(usize),
    /// One alone.
    Only(usize),
    /// So many, in their order; the next one torn if that is not 0.
    Prefix(usize, u64),
    /// Of each file so many of its own, in their order, and the next one torn; of the names so many.
    Each(u64),
    /// All but that this one is torn.
    Torn(usize, u64),
    /// Those whose bit is set.
    Subset(u64),
    /// Each with so much of a chance in 256, every fourth of them torn.
    Some(u64, u8),
}

/// What becomes of a pending change.
enum Fate<'a> {
    Lost,
    Kept,
    Torn(&'a mut Chance),
}

/// A change that is not durable.
#[derive(Clone, Debug)]
enum Pending {
    Write(usize, u64, Data),
    SetLen(usize, u64),
    /// A name that came, with its file's number, and one that went.
    Name(Option<(String, usize)>, Option<String>),
}

/// The durable side of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    files: Vec<Pages>,
    names: BTreeMap<String, usize>,
    now: BTreeMap<String, usize>,
    pending: Vec<Pending>,
}

impl Platter {
    /// The durable side of a disk that begins with these files.
    pub(crate) fn of(disk: &Paged) -> Self {
        let mut platter = Self::default();
        for (name, pages) in disk.pages() {
            platter.names.insert(name, platter.files.len());
            platter.files.push(pages);
        }
        platter.now.clone_from(&platter.names);
        platter
    }

    /// Takes note of the next change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(name, number) => {
                assert_eq!(*number, self.files.len());
                self.files.push(Pages::default());
                self.now.insert(name.clone(), *number);
                self.pending.push(Pending::Name(Some((name.clone(), *number)), None));
            }
            Change::Write(file, offset, data) => {
                self.pending.push(Pending::Write(*file, *offset, data.clone()));
            }
            Change::SetLen(file, len) => self.pending.push(Pending::SetLen(*file, *len)),
            Change::Sync(file) => {
                let pages = &mut self.files[*file];
                self.pending.retain(|own| !own.is_of(*file) || !own.put(pages));
            }
            Change::SyncLost(file) => self.pending.retain(|own| !own.is_of(*file)),
            Change::Rename(from, to) => {
                let number = self.now.remove(from).unwrap();
                self.now.insert(to.clone(), number);
                self.pending.push(Pending::Name(Some((to.clone(), number)), Some(from.clone())));
            }
            Change::Remove(name) => {
                self.now.remove(name);
                self.pending.push(Pending::Name(None, Some(name.clone())));
            }
            Change::SyncNames => {
                self.pending.retain(|own| !matches!(own, Pending::Name(..)));
                self.names.clone_from(&self.now);
            }
        }
    }

    /// How many changes are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A file's bytes as they are read, if nothing of them is in a cache alone.
    pub(super) fn bytes_of(&self, number: usize) -> Pages {
        let mut pages = self.files[number].clone();
        for own in self.pending.iter().filter(|own| own.is_of(number)) {
            own.put(&mut pages);
        }
        pages
    }

    /// One of the disks that a cut at this moment may leave.
    pub(crate) fn cut(&self, cut: Cut) -> Paged {
        let mut chance = Chance(match cut {
            Cut::Prefix(_, seed) | Cut::Each(seed) | Cut::Some(seed, _) | Cut::Torn(_, seed) => seed,
            _ => 0,
        });
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        for (at, pending) in self.pending.iter().enumerate() {
            let fate = cut.fate(at, &self.pending, &mut chance);
            match (pending, fate) {
                (_, Fate::Lost) => {}
                // A name is never half there: a torn one is as one that came.
                (Pending::Name(new, old), Fate::Kept | Fate::Torn(_)) => {
                    if let Some(old) = old {
                        names.remove(old);
                    }
                    names.extend(new.clone());
                }
                (Pending::Write(file, ..) | Pending::SetLen(file, _), Fate::Kept) => {
                    pending.put(&mut files[*file]);
                }
                (Pending::Write(file, ..) | Pending::SetLen(file, _), Fate::Torn(chance)) => {
                    pending.tear(&mut files[*file], chance);
                }
            }
        }
        Paged::with(names.into_iter().map(|(name, number)| (name, files[number].clone())).collect())
    }
}

impl Cut {
    fn fate<'a>(self, at: usize, all: &[Pending], chance: &'a mut Chance) -> Fate<'a> {
        let pending = &all[at];
        let keep = match self {
            Self::Lost => false,
            Self::Names => matches!(pending, Pending::Name(..)),
            Self::Bytes => !matches!(pending, Pending::Name(..)),
            Self::Without(one) => at != one,
            Self::Only(one) => at == one,
            Self::Prefix(end, seed) if at == end && seed != 0 => return Fate::Torn(chance),
            Self::Prefix(end, _) => at < end,
            Self::Each(seed) => {
                let own = |other: &&Pending| other.file() == pending.file();
                let (before, count) = (all[..at].iter().filter(own).count(), all.iter().filter(own).count());
                // The same for all of a file.
                let salt = pending.file().map_or(u64::MAX, |file| file as u64);
                let end = usize::try_from(Chance(seed ^ salt << 32).below(count as u64 + 1)).unwrap();
                if before == end && pending.file().is_some() {
                    return Fate::Torn(chance);
                }
                before < end
            }
            Self::Torn(one, _) if at == one => return Fate::Torn(chance),
            Self::Kept | Self::Torn(..) => true,
            Self::Subset(bits) => bits >> at & 1 == 1,
            Self::Some(_, often) => {
                let keep = chance.below(256) < u64::from(often);
                if keep && chance.below(4) == 0 {
                    return Fate::Torn(chance);
                }
                keep
            }
        };
        if keep { Fate::Kept } else { Fate::Lost }
    }

    /// The cuts that there are of so many pending changes, in every manner; every subset where they are few.
    pub(crate) fn all(pending: usize, few: usize, chance: &mut Chance) -> Vec<Self> {
        let mut cuts = Vec::new();
        if pending <= few {
            cuts.extend((0..1_u64 << pending).map(Self::Subset));
        } else {
            cuts.extend([Self::Lost, Self::Kept, Self::Names, Self::Bytes]);
            cuts.extend((0..pending).flat_map(|at| [Self::Without(at), Self::Only(at), Self::Prefix(at, 0)]));
            cuts.extend((0..pending.div_ceil(2)).map(|_| Self::Each(chance.next())));
            cuts.extend((0..8).map(|round| Self::Some(chance.next(), [20, 128, 128, 236][round % 4])));
        }
        cuts.extend((0..pending).flat_map(|at| {
            let (one, other) = (chance.next() | 1, chance.next());
            [Self::Prefix(at, one), Self::Torn(at, other)]
        }));
        cuts
    }
}

impl Pending {
    /// The file that it changes; `None` for a name.
    fn file(&self) -> Option<usize> {
        match self {
            Self::Write(file, ..) | Self::SetLen(file, _) => Some(*file),
            Self::Name(..) => None,
        }
    }

    fn is_of(&self, number: usize) -> bool {
        self.file() == Some(number)
    }

    /// Does it to its file's bytes.
    fn put(&self, pages: &mut Pages) -> bool {
        match self {
            Self::Write(_, offset, data) => data.put(pages, position(*offset), 0..data.len()),
            Self::SetLen(_, len) => pages.resize(position(*len)),
            Self::Name(..) => {}
        }
        true
    }

    /// Does a part of it.
    fn tear(&self, pages: &mut Pages, chance: &mut Chance) {
        let Self::Write(_, offset, data) = self else {
            if chance.below(2) == 0 {
                self.put(pages);
            }
            return;
        };
        let (at, len) = (position(*offset), data.len());
        let byte = usize::try_from(chance.below(len as u64 + 1)).unwrap();
        match chance.below(3) {
            0 => data.put(pages, at, 0..byte),
            1 => data.put(pages, at, byte..len),
            _ => {
                let mut from = 0;
                while from < len {
                    let to = len.min((at + from + 1).next_multiple_of(SECTOR) - at);
                    if chance.below(2) == 0 {
                        data.put(pages, at, from..to);
                    }
                    from = to;
                }
            }
        }
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}
