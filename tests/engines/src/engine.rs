//! Where an engine is, as one word that another process can be told, and a store over it.
//!
//! Law: what tests ask of a store goes through here, so that another engine is one more variant.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[cfg(feature = "etcd")]
use oncekey::distributed::Etcd;
use oncekey::distributed::{Postgres, Store};

/// How long an answer is waited for that may never come.
const ANSWER: Duration = Duration::from_secs(3);

/// An engine that runs, and the name of this test's part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    Postgres {
        url: String,
        schema: String,
    },
    #[cfg(feature = "etcd")]
    Etcd {
        endpoints: String,
        prefix: String,
    },
}

/// What a process sets of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub lease: Duration,
    pub patience: Duration,
    /// Its node's name, where it has one.
    pub node: Option<String>,
}

impl Default for Settings {
    /// A lease that nobody outlives.
    fn default() -> Self {
        Self { lease: Duration::from_secs(600), patience: Duration::from_secs(20), node: None }
    }
}

impl Settings {
    pub fn lease(seconds: u64) -> Self {
        Self { lease: Duration::from_secs(seconds), ..Self::default() }
    }

    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    #[must_use]
    pub fn node(self, name: &str) -> Self {
        Self { node: Some(name.to_owned()), ..self }
    }
}

impl Engine {
    /// `PostgreSQL` at an address, with a schema of this name.
    pub fn postgres(url: impl Into<String>, schema: &str) -> Self {
        Self::Postgres { url: url.into(), schema: schema.to_owned() }
    }

    /// etcd at addresses with commas between them, and a prefix.
    #[cfg(feature = "etcd")]
    pub fn etcd(endpoints: impl Into<String>, prefix: &str) -> Self {
        Self::Etcd { endpoints: endpoints.into(), prefix: prefix.to_owned() }
    }

    /// Whether a lease lapses by the engine's own clock. By others it has lapsed once somebody has watched it for so long:
    /// later, never earlier.
    pub fn has_a_clock(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// A process's store over it.
    ///
    /// # Errors
    /// The store's own.
    pub fn connect(&self, settings: &Settings) -> oncekey::Result<Store> {
        let mut builder = oncekey::Store::builder().lease(settings.lease).patience(settings.patience);
        if let Some(node) = &settings.node {
            builder = builder.node(node);
        }
        let answer = settings.patience.min(ANSWER);
        match self {
            Self::Postgres { url, schema } => {
                builder.connect(Postgres::at(url)?.schema(schema).answer_within(answer))
            }
            #[cfg(feature = "etcd")]
            Self::Etcd { endpoints, prefix } => {
                builder.connect(Etcd::at(endpoints.split(','))?.prefix(prefix)?.deadline(answer))
            }
        }
    }

    /// A store, where nothing is in its way.
    pub fn store(&self, settings: &Settings) -> Store {
        self.connect(settings).expect("it is reached")
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres { url, schema } => write!(f, "postgres|{schema}|{url}"),
            #[cfg(feature = "etcd")]
            Self::Etcd { endpoints, prefix } => write!(f, "etcd|{prefix}|{endpoints}"),
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words: Vec<_> = word.splitn(3, '|').collect();
        match words[..] {
            ["postgres", schema, url] => Ok(Self::postgres(url, schema)),
            #[cfg(feature = "etcd")]
            ["etcd", prefix, endpoints] => Ok(Self::etcd(endpoints, prefix)),
            _ => Err(format!("no engine: {word}")),
        }
    }
}
