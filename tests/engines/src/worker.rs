//! A process of the service: what it is asked to do, and what it says of it, line by line.
//!
//! Law: a line stands before each call and behind each answer, written at once, so that a process that is killed has said
//! which calls are open. Moments are nanoseconds of the machine's own clock, one count for all processes. A body names its
//! run and its attempt, so that no two runs have one.
//!
//! | line | what it says |
//! | --- | --- |
//! | `call ID KEY MOMENT begin` | a request for a key, ready to wait |
//! | `call ID KEY MOMENT complete HELD BODY` | the completion of a run |
//! | `call ID KEY MOMENT drop HELD` | a run that was given up |
//! | `told ID MOMENT fresh HELD ATTEMPT` | it is to run |
//! | `told ID MOMENT replay BODY`, `in-flight` | it was run, or is being run |
//! | `told ID MOMENT kept`, `lost` | a completion was kept, or its reservation lost |
//! | `told ID MOMENT unheard WHY`, `unknown WHY` | the engine was not heard in time; not yet, of a completion before |
//! | `ready`, `done` | the store is open; all that was asked for is done |

use std::fmt::Display;
use std::io::Read;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use oncekey::distributed::{Reservation, Store};
use oncekey::{Answer, Key, Outcome, Parameters};
use rustix::time::{ClockId, clock_gettime};

use crate::engine::{Engine, Settings};

/// How long a caller waits in one call.
const WAIT: Duration = Duration::from_secs(5);
/// A load of so many keys goes on until it is told to end, and leaves the servers something of a small machine.
pub const WITHOUT_END: u64 = u64::MAX;
const REST: Duration = Duration::from_millis(15);
/// How long it takes to try again after an error.
const PAUSE: Duration = Duration::from_millis(50);
/// Runs of one process; beyond them its numbers would be another's.
const RUNS_MAX: u64 = 1_000_000_000;

/// What a process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs all keys below this number, or replays them.
    Hammer { keys: u64, threads: u64 },
    /// Claims a key and holds it until it is killed; started durably with a checkpoint, or not.
    Hold { key: u64, durable: bool },
}

/// A process of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub process: u64,
    pub engine: Engine,
    pub settings: Settings,
    pub role: Role,
}

/// The key of a number. Tokens are shared by scopes, so that an answer of another scope would show.
pub fn key(number: u64) -> Key {
    Key::new(["scope", "other"][usize::from(number % 2 == 1)], format!("token-{}", number / 2))
        .expect("a valid key")
}

/// What every request asks.
pub fn parameters() -> Parameters<'static> {
    Parameters::query("a=1")
}

/// The machine's own clock, in nanoseconds.
pub fn moment() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("positive") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("positive")
}

impl Order {
    /// As arguments of the program.
    pub fn to_words(&self) -> Vec<String> {
        let Self { process, engine, settings, role } = self;
        let role = match role {
            Role::Hammer { keys, threads } => ["hammer".to_owned(), keys.to_string(), threads.to_string()],
            Role::Hold { key, durable } => ["hold".to_owned(), key.to_string(), durable.to_string()],
        };
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let node = settings.node.clone().unwrap_or_default();
        let (lease, patience) = (milliseconds(settings.lease), milliseconds(settings.patience));
        [process.to_string(), engine.to_string(), lease, patience, node].into_iter().chain(role).collect()
    }

    /// Out of the arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_words(words: &[String]) -> Result<Self, String> {
        let [process, engine, lease, patience, node, role, first, second] = words else {
            return Err(format!("eight words and not {}", words.len()));
        };
        let settings = Settings {
            lease: Duration::from_millis(number(lease)?),
            patience: Duration::from_millis(number(patience)?),
            node: Some(node.clone()).filter(|own| !own.is_empty()),
        };
        let role = match role.as_str() {
            "hammer" => Role::Hammer { keys: number(first)?, threads: number(second)? },
            "hold" => Role::Hold { key: number(first)?, durable: number(second)? },
            _ => return Err(format!("no role: {role}")),
        };
        Ok(Self { process: number(process)?, engine: engine.parse()?, settings, role })
    }

    /// Does it, until it is done or nobody holds the other end of its input any more.
    ///
    /// # Errors
    /// The store could not be opened.
    pub fn run(&self) -> oncekey::Result<()> {
        let store = self.connect()?;
        let worker = Worker {
            process: self.process,
            store,
            runs: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        println!("ready");
        match self.role {
            Role::Hammer { keys, threads } => worker.hammer(keys, threads),
            Role::Hold { key, durable } => worker.hold(key, durable)?,
        }
        worker.store.close(WAIT)
    }
}

