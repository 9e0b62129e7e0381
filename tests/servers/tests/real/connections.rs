//! Goal: what a user does by hand, and what a crash between try and retry leaves (contract 5.1, 5.3). Method: curl, and the shop
//! as a process that is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Client;

use crate::support::{Answer, answer, draft};

struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oncekey-servers"))
            .arg(store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    async fn post(&self, path: &str, key: &str) -> Answer {
        let request = Client::new().post(format!("http://{}{path}", self.address));
        answer(request.header("x-account", "a").header("idempotency-key", key)).await
    }
}

impl Drop for Process {
    /// SIGKILL.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_retry_after_the_server_was_killed_gets_the_first_answer_5_1() {
    let temporary = tempfile::tempdir().unwrap();
    let store = temporary.path().join("store");
    let first = Process::start(&store);
    let answered = first.post("/orders", "k").await;
    assert_eq!((answered.status, answered.body.as_str()), (201, r#"{"order":1,"attempt":1,"bytes":0}"#));
    drop(first);
    for _ in 0..2 {
        let next = Process::start(&store);
        assert_eq!(next.post("/orders", "other").await.status, 201);
        let again = next.post("/orders", "k").await;
        assert_eq!(
            (again.body, again.headers.contains_key("idempotency-replayed")),
            (answered.body.clone(), true)
        );
    }
}

#[tokio::test]
async fn what_ran_when_the_server_was_killed_runs_again_5_3() {
    let temporary = tempfile::tempdir().unwrap();
    let store = temporary.path().join("store");
    let first = Process::start(&store);
    let request = Client::new().post(format!("http://{}/slow", first.address));
    let cut = request.header("x-account", "a").header("idempotency-key", "k").send();
    let killed = async {
        while first.runs().await != "1" {
            tokio::task::yield_now().await;
        }
        drop(first);
    };
    let (cut, ()) = tokio::join!(cut, killed);
    assert!(cut.is_err());
    let next = Process::start(&store);
    let again = next.post("/status/200", "k").await;
    assert_eq!(
        (again.status, again.body.as_str()),
        (200, "status 1"),
        "a volatile start is gone, its parameters too"
    );
}

impl Process {
    async fn runs(&self) -> String {
        let asked = Client::new().get(format!("http://{}/runs", self.address)).send().await.unwrap();
        asked.text().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sees_what_the_readme_says() {
    let server = draft(|own| own).await;
    let curl = |key: &str, body: &str| {
        let said = Command::new("curl")
            .args(["-sS", "-i", "-X", "POST", "-H", "x-account: a", "-H"])
            .arg(format!("Idempotency-Key: {key}"))
            .args(["-H", "Content-Type: application/json", "-d", body])
            .arg(server.url("/orders"))
            .output()
            .expect("curl is installed");
        String::from_utf8(said.stdout).unwrap()
    };
    let (first, again, other) = (curl("\"k\"", "{}"), curl("\"k\"", "{ }"), curl("\"k\"", "[]"));
    assert!(first.starts_with("HTTP/1.1 201 Created") && !first.contains("idempotency-replayed"), "{first}");
    assert!(
        again.starts_with("HTTP/1.1 201 Created") && again.contains("idempotency-replayed: true"),
        "{again}"
    );
    assert!(other.starts_with("HTTP/1.1 422") && other.contains("urn:oncekey:problem:mismatch"), "{other}");
}
