//! `PostgreSQL`: default durability, 100 tokens a statement, one transaction and one synced commit for all that queued.
//!
//! It refuses to run as the administrator: started by one, it runs as Debian's user `postgres`, or not at all.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use postgres::{Client, NoTls, Statement};

use super::{Server, connect, find, free_port};
use crate::handover::{Known, Record};

/// Tokens of one statement.
const STATEMENT_TOKENS: usize = 100;
const TABLE: &str = "CREATE TABLE tokens (token text PRIMARY KEY, outcome bytea NOT NULL)";
const INSERT: &str = "INSERT INTO tokens SELECT * FROM unnest($1::text[], $2::bytea[]) \
                      ON CONFLICT DO NOTHING RETURNING token";
const SELECT: &str = "SELECT token, outcome FROM tokens WHERE token = ANY($1)";

pub(super) struct PostgreSql {
    client: Client,
    insert: Statement,
    select: Statement,
    _process: Process,
}

impl PostgreSql {
    pub(super) fn start(home: &Path) -> Result<Self, String> {
        let mut process = Process::start(home)?;
        let mut client = process.client()?;
        let mut prepare = || {
            client.batch_execute(TABLE)?;
            Ok((client.prepare(INSERT)?, client.prepare(SELECT)?))
        };
        let (insert, select) = prepare().map_err(|error: postgres::Error| error.to_string())?;
        Ok(Self { client, insert, select, _process: process })
    }

    fn write(&mut self, records: &[Record]) -> Result<Known, postgres::Error> {
        let mut transaction = self.client.transaction()?;
        let mut known = Known::new();
        for (part, records) in records.chunks(STATEMENT_TOKENS).enumerate() {
            let tokens: Vec<&str> = records.iter().map(|own| own.token.as_str()).collect();
            let outcomes: Vec<&[u8]> = records.iter().map(|own| own.outcome.as_slice()).collect();
            let mut places: HashMap<&str, usize> = tokens.iter().copied().zip(0..).collect();
            for row in transaction.query(&self.insert, &[&tokens, &outcomes])? {
                places.remove(row.get::<_, &str>(0));
            }
            if places.is_empty() {
                continue;
            }
            let asked: Vec<&str> = places.keys().copied().collect();
            for row in transaction.query(&self.select, &[&asked])? {
                known.push((part * STATEMENT_TOKENS + places[row.get::<_, &str>(0)], row.get(1)));
            }
        }
        transaction.commit()?;
        Ok(known)
    }
}

impl Server for PostgreSql {
    const NAME: &'static str = "PostgreSQL";

    fn settle(&mut self, records: &[Record]) -> Known {
        self.write(records).expect("the server works")
    }

    fn look_up(&mut self, token: &str) -> Option<Vec<u8>> {
        let row = self.client.query_opt(&self.select, &[&vec![token]]).expect("the server works");
        row.map(|row| row.get(1))
    }
}

/// The server's process; stopped with it.
pub(super) struct Process {
    child: Child,
    port: u16,
    data: PathBuf,
    programs: PathBuf,
    /// User and group that it runs as, where that is another one.
    user: Option<(u32, u32)>,
}

impl Process {
    /// As the driver takes it.
    pub(super) fn address(&self) -> String {
        format!("host=127.0.0.1 port={} user=oncekey dbname=postgres", self.port)
    }

    /// Once it answers.
    pub(super) fn client(&mut self) -> Result<Client, String> {
        let address = self.address();
        connect(&mut self.child, || Client::connect(&address, NoTls))
    }

    pub(super) fn start(home: &Path) -> Result<Self, String> {
        let programs = programs()?;
        let data = home.join("postgresql");
        let user = prepare(home, &data)?;
        let run = |name: &str| command(&programs, name, user);
        let made = run("initdb").args(["-A", "trust", "-U", "oncekey", "-D"]).arg(&data).output();
        let made = made.map_err(|error| error.to_string())?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        let port = free_port()?;
        let mut server = run("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        let child = server.spawn().map_err(|error| error.to_string())?;
        Ok(Self { child, port, data, programs, user })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut stop = command(&self.programs, "pg_ctl", self.user);
        // What is kept is temporary, and so is the server: there is nobody to tell.
        let _ = stop.args(["stop", "-m", "fast", "-D"]).arg(&self.data).status();
        let _ = self.child.wait();
    }
}

/// The directory that holds initdb and postgres: Debian's newest, or what the shell finds.
fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let initdb = find("initdb", debian.into_iter().rev())?;
    Ok(initdb.parent().expect("a file has a directory").to_path_buf())
}

fn command(programs: &Path, name: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(name));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if let Some((user, group)) = user {
        command.gid(group).uid(user);
    }
    command
}

/// Makes the directory of its data; the user and group to run as, if this is the administrator.
fn prepare(home: &Path, data: &Path) -> Result<Option<(u32, u32)>, String> {
    let said = |error: std::io::Error| error.to_string();
    fs::create_dir(data).map_err(said)?;
    if fs::metadata(data).map_err(said)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(said)?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let line = line.ok_or("it does not run as the administrator, and there is no user `postgres`")?;
    let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
    let (Some(Ok(user)), Some(Ok(group))) = (numbers.next(), numbers.next()) else {
        return Err("the user `postgres` has no number".to_owned());
    };
    chown(data, Some(user), Some(group)).map_err(said)?;
    // Another user has to come through.
    fs::set_permissions(home, fs::Permissions::from_mode(0o711)).map_err(said)?;
    Ok(Some((user, group)))
}
