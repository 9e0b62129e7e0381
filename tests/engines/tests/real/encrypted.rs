//! Goal: over TLS `PostgreSQL` and a store know each other, or nothing is asked (feature `postgres-tls`). Method: a server that
//! lets its user in by a certificate alone; a store that trusts its authority, one that trusts another, one that is nobody.

use std::sync::Arc;

use oncekey::distributed::{Postgres, Store};
use oncekey::{ErrorKind, Outcome};
use oncekey_engines::certificates::Certificates;
use oncekey_engines::postgres::Cluster;
use oncekey_engines::process::until_true;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::support::{begin, fresh, replay, wait};

fn config(certificates: &Certificates, trusted: &str, own: Option<&str>) -> ClientConfig {
    let certificate = |name: &str| CertificateDer::from_pem_slice(&certificates.read(&format!("{name}.pem")));
    let mut roots = RootCertStore::empty();
    roots.add(certificate(trusted).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("protocols").with_root_certificates(roots);
    let Some(own) = own else { return config.with_no_client_auth() };
    let key = PrivateKeyDer::from_pem_slice(&certificates.read(&format!("{own}.key"))).expect("a key");
    config.with_client_auth_cert(vec![certificate(own).expect("a certificate")], key).expect("a client")
}

#[test]
fn over_tls_both_sides_know_each_other_or_nothing_is_asked_10_1() {
    let cluster = Cluster::single();
    let certificates = Certificates::make(&["server", "app"]);
    cluster.encrypt(&certificates);
    let text = cluster.url().replace("user=postgres", "user=app sslmode=require");
    let connect = |config: Option<ClientConfig>| -> oncekey::Result<Store> {
        let engine = Postgres::at(&text)?.schema("encrypted");
        let engine = config.into_iter().fold(engine, Postgres::tls);
        oncekey::Store::builder().patience(std::time::Duration::from_secs(3)).connect(engine)
    };
    let known = || Some(config(&certificates, "authority", Some("app")));
    let [one, other] = [connect(known()).expect("connected"), connect(known()).expect("connected")];
    let key = one.key("scope", "token").expect("a key");
    let held = fresh(begin(&one, &key));
    std::thread::scope(|scope| {
        // Told of the end by the other's notification, over TLS too.
        let waiter = scope.spawn(|| replay(wait(&other, &key)));
        until_true("it waits", || other.stats().in_flight > 0);
        held.complete(Outcome::new("done")).expect("kept");
        assert_eq!(waiter.join().expect("no panic"), "done");
    });
    let spoken = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'app'";
    let count = |and: &str| cluster.ask(&format!("{spoken} {and}")).parse::<u64>().expect("a number");
    assert!(count("and ssl") >= 2, "each store has connections");
    assert_eq!(count("and not ssl"), 0, "none of them is in the clear");

    for (trusted, own) in [("stranger", Some("app")), ("authority", None)] {
        let error = connect(Some(config(&certificates, trusted, own))).expect_err("refused");
        assert!(matches!(error.kind(), ErrorKind::Unreachable { .. } | ErrorKind::Io { .. }), "{error}");
    }
    let error = connect(None).expect_err("it can't speak TLS");
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
}
