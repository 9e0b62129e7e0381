//! The batcher: a lane for each verb, and one thread with a runtime that drives the engine.
//!
//! Law: whatever queued while a lane's last round trip ran goes into its next, sorted by key; a key that is there twice
//! waits for the round behind it. What was not reached, not heard or in another's way is sent again, with the same fences,
//! until it is answered or its patience ends; a panic below, as of a caller's clock, counts as not heard (contract 5.11).
//! Callers need no runtime of their own: they wait on one word, blocking or async alike. Lanes end with their last handle.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::{At, Change, Claim, Claimed, Completion, Engine, Fault, Forget, Keyed, Reply, Sight, Watch};
use crate::error::{ErrorKind, Result};
use crate::sync::{Held, holds, shielded, spawn};
use crate::time::Timestamp;
use crate::token::Key;

/// Keys in one statement at most.
const BATCH_MAX: usize = 512;
/// How long it waits before it tries again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// How long an engine is tried before a caller is told that it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(pub(crate) Duration);

/// A key's part of a batch, and who waits for what comes of it.
struct Job<D, A> {
    deed: D,
    reply: oneshot::Sender<Result<A, Fault>>,
}

type Queue<D, A> = mpsc::UnboundedSender<Job<D, A>>;

/// Where deeds are handed in. Clones are the same lanes.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) patience: Patience,
    claims: Queue<Claim, (Timestamp, Claimed)>,
    completions: Queue<Completion, bool>,
    changes: Queue<Change, bool>,
    releases: Queue<(Key, u64), bool>,
    sights: Queue<Key, (Timestamp, Sight)>,
    watches: Queue<Watch, bool>,
    forgets: Queue<Forget, bool>,
    runtime: tokio::runtime::Handle,
    /// What the thread holds that drives the engine; there, nobody may wait for it.
    driving: Arc<()>,
    /// The thread ends when the last of these goes, once it has sent what was handed in.
    _alive: mpsc::UnboundedSender<()>,
}

impl Lanes {
    /// Starts the thread of an engine.
    pub(crate) fn start(engine: Arc<dyn Engine>, patience: Patience) -> Result<Self> {
        let failed = |kind| ErrorKind::Io { operation: "starting the engine's thread", kind };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.kind()))?;
        let handle = runtime.handle().clone();
        let (alive, mut gone) = mpsc::unbounded_channel();
        let mut tasks = tokio::task::JoinSet::new();
        let entered = runtime.enter();
        let lanes = Self {
            claims: lane(&mut tasks, &engine, patience, claim),
            completions: lane(&mut tasks, &engine, patience, |engine, own| engine.complete(own)),
            changes: lane(&mut tasks, &engine, patience, |engine, own| engine.change(own)),
            releases: lane(&mut tasks, &engine, patience, |engine, own| engine.release(own)),
            sights: lane(&mut tasks, &engine, patience, look_up),
            watches: lane(&mut tasks, &engine, patience, |engine, own| engine.watch(own)),
            forgets: lane(&mut tasks, &engine, patience, |engine, own| engine.forget(own)),
            engine,
            patience,
            runtime: handle,
            driving: Arc::default(),
            _alive: alive,
        };
        drop(entered);
        let driving = Arc::clone(&lanes.driving);
        let drive = move || {
            let _held = Held::here(Arc::as_ptr(&driving));
            runtime.block_on(async move {
                // Nobody ever sends anything: this is the end of the last handle.
                let _ = gone.recv().await;
                // The lanes send what was handed in before, and end.
                while tasks.join_next().await.is_some() {}
            });
        };
        spawn("oncekey-engine", drive).map_err(failed)?;
        Ok(lanes)
    }

    /// Whether this is the thread that drives the engine.
    pub(crate) fn is_driven_here(&self) -> bool {
        holds(Arc::as_ptr(&self.driving))
    }

    pub(crate) async fn claim(&self, deed: Claim) -> Result<(Timestamp, Claimed), Fault> {
        hand_in(&self.claims, deed).await
    }

    pub(crate) async fn complete(&self, deed: Completion) -> Result<bool, Fault> {
        hand_in(&self.completions, deed).await
    }

    pub(crate) async fn change(&self, deed: Change) -> Result<bool, Fault> {
        hand_in(&self.changes, deed).await
    }

    pub(crate) async fn release(&self, key: Key, fence: u64) -> Result<bool, Fault> {
        hand_in(&self.releases, (key, fence)).await
    }

    pub(crate) async fn look_up(&self, key: Key) -> Result<(Timestamp, Sight), Fault> {
        hand_in(&self.sights, key).await
    }

    pub(crate) async fn watch(&self, deed: Watch) -> Result<bool, Fault> {
        hand_in(&self.watches, deed).await
    }

    pub(crate) async fn forget(&self, deed: Forget) -> Result<bool, Fault> {
        hand_in(&self.forgets, deed).await
    }

    /// Runs a future on the engine's thread, whoever waits for it or not.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    /// What comes of a future that runs on the engine's thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        self.spawn(async move {
            // Whoever asked may have gone.
            drop(reply.send(future.await));
        });
        answer.await.unwrap_or(Err(Fault::Unreached(io::ErrorKind::NotConnected)))
    }
}

