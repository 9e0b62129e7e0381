//! The writer's queue alone, in every order there is. Not steered by a fuzzer: what takes from it one by one is for tests.

use std::sync::Arc;

use shuttle::thread;

use super::explorer::Program;
use super::world::joined;
use crate::ledger::{Job, Meaning, queue};
use crate::sync::Mutex;
use crate::time::Timestamp;

pub(crate) const PROGRAMS: &[Program] =
    &[Program { name: "every_order_of_handing_over_and_taking_4_1", run: queued }];

fn queued() {
    let (queue, jobs) = queue();
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let writer = {
        let taken = Arc::clone(&taken);
        thread::spawn(move || {
            while jobs.rung() {
                taken.lock().extend(jobs.tags());
            }
        })
    };
    let queue = Arc::new(queue);
    let callers = [1, 2].map(|tag| {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            let (expires, meaning) = (Timestamp::default(), Meaning::Note);
            let job = Job { hash: 0, expires, meaning, durable: true, tag };
            assert!(queue.hand_over(job, |bytes| bytes.push(tag)).is_ok());
        })
    });
    drop(queue);
    joined(callers);
    writer.join().unwrap();
    taken.lock().sort_unstable();
    assert_eq!(*taken.lock(), [1, 2], "each was taken, once");
}
