//! The crate `idempotent`, its store in memory: one task of a tokio runtime owns a hash table, every call is a message
//! to it. Nothing is durable, so that it stands beside the memory limit and not among the peers.

use std::ops::Range;
use std::time::Duration;

use idempotent::entry::ExistingEntry;
use idempotent::fingerprint::{DefaultFingerprintStrategy, FingerprintStrategy};
use idempotent::store::memory::MemoryStore;
use idempotent::store::{IdempotencyStore, InsertResult};
use idempotent::{CachedResponse, IdempotencyEntry, IdempotencyKey, Metadata};
use tokio::runtime::{Builder, Runtime};

use crate::callers::{as_tasks, block_on};
use crate::contender::{Kind, Peer};
use crate::fill::token;
use crate::work::{Ask, outcome_of};

/// Messages that wait for its task, at most: as many as there are callers.
const MESSAGES_MAX: usize = 4096;
const DAY: Duration = Duration::from_hours(24);
/// Callers of a fill.
const FILLERS: usize = 256;

pub(crate) struct InMemory {
    store: MemoryStore,
    /// Where its task runs: one thread, ended with this.
    _runtime: Runtime,
}

impl InMemory {
    pub(crate) fn create() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.expect("a thread can be started");
        let store = {
            let _inside = runtime.enter();
            MemoryStore::new(MESSAGES_MAX, DAY)
        };
        Self { store, _runtime: runtime }
    }

    async fn complete(&self, token: &str) -> Option<Vec<u8>> {
        let key = IdempotencyKey::new(token).expect("a sound token");
        let fingerprint = DefaultFingerprintStrategy.compute("POST /groups", b"MinSize=1&MaxSize=3");
        let entry = IdempotencyEntry::new(fingerprint, DAY);
        match self.store.try_insert(&key, entry.clone()).await.expect("memory does not fail") {
            InsertResult::Claimed { fencing_token } => {
                let body = outcome_of(token).into();
                let response = CachedResponse { status_code: 200, metadata: Metadata::default(), body };
                let completed = entry.complete(response);
                self.store.complete(&key, completed, fencing_token).await.expect("memory does not fail");
                None
            }
            InsertResult::Exists(ExistingEntry::Completed(entry)) => {
                assert!(entry.fingerprint_matches(fingerprint), "all are asked with the same");
                Some(entry.response().body.to_vec())
            }
            InsertResult::Exists(ExistingEntry::Processing(_)) => panic!("no two callers have one token"),
        }
    }
}

impl Peer for InMemory {
    fn name(&self) -> &'static str {
        "idempotent (memory)"
    }

    fn kind(&self) -> Kind {
        Kind::MemoryOnly
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        self.complete(&ask.token).await
    }

    fn fill(&self, numbers: Range<u64>) {
        as_tasks(FILLERS, async |caller| {
            for number in numbers.clone().skip(caller).step_by(FILLERS) {
                self.complete(&token(number)).await;
            }
        });
    }

    /// It has no lookup but the one that claims.
    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        let mut known = None;
        block_on(async { known = self.complete(token).await });
        known
    }
}
