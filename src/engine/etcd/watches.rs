//! Telling the end of claims: one stream of watches for each engine.
//!
//! Law: a claim is watched from the revision behind the one in which it was seen to run, so that no end falls between. Its
//! mark is told once: when it is gone, when it runs no more, when another's stands there, and also whenever the stream
//! broke, since nobody knows then; whoever is told looks, in any case. So a mark may be told for nothing, and none that
//! was taken on is kept back for ever. Renewals are seen and not told.
//!
//! Watches are bounded, and so are marks that nobody asks for: whoever waits beyond that looks from time to time.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::{Mutex as Waiting, mpsc};
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::layout::Stood;
use super::link::Link;
use super::wire::{Event, WatchAnswer, WatchBegin, WatchEnd, WatchRequest, Watching};
use crate::sync::Mutex;

/// Claims that one engine watches at once, and marks that wait to be asked for.
const WATCHES_MAX: usize = 4_096;
/// How long after a stream broke its marks are told: whoever is told looks and watches anew, and is not to do so at once.
const PAUSE: Duration = Duration::from_millis(500);
const DELETED: i32 = 1;

/// A claim to be watched.
pub(super) struct Wish {
    /// Where it stands in etcd.
    pub(super) key: Vec<u8>,
    pub(super) fence: u64,
    pub(super) mark: u64,
    /// The revision in which it ran.
    pub(super) seen: i64,
}

pub(super) struct Watches {
    wishes: Mutex<Option<mpsc::UnboundedSender<Wish>>>,
    count: Arc<AtomicUsize>,
    marks: mpsc::Sender<u64>,
    told: Waiting<mpsc::Receiver<u64>>,
}

impl Default for Watches {
    fn default() -> Self {
        let (marks, told) = mpsc::channel(WATCHES_MAX);
        Self { wishes: Mutex::default(), count: Arc::default(), marks, told: Waiting::new(told) }
    }
}

impl Watches {
    /// Has it watched, if there is room for it.
    pub(super) fn watch(&self, link: &Arc<Link>, wish: Wish) {
        let mut wishes = self.wishes.lock();
        let wish = match wishes.as_ref() {
            Some(_) if self.count.load(Ordering::Relaxed) >= WATCHES_MAX => return,
            Some(there) => match there.send(wish) {
                Ok(()) => return,
                // Its runtime has gone, and it with that.
                Err(mpsc::error::SendError(wish)) => wish,
            },
            None => wish,
        };
        self.count.store(0, Ordering::Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver is still here.
        drop(sender.send(wish));
        let watcher = Watcher {
            link: Arc::clone(link),
            wishes: receiver,
            watched: HashMap::new(),
            last: 0,
            count: Arc::clone(&self.count),
            marks: self.marks.clone(),
        };
        drop(tokio::spawn(watcher.run()));
        *wishes = Some(sender);
    }

    /// The mark of the next that has ended.
    pub(super) async fn told(&self) -> u64 {
        match self.told.lock().await.recv().await {
            Some(mark) => mark,
            // Never: a sender is kept here.
            None => std::future::pending().await,
        }
    }
}

struct Watcher {
    link: Arc<Link>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    watched: HashMap<Vec<u8>, Watched>,
    /// The last number that a watch was given.
    last: i64,
    count: Arc<AtomicUsize>,
    marks: mpsc::Sender<u64>,
}

struct Watched {
    id: i64,
    fence: u64,
    mark: u64,
}

/// What comes next.
enum Next {
    Wish(Option<Wish>),
    Answer(Option<WatchAnswer>),
}

impl Watcher {
    async fn run(mut self) {
        while let Some(wish) = self.wishes.recv().await {
            if self.until_it_breaks(wish).await.is_some() {
                return;
            }
            sleep(PAUSE).await;
            while let Ok(wish) = self.wishes.try_recv() {
                self.tell(wish.mark);
            }
            for (_, own) in std::mem::take(&mut self.watched) {
                self.tell(own.mark);
            }
            self.counted();
        }
    }

    /// One stream, to its end; `Some`: nobody is there any more who could wish for another.
    async fn until_it_breaks(&mut self, first: Wish) -> Option<()> {
        let (requests, stream) = mpsc::unbounded_channel();
        self.begin(first, &requests);
        let mut answers =
            self.link.stream::<WatchRequest>(UnboundedReceiverStream::new(stream)).await.ok()?;
        loop {
            match self.next(&mut answers).await {
                Next::Wish(None) => return Some(()),
                Next::Wish(Some(wish)) => self.begin(wish, &requests),
                Next::Answer(Some(answer)) => self.take(answer, &requests)?,
                Next::Answer(None) => return None,
            }
            self.counted();
        }
    }

    async fn next(&mut self, answers: &mut Streaming<WatchAnswer>) -> Next {
        poll_fn(|context| {
            if let Poll::Ready(answer) = Pin::new(&mut *answers).poll_next(context) {
                return Poll::Ready(Next::Answer(answer.and_then(Result::ok)));
            }
            self.wishes.poll_recv(context).map(Next::Wish)
        })
        .await
    }

    fn begin(&mut self, wish: Wish, requests: &mpsc::UnboundedSender<Bytes>) {
        let Wish { key, fence, mark, seen } = wish;
        match self.watched.get(&key) {
            Some(own) if own.fence == fence => return,
            // Another's stands there.
            Some(_) => self.end(&key, requests),
            None => {}
        }
        self.last += 1;
        let begin = WatchBegin { key: key.clone(), from: seen + 1, id: self.last };
        self.watched.insert(key, Watched { id: self.last, fence, mark });
        request(requests, Watching::Begin(begin));
    }

    /// Takes an answer; `None`: the stream is of no more use.
    fn take(&mut self, answer: WatchAnswer, requests: &mpsc::UnboundedSender<Bytes>) -> Option<()> {
        if answer.canceled {
            if answer.created {
                // It was never begun: this user may not, say.
                return None;
            }
            let own = self.watched.iter().find(|(_, own)| own.id == answer.id).map(|(key, _)| key.clone());
            if let Some(own) = own.and_then(|key| self.watched.remove(&key)) {
                // What has happened since then is known no more.
                self.tell(own.mark);
            }
            return Some(());
        }
        for Event { kind, entry } in answer.events {
            let Some(entry) = entry else { continue };
            let ended = |own: &Watched| {
                let runs = |stood: Stood| stood.fence == own.fence && stood.standing.is_running();
                own.id == answer.id && (kind == DELETED || !Stood::decode(&entry.value).is_some_and(runs))
            };
            if self.watched.get(&entry.key).is_some_and(ended) {
                self.end(&entry.key, requests);
            }
        }
        Some(())
    }

    fn end(&mut self, key: &[u8], requests: &mpsc::UnboundedSender<Bytes>) {
        if let Some(own) = self.watched.remove(key) {
            request(requests, Watching::End(WatchEnd { id: own.id }));
            self.tell(own.mark);
        }
    }

    /// Marks that nobody asks for are dropped.
    fn tell(&self, mark: u64) {
        let _ = self.marks.try_send(mark);
    }

    fn counted(&self) {
        self.count.store(self.watched.len(), Ordering::Relaxed);
    }
}

/// Where the stream has gone, the next answer says so.
fn request(requests: &mpsc::UnboundedSender<Bytes>, watching: Watching) {
    drop(requests.send(Bytes::from(WatchRequest { watching: Some(watching) }.encode_to_vec())));
}
