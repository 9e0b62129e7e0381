//! From a builder to a store over an engine, and its end.
//!
//! Law: what an engine does not promise is refused here, by name, and not ignored. What belongs to the store and not to a key
//! (its secrets' check values, the settings that digests were made under) is kept in the engine and replaced only as it was
//! read, so that processes which connect at once add up. The last handle's drop ends this process's epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::EngineTime;
use super::desk::Desk;
use super::moving::{Old, another_store};
use super::shared::{Counters, Shared};
use super::{Memory, Store, settling, waiting};
use crate::comparing::Comparer;
use crate::digest::ParameterLimits;
use crate::engine::{At, FENCE_BITS, Fault, Lanes, Patience};
use crate::error::{Error, ErrorKind, Result};
use crate::inflight::Timer;
use crate::ledger::Identity;
use crate::options::Builder;
use crate::record::HashKeys;
use crate::sync::{Event, block_on};

/// How often a process sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// An engine to connect to, of any kind: see [`Builder::connect`].
#[derive(Clone)]
pub struct Engine(Arc<dyn crate::engine::Engine>);

impl From<Memory> for Engine {
    fn from(engine: Memory) -> Self {
        Self(Arc::new(engine))
    }
}

#[cfg(feature = "postgres")]
impl From<super::Postgres> for Engine {
    fn from(engine: super::Postgres) -> Self {
        Self(Arc::new(engine))
    }
}

#[cfg(feature = "etcd")]
impl From<super::Etcd> for Engine {
    fn from(engine: super::Etcd) -> Self {
        Self(Arc::new(engine))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Engine").field(&self.0.name()).finish()
    }
}

impl Builder {
    /// A store over an engine, which all processes that connect to it share (feature `distributed`). What is needed there is
    /// made at the first time.
    ///
    /// # Errors
    /// *Not promised*: a setting asks for what engines don't promise. *Unreachable*, *wrong secret*, *newer format*, *invalid
    /// setting*, *io*.
    pub fn connect(self, engine: impl Into<Engine>) -> Result<Store> {
        block_on(self.connect_async(engine))
    }

    /// [`Builder::connect`], for async callers, on any runtime.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect_async(self, engine: impl Into<Engine>) -> Result<Store> {
        self.connect_after(engine.into(), None, None).await
    }

    /// A store over an engine that takes over from an embedded one, which is closed, or from a backup of it: what that one keeps
    /// is carried over as it is asked for, and by `oncekey migrate` (feature `cli`), at the same time. The old store is locked
    /// against being opened, read and not changed. [`Store::interrupted`] lists what was carried over. Once all was, connect
    /// without it, before the shortest retention has passed: what was interrupted or released there, ended here and has expired
    /// would be carried over again. It blocks while it reads what the old store has.
    ///
    /// # Errors
    /// As [`Builder::connect`]; and as [`crate::Store::open`], *locked* while the old store is open; *not a store* where the
    /// engine holds another one.
    pub fn connect_moving_from(
        self,
        path: impl AsRef<std::path::Path>,
        engine: impl Into<Engine>,
    ) -> Result<Store> {
        let old = Old::open(path.as_ref(), self.keyring.clone())?;
        let origin = Some(old.identity().clone());
        block_on(self.connect_after(engine.into(), origin, Some(old)))
    }

    /// A store that takes over the identity of this origin, and looks into what is moved from.
    pub(crate) async fn connect_after(
        self,
        engine: Engine,
        origin: Option<Identity>,
        old: Option<Old>,
    ) -> Result<Store> {
        let shared = Shared::connect(self, engine.0, origin, old).await?;
        Ok(Store { owner: Arc::new(Owner { shared }) })
    }

    /// What an engine does not promise and this builder asks for. What an old store is read with is not for the engine.
    fn not_promised(&self, moves: bool) -> Option<&'static str> {
        let sound = Self::default();
        let asked = [
            (self.relaxed, "relaxed"),
            (self.kept_records_max != sound.kept_records_max, "kept_records_max"),
            (self.kept_bytes_max != sound.kept_bytes_max, "kept_bytes_max"),
            (self.kept_records_per_scope_max.is_some(), "kept_records_per_scope_max"),
            (self.kept_bytes_per_scope_max.is_some(), "kept_bytes_per_scope_max"),
            (self.accept_clock_jump, "accept_clock_jump"),
            (self.clock_jump_max != sound.clock_jump_max, "clock_jump_max"),
            (self.two_phase, "two_phase"),
            (!self.keyring.is_empty() && !moves, "encryption_key"),
        ];
        asked.into_iter().find_map(|(asks, setting)| asks.then_some(setting))
    }
}

/// What the last handle's drop ends.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
}

