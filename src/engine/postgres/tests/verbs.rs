//! Each verb, alone, and sent again.

use std::sync::Arc;
use std::time::Duration;

use super::server::{Bench, LATER, ask, claim, completion, fence, key, run};
use crate::engine::postgres::Postgres;
use crate::engine::{Change, Claim, Count, Engine, Fault, Forget, Held, Sight, Standing, Watch};
use crate::time::Timestamp;
use crate::token::Key;

/// What there is of one key.
async fn sight(engine: &Postgres, name: &str) -> Sight {
    engine.look_up(&[key(name)]).await.unwrap().answer.remove(0)
}

async fn held(engine: &Postgres, name: &str) -> Option<Held> {
    sight(engine, name).await.held
}

fn change(name: &str, fence: u64) -> Change {
    Change { key: key(name), fence, lease: None, standing: None, started: None }
}

#[test]
fn a_claim_is_granted_once_and_sent_again_is_granted_still() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let claims = [claim("a", fence(epoch, 1)), claim("b", fence(epoch, 2))];
        for _ in 0..2 {
            let answer = engine.claim(&claims).await.unwrap().answer;
            assert_eq!(answer.iter().map(super::server::word).collect::<Vec<_>>(), ["granted", "granted"]);
        }
        assert_eq!(ask(&engine, claim("a", fence(epoch, 3))).await, "held by 1");
        let own = held(&engine, "a").await.unwrap();
        assert_eq!((own.standing, own.ended, &*own.started), (Standing::Volatile, false, &b"started"[..]));
        assert!(own.left <= Duration::from_secs(10) && own.left > Duration::from_secs(1), "{own:?}");
        assert_eq!(own.epoch(), epoch);
        let durable = Claim { standing: Standing::Durable, ..claim("c", fence(epoch, 4)) };
        assert_eq!(ask(&engine, durable).await, "granted");
        assert_eq!(held(&engine, "c").await.unwrap().standing, Standing::Durable);
    });
}

#[test]
fn answers_come_in_the_order_of_the_keys_that_were_asked() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        engine.claim(&[claim("b", fence(epoch, 1)), claim("c", fence(epoch, 2))]).await.unwrap();
        engine.complete(&[completion("b", fence(epoch, 1), LATER, b"B")]).await.unwrap();
        let claims = ["a", "b", "c", "d"].map(|name| claim(name, fence(epoch, 9)));
        let gone = Claim { over: Some(7), ..claim("e", fence(epoch, 9)) };
        let answer = engine.claim(&[&claims[..], &[gone]].concat()).await.unwrap().answer;
        let words: Vec<String> = answer.iter().map(super::server::word).collect();
        assert_eq!(words, ["granted", "finished B", "held by 2", "granted", "gone"]);
    });
}

#[test]
fn a_completion_replaces_the_claim_by_the_record_and_sent_again_is_true_still() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        let other = completion("a", fence(epoch, 2), LATER, b"other");
        assert_eq!(engine.complete(&[other]).await.unwrap(), [false], "another's fence");
        let own = completion("a", fence(epoch, 1), LATER, b"done");
        let none = completion("b", fence(epoch, 1), LATER, b"never claimed");
        for _ in 0..2 {
            assert_eq!(engine.complete(&[own.clone(), none.clone()]).await.unwrap(), [true, false]);
        }
        let seen = sight(&engine, "a").await;
        assert_eq!((seen.record.as_deref(), seen.held.is_none()), (Some(&b"done"[..]), true));
        assert_eq!(ask(&engine, claim("a", fence(epoch, 3))).await, "finished done");
    });
}

