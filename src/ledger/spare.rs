//! The next segment's file, its space written before it is needed.
//!
//! Law: while much is written, whoever sweeps makes the successor's file of zeros, synced piece by piece, so that no
//! commit waits for zeros. It stands under the successor's temporary name and means nothing until a rotation takes it:
//! an opening removes it, and a disk that is full gets its space back first. The log's lock is not needed for it. The
//! name belongs to its maker only while the state is *making*: from the moment that a rotation begins, it is the
//! rotation's.
//!
//! | state | begun by | ends by |
//! | --- | --- | --- |
//! | none | an opening | making |
//! | making | whoever sweeps, where one is wanted | done → ready; failed → refused; a rotation → refused |
//! | ready | | a rotation, giving it up → refused |
//! | refused | none is to be made under this number | the next segment becomes the active one |

use std::io;
use std::sync::Arc;

use super::Ledger;
use super::backend::ZEROS;
use super::disk::DiskFile;
use super::extent::index;
use super::files::{remove_if_there, segment_name_new};
use super::page;

/// Zeros are synced in pieces of this size, so that no commit's sync waits long for them.
const PIECE_BYTES: u64 = 1 << 20;
/// No more than this is written ahead; a larger segment grows on as the first one does.
const SPARE_BYTES_MAX: u64 = 256 << 20;

/// What there is of a spare, with the number of the segment that it is for.
#[derive(Debug, Default)]
pub(crate) enum Spare {
    #[default]
    None,
    Making(u64),
    Ready(u64, Arc<dyn DiskFile>),
    Refused(u64),
}

impl Spare {
    fn is_making(&self, number: u64) -> bool {
        matches!(*self, Self::Making(own) if own == number)
    }
}

impl Ledger {
    /// Whether a spare should be made: a quarter of the active segment is written, so its end comes soon.
    pub(crate) fn wants_spare(&self) -> bool {
        self.spare_wanted(&self.spare.lock()).is_some()
    }

    /// The number of the segment that a spare should be made for, and the length with which the active one will end:
    /// under the same load the next one ends with the same.
    fn spare_wanted(&self, spare: &Spare) -> Option<(u64, u64)> {
        let active = self.segments.read().last().map(Arc::clone)?;
        let soon = active.backend().used_bytes() >= self.segment_bytes_max / 4;
        let may = match *spare {
            Spare::None => true,
            Spare::Refused(number) => number <= active.number,
            Spare::Making(_) | Spare::Ready(..) => false,
        };
        (soon && may).then(|| (active.number + 1, active.backend().last_length(self.segment_bytes_max)))
    }

    /// Makes a spare if one is wanted. `pause` is called between two pieces; where it says `false` nothing is made.
    pub(crate) fn make_spare(&self, pause: &dyn Fn() -> bool) {
        let (number, length) = {
            let mut spare = self.spare.lock();
            let Some(wanted) = self.spare_wanted(&spare).filter(|_| self.check_running().is_ok()) else {
                return;
            };
            *spare = Spare::Making(wanted.0);
            wanted
        };
        let made = self.write_spare(number, length, pause);
        let mut spare = self.spare.lock();
        if !spare.is_making(number) {
            return;
        }
        *spare = made.map_or(Spare::Refused(number), |file| Spare::Ready(number, file));
        if matches!(*spare, Spare::Refused(_)) {
            // What can't be removed now is a leftover.
            drop(remove_if_there(&*self.disk, &segment_name_new(number)));
        }
    }

    fn write_spare(
        &self,
        number: u64,
        length: u64,
        pause: &dyn Fn() -> bool,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let file = {
            let spare = self.spare.lock();
            if !spare.is_making(number) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.disk.create(&segment_name_new(number))?
        };
        let length = length.min(SPARE_BYTES_MAX).next_multiple_of(PIECE_BYTES) + PIECE_BYTES;
        let mut ready = 0;
        while ready < length {
            file.write(ready, ZEROS)?;
            ready += ZEROS.len() as u64;
            self.maker.written().add_zeros(ZEROS.len() as u64);
            if ready.is_multiple_of(PIECE_BYTES) {
                file.sync()?;
                if !pause() || !self.spare.lock().is_making(number) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        // As much more as our page takes in front of redb's bytes.
        file.write(length, &ZEROS[..index(page::BYTES)])?;
        self.maker.written().add_zeros(page::BYTES);
        file.sync().map(|()| file)
    }

    /// Bytes of the spare's file, once it is made.
    pub(super) fn spare_bytes(&self) -> u64 {
        match &*self.spare.lock() {
            Spare::Ready(_, file) => file.len().unwrap_or(0),
            Spare::None | Spare::Making(_) | Spare::Refused(_) => 0,
        }
    }

    /// A rotation to this segment begins: from here on its name is the rotation's. Gives the spare if it is ready.
    pub(super) fn take_spare(&self, number: u64) -> Option<Arc<dyn DiskFile>> {
        match std::mem::replace(&mut *self.spare.lock(), Spare::Refused(number)) {
            Spare::Ready(own, file) if own == number => Some(file),
            _ => None,
        }
    }

    /// Gives the spare's space back to the disk; whether there was one.
    pub(super) fn give_up_spare(&self) -> bool {
        let mut spare = self.spare.lock();
        let Spare::Ready(number, _) = *spare else { return false };
        *spare = Spare::Refused(number);
        remove_if_there(&*self.disk, &segment_name_new(number)).is_ok()
    }
}
