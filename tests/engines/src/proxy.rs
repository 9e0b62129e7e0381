//! A way to a server that can be hurt: it hangs, is late, is closed, or loses one answer.
//!
//! Law: bytes come through whole and in order, or not at all. What hangs goes on where it was, as TCP does when a partition
//! heals. An answer is lost only after it was there: the server has done what it was asked.
//!
//! | mode | a new connection | one that is there |
//! | --- | --- | --- |
//! | `Pass` | is passed on | is passed on |
//! | `Hang` | is taken, and nothing comes through | nothing comes through, either way, nor its end |
//! | `Late` | as `Pass` | what comes is held back for that long, either way |
//! | `Closed` | is closed at once | was closed when the mode began |
//!
//! `lose` waits for a question with certain bytes, `sever` hangs those connections whose first question has them; see there.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::process::PATIENCE;

/// How a proxy treats what goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    Hang,
    Late(Duration),
    Closed,
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection is closed in its stead.
    Cut,
    /// The connection stays, and nothing ever comes.
    Silence,
}

/// A question whose answer is to be lost.
#[derive(Clone, Debug)]
struct Trap {
    bytes: Vec<u8>,
    loss: Loss,
    then: Mode,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Connections whose first question has these bytes hang.
    severed: Option<Vec<u8>>,
    trap: Option<Trap>,
    /// Answers that were lost.
    lost: u64,
    /// Connections that were closed belong to an earlier round.
    round: u64,
    streams: Vec<TcpStream>,
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

/// It ends with this.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// Both ends of one connection, and what both its threads know.
struct Connection {
    shared: Arc<Shared>,
    round: u64,
    client: TcpStream,
    server: TcpStream,
    /// Its next answer is to be lost.
    doomed: Mutex<Option<Trap>>,
    /// What was asked first, as far as it came at once.
    first: OnceLock<Vec<u8>>,
}

impl Proxy {
    /// A proxy before a server at this port of loopback.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("it has an address").port();
        let state = State {
            mode: Mode::Pass,
            severed: None,
            trap: None,
            lost: 0,
            round: 0,
            streams: Vec::new(),
            ended: false,
        };
        let to = (Ipv4Addr::LOCALHOST, port).into();
        let shared = Arc::new(Shared { to, state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(shared) = accepting.upgrade().filter(|own| !own.lock().ended) else { return };
                // A server that is down: so is the way to it.
                let _ = Connection::start(shared, client);
            }
        });
        Self { port: own, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.shared.set(&mut self.shared.lock(), mode);
    }

    /// From now on those connections hang, old ones and new, whose first question has these bytes: by what clients say of
    /// themselves. `None`: none do.
    pub fn sever(&self, bytes: Option<&[u8]>) {
        self.shared.lock().severed = bytes.map(<[u8]>::to_vec);
        self.shared.changed.notify_all();
    }

    /// Closes all connections and goes on as before.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        let mode = state.mode;
        self.shared.set(&mut state, Mode::Closed);
        self.shared.set(&mut state, mode);
    }

    /// The next question that has these bytes comes through; its answer is lost, and the mode is this one then.
    pub fn lose(&self, bytes: impl AsRef<[u8]>, loss: Loss, then: Mode) {
        self.shared.lock().trap = Some(Trap { bytes: bytes.as_ref().to_vec(), loss, then });
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Waits until so many were.
    pub fn wait_lost(&self, lost: u64) {
        let wait =
            self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, |own| own.lost < lost);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        assert!(state.lost >= lost, "no answer was lost: {:?}", state.trap);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Closed);
        self.shared.lock().ended = true;
        // The thread that accepts looks up once more.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: &mut State, mode: Mode) {
        state.mode = mode;
        if mode == Mode::Closed {
            state.round += 1;
            state.streams.drain(..).for_each(|own| close(&own));
        }
        self.changed.notify_all();
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|own| own == part)
}

fn close(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}

impl Connection {
    fn start(shared: Arc<Shared>, client: TcpStream) -> io::Result<()> {
        let (server, round) = {
            let mut state = shared.lock();
            if state.mode == Mode::Closed {
                return Ok(());
            }
            let server = TcpStream::connect(shared.to)?;
            state.streams.extend([client.try_clone()?, server.try_clone()?]);
            (server, state.round)
        };
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let own = Arc::new(Self {
            shared,
            round,
            client,
            server,
            doomed: Mutex::new(None),
            first: OnceLock::new(),
        });
        let other = Arc::clone(&own);
        std::thread::spawn(move || own.ask());
        std::thread::spawn(move || other.answer());
        Ok(())
    }

    /// From the client to the server.
    fn ask(&self) {
        let look = |bytes: &[u8]| {
            self.first.get_or_init(|| bytes.to_vec());
            let mut state = self.shared.lock();
            if let Some(trap) = state.trap.take_if(|own| has(bytes, &own.bytes)) {
                *self.doomed() = Some(trap);
            }
            true
        };
        self.carry(&self.client, &self.server, look);
    }

    /// From the server to the client.
    fn answer(&self) {
        let look = |_: &[u8]| {
            let Some(trap) = self.doomed().take() else { return true };
            let mut state = self.shared.lock();
            // First what follows, so that nobody who notices the end finds the way open.
            self.shared.set(&mut state, trap.then);
            state.lost += 1;
            self.shared.changed.notify_all();
            if trap.loss == Loss::Cut {
                close(&self.client);
                close(&self.server);
            }
            false
        };
        self.carry(&self.server, &self.client, look);
    }

    fn doomed(&self) -> MutexGuard<'_, Option<Trap>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries bytes until one end is closed, or `look` says that they go no further.
    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream, look: impl Fn(&[u8]) -> bool) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            if read > 0 && !look(&buffer[..read]) {
                return;
            }
            if !self.may_pass() {
                return;
            }
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                // An end goes the way of the bytes.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
        }
    }

    /// Waits as long as the mode says; `false`: the connection was closed.
    fn may_pass(&self) -> bool {
        let state = self.shared.lock();
        let late = match state.mode {
            Mode::Late(time) => time,
            _ => Duration::ZERO,
        };
        let severed = |own: &State| {
            let (first, mark) = (self.first.get(), own.severed.as_ref());
            first.zip(mark).is_some_and(|(first, mark)| has(first, mark))
        };
        let hangs = |own: &mut State| (own.mode == Mode::Hang || severed(own)) && own.round == self.round;
        let state = if late.is_zero() {
            state
        } else {
            drop(state);
            std::thread::sleep(late);
            self.shared.lock()
        };
        let state = self.shared.changed.wait_while(state, hangs).unwrap_or_else(PoisonError::into_inner);
        state.round == self.round
    }
}
