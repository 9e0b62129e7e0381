//! Stores that are processes of their own: started on loopback in the contender's directory, stopped with it.
//!
//! Such a server decides itself whether a token is new, so that nothing is reserved in this process: the shared writer
//! settles all that queued in one dialogue, which completes the new tokens and answers the known ones. A server that is
//! not installed is left out, loudly. What it writes and what memory it takes is not this process's, and not shown.

mod over;
pub(crate) mod over_etcd;
pub(crate) mod over_postgresql;
mod postgresql;
mod redis_server;

use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::contender::{Contender, Kind, Peer};
use crate::fill::token;
use crate::handover::{Known, Record, Writer};
use crate::work::{Ask, outcome_of};

/// Tokens of one dialogue of a bulk fill.
const FILL_PART: u64 = 10_000;
/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(20);
const NAP: Duration = Duration::from_millis(50);

/// One connection to a server.
trait Server: Send + 'static {
    const NAME: &'static str;
    /// Completes the new ones durably; gives the outcomes of the others.
    fn settle(&mut self, records: &[Record]) -> Known;
    fn look_up(&mut self, token: &str) -> Option<Vec<u8>>;
}

struct Served<S> {
    server: Arc<Mutex<S>>,
    writer: Writer,
}

pub(crate) fn postgresql(home: &Path) -> Option<Box<dyn Contender>> {
    installed(postgresql::PostgreSql::start(home))
}

pub(crate) fn redis(home: &Path) -> Option<Box<dyn Contender>> {
    installed(redis_server::Redis::start(home))
}

fn installed<S: Server>(server: Result<S, String>) -> Option<Box<dyn Contender>> {
    let server = server.map_err(|why| eprintln!("\n!!! {} IS LEFT OUT: {why} !!!\n", S::NAME));
    server.ok().map(Served::boxed)
}

impl<S: Server> Served<S> {
    fn boxed(server: S) -> Box<dyn Contender> {
        let server = Arc::new(Mutex::new(server));
        let settling = Arc::clone(&server);
        let writer = Writer::start(move |records| settling.lock().settle(records));
        Box::new(Self { server, writer })
    }
}

impl<S: Server> Peer for Served<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    async fn ask(&self, ask: &Ask) -> Option<Vec<u8>> {
        self.writer.write(Record { token: ask.token.clone(), outcome: outcome_of(&ask.token) }).await
    }

    fn fill(&self, numbers: Range<u64>) {
        for first in numbers.clone().step_by(usize::try_from(FILL_PART).expect("it is small")) {
            let tokens = (first..numbers.end.min(first + FILL_PART)).map(token);
            let record = |token: String| Record { outcome: outcome_of(&token), token };
            self.server.lock().settle(&tokens.map(record).collect::<Vec<_>>());
        }
    }

    fn look_up(&self, token: &str) -> Option<Vec<u8>> {
        self.server.lock().look_up(token)
    }

    fn is_in_process(&self) -> bool {
        false
    }
}

/// A program's path: where the shell would find it, or in one of these directories.
fn find(name: &str, also: impl IntoIterator<Item = PathBuf>) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = also.into_iter().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    directories
        .find_map(|directory| Some(directory.join(name)).filter(|own| own.is_file()))
        .ok_or(format!("{name} is not installed"))
}

/// A port of loopback that nobody listens on.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|own| own.local_addr());
    listener.map(|address| address.port()).map_err(|error| error.to_string())
}

/// Tries until the server answers, or has ended, or patience has.
fn connect<T, E: ToString>(child: &mut Child, connect: impl Fn() -> Result<T, E>) -> Result<T, String> {
    let mut left = PATIENCE;
    loop {
        let error = match connect() {
            Ok(connection) => return Ok(connection),
            Err(error) => error.to_string(),
        };
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        if ended || left.is_zero() {
            return Err(format!("it does not answer: {error}"));
        }
        std::thread::sleep(NAP);
        left = left.saturating_sub(NAP);
    }
}
