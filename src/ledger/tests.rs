//! Goal: what the ledger reads, takes for the newest and makes room for, where the store above it would hide that it went
//! wrong. Method: a ledger alone, on a disk that fails when it is told to, under an index in which all fingerprints are one.

use std::sync::mpsc;
use std::thread;

use super::hint;
use super::room::MARGIN_BYTES;
use super::*;
use crate::options::Builder;
use crate::outcome::{Checkpoint, Outcome};
use crate::record::{Bound, Finished, Started};

const KIND: std::io::ErrorKind = std::io::ErrorKind::Other;
const DAY: Duration = Duration::from_secs(86_400);

/// An index that tells no two fingerprints apart.
#[derive(Default)]
struct Loose(Mutex<Vec<(u64, Location, What)>>);

impl Catalogue for Loose {
    fn reserve(&self, _more: usize) {}

    fn find(&self, _hash: u64) -> Vec<Location> {
        self.0.lock().iter().map(|own| own.1).collect()
    }

    fn holds(&self, _hash: u64, at: Location) -> bool {
        self.0.lock().iter().any(|own| own.1 == at)
    }

    fn started(&self) -> Vec<Location> {
        let mut started: Vec<_> =
            self.0.lock().iter().filter(|own| own.2 == What::Started).map(|own| own.1).collect();
        started.sort();
        started
    }

    fn insert(&self, hash: u64, at: Location, what: What) -> Vec<Location> {
        let others = self.find(hash);
        self.0.lock().push((hash, at, what));
        others
    }

    fn keep(&self, records: &mut dyn Iterator<Item = Weight>) {
        records.for_each(drop);
    }

    fn carry(&self, _hash: u64, from: Location, to: Location) {
        self.0.lock().iter_mut().filter(|own| own.1 == from).for_each(|own| own.1 = to);
    }

    fn remove(&self, _hash: u64, at: Location, _weight: Weight) -> bool {
        let mut own = self.0.lock();
        let before = own.len();
        own.retain(|own| own.1 != at);
        own.len() < before
    }

    #[cfg(feature = "redb-transactions")]
    fn kept(&self) -> (u64, u64) {
        (self.0.lock().len() as u64, 0)
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

/// A ledger on `disk`, and its index.
fn open(disk: &Faulty) -> Result<(House, Arc<Loose>)> {
    let index = Arc::<Loose>::default();
    let options = Builder::default().segment_bytes_max(1 << 20);
    let catalogue: Arc<dyn Catalogue> = Arc::<Loose>::clone(&index);
    let opened =
        Ground::Files(Arc::new(disk.clone())).open(&options, now(), Arc::default(), &catalogue)?.ledger;
    Ok((opened, index))
}

fn files(house: &House) -> &Ledger {
    match house {
        House::Files(own) => own,
        #[cfg(feature = "redb-transactions")]
        House::Guest(_) => unreachable!("it was opened on a disk"),
    }
}

fn bound() -> Bound {
    Bound { digest: [9; 32], version: 1, rules: 0, secret: 1, outline: None }
}

/// Appends a finished record with a body of so many bytes; where it stands.
fn finish(house: &House, index: &Loose, key: &[u8], bytes: usize, durable: bool) -> Location {
    let outcome = Outcome::new(vec![key[key.len() - 1]; bytes]);
    let (completed, expires) = (now(), now().saturating_add(DAY));
    let (attempts, format, omitted) = (1, 0, None);
    let bound = bound();
    let record = Finished { key, bound, completed, expires, attempts, format, outcome: &outcome, omitted };
    write(house, index, key, record.encode(), expires, What::Kept, durable)
}

/// Appends a started record.
fn start(house: &House, index: &Loose, key: &[u8], checkpoint: &Checkpoint) -> Location {
    let (since, checkpoint) = (now(), Some(checkpoint));
    let bound = bound();
    let record = Started { key, bound, since, attempt: 1, format: 0, checkpoint, released_until: None };
    write(house, index, key, record.encode(), record.expires(), What::Started, true)
}

fn write(
    house: &House,
    index: &Loose,
    key: &[u8],
    bytes: Vec<u8>,
    expires: Timestamp,
    what: What,
    durable: bool,
) -> Location {
    let hash = house.keys().fingerprint(key);
    let entry = Entry { hash, bytes: bytes.into(), expires, meaning: Meaning::Kept(what, Weight::default()) };
    let at = house.log().append(now(), &[entry], durable).unwrap()[0];
    index.insert(hash, at, what);
    at
}

fn rotate(house: &House) {
    let own = files(house);
    own.rotate(&mut own.log(), now()).unwrap();
}

/// Begins a new segment and seals all others.
fn seal(house: &House) {
    rotate(house);
    while files(house).seal_one(now()).unwrap() {}
}

const ONE: &[u8] = b"\x01a\x07token 1";
const TWO: &[u8] = b"\x01a\x07token 2";

#[test]
fn of_a_keys_records_the_newest_counts_in_whatever_order_they_are_found() {
    let (house, index) = open(&Faulty::new()).unwrap();
    let places = [ONE, TWO, ONE].map(|key| finish(&house, &index, key, 10, true));
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let found = house.newest(&order.map(|nth| places[nth]), ONE, |at, _| at).unwrap();
        assert_eq!(found.0, Some(places[2]));
        let mut all: Vec<_> = found.1.into_iter().map(|own| own.0).collect();
        all.sort();
        assert_eq!(all, [places[0], places[2]]);
    }
}

#[test]
fn a_place_says_in_which_segment_it_lies_5_9() {
    let (house, index) = open(&Faulty::new()).unwrap();
    let places = [(); 3].map(|()| {
        let at = finish(&house, &index, ONE, 10, true);
        rotate(&house);
        at
    });
    let numbers: Vec<_> = files(&house).segments().iter().map(|own| Some(own.number)).collect();
    assert_eq!(places.map(|at| house.segment_number(at)), numbers[..3]);
    assert_eq!(house.segment_number(Location::new(1_000, 0)), None);
}

#[test]
fn at_an_opening_only_a_keys_own_older_record_gives_way_to_its_newer_one_3_3() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    let older = [ONE, TWO].map(|key| finish(&house, &index, key, 10, true));
    rotate(&house);
    let newer = finish(&house, &index, ONE, 10, true);
    let disk = Faulty::over(disk.copied());
    let (_house, index) = open(&disk).unwrap();
    let mut left = index.find(0);
    left.sort();
    assert_eq!(left, [older[1], newer]);
}

