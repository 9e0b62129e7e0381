//! The other side: an HTTP server of a few lines that remembers under which tokens each step was called.
//!
//! Law: a token that it has seen gets the first receipt again, as every good API does; what it counts is what a worker
//! that forgets would give away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often each step (`/charge/7`) was called, by token.
type Calls = BTreeMap<String, BTreeMap<String, usize>>;

pub(crate) struct Server {
    address: SocketAddr,
    calls: Arc<Mutex<Calls>>,
}

/// What the other side saw.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) steps: usize,
    pub(crate) calls: usize,
    /// Calls of a step that had been called before, under the same token.
    pub(crate) repeated: usize,
    pub(crate) under_two_tokens: usize,
}

impl Server {
    /// Listens on a port of its own, for as long as the process lives.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let calls = Arc::<Mutex<Calls>>::default();
        let own = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A caller that was killed in the middle of its call is nobody's trouble.
                drop(answer(&stream, &own));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn tally(&self) -> Tally {
        let calls = self.calls.lock().expect("nobody panicked");
        let counts = || calls.values().flat_map(BTreeMap::values);
        Tally {
            steps: calls.len(),
            calls: counts().sum(),
            repeated: counts().map(|count| count - 1).sum(),
            under_two_tokens: calls.values().filter(|tokens| tokens.len() > 1).count(),
        }
    }
}

fn answer(mut stream: &TcpStream, calls: &Mutex<Calls>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let step = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut token = String::new();
    loop {
        // A request counts once its head is whole: of a caller killed while it wrote, a part arrives.
        let line = lines.next().ok_or(ErrorKind::UnexpectedEof)??;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Idempotency-Key: ") {
            value.trim_matches('"').clone_into(&mut token);
        }
    }
    // It does its work before it answers: a kill in between is the case that tokens are for.
    *calls.lock().expect("nobody panicked").entry(step.clone()).or_default().entry(token).or_default() += 1;
    std::thread::sleep(Duration::from_millis(1));
    let receipt = format!("receipt for {step}");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{receipt}",
        receipt.len()
    )
}

#[test]
fn a_request_of_which_a_part_arrived_is_not_counted() {
    let server = Server::start();
    for part in ["", "POST /charge/1", "POST /charge/17 HTTP/1.1\r\nIdempotency-Key: \"t\"\r\n"] {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.write_all(part.as_bytes()).expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("closed");
        // Waits until the server has let go of it.
        assert_eq!(std::io::Read::read(&mut stream, &mut [0]).expect("its end"), 0, "no answer to {part:?}");
    }
    assert_eq!(server.tally().steps, 0);
}
