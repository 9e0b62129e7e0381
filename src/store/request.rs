//! One request, with everything that can be said of it beside its key and parameters.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asking::Terms;
use super::execute::{Executed, OperationError};
use super::seat::Patience;
use super::waiting::Answering;
use super::{Answer, Reservation, Store};
use crate::digest::Parameters;
use crate::error::Result;
use crate::options::OnInterrupted;
use crate::sync::block_on;
use crate::time::Timestamp;
use crate::token::Key;

/// How long `execute` waits for somebody else's run, unless it is told otherwise.
pub(crate) const EXECUTE_WAIT: Duration = Duration::from_secs(30);

/// One request to be asked; made by `Store::request`.
#[derive(Clone, Debug)]
#[must_use = "a request asks nothing until `begin` or `execute` is called"]
pub struct Request<'a> {
    pub(super) store: &'a Store,
    pub(super) key: &'a Key,
    pub(super) parameters: &'a Parameters<'a>,
    pub(super) terms: Terms,
    pub(super) wait: Option<Duration>,
}

impl<'a> Request<'a> {
    pub(super) fn new(store: &'a Store, key: &'a Key, parameters: &'a Parameters<'a>) -> Self {
        let options = &store.shared().options;
        let terms = Terms {
            lease: options.lease,
            retention: options.retention,
            declared: options.declared_outcome_bytes,
            first_sent: None,
            format: 0,
            relaxed: options.relaxed,
            start_durably: options.start_durably,
            on_interrupted: options.on_interrupted,
        };
        Self { store, key, parameters, terms, wait: None }
    }

    /// How long to wait while somebody else runs the operation (contract 3.7). By default `begin` does not wait and
    /// `execute` waits for 30 seconds.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// How long the reservation holds without being renewed (contract 4.4); a lease of nothing has lapsed at once.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.terms.lease = lease;
        self
    }

    /// How long the record is kept from its completion on (contract 7.1).
    pub fn retention(mut self, retention: Duration) -> Self {
        self.terms.retention = retention;
        self
    }

    /// When the client first sent this request: beyond the retention the answer is *expired* instead of a second
    /// run (contract 3.8).
    pub fn first_sent(mut self, time: Timestamp) -> Self {
        self.terms.first_sent = Some(time);
        self
    }

    /// For how many bytes of outcome disk room is set aside before the operation runs (contract 5.10).
    pub fn declare(mut self, outcome_bytes: u64) -> Self {
        self.terms.declared = outcome_bytes;
        self
    }

    /// The format version of the typed value that `execute` keeps.
    pub fn format(mut self, version: u32) -> Self {
        self.terms.format = version;
        self
    }

    /// Acknowledges the completion before it is on disk (contract 5.2).
    pub fn relaxed(mut self) -> Self {
        self.terms.relaxed = true;
        self
    }

    /// Acknowledges the completion only when it is on disk (contract 5.1).
    pub fn durable(mut self) -> Self {
        self.terms.relaxed = false;
        self
    }

    /// The start of the operation is on disk before the reservation is given, so that a crash in the middle of it is
    /// known as such (contract 5.4).
    pub fn start_durably(mut self) -> Self {
        self.terms.start_durably = true;
        self
    }

    /// The reservation lives in memory only: after a crash a retry runs afresh (contract 5.3).
    pub fn start_volatile(mut self) -> Self {
        self.terms.start_durably = false;
        self
    }

    /// What is answered if the operation was interrupted (contract 3.4).
    pub fn on_interrupted(mut self, policy: OnInterrupted) -> Self {
        self.terms.on_interrupted = policy;
        self
    }

    /// Asks, and waits as long as it was told to.
    ///
    /// # Errors
    /// As `Store::begin`.
    pub fn begin(self) -> Result<Answer> {
        match self.wait {
            Some(limit) if !limit.is_zero() => {
                self.store.shared().check_may_wait()?;
                block_on(self.begin_async())
            }
            _ => {
                let ask = self.store.shared().prepare(self.key, self.parameters, self.terms)?;
                let asked = self.store.shared().ask(&ask, Patience::default())?;
                match self.store.answer(&ask, asked) {
                    Answer::Fresh(held) if held.is_durable() => {
                        self.store.shared().check_may_wait()?;
                        block_on(held.once_started())
                    }
                    answer => Ok(answer),
                }
            }
        }
    }

    /// [`Request::begin`], for async callers.
    ///
    /// # Errors
    /// As `Store::begin`.
    pub fn begin_async(self) -> impl Future<Output = Result<Answer>> + Send + use<'a> {
        Answering::Given(self)
    }

    /// Runs `operation` once and keeps what it returns; see `Store::execute`.
    ///
    /// # Errors
    /// As `Store::execute`.
    pub fn execute<T, E>(self, operation: impl FnOnce(&Reservation) -> Result<T, E>) -> Result<Executed<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: OperationError,
    {
        let wait = self.wait.unwrap_or(EXECUTE_WAIT);
        super::execute::run(self.wait(wait), operation)
    }

    /// Runs `operation` once and keeps what it returns; see `Store::execute_async`.
    ///
    /// # Errors
    /// As `Store::execute`.
    pub async fn execute_async<T, E>(
        self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<Executed<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: OperationError,
    {
        let wait = self.wait.unwrap_or(EXECUTE_WAIT);
        super::execute::run_async(self.wait(wait), operation).await
    }
}