impl Owner {
    pub(super) fn close(&self, limit: Duration) -> Result<()> {
        let shared = &self.shared;
        shared.check_may_wait()?;
        let until = shared.time.now().tick.saturating_add(limit);
        if shared.closing.swap(true, Ordering::AcqRel) {
            return Err(ErrorKind::Closed.into());
        }
        shared.desk.wake(None, |_| 0);
        block_on(async {
            loop {
                let left = shared.left.listen();
                if shared.desk.live() == 0 || shared.timer.has_come(until) {
                    return;
                }
                let mut left = std::pin::pin!(left);
                let mut end = std::pin::pin!(shared.timer.sleep_until(until));
                std::future::poll_fn(|context| {
                    let woken =
                        left.as_mut().poll(context).is_ready() || end.as_mut().poll(context).is_ready();
                    if woken { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
            }
        });
        shared.closed.store(true, Ordering::Release);
        block_on(shared.lanes.run(self.end())).map_err(|fault| shared.fault(fault))
    }

    /// Ends this process's epoch.
    fn end(&self) -> impl Future<Output = Result<(), Fault>> + Send + 'static {
        // They live as long as this.
        let (lanes, epoch) = (self.shared.lanes.clone(), self.shared.epoch);
        async move { lanes.patience.tries(|| lanes.engine.end_epoch(epoch)).await }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let shared = &self.shared;
        if shared.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        shared.desk.wake(None, |_| 0);
        let ended = self.end();
        // There is nobody left to tell.
        shared.lanes.spawn(async move { drop(ended.await) });
    }
}

/// What there was to be read before the first key.
struct Begun {
    identity: Identity,
    current_rules: u16,
    secrets: Vec<Option<crate::digest::Secret>>,
    epoch: At<u64>,
}

impl Shared {
    async fn connect(
        options: Builder,
        engine: Arc<dyn crate::engine::Engine>,
        origin: Option<Identity>,
        old: Option<Old>,
    ) -> Result<Arc<Self>> {
        let options = options.checked()?;
        let name = engine.name();
        if let Some(setting) = options.not_promised(origin.is_some()) {
            return Err(ErrorKind::NotPromised { engine: name, setting }.into());
        }
        let lanes = Lanes::start(Arc::clone(&engine), Patience(options.patience))?;
        let (own, settings, patience) = (Arc::clone(&engine), options.clone(), lanes.patience);
        let begun = lanes.run(async move { begin(&*own, &settings, origin.as_ref(), patience).await });
        let Begun { identity, current_rules, secrets, epoch } =
            begun.await.map_err(|fault| fault.into_error(name))?;
        let limits = ParameterLimits {
            count_max: options.parameter_count_max,
            bytes_max: options.parameter_bytes_max,
        };
        let shared = Arc::new(Self {
            limits,
            comparer: Comparer { secrets, rules: identity.all_rules(), current_rules },
            keys: HashKeys::derive(&identity.seed),
            time: EngineTime::new(Arc::clone(&options.clock), epoch.now),
            timer: Timer::new(Arc::clone(&options.clock)),
            desk: Desk::new(&options),
            old,
            epoch: epoch.answer,
            fences: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            left: Event::new(),
            counters: Counters::default(),
            lanes,
            options,
        });
        let weak = Arc::downgrade(&shared);
        shared.lanes.spawn(waiting::listen(weak.clone(), engine));
        if shared.options.background_sweep {
            shared.lanes.spawn(settling::sweep_on(weak, SWEEP_EVERY));
        }
        Ok(shared)
    }
}

/// Beyond these two epochs would have fences in common, and engines keep them as signed numbers.
const EPOCHS_MAX: u64 = 1 << (63 - FENCE_BITS);

/// No service begins as many; what an engine gives back may be anything (contract 4.4, 10.4).
fn check_epoch(epoch: u64, engine: &str) -> Result<()> {
    if (1..EPOCHS_MAX).contains(&epoch) {
        return Ok(());
    }
    Err(ErrorKind::DamagedStore { file: format!("the number of epochs in {engine}") }.into())
}

async fn begin(
    engine: &dyn crate::engine::Engine,
    options: &Builder,
    origin: Option<&Identity>,
    patience: Patience,
) -> Result<Begun, Fault> {
    let refused = |error: Error| Fault::Refused(error);
    loop {
        let old = patience.tries(|| engine.identity()).await?;
        let mut identity = match &old {
            Some(bytes) => Identity::parse(bytes),
            None => origin.cloned().map_or_else(|| Identity::new(options.secret.as_ref()), Ok),
        }
        .map_err(refused)?;
        if origin.is_some_and(|origin| origin.store != identity.store) {
            return Err(Fault::Refused(another_store()));
        }
        let secrets = identity.secrets(options.secret.as_ref(), &options.old_secrets).map_err(refused)?;
        let current_rules = identity.number_of(&options.rules).map_err(refused)?;
        identity.born = true;
        let new = identity.encode().map_err(refused)?;
        let same = old.as_ref() == Some(&new);
        if same || patience.tries(|| engine.replace_identity(old.as_deref(), &new)).await? {
            let epoch = patience.tries(|| engine.begin_epoch(options.node.as_deref())).await?;
            check_epoch(epoch.answer, engine.name()).map_err(refused)?;
            return Ok(Begun { identity, current_rules, secrets, epoch });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_whose_fences_would_be_anothers_is_refused_4_4() {
        for sound in [1, 2, EPOCHS_MAX - 1] {
            assert_eq!(check_epoch(sound, "x"), Ok(()));
            assert!(i64::try_from(sound << FENCE_BITS | ((1 << FENCE_BITS) - 1)).is_ok());
        }
        for wrong in [0, EPOCHS_MAX, u64::MAX] {
            let error = check_epoch(wrong, "x").expect_err("refused");
            assert!(matches!(error.kind(), ErrorKind::DamagedStore { .. }), "{wrong}: {error}");
        }
    }
}
