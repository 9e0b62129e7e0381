//! The way to etcd: one connection at a time, to one of its members.
//!
//! Law: a connection is made when something is asked, on the runtime that asks, and belongs to it. Where it fails, the next
//! member is tried at the next asking; nothing is sent again here, but for a token that had grown old, which etcd says
//! before anything has happened. Each request has a deadline, and is not sent where it is larger than etcd's limit. All
//! that is asked is asked of the members that have a leader (`hasleader`), and every reading is linearizable.

use std::io;
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tokio::runtime::{Handle, Id};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};

use super::fault::{Failure, Measured, breaks, judge, kind_of, refused, too_large, unheard, unreached};
use super::wire::{Authenticate, Call, Wire};
use crate::error::ErrorKind;

/// What etcd itself puts around a request before it measures it, at most: a number, the user's name.
const OVERHEAD: usize = 512;
/// Bytes of an answer at most: a whole chunk of the largest records.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// A connection on which something is waited for and nothing comes for so long is asked whether it stands, and given up so
/// much later. etcd suffers it every five seconds at most, and not at all where nothing is waited for.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(5));

/// Who asks.
#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

/// Where etcd is, and how it is asked.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether they were told how to trust.
    pub(super) encrypted: bool,
    pub(super) user: Option<User>,
    pub(super) deadline: Duration,
    pub(super) request_bytes_max: usize,
    pub(super) operations_max: usize,
}

pub(super) struct Link {
    pub(super) settings: Settings,
    switch: Mutex<Switch>,
}

#[derive(Default)]
struct Switch {
    /// The member that it stands at, counted on and on.
    at: usize,
    /// Lines that were made.
    made: usize,
    line: Option<Line>,
}

