//! Goal: over TLS both sides know each other, or nothing is asked. Method: an authority, a server's certificate and a
//! client's, made by the program `openssl`; a server that lets nobody in without one.

use std::fs::read;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

const NEW_KEY: &str = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=";

fn openssl(directory: &Path, line: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "{line}");
}

fn authority(directory: &Path, name: &str) {
    openssl(directory, &format!("{NEW_KEY}{name} -x509 -days 2 -keyout {name}.key -out {name}.pem"));
}

fn certificate(directory: &Path, name: &str) {
    openssl(directory, &format!("{NEW_KEY}{name} -keyout {name}.key -out {name}.csr"));
    let signed = "-CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names";
    openssl(directory, &format!("x509 -req -in {name}.csr {signed} -out {name}.pem"));
}

#[test]
fn members_and_stores_know_each_other_by_their_certificates() {
    if !server::is_installed() {
        return;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: openssl is not installed; NOTHING was tested of TLS");
        return;
    }
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    std::fs::write(at.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    authority(at, "authority");
    authority(at, "stranger");
    certificate(at, "server");
    certificate(at, "client");
    let path = |name: &str| at.join(name).display().to_string();
    let flags = [
        format!("--cert-file={}", path("server.pem")),
        format!("--key-file={}", path("server.key")),
        format!("--trusted-ca-file={}", path("authority.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let server = Server::start_with("https", flags.into());
    let pem = |name: &str| read(at.join(name)).unwrap();
    let (certificate, key) = (pem("client.pem"), pem("client.key"));
    let plain = || engine(&server, "encrypted", &clock());
    let known = plain().tls(pem("authority.pem"), Some((&certificate, &key))).unwrap();
    block_on(async {
        ready(&known).await;
        assert_eq!(known.begin_epoch(None).await.unwrap().answer, 1);
        let misled = plain().tls(pem("stranger.pem"), Some((&certificate, &key))).unwrap();
        assert!(matches!(misled.identity().await, Err(Fault::Unreached(_))));
        let nobody = plain().tls(pem("authority.pem"), None).unwrap();
        assert!(matches!(nobody.identity().await, Err(Fault::Unreached(_) | Fault::Unheard(_))));
        let Err(Fault::Refused(error)) = plain().identity().await else { panic!("whom to trust?") };
        assert!(matches!(error.kind(), ErrorKind::InvalidSetting { setting: "tls", .. }), "{error}");
    });
    for wrong in [plain().tls("no PEM", None), plain().tls(pem("authority.pem"), Some((b"no", b"PEM")))] {
        let error = wrong.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSetting { setting: "tls", .. }), "{error}");
    }
}
