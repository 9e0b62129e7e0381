//! What the tests share: an engine of their own, processes over it, and answers that have to come.

use std::time::Duration;

use oncekey::distributed::{self, Reservation, Store};
use oncekey::{Answer, Error, Key};
use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::fleet::Process;
use oncekey_engines::postgres;
use oncekey_engines::process::{PATIENCE, until};
use oncekey_engines::proxy::Proxy;
use oncekey_engines::worker::{Order, Role, parameters};

pub(crate) type Asked = Result<distributed::Answer, Error>;

/// How long a load lasts: short in CI, longer by `ONCEKEY_ENGINE_SECONDS`.
pub(crate) fn seconds(short: u64) -> Duration {
    let given = std::env::var("ONCEKEY_ENGINE_SECONDS").ok().and_then(|own| own.parse().ok());
    Duration::from_secs(given.unwrap_or(short))
}

/// One more process of the service.
pub(crate) fn start(process: u64, engine: &Engine, settings: &Settings, role: Role) -> Process {
    let order = Order { process, engine: engine.clone(), settings: settings.clone(), role };
    Process::start(env!("CARGO_BIN_EXE_oncekey-engines"), &order.to_words())
}

/// An engine behind a proxy, and without it.
pub(crate) fn behind_proxy(cluster: &postgres::Cluster, schema: &str) -> (Proxy, Engine, Engine) {
    let proxy = Proxy::before(cluster.port());
    let through = Engine::postgres(postgres::url(&[proxy.port()]), schema);
    (proxy, through, Engine::postgres(cluster.url(), schema))
}

pub(crate) fn begin(store: &Store, key: &Key) -> Asked {
    store.begin(key, &parameters())
}

/// Asks, ready to wait for as long as it takes.
pub(crate) fn wait(store: &Store, key: &Key) -> Asked {
    store.request(key, &parameters()).wait(PATIENCE).begin()
}

pub(crate) fn fresh(answer: Asked) -> Reservation {
    match answer {
        Ok(Answer::Fresh(reservation)) => reservation,
        other => panic!("not fresh: {other:?}"),
    }
}

pub(crate) fn replay(answer: Asked) -> String {
    match answer {
        Ok(Answer::Replay(replay)) => String::from_utf8_lossy(replay.outcome().body()).into_owned(),
        other => panic!("not a replay: {other:?}"),
    }
}

/// Asks until nobody says any more that the outcome is unknown or the engine out of reach.
pub(crate) fn known(store: &Store, key: &Key) -> distributed::Answer {
    until("it is found out", || match wait(store, key) {
        Err(error) => {
            assert!(error.is_unknown_outcome() || error.is_retryable(), "{error}");
            Err(error)
        }
        answer => answer,
    })
}
