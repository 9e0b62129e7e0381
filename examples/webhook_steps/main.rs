//! A three-step operation against somebody else's server, killed between its steps and resumed where it was.
//!
//! Goal: show what a durable reservation is for. Each order charges a card, ships a parcel and sends a mail; each step
//! is a call over HTTP, and none of them can be rolled back. Method: the worker notes every step as a checkpoint; a
//! supervisor kills it with SIGKILL again and again and starts it anew; the next attempt sees the last checkpoint and
//! goes on behind it. A step that was called and not noted is called again *under the same token*, made from the key, so
//! the other side, which counts, knows it again.
//!
//! `cargo run --example webhook_steps -- --kills 50` prints the verdict. Deliberately absent: TLS, retries with
//! back-off, real HTTP; see `scaling_groups` for a server.

mod server;
mod steps;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oncekey::{Known, Store};

use server::{Server, Tally};

const ORDERS: usize = 40;
/// The worker's orders: where the store lies, and where the server listens.
const WORKER: &str = "ONCEKEY_WEBHOOK_WORKER";

/// A small generator of our own, so that a run needs nothing else.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        u32::try_from(self.0 >> 33).unwrap_or_default() % bound
    }
}

/// What a run came to.
#[derive(Debug)]
struct Verdict {
    kills: u64,
    /// Orders whose attempts were more than one.
    resumed: usize,
    tally: Tally,
}

impl Verdict {
    fn print(&self) {
        println!("{} kills, {ORDERS} orders of three steps, {} of them resumed", self.kills, self.resumed);
        println!("{} calls, {} of them again under the same token", self.tally.calls, self.tally.repeated);
        println!("{} steps made, {} under two tokens", self.tally.steps, self.tally.under_two_tokens);
    }
}

fn main() {
    if let Some(order) = std::env::var_os(WORKER) {
        return work(&order.to_string_lossy());
    }
    let mut arguments = std::env::args().skip(1);
    let kills = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--kills"), Some(number)) => number.parse().unwrap_or(20),
        _ => 20,
    };
    let directory = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("this program's own file");
    let verdict = supervise(&directory.path().join("store"), kills, || Command::new(&own));
    verdict.print();
    assert_eq!(verdict.tally.under_two_tokens, 0, "a step was made twice");
    assert_eq!(verdict.tally.steps, 3 * ORDERS, "a step was left out");
}

/// The worker: all orders, one after the other, until it is killed or done.
fn work(order: &str) {
    let (address, path) = order.split_once(' ').expect("an address and a path");
    let store = Store::open(path).expect("opening needs no manual step");
    for number in 0..ORDERS {
        steps::run(&store, number, address).expect("an order");
    }
}

/// Starts the worker and kills it, so many times; then lets it finish, and looks at what came of it.
fn supervise(path: &Path, kills: u64, worker: impl Fn() -> Command) -> Verdict {
    let server = Server::start();
    let start = || {
        worker()
            .env(WORKER, format!("{} {}", server.address(), path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker")
    };
    let (mut chance, mut killed) = (Chance(kills), 0);
    for _ in 0..kills {
        let (mut child, until) = (start(), server.tally().calls + 1 + chance.below(8) as usize);
        // At a moment between two steps, or in one: some calls after it began.
        while server.tally().calls < until && child.try_wait().expect("its state").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(u64::from(chance.below(3000))));
        if child.try_wait().expect("its state").is_some() {
            break; // It was done before.
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("its end");
        killed += 1;
    }
    let (mut last, begun) = (start(), Instant::now());
    while last.try_wait().expect("its state").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the worker hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    Verdict { kills: killed, resumed: resumed(path), tally: server.tally() }
}

/// Every order has ended; how many took more than one attempt.
fn resumed(path: &Path) -> usize {
    let store = Store::open(path).expect("the store opens");
    assert_eq!(store.interrupted().count(), 0, "nothing is left in the middle");
    let attempts = (0..ORDERS).map(|number| match store.get(&steps::key(number)).expect("known") {
        Known::Finished(replay) => replay.attempts(),
        other => panic!("order {number}: {other:?}"),
    });
    attempts.filter(|attempts| *attempts > 1).count()
}

#[test]
fn an_operation_that_is_killed_between_its_steps_is_resumed_at_its_recovery_point_6_3() {
    if let Some(order) = std::env::var_os(WORKER) {
        return work(&order.to_string_lossy());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("this test's own file");
    let name = "an_operation_that_is_killed_between_its_steps_is_resumed_at_its_recovery_point_6_3";
    let verdict = supervise(&directory.path().join("store"), 12, || {
        let mut command = Command::new(&own);
        command.args([name, "--exact"]);
        command
    });
    verdict.print();
    assert!(verdict.kills > 0 && verdict.resumed > 0, "the kills met something: {verdict:?}");
    assert_eq!(verdict.tally.steps, 3 * ORDERS, "every step of every order was made");
    assert_eq!(verdict.tally.under_two_tokens, 0, "none was made under two tokens");
    // At most the one call that was under way at each kill is made again: what was noted is not.
    assert!(verdict.tally.repeated as u64 <= verdict.kills, "{verdict:?}");
}
