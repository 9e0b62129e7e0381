//! Claims of many at once, and beside completions.

use std::collections::HashSet;
use std::time::Duration;

use super::server::{Bench, LATER, ask, claim, completion, fence, key, run, word};
use crate::engine::postgres::sql::hex;
use crate::engine::{Change, Claim, Claimed, Engine, Forget, Watch};
use crate::time::Timestamp;

/// Waits until the server shows somebody waiting for a lock on behalf of a statement that holds these words.
async fn until_blocked(client: &tokio_postgres::Client, words: &str) {
    let text =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 in query) > 0";
    loop {
        let waiting: i64 = client.query_one(text, &[&words]).await.unwrap().get(0);
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn of_those_who_claim_a_thousand_keys_at_once_each_key_has_one_winner() {
    let Some(bench) = Bench::new() else { return };
    run(bench.made());
    let contend = || {
        run(async {
            let (engine, epoch) = bench.joined().await;
            let mut won = HashSet::new();
            for batch in 0..10 {
                let names = (0..100).map(|at| format!("{:04}", batch * 100 + at));
                let claims: Vec<Claim> =
                    (1..).zip(names).map(|(at, name)| claim(name, fence(epoch, batch * 100 + at))).collect();
                let answer = engine.claim(&claims).await.unwrap().answer;
                won.extend(claims.into_iter().zip(answer).filter_map(|(own, answer)| match answer {
                    Claimed::Granted => Some(own.key),
                    Claimed::Held(_) => None,
                    other => panic!("{other:?}"),
                }));
            }
            won
        })
    };
    let (one, two) = std::thread::scope(|scope| {
        let others = [scope.spawn(contend), scope.spawn(contend)];
        let [one, two] = others.map(|own| own.join().unwrap());
        (one, two)
    });
    assert!(one.is_disjoint(&two));
    assert_eq!(one.len() + two.len(), 1000);
}

#[test]
fn of_those_who_take_a_lapsed_claim_over_at_once_one_wins() {
    let Some(bench) = Bench::new() else { return };
    let names: Vec<String> = (100..300).map(|at| at.to_string()).collect();
    let epoch = run(async {
        let (engine, epoch) = bench.joined().await;
        let lapsed: Vec<Claim> = names
            .iter()
            .map(|name| Claim { lease: Duration::ZERO, ..claim(name, fence(epoch, 1)) })
            .collect();
        engine.claim(&lapsed).await.unwrap();
        epoch
    });
    let contend = |nth: u64| {
        let (bench, names) = (&bench, &names);
        move || {
            run(async {
                let engine = bench.engine();
                let over = |name| Claim { over: Some(fence(epoch, 1)), ..claim(name, fence(epoch, nth)) };
                let answer = engine.claim(&names.iter().map(over).collect::<Vec<_>>()).await.unwrap().answer;
                answer.iter().map(|own| u32::from(word(own) == "granted")).collect::<Vec<_>>()
            })
        }
    };
    let won = std::thread::scope(|scope| {
        let others = [scope.spawn(contend(2)), scope.spawn(contend(3)), scope.spawn(contend(4))];
        others.map(|own| own.join().unwrap())
    });
    for at in 0..names.len() {
        assert_eq!(won.iter().map(|own| own[at]).sum::<u32>(), 1, "{}", names[at]);
    }
}

/// The race that READ COMMITTED leaves: the claim is inserted beside a record that its snapshot does not have.
#[test]
fn a_claim_that_waited_for_a_completion_in_its_way_finds_the_record() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        engine.prepare_partition(Timestamp::from_millis(LATER)).await.unwrap();
        let (client, looking) = (bench.client().await, bench.client().await);
        // Claim and completion in one transaction that is still open: nobody sees either, and the key is taken.
        bench.sql(&client, "BEGIN").await;
        let text = format!(
            "INSERT INTO {{s}}.claims VALUES ({}, {}, 0, {LATER}, NULL, '')",
            hex(key("a").as_framed()),
            fence(epoch, 1)
        );
        bench.sql(&client, &text).await;
        bench.sql(&client, &engine.completion_sql(&completion("a", fence(epoch, 1), LATER, b"done"))).await;
        let claims = [claim("a", fence(epoch, 2)), claim("b", fence(epoch, 3))];
        let claiming = engine.claim(&claims);
        let ending = async {
            until_blocked(&looking, &format!("INSERT INTO \"{}\".claims", bench.schema)).await;
            bench.sql(&client, "COMMIT").await;
        };
        let (claimed, ()) = futures_util::future::join(claiming, ending).await;
        let words: Vec<String> = claimed.unwrap().answer.iter().map(word).collect();
        assert_eq!(words, ["finished done", "granted"]);
        let stray =
            "SELECT count(*) FROM {s}.claims WHERE fence <> ".to_owned() + &fence(epoch, 3).to_string();
        assert_eq!(bench.number(&looking, &stray).await, 0, "the claim beside the record is gone again");
    });
}

