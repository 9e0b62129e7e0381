//! A private etcd on this computer: one member, free ports, a directory of its own.
//!
//! Law: it ends with the process that started it, however that ends: a shell waits for the end of its input, which is the
//! other end of a pipe that nobody else holds. Where etcd is not installed, tests are skipped, and say so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Starts etcd, and ends it when its input ends.
const KEEPER: &str =
    r#"directory=$1; shift; "$@" & etcd=$!; read line; kill -9 $etcd; wait $etcd; rm -rf "$directory""#;

pub(super) struct Server {
    keeper: Child,
    directory: PathBuf,
    ports: [u16; 2],
    /// How clients reach it, and more flags.
    scheme: &'static str,
    flags: Vec<String>,
}

/// The server that all tests of this process share; `None`: skip the test.
pub(super) fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| is_installed().then(Server::start)).as_ref()
}

/// Whether there is an etcd to start.
pub(super) fn is_installed() -> bool {
    let found = Command::new("etcd").arg("--version").output().is_ok_and(|own| own.status.success());
    if !found {
        eprintln!(
            "SKIPPED: etcd is not installed (Debian: `apt-get install etcd-server`); NOTHING was tested"
        );
    }
    found
}

impl Server {
    pub(super) fn start() -> Self {
        Self::start_with("http", Vec::new())
    }

    pub(super) fn start_with(scheme: &'static str, flags: Vec<String>) -> Self {
        let directory = TempDir::new().unwrap().keep();
        // Both are held until both are known, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|own| own.local_addr().unwrap().port());
        drop(free);
        Self { keeper: keeper(&directory, ports, scheme, &flags), directory, ports, scheme, flags }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.ports[0])
    }

    /// Kills it without a warning, and starts it again on what it had written.
    pub(super) fn restart(&mut self, meanwhile: impl FnOnce()) {
        let kept = self.directory.with_extension("kept");
        std::fs::rename(&self.directory, &kept).unwrap();
        self.end();
        meanwhile();
        std::fs::rename(&kept, &self.directory).unwrap();
        self.keeper = keeper(&self.directory, self.ports, self.scheme, &self.flags);
    }

    fn end(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn keeper(directory: &Path, [client, peer]: [u16; 2], scheme: &str, more: &[String]) -> Child {
    let address = format!("{scheme}://127.0.0.1:{client}");
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let flags = [
        ("--name", "one".to_owned()),
        ("--data-dir", directory.join("data").display().to_string()),
        ("--listen-client-urls", address.clone()),
        ("--advertise-client-urls", address),
        ("--listen-peer-urls", url(peer)),
        ("--initial-advertise-peer-urls", url(peer)),
        ("--initial-cluster", format!("one={}", url(peer))),
        ("--log-level", "fatal".to_owned()),
    ];
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "keeper"]).arg(directory).arg("etcd");
    command.args(flags.iter().flat_map(|(flag, value)| [*flag, value.as_str()])).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
