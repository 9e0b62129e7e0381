//! The supervisor: starts tellers, kills them, and checks the books.
//!
//! Law: a teller is killed by SIGKILL and by nothing else, at a moment that nobody chose; the last one as well. What it
//! said before its end counts as acknowledged. The books are read only when the last one is dead.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oncekey::redb::Database;

use crate::bank::{self, ACCOUNTS, Books, START};
use crate::clients::{self, Chance, Counter, Heard};

const CLIENTS: u64 = 16;
/// How long a teller lives at most, from its start on.
const LIFE_MILLIS: u64 = 250;

/// What came out.
pub(crate) struct Verdict {
    pub(crate) kills: u32,
    pub(crate) acknowledged: u64,
    retried: u64,
    applied: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, acknowledged, retried, applied } = self;
        write!(
            f,
            "{kills} kills, {acknowledged} transfers acknowledged after {retried} retries, {applied} applied, none \
             twice, none of the acknowledged lost, {} in all accounts as before",
            ACCOUNTS * START
        )
    }
}

/// Runs so many kills; what is wrong with the books, if anything is.
pub(crate) fn run(kills: u32, teller: &dyn Fn(&Path) -> Command) -> Result<Verdict, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("bank.redb");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |own| u64::from(own.subsec_nanos()));
    let (counter, mut chance) = (Counter::default(), Chance(now));
    let day = std::thread::scope(|scope| {
        let mut ears = Vec::new();
        for client in 0..CLIENTS {
            let (ear, heard) = channel();
            ears.push(ear);
            let (counter, mut own) = (&counter, Chance(now ^ (client + 1)));
            scope.spawn(move || clients::run(client, counter, &heard, &mut own));
        }
        let day: Result<(), String> = (1..=kills).try_for_each(|kill| {
            live_and_die(teller(&path), &counter, &ears, Duration::from_millis(chance.below(LIFE_MILLIS)))?;
            if kill % (kills / 20).max(1) == 0 {
                let known = counter.answers.lock().map_or(0, |own| own.len());
                let retried = counter.retried.load(Ordering::Relaxed);
                println!("kill {kill} of {kills}: {known} transfers acknowledged, {retried} retries");
            }
            Ok(())
        });
        counter.close();
        day
    });
    day?;
    let database = Database::create(&path).map_err(|error| error.to_string())?;
    let books = bank::books(&database).map_err(|error| error.to_string())?;
    let answers = counter.answers.lock().map_err(|error| error.to_string())?;
    check(&books, ACCOUNTS * START, &answers)?;
    let contradictions = counter.contradictions.lock().map_err(|error| error.to_string())?;
    if let Some(one) = contradictions.first() {
        return Err(format!("{} answers contradict the first one: {one}", contradictions.len()));
    }
    let (acknowledged, applied) = (answers.len() as u64, books.applied.len() as u64);
    Ok(Verdict { kills, acknowledged, retried: counter.retried.load(Ordering::Relaxed), applied })
}

/// One teller's life: it opens, serves for a while, is killed.
fn live_and_die(
    mut teller: Command,
    counter: &Counter,
    ears: &[Sender<Heard>],
    life: Duration,
) -> Result<(), String> {
    let started = teller.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("the teller does not start: {error}"))?;
    let out = child.stdout.take().ok_or("its output is piped")?;
    let (opened, open) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| hear(out, &opened, ears));
        // It is waited for, or else it might be killed each time before it has done anything; every fourth is not.
        let waited = life.as_millis().is_multiple_of(4) || open.recv_timeout(Duration::from_secs(60)).is_ok();
        counter.open(child.stdin.take());
        std::thread::sleep(life);
        counter.open(None);
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
        match ended {
            Some(status) => Err(format!("the teller ended by itself: {status}")),
            None if !waited => Err("the teller did not open within a minute".to_owned()),
            None => Ok(()),
        }
    })
}

/// Passes on what the teller says, and its end.
fn hear(out: ChildStdout, opened: &Sender<()>, ears: &[Sender<Heard>]) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        let mut words = line.splitn(3, ' ');
        let (what, token) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let client = token.split('-').next().and_then(|own| own.parse::<usize>().ok());
        let ear = client.and_then(|own| ears.get(own));
        // A client that is gone, or nobody who waits for the opening, needs to hear nothing.
        let _ = match (what, ear, words.next()) {
            ("answer", Some(ear), Some(rest)) => {
                ear.send(Heard::Answer(token.to_owned(), rest.to_owned())).is_ok()
            }
            ("busy", Some(ear), _) => ear.send(Heard::Busy).is_ok(),
            _ => line.ends_with("open") && opened.send(()).is_ok(),
        };
    }
    for ear in ears {
        let _ = ear.send(Heard::Gone);
    }
}

/// Holds the books against what was acknowledged.
pub(crate) fn check(books: &Books, sum: u64, answers: &BTreeMap<String, String>) -> Result<(), String> {
    let found: u64 = books.balances.iter().sum();
    if found != sum {
        return Err(format!("there were {sum} in all accounts, now there are {found}"));
    }
    if let Some((token, times)) = books.applied.iter().find(|(_, times)| **times != 1) {
        return Err(format!("transfer {token} happened {times} times"));
    }
    for (token, answer) in answers {
        let applied = books.applied.contains_key(token);
        if applied != answer.starts_with("paid") {
            let happened = if applied { "happened" } else { "did not happen" };
            return Err(format!("transfer {token} was answered {answer:?} and {happened}"));
        }
    }
    Ok(())
}
