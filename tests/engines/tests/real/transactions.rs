//! Goal: an effect in the caller's own transaction and its completion are committed together or not at all, by
//! tokio-postgres and by a driver that the store does not know (6.1, 6.2).

use oncekey::distributed::{self, Store};
use oncekey::{Answer, Completed, Outcome};
use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::postgres::{self, Cluster};
use oncekey_engines::process::PATIENCE;
use oncekey_engines::proxy::{Loss, Mode, Proxy};
use oncekey_engines::worker::{key, parameters};
use sqlx::{Connection, PgConnection};
use tokio_postgres::{Client, IsolationLevel, NoTls};

use crate::support::{Asked, fresh, known, replay};

/// A client of the caller's own, and a table for effects.
async fn client(cluster: &Cluster, table: &str) -> Client {
    client_at(&cluster.url(), table).await
}

async fn client_at(url: &str, table: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("create table {table} (n bigint)")).await.unwrap();
    client
}

async fn ask(store: &Store, number: u64) -> Asked {
    store.begin_async(&key(number), &parameters()).await
}

/// Ready to wait for as long as it takes.
async fn wait(store: &Store, number: u64) -> Asked {
    store.request(&key(number), &parameters()).wait(PATIENCE).begin_async().await
}

/// Where the store was not told how a transaction ended it says so, until the engine has told.
fn found_out(store: &Store, number: u64) -> distributed::Answer {
    tokio::task::block_in_place(|| known(store, &key(number)))
}

fn outcome(body: &str) -> Outcome {
    Outcome::http(200, body)
}