#[test]
fn a_start_in_an_older_segment_says_nothing_unless_it_is_damaged_5_4_5_9() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    let note = |byte| Checkpoint { attempt: 1, bytes: vec![byte; 300].into() };
    let [damaged, _] = [(ONE, 1), (TWO, 2)].map(|(key, byte)| start(&house, &index, key, &note(byte)));
    // As if neither were copied: the sound one because it has ended, the other one because it does not read.
    index.0.lock().iter_mut().for_each(|own| own.2 = What::Kept);
    seal(&house);
    let disk = Faulty::over(disk.copied());
    damage(&disk, &[1; 300]);
    let (_house, index) = open(&disk).unwrap();
    assert_eq!(index.find(0), [damaged]);
}

/// Changes a byte in the middle of such bytes wherever they stand.
fn damage(disk: &Faulty, bytes: &[u8]) {
    let mut places = 0;
    for name in disk.list().unwrap().iter().filter(|name| name.starts_with("segment-")) {
        let file = disk.open(name).unwrap();
        let mut all = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read(0, &mut all).unwrap();
        for (at, _) in all.windows(bytes.len()).enumerate().filter(|own| own.1 == bytes) {
            file.write((at + bytes.len() / 2) as u64, &[!bytes[0]]).unwrap();
            places += 1;
        }
    }
    assert!(places > 0);
}

#[test]
fn what_is_damaged_is_left_alone_at_an_opening_and_what_does_not_read_just_now_ends_it_5_9() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    let [damaged, _] = [TWO, ONE].map(|key| finish(&house, &index, key, 10_000, true));
    seal(&house);
    let newer = finish(&house, &index, ONE, 10_000, true);
    seal(&house);
    let disk = Faulty::over(disk.copied());
    damage(&disk, &[b'2'; 10_000]);
    let (house, index) = open(&disk).unwrap();
    assert_eq!(index.find(0), [damaged, newer]);
    let own = files(&house);
    assert!(own.read(damaged, |_| ()).is_err_and(|error| error.is_damaged()));
    assert_eq!(own.read_sound(damaged, |_| ()), Ok(None));
    drop(house);
    let mut ended = 0;
    for nth in 1.. {
        let disk = Faulty::over(disk.copied());
        disk.fail(Some(Failure::Reads(nth, KIND)));
        match open(&disk) {
            // What redb holds in memory is read all the same.
            Ok((_house, index)) => assert_eq!(index.find(0), [damaged, newer], "reading {nth} failed"),
            Err(error) => {
                assert!(!error.is_damaged(), "reading {nth}: {error}");
                ended = nth;
            }
        }
        if disk.asked().2 == 0 {
            break;
        }
    }
    assert!(ended > 10, "an opening that reads little: {ended}");
}