#[derive(Clone)]
struct Line {
    number: usize,
    runtime: Id,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Link {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, switch: Mutex::default() }
    }

    /// Asks and waits for the answer.
    pub(super) async fn call<Q: Call>(&self, request: &Q) -> Result<Q::Answer, Failure> {
        let bytes = Bytes::from(request.encode_to_vec());
        let measured = self.measured(bytes.len());
        if measured.bytes > measured.bytes_max {
            return Err(too_large(measured));
        }
        let answer = self.sent::<Q>(bytes.clone(), measured).await;
        if let Err(Failure::BadToken) = answer
            && self.settings.user.is_some()
        {
            return self.sent::<Q>(bytes, measured).await;
        }
        answer
    }

    async fn sent<Q: Call>(&self, bytes: Bytes, measured: Measured) -> Result<Q::Answer, Failure> {
        let line = self.line().await?;
        let late = || Err(unheard(io::ErrorKind::TimedOut));
        let answer = timeout(self.settings.deadline, self.unary::<Q>(&line, bytes, measured)).await;
        let answer = answer.unwrap_or_else(|_| late());
        self.judged(&line, answer).await
    }

    async fn unary<Q: Call>(
        &self,
        line: &Line,
        bytes: Bytes,
        measured: Measured,
    ) -> Result<Q::Answer, Failure> {
        let mut grpc = Grpc::new(line.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let ready = grpc.ready().await;
        ready.map_err(|error| unreached(kind_of(&error)))?;
        let request = signed(line, bytes, Some(self.settings.deadline));
        let path = http::uri::PathAndQuery::from_static(Q::PATH);
        let answer = grpc.unary(request, path, Wire::new()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| judge(&status, measured))
    }

    /// Opens a stream of requests and answers. It opens when its first answer comes, so something has to be asked before.
    pub(super) async fn stream<Q: Call>(
        &self,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Q::Answer>, Failure> {
        let line = self.line().await?;
        let measured = self.measured(0);
        let opened = timeout(self.settings.deadline, async {
            let mut grpc = Grpc::new(line.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
            grpc.ready().await.map_err(|error| unreached(kind_of(&error)))?;
            let path = http::uri::PathAndQuery::from_static(Q::PATH);
            let opened = grpc.streaming(signed(&line, requests, None), path, Wire::new()).await;
            opened.map(tonic::Response::into_inner).map_err(|status| judge(&status, measured))
        });
        let opened = opened.await.unwrap_or_else(|_| Err(unheard(io::ErrorKind::TimedOut)));
        self.judged(&line, opened).await
    }

    /// A request of so many bytes, as etcd will measure it.
    pub(super) fn measured(&self, bytes: usize) -> Measured {
        let Settings { request_bytes_max: bytes_max, operations_max, .. } = self.settings;
        Measured { bytes: bytes + OVERHEAD, bytes_max, operations_max }
    }

    /// Hangs up where the line is broken, or its token old.
    async fn judged<T>(&self, line: &Line, answer: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &answer
            && (breaks(failure) || matches!(failure, Failure::BadToken))
        {
            let mut switch = self.switch.lock().await;
            if switch.line.as_ref().is_some_and(|own| own.number == line.number) {
                switch.line = None;
                // With a new token the same member will do.
                switch.at += usize::from(breaks(failure));
            }
        }
        answer
    }

    /// The line that there is, or another.
    async fn line(&self) -> Result<Line, Failure> {
        let line = timeout(self.settings.deadline, async {
            let mut switch = self.switch.lock().await;
            let runtime = Handle::current().id();
            if let Some(line) = switch.line.as_ref().filter(|line| line.runtime == runtime) {
                return Ok(line.clone());
            }
            let mut failure = unreached(io::ErrorKind::NotConnected);
            for _ in &self.settings.endpoints {
                switch.made += 1;
                match self.connect(switch.at, switch.made, runtime).await {
                    Ok(line) => {
                        switch.line = Some(line.clone());
                        return Ok(line);
                    }
                    Err(own) if breaks(&own) => failure = own,
                    Err(own) => return Err(own),
                }
                switch.at += 1;
            }
            Err(failure)
        });
        line.await.unwrap_or_else(|_| Err(unreached(io::ErrorKind::TimedOut)))
    }

    async fn connect(&self, at: usize, number: usize, runtime: Id) -> Result<Line, Failure> {
        let Settings { endpoints, deadline, .. } = &self.settings;
        if endpoints.iter().any(|own| own.uri().scheme_str() == Some("https")) && !self.settings.encrypted {
            let rule = "called with whom to trust, where an address begins with https";
            return Err(refused(ErrorKind::InvalidSetting { setting: "tls", measured: 0, rule }));
        }
        let share = *deadline / u32::try_from(endpoints.len()).unwrap_or(u32::MAX).max(1);
        let endpoint = endpoints[at % endpoints.len()]
            .clone()
            .connect_timeout(share)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(false);
        let connected = timeout(share, endpoint.connect()).await;
        let channel = match connected {
            Ok(connected) => connected.map_err(|error| unreached(kind_of(&error)))?,
            Err(_) => return Err(unreached(io::ErrorKind::TimedOut)),
        };
        let mut line = Line { number, runtime, channel, token: None };
        line.token = self.token(&line).await?;
        Ok(line)
    }

    /// The token of the user, where there is one and etcd knows users.
    async fn token(&self, line: &Line) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let Some(User { name, password }) = self.settings.user.clone() else { return Ok(None) };
        let mut grpc = Grpc::new(line.channel.clone());
        grpc.ready().await.map_err(|error| unreached(kind_of(&error)))?;
        let asked = Bytes::from(Authenticate { name, password }.encode_to_vec());
        let measured = self.measured(asked.len());
        let path = http::uri::PathAndQuery::from_static(Authenticate::PATH);
        let request = signed(line, asked, Some(self.settings.deadline));
        let answer = grpc.unary(request, path, Wire::<<Authenticate as Call>::Answer>::new()).await;
        match answer {
            Ok(answer) => {
                let invalid = ErrorKind::Io {
                    operation: "reading the token that etcd gave",
                    kind: io::ErrorKind::InvalidData,
                };
                let token = MetadataValue::try_from(answer.into_inner().token);
                token.map(Some).map_err(|_| refused(invalid))
            }
            Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
            // Nothing has been asked yet for which it matters whether it has happened.
            Err(status) => Err(match judge(&status, measured) {
                Failure::Fault(crate::engine::Fault::Unheard(kind)) => unreached(kind),
                failure => failure,
            }),
        }
    }
}

/// With what every request carries.
fn signed<T>(line: &Line, message: T, deadline: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    if let Some(token) = &line.token {
        request.metadata_mut().insert("token", token.clone());
    }
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}
