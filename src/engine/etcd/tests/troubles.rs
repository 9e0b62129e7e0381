//! Goal: whatever stands between a store and etcd is told for what it is. Method: requests over each limit; a port that
//! nobody listens on, one that never answers; a server that is killed and comes back; a silence; users and their tokens.

use std::io;
use std::net::TcpListener;
use std::process::Command;
use std::slice;

use super::*;
use crate::engine::Fault;
use crate::engine::etcd::layout::delete;
use crate::error::{Error, Limit};

fn refusal<T: fmt::Debug>(came: Result<T, Fault>) -> Error {
    match came {
        Err(Fault::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_larger_than_a_request_is_refused_with_its_size_and_the_limit_8_1() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let [own, wide] =
        [engine(server, "large", &clock), engine(server, "large", &clock).request_bytes_max(1 << 30)];
    block_on(async {
        ready(&own).await;
        let epoch = own.begin_epoch(None).await.unwrap().answer;
        let tokens = ["a", "b", "c", "d"];
        let claims = tokens.map(|token| claim(token, fence(epoch, 1)));
        assert!(own.claim(&claims).await.unwrap().answer.iter().all(|own| matches!(own, Claimed::Granted)));
        let large = completion("a", fence(epoch, 1), Timestamp::MAX, &vec![7; 1_600_000]);
        let error = refusal(own.complete(slice::from_ref(&large)).await);
        let ErrorKind::TooLarge { what: Limit::EngineRequestBytes, measured, limit: 1_572_864 } =
            *error.kind()
        else {
            panic!("{error}");
        };
        assert!((1_600_000..1_601_000).contains(&measured), "{error}");
        let error = refusal(wide.complete(&[large]).await);
        let ErrorKind::InvalidSetting { setting: "request_bytes_max", .. } = error.kind() else {
            panic!("{error}")
        };

        // What is too large together goes apart.
        let million = vec![7; 1_000_000];
        let all = tokens.map(|token| completion(token, fence(epoch, 1), Timestamp::MAX, &million));
        assert_eq!(own.complete(&all).await.unwrap(), [true; 4]);
        let sights = own.look_up(&tokens.map(key)).await.unwrap().answer;
        assert!(sights.iter().all(|own| own.record.as_ref().is_some_and(|record| record.len() == 1_000_000)));
    });
}

#[test]
fn more_operations_than_the_server_allows_are_refused_with_the_setting_to_change_8_1() {
    let Some(server) = shared() else { return };
    let engine = engine(server, "operations", &clock()).operations_max(1_000);
    block_on(async {
        ready(&engine).await;
        let claims: Vec<Claim> = (0..300).map(|at| claim(&format!("{at:03}"), at)).collect();
        let error = refusal(Engine::claim(&engine, &claims).await);
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::InvalidSetting { setting: "operations_max", measured: 1_000, .. }),
            "{error}"
        );
    });
}

#[test]
fn who_is_not_reached_is_told_apart_from_who_does_not_answer() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let engine = Etcd::at([closed.to_string()]).unwrap();
    let came = block_on(engine.identity());
    assert!(matches!(came, Err(Fault::Unreached(io::ErrorKind::ConnectionRefused))), "{came:?}");
    assert!(came.unwrap_err().into_error("etcd").is_retryable());

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine =
        Etcd::at([mute.local_addr().unwrap().to_string()]).unwrap().deadline(Duration::from_millis(200));
    let came = block_on(engine.release(&[(key("t"), 1)]));
    assert!(matches!(came, Err(Fault::Unheard(io::ErrorKind::TimedOut))), "{came:?}");
}

#[test]
fn another_member_is_asked_where_one_is_not_reached() {
    let Some(server) = shared() else { return };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let engine = Etcd::at([closed.to_string(), server.url()]).unwrap().prefix("members").unwrap();
    block_on(async {
        ready(&engine).await;
        assert_eq!(engine.begin_epoch(None).await.unwrap().answer, 1);
    });
}

