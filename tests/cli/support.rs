//! Goal: short tests. Method: a store in a temporary directory, the program, and what it said.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use oncekey::{Answer, Builder, Key, Known, Outcome, Parameters, Reservation, Store};
use serde_json::Value;

/// What no command shows that was not asked for it.
pub(crate) const CANARY: &str = "canary: what the operation returned";
/// What a checkpoint says, which is not shown either.
pub(crate) const NOTE: &str = "canary: how far it came";
const CHILD: &str = "ONCEKEY_CLI_CHILD";

/// A directory that goes, and the store in it.
pub(crate) struct Place {
    home: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// A closed store: `account-1` with `paid` and `large`, `account-2` with `paid`, one key that was released.
    pub(crate) fn closed() -> Self {
        let place = Self::new();
        let store = Store::open(place.store()).unwrap();
        fill(&store);
        store.close(Duration::ZERO).unwrap();
        place
    }

    /// A store whose process was killed: as a closed one, with an operation that was running, at `account-1`, `running`.
    pub(crate) fn killed() -> Self {
        let place = Self::new();
        Held::start(&place).kill();
        place
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command on the store.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Ran {
        self.run_with(words, b"")
    }

    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, words: &[S], input: &[u8]) -> Ran {
        let mut command = program();
        command.args(words).env("ONCEKEY_STORE", self.store()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may not read it.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Every file of the store.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.store())
    }
}

pub(crate) fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
}

/// The program, without a store in its environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncekey"));
    command.env_remove("ONCEKEY_STORE");
    command
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        let ran = Self {
            status: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        ran
    }

    /// It ended with this status.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// What it said in JSON, having ended with this status.
    #[track_caller]
    pub(crate) fn json(self, status: i32) -> Value {
        let ran = self.ended(status);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }
}

pub(crate) fn begin(store: &Store, scope: &str, token: &str) -> Reservation {
    let key = Key::new(scope, token).unwrap();
    let Answer::Fresh(held) = store.begin(&key, &parameters()).unwrap() else { panic!("never seen") };
    held
}

pub(crate) fn parameters() -> Parameters<'static> {
    Parameters::query("Action=Pay&Amount=7")
}

/// What every store here holds.
pub(crate) fn fill(store: &Store) {
    let outcome = Outcome::http(201, CANARY).with_metadata("Content-Type", "canary/plain");
    begin(store, "account-1", "paid").complete(outcome).unwrap();
    begin(store, "account-1", "large").complete_without_body(Outcome::new(vec![7; 3000])).unwrap();
    begin(store, "account-2", "paid").complete(Outcome::new(*b"\xff\0 no text")).unwrap();
    let key = Key::new("account-2", "released").unwrap();
    let Answer::Fresh(held) = store.request(&key, &parameters()).start_durably().begin().unwrap() else {
        panic!("never seen")
    };
    held.checkpoint(NOTE.as_bytes()).unwrap();
    drop(held);
    // A drop hands over, and does not wait until that is on disk.
    while store.get(&key) != Ok(Known::Absent) {
        std::thread::yield_now();
    }
}

/// A server: this test as a child that holds the store.
pub(crate) struct Held(Child);

impl Held {
    /// Starts it, and waits until it has written: all that `fill` writes, sealed; then `account-1`, `newest`; and
    /// `account-1`, `running`, which runs.
    pub(crate) fn start(place: &Place) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "support::as_a_child_it_holds_a_store", "--ignored", "--nocapture"]);
        command.env(CHILD, place.home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("it holds the store")));
        Self(child)
    }

    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Not a test by itself.
#[test]
#[ignore = "the child of others"]
fn as_a_child_it_holds_a_store() {
    let Ok(home) = std::env::var(CHILD) else { return };
    let home = Path::new(&home);
    // So that it changes no file while others look.
    let store = Builder::default().background_sweep(false).open(home.join("store")).unwrap();
    fill(&store);
    store.backup(home.join("backup")).unwrap();
    begin(&store, "account-1", "newest").complete(Outcome::new(CANARY)).unwrap();
    let key = Key::new("account-1", "running").unwrap();
    let running = store.request(&key, &parameters()).start_durably().begin().unwrap();
    let Answer::Fresh(held) = &running else { panic!("never seen") };
    held.checkpoint(NOTE.as_bytes()).unwrap();
    println!("it holds the store");
    // Until it is killed, or whoever started it is gone.
    let _ = std::io::stdin().lines().count();
}
