//! How is a store keyed by token asked whether a token is new, by many callers at the same time?
//!
//! As one would write it with care: tokens in flight stand in a concurrent table in memory, finished ones in the
//! engine. Reserve, look, and if the token is new hand its record to the one writer, which commits everything that
//! queued in one durable transaction. The engine shows a record to lookups before its caller is answered.

use std::ops::Range;
use std::sync::Arc;

use dashmap::{DashMap, Entry};

use crate::contender::{Kind, Peer};
use crate::fill::token;
use crate::handover::{Known, Record, Writer};
use crate::work::{Ask, outcome_of};

/// Records of one transaction of a bulk fill.
const FILL_PART: u64 = 250_000;

/// A store keyed by token.
pub(crate) trait Engine: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    fn get(&self, token: &str) -> Option<Vec<u8>>;
    /// Returns once all are durable, and seen by [`Engine::get`].
    fn commit(&self, records: &[Record]);
}

pub(crate) struct Batched<E> {
    engine: Arc<E>,
    reserved: DashMap<String, ()>,
    writer: Writer,
}

impl<E: Engine> Batched<E> {
    pub(crate) fn new(engine: E) -> Self {
        let engine = Arc::new(engine);
        let committing = Arc::clone(&engine);
        let writer = Writer::start(move |records| {
            committing.commit(records);
            Known::new()
        });
        Self { engine, reserved: DashMap::new(), writer }
    }

    pub(crate) fn engine(&self) -> &E {
        &self.engine
    }
}

impl<E: Engine> Peer for Batched<E> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        match self.reserved.entry(ask.token.clone()) {
            Entry::Occupied(_) => panic!("no two callers have one token"),
            Entry::Vacant(seat) => drop(seat.insert(())),
        }
        let known = self.engine.get(&ask.token);
        if known.is_none() {
            self.writer.write(Record { token: ask.token.clone(), outcome: outcome_of(&ask.token) }).await;
        }
        self.reserved.remove(&ask.token);
        known
    }

    fn fill(&self, numbers: Range<u64>) {
        let parts = numbers.clone().step_by(usize::try_from(FILL_PART).expect("it is small"));
        for first in parts {
            let mut tokens: Vec<String> = (first..numbers.end.min(first + FILL_PART)).map(token).collect();
            tokens.sort_unstable();
            let record = |token: String| Record { outcome: outcome_of(&token), token };
            self.engine.commit(&tokens.into_iter().map(record).collect::<Vec<_>>());
        }
    }

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        self.engine.get(token)
    }
}