/// Claims and records are read in one moment: whoever looks while a key is completed sees the one or the other.
#[test]
fn a_completion_while_one_looks_is_seen() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let (client, looking) = (bench.client().await, bench.client().await);
        ask(&engine, claim("a", fence(epoch, 1))).await;
        engine.prepare_partition(Timestamp::from_millis(LATER)).await.unwrap();
        // So that nothing is prepared while the table is locked.
        let keys = [key("a")];
        engine.look_up(&keys).await.unwrap();
        bench.sql(&client, "BEGIN; LOCK TABLE {s}.claims").await;
        let seeing = engine.look_up(&keys);
        let ending = async {
            until_blocked(&looking, &format!("JOIN \"{}\".claims", bench.schema)).await;
            bench
                .sql(&client, &engine.completion_sql(&completion("a", fence(epoch, 1), LATER, b"done")))
                .await;
            bench.sql(&client, "COMMIT").await;
        };
        let (seen, ()) = futures_util::future::join(seeing, ending).await;
        assert_eq!(seen.unwrap().answer[0].record.as_deref(), Some(&b"done"[..]));
    });
}

#[test]
fn a_claim_beside_a_record_is_none_whoever_left_it_there() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        engine.complete(&[completion("a", fence(epoch, 1), LATER, b"done")]).await.unwrap();
        let text = format!(
            "INSERT INTO {{s}}.claims VALUES ({}, {}, 1, 0, NULL, '')",
            hex(key("a").as_framed()),
            fence(epoch, 2)
        );
        bench.sql(&client, &text).await;
        let seen = engine.look_up(&[key("a")]).await.unwrap().answer.remove(0);
        assert!(seen.record.is_some() && seen.held.is_none());
        assert!(engine.page(None, 9).await.unwrap().answer.is_empty());
        assert_eq!(ask(&engine, claim("a", fence(epoch, 3))).await, "finished done");
        let over = Claim { over: Some(fence(epoch, 2)), ..claim("a", fence(epoch, 3)) };
        assert_eq!(ask(&engine, over).await, "finished done");
        assert_eq!(engine.sweep(Duration::ZERO).await.unwrap(), 1);
        assert_eq!(bench.number(&client, "SELECT count(*) FROM {s}.claims").await, 0);
    });
}

#[test]
fn a_completion_in_an_open_transaction_holds_up_its_own_key_alone() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        let lapsed = |name, nth| Claim { lease: Duration::ZERO, ..claim(name, fence(epoch, nth)) };
        engine.claim(&[claim("a", fence(epoch, 1)), lapsed("b", 2)]).await.unwrap();
        engine.prepare_partition(Timestamp::from_millis(LATER)).await.unwrap();
        bench.sql(&client, "BEGIN").await;
        for (name, nth) in [("a", 1), ("b", 2)] {
            let text = engine.completion_sql(&completion(name, fence(epoch, nth), LATER, b"done"));
            let rows = client.query(&text, &[]).await.unwrap();
            assert_eq!(rows.len(), 1, "the claim was held");
            assert_eq!(client.query(&text, &[]).await.unwrap().len(), 0, "and is no more");
        }
        // None of these waits for the transaction.
        let over = Claim { over: Some(fence(epoch, 2)), ..claim("b", fence(epoch, 4)) };
        let claims = [claim("a", fence(epoch, 3)), over, claim("c", fence(epoch, 5))];
        let words: Vec<String> = engine.claim(&claims).await.unwrap().answer.iter().map(word).collect();
        assert_eq!(words, ["held by 1", "held by 2", "granted"]);
        let own = |fence| Watch { key: key("a"), fence, mark: 1 };
        assert_eq!(engine.watch(&[own(fence(epoch, 1))]).await.unwrap(), [true]);
        assert_eq!(engine.watch(&[own(fence(epoch, 9))]).await.unwrap(), [false]);
        let lease = Some(Duration::from_secs(9));
        let renew = |fence| Change { key: key("a"), fence, lease, standing: None, started: None };
        assert_eq!(engine.change(&[renew(fence(epoch, 1))]).await.unwrap(), [true]);
        assert_eq!(engine.change(&[renew(fence(epoch, 9))]).await.unwrap(), [false]);
        engine.sweep(Duration::ZERO).await.unwrap();
        let rolled_back = client.batch_execute("ROLLBACK").await;
        rolled_back.unwrap();
        assert!(engine.look_up(&[key("a")]).await.unwrap().answer[0].held.is_some(), "as if it had not been");
    });
}

#[test]
fn a_completion_as_text_is_done_with_its_transaction_and_told_then() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let mut client = bench.client().await;
        let early = tokio::time::timeout(Duration::from_millis(100), engine.told()).await;
        assert!(early.is_err());
        ask(&engine, claim("it's", fence(epoch, 1))).await;
        engine.watch(&[Watch { key: key("it's"), fence: fence(epoch, 1), mark: 3 }]).await.unwrap();
        let expires = Timestamp::MAX.as_millis();
        engine.prepare_partition(Timestamp::MAX).await.unwrap();
        let own = completion("it's", fence(epoch, 1), expires, b"\0'\\");
        let transaction = client.transaction().await.unwrap();
        assert_eq!(transaction.query(&engine.completion_sql(&own), &[]).await.unwrap().len(), 1);
        transaction.commit().await.unwrap();
        assert_eq!(engine.told().await.unwrap(), 3);
        assert_eq!(ask(&engine, claim("it's", fence(epoch, 2))).await, "finished \0'\\");
        assert_eq!(
            engine.complete(std::slice::from_ref(&own)).await.unwrap(),
            [true],
            "it is known by its fence"
        );
        assert_eq!(client.query(&engine.completion_sql(&own), &[]).await.unwrap().len(), 0);
        assert_eq!(engine.forget(&[Forget { key: own.key, over: None }]).await.unwrap(), [true]);
    });
}
