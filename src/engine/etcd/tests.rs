//! Goal: etcd does what the table of the seam says, as the engine in memory does. Method: a private etcd on this computer
//! (`server`), a prefix for each test; scripts of random verbs that both engines answer alike; and, one by one, what
//! only etcd has: two observers, marks, limits, leases of its own, a server that goes away. Time is a manual clock's,
//! but for what etcd removes itself: that is waited for, and nothing is said of how long it takes.

#[cfg(feature = "etcd-tls")]
mod encrypted;
mod likeness;
mod server;
mod troubles;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::time::{ManualClock, Timestamp};
use server::{Server, shared};

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

/// A runtime as the lanes have one.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn engine(server: &Server, prefix: &str, clock: &ManualClock) -> Etcd {
    Etcd::at([server.url()]).unwrap().prefix(prefix).unwrap().clock(clock.clone())
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_millis(1_700_000_000_000))
}

fn key(token: &str) -> Key {
    Key::new("scope", token).unwrap()
}

fn fence(epoch: u64, count: u64) -> u64 {
    epoch << FENCE_BITS | count
}

fn claim(token: &str, fence: u64) -> Claim {
    Claim {
        key: key(token),
        fence,
        over: None,
        lease: MINUTE,
        standing: Standing::Volatile,
        started: Arc::from(&b"started"[..]),
    }
}

fn completion(token: &str, fence: u64, expires: Timestamp, record: &[u8]) -> Completion {
    Completion { key: key(token), fence, expires, record: record.into() }
}

/// Waits for it, for a minute at the most.
async fn wait_for(mut what: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if what().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came");
}

/// Waits until the server answers.
async fn ready(engine: &Etcd) {
    wait_for(async || engine.identity().await.is_ok()).await;
}

async fn claimed_one(engine: &Etcd, own: Claim) -> Claimed {
    let At { answer, .. } = Engine::claim(engine, &[own]).await.unwrap();
    answer.into_iter().next().unwrap()
}

async fn sight(engine: &Etcd, token: &str) -> Sight {
    engine.look_up(&[key(token)]).await.unwrap().answer.remove(0)
}

#[test]
fn a_claim_is_taken_over_only_when_an_observer_has_known_it_for_its_lease_4_4() {
    let Some(server) = shared() else { return };
    let clocks = [clock(), ManualClock::at(Timestamp::from_millis(5))];
    let [holder, other] = clocks.each_ref().map(|clock| engine(server, "observers", clock));
    block_on(async {
        ready(&holder).await;
        let epoch = holder.begin_epoch(None).await.unwrap().answer;
        assert!(matches!(claimed_one(&holder, claim("t", fence(epoch, 1))).await, Claimed::Granted));
        clocks[0].advance(MINUTE / 2);
        let left = |own: Claimed| if let Claimed::Held(held) = own { held.left } else { panic!("{own:?}") };
        let over = || Claim { over: Some(fence(epoch, 1)), ..claim("t", fence(epoch, 2)) };
        assert_eq!(left(claimed_one(&holder, over()).await), MINUTE / 2, "the claimant saw it first");
        assert_eq!(left(claimed_one(&other, over()).await), MINUTE, "the other sees it now");
        clocks[1].advance(MINUTE.saturating_sub(MOMENT));
        assert_eq!(left(claimed_one(&other, over()).await), Duration::from_millis(1));

        let renewal = Change {
            key: key("t"),
            fence: fence(epoch, 1),
            lease: Some(MINUTE),
            standing: None,
            started: None,
        };
        assert_eq!(holder.change(&[renewal]).await.unwrap(), [true]);
        clocks[1].advance(Duration::from_millis(1));
        assert_eq!(left(claimed_one(&other, over()).await), MINUTE, "it was renewed");
        clocks[1].advance(MINUTE);
        assert!(matches!(claimed_one(&other, over()).await, Claimed::Granted));
        assert!(matches!(claimed_one(&other, over()).await, Claimed::Granted), "sent again");
        let late = completion("t", fence(epoch, 1), Timestamp::MAX, b"late");
        assert_eq!(holder.complete(&[late]).await.unwrap(), [false]);
        let own = completion("t", fence(epoch, 2), Timestamp::MAX, b"own");
        assert_eq!(other.complete(std::slice::from_ref(&own)).await.unwrap(), [true]);
        assert_eq!(other.complete(&[own]).await.unwrap(), [true], "sent again");
        assert_eq!(sight(&holder, "t").await.record.as_deref(), Some(&b"own"[..]));
    });
}

