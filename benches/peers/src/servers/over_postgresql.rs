//! The store over `PostgreSQL`, beside the same rows written into it by hand ([`super::over`]).

use std::path::Path;

use oncekey::distributed::Postgres;
use postgres::{Client, NoTls, Statement};

use super::over::{InBatches, OneByOne, Ours, RECORD_BYTES, Rows, STARTED_BYTES, bytes};
use super::postgresql::Process;
use crate::form::Form;
use crate::handover::Record;
use crate::results::Results;

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
struct Statements {
    client: Client,
    claim: Statement,
    complete: Statement,
}

impl Statements {
    fn connect(process: &Process) -> Self {
        let mut client = Client::connect(&process.address(), NoTls).expect("the server works");
        client.execute("SET search_path TO rows", &[]).expect("the server works");
        let (claim, complete) = (client.prepare(CLAIM), client.prepare(COMPLETE));
        Self { client, claim: claim.expect("it is SQL"), complete: complete.expect("it is SQL") }
    }

    fn write(&mut self, statement: &Statement, records: &[Record], length: usize) {
        let keys: Vec<&[u8]> = records.iter().map(|own| own.token.as_bytes()).collect();
        let rows: Vec<Vec<u8>> = records.iter().map(|own| bytes(own, length)).collect();
        self.client.execute(statement, &[&keys, &rows]).expect("the server works");
    }
}

impl Rows for Statements {
    fn claim(&mut self, records: &[Record]) {
        self.write(&self.claim.clone(), records, STARTED_BYTES);
    }

    fn complete(&mut self, records: &[Record]) {
        self.write(&self.complete.clone(), records, RECORD_BYTES);
    }
}

pub(crate) fn compare(form: Form, home: &Path, results: &mut Results) {
    let mut process = match Process::start(home) {
        Ok(process) => process,
        Err(why) => return eprintln!("\n!!! POSTGRESQL IS LEFT OUT: {why} !!!\n"),
    };
    let mut client = process.client().expect("the server starts");
    client
        .batch_execute(&format!("CREATE SCHEMA rows; SET search_path TO rows; {TABLES}"))
        .expect("it is SQL");
    let engine = Postgres::at(&process.address()).expect("it is an address");
    let store = oncekey::Store::builder().connect(engine).expect("the server works");
    let ours = Ours { store, name: "oncekey over PostgreSQL" };
    let rows = || Box::new(Statements::connect(&process)) as Box<dyn Rows>;
    let (batches, singles) = (InBatches::start(rows), OneByOne::start(rows));
    let ids = ["postgres_512_vs_batches", "postgres_512_vs_singles", "postgres_1_latency"];
    super::over::compare(form, (&ours, &batches, &singles), ids, results);
}