#[test]
fn a_key_whose_record_has_expired_is_claimed_anew() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        bench.stop_clock(&client, 1_000_000).await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        let own = completion("a", fence(epoch, 1), 1_000_500, b"done");
        engine.complete(std::slice::from_ref(&own)).await.unwrap();
        bench.set_clock(&client, 1_000_499).await;
        let seen = engine.claim(&[claim("a", fence(epoch, 2))]).await.unwrap();
        assert_eq!(seen.now, Timestamp::from_millis(1_000_499));
        assert_eq!(super::server::word(&seen.answer[0]), "finished done");
        bench.set_clock(&client, 1_000_500).await;
        assert!(sight(&engine, "a").await.record.is_none());
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true], "its answer may still be on the way");
        assert_eq!(ask(&engine, claim("a", fence(epoch, 2))).await, "granted");
        let again = completion("a", fence(epoch, 2), 1_000_900, b"again");
        assert_eq!(engine.complete(&[again]).await.unwrap(), [true]);
        assert_eq!(sight(&engine, "a").await.record.as_deref(), Some(&b"again"[..]));
    });
}

#[test]
fn a_claim_is_taken_over_when_its_lease_has_lapsed_and_not_before() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        bench.stop_clock(&client, 1_000_000).await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        let over = Claim { over: Some(fence(epoch, 1)), ..claim("a", fence(epoch, 2)) };
        bench.set_clock(&client, 1_009_999).await;
        assert_eq!(ask(&engine, over.clone()).await, "held by 1");
        bench.set_clock(&client, 1_010_000).await;
        assert_eq!(held(&engine, "a").await.unwrap().left, Duration::ZERO);
        assert_eq!(ask(&engine, claim("a", fence(epoch, 3))).await, "held by 1", "nobody was named");
        let wrong = Claim { over: Some(fence(epoch, 7)), ..claim("a", fence(epoch, 2)) };
        assert_eq!(ask(&engine, wrong).await, "held by 1", "another was named");
        for _ in 0..2 {
            assert_eq!(ask(&engine, over.clone()).await, "granted");
        }
        assert_eq!(held(&engine, "a").await.unwrap().fence, fence(epoch, 2));
        let late = completion("a", fence(epoch, 1), LATER, b"late");
        assert_eq!(engine.complete(&[late]).await.unwrap(), [false]);
        assert_eq!(engine.release(&[(key("a"), fence(epoch, 1))]).await.unwrap(), [false]);
        assert_eq!(engine.change(&[change("a", fence(epoch, 1))]).await.unwrap(), [false]);
    });
}

#[test]
fn a_claim_of_an_ended_epoch_is_free_and_one_of_an_unknown_epoch_too() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        ask(&engine, claim("b", fence(epoch + 70, 1))).await;
        let over = |name: &str, prior| Claim { over: Some(prior), ..claim(name, fence(epoch, 2)) };
        assert_eq!(ask(&engine, over("a", fence(epoch, 1))).await, "held by 1");
        engine.end_epoch(epoch).await.unwrap();
        engine.end_epoch(epoch).await.unwrap();
        assert!(held(&engine, "a").await.unwrap().ended);
        assert_eq!(ask(&engine, over("a", fence(epoch, 1))).await, "granted");
        assert_eq!(ask(&engine, over("b", fence(epoch + 70, 1))).await, "granted");
    });
}

#[test]
fn an_epoch_ends_those_of_its_node_before_it_and_no_others() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let engine = bench.made().await;
        let mut epochs = Vec::new();
        for node in [Some("one"), Some("two"), None, Some("one"), None] {
            epochs.push(engine.begin_epoch(node).await.unwrap().answer);
        }
        assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
        for (at, epoch) in epochs.iter().enumerate() {
            ask(&engine, claim(at, fence(*epoch, 1))).await;
        }
        let page = engine.page(None, 10).await.unwrap().answer;
        let ended: Vec<bool> = page.iter().map(|(_, held)| held.ended).collect();
        assert_eq!(ended, [true, false, false, false, false]);
    });
}

