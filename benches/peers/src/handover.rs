//! How do callers hand their records to one writer, and how do they learn that these are on disk?
//!
//! The same hand-over for every peer without a group commit of its own, and for the plain file: a channel, an event
//! for each caller, one thread that commits. Whatever queued while the last commit ran goes into the next one; nobody
//! waits for company.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use event_listener::Event;

/// What is written for a token.
pub(crate) struct Record {
    pub(crate) token: String,
    pub(crate) outcome: Vec<u8>,
}

/// What a commit found to be kept already: places among its records, and their outcomes.
pub(crate) type Known = Vec<(usize, Vec<u8>)>;

struct Job {
    record: Record,
    done: Arc<Done>,
}

#[derive(Default)]
struct Done {
    flag: AtomicBool,
    known: OnceLock<Vec<u8>>,
    event: Event,
}

/// The thread that commits for everybody; ends with its owner.
pub(crate) struct Writer {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `commit` returns once all that it is given is durable. An engine that was asked beforehand knows none of it.
    pub(crate) fn start(commit: impl FnMut(&[Record]) -> Known + Send + 'static) -> Self {
        let (queue, jobs) = unbounded();
        let thread = thread::spawn(move || commit_all(&jobs, commit));
        Self { queue: Some(queue), thread: Some(thread) }
    }

    /// Returns once the record is durable; or the outcome that was kept for its token.
    pub(crate) async fn write(&self, record: Record) -> Option<Vec<u8>> {
        let done = Arc::<Done>::default();
        let mut listener = done.event.listen();
        let queue = self.queue.as_ref().expect("taken only by drop");
        queue
            .send(Job { record, done: Arc::clone(&done) })
            .unwrap_or_else(|_| panic!("the writer is gone: its commit failed"));
        while !done.flag.load(Ordering::Acquire) {
            listener.await;
            listener = done.event.listen();
        }
        done.known.get().cloned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was already seen by the callers.
            let _ = thread.join();
        }
    }
}

fn commit_all(jobs: &Receiver<Job>, mut commit: impl FnMut(&[Record]) -> Known) {
    while let Ok(first) = jobs.recv() {
        let (records, callers): (Vec<Record>, Vec<Arc<Done>>) =
            std::iter::once(first).chain(jobs.try_iter()).map(|job| (job.record, job.done)).unzip();
        for (place, outcome) in commit(&records) {
            callers[place].known.set(outcome).expect("set once, here");
        }
        for done in callers {
            done.flag.store(true, Ordering::Release);
            done.event.notify(usize::MAX);
        }
    }
}