#[test]
fn a_server_that_was_killed_is_found_again_with_all_it_had_acknowledged_5_1() {
    if !server::is_installed() {
        return;
    }
    let mut server = Server::start();
    let engine = engine(&server, "killed", &clock());
    block_on(async {
        ready(&engine).await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        let claims = [claim("kept", fence(epoch, 1)), claim("watched", fence(epoch, 2))];
        engine.claim(&claims).await.unwrap();
        let own = completion("kept", fence(epoch, 1), Timestamp::MAX, b"done");
        assert_eq!(engine.complete(slice::from_ref(&own)).await.unwrap(), [true]);
        let watch = Watch { key: key("watched"), fence: fence(epoch, 2), mark: 77 };
        assert_eq!(engine.watch(&[watch]).await.unwrap(), [true]);
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart(|| ());
        // Whether the watch saw the end of its claim nobody knows: it is told.
        assert_eq!(engine.told().await.unwrap(), 77);
        ready(&engine).await;
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true], "sent again");
        assert_eq!(sight(&engine, "watched").await.held.unwrap().fence, fence(epoch, 2));
        assert_eq!(engine.begin_epoch(None).await.unwrap().answer, epoch + 1);
    });
}

#[test]
fn one_runtime_after_another_may_ask() {
    let Some(server) = shared() else { return };
    let engine = engine(server, "runtimes", &clock());
    block_on(ready(&engine));
    for last in 0..3 {
        assert_eq!(block_on(engine.begin_epoch(None)).unwrap().answer, last + 1);
        let own = claim(&last.to_string(), fence(last + 1, 1));
        let watch = Watch { key: own.key.clone(), fence: own.fence, mark: last };
        block_on(async {
            engine.claim(slice::from_ref(&own)).await.unwrap();
            assert_eq!(engine.watch(&[watch]).await.unwrap(), [true]);
            assert_eq!(engine.release(&[(own.key, own.fence)]).await.unwrap(), [true]);
            assert_eq!(engine.told().await.unwrap(), last);
        });
    }
}

#[test]
fn an_epoch_whose_process_gives_no_sign_of_life_ends_only_where_that_was_asked_for() {
    let Some(server) = shared() else { return };
    let clock = clock();
    let [quiet, other] = [(); 2].map(|()| engine(server, "signs", &clock));
    let beating = engine(server, "signs", &clock).dead_after(Duration::from_secs(5));
    block_on(async {
        ready(&other).await;
        let first = quiet.begin_epoch(None).await.unwrap().answer;
        let second = beating.begin_epoch(None).await.unwrap().answer;
        assert!(matches!(claimed_one(&quiet, claim("quiet", fence(first, 1))).await, Claimed::Granted));
        assert!(matches!(claimed_one(&beating, claim("beating", fence(second, 1))).await, Claimed::Granted));

        // A lease as long as that of the one that beats, which nobody keeps alive.
        let grant = wire::Grant { ttl: 5 };
        let lease = other.link.call(&grant).await.unwrap().id;
        let put = put(other.layout.node("control"), Vec::new(), lease);
        bundle(&other.link, vec![Txn { success: vec![put], ..Txn::default() }]).await.unwrap();
        let control =
            wire::Range { key: other.layout.node("control"), count_only: true, ..wire::Range::default() };
        wait_for(async || other.link.call(&control).await.unwrap().count == 0).await;
        assert!(!sight(&other, "beating").await.held.unwrap().ended, "it beats");

        drop(beating);
        wait_for(async || sight(&other, "beating").await.held.unwrap().ended).await;
        drop(quiet);
        assert!(!sight(&other, "quiet").await.held.unwrap().ended);
    });
}

