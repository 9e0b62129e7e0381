//! Requests over loopback, as plainly as they can be sent: HTTP/1.1, kept alive, one in flight on each connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::sides::{ANSWER, Asked, BODY, Side};

/// How many requests a second were answered, from so many connections.
pub async fn per_second(side: &Side, connections: usize, time: Duration) -> f64 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    let router = side.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    let start = Instant::now();
    for _ in 0..connections {
        let prefix = match side.asked {
            Asked::Anew => Some(side.next_key()),
            Asked::Again => None,
        };
        let (answered, mut stream) =
            (Arc::clone(&answered), TcpStream::connect(address).await.expect("it listens"));
        clients.spawn(async move {
            for number in 0.. {
                if start.elapsed() > time {
                    return;
                }
                let key = prefix.as_ref().map_or("the-same-key".to_owned(), |own| format!("{own}-{number}"));
                exchange(&mut stream, &key).await;
                answered.fetch_add(1, Relaxed);
            }
        });
    }
    while clients.join_next().await.is_some() {}
    let rate = answered.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
    server.abort();
    rate
}

async fn exchange(stream: &mut TcpStream, key: &str) {
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut read = Vec::with_capacity(512);
    while !read.ends_with(ANSWER.as_bytes()) {
        assert!(stream.read_buf(&mut read).await.expect("it is open") > 0, "it was closed");
    }
    assert!(read.starts_with(b"HTTP/1.1 200"));
}
