//! Filling the index at an opening: which of all that was found still counts.
//!
//! Law: segments are gone through oldest first, so that of one key's records the later one wins. What lies under one
//! fingerprint is looked at together, and has nothing to do with any other: of many, a share of the fingerprints is
//! entered on each core. Nothing leaves the index before all is in it: one that shrank on the way would have to grow
//! again.

use super::hint::{Hint, What};
use super::{Catalogue, Ledger};
use crate::error::Result;
use crate::record::{Location, Record, Weight, share_of};
use crate::sync::in_parallel;
use crate::time::Timestamp;

/// From so many hints on, they are entered in shares.
const MANY_HINTS: usize = 1 << 17;
/// Shares by the top bits of a fingerprint, as stripes are chosen, so that no two of them meet at a stripe's lock.
const SHARE_BITS: u32 = 5;

/// What was entered, and is not to be known.
type Gone = Vec<(u64, Location, Weight)>;

/// Enters what the segments hold, the oldest first. What has expired at `start` is not counted again (contract 8.3): an
/// opening sweeps.
pub(super) fn adopt_all(
    ledger: &Ledger,
    catalogue: &dyn Catalogue,
    found: Vec<Vec<Hint>>,
    start: Timestamp,
) -> Result<()> {
    let count = found.iter().map(Vec::len).sum();
    catalogue.reserve(count);
    let newest = found.len() - 1;
    let in_order = |(number, hints)| by_fingerprint(ledger, hints, number == newest);
    let found: Result<Vec<_>> = found.into_iter().enumerate().map(in_order).collect();
    let found = found?;
    let adopt = |share: &Share| share.adopt(ledger, catalogue, &found, start);
    let gone: Result<Vec<Gone>> = in_parallel(&shares(count), adopt).into_iter().collect();
    for (hash, at, weight) in gone?.into_iter().flatten() {
        catalogue.remove(hash, at, weight);
    }
    Ok(())
}

/// The hints of a segment as the index lies, without started records that stand in a newer one.
fn by_fingerprint(ledger: &Ledger, mut hints: Vec<Hint>, is_newest: bool) -> Result<Vec<Hint>> {
    let mut all_read = Ok(());
    let mut reads = |at| match ledger.read_sound(at, |_| ()) {
        Ok(read) => read.is_some(),
        Err(error) => {
            all_read = Err(error);
            false
        }
    };
    // The newest segment has copies of those that count.
    hints.retain(|own| is_newest || own.what != What::Started || !reads(own.at));
    all_read?;
    // Those of a sealed segment lie so already. Stable: what is said of one fingerprint keeps its order.
    hints.sort_by_key(|hint| hint.hash);
    Ok(hints)
}

/// The fingerprints that begin with the bits of this number.
struct Share {
    bits: u32,
    number: u64,
}

/// The shares in which so many hints are entered: each fingerprint is in one of them.
fn shares(count: usize) -> Vec<Share> {
    let bits = if count < MANY_HINTS { 0 } else { SHARE_BITS };
    (0..1 << bits).map(|number| Share { bits, number }).collect()
}

impl Share {
    /// Those of hints that lie by fingerprint.
    fn of<'a>(&self, hints: &'a [Hint]) -> &'a [Hint] {
        let share = |hint: &Hint| share_of(hint.hash, self.bits);
        let behind = &hints[hints.partition_point(|hint| share(hint) < self.number)..];
        &behind[..behind.partition_point(|hint| share(hint) == self.number)]
    }

    fn adopt(
        &self,
        ledger: &Ledger,
        catalogue: &dyn Catalogue,
        found: &[Vec<Hint>],
        start: Timestamp,
    ) -> Result<Gone> {
        let mut gone = Gone::new();
        for hints in found {
            let own = self.of(hints);
            let newest;
            let own = if own.windows(2).all(|pair| pair[0].hash != pair[1].hash) {
                own
            } else {
                newest = newest_of_each(ledger, own)?;
                &newest
            };
            for hint in own {
                if !hint.is_forgotten() {
                    adopt(ledger, catalogue, hint, &mut gone)?;
                }
                if hint.is_forgotten() || hint.expires <= start {
                    gone.push((hint.hash, hint.at, hint.weight));
                }
            }
            catalogue.keep(&mut own.iter().filter(|hint| !hint.is_forgotten()).map(|hint| hint.weight));
        }
        Ok(gone)
    }
}

/// Of hints that lie by fingerprint, those of each key's newest record: of the starts, checkpoints and end of one
/// operation only the last counts, and each is read once.
fn newest_of_each(ledger: &Ledger, hints: &[Hint]) -> Result<Vec<Hint>> {
    let mut newest = Vec::with_capacity(hints.len());
    for same in hints.chunk_by(|one, other| one.hash == other.hash) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let from = newest.len();
        for hint in same.iter().rev() {
            let single = same.len() == 1 || hint.is_forgotten();
            let key = if single { None } else { ledger.read_sound(hint.at, |own| own.key().to_vec())? };
            match key {
                Some(key) if keys.contains(&key) => continue,
                Some(key) => keys.push(key),
                None => {}
            }
            newest.push(*hint);
        }
        newest[from..].reverse();
    }
    Ok(newest)
}

/// Enters a record; an older one of the same key is `gone`, since the later sequence wins.
fn adopt(ledger: &Ledger, catalogue: &dyn Catalogue, hint: &Hint, gone: &mut Gone) -> Result<()> {
    for other in catalogue.insert(hint.hash, hint.at, hint.what) {
        let key_of = |record: Record<'_>| (record.key().to_vec(), record.weight(ledger.keys()));
        let Some((older, weight)) = ledger.read_sound(other, key_of)? else { continue };
        let Some((newer, _)) = ledger.read_sound(hint.at, key_of)? else { continue };
        if older == newer && other < hint.at {
            gone.push((hint.hash, other, weight));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fingerprint_is_in_one_share_of_many_or_few() {
        let hint = |at: u64| Hint {
            what: What::Kept,
            hash: at * (u64::MAX / 999),
            at: Location::from_u64(at),
            expires: Timestamp::default(),
            weight: Weight::default(),
        };
        let hints: Vec<Hint> = (0..1000).map(hint).collect();
        for (count, number) in [(0, 1), (MANY_HINTS - 1, 1), (MANY_HINTS, 32), (MANY_HINTS + 1, 32)] {
            let shares = shares(count);
            assert_eq!(shares.len(), number);
            assert_eq!(
                shares.iter().flat_map(|own| own.of(&hints)).collect::<Vec<_>>(),
                hints.iter().collect::<Vec<_>>()
            );
            assert!(shares.iter().all(|own| own.of(&hints).len() <= 1000 / number + 1));
        }
    }
}
