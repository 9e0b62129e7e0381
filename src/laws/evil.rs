//! Operations and a changed segment together (contract 5.6, 5.8, 5.9, 10.4).
//!
//! Law: a store lives on a disk; its files are forged (`forger`); then it is opened. Where that is refused, it is said why,
//! and no file was changed. Where it is opened, every key answers *damaged*, or all of them say what they said after one
//! and the same beginning of the history: a replay is the very bytes of what was completed, other parameters are a
//! mismatch, and a key that was completed is never taken for one never seen unless all that came after is gone as well (a
//! file that was put back to what it was yesterday is yesterday's file). Then it is used in every way: new completions are
//! kept and replayed as they are, nothing panics out of a call, and everything ends.
//!
//! A forgery by someone who has the store's keys may say anything, so there only the last sentence counts.

use std::sync::Arc;
use std::time::Duration;

use super::forger::{Forger, Repair};
use super::tape::Tape;
use crate::encryption::Keyring;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Change, Failure, Faulty, Paged, open_sealed};
use crate::outcome::Outcome;
use crate::store::tests::history::{Kept, State};
use crate::store::tests::home::Home;
use crate::store::tests::script::{KEYS, Step, builder, key, parameters};
use crate::store::tests::workload::World;
use crate::store::{Answer, Known, Store};
use crate::time::{Clock, ManualClock};

const STEPS_MAX: u64 = 24;
/// The disk has no more for one file.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// What a key may be found to be: `None` for a key that answers *damaged*.
type Found = Option<Sight>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Absent,
    Finished(Vec<u8>),
    /// Attempt and checkpoint.
    Interrupted(u32, Option<Vec<u8>>),
}

/// Operations, forgeries, and more operations.
///
/// # Panics
/// Where the law does not hold.
pub fn evil_store(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (forgeries, count, closes) = (1 + tape.below(3), tape.below(STEPS_MAX), tape.byte());
    let repair = [Repair::Pages, Repair::Nothing, Repair::Pages, Repair::All][usize::from(closes / 2 % 4)];
    let mut world = World::new(Home::Files);
    for _ in 0..count {
        world.run(small(Step::of(|bound| tape.below(bound))));
    }
    let time = world.clock.wall();
    let files = ended(&mut world, closes % 2 == 1);
    let (_, keys) = open_sealed(&files, Keyring::default()).unwrap();
    let mut forger = Forger { tape: &mut tape, repair, keys };
    for _ in 0..forgeries {
        forger.forge(&files);
    }
    let clock = ManualClock::at(time);
    let disk = Faulty::over(files);
    disk.fail(Some(Failure::Beyond(FILE_BYTES_MAX)));
    let store = match open(&disk, &clock) {
        Ok(store) => store,
        Err(error) => {
            assert!(is_refusal(&error), "{error:?}");
            let syncs = |change: &Change| assert!(change.is_sync(), "refused ({error}) and changed");
            disk.go_through(0, syncs);
            return;
        }
    };
    let states = if repair == Repair::All { None } else { Some(states(&world, &clock)) };
    let kept = use_it(&store, states.as_deref(), &mut tape);
    if store.close(Duration::ZERO).is_ok() {
        look_again(&disk, &clock, &kept, repair);
    }
}

/// A step of no more than a few kilobytes.
fn small(step: Step) -> Step {
    match step {
        Step::Complete { key, bytes, retention, relaxed } => {
            Step::Complete { key, bytes: bytes.min(5_000), retention, relaxed }
        }
        Step::Note { key, bytes } => Step::Note { key, bytes: bytes.min(5_000) },
        step => step,
    }
}

/// What is left of the disk when the process ends, cleanly or not.
fn ended(world: &mut World, cleanly: bool) -> Paged {
    if cleanly {
        world.close();
    }
    world.disk.copied()
}

