//! The whole life of a token, told on a real store: `cargo run --release --example quickstart`.
//! A shop charges cards, its clients retry, and each order is charged once. Two children are killed on the way.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, thread};

use oncekey::{Answer, Class, Executed, Key, OperationError, Outcome, Parameters, Reservation, Store};
use serde::{Deserialize, Serialize};

/// What a charge returns: kept by the store, and given to every retry.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    number: u32,
    cents: u64,
}

/// Why a charge failed. The store keeps what would fail again, and lets the retry run otherwise.
#[derive(Debug, Serialize, Deserialize)]
enum ChargeError {
    CardRefused,
    BankUnreachable,
}

impl OperationError for ChargeError {
    fn class(&self) -> Class {
        match self {
            ChargeError::CardRefused => Class::Final,
            ChargeError::BankUnreachable => Class::Retryable,
        }
    }
}

/// The operation that must not happen twice.
fn charge(cents: u64) -> Result<Receipt, ChargeError> {
    static CHARGES: AtomicU32 = AtomicU32::new(0);
    if cents > 100_000 {
        return Err(ChargeError::CardRefused);
    }
    Ok(Receipt { number: 1 + CHARGES.fetch_add(1, Ordering::Relaxed), cents })
}

fn main() -> Result<(), Box<dyn Error>> {
    if let [_, role, home, order] = &env::args().collect::<Vec<_>>()[..] {
        return be_killed(role, home, order);
    }
    let home = tempfile::tempdir()?; // removed at the end
    let store = Store::open(home.path())?;

    println!("One order, one charge");
    let key = Key::new("alice", "order-1")?; // whose token it is, and the token her client chose
    let asked = Parameters::pairs([("card", "4711"), ("cents", "1250")]);
    let first = store.execute(&key, &asked, |_| charge(1250))?;
    tell("fresh", describe(&first));
    let retry = store.execute(&key, &asked, |_| charge(1250))?;
    tell("replay", describe(&retry));
    let other = Parameters::pairs([("card", "4711"), ("cents", "9900")]);
    let refused = store.execute(&key, &other, |_| charge(9900)).err().ok_or("charged otherwise")?;
    tell(if refused.is_mismatch() { "mismatch" } else { "refused" }, refused);

    println!("\nFailures");
    let key = Key::new("alice", "order-2")?;
    let failed = store.execute(&key, &asked, |_| Err::<Receipt, _>(ChargeError::BankUnreachable))?;
    tell("retryable", format!("{}; nothing is kept", describe(&failed)));
    tell("runs afresh", describe(&store.execute(&key, &asked, |_| charge(1250))?));
    let key = Key::new("alice", "order-3")?;
    tell("final", describe(&store.execute(&key, &asked, |_| charge(999_900))?));
    tell("replay", describe(&store.execute(&key, &asked, |_| charge(999_900))?));

    println!("\nStep by step, as a server does it");
    let key = Key::new("bob", "order-1")?; // another scope: nothing to do with Alice's order-1
    let reservation = fresh(store.begin(&key, &asked)?)?;
    tell("fresh", format!("attempt {} is ours", reservation.attempt()));
    let Answer::InFlight(running) = store.begin(&key, &asked)? else { return Err("not in flight".into()) };
    tell("in flight", format!("attempt {} still runs: answer 409, or wait", running.attempt()));
    reservation.complete(Outcome::http(201, r#"{"Receipt":7}"#).with_metadata("ETag", "7"))?;
    tell("replay", replay(store.begin(&key, &asked)?)?);

    println!("\nKilled in the middle");
    store.close(Duration::from_secs(1))?; // one process at a time owns a store
    tell("SIGKILL", kill_a_child("has begun", home.path(), "order-4")?);
    tell("SIGKILL", kill_a_child("has completed", home.path(), "order-5")?);
    let store = Store::open(home.path())?;
    tell("reopened", format!("{} records are kept", store.stats().kept_records));
    let (begun, completed) = (Key::new("alice", "order-4")?, Key::new("alice", "order-5")?);
    fresh(store.begin(&begun, &asked)?)?.release()?; // or just drop it
    tell("fresh", "order-4 was never completed, so it may run");
    tell("replay", replay(store.begin(&completed, &asked)?)?);

    println!("\nForgotten in time");
    let key = Key::new("alice", "order-6")?;
    let request = store.request(&key, &asked).retention(Duration::from_millis(30));
    tell("fresh", describe(&request.execute(|_| charge(1250))?));
    thread::sleep(Duration::from_millis(40));
    tell("expired", describe(&store.execute(&key, &asked, |_| charge(1250))?));
    Ok(store.close(Duration::from_secs(1))?)
}

/// The child: says how far it has come, and waits to be killed.
fn be_killed(progress: &str, home: &str, order: &str) -> Result<(), Box<dyn Error>> {
    let store = Store::open(home)?;
    let asked = Parameters::pairs([("card", "4711"), ("cents", "1250")]);
    let mut held = Some(fresh(store.begin(&Key::new("alice", order)?, &asked)?)?);
    if progress == "has completed"
        && let Some(reservation) = held.take()
    {
        reservation.complete(Outcome::http(201, r#"{"Receipt":8}"#))?;
    }
    println!("a child that {progress} {order}");
    thread::sleep(Duration::MAX); // it is killed here, the reservation held or its completion acknowledged
    Ok(())
}

/// Starts a child, waits until it says how far it has come, and kills it. Gives what it said.
fn kill_a_child(progress: &str, home: &Path, order: &str) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    let mut child = command.arg(progress).arg(home).arg(order).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut said)?;
    child.kill()?;
    child.wait()?;
    if said.is_empty() { Err("the child failed".into()) } else { Ok(said.trim().to_owned()) }
}

fn fresh(answer: Answer) -> Result<Reservation, String> {
    if let Answer::Fresh(own) = answer { Ok(own) } else { Err(format!("not fresh: {answer:?}")) }
}

fn replay(answer: Answer) -> Result<String, String> {
    let Answer::Replay(replay) = answer else { return Err(format!("not a replay: {answer:?}")) };
    let outcome = replay.outcome();
    Ok(format!("{} {}", outcome.status().unwrap_or(0), String::from_utf8_lossy(outcome.body())))
}

fn describe(executed: &Executed<Receipt, ChargeError>) -> String {
    let how = if executed.replayed { "the first answer again" } else { "it ran" };
    match &executed.result {
        Ok(Receipt { number, cents }) => format!("{how}: charge no. {number}, {cents} cents"),
        Err(error) => format!("{how}: {error:?}"),
    }
}

fn tell(what: &str, how: impl std::fmt::Display) {
    println!("  {what:<12} {how}");
}