#[test]
fn of_many_who_claim_a_key_one_gets_it_3_6() {
    const KEYS: u64 = 1_000;
    let Some(server) = shared() else { return };
    let winners: Vec<BTreeSet<u64>> = thread::scope(|scope| {
        let ask = || {
            block_on(async {
                let engine = engine(server, "winners", &clock());
                ready(&engine).await;
                let epoch = engine.begin_epoch(None).await.unwrap().answer;
                let own = |at| Claim {
                    key: Key::new("s", format!("{at:04}")).unwrap(),
                    ..claim("any", fence(epoch, at))
                };
                let mut won = BTreeSet::new();
                let claims: Vec<Claim> = (0..KEYS).map(own).collect();
                for claims in claims.chunks(100) {
                    let came = engine.claim(claims).await.unwrap().answer;
                    for (own, came) in claims.iter().zip(came) {
                        match came {
                            Claimed::Granted => drop(won.insert(own.fence & 0xffff)),
                            Claimed::Held(held) => assert_ne!(held.epoch(), epoch),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                won
            })
        };
        let asking = [(); 2].map(|()| scope.spawn(ask));
        asking.map(|own| own.join().unwrap()).into()
    });
    assert!(winners[0].is_disjoint(&winners[1]));
    assert_eq!(winners[0].union(&winners[1]).count() as u64, KEYS);
}

#[test]
fn epochs_are_never_given_twice() {
    let Some(server) = shared() else { return };
    let begun = thread::scope(|scope| {
        let begin = || {
            block_on(async {
                let engine = engine(server, "epochs", &clock());
                ready(&engine).await;
                let mut begun = Vec::new();
                for _ in 0..20 {
                    begun.push(engine.begin_epoch(None).await.unwrap().answer);
                }
                begun
            })
        };
        let threads = [(); 3].map(|()| scope.spawn(begin));
        threads.map(|own| own.join().unwrap()).concat()
    });
    assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), 60);
    assert_eq!(begun.iter().max(), Some(&60));
}

#[test]
fn what_was_claimed_in_an_ended_epoch_is_free_at_once_5_4() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let [one, other] = [(); 2].map(|()| engine(server, "ended", &clock));
    block_on(async {
        ready(&one).await;
        let first = one.begin_epoch(Some("node")).await.unwrap().answer;
        let claims = [
            claim("a", fence(first, 1)),
            Claim { standing: Standing::Durable, ..claim("b", fence(first, 2)) },
        ];
        assert!(matches!(one.claim(&claims).await.unwrap().answer[..], [Claimed::Granted, Claimed::Granted]));
        assert!(!sight(&other, "a").await.held.unwrap().ended);
        assert_eq!(one.count().await.unwrap(), Count { live_reservations: 2, kept_records: 1 });

        let second = other.begin_epoch(Some("node")).await.unwrap().answer;
        let held = sight(&one, "a").await.held.unwrap();
        assert!(held.ended && held.epoch() == first);
        assert_eq!(one.count().await.unwrap(), Count { live_reservations: 0, kept_records: 1 });
        let over = Claim { over: Some(fence(first, 1)), ..claim("a", fence(second, 1)) };
        assert!(matches!(claimed_one(&other, over).await, Claimed::Granted));
        other.end_epoch(second).await.unwrap();
        other.end_epoch(second).await.unwrap();
        assert!(sight(&one, "a").await.held.unwrap().ended);
        assert_eq!(one.sweep(MINUTE).await.unwrap(), 1, "the volatile one");
        let left = one.page(None, 9).await.unwrap().answer;
        assert_eq!(
            left.iter().map(|(key, held)| (key.token(), held.standing)).collect::<Vec<_>>(),
            [("b", Standing::Durable)]
        );
    });
}

