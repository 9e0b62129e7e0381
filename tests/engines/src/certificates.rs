//! Certificates for servers and clients, made by the program `openssl` as the user whom `PostgreSQL` runs as: a server reads
//! no key of another's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{User, command, directory, run};

const NEW_KEY: &str = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=";

/// An authority and those it vouches for, each as `NAME.pem` and `NAME.key`; they go with it.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// An authority, and a stranger who is one for nobody; for loopback.
    pub fn make(names: &[&str]) -> Self {
        let own = Self { directory: directory() };
        // Its files are another user's where root runs the tests.
        fs::set_permissions(own.directory.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
        for name in ["authority", "stranger"] {
            own.words(&format!("{NEW_KEY}{name} -x509 -days 2 -keyout {name}.key -out {name}.pem"));
        }
        let extensions = "-addext subjectAltName=IP:127.0.0.1";
        for name in names {
            own.words(&format!("{NEW_KEY}{name} {extensions} -keyout {name}.key -out {name}.csr"));
            let signed =
                "-CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -copy_extensions copy";
            own.words(&format!("x509 -req -in {name}.csr {signed} -out {name}.pem"));
        }
        own
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it was made")
    }

    fn words(&self, line: &str) {
        self.openssl(&line.split(' ').collect::<Vec<_>>());
    }

    fn openssl(&self, words: &[&str]) {
        let mut openssl = command(User::Postgres, Path::new("openssl"));
        run(openssl.current_dir(self.directory.path()).args(words)).expect("openssl");
    }
}
