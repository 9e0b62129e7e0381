//! Being told that a watched claim has ended.
//!
//! Law: one connection of its own listens on a channel that is called as the schema is. What it was told waits in the engine and
//! not in a call, so that a call that is dropped loses nothing. A connection that broke is said once, as *unheard*, since
//! marks may have been missed; the next call makes another. What is told is a hint: those who wait look again from
//! time to time in any case.

use std::future::poll_fn;
use std::io;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Error as Said, Socket};

use super::fault;
use super::settings::Settings;
use crate::engine::Fault;

/// The marks that a connection was told.
pub(super) type Marks = UnboundedReceiver<u64>;

/// Who listens. With the client goes the connection.
#[derive(Default)]
pub(super) struct Listener(tokio::sync::Mutex<Option<(Client, Marks)>>);

impl Listener {
    /// The next mark.
    pub(super) async fn next(&self, settings: &Settings) -> Result<u64, Fault> {
        if !settings.notifications {
            return std::future::pending().await;
        }
        let mut own = self.0.lock().await;
        if own.is_none() {
            *own = Some(listen(settings).await?);
        }
        let told = match own.as_mut() {
            Some((_, marks)) => marks.recv().await,
            None => None,
        };
        told.ok_or_else(|| {
            *own = None;
            Fault::Unheard(io::ErrorKind::ConnectionAborted)
        })
    }
}

async fn listen(settings: &Settings) -> Result<(Client, Marks), Fault> {
    let listen = async {
        let (client, marks) = settings.listener().await?;
        client.batch_execute(&format!("LISTEN \"{}\"", settings.schema)).await?;
        Ok((client, marks))
    };
    match tokio::time::timeout(settings.connect_within(), listen).await {
        Ok(came) => came.map_err(|error: Said| fault::connecting(&error)),
        Err(_) => Err(Fault::Unreached(io::ErrorKind::TimedOut)),
    }
}

/// Connects, and has a task take what the server says unasked.
pub(super) async fn connect<T>(config: &Config, tls: T) -> Result<(Client, Marks), Said>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    let (tell, marks) = unbounded_channel();
    drop(tokio::spawn(async move {
        while let Some(Ok(said)) = poll_fn(|context| connection.poll_message(context)).await {
            let AsyncMessage::Notification(own) = said else { continue };
            // Others may say anything on a channel of this name.
            let Ok(mark) = own.payload().parse::<i64>() else { continue };
            if tell.send(mark.cast_unsigned()).is_err() {
                return;
            }
        }
    }));
    Ok((client, marks))
}
