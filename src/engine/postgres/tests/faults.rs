//! What is told of what went wrong; connection strings.

use std::io;
use std::time::Duration;

use super::server::{Bench, LATER, ask, claim, completion, fence, key, run};
use crate::engine::postgres::Postgres;
use crate::engine::{Engine, Fault};
use crate::error::{Error, ErrorKind};

fn refusal<T>(came: Result<T, Fault>) -> Error {
    match came {
        Err(Fault::Refused(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[test]
fn a_string_that_is_none_is_refused_and_not_shown() {
    for text in ["", "user=canary", "host", "canary://a", "host=a port=canary", "host=a canary=1"] {
        let error = Postgres::at(text).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSetting { setting: "at", .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    let engine = Postgres::at("postgres://user:canary@db.canary:5433/canary?connect_timeout=1").unwrap();
    assert_eq!(format!("{engine:?}"), "Postgres { schema: \"oncekey\", .. }");
}

#[test]
fn settings_out_of_bounds_are_refused_before_anything_is_sent() {
    let at = || Postgres::at("host=/nowhere user=nobody").unwrap();
    let refused = [
        ("schema", at().schema("")),
        ("schema", at().schema("Upper")),
        ("schema", at().schema("1a")),
        ("schema", at().schema("a\"; DROP TABLE b")),
        ("schema", at().schema(&"a".repeat(41))),
        ("connections", at().connections(0)),
        ("partitions", at().partitions(Duration::from_millis(999))),
        ("answer_within", at().answer_within(Duration::ZERO)),
    ];
    for (name, engine) in refused {
        let told = run(engine.told());
        for error in [refusal(run(engine.identity())), refusal(told)] {
            let ErrorKind::InvalidSetting { setting, .. } = error.kind() else { panic!("{error}") };
            assert_eq!(*setting, name);
        }
    }
    let fine = at().schema(&"a".repeat(40)).connections(1024).partitions(Duration::from_secs(1));
    assert!(matches!(run(fine.identity()), Err(Fault::Unreached(io::ErrorKind::NotFound))));
}

#[test]
fn a_wrong_password_is_refused_and_not_shown_10_2() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let client = bench.client().await;
        client.batch_execute("CREATE ROLE refused LOGIN PASSWORD 'right'").await.unwrap();
        let text = bench.text("refused") + " password=canary";
        let engine = Postgres::at(&text).unwrap().schema(&bench.schema);
        for fault in [engine.identity().await.unwrap_err(), engine.told().await.unwrap_err()] {
            assert!(!format!("{fault:?} {engine:?}").contains("canary"));
            let error = fault.into_error("postgres");
            let kind = io::ErrorKind::PermissionDenied;
            assert_eq!(error.kind(), &ErrorKind::Io { operation: "connecting to PostgreSQL", kind });
        }
    });
}

#[test]
fn what_the_server_refuses_names_the_operation_and_no_value_10_2() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        bench.sql(&client, "ALTER TABLE {s}.claims ADD CHECK (started <> 'canary')").await;
        let own = crate::engine::Claim { started: b"canary"[..].into(), ..claim("canary", fence(epoch, 1)) };
        let error = refusal(engine.claim(std::slice::from_ref(&own)).await);
        assert_eq!(error.to_string(), "claiming keys failed: other error");
        bench.sql(&client, "DROP TABLE {s}.claims").await;
        assert_eq!(refusal(engine.claim(&[own]).await).to_string(), "claiming keys failed: entity not found");
        bench.sql(&client, "CREATE TABLE {s}.claims (key text)").await;
        refusal(engine.look_up(&[key("a")]).await);
    });
}

#[test]
fn what_a_driver_may_log_of_the_arguments_is_their_lengths_10_2() {
    use crate::engine::postgres::values::{Hidden, keys};
    let own = [key("canary")];
    let (keys, record) = (keys(&own), vec![Some(Hidden(b"canary"))]);
    assert_eq!(format!("{keys:?} {record:?}"), "[(13 bytes)] [Some((6 bytes))]");
}

#[test]
fn a_server_that_is_not_there_is_unreached() {
    let engine = Postgres::at("host=127.0.0.1 port=1 user=nobody connect_timeout=2").unwrap();
    let fault = run(engine.look_up(&[key("a")])).unwrap_err();
    assert!(matches!(fault, Fault::Unreached(io::ErrorKind::ConnectionRefused)), "{fault:?}");
    let error = fault.into_error("postgres");
    assert!(error.is_retryable(), "{error}");
}

