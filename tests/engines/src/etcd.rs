//! etcd: three members on loopback, each to be killed, started again, or stopped.
//!
//! Law: a member that is paused is, for the others and for clients, one behind a partition: its connections stay open and
//! nothing comes through. It goes on with what it had.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{User, command, directory, free_port, kill_family, run, signal, spawn, until};

pub const MEMBERS: usize = 3;

#[derive(Debug)]
struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

/// Three members; they end with it.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    directory: TempDir,
}

impl Cluster {
    /// Starts three members and waits until they have a leader.
    pub fn start() -> Self {
        let directory = directory();
        let member = || Member { client: free_port(), peer: free_port(), child: None };
        let mut own = Self { members: (0..MEMBERS).map(|_| member()).collect(), directory };
        (0..MEMBERS).for_each(|number| own.spawn(number));
        own.leader();
        own
    }

    /// Three members for all tests that hurt none, as long as one of them runs.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let own = Arc::new(Self::start());
            *shared = Arc::downgrade(&own);
            own
        })
    }

    /// Where the clients of a member connect.
    pub fn port(&self, member: usize) -> u16 {
        self.members[member].client
    }

    /// All members' addresses, one behind the other.
    pub fn endpoints(&self) -> String {
        let all: Vec<_> = self.members.iter().map(|own| endpoint(own.client)).collect();
        all.join(",")
    }

    /// Which member leads; waits until one does that a majority follows.
    pub fn leader(&self) -> usize {
        until("they have a leader", || {
            let leader = (0..MEMBERS).find(|own| self.is_leader(*own)).ok_or("no leader")?;
            // A leader without followers does not know yet that it is none.
            let port = self.members[leader].client;
            run(etcdctl(port).args(["get", "nothing"])).map(|_| leader).map_err(|_| "not followed")
        })
    }

    /// Whether it says so of itself. A member that is paused says nothing.
    fn is_leader(&self, member: usize) -> bool {
        let status = run(etcdctl(self.members[member].client).args(["endpoint", "status", "-w", "fields"]));
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\" : ")));
            line.map(ToOwned::to_owned)
        };
        field("Leader").is_some_and(|own| own != "0" && Some(own) == field("MemberID"))
    }

    /// SIGKILL.
    pub fn kill(&mut self, member: usize) {
        kill_family(self.members[member].child.take().expect("it runs"));
    }

    /// Starts a member again that was killed, on what it has, and waits until it follows.
    pub fn restart(&mut self, member: usize) {
        self.spawn(member);
        let port = self.members[member].client;
        until("it answers", || run(etcdctl(port).args(["get", "nothing"])));
    }

    /// It does nothing, not even hang up, until it goes on.
    pub fn pause(&self, member: usize) {
        signal(self.members[member].child.as_ref().expect("it runs"), Signal::STOP);
    }

    pub fn resume(&self, member: usize) {
        signal(self.members[member].child.as_ref().expect("it runs"), Signal::CONT);
    }

    fn spawn(&mut self, number: usize) {
        let names = self.members.iter().enumerate();
        let all: Vec<_> = names.map(|(at, own)| format!("m{at}={}", endpoint(own.peer))).collect();
        let name = format!("m{number}");
        let log = self.directory.path().join(format!("{name}.log"));
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let own = &self.members[number];
        let (client, peer) = (endpoint(own.client), endpoint(own.peer));
        let mut member = command(User::Own, "etcd");
        member.args(["--name", &name, "--data-dir"]).arg(self.directory.path().join(&name));
        member.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        member.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        member.args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
        member.args(["--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap"]);
        member.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.members[number].child = Some(spawn(member).expect("etcd"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.members.iter_mut().filter_map(|own| own.child.take()).for_each(kill_family);
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn etcdctl(port: u16) -> Command {
    let mut command = command(User::Own, "etcdctl");
    command.env("ETCDCTL_API", "3").args(["--dial-timeout=1s", "--command-timeout=1s", "--endpoints"]);
    command.arg(endpoint(port));
    command
}
