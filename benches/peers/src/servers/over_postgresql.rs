//! What does the store over `PostgreSQL` cost beside the engine itself? The same rows (a claim, then its end and a record in the
//! same moment), written three ways into one server of the default durability:
//!
//! | contender | how |
//! | --- | --- |
//! | oncekey over PostgreSQL | as a user calls it: two parameters digested, records sealed, answers judged |
//! | rows in batches | the engine's best rate, by hand: two stages behind one another, each one statement for all that queued |
//! | a statement a token | two statements for each token, on as many connections as there are callers, 16 at most |
//!
//! With one in flight the last one is the bare statements. Nothing is retried here, since a raw row answers nobody.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use oncekey::distributed::{Answer, Postgres, Store};
use oncekey::{Known as Kept, Outcome};
use postgres::{Client, NoTls, Statement};

use super::postgresql::Process;
use crate::contender::{Contender, Kind, Peer};
use crate::fill::{SCOPE, parameters};
use crate::form::Form;
use crate::handover::{Known, Record, Writer};
use crate::report::title;
use crate::results::Results;
use crate::series::Series;
use crate::work::{Ask, outcome_of, plan};

/// Connections of those who send a statement a token.
const CONNECTIONS_MAX: usize = 16;
/// As long as oncekey's rows of such an outcome: a claim's, and a record's.
const STARTED_BYTES: usize = 131;
const RECORD_BYTES: usize = 331;
const TABLES: &str = "
    CREATE TABLE claims (key bytea PRIMARY KEY, fence bigint NOT NULL, standing smallint NOT NULL,
        lease_ends bigint NOT NULL, mark bigint, started bytea NOT NULL);
    CREATE TABLE records (key bytea, fence bigint NOT NULL, expires bigint, record bytea NOT NULL,
        PRIMARY KEY (key, expires))";
const CLAIM: &str = "INSERT INTO claims SELECT key, 1, 0::smallint, 9, NULL, started
    FROM unnest($1::bytea[], $2::bytea[]) AS a(key, started) ON CONFLICT DO NOTHING";
const COMPLETE: &str = "WITH a AS (SELECT * FROM unnest($1::bytea[], $2::bytea[]) AS a(key, record)),
    held AS (DELETE FROM claims c USING a WHERE c.key = a.key AND c.fence = 1 RETURNING c.key)
    INSERT INTO records SELECT a.key, 1, 9, a.record FROM a JOIN held USING (key)";

/// A connection with both statements.
struct Rows {
    client: Client,
    claim: Statement,
    complete: Statement,
}

impl Rows {
    fn connect(process: &Process) -> Self {
        let mut client = Client::connect(&process.address(), NoTls).expect("the server works");
        client.execute("SET search_path TO rows", &[]).expect("the server works");
        let (claim, complete) = (client.prepare(CLAIM), client.prepare(COMPLETE));
        Self { client, claim: claim.expect("it is SQL"), complete: complete.expect("it is SQL") }
    }

    fn claim(&mut self, records: &[Record]) {
        self.write(&self.claim.clone(), records, STARTED_BYTES);
    }

    fn complete(&mut self, records: &[Record]) {
        self.write(&self.complete.clone(), records, RECORD_BYTES);
    }

    fn write(&mut self, statement: &Statement, records: &[Record], bytes: usize) {
        let keys: Vec<&[u8]> = records.iter().map(|own| own.token.as_bytes()).collect();
        let rows: Vec<Vec<u8>> =
            records.iter().map(|own| own.outcome.iter().copied().cycle().take(bytes).collect()).collect();
        self.client.execute(statement, &[&keys, &rows]).expect("the server works");
    }
}

fn record(token: &str) -> Record {
    Record { token: token.to_owned(), outcome: outcome_of(token) }
}

/// By hand, in two stages behind one another.
struct InBatches {
    claims: Writer,
    completions: Writer,
}

impl InBatches {
    fn start(process: &Process) -> Self {
        let [mut first, mut second] = [(); 2].map(|()| Rows::connect(process));
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

/// Two statements for each token.
struct OneByOne {
    writers: Vec<Writer>,
    next: AtomicUsize,
}

impl OneByOne {
    fn start(process: &Process) -> Self {
        let start = |_| {
            let mut rows = Rows::connect(process);
            Writer::start(move |records| {
                for record in records.chunks(1) {
                    rows.claim(record);
                    rows.complete(record);
                }
                Known::new()
            })
        };
        Self { writers: (0..CONNECTIONS_MAX).map(start).collect(), next: AtomicUsize::new(0) }
    }
}

struct Ours(Store);

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
raw!(OneByOne, "a statement a token", |own, record| {
    let next = own.next.fetch_add(1, Ordering::Relaxed) % own.writers.len();
    own.writers[next].write(record()).await
});

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "oncekey over PostgreSQL"
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        let key = self.0.key(SCOPE, &ask.token).expect("a sound token");
        match self.0.begin_async(&key, &parameters()).await.expect("the server works") {
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
        match self.0.get(&self.0.key(SCOPE, token).expect("a sound token")).expect("the server works") {
            Kept::Finished(replay) => Some(replay.outcome().body().to_vec()),
            _ => None,
        }
    }
}

/// The part: rates at 1, 64 and 512 in flight, and at 1 the time of an operation.
pub(crate) fn compare(form: Form, home: &Path, results: &mut Results) {
    let mut process = match Process::start(home) {
        Ok(process) => process,
        Err(why) => return eprintln!("\n!!! THE ENGINES ARE LEFT OUT: {why} !!!\n"),
    };
    let mut client = process.client().expect("the server starts");
    client
        .batch_execute(&format!("CREATE SCHEMA rows; SET search_path TO rows; {TABLES}"))
        .expect("it is SQL");
    let engine = Postgres::at(&process.address()).expect("it is an address");
    let ours = Ours(oncekey::Store::builder().connect(engine).expect("the server works"));
    let (batches, singles) = (InBatches::start(&process), OneByOne::start(&process));
    let field: [&dyn Contender; 3] = [&ours, &batches, &singles];
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
            &format!("{in_flight} in flight over PostgreSQL: claims and completions"),
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
                results.figure("postgres_512_vs_batches", &rates[0].over(&rates[1]), "512 in flight");
                results.figure("postgres_512_vs_singles", &rates[0].over(&rates[2]), "512 in flight");
            }
            1 => {
                let note = "1 in flight, medians of a round's operations, beside the bare statements";
                results.figure("postgres_1_latency", &p50[0].over(&p50[2]), note);
            }
            _ => results.beside(
                &format!("over PostgreSQL / rows in batches, {in_flight} in flight"),
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
