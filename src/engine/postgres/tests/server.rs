//! The server and the bench that tests stand on.
//!
//! A shell starts the server and waits for the end of its input, which is the end of this process, however it comes; then it stops
//! the server and removes its files. `PostgreSQL` does not run as root, so root becomes the user `postgres` for it.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::engine::postgres::Postgres;
use crate::engine::{Claim, Claimed, Completion, Engine, FENCE_BITS, Standing};
use crate::time::Timestamp;
use crate::token::Key;

const SCRIPT: &str = r#"
as=
[ "$(id -u)" = 0 ] && as='setpriv --reuid=postgres --regid=postgres --clear-groups'
umask 022
dir=$($as mktemp -d /tmp/oncekey-pg.XXXXXX) || exit 1
chmod 755 "$dir"
$as "$1/initdb" -D "$dir/data" -U postgres -A trust -N --locale=C -E UTF8 >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
$as sed -i '1i local all refused scram-sha-256' "$dir/data/pg_hba.conf"
$as "$1/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" -c fsync=off \
    -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB </dev/null >>"$dir/log" 2>&1 &
echo "$dir"
cat >/dev/null
kill -QUIT $!
wait $!
rm -rf "$dir"
"#;

struct Server {
    /// Its input stays open as long as this process lives.
    _shell: Child,
    directory: PathBuf,
}

/// The one server, unless none is installed.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.filter_map(|own| own.ok()?.file_name().to_str()?.parse::<u32>().ok()).max()?;
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "sh", &format!("/usr/lib/postgresql/{newest}/bin")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut directory = String::new();
    let output = shell.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut directory).expect("the shell writes where the server is");
    assert!(!directory.is_empty(), "PostgreSQL is installed and does not start: see above");
    let server = Server { _shell: shell, directory: directory.trim_end().into() };
    let text = format!("host={} user=postgres dbname=postgres", server.directory.display());
    run(async {
        for _ in 0..600 {
            if tokio_postgres::connect(&text, NoTls).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not come up");
    });
    Some(server)
}

/// Runs to the end, on a runtime of its own.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there is a runtime").block_on(future)
}

/// A schema of one test's own.
pub(super) struct Bench {
    pub(super) schema: String,
    directory: String,
}

impl Bench {
    /// A bench with nothing on it; `None`, and a word about it, where no `PostgreSQL` is installed.
    pub(super) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let Some(server) = server() else {
            eprintln!(
                "SKIPPED: no PostgreSQL is installed (Debian: `apt install postgresql`), so its engine was NOT tested"
            );
            return None;
        };
        let schema = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { schema, directory: server.directory.display().to_string() })
    }

    /// The connection string of a user.
    pub(super) fn text(&self, user: &str) -> String {
        format!("host={} user={user} dbname=postgres", self.directory)
    }

    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// An engine with nothing made yet.
    pub(super) fn engine(&self) -> Postgres {
        Postgres::at(&self.text("postgres")).unwrap().schema(&self.schema)
    }

    /// An engine whose schema is there.
    pub(super) async fn made(&self) -> Postgres {
        let engine = self.engine();
        engine.identity().await.unwrap();
        engine
    }

    /// One more, in an epoch of its own.
    pub(super) async fn joined(&self) -> (Postgres, u64) {
        let engine = self.made().await;
        let epoch = engine.begin_epoch(None).await.unwrap().answer;
        (engine, epoch)
    }

    /// A connection of the test's own.
    pub(super) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.text("postgres"), NoTls).await.unwrap();
        drop(tokio::spawn(connection));
        client
    }

    /// Runs SQL in which `{s}` is the schema.
    pub(super) async fn sql(&self, client: &Client, text: &str) {
        client.batch_execute(&text.replace("{s}", &self.schema)).await.unwrap();
    }

    /// The first column of one row.
    pub(super) async fn number(&self, client: &Client, text: &str) -> i64 {
        client.query_one(&text.replace("{s}", &self.schema), &[]).await.unwrap().get(0)
    }

    /// Stops the engine's clock at this millisecond.
    pub(super) async fn stop_clock(&self, client: &Client, millis: u64) {
        let text = "CREATE TABLE IF NOT EXISTS {s}.stopped (now bigint); DELETE FROM {s}.stopped;
            CREATE OR REPLACE FUNCTION {s}.clock() RETURNS bigint LANGUAGE sql VOLATILE
                AS 'SELECT now FROM {s}.stopped';";
        self.sql(client, &format!("{text} INSERT INTO {{s}}.stopped VALUES ({millis})")).await;
    }

    /// Sets a clock that was stopped.
    pub(super) async fn set_clock(&self, client: &Client, millis: u64) {
        self.sql(client, &format!("UPDATE {{s}}.stopped SET now = {millis}")).await;
    }
}

pub(super) fn key(name: impl std::fmt::Display) -> Key {
    Key::new("scope", name.to_string()).unwrap()
}

/// The nth fence of an epoch.
pub(super) fn fence(epoch: u64, nth: u64) -> u64 {
    (epoch << FENCE_BITS) + nth
}

/// A volatile claim for ten seconds.
pub(super) fn claim(name: impl std::fmt::Display, fence: u64) -> Claim {
    Claim {
        key: key(name),
        fence,
        over: None,
        lease: Duration::from_secs(10),
        standing: Standing::Volatile,
        started: b"started"[..].into(),
    }
}

/// A completion that expires at this millisecond.
pub(super) fn completion(
    name: impl std::fmt::Display,
    fence: u64,
    expires: u64,
    record: &[u8],
) -> Completion {
    Completion { key: key(name), fence, expires: Timestamp::from_millis(expires), record: record.into() }
}

/// Far enough for any test whose clock goes.
pub(super) const LATER: u64 = 4_000_000_000_000;

/// What a claim came to, in a word that can be compared.
pub(super) fn word(claimed: &Claimed) -> String {
    match claimed {
        Claimed::Granted => "granted".to_owned(),
        Claimed::Finished(record) => format!("finished {}", String::from_utf8_lossy(record)),
        Claimed::Held(held) => format!("held by {}", held.fence & ((1 << FENCE_BITS) - 1)),
        Claimed::Gone => "gone".to_owned(),
    }
}

/// One claim's word.
pub(super) async fn ask(engine: &Postgres, claim: Claim) -> String {
    word(&engine.claim(&[claim]).await.unwrap().answer[0])
}