fn open(disk: &Faulty, clock: &ManualClock) -> Result<Store> {
    builder(clock).open_on(Arc::new(disk.clone()))
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DamagedStore { .. }
            | ErrorKind::Damaged { .. }
            | ErrorKind::SegmentMissing { .. }
            | ErrorKind::NotAStore(_)
            | ErrorKind::NewerFormat { .. }
            | ErrorKind::ClockJump { .. }
    )
}

/// What all keys may be found to be: after each beginning of the history.
fn states(world: &World, clock: &ManualClock) -> Vec<Vec<Sight>> {
    let now = clock.wall();
    let seen = |state: &State| -> Vec<Sight> {
        let one = |number| match state.kept.get(&number) {
            Some(Kept::Finished(body, expires)) if *expires > now => Sight::Finished(body.to_vec()),
            Some(Kept::Started(attempt, note)) => {
                Sight::Interrupted(*attempt, note.as_ref().map(|note| note.to_vec()))
            }
            _ => Sight::Absent,
        };
        (0..KEYS).map(one).collect()
    };
    let mut state = State::default();
    let mut states = vec![seen(&state)];
    for entry in &world.history {
        state.apply(&entry.effect);
        states.push(seen(&state));
    }
    states
}

fn look(store: &Store, number: u8) -> Found {
    match store.get(&key(number)) {
        Ok(Known::Absent) => Some(Sight::Absent),
        Ok(Known::Finished(replay)) => Some(Sight::Finished(replay.outcome().body().to_vec())),
        Ok(Known::Interrupted { attempt, checkpoint, .. }) => {
            Some(Sight::Interrupted(attempt, checkpoint.map(|note| note.bytes().to_vec())))
        }
        Ok(other) => panic!("nothing runs and nothing failed: {other:?}"),
        Err(error) => {
            assert!(is_damage(&error), "{error:?}");
            None
        }
    }
}

/// What a call may say of a store that holds damage.
fn is_damage(error: &Error) -> bool {
    error.is_damaged() || matches!(error.kind(), ErrorKind::NewerFormat { .. })
}

/// Uses a store in every way; what was completed, and is to be replayed from now on.
fn use_it(store: &Store, states: Option<&[Vec<Sight>]>, tape: &mut Tape<'_>) -> Vec<(u8, Vec<u8>)> {
    let mut found: Vec<Found> = (0..KEYS).map(|number| look(store, number)).collect();
    check_history(states, &found);
    for own in store.interrupted() {
        assert!(own.is_ok() || own.is_err_and(|error| is_damage(&error)));
    }
    let mut kept = Vec::new();
    let mut stopped = false;
    for number in 0..KEYS {
        let (key, own, other) = (key(number), parameters(number), parameters(number + 1));
        let seen = &found[usize::from(number)].clone();
        if !matches!(seen, Some(Sight::Absent)) {
            let answer = store.begin(&key, &other);
            let refused = answer.as_ref().err().is_some_and(|error| error.is_mismatch() || is_damage(error));
            assert!(refused || states.is_none(), "other parameters for {seen:?}: {answer:?}");
        }
        match (store.begin(&key, &own), seen) {
            (Ok(Answer::Replay(replay)), Some(Sight::Finished(body))) => {
                assert_eq!(replay.outcome().body(), body, "it says another thing than it was");
            }
            // Where its block lies was not known before, and is now: it is read beside the database.
            (Ok(Answer::Replay(replay)), None) => {
                found[usize::from(number)] = Some(Sight::Finished(replay.outcome().body().to_vec()));
            }
            (Ok(Answer::Fresh(held)), seen) => {
                let free = held.is_resumed() || matches!(seen, Some(Sight::Absent | Sight::Interrupted(..)));
                assert!(free || states.is_none(), "key {number} runs again: {seen:?}");
                let body = vec![number; usize::from(tape.byte()) * 8];
                match held.complete(Outcome::new(body.clone()).finally()) {
                    Ok(_) => kept.push((number, body)),
                    Err(refused) => {
                        stopped = true;
                        assert!(is_trouble(&refused.error), "{:?}", refused.error);
                    }
                }
            }
            (Err(error), _) => {
                let fair = is_damage(&error) || is_trouble(&error) || states.is_none();
                assert!(fair, "{seen:?}: {error:?}");
            }
            (Ok(answer), seen) => assert!(states.is_none(), "{seen:?} answers {answer:?}"),
        }
    }
    check_history(states, &found);
    for number in 0..KEYS {
        match tape.byte() % 16 {
            0 => {
                let forgotten = store.forget(&key(number));
                kept.retain(|(own, _)| *own != number);
                assert!(forgotten.is_ok() || forgotten.is_err_and(|own| is_damage(&own) || is_trouble(&own)));
            }
            1 => drop(store.resolve(&key(number), Outcome::new("found"))),
            2 => drop(store.sweep()),
            3 => drop(store.flush()),
            4 if store.reopen().is_err() => return Vec::new(),
            5 => store.accept_damage(),
            _ => {}
        }
    }
    if !stopped {
        check_kept(store, &kept);
    }
    kept
}