#[test]
fn the_end_of_a_watched_claim_is_told_and_its_renewal_is_not_3_7() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let [one, other] = [(); 2].map(|()| engine(server, "marks", &clock));
    block_on(async {
        ready(&one).await;
        let epoch = one.begin_epoch(None).await.unwrap().answer;
        let tokens = ["completed", "released", "renewed", "taken over", "interrupted"];
        let number = |token| tokens.iter().position(|own| *own == token).unwrap() as u64;
        let lease = |token| if token == "taken over" { Duration::ZERO } else { MINUTE };
        let mut claims =
            tokens.map(|token| Claim { lease: lease(token), ..claim(token, fence(epoch, number(token))) });
        claims.sort_by(|one, other| one.key.cmp(&other.key));
        assert!(one.claim(&claims).await.unwrap().answer.iter().all(|own| matches!(own, Claimed::Granted)));
        let watch = |own: &Claim| Watch { key: own.key.clone(), fence: own.fence, mark: own.fence & 0xff };
        let watches: Vec<Watch> = claims.iter().map(watch).collect();
        assert_eq!(other.watch(&watches).await.unwrap(), [true; 5]);
        assert_eq!(other.watch(&watches).await.unwrap(), [true; 5], "twice is once");
        let stranger = Watch { fence: fence(epoch, 99), ..watches[0].clone() };
        assert_eq!(other.watch(&[stranger]).await.unwrap(), [false]);

        // Dropped while it waits: nothing is lost with it.
        let given_up = tokio::time::timeout(Duration::from_millis(1), other.told()).await;
        assert!(given_up.is_err(), "nothing has ended");
        let change = |token, lease, standing| {
            [Change { key: key(token), fence: fence(epoch, number(token)), lease, standing, started: None }]
        };
        assert_eq!(one.change(&change("renewed", Some(MINUTE), None)).await.unwrap(), [true]);
        let own = completion("completed", fence(epoch, number("completed")), Timestamp::MAX, b"done");
        assert_eq!(one.complete(&[own]).await.unwrap(), [true]);
        assert_eq!(
            one.release(&[(key("released"), fence(epoch, number("released")))]).await.unwrap(),
            [true]
        );
        let over = Claim { over: Some(fence(epoch, 3)), ..claim("taken over", fence(epoch, 9)) };
        assert!(matches!(claimed_one(&one, over).await, Claimed::Granted));
        assert_eq!(
            one.change(&change("interrupted", None, Some(Standing::Interrupted))).await.unwrap(),
            [true]
        );
        let mut told = BTreeSet::new();
        for _ in 0..4 {
            told.insert(other.told().await.unwrap());
        }
        assert_eq!(told, BTreeSet::from([0, 1, 3, 4]), "all but the renewed one");
        assert_eq!(one.release(&[(key("renewed"), fence(epoch, 2))]).await.unwrap(), [true]);
        assert_eq!(other.told().await.unwrap(), 2);
    });
}

#[test]
fn a_batch_may_be_larger_than_a_request_and_is_answered_in_its_order() {
    let Some(server) = shared() else { return };
    let clock = clock();
    for (prefix, most) in [("batches", 128), ("batches-small", 16)] {
        let engine = engine(server, prefix, &clock).operations_max(most);
        block_on(async {
            ready(&engine).await;
            let epoch = engine.begin_epoch(None).await.unwrap().answer;
            let token = |at: u64| format!("{at:03}");
            let odd: Vec<Claim> =
                (0..300).filter(|at| at % 2 == 1).map(|at| claim(&token(at), fence(epoch, at))).collect();
            let came = engine.claim(&odd).await.unwrap().answer;
            assert!(came.iter().all(|own| matches!(own, Claimed::Granted)));
            let all: Vec<Claim> = (0..300).map(|at| claim(&token(at), fence(epoch, 1_000 + at))).collect();
            for (at, own) in (0..).zip(engine.claim(&all).await.unwrap().answer) {
                match own {
                    Claimed::Granted => assert_eq!(at % 2, 0, "{at}"),
                    Claimed::Held(held) => assert_eq!((held.fence, at % 2), (fence(epoch, at), 1)),
                    other => panic!("{other:?}"),
                }
            }
            let own = |at| completion(&token(at), fence(epoch, at), Timestamp::MAX, token(at).as_bytes());
            let came = engine.complete(&(0..300).map(own).collect::<Vec<_>>()).await.unwrap();
            assert!((0..).zip(&came).all(|(at, own)| *own == (at % 2 == 1)));
            let keys: Vec<Key> = (0..300).map(|at| key(&token(at))).collect();
            for (at, own) in (0..).zip(engine.look_up(&keys).await.unwrap().answer) {
                assert_eq!((own.record.is_some(), own.held.is_some()), (at % 2 == 1, at % 2 == 0), "{at}");
                assert!(own.record.is_none_or(|record| *record == *token(at).as_bytes()));
            }
            let page = engine.page(Some(&keys[3]), 140).await.unwrap().answer;
            assert!(page.iter().map(|(key, _)| key).eq(keys.iter().skip(4).step_by(2).take(140)));
            assert_eq!(engine.page(None, 1_000).await.unwrap().answer.len(), 150);
            assert_eq!(engine.count().await.unwrap(), Count { live_reservations: 150, kept_records: 150 });
            let releases: Vec<_> = (0..300).map(|at| (key(&token(at)), fence(epoch, 1_000 + at))).collect();
            let came = engine.release(&releases).await.unwrap();
            assert_eq!(came.iter().filter(|own| **own).count(), 150);
            let forget: Vec<_> = keys.iter().map(|key| Forget { key: key.clone(), over: None }).collect();
            let came = engine.forget(&forget).await.unwrap();
            assert!((0..).zip(&came).all(|(at, own): (u64, &bool)| *own == (at % 2 == 1)));
            assert_eq!(engine.count().await.unwrap(), Count::default());
        });
    }
}

