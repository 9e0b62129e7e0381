//! PostgreSQL: a primary and, where it is asked for, a synchronous standby that can be promoted.
//!
//! Law: a commit that was acknowledged is on both, from the moment on when [`Cluster::pair`] returns or
//! [`Cluster::add_standby`] does. What is killed goes with all its processes at once. A node never comes back with what it
//! had: it is made anew from the primary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::process::{
    User, command, directory, free_port, kill_family, run, signal, spawn, until, until_true,
};

/// One server.
#[derive(Debug)]
struct Node {
    data: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// Servers that belong together; they end with it.
#[derive(Debug)]
pub struct Cluster {
    primary: Node,
    standby: Option<Node>,
    /// What was killed: its port stays in the address, as a machine does that is down.
    dead: Option<Node>,
    directory: TempDir,
}

impl Cluster {
    /// A primary alone.
    pub fn single() -> Self {
        let directory = directory();
        // Its files are another user's where root runs the tests.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
        let data = directory.path().join("a");
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C"]);
        run(initdb.args(["--no-sync", "--no-instructions"])).expect("initdb");
        let mut primary = Node { data, port: free_port(), child: None };
        primary.start();
        Self { primary, standby: None, dead: None, directory }
    }

    /// A primary and its synchronous standby.
    pub fn pair() -> Self {
        let mut own = Self::single();
        own.add_standby();
        own
    }

    /// A primary alone for all tests that hurt none, as long as one of them runs.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let own = Arc::new(Self::single());
            *shared = Arc::downgrade(&own);
            own
        })
    }

    /// From now on the user `app` is let in over TLS alone, by a certificate of this authority in its name.
    pub fn encrypt(&self, certificates: &Certificates) {
        self.ask("create role app superuser login");
        let path = |name: &str| certificates.path(name).display().to_string();
        let files = [
            ("ssl_cert_file", "server.pem"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "authority.pem"),
        ];
        for (setting, name) in files {
            self.ask(&format!("alter system set {setting} = '{}'", path(name)));
        }
        self.ask("alter system set ssl = on");
        let rules = self.primary.data.join("pg_hba.conf");
        let others = fs::read_to_string(&rules).expect("its rules");
        let own = "hostssl all app 127.0.0.1/32 cert\nhostnossl all app 127.0.0.1/32 reject\n";
        fs::write(&rules, format!("{own}{others}")).expect("its rules");
        self.ask("select pg_reload_conf()");
        until_true("it offers TLS", || self.ask("show ssl") == "on");
    }

    /// Makes a standby from the primary, in the place of what was killed, and waits until every commit waits for it.
    pub fn add_standby(&mut self) {
        assert!(self.standby.is_none(), "it has one");
        let (data, port) = match self.dead.take() {
            Some(mut node) => {
                node.end();
                (std::mem::take(&mut node.data), node.port)
            }
            None => (self.directory.path().join("b"), free_port()),
        };
        if data.exists() {
            fs::remove_dir_all(&data).expect("what it had goes");
        }
        let mut copy = program("pg_basebackup");
        copy.arg("-D").arg(&data).args(["-R", "-c", "fast", "-X", "stream", "--no-sync"]);
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]).arg(self.primary.port.to_string());
        run(&mut copy).expect("pg_basebackup");
        let mut standby = Node { data, port, child: None };
        standby.start();
        self.standby = Some(standby);
        let state = "select coalesce(max(sync_state), '') from pg_stat_replication where state = 'streaming'";
        until_true("it streams", || !self.ask(state).is_empty());
        self.ask("alter system set synchronous_standby_names = '*'");
        self.ask("select pg_reload_conf()");
        until_true("it is synchronous", || self.ask(state) == "sync");
    }

    /// SIGKILL for the primary and all its processes.
    pub fn kill_primary(&mut self) {
        kill_family(self.primary.child.take().expect("it runs"));
    }

    /// Starts a primary that was killed, on what it has.
    pub fn restart_primary(&mut self) {
        self.primary.start();
    }

    /// The standby takes the primary's place.
    pub fn promote(&mut self) {
        let standby = self.standby.take().expect("it has a standby");
        assert_eq!(standby.ask("select pg_promote(true, 60)"), Ok("t".to_owned()));
        self.dead = Some(std::mem::replace(&mut self.primary, standby));
        // What it would wait for, if anything: its own standby is still to be made.
        self.ask("alter system reset synchronous_standby_names");
        self.ask("select pg_reload_conf()");
    }

    /// The primary is there and does nothing, not even hang up, until it goes on.
    pub fn pause_primary(&self) {
        self.primary.signal_family(Signal::STOP);
    }

    /// It goes on; also where another was promoted meanwhile.
    pub fn resume(&self) {
        self.dead.as_ref().unwrap_or(&self.primary).signal_family(Signal::CONT);
    }

    /// SIGKILL for the one that was primary before.
    pub fn kill_old(&mut self) {
        let old = self.dead.as_mut().expect("another was promoted");
        kill_family(old.child.take().expect("it runs"));
    }

    /// What a statement gives on the primary, as `psql` prints it.
    pub fn ask(&self, sql: &str) -> String {
        self.primary.ask(sql).expect("the primary answers")
    }

    /// The primary's port.
    pub fn port(&self) -> u16 {
        self.primary.port
    }

    /// Both ports, the primary's first.
    pub fn ports(&self) -> Vec<u16> {
        let other = self.standby.as_ref().or(self.dead.as_ref());
        [&self.primary].into_iter().chain(other).map(|node| node.port).collect()
    }

    /// How its servers are reached, whichever of them is the primary.
    pub fn url(&self) -> String {
        url(&self.ports())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in [Some(&mut self.primary), self.standby.as_mut(), self.dead.as_mut()].into_iter().flatten()
        {
            node.end();
            if std::thread::panicking() {
                let log = fs::read_to_string(node.log()).unwrap_or_default();
                let from = log.len().saturating_sub(4000);
                eprintln!("--- {}:\n{}", node.data.display(), log.get(from..).unwrap_or(&log));
            }
        }
    }
}