impl Order {
    /// Until the engine is reached: those with little patience try again.
    fn connect(&self) -> oncekey::Result<Store> {
        loop {
            match self.engine.connect(&self.settings) {
                Err(error) if error.is_retryable() => std::thread::sleep(PAUSE),
                connected => return connected,
            }
        }
    }
}

fn number<T: FromStr<Err: Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error| format!("{word}: {error}"))
}

struct Worker {
    process: u64,
    store: Store,
    runs: AtomicU64,
    calls: AtomicU64,
    stopped: AtomicBool,
}

impl Worker {
    /// All keys in one order, which every process has: they meet.
    fn hammer(&self, keys: u64, threads: u64) {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for_the_end_of_input();
                self.stopped.store(true, SeqCst);
            });
            let work = || {
                let take = || Some(next.fetch_add(1, SeqCst)).filter(|own| *own < keys);
                while let Some(number) = take() {
                    self.settle(number);
                    if self.stopped.load(SeqCst) {
                        break;
                    }
                    if keys == WITHOUT_END {
                        std::thread::sleep(REST);
                    }
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                worker.join().expect("a caller");
            }
            println!("done");
        });
    }

    fn hold(&self, number: u64, durable: bool) -> oncekey::Result<()> {
        let (key, parameters) = (key(number), parameters());
        let request = self.store.request(&key, &parameters).wait(WAIT);
        let request = if durable { request.start_durably() } else { request };
        let id = self.call(number, "begin");
        let Answer::Fresh(reservation) = request.begin()? else { panic!("nobody has it") };
        if durable {
            reservation.checkpoint(b"half")?;
        }
        tell(id, format_args!("fresh {} {}", self.new_run(), reservation.attempt()));
        wait_for_the_end_of_input();
        Ok(())
    }

    /// Asks for a key until it is answered.
    fn settle(&self, number: u64) {
        let (key, parameters) = (key(number), parameters());
        while !self.stopped.load(SeqCst) {
            let id = self.call(number, "begin");
            match self.store.request(&key, &parameters).wait(WAIT).begin() {
                Ok(Answer::Fresh(reservation)) => {
                    let held = self.new_run();
                    tell(id, format_args!("fresh {held} {}", reservation.attempt()));
                    if self.complete(number, held, reservation) {
                        return;
                    }
                }
                Ok(Answer::Replay(replay)) => {
                    let body = String::from_utf8_lossy(replay.outcome().body()).into_owned();
                    return tell(id, format_args!("replay {body}"));
                }
                Ok(_) => tell(id, "in-flight"),
                Err(error) => unheard(id, &error),
            }
        }
    }

    /// Whether it is kept.
    fn complete(&self, number: u64, held: u64, mut reservation: Reservation) -> bool {
        let body = format!("{held}/{}", reservation.attempt());
        loop {
            let id = self.call(number, format_args!("complete {held} {body}"));
            let Err(refused) = reservation.complete(Outcome::http(200, body.clone())) else {
                tell(id, "kept");
                return true;
            };
            if refused.error.is_reservation_lost() {
                tell(id, "lost");
            } else {
                unheard(id, &refused.error);
            }
            match refused.reservation {
                Some(own) if !self.stopped.load(SeqCst) => reservation = own,
                Some(own) => {
                    self.call(number, format_args!("drop {held}"));
                    drop(own);
                    return false;
                }
                None => return false,
            }
        }
    }

    fn new_run(&self) -> u64 {
        self.process * RUNS_MAX + self.runs.fetch_add(1, SeqCst)
    }

    fn call(&self, number: u64, what: impl Display) -> u64 {
        let id = self.calls.fetch_add(1, SeqCst);
        println!("call {id} {number} {} {what}", moment());
        id
    }
}

fn tell(id: u64, answer: impl Display) {
    println!("told {id} {} {answer}", moment());
}

/// An error that an engine in trouble may cause; no other may come.
fn unheard(id: u64, error: &oncekey::Error) {
    let word = match error {
        _ if error.is_unknown_outcome() => "unknown",
        _ if error.is_retryable() => "unheard",
        _ => "wrong",
    };
    tell(id, format_args!("{word} {error}"));
    std::thread::sleep(PAUSE);
}

/// It ends when the parent lets go of it, or has ended itself.
fn wait_for_the_end_of_input() {
    let mut nothing = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut nothing);
}
