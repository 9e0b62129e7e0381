//! Checking every record of a segment (feature `cli`).
//!
//! Law: every block that the segment says it has is read through redb, and every record in it by the place that its block
//! says, past its checksum; both copies of a block's fingerprints; and every chunk of hints. What is found is noted with
//! its place, and the rest is checked all the same.

use super::super::block::Block;
use super::super::fault::Fault;
use super::survey::{Flaw, Survey, Surveyed};
use crate::record::{Kind, Location, Record, Unreadable};

impl Survey {
    /// Checks every record of a segment, its fingerprints and its hints; gives how many records passed. `step` is called
    /// after each block.
    pub(crate) fn check(&self, own: &Surveyed, flaws: &mut Vec<Flaw>, mut step: impl FnMut()) -> u64 {
        let segment = &own.segment;
        let mut flaw =
            |place, what: &str| flaws.push(Flaw { segment: segment.number, place, what: what.to_owned() });
        for chunk in 0..segment.chunks().unwrap_or(0) {
            if segment.hints(chunk).is_err() {
                flaw(
                    None,
                    "a chunk of hints does not pass its checksum; an opening reads the records instead",
                );
            }
        }
        let mut records = 0;
        for number in segment.blocks() {
            let start = Some(Location::new(number, 0));
            let read = segment.with_block(number, |bytes| {
                let block = Block::new(bytes, number, segment.keys());
                let Some(table) = block.table() else {
                    flaw(start, "neither copy of a block's fingerprints passes its checksum");
                    return Ok(());
                };
                if !block.has_both_tables() {
                    flaw(start, "one of the two copies of a block's fingerprints does not pass its checksum");
                }
                for (hash, at) in table.entries() {
                    match block.record(at) {
                        Ok(opened) if self.is_sound(hash, opened.record()) => records += 1,
                        Ok(_) => flaw(Some(at), "a record contradicts itself"),
                        Err(Unreadable::Newer) => flaw(Some(at), "a record of a newer library"),
                        Err(Unreadable::Damaged) => flaw(Some(at), "a record does not pass its checksum"),
                    }
                }
                Ok(())
            });
            match read {
                Ok(()) => {}
                Err(Fault::Io(kind)) => flaw(start, &format!("a block can't be read: {kind}")),
                Err(Fault::Damaged | Fault::Newer) => flaw(start, "a block is missing or can't be read"),
            }
            step();
        }
        records
    }

    fn is_sound(&self, hash: u64, record: Record<'_>) -> bool {
        match record.kind() {
            Kind::Finished => self.keys.fingerprint(record.key()) == hash && record.replay().is_some(),
            Kind::Started | Kind::Released => self.keys.fingerprint(record.key()) == hash,
            Kind::Forgotten | Kind::Control => true,
        }
    }
}