impl Node {
    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn start(&mut self) {
        let mut server = program("postgres");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let port = self.port.to_string();
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            &format!("port={port}"),
            "wal_level=replica",
            "hot_standby=on",
            // With its files, so that it goes with them.
            "dynamic_shared_memory_type=mmap",
            "synchronous_commit=on",
            "max_connections=200",
            "shared_buffers=32MB",
            "max_wal_size=256MB",
            // A standby that is stopped and goes on is not given up.
            "wal_sender_timeout=0",
            "log_line_prefix=%m [%p] ",
        ] {
            server.args(["-c", setting]);
        }
        server.arg("-D").arg(&self.data).stdin(Stdio::null());
        server.stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(spawn(server).expect("postgres"));
        until("it answers", || self.ask("select 1"));
    }

    /// Ends it and gives back what it has of the system's shared memory, which a server that was killed leaves there.
    fn end(&mut self) {
        self.child.take().into_iter().for_each(kill_family);
        let state = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        if let Some(segment) = state.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            // It may be gone.
            let _ = run(command(User::Own, "ipcrm").args(["-m", segment]));
        }
    }

    fn ask(&self, sql: &str) -> Result<String, String> {
        let mut psql = program("psql");
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        run(psql.arg("-p").arg(self.port.to_string()).arg("-c").arg(sql))
    }

    /// To all its processes; of those that it starts meanwhile none, since it is stopped first.
    fn signal_family(&self, what: Signal) {
        let Some(child) = &self.child else { return };
        signal(child, what);
        crate::process::signal_children(child, what);
    }
}

/// How servers at these ports of loopback are reached, whichever of them is the primary.
pub fn url(ports: &[u16]) -> String {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(",");
    format!(
        "host={hosts} port={ports} user=postgres dbname=postgres connect_timeout=2 target_session_attrs=read-write"
    )
}

/// One of its programs, run by its user: Debian keeps them apart, by version.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |own: &Path| own.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|own| own.path()).max_by_key(|own| number(own));
    let found = newest.map(|own| own.join("bin").join(name)).filter(|own| own.exists());
    let mut command = command(User::Postgres, found.unwrap_or_else(|| PathBuf::from(name)));
    // It can't enter where root is.
    command.current_dir("/");
    command
}