#[test]
fn a_change_names_what_changes_and_leaves_the_rest() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        bench.stop_clock(&client, 1_000_000).await;
        for (at, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            ask(&engine, claim(name, fence(epoch, at))).await;
        }
        bench.set_clock(&client, 1_001_000).await;
        let renewed = Change { lease: Some(Duration::from_secs(30)), ..change("a", fence(epoch, 1)) };
        let started: Arc<[u8]> = b"checkpoint"[..].into();
        let noted = Change {
            standing: Some(Standing::Durable),
            started: Some(Arc::clone(&started)),
            ..change("b", fence(epoch, 2))
        };
        let released = Change {
            lease: Some(Duration::MAX),
            standing: Some(Standing::Released),
            ..change("c", fence(epoch, 3))
        };
        let other = Change { lease: Some(Duration::from_secs(1)), ..change("d", fence(epoch, 5)) };
        let changes = [renewed, noted, released, other];
        assert_eq!(engine.change(&changes).await.unwrap(), [true, true, true, false]);
        assert_eq!(engine.change(&changes).await.unwrap(), [true, true, false, false], "released no more");
        let [a, b, c, d] = [
            held(&engine, "a").await,
            held(&engine, "b").await,
            held(&engine, "c").await,
            held(&engine, "d").await,
        ]
        .map(Option::unwrap);
        let seconds = |own: &Held| own.left.as_secs();
        assert_eq!((seconds(&a), a.standing, &*a.started), (30, Standing::Volatile, &b"started"[..]));
        assert_eq!((seconds(&b), b.standing, &*b.started), (9, Standing::Durable, &*started));
        assert_eq!((c.standing, seconds(&d)), (Standing::Released, 9));
        assert!(c.left > Duration::from_secs(1 << 40), "a lease without end stays within what 64 bits hold");
        assert_eq!(engine.release(&[(key("c"), fence(epoch, 3))]).await.unwrap(), [false]);
        let over = Claim { over: Some(fence(epoch, 3)), ..claim("c", fence(epoch, 6)) };
        assert_eq!(ask(&engine, over).await, "granted", "nobody holds what is released");
    });
}

#[test]
fn a_release_ends_a_claim_that_runs_and_no_other() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        ask(&engine, Claim { standing: Standing::Durable, ..claim("b", fence(epoch, 2)) }).await;
        let interrupted = Change { standing: Some(Standing::Interrupted), ..change("b", fence(epoch, 2)) };
        engine.change(&[interrupted]).await.unwrap();
        let releases = [(key("a"), fence(epoch, 1)), (key("b"), fence(epoch, 2)), (key("c"), 1)];
        assert_eq!(engine.release(&releases).await.unwrap(), [true, false, false]);
        assert_eq!(engine.release(&releases).await.unwrap(), [false, false, false]);
        assert!(held(&engine, "a").await.is_none());
        let own = completion("b", fence(epoch, 2), LATER, b"resolved");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true], "an interrupted one can be completed");
    });
}

#[test]
fn forgetting_tells_whether_there_was_anything() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        bench.stop_clock(&client, 1_000_000).await;
        let names = ["expired", "fresh", "interrupted", "other", "released", "running"];
        for (at, name) in (1..).zip(names) {
            ask(&engine, claim(name, fence(epoch, at))).await;
        }
        let own = [
            completion("expired", fence(epoch, 1), 1_000_010, b"x"),
            completion("fresh", fence(epoch, 2), 2_000_000, b"x"),
        ];
        engine.complete(&own).await.unwrap();
        let stand =
            |name, nth, standing| Change { standing: Some(standing), ..change(name, fence(epoch, nth)) };
        let changes = [
            stand("interrupted", 3, Standing::Interrupted),
            stand("other", 4, Standing::Interrupted),
            stand("released", 5, Standing::Released),
        ];
        engine.change(&changes).await.unwrap();
        bench.set_clock(&client, 1_000_010).await;
        let forget = |(nth, name): (u64, &str)| Forget {
            key: key(name),
            over: Some(if name == "other" { 99 } else { fence(epoch, nth) }),
        };
        let all: Vec<Forget> = (1..).zip(names).map(forget).collect();
        assert_eq!(engine.forget(&all).await.unwrap(), [false, true, true, false, false, false]);
        assert_eq!(engine.forget(&all).await.unwrap(), [false; 6]);
        let left: Vec<Key> =
            engine.page(None, 9).await.unwrap().answer.into_iter().map(|own| own.0).collect();
        assert_eq!(left, [key("other"), key("running")]);
        assert_eq!(bench.number(&client, "SELECT count(*) FROM {s}.records").await, 0);
        assert_eq!(ask(&engine, claim("fresh", fence(epoch, 9))).await, "granted");
    });
}