#[test]
fn of_several_servers_the_one_that_answers_is_found() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let text = format!(
            "host=/nowhere,{} user=postgres dbname=postgres target_session_attrs=read-write",
            bench.directory()
        );
        let engine = Postgres::at(&text).unwrap().schema(&bench.schema);
        assert_eq!(engine.identity().await.unwrap(), None);
        let client = bench.client().await;
        client.batch_execute("CREATE ROLE standby LOGIN").await.unwrap();
        client.batch_execute("ALTER ROLE standby SET default_transaction_read_only = on").await.unwrap();
        let text = bench.text("standby") + " target_session_attrs=read-write";
        let fault = Postgres::at(&text).unwrap().identity().await.unwrap_err();
        assert!(matches!(fault, Fault::Unreached(_)), "{fault:?}");
    });
}

#[test]
fn a_connection_that_became_read_only_is_given_up() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        bench.made().await;
        let client = bench.client().await;
        let role = format!("reader_{}", bench.schema);
        bench.sql(&client, &format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
        bench.sql(&client, &format!("ALTER ROLE {role} SET default_transaction_read_only = on")).await;
        let engine = Postgres::at(&bench.text(&role)).unwrap().schema(&bench.schema);
        let claims = [claim("a", fence(1, 1))];
        let fault = engine.claim(&claims).await.unwrap_err();
        assert!(matches!(fault, Fault::Unreached(io::ErrorKind::ReadOnlyFilesystem)), "{fault:?}");
        // Promoted since: a new connection is not read only.
        bench.sql(&client, &format!("ALTER ROLE {role} RESET ALL")).await;
        assert_eq!(engine.claim(&claims).await.unwrap().answer.len(), 1);
    });
}

#[test]
fn a_connection_that_the_server_ended_is_unheard_and_the_next_call_has_another() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let engine = {
            drop(engine);
            let name = format!("{} application_name={}", bench.text("postgres"), bench.schema);
            Postgres::at(&name).unwrap().schema(&bench.schema).connections(1)
        };
        let client = bench.client().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        // A call that waits for a lock when its session is ended.
        bench.sql(&client, "BEGIN; LOCK TABLE {s}.claims").await;
        let own = [completion("a", fence(epoch, 1), LATER, b"done")];
        let completing = engine.complete(&own);
        let ending = async {
            let text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE application_name = $1 AND wait_event_type = 'Lock'";
            while client.query_one(text, &[&bench.schema]).await.unwrap().get::<_, i64>(0) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (came, ()) = futures_util::future::join(completing, ending).await;
        assert!(matches!(came, Err(Fault::Unheard(_))), "{came:?}");
        bench.sql(&client, "COMMIT").await;
        assert_eq!(engine.complete(&own).await.unwrap(), [true]);
    });
}

#[test]
fn an_answer_that_does_not_come_is_unheard_and_its_statement_ends() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        let client = bench.client().await;
        let name = format!("{} application_name={}", bench.text("postgres"), bench.schema);
        let hasty = Postgres::at(&name).unwrap().schema(&bench.schema);
        let hasty = hasty.answer_within(Duration::from_millis(300));
        ask(&hasty, claim("a", fence(epoch, 1))).await;
        let text = "CREATE OR REPLACE FUNCTION {s}.clock() RETURNS bigint LANGUAGE sql VOLATILE
            AS 'SELECT 5 + 0 * length(pg_sleep(3600)::text)::bigint'";
        bench.sql(&client, text).await;
        let fault = hasty.claim(&[claim("b", fence(epoch, 2))]).await.unwrap_err();
        assert!(matches!(fault, Fault::Unheard(io::ErrorKind::TimedOut)), "{fault:?}");
        let text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        while client.query_one(text, &[&bench.schema]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bench.stop_clock(&client, 1_000_000).await;
        assert_eq!(ask(&hasty, claim("b", fence(epoch, 2))).await, "granted");
        drop(engine);
    });
}

#[test]
fn what_is_in_anothers_way_is_a_conflict() {
    let Some(bench) = Bench::new() else { return };
    run(async {
        let (engine, epoch) = bench.joined().await;
        ask(&engine, claim("a", fence(epoch, 1))).await;
        let client = bench.client().await;
        let hasty = bench.engine().answer_within(Duration::from_millis(300));
        hasty.identity().await.unwrap();
        bench.sql(&client, "BEGIN; SELECT * FROM {s}.claims FOR UPDATE").await;
        let own = [(key("a"), fence(epoch, 1))];
        // It may be late instead, where the machine is busy; then it ends on the other side all the same.
        let fault = hasty.release(&own).await.unwrap_err();
        assert!(matches!(fault, Fault::Conflict | Fault::Unheard(io::ErrorKind::TimedOut)), "{fault:?}");
        assert!(engine.look_up(&[key("a")]).await.unwrap().answer[0].held.is_some());
        bench.sql(&client, "COMMIT").await;
        assert_eq!(engine.release(&own).await.unwrap(), [true]);
    });
}
