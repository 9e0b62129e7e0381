//! The store behind a layer: an embedded one, or one that many processes share.
//!
//! Law: the layer asks for what both promise, by the same names. What only one of them takes is refused by the other when the
//! layer is made.

use std::future::Future;
use std::time::Duration;

use super::settings::LayerBuilder;
use crate::digest::{DigestRules, Parameters};
#[cfg(feature = "distributed")]
use crate::distributed;
use crate::error::Result;
use crate::outcome::Outcome;
use crate::store::{self, Completed, Store};
use crate::token::Key;

/// A store as a layer takes it: a [`Store`], or over an engine (feature `distributed`) a `distributed::Store`.
#[derive(Clone, Debug)]
pub struct AnyStore(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Embedded(Store),
    #[cfg(feature = "distributed")]
    Distributed(distributed::Store),
}

/// The right to run a handler, of either.
#[derive(Debug)]
pub(super) enum Held {
    Embedded(store::Reservation),
    #[cfg(feature = "distributed")]
    Distributed(distributed::Reservation),
}

/// Of who is in flight, what is left of the lease.
pub(super) type Answer = store::Answer<Held, Option<Duration>>;
pub(super) type Refused = store::Refused<Held>;

impl From<Store> for AnyStore {
    fn from(store: Store) -> Self {
        Self(Kind::Embedded(store))
    }
}

#[cfg(feature = "distributed")]
impl From<distributed::Store> for AnyStore {
    fn from(store: distributed::Store) -> Self {
        Self(Kind::Distributed(store))
    }
}

/// Sets of a request what both kinds of it take.
macro_rules! told {
    ($request:expr, $settings:expr) => {{
        let (mut request, settings) = ($request.wait($settings.wait), $settings);
        if settings.start_durably {
            request = request.start_durably();
        }
        if let Some(lease) = settings.lease {
            request = request.lease(lease);
        }
        if let Some(retention) = settings.retention {
            request = request.retention(retention);
        }
        if let Some(policy) = settings.on_interrupted {
            request = request.on_interrupted(policy);
        }
        request
    }};
}

/// The same call of either.
macro_rules! either {
    ($kind:ident, $of:expr, $own:ident => $call:expr) => {
        match $of {
            $kind::Embedded($own) => $call,
            #[cfg(feature = "distributed")]
            $kind::Distributed($own) => $call,
        }
    };
}

impl AnyStore {
    pub(super) fn key(&self, scope: impl AsRef<[u8]>, token: impl AsRef<[u8]>) -> Result<Key> {
        either!(Kind, &self.0, own => own.key(scope, token))
    }

    pub(super) fn rules(&self) -> &DigestRules {
        either!(Kind, &self.0, own => own.rules())
    }

    /// Whether these settings ask for what it does not promise.
    #[cfg(feature = "distributed")]
    pub(super) fn check(&self, settings: &LayerBuilder) -> Result<()> {
        match &self.0 {
            Kind::Distributed(own) if settings.declared_answer_bytes.is_some() => {
                Err(own.does_not_promise("declared_answer_bytes"))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn begin(
        &self,
        key: &Key,
        parameters: &Parameters<'_>,
        settings: &LayerBuilder,
    ) -> Result<Answer> {
        Ok(match &self.0 {
            Kind::Embedded(own) => {
                let mut request = told!(own.request(key, parameters), settings);
                if let Some(bytes) = settings.declared_answer_bytes {
                    request = request.declare(bytes);
                }
                match request.begin_async().await? {
                    store::Answer::Fresh(held) => Answer::Fresh(Held::Embedded(held)),
                    store::Answer::Replay(replay) => Answer::Replay(replay),
                    store::Answer::InFlight(other) => Answer::InFlight(other.lease_left()),
                }
            }
            #[cfg(feature = "distributed")]
            Kind::Distributed(own) => {
                match told!(own.request(key, parameters), settings).begin_async().await? {
                    store::Answer::Fresh(held) => Answer::Fresh(Held::Distributed(held)),
                    store::Answer::Replay(replay) => Answer::Replay(replay),
                    store::Answer::InFlight(other) => Answer::InFlight(other.lease_left()),
                }
            }
        })
    }
}

impl Held {
    pub(super) fn key(&self) -> &Key {
        either!(Self, self, own => own.key())
    }

    pub(super) fn attempt(&self) -> u32 {
        either!(Self, self, own => own.attempt())
    }

    pub(super) fn is_resumed(&self) -> bool {
        either!(Self, self, own => own.is_resumed())
    }

    pub(super) fn keep_renewed(&mut self) {
        either!(Self, self, own => own.keep_renewed());
    }

    /// What belongs to its run, in the span of an embedded one.
    pub(super) async fn around<F: Future>(&self, work: F) -> F::Output {
        match self {
            Self::Embedded(own) => own.span().around(work).await,
            #[cfg(feature = "distributed")]
            Self::Distributed(_) => work.await,
        }
    }

    pub(super) async fn complete(self, outcome: Outcome) -> Result<Completed, Refused> {
        match self {
            Self::Embedded(own) => {
                own.complete_async(outcome).await.map_err(|own| refused(own, Self::Embedded))
            }
            #[cfg(feature = "distributed")]
            Self::Distributed(own) => {
                own.complete_async(outcome).await.map_err(|own| refused(own, Self::Distributed))
            }
        }
    }

    pub(super) async fn complete_without_body(self, outcome: Outcome) -> Result<Completed> {
        either!(Self, self, own => Ok(own.complete_without_body_async(outcome).await?))
    }
}

fn refused<R>(own: store::Refused<R>, held: fn(R) -> Held) -> Refused {
    Refused { error: own.error, reservation: own.reservation.map(held) }
}
