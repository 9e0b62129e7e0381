//! Goal: a real server of actix-web's keeps the contract over HTTP (9.1). Method: it listens in this process, and is asked over
//! bare sockets, so that a client can hang up when it likes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use oncekey::Store;
use oncekey_actix::idempotent;

type Runs = Arc<AtomicU32>;

async fn order(runs: web::Data<Runs>, body: String) -> HttpResponse {
    rt::time::sleep(Duration::from_millis(300)).await;
    let run = runs.fetch_add(1, SeqCst) + 1;
    HttpResponse::Created().content_type("text/x-receipt").body(format!("run {run} of {body}"))
}

/// A server of two workers, on threads of its own.
fn serve() -> (SocketAddr, Runs) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, runs) = (listener.local_addr().unwrap(), Runs::default());
    let (store, shared) = (Store::in_memory().unwrap(), Arc::clone(&runs));
    std::thread::spawn(move || {
        let app = move || {
            App::new()
                .app_data(web::Data::new(store.clone()))
                .app_data(web::Data::new(Arc::clone(&shared)))
                .wrap(from_fn(idempotent))
                .route("/orders", web::post().to(order))
        };
        let server = HttpServer::new(app).workers(2).listen(listener).unwrap();
        rt::System::new().block_on(server.run()).unwrap();
    });
    (address, runs)
}

fn send(address: SocketAddr, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
    stream
}

/// The whole answer, in lower case.
fn ask(address: SocketAddr, headers: &str, body: &str) -> String {
    let mut answer = String::new();
    send(address, headers, body).read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

const ANN: &str = "Authorization: Bearer ann\r\nIdempotency-Key: \"k\"\r\n";
const BOB: &str = "Authorization: Bearer bob\r\nIdempotency-Key: k\r\n";

#[test]
fn a_retry_gets_the_first_answer_and_another_request_or_nobody_s_is_refused_9_1() {
    let (address, runs) = serve();
    let first = ask(address, ANN, "tea");
    assert!(first.starts_with("http/1.1 201") && first.ends_with("run 1 of tea"), "{first}");
    assert!(!first.contains("idempotency-replayed"));
    let again = ask(address, ANN, "tea");
    for part in ["http/1.1 201", "idempotency-replayed: true", "text/x-receipt", "run 1 of tea"] {
        assert!(again.contains(part), "{part} in {again}");
    }
    assert!(ask(address, ANN, "coffee").starts_with("http/1.1 422"));
    assert!(ask(address, "Authorization: Bearer ann\r\n", "tea").starts_with("http/1.1 400"));
    assert!(ask(address, "Idempotency-Key: k\r\n", "tea").starts_with("http/1.1 401"));
    let long = format!("Authorization: Bearer ann\r\nIdempotency-Key: {}\r\n", "k".repeat(65));
    assert!(ask(address, &long, "tea").starts_with("http/1.1 400"));
    assert_eq!(runs.load(SeqCst), 1);
    assert!(ask(address, BOB, "tea").ends_with("run 2 of tea"), "another account's");
}

#[test]
fn of_16_at_once_one_runs_and_all_get_its_answer_3_6() {
    let (address, runs) = serve();
    let callers: Vec<_> = (0..16).map(|_| std::thread::spawn(move || ask(address, ANN, "tea"))).collect();
    for caller in callers {
        assert!(caller.join().unwrap().ends_with("run 1 of tea"));
    }
    assert_eq!(runs.load(SeqCst), 1);
}

#[test]
fn a_client_that_hangs_up_cancels_nothing_and_its_retry_gets_the_answer() {
    let (address, runs) = serve();
    // What is closed with something unread is reset, and not just ended: that the server notices, and drops the request.
    let stream = send(address, &format!("{ANN}Expect: 100-continue\r\n"), "tea");
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    let retry = ask(address, ANN, "tea");
    assert!(retry.contains("idempotency-replayed: true") && retry.ends_with("run 1 of tea"), "{retry}");
    assert_eq!(runs.load(SeqCst), 1);
}