/// Some beginning of the history explains all that does not answer *damaged*.
fn check_history(states: Option<&[Vec<Sight>]>, found: &[Found]) {
    let fits = |state: &Vec<Sight>| {
        state.iter().zip(found).all(|(own, seen)| seen.as_ref().is_none_or(|seen| seen == own))
    };
    let explained = states.is_none_or(|states| states.iter().any(fits));
    assert!(explained, "no beginning of the history explains {:?}", brief(found));
}

/// Answers of a store that met damage as it wrote.
fn is_trouble(error: &Error) -> bool {
    error.is_unknown_outcome()
        || matches!(error.kind(), ErrorKind::Stopped { .. } | ErrorKind::Full { .. } | ErrorKind::Io { .. })
}

fn check_kept(store: &Store, kept: &[(u8, Vec<u8>)]) {
    for (number, body) in kept {
        match look(store, *number) {
            None => {}
            seen => assert_eq!(seen, Some(Sight::Finished(body.clone())), "key {number} was completed"),
        }
    }
}

/// Opened once more, it says the same, or that it is damaged.
fn look_again(disk: &Faulty, clock: &ManualClock, kept: &[(u8, Vec<u8>)], repair: Repair) {
    match open(disk, clock) {
        Ok(store) if repair != Repair::All => check_kept(&store, kept),
        Ok(_) => {}
        Err(error) => assert!(is_refusal(&error) || is_trouble(&error), "{error:?}"),
    }
}

fn brief(found: &[Found]) -> Vec<String> {
    found.iter().map(|own| format!("{own:?}").chars().take(60).collect()).collect()
}

#[cfg(test)]
mod tests {
    //! The forger changes what it is told to, and repairs so well that the store opens.

    use super::super::forger::read;
    use super::super::pages::{self, Pages};
    use super::*;
    use crate::ledger::Disk;
    use crate::store::tests::script::START;

    /// Five keys, each with a body of so many bytes.
    fn stored(bytes: usize) -> Paged {
        let mut world = World::new(Home::Files);
        for number in 0..5 {
            let retention = Duration::from_secs(30);
            world.run(Step::Complete { key: number, bytes, retention, relaxed: false });
        }
        ended(&mut world, false)
    }

