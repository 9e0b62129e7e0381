//! The teller: a process that serves transfers, line by line, until it is killed.
//!
//! Law: it answers only what is committed. Whatever queued while the last transaction was written goes into the next one,
//! effects and records of all of them together: one sync for many.
//!
//! | line in | line out |
//! | --- | --- |
//! | `token from to amount` | `answer token outcome`, or `busy token`: ask again |

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use oncekey::redb::Database;
use oncekey::{Answer, Outcome, Parameters, Reservation, Store};

use crate::bank::{self, Transfer};

/// Transfers of one transaction.
const TOGETHER: usize = 32;

pub(crate) fn serve(path: &Path) -> ExitCode {
    match open(path).and_then(|store| run(&store)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the teller gives up: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The store lives beside the bank's tables.
pub(crate) fn open(path: &Path) -> Result<Store, Box<dyn Error>> {
    let database = Arc::new(Database::create(path)?);
    bank::found(&database)?;
    Ok(Store::builder().open_in(database, "oncekey")?)
}

fn run(store: &Store) -> Result<(), Box<dyn Error>> {
    say(&["open".to_owned()]);
    let (sender, receiver) = channel();
    std::thread::spawn(move || listen(&sender));
    while let Some(batch) = next_batch(&receiver) {
        say(&work(store, batch)?);
    }
    Ok(())
}

fn listen(sender: &Sender<Transfer>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if let Some(transfer) = parse(&line)
            && sender.send(transfer).is_err()
        {
            return;
        }
    }
}

fn parse(line: &str) -> Option<Transfer> {
    let mut words = line.split(' ');
    let token = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    Some(Transfer { token, from: number()?, to: number()?, amount: number()? })
}

/// What queued; waits for the first one.
fn next_batch(receiver: &Receiver<Transfer>) -> Option<Vec<Transfer>> {
    let mut batch = vec![receiver.recv().ok()?];
    batch.extend(receiver.try_iter().take(TOGETHER - 1));
    Some(batch)
}

/// Serves a batch: answers what is known, runs the rest in one transaction.
fn work(store: &Store, batch: Vec<Transfer>) -> Result<Vec<String>, Box<dyn Error>> {
    let (mut said, mut fresh): (Vec<String>, Vec<(Transfer, Reservation)>) = (Vec::new(), Vec::new());
    for asked in batch {
        let key = store.key("transfers", &asked.token)?;
        let (from, to, amount) = (asked.from.to_string(), asked.to.to_string(), asked.amount.to_string());
        let parameters = Parameters::pairs([("from", &from), ("to", &to), ("amount", &amount)]);
        match store.begin(&key, &parameters)? {
            Answer::Fresh(reservation) => fresh.push((asked, reservation)),
            Answer::Replay(replay) => said.push(answer(&asked, replay.outcome())),
            _ => said.push(format!("busy {}", asked.token)),
        }
    }
    if fresh.is_empty() {
        return Ok(said);
    }
    let transaction = store.transaction()?;
    for (asked, reservation) in fresh {
        let outcome = bank::transfer(&transaction, &asked)?;
        said.push(answer(&asked, &outcome));
        transaction.complete(reservation, outcome)?;
    }
    transaction.commit()?;
    Ok(said)
}

fn answer(asked: &Transfer, outcome: &Outcome) -> String {
    format!("answer {} {}", asked.token, String::from_utf8_lossy(outcome.body()))
}

fn say(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    // Nobody listens any more: then it is about to be killed.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
