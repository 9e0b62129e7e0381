//! Section 11, manners of a library that owns its files.
//!
//! Goal: each of the listed methods does what it says. Method: one test or two for each; what every store does stands in
//! `every/s11_manners`.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use oncekey::{Archive, ErrorKind, Home as Place, Outcome, Store, Token};

use crate::support::tasks::{panics, until};

use crate::support::{
    Home, asked, assert_free, assert_replays, close, fresh, in_every_home, kept, key, plain, run, secs,
};

#[test]
fn flush_syncs_and_lag_is_a_promise_11() {
    in_every_home(|home| {
        let store = home.open(plain().relaxed(Duration::from_millis(50)));
        assert_eq!(store.guarantees().lag, Duration::from_millis(50));
        run(&store, &key(0), "done");
        store.flush().expect("flushed");
        store.flush().expect("nothing is left to flush");
        assert_replays(&store, &key(0), "done");
    });
}

#[test]
fn a_backup_is_a_store_and_the_original_goes_on_11() {
    let home = Home::directory();
    let store = home.open(plain());
    for number in 0..20 {
        run(&store, &key(number), "before");
    }
    assert!(store.forget(&key(3)).expect("forgotten"));
    let held = fresh(store.begin(&key(20), &asked()));
    store.backup(home.beside("backup")).expect("backed up");
    kept(held.complete(Outcome::new("after")));
    run(&store, &key(21), "after");

    let copy = plain().open(home.beside("backup")).expect("opened beside the original");
    for number in (0..20).filter(|number| *number != 3) {
        assert_replays(&copy, &key(number), "before");
        assert_replays(&store, &key(number), "before");
    }
    for number in [3, 20, 21] {
        assert_free(&copy, &key(number));
    }
    assert_eq!(copy.stats().kept_records, 19);
    run(&copy, &key(21), "in the copy");
    assert_replays(&store, &key(21), "after");
    close(copy);
    assert_replays(&plain().open(home.beside("backup")).expect("opens"), &key(21), "in the copy");
    close(store);
    assert_replays(&home.open(plain()), &key(20), "after");
}

#[test]
fn a_backup_goes_into_an_empty_directory_alone_11() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "done");
    fs::create_dir(home.beside("taken")).expect("made");
    fs::write(home.beside("taken").join("notes"), "mine").expect("written");
    for taken in [home.beside("taken"), home.path()] {
        let error = store.backup(&taken).expect_err("not empty");
        assert!(matches!(error.kind(), ErrorKind::NotAStore(_)), "{error}");
    }
    fs::create_dir(home.beside("empty")).expect("made");
    store.backup(home.beside("empty")).expect("backed up");
    assert_replays(&plain().open(home.beside("empty")).expect("opens"), &key(0), "done");
    assert_eq!(fs::read(home.beside("taken").join("notes")).expect("read"), b"mine");
}

#[test]
fn sealed_records_are_read_beside_the_open_store_11() {
    let home = Home::directory();
    let store = home.open(plain());
    run(&store, &key(0), "sealed");
    store.backup(home.beside("backup")).expect("a backup seals what there is");
    run(&store, &key(1), "not yet");
    let archive = Archive::open(home.path()).expect("read only");
    assert_eq!(archive.get(&key(0)).expect("read").expect("kept").outcome().body(), b"sealed");
    assert_eq!(archive.get(&key(1)).expect("read"), None);
    assert!(Archive::open(home.beside("nowhere")).is_err());
    assert!(!home.beside("nowhere").exists(), "reading makes nothing");
}

#[test]
fn a_random_token_is_sound_and_never_the_same_11() {
    let tokens: std::collections::HashSet<Token> = (0..1000).map(|_| Token::random()).collect();
    assert_eq!(tokens.len(), 1000);
    for token in tokens {
        assert!(oncekey::Key::new("s", &token).is_ok());
        assert_eq!(Token::parse(token.as_str()).expect("sound"), token);
    }
}

#[test]
fn guarantees_say_what_this_store_promises_11() {
    in_every_home(|home| {
        let directory = !home.is_memory();
        let store = home.open(plain().retention(secs(77)));
        let given = store.guarantees();
        assert_eq!(given.home, if directory { Place::Directory } else { Place::Memory });
        assert_eq!((given.survives_kill, given.survives_power_cut), (directory, directory));
        assert_eq!((given.room_set_aside, given.private_files), (directory, directory));
        assert!(given.one_completion && !given.reservations_survive_kill && !given.callers_secret);
        assert_eq!((given.lag, given.retention), (Duration::ZERO, secs(77)));
    });
    let relaxed = plain().relaxed(secs(1)).open_in_memory().expect("opens").guarantees();
    assert_eq!((relaxed.lag, relaxed.survives_power_cut), (secs(1), false));
}

/// Lets go of a store when it is woken, and tells whether that went well.
struct LetsGo(Mutex<Option<Store>>, mpsc::Sender<bool>);

impl Wake for LetsGo {
    fn wake(self: Arc<Self>) {
        let store = self.0.lock().expect("nobody panics").take();
        let harmed = panics(|| drop(store));
        self.1.send(!harmed).expect("the test listens");
    }
}

#[test]
fn the_last_handle_may_go_in_a_waker_and_what_was_completed_is_kept_5_11_10_4() {
    let home = Home::lasting();
    let store = home.open(plain());
    let held = fresh(store.begin(&key(0), &asked()));
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(LetsGo(Mutex::new(Some(store)), tell)));
    let mut completing = Box::pin(held.complete_async(Outcome::new("done")));
    assert!(completing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert!(told.recv().expect("it is woken"), "a handle that goes never panics");
    drop(completing);
    // It closes in a thread of its own then.
    until("the store is closed", || plain().open(home.path()).is_ok());
    assert_replays(&home.open(plain()), &key(0), "done");
}
