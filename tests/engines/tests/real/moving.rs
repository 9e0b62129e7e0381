//! Goal: what an embedded store kept is kept by the engine, word for word, and servers ask all the while (contract 2.4, 3.3,
//! 3.4). Method: a store in a directory is filled and closed; the tool moves it while a server over the engine carries over
//! what it is asked for; then everything is asked of another server, which knows nothing of the directory.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use oncekey::{Answer, Key, Known, Outcome, Parameters, Store};
use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::postgres::Cluster;
use oncekey_engines::worker::parameters;

use crate::support::{begin, fresh, replay};

const RECORDS: u64 = 3_000;

fn key(number: u64) -> Key {
    Key::new("moved", format!("t-{number}")).unwrap()
}

/// Finished records, one that has expired, one that was interrupted behind a checkpoint, and one that was released.
fn fill(path: &Path) {
    let store = Store::open(path).unwrap();
    for number in 0..RECORDS {
        let (key, parameters) = (key(number), parameters());
        let Answer::Fresh(held) = store.request(&key, &parameters).relaxed().begin().unwrap() else {
            panic!("never seen")
        };
        held.complete(Outcome::http(200, format!("outcome {number}")).with_metadata("n", number.to_string()))
            .unwrap();
    }
    let (parameters, moment) = (parameters(), Duration::from_millis(1));
    let expired = key(RECORDS);
    let Answer::Fresh(held) = store.request(&expired, &parameters).retention(moment).begin().unwrap() else {
        panic!("never seen")
    };
    held.complete(Outcome::new("expired")).unwrap();
    for (number, note) in [(RECORDS + 1, "released"), (RECORDS + 2, "interrupted")] {
        let key = key(number);
        let Answer::Fresh(held) = store.request(&key, &parameters).start_durably().begin().unwrap() else {
            panic!("never seen")
        };
        held.checkpoint(note.as_bytes()).unwrap();
        if note == "released" { held.release().unwrap() } else { std::mem::forget(held) }
    }
    store.flush().unwrap();
    store.close(Duration::ZERO).unwrap();
}

fn tool(from: &Path, engine: &Engine) -> Output {
    let Engine::Postgres { url, schema } = engine else { panic!("it moves to PostgreSQL") };
    let mut tool = Command::new(env!("CARGO_BIN_EXE_tool"));
    tool.args(["--json", "migrate", "--to", url, "--schema", schema, "--from"]).arg(from).output().unwrap()
}

fn told(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn a_store_is_moved_while_servers_ask_and_nothing_of_it_is_lost_or_run_again_2_4_3_3_3_4() {
    let (cluster, directory) = (Cluster::shared(), tempfile::tempdir().unwrap());
    let engine = Engine::postgres(cluster.url(), "moving");
    fill(directory.path());

    // A server that reads both.
    let Engine::Postgres { url, schema } = &engine else { unreachable!("it was made so") };
    let both = oncekey::distributed::Postgres::at(url).unwrap().schema(schema);
    let server = Store::builder().connect_moving_from(directory.path(), both).unwrap();
    assert_eq!(replay(begin(&server, &key(7))), "outcome 7");
    let other = Parameters::query("something=else");
    assert!(server.begin(&key(8), &other).unwrap_err().is_mismatch());
    let new = Key::new("moved", "new").unwrap();
    fresh(begin(&server, &new)).complete(Outcome::new("new")).unwrap();

    let first = told(&tool(directory.path(), &engine));
    assert_eq!((&first["all_found"], &first["damaged"]), (&true.into(), &0.into()), "{first}");
    assert_eq!(first["there_already"], 2, "{first}");
    assert_eq!(first["moved"], RECORDS + 2 - 2, "{first}");
    let again = told(&tool(directory.path(), &engine));
    assert_eq!((&again["moved"], &again["there_already"]), (&0.into(), &(RECORDS + 2).into()), "{again}");
    drop(server);

    let after = engine.store(&Settings::default());
    for number in 0..RECORDS {
        let Answer::Replay(kept) = begin(&after, &key(number)).unwrap() else {
            panic!("{number} runs again")
        };
        assert_eq!(kept.outcome().body(), format!("outcome {number}").as_bytes());
        assert_eq!(kept.outcome().metadata(), [("n".to_owned(), number.to_string())]);
    }
    assert!(after.begin(&key(9), &other).unwrap_err().is_mismatch());
    assert_eq!(replay(begin(&after, &new)), "new");
    assert_eq!(fresh(begin(&after, &key(RECORDS))).attempt(), 1, "it has expired");
    assert!(matches!(after.get(&key(RECORDS + 2)).unwrap(), Known::Interrupted { attempt: 1, .. }));
    for (number, note, resumed) in [(RECORDS + 1, "released", false), (RECORDS + 2, "interrupted", true)] {
        let held = fresh(begin(&after, &key(number)));
        assert_eq!((held.attempt(), held.is_resumed()), (2, resumed));
        assert_eq!(held.last_checkpoint().unwrap().bytes(), note.as_bytes());
    }
}

#[test]
fn an_engine_that_holds_another_store_is_not_moved_to() {
    let (cluster, directory) = (Cluster::shared(), tempfile::tempdir().unwrap());
    let engine = Engine::postgres(cluster.url(), "moving_elsewhere");
    drop(engine.store(&Settings::default()));
    Store::open(directory.path()).unwrap().close(Duration::ZERO).unwrap();
    let refused = tool(directory.path(), &engine);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another store"), "{refused:?}");
}
