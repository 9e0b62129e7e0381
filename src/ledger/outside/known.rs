//! Of all the records that a survey sees, those that count: the newest one of each key (feature `cli`).
//!
//! Law: as an opening enters them into its index. Of one key's records the later one wins; a note that forgets takes away
//! the record that it names; what was started counts only as its copy in the newest segment says. Keys are compared, and
//! not their fingerprints (contract 1.3). A record that does not read stays known, and says so when it is read (5.9).

use std::collections::HashSet;

use super::super::block::Block;
use super::super::fault::Fault;
use super::super::hint::{Hint, What};
use super::survey::Survey;
use crate::error::Result;
use crate::record::Record;

/// What counts of a key: its newest record, and in which of the segments that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) hint: Hint,
    segment: usize,
}

impl Known {
    /// The position of its segment among those of the survey.
    pub(crate) fn segment(&self) -> usize {
        self.segment
    }
}

impl Survey {
    /// The number of the segment that holds this record.
    pub(crate) fn number_of(&self, known: &Known) -> u64 {
        self.segments[known.segment].segment.number
    }

    /// The newest record of each key whose fingerprint is wanted, expired ones included, in the order of the log: those
    /// that an opening would enter into its index. 56 bytes of memory for each.
    ///
    /// # Errors
    /// *Io*.
    pub(crate) fn known(&self, wanted: impl Fn(u64) -> bool) -> Result<Vec<Known>> {
        let (mut all, mut forgotten) = (Vec::new(), HashSet::new());
        let newest = if self.is_whole { self.segments.len().checked_sub(1) } else { None };
        for (segment, own) in self.segments.iter().enumerate() {
            for hint in own.hints.iter().filter(|hint| wanted(hint.hash)) {
                let known = Known { hint: *hint, segment };
                if hint.is_forgotten() {
                    forgotten.insert(hint.at);
                } else if hint.what != What::Started || Some(segment) == newest || self.is_damaged(&known)? {
                    // What was started and counts has a copy in the newest segment.
                    all.push(known);
                }
            }
        }
        all.sort_unstable_by_key(|own| (own.hint.hash, own.hint.at));
        let mut known = Vec::with_capacity(all.len());
        for same in all.chunk_by(|one, other| one.hint.hash == other.hint.hash) {
            self.newest_of_each(same, &mut known)?;
        }
        // Last: a note names the newest record, and what that one replaced does not come back.
        known.retain(|own| !forgotten.contains(&own.hint.at));
        known.sort_unstable_by_key(|own| own.hint.at);
        Ok(known)
    }

    /// Of records under one fingerprint, the newest of each key; and those that do not read.
    fn newest_of_each(&self, same: &[Known], known: &mut Vec<Known>) -> Result<()> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for own in same.iter().rev() {
            if same.len() > 1 {
                match self.read(own, |record| record.key().to_vec()) {
                    Ok(key) if keys.contains(&key) => continue,
                    Ok(key) => keys.push(key),
                    Err(error) if error.is_damaged() => {}
                    Err(error) => return Err(error),
                }
            }
            known.push(*own);
        }
        Ok(())
    }

    fn is_damaged(&self, known: &Known) -> Result<bool> {
        match self.read(known, |_| ()) {
            Ok(()) => Ok(false),
            Err(error) if error.is_damaged() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// *Damaged*, *newer format*, *io*.
    pub(crate) fn read<T>(&self, known: &Known, use_it: impl FnOnce(Record<'_>) -> T) -> Result<T> {
        let segment = &self.segments[known.segment].segment;
        let read = segment.read(known.hint.at, use_it);
        read.map_err(|fault| fault.in_segment(segment.number, "reading a record"))
    }

    /// Reads these records, which stand in the order of the log, each block once; until `with` says `false`.
    pub(crate) fn each(&self, places: &[Known], mut with: impl FnMut(&Known, Result<Record<'_>>) -> bool) {
        let mut go_on = true;
        for group in places.chunk_by(|one, other| one.hint.at.block() == other.hint.at.block()) {
            let segment = &self.segments[group[0].segment].segment;
            let number = group[0].hint.at.block();
            let failed = |fault: Fault| fault.in_segment(segment.number, "reading a record");
            let mut done = 0;
            let read = segment.with_block(number, |bytes| {
                let block = Block::new(bytes, number, segment.keys());
                for own in group {
                    if !go_on {
                        break;
                    }
                    done += 1;
                    go_on = match block.record(own.hint.at) {
                        Ok(opened) => with(own, Ok(opened.record())),
                        Err(unreadable) => with(own, Err(failed(unreadable.into()))),
                    };
                }
                Ok(())
            });
            if let Err(fault) = read {
                for own in &group[done..] {
                    go_on = go_on && with(own, Err(failed(fault)));
                }
            }
            if !go_on {
                return;
            }
        }
    }
}