#[test]
fn pages_go_through_the_claims_by_key() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let claims: Vec<Claim> = (10..17).map(|at| claim(at, fence(epoch, at))).collect();
        engine.claim(&claims).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = engine.page(after.as_ref(), 3).await.unwrap().answer;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page.into_iter().map(|(key, held)| (key, held.fence)));
        }
        assert_eq!(seen, claims.into_iter().map(|own| (own.key, own.fence)).collect::<Vec<_>>());
    });
}

#[test]
fn a_count_is_of_claims_that_run_and_of_all_that_is_kept() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let ended = engine.begin_epoch(None).await.unwrap().answer;
        for (at, name) in [(1, "a"), (2, "b"), (3, "c")] {
            ask(
                &engine,
                Claim {
                    standing: if name == "b" { Standing::Durable } else { Standing::Volatile },
                    ..claim(name, fence(epoch, at))
                },
            )
            .await;
        }
        ask(&engine, Claim { standing: Standing::Durable, ..claim("d", fence(ended, 1)) }).await;
        engine.end_epoch(ended).await.unwrap();
        engine.complete(&[completion("c", fence(epoch, 3), LATER, b"x")]).await.unwrap();
        assert_eq!(engine.count().await.unwrap(), Count { live_reservations: 2, kept_records: 3 });
    });
}

#[test]
fn those_who_listen_are_told_once_of_each_watched_end() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let (listener, silent) = (bench.engine(), bench.engine().without_notifications());
        // It listens from its first call on; a call that is dropped loses nothing.
        for _ in 0..2 {
            let early = tokio::time::timeout(Duration::from_millis(100), listener.told()).await;
            assert!(early.is_err(), "nobody has said anything");
        }
        let names = ["changed", "completed", "forgotten", "not watched", "over", "released", "renewed"];
        for (at, name) in (1..).zip(names) {
            ask(&engine, claim(name, fence(epoch, at))).await;
        }
        let watch =
            |(at, name): (u64, &str)| Watch { key: key(name), fence: fence(epoch, at), mark: u64::MAX - at };
        let mut watches: Vec<Watch> = (1..).zip(names).map(watch).collect();
        watches[3].fence += 70;
        let were = engine.watch(&watches).await.unwrap();
        assert_eq!(were, [true, true, true, false, true, true, true]);
        let lapse = |name, at| Change { lease: Some(Duration::ZERO), ..change(name, fence(epoch, at)) };
        let renew = Change { lease: Some(Duration::from_secs(1)), ..change("renewed", fence(epoch, 7)) };
        engine.change(&[lapse("changed", 1), renew]).await.unwrap();
        engine.complete(&[completion("completed", fence(epoch, 2), LATER, b"x")]).await.unwrap();
        let interrupt =
            |name, at| Change { standing: Some(Standing::Interrupted), ..change(name, fence(epoch, at)) };
        engine.change(&[interrupt("forgotten", 3), interrupt("over", 5)]).await.unwrap();
        engine.forget(&[Forget { key: key("forgotten"), over: Some(fence(epoch, 3)) }]).await.unwrap();
        engine.release(&[(key("not watched"), fence(epoch, 4))]).await.unwrap();
        ask(&engine, Claim { over: Some(fence(epoch, 5)), ..claim("over", fence(epoch, 8)) }).await;
        engine.release(&[(key("over"), fence(epoch, 8))]).await.unwrap();
        engine.release(&[(key("released"), fence(epoch, 6))]).await.unwrap();
        let mut told = Vec::new();
        for _ in 0..8 {
            told.push(u64::MAX - listener.told().await.unwrap());
        }
        // Interrupted and then forgotten; interrupted, taken over and then released.
        assert_eq!(told, [1, 2, 3, 5, 3, 5, 5, 6]);
        let more = tokio::time::timeout(Duration::from_millis(100), listener.told()).await;
        assert!(more.is_err(), "{more:?}");
        let never = tokio::time::timeout(Duration::from_millis(100), silent.told()).await;
        assert!(never.is_err());
    });
}

