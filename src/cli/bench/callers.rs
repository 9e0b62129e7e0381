//! Callers that all wait for one disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, OUTCOME_BYTES, RECORD_BYTES, is_told_to_end};
use crate::digest::Parameters;
use crate::error::ErrorKind;
use crate::outcome::Outcome;
use crate::store::{Answer, Store};
use crate::sync::{Condvar, Mutex, spawn};
use crate::time::{Clock, SystemClock};

/// What callers bring their records to.
pub(super) trait Keeper: Send + Sync + 'static {
    /// Keeps one record of this caller's, durably.
    fn keep(&self, caller: u64, number: u64) -> Result<(), Failure>;
}

/// Records a second that so many callers get kept, each one after the other.
pub(super) fn rate(callers: u64, lasts: Duration, keeper: impl Keeper) -> Result<f64, Failure> {
    let (clock, done) = (SystemClock::new(), Arc::new(AtomicU64::new(0)));
    let (keeper, failed) = (Arc::new(keeper), Arc::new(Mutex::new(None)));
    let start = |caller| {
        let (keeper, done, failed) = (Arc::clone(&keeper), Arc::clone(&done), Arc::clone(&failed));
        spawn("oncekey caller", move || {
            for number in 0.. {
                if clock.monotonic() >= lasts || is_told_to_end() {
                    return;
                }
                if let Err(failure) = keeper.keep(caller, number) {
                    failed.lock().get_or_insert(failure);
                    return;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let threads: Result<Vec<_>, _> = (0..callers).map(start).collect();
    let threads = threads.map_err(|kind| ErrorKind::Io { operation: "starting a caller", kind }.into());
    for thread in threads.map_err(Failure::Store)? {
        let _ = thread.join();
    }
    let time = clock.monotonic();
    if let Some(failure) = failed.lock().take() {
        return Err(failure);
    }
    Ok(float(done.load(Ordering::Relaxed)) / time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a count of records, to be divided")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Keeper for Store {
    fn keep(&self, caller: u64, number: u64) -> Result<(), Failure> {
        let key = self.key("bench", format!("{caller:018}{number:018}"))?;
        if let Answer::Fresh(held) = self.begin(&key, &Parameters::none())? {
            held.complete(Outcome::http(200, [b'x'; OUTCOME_BYTES])).map_err(|refused| refused.error)?;
        }
        Ok(())
    }
}

/// A plain file, appended to and synced for all that wait: as fast as a disk gets.
pub(super) struct Plain {
    file: File,
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// What is to be written, and how many records were brought and are synced.
    pending: Vec<u8>,
    brought: u64,
    kept: u64,
    is_writing: bool,
}

impl Plain {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Ok(Self { file: super::file(path)?, state: Mutex::default(), synced: Condvar::new() })
    }
}

impl Keeper for Plain {
    fn keep(&self, _caller: u64, _number: u64) -> Result<(), Failure> {
        let mut state = self.state.lock();
        state.pending.extend_from_slice(&[b'x'; RECORD_BYTES]);
        state.brought += 1;
        let own = state.brought;
        while state.kept < own {
            if state.is_writing {
                self.synced.wait(&mut state);
                continue;
            }
            // Whoever finds nobody writing writes for all that wait.
            state.is_writing = true;
            let (bytes, until) = (std::mem::take(&mut state.pending), state.brought);
            drop(state);
            let written = (&self.file).write_all(&bytes).and_then(|()| self.file.sync_data());
            state = self.state.lock();
            state.is_writing = false;
            state.kept = until;
            self.synced.notify_all();
            written.map_err(Failure::at(Path::new("the plain file")))?;
        }
        Ok(())
    }
}