fn effects(cluster: &Cluster, table: &str) -> String {
    cluster.ask(&format!("select count(*) from {table}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_in_the_callers_transaction_is_committed_with_its_effect_or_not_at_all_6_1_6_2() {
    let cluster = Cluster::shared();
    let store = Engine::postgres(cluster.url(), "lent").store(&Settings::default());
    let other = Engine::postgres(cluster.url(), "lent").store(&Settings::default());
    let mut client = client(&cluster, "lent_effects").await;
    let insert = "insert into lent_effects values (1)";

    // Committed.
    let transaction = client.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    let lent = fresh(ask(&store, 1).await).complete_in(&transaction, outcome("committed")).await.unwrap();
    assert!(matches!(ask(&other, 1).await, Ok(Answer::InFlight(_))), "not before the commit");
    transaction.commit().await.unwrap();
    assert!(matches!(lent.committed(), Completed::Kept { .. }));
    assert_eq!(replay(ask(&store, 1).await), "committed");
    assert_eq!(replay(wait(&other, 1).await), "committed");
    assert_eq!(effects(&cluster, "lent_effects"), "1");

    // Rolled back: it is as if it had never been asked for.
    let transaction = client.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    let lent = fresh(ask(&store, 2).await).complete_in(&transaction, outcome("never")).await.unwrap();
    transaction.rollback().await.unwrap();
    drop(lent);
    let again = fresh(wait(&other, 2).await);
    assert_eq!(effects(&cluster, "lent_effects"), "1");
    again.complete_async(outcome("again")).await.unwrap();
    assert_eq!(replay(wait(&store, 2).await), "again");

    // Committed, and the store was not told.
    let transaction = client.transaction().await.unwrap();
    let lent = fresh(ask(&store, 3).await).complete_in(&transaction, outcome("untold")).await.unwrap();
    transaction.commit().await.unwrap();
    drop(lent);
    assert_eq!(replay(Ok(found_out(&store, 3))), "untold");

    // Not told, and still open: nobody runs it before the transaction has ended.
    let transaction = client.transaction().await.unwrap();
    let lent = fresh(ask(&store, 4).await).complete_in(&transaction, outcome("late")).await.unwrap();
    drop(lent);
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { found_out(&store, 4) }
    });
    let elsewhere = tokio::spawn({
        let other = other.clone();
        async move { wait(&other, 4).await }
    });
    transaction.commit().await.unwrap();
    assert_eq!(replay(Ok(waiter.await.unwrap())), "late");
    assert_eq!(replay(elsewhere.await.unwrap()), "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_was_lost_is_refused_within_the_callers_transaction_6_1_4_4() {
    let cluster = Cluster::shared();
    let slow = Engine::postgres(cluster.url(), "lent_late").store(&Settings::lease(1));
    let quick = Engine::postgres(cluster.url(), "lent_late").store(&Settings::default());
    let mut client = client(&cluster, "late_effects").await;
    let late = fresh(ask(&slow, 1).await);
    let over = fresh(wait(&quick, 1).await);
    assert_eq!(over.attempt(), 2);
    let transaction = client.transaction().await.unwrap();
    transaction.execute("insert into late_effects values (1)", &[]).await.unwrap();
    let Err(refused) = late.complete_in(&transaction, outcome("late")).await else { panic!("it was lost") };
    assert!(refused.error.is_reservation_lost(), "{}", refused.error);
    transaction.rollback().await.unwrap();
    over.complete_async(outcome("in time")).await.unwrap();
    assert_eq!(replay(Ok(found_out(&slow, 1))), "in time");
    assert_eq!(effects(&cluster, "late_effects"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_snapshot_is_older_than_the_claim_is_refused_and_the_key_is_free_again_6_1() {
    let cluster = Cluster::shared();
    let store = Engine::postgres(cluster.url(), "lent_snapshot").store(&Settings::default());
    let mut client = client(&cluster, "snapshot_effects").await;
    let insert = "insert into snapshot_effects values (1)";
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        // In the order that is right: the claim first.
        let number = level as u64;
        let reservation = fresh(ask(&store, number).await);
        let transaction = client.build_transaction().isolation_level(level).start().await.unwrap();
        transaction.execute(insert, &[]).await.unwrap();
        let lent = reservation.complete_in(&transaction, outcome("kept")).await.unwrap();
        transaction.commit().await.unwrap();
        assert!(matches!(lent.committed(), Completed::Kept { .. }));
        assert_eq!(replay(ask(&store, number).await), "kept");
        // In the other one the transaction does not see it.
        let number = 10 + number;
        let transaction = client.build_transaction().isolation_level(level).start().await.unwrap();
        transaction.execute(insert, &[]).await.unwrap();
        let reservation = fresh(ask(&store, number).await);
        let Err(refused) = reservation.complete_in(&transaction, outcome("never")).await else {
            panic!("it can't see the claim")
        };
        assert!(refused.error.is_reservation_lost(), "{}", refused.error);
        transaction.rollback().await.unwrap();
        drop(fresh(Ok(found_out(&store, number))));
    }
    assert_eq!(effects(&cluster, "snapshot_effects"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_looked_up_and_never_guessed_6_2() {
    let cluster = Cluster::shared();
    let store = Engine::postgres(cluster.url(), "lent_lost").store(&Settings::default());
    let proxy = Proxy::before(cluster.port());
    let url = postgres::url(&[proxy.port()]);
    let insert = "insert into lost_effects values (1)";

    // It was committed.
    let mut own = client_at(&url, "lost_effects").await;
    let transaction = own.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    let lent = fresh(ask(&store, 1).await).complete_in(&transaction, outcome("committed")).await.unwrap();
    proxy.lose("COMMIT", Loss::Cut, Mode::Pass);
    transaction.commit().await.unwrap_err();
    drop(lent);
    assert_eq!(replay(Ok(found_out(&store, 1))), "committed");
    assert_eq!(effects(&cluster, "lost_effects"), "1");

    // The connection went before it was sent.
    let (mut own, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = own.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    let lent = fresh(ask(&store, 2).await).complete_in(&transaction, outcome("never")).await.unwrap();
    proxy.cut();
    transaction.commit().await.unwrap_err();
    drop(lent);
    drop(fresh(Ok(found_out(&store, 2))));
    assert_eq!(effects(&cluster, "lost_effects"), "1");
}

/// The whole address as `sqlx` reads it.
fn sqlx_url(cluster: &Cluster) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_one_statement_for_any_other_driver_6_1_6_2() {
    let cluster = Cluster::shared();
    let engine = Engine::postgres(cluster.url(), "sqlx");
    let (store, other) = (engine.store(&Settings::default()), engine.store(&Settings::default()));
    let mut connection = PgConnection::connect(&sqlx_url(&cluster)).await.unwrap();
    sqlx::query("create table sqlx_effects (n bigint)").execute(&mut connection).await.unwrap();
    let insert = "insert into sqlx_effects values (1)";

    let mut transaction = connection.begin().await.unwrap();
    sqlx::query(insert).execute(&mut *transaction).await.unwrap();
    // Quotes, backslashes and bytes that are no text stay what they are.
    let body = b"it's \\ $1 \0 \xff".to_vec();
    let completion = fresh(ask(&store, 1).await).completion(Outcome::http(200, body.clone())).unwrap();
    let rows = sqlx::raw_sql(completion.sql()).fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(rows.len(), 1, "the claim is held");
    transaction.commit().await.unwrap();
    assert!(matches!(completion.committed(), Completed::Kept { .. }));
    for store in [&store, &other] {
        let Ok(Answer::Replay(replay)) = wait(store, 1).await else { panic!("it is kept") };
        assert_eq!(replay.outcome().body(), body);
    }

    let mut transaction = connection.begin().await.unwrap();
    sqlx::query(insert).execute(&mut *transaction).await.unwrap();
    let completion = fresh(ask(&store, 2).await).completion(outcome("never")).unwrap();
    let row = sqlx::query(completion.sql()).fetch_optional(&mut *transaction).await.unwrap();
    assert!(row.is_some(), "prepared, too");
    transaction.rollback().await.unwrap();
    drop(completion);
    drop(fresh(wait(&other, 2).await));
    assert_eq!(effects(&cluster, "sqlx_effects"), "1");

    // Never sent.
    drop(fresh(ask(&store, 3).await).completion(outcome("never")).unwrap());
    drop(fresh(Ok(found_out(&store, 3))));

    // No row, where the claim is another's.
    let slow = engine.store(&Settings::lease(1));
    let late = fresh(ask(&slow, 4).await).completion(outcome("late")).unwrap();
    let over = fresh(wait(&store, 4).await);
    let rows = sqlx::raw_sql(late.sql()).fetch_all(&mut connection).await.unwrap();
    assert!(rows.is_empty(), "it was lost");
    drop(late);
    over.complete_async(outcome("in time")).await.unwrap();
    assert_eq!(replay(Ok(found_out(&slow, 4))), "in time");
}
