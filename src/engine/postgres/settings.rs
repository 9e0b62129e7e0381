//! What an engine of this kind is told: where the server is, and how to use it.
//!
//! Law: every check stands in [`Settings::check`] and is made before anything is sent. The connection string is never shown, nor
//! any part of it: it may hold a password.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig};
use tokio_postgres::{Client, Config, Error as Said, NoTls};
#[cfg(feature = "postgres-tls")]
use tokio_postgres_rustls::MakeRustlsConnect;

use super::told::{self, Marks};
use crate::error::{ErrorKind, Result};

/// Most bytes of a schema's name: with what is put before and behind it it still is a name.
const SCHEMA_BYTES_MAX: usize = 40;
/// Most connections.
const CONNECTIONS_MAX: usize = 1024;
/// Bounds of a partition's width.
const WIDTH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(400 * 24 * 3600));
/// How long one server of the list is tried, where the string says nothing of it.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection is silent before the system asks whether the other end is there, and how often, where the string says
/// nothing of it (it means two hours then).
const SILENCE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// All of it.
pub(super) struct Settings {
    config: Config,
    pub(super) schema: String,
    pub(super) connections: usize,
    /// Width of a partition; `None`: one plain table.
    pub(super) width: Option<Duration>,
    pub(super) notifications: bool,
    pub(super) answer_within: Duration,
    #[cfg(feature = "postgres-tls")]
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Settings {
    pub(super) fn of(text: &str) -> Result<Self> {
        let rule = "a connection string with a host, such as `host=db1 user=app dbname=shop` or `postgres://app@db1/shop`";
        let invalid = || ErrorKind::InvalidSetting { setting: "at", measured: text.len() as u64, rule };
        // What the parser has to say may quote what it read.
        let mut config: Config = text.parse().map_err(|_| invalid())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid().into());
        }
        let (idle, interval, retries) = SILENCE;
        if config.get_application_name().is_none() {
            config.application_name("oncekey");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(idle);
        }
        if config.get_keepalives_interval().is_none() && config.get_keepalives_retries().is_none() {
            config.keepalives_idle(config.get_keepalives_idle().min(idle));
            config.keepalives_interval(interval).keepalives_retries(retries);
        }
        Ok(Self {
            config,
            schema: "oncekey".to_owned(),
            connections: 4,
            width: Some(Duration::from_secs(6 * 3600)),
            notifications: true,
            answer_within: Duration::from_secs(3),
            #[cfg(feature = "postgres-tls")]
            tls: None,
        })
    }

    pub(super) fn password(&mut self, password: &str) {
        self.config.password(password);
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = self.schema.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let named = (1..=SCHEMA_BYTES_MAX).contains(&name.len())
            && name.iter().all(plain)
            && !name[0].is_ascii_digit();
        let seconds = |time: Duration| time.as_secs();
        let width = self.width.unwrap_or(WIDTH.0);
        require(
            "schema",
            name.len() as u64,
            "1 to 40 lower-case letters, digits and underscores, with no digit first",
            named,
        )?;
        require(
            "connections",
            self.connections as u64,
            "1 to 1024",
            (1..=CONNECTIONS_MAX).contains(&self.connections),
        )?;
        require(
            "partitions",
            seconds(width),
            "a second to 400 days, in seconds",
            (WIDTH.0..=WIDTH.1).contains(&width),
        )?;
        require(
            "answer_within",
            seconds(self.answer_within),
            "a tenth of a second to an hour, in seconds",
            (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&self.answer_within),
        )
    }

    /// How long a connection may take to come about, with all servers of the list.
    pub(super) fn connect_within(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN);
        let servers = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        each.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX)).saturating_add(self.answer_within)
    }

    /// What makes connections for a pool.
    pub(super) fn manager(&self, config: ManagerConfig) -> Manager {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &self.tls {
            return Manager::from_config(self.config.clone(), tls.clone(), config);
        }
        Manager::from_config(self.config.clone(), NoTls, config)
    }

    /// A connection that is told things.
    pub(super) async fn listener(&self) -> std::result::Result<(Client, Marks), Said> {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &self.tls {
            return told::connect(&self.config, tls.clone()).await;
        }
        told::connect(&self.config, NoTls).await
    }
}

fn require(setting: &'static str, measured: u64, rule: &'static str, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(ErrorKind::InvalidSetting { setting, measured, rule }.into()) }
}