/// A dropped future leaves its deed where it is: it is done all the same.
async fn hand_in<D, A>(queue: &Queue<D, A>, deed: D) -> Result<A, Fault> {
    let gone = || Fault::Unreached(io::ErrorKind::NotConnected);
    let (reply, answer) = oneshot::channel();
    queue.send(Job { deed, reply }).map_err(|_| gone())?;
    answer.await.unwrap_or_else(|_| Err(gone()))
}

/// Sends one batch of a verb.
type Call<D, A> = for<'a> fn(&'a dyn Engine, &'a [D]) -> Reply<'a, Vec<A>>;

fn claim<'a>(engine: &'a dyn Engine, deeds: &'a [Claim]) -> Reply<'a, Vec<(Timestamp, Claimed)>> {
    Box::pin(async move { Ok(timed(engine.claim(deeds).await?)) })
}

fn look_up<'a>(engine: &'a dyn Engine, keys: &'a [Key]) -> Reply<'a, Vec<(Timestamp, Sight)>> {
    Box::pin(async move { Ok(timed(engine.look_up(keys).await?)) })
}

fn timed<T>(at: At<Vec<T>>) -> Vec<(Timestamp, T)> {
    at.answer.into_iter().map(|own| (at.now, own)).collect()
}

fn lane<D: Keyed + Sync, A: Send + 'static>(
    tasks: &mut JoinSet<()>,
    engine: &Arc<dyn Engine>,
    patience: Patience,
    call: Call<D, A>,
) -> Queue<D, A> {
    let (queue, mut jobs) = mpsc::unbounded_channel::<Job<D, A>>();
    let engine = Arc::clone(engine);
    tasks.spawn(async move {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() && jobs.recv_many(&mut waiting, BATCH_MAX).await == 0 {
                return;
            }
            while waiting.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                waiting.push(job);
            }
            deliver(&*engine, patience, call, take_batch(&mut waiting)).await;
        }
    });
    queue
}

/// The first of each key, by key; others stay.
fn take_batch<D: Keyed, A>(waiting: &mut Vec<Job<D, A>>) -> Vec<Job<D, A>> {
    // The sort keeps the order of those that are equal.
    waiting.sort_by(|one, other| one.deed.key().cmp(other.deed.key()));
    let (mut batch, mut later) = (Vec::<Job<D, A>>::with_capacity(waiting.len()), Vec::new());
    for job in waiting.drain(..) {
        let again = batch.last().is_some_and(|last| last.deed.key() == job.deed.key());
        if again { later.push(job) } else { batch.push(job) }
    }
    *waiting = later;
    batch
}

/// Sends a batch and answers each of it. What is refused as a whole is sent by halves, so that none is refused for another's
/// sake.
async fn deliver<D: Keyed, A>(
    engine: &dyn Engine,
    patience: Patience,
    call: Call<D, A>,
    batch: Vec<Job<D, A>>,
) {
    let mut batches = vec![batch];
    while let Some(mut batch) = batches.pop() {
        let deeds: Vec<D> = batch.iter().map(|job| job.deed.clone()).collect();
        // Whoever asked may have gone: then nobody hears the answer.
        match send(engine, patience, call, &deeds).await {
            Ok(answers) => {
                batch.into_iter().zip(answers).for_each(|(job, own)| drop(job.reply.send(Ok(own))));
            }
            Err(Fault::Refused(_)) if batch.len() > 1 => {
                let half = batch.split_off(batch.len() / 2);
                batches.extend([half, batch]);
            }
            Err(fault) => batch.into_iter().for_each(|job| drop(job.reply.send(Err(fault.clone())))),
        }
    }
}

/// Sends a batch until it is answered.
async fn send<D, A>(
    engine: &dyn Engine,
    patience: Patience,
    call: Call<D, A>,
    deeds: &[D],
) -> Result<Vec<A>, Fault> {
    patience.tries(|| call(engine, deeds)).await
}

