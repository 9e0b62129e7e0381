//! What does the store over an engine cost beside the engine itself? The same rows (a claim, then its end and a record in the
//! same moment), written three ways into one server of the default durability:
//!
//! | contender | how |
//! | --- | --- |
//! | oncekey | as a user calls it: two parameters digested, records sealed, answers judged |
//! | rows in batches | the engine's best rate, by hand: two stages behind one another, each one dialogue for all that queued |
//! | one by one | two dialogues for each token, of 16 callers at most |
//!
//! With one in flight the last one is the bare engine. Nothing is retried here, since a raw row answers nobody.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use oncekey::distributed::{Answer, Store};
use oncekey::{Known as Kept, Outcome};

use crate::contender::{Contender, Kind, Peer};
use crate::fill::{SCOPE, parameters};
use crate::form::Form;
use crate::handover::{Known, Record, Writer};
use crate::report::title;
use crate::results::Results;
use crate::series::Series;
use crate::work::{Ask, outcome_of, plan};

/// Those who write one by one.
pub(super) const WRITERS_MAX: usize = 16;
/// As long as oncekey's rows of such an outcome: a claim's, and a record's.
pub(super) const STARTED_BYTES: usize = 131;
pub(super) const RECORD_BYTES: usize = 331;

/// A connection that writes the rows by hand.
pub(super) trait Rows: Send + 'static {
    fn claim(&mut self, records: &[Record]);
    fn complete(&mut self, records: &[Record]);
}

/// Bytes of a row of this length.
pub(super) fn bytes(record: &Record, length: usize) -> Vec<u8> {
    record.outcome.iter().copied().cycle().take(length).collect()
}

fn record(token: &str) -> Record {
    Record { token: token.to_owned(), outcome: outcome_of(token) }
}

/// By hand, in two stages behind one another.
pub(super) struct InBatches {
    claims: Writer,
    completions: Writer,
}

impl InBatches {
    pub(super) fn start(mut rows: impl FnMut() -> Box<dyn Rows>) -> Self {
        let (mut first, mut second) = (rows(), rows());
        Self {
            claims: Writer::start(move |records| {
                first.claim(records);
                Known::new()
            }),
            completions: Writer::start(move |records| {
                second.complete(records);
                Known::new()
            }),
        }
    }
}

/// Two dialogues for each token.
pub(super) struct OneByOne {
    writers: Vec<Writer>,
    next: AtomicUsize,
}

impl OneByOne {
    pub(super) fn start(mut rows: impl FnMut() -> Box<dyn Rows>) -> Self {
        let start = |_| {
            let mut rows = rows();
            Writer::start(move |records| {
                for record in records.chunks(1) {
                    rows.claim(record);
                    rows.complete(record);
                }
                Known::new()
            })
        };
        Self { writers: (0..WRITERS_MAX).map(start).collect(), next: AtomicUsize::new(0) }
    }
}

pub(super) struct Ours {
    pub(super) store: Store,
    pub(super) name: &'static str,
}

macro_rules! raw {
    ($kind:ty, $name:literal, |$own:ident, $record:ident| $write:expr) => {
        impl Peer for $kind {
            fn name(&self) -> &'static str {
                $name
            }

            fn kind(&self) -> Kind {
                Kind::FileLimit
            }

            async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
                let ($own, $record) = (self, || record(&ask.token));
                $write;
                None
            }

            fn fill(&self, _: Range<u64>) {}

            fn look_up(&self, _: &str) -> Option<Vec<u8>> {
                None
            }
        }
    };
}

raw!(InBatches, "rows in batches", |own, record| {
    own.claims.write(record()).await;
    own.completions.write(record()).await
});
raw!(OneByOne, "one by one", |own, record| {
    let next = own.next.fetch_add(1, Ordering::Relaxed) % own.writers.len();
    own.writers[next].write(record()).await
});

impl Peer for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        let key = self.store.key(SCOPE, &ask.token).expect("a sound token");
        match self.store.begin_async(&key, &parameters()).await.expect("the server works") {
            Answer::Fresh(reservation) => {
                let outcome = Outcome::new(outcome_of(&ask.token));
                reservation.complete_async(outcome).await.expect("the server works");
                None
            }
            Answer::Replay(replay) => Some(replay.outcome().body().to_vec()),
            other => panic!("no two callers have one token: {other:?}"),
        }
    }

    fn fill(&self, _: Range<u64>) {}

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        match self.store.get(&self.store.key(SCOPE, token).expect("a sound token")).expect("the server works")
        {
            Kept::Finished(replay) => Some(replay.outcome().body().to_vec()),
            _ => None,
        }
    }
}

/// The part: rates at 1, 64 and 512 in flight, and at 1 the time of an operation; their figures' names.
pub(super) fn compare(
    form: Form,
    (ours, batches, singles): (&Ours, &InBatches, &OneByOne),
    ids: [&str; 3],
    results: &mut Results,
) {
    let field: [&dyn Contender; 3] = [ours, batches, singles];
    for in_flight in [1, 64, 512] {
        let (mut rates, mut p50) = ([(); 3].map(|()| Series::default()), [(); 3].map(|()| Series::default()));
        let steps = field.map(|own| steps(form, own, in_flight));
        for round in 0..form.rounds() {
            for place in 0..field.len() {
                let at = (round + place) % field.len();
                let turn = field[at].turn(&plan(in_flight, steps[at], &[]));
                rates[at].push(turn.rate);
                p50[at].push(turn.per_mille(500));
            }
        }
        title(
            &format!("{in_flight} in flight, {}: claims and completions", ours.name),
            &["tokens/s", "spread", "p50 us"],
        );
        for (own, (rate, p50)) in field.iter().zip(rates.iter().zip(&p50)) {
            let row = [
                format!("{:.0}", rate.median()),
                format!("{:.0} %", 100.0 * rate.spread()),
                format!("{:.0}", p50.median() / 1e3),
            ];
            crate::report::line(own.name(), &row, "");
        }
        match in_flight {
            512 => {
                results.figure(ids[0], &rates[0].over(&rates[1]), "512 in flight");
                results.figure(ids[1], &rates[0].over(&rates[2]), "512 in flight");
            }
            1 => {
                let note = "1 in flight, medians of a round's operations, beside the bare engine";
                results.figure(ids[2], &p50[0].over(&p50[2]), note);
            }
            _ => results.beside(
                &format!("{} / rows in batches, {in_flight} in flight", ours.name),
                &rates[0].over(&rates[1]),
                "times its rate",
                "claims and completions",
            ),
        }
    }
}

/// How many asks of each caller fill a turn.
fn steps(form: Form, contender: &dyn Contender, in_flight: usize) -> usize {
    let mut steps = 4;
    for _ in 0..2 {
        let rate = contender.turn(&plan(in_flight, steps, &[])).rate;
        let asks = (rate * form.turn().as_secs_f64()).min(1e6);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a million")]
        let each = (asks / crate::report::float(in_flight as u64)) as usize;
        steps = each.max(4);
    }
    steps
}
