//! Sections 5.9 and 6: damaged rows of a store in the caller's database.
//!
//! Goal: what is damaged is told, never replayed, never run again, and never swept away. Method: rows are changed behind
//! the store's back, and everybody is asked.

use oncekey::{Known, Outcome};

use crate::support::bank::{Bank, FIRST_BLOCK, OWN, put, row};
use crate::support::{
    asked, assert_free, assert_replays, close, fresh, kept, key, plain, refused, run, secs, started,
    with_clock,
};

/// Bytes of a block's head, which stands at both of its ends.
const HEAD_BYTES: usize = 48;

/// A bank with a record in each of the lowest blocks, the first of which this changes.
fn damaged(damage: impl FnOnce(&mut Vec<u8>)) -> (Bank, Vec<u8>) {
    let bank = Bank::new();
    let store = bank.open(with_clock().0);
    run(&store, &key(0), "canary");
    run(&store, &key(1), "sound");
    close(store);
    let mut bytes = row(&bank, FIRST_BLOCK);
    damage(&mut bytes);
    put(&bank, OWN, FIRST_BLOCK, Some(&bytes));
    (bank, bytes)
}

#[test]
fn a_block_whose_fingerprints_do_not_read_refuses_what_was_never_seen_and_is_never_swept_away_6_1_5_9() {
    let (bank, bytes) = damaged(|bytes| {
        let end = bytes.len() - HEAD_BYTES;
        bytes[0] ^= 1;
        bytes[end] ^= 1;
    });
    let (builder, clock) = with_clock();
    let store = bank.open(builder);
    for asked_for in [0, 7] {
        // Nobody knows any more which keys that block spoke of.
        assert!(refused(store.begin(&key(asked_for), &asked())).is_damaged(), "{asked_for}");
    }
    assert_replays(&store, &key(1), "sound");
    clock.advance(secs(1_000_000));
    store.sweep().expect("swept");
    assert_eq!(row(&bank, FIRST_BLOCK), bytes, "it stays for the operator");
    assert!(refused(store.begin(&key(0), &asked())).is_damaged());
}

#[test]
fn a_record_that_does_not_read_keeps_its_place_while_it_counts_and_all_else_goes_on_6_1_5_9() {
    let (bank, bytes) = damaged(|bytes| {
        let at = bytes.windows(6).position(|window| window == b"canary").expect("its body");
        bytes[at] ^= 1;
    });
    let (builder, clock) = with_clock();
    let store = bank.open(builder);
    let lasting = fresh(store.request(&key(2), &asked()).retention(secs(10_000_000)).begin());
    kept(lasting.complete(Outcome::new("lasts")));
    store.sweep().expect("swept");
    assert_eq!(row(&bank, FIRST_BLOCK), bytes);
    assert!(refused(store.begin(&key(0), &asked())).is_damaged());
    // Behind its retention it counts no more than any other record (contract 7.1).
    clock.advance(secs(1_000_000));
    store.sweep().expect("swept");
    assert_free(&store, &key(1));
    run(&store, &key(0), "again");
    assert_replays(&store, &key(2), "lasts");
}

#[test]
fn a_key_of_which_an_earlier_record_does_not_read_is_damaged_and_never_run_again_6_1_5_9() {
    let bank = Bank::new();
    let store = bank.open(plain());
    let held = started(&store, &key(0));
    held.checkpoint(b"canary").expect("noted");
    kept(held.complete(Outcome::new("done")));
    close(store);
    let number = FIRST_BLOCK + 1;
    let mut bytes = row(&bank, number);
    let at = bytes.windows(6).position(|window| window == b"canary").expect("its checkpoint");
    bytes[at] ^= 1;
    put(&bank, OWN, number, Some(&bytes));
    let store = bank.open(plain());
    assert!(refused(store.begin(&key(0), &asked())).is_damaged());
    assert!(store.get(&key(0)).expect_err("it is not known").is_damaged());
    run(&store, &key(1), "another");
}

#[test]
fn a_multimap_of_the_caller_is_committed_with_the_record_and_removed_with_it_or_not_at_all_6_1_6_2() {
    use oncekey::redb::{MultimapTableDefinition, ReadableDatabase, TableError};
    const TAGS: MultimapTableDefinition<'static, u64, u64> = MultimapTableDefinition::new("tags");
    let bank = Bank::new();
    let store = bank.open(plain());
    let tags = || -> Option<u64> {
        let opened = bank.database.begin_read().expect("a reader").open_multimap_table(TAGS);
        opened.ok().map(|own| own.get(1).expect("tags").len())
    };
    for (number, committed) in [(0, false), (1, true)] {
        let held = fresh(store.begin(&key(number), &asked()));
        let transaction = store.transaction().expect("lent");
        let mut rows = transaction.open_multimap_table(TAGS).expect("a table");
        rows.insert(1, 3).expect("a tag");
        rows.insert(1, 7).expect("a tag");
        drop(rows);
        kept(transaction.complete(held, Outcome::new("tagged")));
        if committed {
            transaction.commit().expect("committed");
        } else {
            drop(transaction);
        }
        assert_eq!(
            (tags(), store.get(&key(number)) != Ok(Known::Absent)),
            (committed.then_some(2), committed)
        );
    }
    let transaction = store.transaction().expect("lent");
    let own = MultimapTableDefinition::<u64, u64>::new(OWN);
    assert!(matches!(transaction.open_multimap_table(own), Err(TableError::TableAlreadyOpen(..))));
    assert!(matches!(transaction.delete_multimap_table(own), Err(TableError::TableAlreadyOpen(..))));
    assert!(transaction.delete_multimap_table(TAGS).expect("removed"));
    transaction.commit().expect("committed");
    assert_eq!(tags(), None);
    assert_replays(&store, &key(1), "tagged");
}
