//! Redis: `appendonly yes`, `appendfsync always`, snapshots off; everything that queued in one pipeline of
//! `SET token outcome NX GET`, which completes a new token and gives the outcome of a known one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use redis::{Client, Connection, pipe};

use super::{Server, connect, find, free_port};
use crate::handover::{Known, Record};

pub(super) struct Redis {
    connection: Connection,
    _process: Process,
}

/// The server's process; ended with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // What is kept is temporary, and so is the server: there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Redis {
    pub(super) fn start(home: &Path) -> Result<Self, String> {
        let program = find("redis-server", [])?;
        let (data, port) = (home.join("redis"), free_port()?);
        fs::create_dir(&data).map_err(|error| error.to_string())?;
        let mut server = Command::new(program);
        server.current_dir(&data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        server.args(["--appendonly", "yes", "--appendfsync", "always"]);
        let mut process = Process(server.spawn().map_err(|error| error.to_string())?);
        let client = Client::open(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        let connection = connect(&mut process.0, || client.get_connection())?;
        Ok(Self { connection, _process: process })
    }
}

impl Server for Redis {
    const NAME: &'static str = "Redis";

    fn settle(&mut self, records: &[Record]) -> Known {
        let mut pipe = pipe();
        for record in records {
            pipe.cmd("SET").arg(&record.token).arg(record.outcome.as_slice()).arg("NX").arg("GET");
        }
        let said: Vec<Option<Vec<u8>>> = pipe.query(&mut self.connection).expect("the server works");
        said.into_iter().enumerate().filter_map(|(place, known)| Some((place, known?))).collect()
    }

    fn look_up(&mut self, token: &str) -> Option<Vec<u8>> {
        redis::cmd("GET").arg(token).query(&mut self.connection).expect("the server works")
    }
}
