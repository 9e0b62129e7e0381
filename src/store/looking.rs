//! Looking without claiming: what is known of a key (contract 11).
//!
//! Law: a look takes one stripe's lock for a moment, and reads outside it. What was read is believed only if the
//! index still says the same: a sweep may carry a record on at any time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shared::Shared;
use crate::error::{ErrorKind, Result};
use crate::outcome::{Checkpoint, Replay};
use crate::record::{Kind, Location, Record};
use crate::time::{Now, Timestamp};
use crate::token::Key;

/// What `get` knows of a key, without claiming it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known {
    /// Never seen, released or expired.
    Absent,
    /// Somebody runs it at this moment.
    InFlight {
        /// Since when.
        since: Timestamp,
        /// Which attempt, from 1.
        attempt: u32,
        /// What is left of its lease; `None` while its start, a checkpoint or its completion is being written.
        lease_left: Option<Duration>,
    },
    /// It was run.
    Finished(Replay),
    /// It was durably started and never finished: its process ended, or it panicked (contract 3.4).
    Interrupted {
        /// Since when the attempt ran that was interrupted.
        since: Timestamp,
        /// Which attempt that was, from 1.
        attempt: u32,
        /// The last checkpoint (contract 6.3).
        checkpoint: Option<Checkpoint>,
    },
    /// Its commit failed, and the store was not reopened yet (contract 3.9).
    Unknown,
}

/// What one look under the stripe's lock came to.
enum Look {
    Known(Known),
    /// Records may be there: read them, outside the lock.
    Places(Vec<Location>),
}

impl Shared {
    pub(super) fn get(&self, key: &Key) -> Result<Known> {
        self.check_open()?;
        let now = self.chronometer.now();
        let hash = self.keys.fingerprint(key.as_framed());
        let mut empty = Vec::new();
        loop {
            match self.look_for(key, hash, now)? {
                Look::Known(known) => return Ok(known),
                // A sweep may have carried the record on between the look and the reading: then look again.
                Look::Places(places) if places == empty => return self.no_record(),
                Look::Places(places) => match self.read_known(&places, key, now)? {
                    Some(known) => return Ok(known),
                    None => empty = places,
                },
            }
        }
    }

    fn look_for(&self, key: &Key, hash: u64, now: Now) -> Result<Look> {
        let mut stripe = self.stripes.lock(hash);
        if self.reopening.load(Ordering::Acquire) {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        }
        match stripe.slots.find(hash, key) {
            Some(slot) if slot.is_unknown() => Ok(Look::Known(Known::Unknown)),
            Some(slot) => {
                let (since, attempt, lease_left) = (slot.since, slot.attempt, slot.lease_left(now));
                Ok(Look::Known(Known::InFlight { since, attempt, lease_left }))
            }
            None => Ok(Look::Places(stripe.index.find(self.stripes.fingerprint(hash)).collect())),
        }
    }

    /// What the records at these places say of the key, if anything that counts.
    fn read_known(&self, places: &[Location], key: &Key, now: Now) -> Result<Option<Known>> {
        let known = |at: Location, record: Record<'_>| match record.kind() {
            Kind::Started => {
                let (since, attempt) = (record.since(), record.attempts());
                Ok(Some(Known::Interrupted { since, attempt, checkpoint: record.checkpoint() }))
            }
            Kind::Finished if record.expires() > now.time => {
                record.replay().map(|replay| Some(Known::Finished(replay))).ok_or(at)
            }
            Kind::Finished | Kind::Released | Kind::Forgotten | Kind::Control => Ok(None),
        };
        self.with_engine(|engine| match engine.ledger.newest(places, key.as_framed(), known)?.0 {
            None => Ok(None),
            Some(Ok(known)) => Ok(known),
            Some(Err(at)) => {
                let segment = engine.ledger.segment_number(at).unwrap_or(0);
                Err(ErrorKind::Damaged { segment }.into())
            }
        })
    }

    /// There is no record of a key; where fingerprints do not read, nobody can say so (contract 5.9).
    pub(super) fn no_record(&self) -> Result<Known> {
        match self.blind.load(Ordering::Acquire) {
            0 => Ok(Known::Absent),
            segment => Err(ErrorKind::Damaged { segment }.into()),
        }
    }
}
