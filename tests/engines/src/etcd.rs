//! etcd: three members on loopback, each to be killed, started again, stopped, or cut off from the others.
//!
//! Law: a member that is paused hangs for everybody, and goes on with what it had. One that is cut off hears nothing of the
//! others, nor they of it, and its clients go on asking it: what the members say to each other comes through a proxy before
//! each of them, and says who sent it. Connections stay open, as in a partition.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{
    User, command, directory, free_port, kill_family, run, signal, spawn, until, until_true,
};
use crate::proxy::{Mode, Proxy};

pub const MEMBERS: usize = 3;

#[derive(Debug)]
struct Member {
    client: u16,
    peer: u16,
    /// What the others say to it goes this way.
    way: Proxy,
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
        let member = || {
            let peer = free_port();
            Member { client: free_port(), peer, way: Proxy::before(peer), child: None }
        };
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
            if self.answers(leader) { Ok(leader) } else { Err("not followed") }
        })
    }

    /// Whether it says so of itself. A member that is paused says nothing.
    fn is_leader(&self, member: usize) -> bool {
        let status = self.status(member);
        let leader = status.get("Leader").filter(|own| *own != "0");
        leader.is_some() && leader == status.get("MemberID")
    }

    /// What it says of itself, by name.
    fn status(&self, member: usize) -> HashMap<String, String> {
        let status = run(etcdctl(self.members[member].client).args(["endpoint", "status", "-w", "fields"]));
        let status = status.unwrap_or_default();
        let fields = status.lines().filter_map(|line| line.split_once(" : "));
        fields.map(|(name, value)| (name.trim_matches('"').to_owned(), value.to_owned())).collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self, member: usize) {
        kill_family(self.members[member].child.take().expect("it runs"));
    }

    /// Starts a member again that was killed, on what it has, and waits until it follows.
    pub fn restart(&mut self, member: usize) {
        self.spawn(member);
        until_true("it answers", || self.answers(member));
    }

    /// It does nothing, not even hang up, until it goes on.
    pub fn pause(&self, member: usize) {
        signal(self.members[member].child.as_ref().expect("it runs"), Signal::STOP);
    }

    pub fn resume(&self, member: usize) {
        signal(self.members[member].child.as_ref().expect("it runs"), Signal::CONT);
    }

    /// It hears nothing of the other members, nor they of it; clients reach it.
    pub fn cut_off(&self, member: usize) {
        let mark = format!("X-Server-From: {:x}\r\n", self.id(member));
        for (number, own) in self.members.iter().enumerate() {
            if number == member {
                own.way.set(Mode::Hang);
            } else {
                own.way.sever(Some(mark.as_bytes()));
            }
        }
    }

    /// What the others say to it comes so much later.
    pub fn delay(&self, member: usize, time: Duration) {
        self.members[member].way.set(Mode::Late(time));
    }

    /// All hear all again, at once.
    pub fn heal(&self) {
        for own in &self.members {
            own.way.sever(None);
            own.way.set(Mode::Pass);
        }
    }

    /// Whether a client who asks this member gets what a majority knows.
    pub fn answers(&self, member: usize) -> bool {
        run(etcdctl(self.members[member].client).args(["get", "nothing"])).is_ok()
    }

    fn id(&self, member: usize) -> u64 {
        let status = self.status(member);
        status.get("MemberID").and_then(|own| own.parse().ok()).expect("a member knows its number")
    }

    fn spawn(&mut self, number: usize) {
        let names = self.members.iter().enumerate();
        let all: Vec<_> = names.map(|(at, own)| format!("m{at}={}", endpoint(own.way.port()))).collect();
        let name = format!("m{number}");
        let log = self.directory.path().join(format!("{name}.log"));
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let own = &self.members[number];
        let (client, peer, way) = (endpoint(own.client), endpoint(own.peer), endpoint(own.way.port()));
        let mut member = command(User::Own, "etcd");
        member.args(["--name", &name, "--data-dir"]).arg(self.directory.path().join(&name));
        member.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        member.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &way]);
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
