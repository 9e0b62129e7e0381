//! Time, sweeping, and what survives an epoch (contract 5, 7).
//!
//! Law: a crash empties the slots and never touches `disk`; the store's time never runs backwards.

use std::time::Duration;

use super::{Condition, Fence, Model, OnDisk, Refusal, Settings, Slot};
use crate::time::Timestamp;

impl Model {
    /// The store's time (7.2).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time.start.saturating_add(self.time.monotonic.saturating_sub(self.time.start_monotonic))
    }

    /// Lets time pass, also while the store is shut. Waiters are answered in the order of their moments.
    pub fn advance(&mut self, by: Duration) {
        let end = self.time.monotonic.saturating_add(by);
        self.time.wall = self.time.wall.saturating_add(by);
        while let Some(next) =
            self.next_event().filter(|next| self.time.monotonic.saturating_add(*next) <= end)
        {
            self.time.monotonic += next;
            self.settle();
        }
        self.time.monotonic = end;
    }

    /// Sets the wall clock, as an administrator would. The store sees it when it is opened, and not before (7.2).
    pub fn set_wall(&mut self, wall: Timestamp) {
        self.time.wall = wall;
    }

    /// Removes all expired records, which count against the limits until then (8.3), and tells how many.
    ///
    /// # Errors
    /// [`Refusal::Stopped`], [`Refusal::Closed`].
    pub fn sweep(&mut self) -> Result<usize, Refusal> {
        self.open()?;
        self.going()?;
        Ok(self.remove_expired())
    }

    fn remove_expired(&mut self) -> usize {
        let (now, before) = (self.now(), self.records.len());
        self.records.retain(|_, record| !record.has_expired(now));
        self.disk.retain(|_, record| !record.has_expired(now));
        // One that replaces what the disk has goes on doing so, or a start that was ended would come back.
        self.unsynced.retain(|(key, record)| !record.has_expired(now) || self.disk.contains_key(key));
        before - self.records.len()
    }

    /// Brings to disk what relaxed completions have not yet (5.2).
    ///
    /// # Errors
    /// [`Refusal::Stopped`], [`Refusal::Closed`].
    pub fn flush(&mut self) -> Result<(), Refusal> {
        self.open()?;
        self.going()?;
        self.sync();
        Ok(())
    }

    /// The process is killed, or the power cut: reservations and waiters are gone (5.3), what was durable is
    /// kept (5.1), and of the relaxed completions since the last sync the first `survivors` (5.2, 5.8).
    pub fn crash(&mut self, survivors: usize) {
        for (key, record) in self.unsynced.drain(..).take(survivors) {
            self.time.last_on_disk = self.time.last_on_disk.max(record.written().0);
            self.disk.insert(key, record);
        }
        let (now, known) = (self.now(), &self.records);
        self.disk.retain(|key, record| !record.has_expired(now) || known.contains_key(key));
        self.records.clone_from(&self.disk);
        self.waiters.clear();
        self.shut();
    }

    /// Closes: what is live has had its time, and everyone is answered *closed* (11).
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    pub fn close(&mut self) -> Result<(), Refusal> {
        self.open()?;
        if self.condition == Condition::Open {
            self.sync();
        }
        self.shut();
        self.settle();
        Ok(())
    }

    fn shut(&mut self) {
        self.condition = Condition::Shut;
        self.slots.retain(|_, slot| matches!(slot, Slot::Doubt(..)));
    }

    /// Opens again after [`Model::crash`] or [`Model::close`]; or in place, where whoever holds a reservation
    /// goes on holding it (5.5). Doubts are settled by what is on the disk (5.1).
    ///
    /// # Errors
    /// [`Refusal::ClockJump`], and nothing is changed (7.2).
    pub fn reopen(&mut self) -> Result<(), Refusal> {
        if self.condition == Condition::Shut {
            self.start_time()?;
        }
        self.last_fence = Fence { epoch: self.last_fence.epoch + 1, counter: 0 }; // 4.4
        self.condition = Condition::Open;
        for (key, slot) in std::mem::take(&mut self.slots) {
            match slot {
                Slot::Running(live) => drop(self.slots.insert(key, Slot::Running(live))),
                Slot::Doubt(record, OnDisk::Kept) => self.keep(key, record, false),
                Slot::Doubt(_, OnDisk::Lost) => {}
            }
        }
        self.sync();
        self.remove_expired(); // An opening sweeps (8.3).
        self.settle();
        Ok(())
    }

    /// Where the wall clock stands, but no earlier than the last time on disk, and no further from it than the
    /// limit unless that is accepted (7.2). Opened in place, the store's time just goes on.
    fn start_time(&mut self) -> Result<(), Refusal> {
        let last = self.time.last_on_disk;
        let (ahead, limit) = (self.time.wall.since(last), self.settings.clock_jump_max);
        if ahead > limit && !self.settings.accept_clock_jump {
            return Err(Refusal::ClockJump { ahead, limit });
        }
        self.time.start = self.time.wall.max(last);
        self.time.start_monotonic = self.time.monotonic;
        Ok(())
    }

    /// Opens again under other settings, but for [`Settings::wall`]: that is [`Model::set_wall`]'s.
    ///
    /// # Errors
    /// As [`Model::reopen`].
    pub fn reopen_under(&mut self, settings: Settings) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.settings, settings);
        self.settings_replaced = true;
        self.reopen().inspect_err(|_| self.settings = before)
    }
}
