//! Goal: what the tests over real engines stand on does what it says. Method: servers are killed, promoted, paused and
//! asked; a proxy stands before a small server of this test's own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use oncekey_engines::process::{until, until_true};
use oncekey_engines::proxy::{Loss, Mode, Proxy};
use oncekey_engines::{etcd, postgres};

/// Answers each line with the line, and counts them.
fn echo() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    count.fetch_add(1, SeqCst);
                    let _ = (&stream).write_all(format!("{line}\n").as_bytes());
                }
            });
        }
    });
    (port, asked)
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn of(proxy: &Proxy) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", proxy.port())).unwrap()))
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// `None`: the connection has ended.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|read| *read > 0).map(|_| line.trim_end().to_owned())
    }

    fn ask(&mut self, line: &str) -> Option<String> {
        self.say(line);
        self.hear()
    }

    /// Nothing comes, and no end either, for as long as a test can look.
    fn hears_nothing(&mut self) -> bool {
        self.0.get_mut().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let nothing = self.0.get_mut().read(&mut [0; 1]);
        self.0.get_mut().set_read_timeout(None).unwrap();
        nothing.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

#[test]
fn a_proxy_passes_on_hangs_and_goes_on_where_it_was() {
    let (port, asked) = echo();
    let proxy = Proxy::before(port);
    let mut old = Client::of(&proxy);
    assert_eq!(old.ask("one").as_deref(), Some("one"));
    proxy.set(Mode::Hang);
    let mut new = Client::of(&proxy);
    old.say("two");
    new.say("three");
    assert!(old.hears_nothing() && new.hears_nothing());
    assert_eq!(asked.load(SeqCst), 1, "nothing came through");
    proxy.set(Mode::Late(Duration::from_millis(1)));
    assert_eq!((old.hear().as_deref(), new.hear().as_deref()), (Some("two"), Some("three")));
    proxy.set(Mode::Closed);
    assert_eq!((old.hear(), new.hear()), (None, None));
    assert_eq!(Client::of(&proxy).hear(), None);
    proxy.set(Mode::Pass);
    let mut newest = Client::of(&proxy);
    assert_eq!(newest.ask("four").as_deref(), Some("four"));
    proxy.cut();
    assert_eq!(newest.hear(), None);
    assert_eq!(Client::of(&proxy).ask("five").as_deref(), Some("five"));
}

#[test]
fn a_proxy_loses_one_answer_behind_what_the_server_did() {
    let (port, asked) = echo();
    let proxy = Proxy::before(port);
    let (mut one, mut other) = (Client::of(&proxy), Client::of(&proxy));
    proxy.lose("mark", Loss::Cut, Mode::Pass);
    assert_eq!(one.ask("before").as_deref(), Some("before"));
    assert_eq!(one.ask("a mark in it"), None);
    assert_eq!((asked.load(SeqCst), proxy.lost()), (2, 1));
    assert_eq!(other.ask("a mark again").as_deref(), Some("a mark again"));
    proxy.lose("mark", Loss::Silence, Mode::Pass);
    other.say("mark");
    proxy.wait_lost(2);
    assert!(other.hears_nothing());
    let mut third = Client::of(&proxy);
    proxy.lose("mark", Loss::Cut, Mode::Closed);
    assert_eq!(third.ask("mark"), None);
    assert_eq!(Client::of(&proxy).hear(), None);
}

#[test]
fn a_standby_takes_the_place_of_a_primary_that_was_killed_and_has_all_of_it() {
    let mut cluster = postgres::Cluster::pair();
    let url = cluster.url();
    cluster.ask("create table t as select 1 as n");
    for round in 1..=2 {
        cluster.kill_primary();
        cluster.promote();
        assert_eq!(cluster.ask("select sum(n) from t"), round.to_string());
        cluster.add_standby();
        cluster.ask("insert into t values (1)");
    }
    let sorted = |url: &str| {
        let mut ports: Vec<_> =
            url.split([' ', ',', '=']).filter(|word| word.parse::<u16>().is_ok()).collect();
        ports.sort_unstable();
        ports.join(",")
    };
    assert_eq!(sorted(&cluster.url()), sorted(&url), "the address stays");
}

#[test]
fn a_primary_that_was_killed_or_paused_goes_on_with_what_it_had() {
    let mut cluster = postgres::Cluster::single();
    cluster.ask("create table t as select 7 as n");
    cluster.kill_primary();
    cluster.restart_primary();
    assert_eq!(cluster.ask("select n from t"), "7");
    cluster.pause_primary();
    cluster.resume();
    assert_eq!(cluster.ask("select n from t"), "7");
}

#[test]
fn etcd_elects_another_leader_and_takes_the_old_one_back() {
    let mut cluster = etcd::Cluster::start();
    let first = cluster.leader();
    cluster.kill(first);
    let second = cluster.leader();
    assert_ne!(first, second);
    cluster.restart(first);
    cluster.pause(second);
    let third = until("another leads", || Some(cluster.leader()).filter(|own| *own != second).ok_or("it"));
    assert_ne!(second, third);
    cluster.resume(second);
    cluster.cut_off(third);
    let fourth = until("another leads", || Some(cluster.leader()).filter(|own| *own != third).ok_or("it"));
    assert!(!cluster.answers(third) && cluster.answers(fourth), "who is cut off knows nothing of a majority");
    cluster.heal();
    until_true("it is back", || cluster.answers(third));
    assert_eq!(cluster.endpoints().split(',').count(), etcd::MEMBERS);
}
