//! What has to hold at the end, and what was met on the way.
//!
//! Law: everything is counted on the other side (the ledger, the broker) and held against what was published; the consumer's
//! word alone proves nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use oncekey::{Known, Store};

use crate::broker::{self, Broker, Message};
use crate::consumer::{self, ATTEMPTS_MAX, Consumer, token};
use crate::ledger::Ledger;

#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    lives: usize,
    broker: broker::Tally,
    consumer: consumer::Tally,
    /// Messages with an id of their own.
    distinct: usize,
    poison: usize,
    /// Messages that were published under an id that another one had.
    reused: usize,
    pub(crate) effects: usize,
    /// How often the ledger was asked for an effect that it had; at most as often as a process died behind one.
    pub(crate) asked_again: usize,
    pub(crate) after_effect: usize,
    pub(crate) mismatched: usize,
    /// Poison messages that were given up after just as many attempts as they have.
    pub(crate) given_up: usize,
    /// Messages whose key has no outcome, or whose effect is none that was asked for.
    pub(crate) unfinished: usize,
}

impl Verdict {
    pub(crate) fn of(
        directory: &Path,
        published: &[Message],
        lives: usize,
        broker: &Broker,
        ledger: &Ledger,
        consumer: &Consumer<'_>,
    ) -> oncekey::Result<Self> {
        let store = Store::open(directory.join("tokens"))?;
        let names: BTreeSet<_> = published.iter().map(|own| (own.queue, own.id.as_str())).collect();
        let poison: BTreeSet<_> =
            published.iter().filter(|own| own.is_poison).map(|own| (own.queue, own.id.as_str())).collect();
        let (mut given_up, mut unfinished) = (0, store.interrupted().count());
        for (queue, id) in &names {
            let key = store.key(queue, id)?;
            let booked = ledger.amount(&token(&key));
            let is_asked = |own: &Message| own.queue == *queue && own.id == *id && Some(own.amount) == booked;
            match store.get(&key)? {
                Known::Finished(replay) if poison.contains(&(*queue, *id)) => {
                    given_up += usize::from(replay.attempts() == ATTEMPTS_MAX && booked.is_none());
                }
                Known::Finished(_) if published.iter().any(is_asked) => {}
                _ => unfinished += 1,
            }
        }
        let met = consumer.tally();
        Ok(Self {
            lives,
            broker: broker.tally(),
            distinct: names.len(),
            poison: poison.len(),
            reused: published.len() - names.len(),
            effects: ledger.effects(),
            asked_again: ledger.asked_again(),
            after_effect: met.after_effect(),
            mismatched: met.set_aside.len(),
            consumer: met,
            given_up,
            unfinished,
        })
    }

    /// What does not hold.
    pub(crate) fn wrong(&self) -> Option<String> {
        let expected = self.distinct - self.poison;
        let rules = [
            (self.effects == expected, format!("{} effects of {expected} messages", self.effects)),
            (
                self.asked_again <= self.after_effect,
                format!("{} effects asked for again, {} deaths", self.asked_again, self.after_effect),
            ),
            (
                self.mismatched == self.reused,
                format!("{} set aside of {} with a used id", self.mismatched, self.reused),
            ),
            (self.given_up == self.poison, format!("{} given up of {} poison", self.given_up, self.poison)),
            (self.unfinished == 0, format!("{} without an outcome, or with another's", self.unfinished)),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, wrong)| wrong)
    }

    /// Whether the run met everything that it is to show.
    #[cfg(test)]
    pub(crate) fn is_hard(&self) -> bool {
        let (broker, met) = (&self.broker, &self.consumer);
        broker.out_of_order > 0
            && broker.meanwhile > 0
            && broker.returned > 0
            && met.replayed > 0
            && met.retried > 0
            && self.after_effect > 0
            && self.asked_again > 0
            && met.resumed > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (broker, met) = (&self.broker, &self.consumer);
        writeln!(
            f,
            "published  {:>6}, of which {} twice by their producers, and {} under a used id",
            broker.published,
            broker.published - self.distinct - self.reused,
            self.reused
        )?;
        writeln!(
            f,
            "delivered  {:>6}: {} out of order, {} while one before was being processed, {} that came back",
            broker.delivered, broker.out_of_order, broker.meanwhile, broker.returned
        )?;
        writeln!(
            f,
            "crashes    {:>6} in {} lives, {} of them between effect and outcome; {} attempts resumed",
            met.crashes(),
            self.lives,
            self.after_effect,
            met.resumed
        )?;
        writeln!(
            f,
            "answered   {:>6} by running, {} replayed, {} in flight, {} to be retried",
            met.ran, met.replayed, met.in_flight, met.retried
        )?;
        writeln!(
            f,
            "effects    {:>6} of {} distinct messages, {} of which are poison; {} asked for again",
            self.effects, self.distinct, self.poison, self.asked_again
        )?;
        write!(
            f,
            "mismatches {:>6} messages set aside; {} poison messages given up after {ATTEMPTS_MAX} attempts",
            self.mismatched, self.given_up
        )
    }
}
