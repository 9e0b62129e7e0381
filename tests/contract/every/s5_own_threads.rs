//! Wakers on the store's own threads (5.11): what would wait for itself is refused.
//!
//! Goal: no call that blocks stops the thread on which it would have to be answered, and nothing is lost by asking. Method: all
//! such calls from a waker, which the thread that writes (or drives the engine) calls at an operation's end, and the timer's
//! thread at a deadline.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use oncekey::{Error, ErrorKind, Never, Outcome};

use super::support::{
    Answer, LONG, Reservation, Store, asked, assert_free, assert_replays, fresh, in_every_home, in_flight,
    kept, key, plain, run, tasks,
};

type Told = Vec<(&'static str, Error)>;
type Calls = Box<dyn FnOnce() -> Told + Send>;

/// A waker that makes these calls, once, and tells what they were answered.
struct CallsOnce(Mutex<Option<Calls>>, SyncSender<Told>);

impl Wake for CallsOnce {
    fn wake(self: Arc<Self>) {
        let calls = self.0.lock().expect("nobody panics with it").take();
        if let Some(calls) = calls {
            self.1.try_send(calls()).ok();
        }
    }
}

/// All that blocks: of a reservation of key 1, a durable one of key 2, and free keys from 3 on.
fn all_that_blocks(store: &Store) -> Calls {
    let held = fresh(store.begin(&key(1), &asked()));
    let durable = fresh(store.request(&key(2), &asked()).start_durably().begin());
    let other = in_flight(store.begin(&key(1), &asked()));
    let store = store.clone();
    Box::new(move || {
        let refused = held.complete(Outcome::new("lost")).unwrap_err();
        let back = refused.reservation.expect("it comes back");
        let without = back.complete_without_body(Outcome::new("lost")).unwrap_err();
        let noted = durable.checkpoint(b"lost");
        drop((without.reservation.expect("it comes back"), durable));
        let ran = store.execute(&key(3), &asked(), |_: &Reservation| -> Result<u8, Never> {
            panic!("what could not be recorded does not run")
        });
        let told = |answer: oncekey::Result<Answer>| answer.map(drop);
        vec![
            ("complete", refused.error),
            ("complete without body", without.error),
            ("checkpoint", noted.unwrap_err()),
            ("execute", ran.map(drop).unwrap_err()),
            ("durable begin", told(store.request(&key(4), &asked()).start_durably().begin()).unwrap_err()),
            ("begin with a wait", told(store.request(&key(5), &asked()).wait(LONG).begin()).unwrap_err()),
            ("wait", told(other.wait(LONG)).unwrap_err()),
            ("resolve", store.resolve(&key(6), Outcome::new("lost")).map(drop).unwrap_err()),
            ("close", store.close(LONG).unwrap_err()),
        ]
    })
}

/// A request of a held key waits so long, and whoever wakes it makes the calls: each is refused, and nothing is changed by any.
fn all_is_refused(wait: Duration, end: impl Fn(Reservation) -> Option<Reservation>) {
    in_every_home(|home| {
        let store = home.open(plain());
        let (own, parameters) = (key(0), asked());
        let held = fresh(store.begin(&own, &parameters));
        let (tell, hear) = sync_channel(1);
        let waker = Waker::from(Arc::new(CallsOnce(Mutex::new(Some(all_that_blocks(&store))), tell)));
        let mut waiting = Box::pin(store.request(&own, &parameters).wait(wait).begin_async());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let held = end(held);
        let told = hear.recv_timeout(Duration::from_secs(20)).expect("the thread does not wait for itself");
        assert_eq!(told.len(), 9);
        for (call, error) in told {
            assert_eq!(error.kind(), &ErrorKind::OwnThread, "{call}");
        }
        drop(held);
        // What was dropped there is released a little later.
        tasks::until("all are let go", || store.stats().live_reservations == 0);
        for number in 1..7 {
            assert_free(&store, &key(number));
        }
        run(&store, &key(7), "after");
        assert_replays(&store, &key(7), "after");
    });
}

#[test]
fn what_blocks_is_refused_where_an_operations_end_is_told_5_11() {
    all_is_refused(LONG, |held| {
        // Not here: it would wait for a thread that waits for itself.
        std::thread::spawn(|| kept(held.complete(Outcome::new("done"))));
        None
    });
}

#[test]
fn what_blocks_is_refused_where_a_deadline_is_told_5_11() {
    all_is_refused(Duration::from_millis(20), Some);
}
