//! The clients: each sends one transfer after the other, and each of them again until it is answered.
//!
//! Law: a token names one transfer for ever. A client that heard nothing, since the teller was killed, sends the same line
//! again; now and then one asks again for what was answered already, and has to hear the same.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::bank::{ACCOUNTS, Transfer};

/// An answer that takes longer than this is asked for again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where lines to the teller go; empty while there is none.
#[derive(Default)]
pub(crate) struct Counter {
    teller: Mutex<Option<ChildStdin>>,
    opened: Condvar,
    pub(crate) closing: AtomicBool,
    pub(crate) retried: AtomicU64,
    /// Token and answer of everything that was acknowledged.
    pub(crate) answers: Mutex<BTreeMap<String, String>>,
    /// Answers that were not the first one's.
    pub(crate) contradictions: Mutex<Vec<String>>,
}

/// What a client hears.
pub(crate) enum Heard {
    Answer(String, String),
    Busy,
    /// The teller is no more.
    Gone,
}

impl Counter {
    pub(crate) fn open(&self, teller: Option<ChildStdin>) {
        *self.teller.lock().expect("no client panics") = teller;
        self.opened.notify_all();
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.opened.notify_all();
    }

    /// Sends a line, to the next teller if there is none; `false` at the end of the day.
    fn send(&self, asked: &Transfer) -> bool {
        let line = format!("{} {} {} {}\n", asked.token, asked.from, asked.to, asked.amount);
        let mut teller = self.teller.lock().expect("no client panics");
        while !self.closing.load(Ordering::SeqCst) {
            if let Some(open) = teller.as_mut() {
                // One that was just killed hears nothing, and the client will hear nothing of it.
                let _ = open.write_all(line.as_bytes());
                return true;
            }
            let waited = self.opened.wait_timeout(teller, Duration::from_millis(50));
            teller = waited.expect("no client panics").0;
        }
        false
    }
}

/// Runs until the counter closes.
pub(crate) fn run(client: u64, counter: &Counter, heard: &Receiver<Heard>, chance: &mut Chance) {
    for number in 0_u64.. {
        let (from, step) = (chance.below(ACCOUNTS), 1 + chance.below(ACCOUNTS - 1));
        let amount = 1 + chance.below(400);
        let token = format!("{client}-{number}");
        let asked = Transfer { token, from, to: (from + step) % ACCOUNTS, amount };
        let times = if chance.below(8) == 0 { 2 } else { 1 };
        for _ in 0..times {
            let Some(answer) = insist(&asked, counter, heard) else { return };
            let mut answers = counter.answers.lock().expect("no client panics");
            let first = answers.entry(asked.token.clone()).or_insert_with(|| answer.clone());
            if *first != answer {
                let text = format!("{}: first {first:?}, then {answer:?}", asked.token);
                counter.contradictions.lock().expect("no client panics").push(text);
            }
        }
    }
}

/// Asks until it is answered; `None` at the end of the day.
fn insist(asked: &Transfer, counter: &Counter, heard: &Receiver<Heard>) -> Option<String> {
    loop {
        if !counter.send(asked) {
            return None;
        }
        loop {
            match heard.recv_timeout(PATIENCE) {
                Ok(Heard::Answer(token, answer)) if token == asked.token => return Some(answer),
                // Late, of an earlier request.
                Ok(Heard::Answer(..)) => {}
                Ok(Heard::Busy) => {
                    std::thread::sleep(Duration::from_millis(1));
                    break;
                }
                Ok(Heard::Gone) | Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        counter.retried.fetch_add(1, Ordering::Relaxed);
    }
}

/// A small generator of our own, so that nothing else is needed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % bound
    }
}
