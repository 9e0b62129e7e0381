//! A consumer of messages whose broker delivers at least once, out of order, twice, and again after every crash: each message
//! takes effect once.
//!
//! Goal: show what "exactly once" comes down to where it is honest: *delivery* is at least once, and the *effect* happens once.
//! `cargo run --release --example consumer -- --messages 600 --seed 1` (both may be left out) publishes messages, crashes the
//! consumer again and again, and says at the end what was delivered, and what came of it.
//!
//! Law: a message's key is (queue, message id), its parameters are its payload. It is acknowledged only once its outcome is on
//! disk. The start is on disk too, so that after a crash in the middle the key is *interrupted*, and the next delivery resumes it.
//! What a crash between effect and outcome leaves is the effect's to recognise, by a token that is made from the key.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `consumer` | a delivery's walk, and where it dies: copy from it |
//! | `broker` | the queues, and all that they do to a message |
//! | `ledger` | where the effects are, on the other side |
//! | `verdict` | what has to hold at the end |

mod broker;
mod consumer;
mod ledger;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use broker::{Broker, Message};
use consumer::Consumer;
use ledger::Ledger;
use verdict::Verdict;

const MESSAGES_DEFAULT: u32 = 600;
const USAGE: &str = "usage: consumer [--messages N] [--seed N]";
/// The same ids stand in each of them: they are apart by their queue.
const QUEUES: [&str; 3] = ["payments", "refunds", "transfers"];
/// Of so many messages one has a producer that used its id again, for another payload.
const REUSED_EVERY: u32 = 20;
/// Of so many messages one can never be processed.
const POISON_EVERY: u32 = 50;

/// A small generator of our own, so that a run needs nothing else.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        u32::try_from(self.0 >> 33).unwrap_or_default() % bound
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }
}

/// Everything that will be published: each message, and for some ids another one that has no right to it.
fn messages(count: u32) -> Vec<Message> {
    let mut all = Vec::new();
    for number in 0..count {
        let queue = QUEUES[number as usize % QUEUES.len()];
        let id = format!("message-{}", number as usize / QUEUES.len());
        let poison = number % POISON_EVERY == POISON_EVERY - 1;
        all.push(Message::new(queue, &id, number, poison));
        if number % REUSED_EVERY == 0 && !poison {
            all.push(Message::new(queue, &id, number + 1_000_000, false));
        }
    }
    all
}

/// Publishes, consumes with crashes until nothing is left, and gives the verdict.
fn run(directory: &Path, count: u32, seed: u64) -> oncekey::Result<Verdict> {
    let (broker, ledger) = (Broker::new(Chance(seed)), Ledger::default());
    let published = messages(count);
    for message in &published {
        broker.publish(message);
    }
    let (mut lives, mut shown) = (0, 0);
    let consumer = Consumer::new(&broker, &ledger, Chance(seed ^ 0xC0));
    while !broker.is_empty() {
        lives += 1;
        // A process, from its start to its crash. What it had not acknowledged goes back to its queue.
        consumer.live(directory)?;
        broker.take_back();
        let tenths = ledger.effects() * 10 / count as usize;
        if tenths > shown {
            shown = tenths;
            let (delivered, crashes) = (broker.tally().delivered, consumer.tally().crashes());
            println!("  {delivered:>6} delivered, {:>6} effects, {crashes:>4} crashes", ledger.effects());
        }
    }
    Verdict::of(directory, &published, lives, &broker, &ledger, &consumer)
}

fn main() -> ExitCode {
    let (mut count, mut seed) = (MESSAGES_DEFAULT, u64::from(std::process::id()));
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|own| own.parse::<u32>().ok());
        match (name.as_str(), value) {
            ("--messages", Some(value)) => count = value,
            ("--seed", Some(value)) => seed = value.into(),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    println!("{count} messages in {} queues, seed {seed}", QUEUES.len());
    let directory = tempfile::tempdir().expect("a directory");
    let verdict = match run(directory.path(), count, seed) {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("consumer: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{verdict}");
    match verdict.wrong() {
        None => {
            println!("verdict: OK. Each message took effect once");
            ExitCode::SUCCESS
        }
        Some(wrong) => {
            println!("verdict: FAILED. {wrong}; again with --messages {count} --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_takes_effect_once_however_often_it_is_delivered_and_wherever_the_consumer_dies() {
        let verdicts = (1..=3).map(|seed| {
            let directory = tempfile::tempdir().expect("a directory");
            let verdict = run(directory.path(), 120, seed).expect("the store opens after each crash");
            println!("{verdict}");
            assert_eq!(verdict.wrong(), None, "seed {seed}");
            verdict
        });
        let hard = verdicts.filter(Verdict::is_hard).count();
        assert!(hard > 0, "no run met everything that it is to show");
    }

    #[test]
    fn a_verdict_tells_what_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        let sound = run(directory.path(), 100, 1).expect("a run");
        assert_eq!(sound.wrong(), None);
        let spoils: [fn(&mut Verdict); 5] = [
            |own| own.effects += 1,
            |own| own.asked_again = own.after_effect + 1,
            |own| own.mismatched -= 1,
            |own| own.given_up -= 1,
            |own| own.unfinished += 1,
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            let mut wrong = sound.clone();
            spoil(&mut wrong);
            assert!(wrong.wrong().is_some(), "number {number}");
        }
    }
}