    #[test]
    fn a_changed_value_is_told_by_the_database_unless_its_checksums_are_repaired() {
        for repaired in [false, true] {
            let files = stored(300);
            let file = files.open("segment-0000000001").unwrap();
            let mut bytes = read(&files, "segment-0000000001");
            let values: Vec<_> = Pages::of(&mut bytes).into_iter().flat_map(|page| page.values).collect();
            assert!(values.len() >= 6, "the manifest and five records: {values:?}");
            let (_, value) = values.iter().max_by_key(|(row, _)| *row).unwrap();
            // Within the last block's record.
            bytes[value.end - 150] ^= 1;
            if repaired {
                Pages::repair(&mut bytes);
            }
            file.write(0, &bytes).unwrap();
            let store = open(&Faulty::over(files), &ManualClock::at(START)).unwrap();
            let found: Vec<Found> = (0..5).map(|number| look(&store, number)).collect();
            assert!(
                found[..4].iter().all(|own| matches!(own, Some(Sight::Finished(_)))),
                "{:?}",
                brief(&found)
            );
            // Unrepaired, the database goes back to the commit before; repaired, the record's own checksum tells.
            assert_eq!(found[4], if repaired { None } else { Some(Sight::Absent) });
        }
    }

    fn newest_leaf(bytes: &mut [u8]) -> pages::Found {
        let last = |page: &pages::Found| page.values.last().map(|(row, _)| *row);
        Pages::of(bytes).into_iter().max_by_key(last).expect("a leaf of the log")
    }

    /// Takes the second and last block out of the leaf that holds it.
    fn drop_second(bytes: &mut [u8]) {
        let page = newest_leaf(bytes);
        let [(row, first), _] = &page.values[..] else {
            panic!("the manifest, and a copy of what was started")
        };
        let (value, start) = (bytes[first.clone()].to_vec(), page.used.start);
        let end = u32::try_from(16 + value.len()).unwrap();
        bytes[start + 2..start + 4].copy_from_slice(&1_u16.to_le_bytes());
        bytes[start + 4..start + 8].copy_from_slice(&end.to_le_bytes());
        bytes[start + 8..start + 16].copy_from_slice(&row.to_le_bytes());
        bytes[start + 16..][..value.len()].copy_from_slice(&value);
        Pages::repair(bytes);
    }

    /// Makes the row of the last block in the leaf that holds it one of hints, with sound checksums.
    fn hide_last(bytes: &mut [u8]) {
        let page = newest_leaf(bytes);
        // Behind the head, an end of each value, and the rows before it.
        let (rows, start) = (page.values.len(), page.used.start);
        bytes[start + 4 + 4 * rows + 8 * (rows - 1)..][..8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        Pages::repair(bytes);
    }

    #[test]
    fn a_block_that_is_hidden_among_hints_is_missed_and_its_number_is_not_used_again_5_8_5_9() {
        for bytes in [300, 5000] {
            let files = stored(bytes);
            let name = "segment-0000000001";
            let mut forged = read(&files, name);
            hide_last(&mut forged);
            files.open(name).unwrap().write(0, &forged).unwrap();
            let refused = open(&Faulty::over(files), &ManualClock::at(START)).unwrap_err();
            assert!(matches!(refused.kind(), ErrorKind::DamagedStore { .. }), "{refused}");
        }
    }

    #[test]
    fn what_a_segment_began_with_is_missed_where_it_is_hidden_5_6_5_9() {
        let mut world = World::new(Home::Files);
        world.run(Step::Start { key: 0, relaxed: false });
        // It keeps the first segment, so that nothing stands behind the copy in the second one.
        let retention = Duration::from_secs(30);
        world.run(Step::Complete { key: 1, bytes: 300, retention, relaxed: false });
        world.run(Step::Advance(Duration::from_secs(2)));
        world.run(Step::Sweep);
        let (time, files) = (world.clock.wall(), ended(&mut world, false));
        let name = "segment-0000000002";
        let mut bytes = read(&files, name);
        drop_second(&mut bytes);
        files.open(name).unwrap().write(0, &bytes).unwrap();
        let refused = open(&Faulty::over(files), &ManualClock::at(time)).unwrap_err();
        assert!(
            matches!(refused.kind(), ErrorKind::DamagedStore { .. } | ErrorKind::Damaged { .. }),
            "{refused}"
        );
    }
}