#[test]
fn the_identity_is_replaced_only_where_it_is_what_it_was() {
    let Some(server) = shared() else { return };
    let engine = engine(server, "identity", &clock());
    block_on(async {
        ready(&engine).await;
        assert_eq!(engine.identity().await.unwrap(), None);
        assert!(!engine.replace_identity(Some(b"one"), b"two").await.unwrap());
        assert!(engine.replace_identity(None, b"one").await.unwrap());
        assert!(!engine.replace_identity(None, b"two").await.unwrap());
        assert!(!engine.replace_identity(Some(b"two"), b"three").await.unwrap());
        assert!(engine.replace_identity(Some(b"one"), b"two").await.unwrap());
        assert_eq!(engine.identity().await.unwrap().as_deref(), Some(&b"two"[..]));
    });
}

#[test]
fn records_go_by_themselves_when_their_bucket_is_over_and_others_stay_7_1() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let engine = engine(server, "buckets", &clock).expiry_step(Duration::from_secs(1));
    block_on(async {
        ready(&engine).await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        let soon = clock.wall().saturating_add(Duration::from_secs(1));
        let late = clock.wall().saturating_add(Duration::from_secs(24 * 60 * 60));
        let kept = [("a", soon), ("b", soon), ("c", late), ("d", Timestamp::MAX)];
        for (at, (token, expires)) in (1..).zip(kept) {
            assert!(matches!(claimed_one(&engine, claim(token, fence(epoch, at))).await, Claimed::Granted));
            let own = completion(token, fence(epoch, at), expires, b"done");
            assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
        }
        // The store's clock stands still: this is etcd's doing alone.
        wait_for(async || engine.count().await.unwrap().kept_records == 2).await;
        assert!(sight(&engine, "a").await.record.is_none());
        assert!(sight(&engine, "c").await.record.is_some());
        assert!(sight(&engine, "d").await.record.is_some());
        // The lease that the bucket had is no more, and is replaced by another without anybody's noticing.
        assert!(matches!(claimed_one(&engine, claim("e", fence(epoch, 5))).await, Claimed::Granted));
        let own = completion("e", fence(epoch, 5), soon, b"done");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
        assert!(sight(&engine, "e").await.record.is_some());
    });
}

#[test]
fn an_expired_record_is_none_whether_etcd_has_removed_it_or_not_7_1() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let engine = engine(server, "expired", &clock);
    block_on(async {
        ready(&engine).await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        assert!(matches!(claimed_one(&engine, claim("t", fence(epoch, 1))).await, Claimed::Granted));
        let own = completion("t", fence(epoch, 1), clock.wall().saturating_add(MINUTE), b"done");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
        clock.advance(MINUTE.saturating_sub(MOMENT));
        assert!(matches!(claimed_one(&engine, claim("t", fence(epoch, 2))).await, Claimed::Finished(_)));
        clock.advance(Duration::from_millis(1));
        assert!(matches!(claimed_one(&engine, claim("t", fence(epoch, 2))).await, Claimed::Granted));
        assert!(
            matches!(claimed_one(&engine, claim("t", fence(epoch, 2))).await, Claimed::Granted),
            "sent again"
        );
        let own = completion("t", fence(epoch, 2), Timestamp::MAX, b"anew");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true]);
        assert_eq!(sight(&engine, "t").await.record.as_deref(), Some(&b"anew"[..]));
    });
}

#[test]
fn the_sweep_removes_what_is_over_and_nothing_else() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let engine = engine(server, "sweep", &clock);
    block_on(async {
        ready(&engine).await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        let claims = [
            Claim { standing: Standing::Durable, ..claim("durable", fence(epoch, 1)) },
            claim("released", fence(epoch, 2)),
            claim("volatile", fence(epoch, 3)),
        ];
        assert!(
            engine.claim(&claims).await.unwrap().answer.iter().all(|own| matches!(own, Claimed::Granted))
        );
        let change = Change {
            key: key("released"),
            fence: fence(epoch, 2),
            lease: Some(MINUTE * 10),
            standing: Some(Standing::Released),
            started: None,
        };
        assert_eq!(engine.change(&[change]).await.unwrap(), [true]);
        for (passes, removed) in
            [(Duration::ZERO, 0), (MINUTE, 0), (MINUTE, 1), (MINUTE * 7, 0), (MINUTE, 1), (MINUTE, 0)]
        {
            clock.advance(passes);
            assert_eq!(engine.sweep(MINUTE).await.unwrap(), removed, "{passes:?}");
        }
        assert_eq!(engine.page(None, 9).await.unwrap().answer.len(), 1, "the durable one is kept");
    });
}
