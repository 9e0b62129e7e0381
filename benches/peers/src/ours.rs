//! oncekey, as a user calls it: a durable store with its default settings, one scope, two parameters digested at each
//! call.

use std::ops::Range;
use std::path::Path;

use oncekey::{Answer, Known, Outcome, Store};

use crate::callers::as_tasks;
use crate::contender::{Kind, Peer};
use crate::fill::{SCOPE, parameters, token};
use crate::work::{Ask, outcome_of};

/// Callers of one filling thread.
const FILLERS: u64 = 256;

pub(crate) struct Ours(Store);

impl Ours {
    pub(crate) fn create(home: &Path) -> Self {
        Self(Store::open(home.join("oncekey")).expect("a new store"))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0
    }

    /// Completes the token, durably or soon durable; or what is kept for it.
    async fn complete(&self, token: &str, relaxed: bool) -> Option<Vec<u8>> {
        let key = self.0.key(SCOPE, token).expect("a sound token");
        let parameters = parameters();
        let request = self.0.request(&key, &parameters);
        let request = if relaxed { request.relaxed() } else { request };
        match request.begin().expect("the disk works") {
            Answer::Fresh(reservation) => {
                reservation.complete_async(Outcome::new(outcome_of(token))).await.expect("the disk works");
                None
            }
            Answer::Replay(replay) => Some(replay.outcome().body().to_vec()),
            other => panic!("no two callers have one token: {other:?}"),
        }
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "oncekey"
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        self.complete(&ask.token, false).await
    }

    fn fill(&self, numbers: Range<u64>) {
        let middle = numbers.start.midpoint(numbers.end);
        std::thread::scope(|scope| {
            for part in [numbers.start..middle, middle..numbers.end] {
                scope.spawn(move || {
                    as_tasks(usize::try_from(FILLERS).expect("it is small"), async |caller| {
                        let step = usize::try_from(FILLERS).expect("it is small");
                        for number in part.clone().skip(caller).step_by(step) {
                            self.complete(&token(number), true).await;
                        }
                    });
                });
            }
        });
        self.0.flush().expect("the disk works");
    }

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        let key = self.0.key(SCOPE, token).expect("a sound token");
        match self.0.get(&key).expect("the disk works") {
            Known::Absent => None,
            Known::Finished(replay) => Some(replay.outcome().body().to_vec()),
            other => panic!("nobody runs it: {other:?}"),
        }
    }

    fn counted(&self) -> Option<[u64; 2]> {
        let stats = self.0.stats();
        Some([stats.bytes_written, stats.zeros_written])
    }
}