#[test]
fn a_broken_listener_says_so_once_and_listens_again() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        let wait = Duration::from_millis(200);
        assert!(tokio::time::timeout(wait, engine.told()).await.is_err());
        let text = format!("LISTEN \"{}\"", bench.schema);
        client
            .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1", &[&text])
            .await
            .unwrap();
        assert!(matches!(engine.told().await, Err(Fault::Unheard(_))));
        assert!(tokio::time::timeout(wait, engine.told()).await.is_err());
        ask(&engine, claim("a", fence(epoch, 1))).await;
        engine.watch(&[Watch { key: key("a"), fence: fence(epoch, 1), mark: 5 }]).await.unwrap();
        engine.release(&[(key("a"), fence(epoch, 1))]).await.unwrap();
        assert_eq!(engine.told().await.unwrap(), 5);
    });
}

#[test]
fn the_identity_is_compared_and_set() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let engine = bench.engine();
        assert_eq!(engine.identity().await.unwrap(), None);
        assert!(!engine.replace_identity(Some(b"one"), b"two").await.unwrap());
        assert!(engine.replace_identity(None, b"one").await.unwrap());
        assert!(!engine.replace_identity(None, b"two").await.unwrap());
        assert_eq!(bench.engine().identity().await.unwrap().as_deref(), Some(&b"one"[..]));
        assert!(engine.replace_identity(Some(b"one"), b"two").await.unwrap());
        assert_eq!(engine.identity().await.unwrap().as_deref(), Some(&b"two"[..]));
    });
}

#[test]
fn a_record_of_many_megabytes_comes_back_as_it_was() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        // More than one statement carries, and bytes that do not compress.
        let mut state = 1_u64;
        let mut bytes = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let record: Vec<u8> = (0..9 << 20).map(&mut bytes).collect();
        let names = ["a", "b", "c"];
        let claims: Vec<Claim> = (1..).zip(names).map(|(at, name)| claim(name, fence(epoch, at))).collect();
        engine.claim(&claims).await.unwrap();
        let own = (1..).zip(names).map(|(at, name)| completion(name, fence(epoch, at), LATER, &record));
        assert_eq!(engine.complete(&own.collect::<Vec<_>>()).await.unwrap(), [true; 3]);
        for seen in engine.look_up(&names.map(key)).await.unwrap().answer {
            assert!(seen.record.as_deref() == Some(&*record));
        }
    });
}

/// Planning takes longer than the statements: after the first few, the server has to have seen that a plan fits all.
#[test]
fn what_a_lone_caller_waits_for_is_planned_once() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        for number in 1..=20 {
            let (name, own) = (format!("t{number}"), fence(epoch, number));
            assert_eq!(ask(&engine, claim(&name, own)).await, "granted");
            assert_eq!(engine.complete(&[completion(&name, own, LATER, b"done")]).await.unwrap(), [true]);
        }
        let link = engine.house().unwrap().link().await.unwrap();
        let asked =
            "SELECT generic_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans >= 20";
        let rows = link.ask(asked, &[]).await.unwrap();
        let plans: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(plans.len(), 3, "a claim, what was seen, a completion");
        assert!(plans.iter().all(|own| *own >= 10), "{plans:?}");
    });
}
