//! A broker of a few lines, and all that real ones do to a message.
//!
//! Law: what was published and not acknowledged is delivered again, some time. Beyond that nothing is promised: a producer that
//! got no answer publishes twice; deliveries come out of order; one that takes long is delivered to somebody else meanwhile; and
//! what a consumer held when it died comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Chance;

/// How far behind its place a message may be delivered.
const WINDOW: usize = 8;
/// Of so many messages one is published twice.
const PUBLISHED_TWICE: u32 = 5;
/// Of so many deliveries one is made again while the first one is being processed.
const DELIVERED_MEANWHILE: u32 = 8;

/// A message. Its payload is JSON, as its producer wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) queue: &'static str,
    pub(crate) id: String,
    pub(crate) amount: u32,
    pub(crate) is_poison: bool,
}

impl Message {
    pub(crate) fn new(queue: &'static str, id: &str, amount: u32, is_poison: bool) -> Self {
        Self { queue, id: id.to_owned(), amount, is_poison }
    }

    /// What is sent. A producer that publishes again may write its members in another order.
    pub(crate) fn payload(&self, turned: bool) -> String {
        let (amount, poison) = (self.amount, self.is_poison);
        if turned {
            format!(r#"{{"poison": {poison}, "amount": {amount}}}"#)
        } else {
            format!(r#"{{"amount":{amount},"poison":{poison}}}"#)
        }
    }
}

/// A message on its way to be processed, until it is acknowledged.
pub(crate) struct Delivery {
    tag: u64,
    pub(crate) message: Arc<Message>,
    pub(crate) payload: String,
}

/// What the broker did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) published: usize,
    pub(crate) delivered: usize,
    /// Deliveries behind one that was published later.
    pub(crate) out_of_order: usize,
    /// Deliveries that were made while an earlier one was being processed.
    pub(crate) meanwhile: usize,
    /// Deliveries that came back, by the consumer's wish or its death.
    pub(crate) returned: usize,
}

pub(crate) struct Broker(Mutex<Inner>);

struct Inner {
    /// With the place in which they were published.
    ready: Vec<(usize, Arc<Message>)>,
    held: BTreeMap<u64, (usize, Arc<Message>)>,
    next_tag: u64,
    newest: usize,
    chance: Chance,
    tally: Tally,
}

impl Broker {
    pub(crate) fn new(chance: Chance) -> Self {
        let (ready, held, tally) = (Vec::new(), BTreeMap::new(), Tally::default());
        Self(Mutex::new(Inner { ready, held, next_tag: 0, newest: 0, chance, tally }))
    }

    pub(crate) fn publish(&self, message: &Message) {
        let mut inner = self.inner();
        let times = if inner.chance.one_in(PUBLISHED_TWICE) { 2 } else { 1 };
        for _ in 0..times {
            inner.tally.published += 1;
            let entry = (inner.tally.published, Arc::new(message.clone()));
            inner.ready.push(entry);
        }
    }

    /// The next delivery, if there is one.
    pub(crate) fn take(&self) -> Option<Delivery> {
        let mut own = self.inner();
        let inner = &mut *own;
        let near = u32::try_from(inner.ready.len().min(WINDOW)).unwrap_or(u32::MAX);
        if near == 0 {
            return None;
        }
        let entry = inner.ready.remove(inner.chance.below(near) as usize);
        if inner.chance.one_in(DELIVERED_MEANWHILE) {
            inner.tally.meanwhile += 1;
            inner.ready.insert(0, entry.clone());
        }
        let (tag, message) = (inner.next_tag, Arc::clone(&entry.1));
        inner.tally.delivered += 1;
        inner.tally.out_of_order += usize::from(entry.0 < inner.newest);
        inner.newest = inner.newest.max(entry.0);
        inner.next_tag += 1;
        inner.held.insert(tag, entry);
        let payload = message.payload(inner.chance.one_in(2));
        Some(Delivery { tag, message, payload })
    }

    /// It was processed, and need not come again.
    pub(crate) fn acknowledge(&self, delivery: &Delivery) {
        self.inner().held.remove(&delivery.tag);
    }

    /// It was not, and shall come again later.
    pub(crate) fn give_back(&self, delivery: &Delivery) {
        let mut inner = self.inner();
        if let Some(entry) = inner.held.remove(&delivery.tag) {
            inner.tally.returned += 1;
            inner.ready.push(entry);
        }
    }

    /// The consumer is dead: all that it held comes again.
    pub(crate) fn take_back(&self) {
        let mut inner = self.inner();
        let held = std::mem::take(&mut inner.held);
        inner.tally.returned += held.len();
        inner.ready.extend(held.into_values());
    }

    /// Whether everything was acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.ready.is_empty() && inner.held.is_empty()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.inner().tally
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
