//! Programs that end with the process that started them, free ports, and waiting until something holds.
//!
//! Law: all programs are started by one thread, which lives as long as this process does: the system takes the end of the
//! thread that started a program for the end of its parent, and kills the program then.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long something is waited for that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long lies between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Who runs a program: PostgreSQL refuses to be run by root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Own,
    Postgres,
}

/// A command that is killed when this process ends.
pub fn command(user: User, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    if user == User::Postgres && rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0);
    command
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts it by the thread that lives as long as this process.
///
/// # Errors
/// Those of the system.
pub fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, ordered) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in ordered {
                // Whoever asked waits for it.
                drop(reply.send(command.spawn()));
            }
        });
        orders
    });
    let (reply, child) = mpsc::channel();
    STARTER.send((command, reply)).expect("the thread lives on");
    child.recv().expect("the thread answers")
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// What it printed as errors.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() {
        return Ok(text(stdout));
    }
    Err(format!("{command:?}: {status}: {}", text(stderr)))
}

/// Sends a signal, if it has not ended.
pub fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process number");
    // It may have ended meanwhile; nobody has taken its number, since it is waited for only afterwards.
    let _ = kill_process(pid, signal);
}

/// SIGKILL for a program and all that it started, as when its machine stops: none of them does anything more.
pub fn kill_family(mut child: Child) {
    // Stopped, it starts no other and misses none.
    signal(&child, Signal::STOP);
    signal_children(&child, Signal::KILL);
    signal(&child, Signal::KILL);
    child.wait().expect("its end");
}

/// Sends a signal to what a program started.
pub fn signal_children(child: &Child, signal: Signal) {
    for own in children(child.id()) {
        // It may have ended meanwhile.
        let _ = kill_process(own, signal);
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("the system's processes").flatten();
    let mut found = Vec::new();
    for process in processes {
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // `number (name) state parent …`; it may end while it is looked at.
        let Ok(state) = fs::read_to_string(process.path().join("stat")) else { continue };
        let words = state.rsplit(')').next().unwrap_or_default();
        if words.split_whitespace().nth(1).and_then(|word| word.parse().ok()) == Some(parent) {
            found.extend(Pid::from_raw(number));
        }
    }
    found
}

/// A port of loopback that nobody listens on, below those that the system gives to clients by itself: a server that is
/// started again finds it free.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 15_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    // Processes that run beside this one begin elsewhere.
    let first = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(PORTS.end - PORTS.start));
    let first = first.expect("small");
    for _ in PORTS {
        let next = NEXT.fetch_add(1, SeqCst);
        let port = PORTS.start + (first + next % (PORTS.end - PORTS.start)) % (PORTS.end - PORTS.start);
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A directory of its own for what servers write. In memory where there is enough of it: servers are killed here and machines
/// are not, and a busy disk only makes tests slow.
pub fn directory() -> TempDir {
    const MEMORY: &str = "/dev/shm";
    const ENOUGH: u64 = 2 << 30;
    let is_enough = statvfs(MEMORY).is_ok_and(|own| own.f_bavail.saturating_mul(own.f_frsize) >= ENOUGH);
    let within = if is_enough { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
    remove_what_others_left(&within);
    let name = format!("{DIRECTORY}{}-", std::process::id());
    tempfile::Builder::new().prefix(&name).tempdir_in(within).expect("a directory")
}

/// How directories begin; then comes the number of their process.
const DIRECTORY: &str = "oncekey-engines-";

/// Directories of processes that were killed.
fn remove_what_others_left(within: &Path) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|own| own.strip_prefix(DIRECTORY)?.split('-').next());
        if process.is_some_and(|own| !Path::new("/proc").join(own).exists()) {
            // Somebody else may be at it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Looks until there is something, and gives it.
pub fn until<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{what}: {error:?}"),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks until it is so.
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()).ok_or("it never was"));
}