#[test]
fn a_record_whose_segment_goes_while_it_is_read_is_gone_and_not_damaged_7_1() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    let at = finish(&house, &index, ONE, 100_000, true);
    seal(&house);
    let own = files(&house);
    let ((asks, asked), (goes_on, go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    disk.before_read(move || {
        asks.send(()).unwrap();
        go_on.recv().unwrap();
    });
    thread::scope(|scope| {
        let reading = scope.spawn(|| own.read(at, |_| ()));
        asked.recv().unwrap();
        own.segments.write().retain(|own| !own.blocks().contains(&at.block()));
        disk.fail(Some(Failure::Reads(1, KIND)));
        goes_on.send(()).unwrap();
        assert_eq!(reading.join().unwrap(), Ok(None));
    });
}

#[test]
fn room_that_was_missing_is_made_by_whoever_keeps_it_5_10() {
    let (house, _) = open(&Faulty::new()).unwrap();
    let own = files(&house);
    assert_eq!(own.room.reserve(8 << 20), Err(8 << 20));
    house.keep_room();
    assert_eq!(own.room.reserve(0), Ok(()));
}

#[test]
fn where_enough_room_lies_ready_nothing_is_asked_of_the_disk_5_10() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    for _ in 0..6 {
        finish(&house, &index, ONE, 100_000, true);
    }
    finish(&house, &index, ONE, 100, false);
    let own = files(&house);
    let mut log = own.log();
    assert!(log.is_unsynced() && log.active.backend().used_bytes() > 1 << 19, "a new segment may begin");
    let (ready, changes) = (own.ready(&log), disk.changes());
    assert_eq!(own.find_room(&mut log, ready), ready);
    assert_eq!(disk.changes(), changes);
}

#[test]
fn a_ledger_that_stops_while_it_looks_for_room_makes_none_5_5() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    finish(&house, &index, ONE, 100, false);
    let own = files(&house);
    let mut log = own.log();
    let bytes = own.file_bytes();
    // What is unsynced is synced first: that fails, and nothing after it.
    disk.fail(Some(Failure::Once(disk.asked().0 + 1, KIND)));
    assert_eq!((own.find_room(&mut log, 64 << 20), own.file_bytes()), (0, bytes));
    assert!(own.check_running().is_err());
}

#[test]
fn a_segment_that_was_born_full_is_not_left_before_as_much_again_was_written() {
    let (house, index) = open(&Faulty::new()).unwrap();
    let note = Checkpoint { attempt: 1, bytes: vec![7; 60 << 10].into() };
    for number in 0..40_u8 {
        start(&house, &index, &[1, b'a', 1, number], &note);
    }
    rotate(&house);
    let own = files(&house);
    let segments = own.segments().len();
    for _ in 0..20 {
        house.log().rotate_if_full(now());
        finish(&house, &index, ONE, 10_000, true);
    }
    assert_eq!(own.segments().len(), segments);
    while own.segments().len() == segments {
        house.log().rotate_if_full(now());
        finish(&house, &index, ONE, 100_000, true);
    }
}

#[test]
fn a_segment_is_left_for_its_age_only_with_records_that_it_was_not_born_with() {
    let (house, index) = open(&Faulty::new()).unwrap();
    let own = files(&house);
    let late = now().saturating_add(own.segment_age_max);
    let rotated = |when: Timestamp| {
        let before = own.segments().len();
        own.rotate_if_old(&mut own.log(), when);
        own.segments().len() - before
    };
    own.append(&mut own.log(), now(), &[log::Note::Dropped(1).entry()], true).unwrap();
    assert_eq!(rotated(late), 0, "it holds a note alone");
    start(&house, &index, ONE, &Checkpoint { attempt: 1, bytes: vec![7; 10].into() });
    assert_eq!(rotated(now()), 0, "it is young");
    assert_eq!(rotated(late), 1);
    let later = late.saturating_add(own.segment_age_max);
    assert_eq!(rotated(later), 0, "it holds a copy alone");
    finish(&house, &index, TWO, 10, true);
    assert_eq!(rotated(later), 1);
}

#[test]
fn a_segment_without_room_for_its_hints_waits_for_a_disk_that_has_some_5_10() {
    let disk = Faulty::new();
    let (house, index) = open(&disk).unwrap();
    let own = files(&house);
    loop {
        let at = finish(&house, &index, ONE, 4_000, true);
        let log = own.log();
        let segment = Arc::clone(&log.active);
        if segment.backend().room() < hint::room(log.hints.len()) + MARGIN_BYTES {
            assert!(own.is_kept(at));
            break;
        }
    }
    rotate(&house);
    disk.fail(Some(Failure::Full(disk.asked().0 + 1)));
    assert_eq!(own.seal_one(now()), Ok(false));
    assert_eq!(own.check_running(), Ok(()));
    disk.fail(None);
    assert_eq!(own.seal_one(now()), Ok(true));
    assert_eq!(own.seal_one(now()), Ok(false), "there is no other");
}

#[cfg(feature = "cli")]
#[test]
fn what_records_from_elsewhere_were_made_under_gets_numbers_here_2_2_2_5() {
    let (house, _) = open(&Faulty::new()).unwrap();
    let secrets = [Secret::new([3; 32]), Secret::new([4; 32])];
    let store = [5; 16];
    let known = |secret: &Secret| (secret.check(&store), Some(secret.clone()));
    let rules = ["nonce", "time"].map(|name| crate::digest::DigestRules::excluding([name]));
    let origin = Origin {
        store,
        secrets: vec![known(&secrets[0]), ([0; 16], None), known(&secrets[1])],
        rules: rules.to_vec(),
        given: Vec::new(),
    };
    let (numbers, rules) = house.adopt(&origin).unwrap();
    // Each new one stands before the current one, which stays that.
    assert_eq!((numbers, rules), (vec![Some(2), None, Some(4)], vec![1, 2]));
}
