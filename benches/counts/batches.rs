//! Batches laid down by hand, so that what is written for them never depends on timing.
//!
//! Law: the writer commits whatever queued while it was busy. So the last waker of a batch, which the writer calls, holds
//! it until all of the next batch has queued. It is held in the midst of telling, so that a batch's futures are looked at
//! only when the next one is on disk. The first batch has one record: there is nothing to be early for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crossbeam_channel::{Receiver, Sender, bounded};
use oncekey::{Answer, Key, Outcome, Store};

use crate::support::fill::{OUTCOME, parameters};

type Completing = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct Batches<'a> {
    store: &'a Store,
    /// Lets the writer go on.
    go: Option<Sender<()>>,
    /// Those of the last batch.
    told: Vec<Completing>,
}

impl<'a> Batches<'a> {
    /// The key is the first batch's.
    pub(crate) fn begin(store: &'a Store, key: &Key) -> Self {
        let mut own = Self { store, go: None, told: Vec::new() };
        own.lay(std::slice::from_ref(key));
        own
    }

    /// Completes all of them in one commit; returns when they are on disk.
    pub(crate) fn lay(&mut self, keys: &[Key]) {
        let ((done, is_done), (go, may_go)) = (bounded(1), bounded(1));
        let waker = Waker::from(Arc::new(Held { left: AtomicUsize::new(keys.len()), done, may_go }));
        let mut all: Vec<Completing> = keys.iter().map(|key| completing(self.store, key)).collect();
        for own in &mut all {
            assert_eq!(
                own.as_mut().poll(&mut Context::from_waker(&waker)),
                Poll::Pending,
                "the writer is held"
            );
        }
        // Whoever held the writer does so no more.
        self.go = Some(go);
        is_done.recv().expect("the writer calls every waker");
        for mut own in std::mem::replace(&mut self.told, all) {
            assert!(own.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "it was woken");
        }
    }
}

fn completing(store: &Store, key: &Key) -> Completing {
    let Ok(Answer::Fresh(held)) = store.begin(key, &parameters()) else {
        panic!("a token never seen is fresh")
    };
    Box::pin(async move {
        held.complete_async(Outcome::new(OUTCOME)).await.expect("the disk works");
    })
}

/// The waker of a whole batch.
struct Held {
    left: AtomicUsize,
    done: Sender<()>,
    may_go: Receiver<()>,
}

impl Wake for Held {
    fn wake(self: Arc<Self>) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Both end where the other side is gone, which is the sign.
            let _ = self.done.send(());
            let _ = self.may_go.recv();
        }
    }
}
