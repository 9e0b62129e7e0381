//! What does it cost to make a completion durable, beside the store that one would write first, and beside the
//! least that a disk can be asked for?
//!
//! | contender | begin | complete |
//! | --- | --- | --- |
//! | `oncekey` | `Store::begin` with two pairs | `complete_async`, 200 bytes |
//! | `naive` | a look into a redb table keyed by token | one redb transaction per token, one after the other |
//! | `plain` | nothing | the record's bytes, appended and fdatasynced by one thread, all that queued at once |
//!
//! `plain` is handed its bytes as oncekey's writer is: a channel, and an event for each caller. It keeps no index,
//! compares no digest, finds nothing again: it is the limit. `naive` has one caller, since its callers are
//! serialised anyway and more of them would only slow it down.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use event_listener::Event;
use oncekey::Store;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::support::callers::at_once;
use crate::support::fill::{OUTCOME, SCOPE, complete};

/// What oncekey lays down for one of these completions: head, key, outcome, fingerprints.
const RECORD_BYTES: usize = 84 + 2 + SCOPE.len() + 36 + OUTCOME.len() + 24;
const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("tokens");

/// One way to complete tokens durably.
pub(crate) trait Contender {
    fn name(&self) -> &'static str;
    /// Begins and completes every token once, `in_flight` at a time; how long that took.
    fn complete(&self, tokens: &[String], in_flight: usize) -> Duration;
}

/// Tokens of one caller among `in_flight`.
fn share(tokens: &[String], in_flight: usize, caller: usize) -> &[String] {
    let each = tokens.len() / in_flight;
    &tokens[caller * each..(caller + 1) * each]
}

impl Contender for Store {
    fn name(&self) -> &'static str {
        "oncekey"
    }

    fn complete(&self, tokens: &[String], in_flight: usize) -> Duration {
        let start = Instant::now();
        at_once(in_flight, async |caller| {
            for token in share(tokens, in_flight, caller) {
                complete(self, token, false).await;
            }
        });
        start.elapsed()
    }
}

/// The same store as one would write it first: one redb transaction per token.
pub(crate) struct Naive(Database);

impl Naive {
    pub(crate) fn create(home: &Path) -> Self {
        let database = Database::create(home.join("naive.redb")).expect("the disk works");
        let transaction = database.begin_write().expect("a fresh database");
        transaction.open_table(TABLE).expect("a fresh database");
        transaction.commit().expect("the disk works");
        Self(database)
    }

    fn complete_one(&self, token: &str) -> Result<(), redb::Error> {
        let known = self.0.begin_read()?.open_table(TABLE)?.get(token)?.is_some();
        assert!(!known, "a token never seen is fresh");
        let transaction = self.0.begin_write()?;
        transaction.open_table(TABLE)?.insert(token, &[0; RECORD_BYTES][..])?;
        Ok(transaction.commit()?)
    }
}

impl Contender for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn complete(&self, tokens: &[String], _in_flight: usize) -> Duration {
        let start = Instant::now();
        for token in tokens {
            self.complete_one(token).expect("the disk works");
        }
        start.elapsed()
    }
}

/// The limit: a file, appended and synced.
pub(crate) struct Plain(Sender<Append>);

struct Append {
    bytes: Vec<u8>,
    done: Arc<Done>,
}

#[derive(Default)]
struct Done {
    flag: AtomicBool,
    event: Event,
}

impl Plain {
    pub(crate) fn create(home: &Path) -> Self {
        let file = File::create_new(home.join("plain.log")).expect("the disk works");
        let (queue, jobs) = unbounded();
        thread::spawn(move || append_all(file, &jobs));
        Self(queue)
    }

    async fn append(&self, token: &str) {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend_from_slice(token.as_bytes());
        bytes.extend_from_slice(&OUTCOME);
        bytes.resize(RECORD_BYTES, 0);
        let done = Arc::<Done>::default();
        let mut listener = done.event.listen();
        self.0.send(Append { bytes, done: Arc::clone(&done) }).expect("the writer lives as long as this");
        while !done.flag.load(Ordering::Acquire) {
            listener.await;
            listener = done.event.listen();
        }
    }
}

impl Contender for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn complete(&self, tokens: &[String], in_flight: usize) -> Duration {
        let start = Instant::now();
        at_once(in_flight, async |caller| {
            for token in share(tokens, in_flight, caller) {
                self.append(token).await;
            }
        });
        start.elapsed()
    }
}

/// The writer of the plain file: whatever queued while the last sync ran goes into the next one.
fn append_all(mut file: File, jobs: &Receiver<Append>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<Append> = std::iter::once(first).chain(jobs.try_iter()).collect();
        let bytes: Vec<u8> = group.iter().flat_map(|job| job.bytes.iter().copied()).collect();
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk works");
        for job in group {
            job.done.flag.store(true, Ordering::Release);
            job.done.event.notify(usize::MAX);
        }
    }
}