#[test]
fn who_was_held_for_dead_gets_no_claim_any_more_and_can_still_complete_4_4() {
    let Some(server) = shared() else { return };
    let engine = engine(server, "dead", &clock()).dead_after(MINUTE);
    block_on(async {
        ready(&engine).await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        assert!(matches!(claimed_one(&engine, claim("t", fence(epoch, 1))).await, Claimed::Granted));
        let gone = Txn { success: vec![delete(&engine.layout.epoch(epoch))], ..Txn::default() };
        bundle(&engine.link, vec![gone]).await.unwrap();
        let claims: Vec<Claim> =
            (0..200).map(|at| claim(&format!("{at:03}"), fence(epoch, at + 2))).collect();
        let error = refusal(Engine::claim(&engine, &claims).await);
        assert!(matches!(error.kind(), ErrorKind::Stopped { .. }), "{error}");
        let own = completion("t", fence(epoch, 1), Timestamp::MAX, b"done");
        assert_eq!(engine.complete(&[own]).await.unwrap(), [true], "nobody had taken it over");
        assert_eq!(engine.count().await.unwrap(), Count { live_reservations: 0, kept_records: 1 });
        let next = engine.begin_epoch(None).await.unwrap().answer;
        assert!(
            matches!(claimed_one(&engine, claim("u", fence(next, 1))).await, Claimed::Granted),
            "reopened"
        );
    });
}

#[test]
fn users_are_let_in_by_their_password_and_again_when_their_token_is_old() {
    if !server::is_installed() {
        return;
    }
    let server = Server::start();
    let control = |line: &str| {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.url())).args(line.split(' '));
        command.output().is_ok_and(|own| own.status.success())
    };
    if !control("version") {
        eprintln!("SKIPPED: etcdctl is not installed (Debian: `apt-get install etcd-client`)");
        return;
    }
    let own = |name: &str, password: &str| engine(&server, "users", &clock()).user(name, password);
    block_on(ready(&own("early", "no users yet")));
    for line in [
        "user add root:over",
        "user grant-role root root",
        "role add writer",
        "role grant-permission writer --prefix=true readwrite users/",
        "user add canary-user:canary-password",
        "user grant-role canary-user writer",
        "auth enable",
    ] {
        assert!(control(line), "{line}");
    }
    let user = own("canary-user", "canary-password");
    assert!(!format!("{user:?}").contains("canary"));
    block_on(async {
        let epoch = user.begin_epoch(None).await.unwrap().answer;
        assert!(control("--user=root:over user add another:one"), "makes all tokens old");
        assert!(matches!(claimed_one(&user, claim("t", fence(epoch, 1))).await, Claimed::Granted));
        assert_eq!(
            user.watch(&[Watch { key: key("t"), fence: fence(epoch, 1), mark: 5 }]).await.unwrap(),
            [true]
        );
        assert_eq!(user.release(&[(key("t"), fence(epoch, 1))]).await.unwrap(), [true]);
        assert_eq!(user.told().await.unwrap(), 5);

        let denied = |error: Error| {
            matches!(error.kind(), ErrorKind::Io { kind: io::ErrorKind::PermissionDenied, .. })
        };
        let wrong = own("canary-user", "wrong");
        assert!(denied(refusal(wrong.identity().await)));
        let nobody = engine(&server, "users", &clock());
        assert!(denied(refusal(nobody.identity().await)));
        let elsewhere = engine(&server, "elsewhere", &clock()).user("canary-user", "canary-password");
        assert!(denied(refusal(elsewhere.identity().await)));
        assert!(denied(refusal(elsewhere.begin_epoch(None).await)));
    });
}

#[test]
fn addresses_are_checked_before_anything_is_asked() {
    let refused = |endpoints: &[&str]| {
        let error = Etcd::at(endpoints.iter().copied()).unwrap_err();
        let ErrorKind::InvalidSetting { setting: "endpoints", measured, .. } = *error.kind() else {
            panic!("{error}")
        };
        measured
    };
    assert_eq!(refused(&[]), 0);
    assert_eq!(refused(&["http://one:2379", "ftp://two:2379"]), 1);
    assert_eq!(refused(&["http://"]), 0);
    assert_eq!(refused(&["a b"]), 0);
    assert!(Etcd::at(["10.0.0.1:2379", "http://[::1]:2379"]).is_ok());
}