impl Patience {
    /// Calls until it is answered or refused, or patience ends.
    pub(crate) async fn tries<'a, T>(self, mut call: impl FnMut() -> Reply<'a, T>) -> Result<T, Fault> {
        let mut end = pin!(tokio::time::sleep(self.0));
        let (mut pause, mut unheard) = (PAUSE.0, None);
        loop {
            let fault = match before(&mut end, unpanicked(call())).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(Fault::Refused(error))) => return Err(Fault::Refused(error)),
                Some(Err(fault)) => fault,
                None => return Err(Fault::Unheard(io::ErrorKind::TimedOut)),
            };
            if let Fault::Unheard(kind) = fault {
                unheard = Some(kind);
            }
            if before(&mut end, tokio::time::sleep(pause)).await.is_none() {
                // Of what was sent once nobody knows, whatever became of the tries behind it.
                return Err(unheard.map_or(fault, Fault::Unheard));
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// An answer; what panics on the way was not heard.
pub(crate) async fn unpanicked<T>(mut reply: Reply<'_, T>) -> Result<T, Fault> {
    let unheard = || Poll::Ready(Err(Fault::Unheard(io::ErrorKind::Other)));
    poll_fn(|context| shielded(|| reply.as_mut().poll(context)).unwrap_or_else(unheard)).await
}

/// What comes of a future before the end; `None` where the end came first.
async fn before<T>(end: &mut Pin<&mut Sleep>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;
    use crate::error::ErrorKind;

    fn key(token: &str) -> Key {
        Key::new("scope", token).unwrap()
    }

    fn job(token: &str) -> (Job<Key, usize>, oneshot::Receiver<Result<usize, Fault>>) {
        let (reply, answer) = oneshot::channel();
        (Job { deed: key(token), reply }, answer)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Answers with the size of the batch; one with the token `bad` is refused as a whole.
    fn sizes<'a>(_: &'a dyn Engine, keys: &'a [Key]) -> Reply<'a, Vec<usize>> {
        Box::pin(async move {
            if keys.iter().any(|own| own.token() == "bad") {
                return Err(Fault::Refused(ErrorKind::Closed.into()));
            }
            Ok(vec![keys.len(); keys.len()])
        })
    }

    #[test]
    fn a_batch_has_the_first_of_each_key_by_key_and_the_others_stay_in_their_order() {
        let mut waiting: Vec<_> = ["b", "a", "b", "c", "b"].map(|token| job(token).0).into();
        let tokens = |jobs: &[Job<Key, usize>]| {
            jobs.iter().map(|job| job.deed.token().to_owned()).collect::<Vec<_>>().concat()
        };
        assert_eq!(tokens(&take_batch(&mut waiting)), "abc");
        assert_eq!(tokens(&take_batch(&mut waiting)), "b");
        assert_eq!((tokens(&take_batch(&mut waiting)), waiting.len()), ("b".to_owned(), 0));
    }

    #[test]
    fn what_is_refused_is_refused_for_its_own_sake_alone() {
        let (jobs, answers): (Vec<_>, Vec<_>) = ["a", "b", "bad", "c", "d"].map(job).into_iter().unzip();
        let patience = Patience(Duration::from_secs(60));
        run(deliver(&Memory::default(), patience, sizes, jobs));
        let told: Vec<_> = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().ok()).collect();
        assert_eq!(told, [Some(2), Some(2), None, Some(2), Some(2)]);
    }

    #[test]
    fn what_was_not_done_is_tried_again_and_what_was_refused_is_not() {
        let patience = Patience(Duration::from_secs(60));
        let mut faults = vec![Fault::Conflict, Fault::Unreached(io::ErrorKind::ConnectionRefused)];
        let told = run(patience.tries(|| {
            let fault = faults.pop();
            Box::pin(async move { fault.map_or(Ok(7), Err) }) as Reply<'_, _>
        }));
        assert_eq!(told.unwrap(), 7);
        let mut tries = 0;
        let told = run(patience.tries(|| {
            tries += 1;
            Box::pin(async { Err::<(), _>(Fault::Refused(ErrorKind::Closed.into())) }) as Reply<'_, _>
        }));
        assert!(matches!(told, Err(Fault::Refused(_))));
        assert_eq!(tries, 1);
    }

    /// Whatever became of the later tries: the first one may have been done.
    #[test]
    fn what_was_sent_once_and_not_heard_stays_unheard_5_1() {
        let patience = Patience(Duration::from_millis(30));
        let mut first = true;
        let told = run(patience.tries(|| {
            let fault = if std::mem::take(&mut first) {
                Fault::Unheard(io::ErrorKind::BrokenPipe)
            } else {
                Fault::Unreached(io::ErrorKind::ConnectionRefused)
            };
            Box::pin(async move { Err::<(), _>(fault) }) as Reply<'_, _>
        }));
        assert!(matches!(told, Err(Fault::Unheard(io::ErrorKind::BrokenPipe))), "{told:?}");
        let told =
            run(patience.tries(|| Box::pin(std::future::pending::<Result<(), Fault>>()) as Reply<'_, _>));
        assert!(matches!(told, Err(Fault::Unheard(io::ErrorKind::TimedOut))), "{told:?}");
    }
}
