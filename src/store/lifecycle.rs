//! Opening, reopening in place, sweeping in the background, closing.
//!
//! Law: what threads hold is either weak or ends with the store, so the last handle's drop ends them. Reopening
//! shuts every stripe's door first (`reopening`, read under the stripe's lock), so that nobody takes an index that
//! is being filled for one that knows nothing. `Drop` does what `close` does and reports nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::publish::Publisher;
use super::quota::Quota;
use super::shared::{Engine, Shared};
use super::stats::Home;
use super::stripe::Stripes;
use crate::comparing::Comparer;
use crate::digest::{ParameterLimits, Secret};
use crate::error::{ErrorKind, Result};
use crate::inflight::Timer;
use crate::ledger::{self, Catalogue, Directory, Ground, House, Memory, Opening, Room};
use crate::options::Builder;
use crate::sweep::{Swept, sweep};
use crate::sync::{
    CachePadded, Event, Held, JoinHandle, Mutex, Receiver, RwLock, Sender, after, block_on, bounded, select,
    spawn, unbounded, yield_now,
};
use crate::time::Chronometer;

/// How often the background sweep looks.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Counters of one epoch's fences take these bits; the epoch stands above them.
const FENCE_BITS: u32 = 40;

/// What the last handle's drop ends.
pub(super) struct Owner {
    /// Apart from the count of handles, which each reservation changes.
    pub(super) shared: CachePadded<Arc<Shared>>,
    sweeper: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Owner {
    pub(super) fn in_directory(options: Builder, path: &Path) -> Result<Self> {
        let options = options.checked()?;
        let disk = Directory::at(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotADirectory => ErrorKind::NotAStore("the path is not a directory").into(),
            _ => ledger::io_error("opening the directory")(error),
        })?;
        Self::over(options, Ground::Files(Arc::new(disk)), Home::Directory)
    }

    pub(super) fn in_memory(options: Builder) -> Result<Self> {
        Self::over(options.checked()?, Ground::Files(Arc::new(Memory::default())), Home::Memory)
    }

    #[cfg(feature = "redb-transactions")]
    pub(super) fn in_database(options: Builder, place: ledger::Place) -> Result<Self> {
        Self::over(options.checked()?, Ground::Table(place), Home::Database)
    }

    /// Opens the store on a disk of a test's own.
    #[cfg(any(test, fuzzing))]
    pub(super) fn on(options: Builder, disk: Arc<dyn ledger::Disk>) -> Result<Self> {
        Self::over(options.checked()?, Ground::Files(disk), Home::Directory)
    }

    fn over(options: Builder, ground: Ground, home: Home) -> Result<Self> {
        let (nudge, nudged) = bounded(1);
        let shared = Shared::open(options, ground, home, nudge)?;
        let sweeper =
            Mutex::new(if shared.options.background_sweep { Some(sweeper(&shared, nudged)?) } else { None });
        Ok(Self { shared: CachePadded::new(shared), sweeper })
    }

    /// Ends the threads and closes the files; reports what closing says.
    pub(super) fn shut(&self) -> Result<()> {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.hurry.store(true, Ordering::Release);
        if let Some((stop, thread)) = self.sweeper.lock().take() {
            drop(stop);
            let _ = thread.join();
        }
        self.shared.wake_all();
        // One who holds the lent transaction can't wait for the writer, which ends by itself when it has written.
        if let Err(lent) = self.shared.check_thread() {
            drop(self.shared.engine.write().take());
            return Err(lent);
        }
        let _sweeping = self.shared.sweeping.lock();
        let engine = self.shared.engine.write().take();
        self.shared.send_late();
        match engine {
            None => Ok(()),
            // The last handle went in a waker: the writer, which runs it, can't wait for itself.
            Some(engine) if self.shared.is_writing_here() => {
                let closer = spawn("oncekey-closer", move || drop(Shared::stop(engine).close()));
                closer.map(drop).map_err(|kind| ErrorKind::Io { operation: "closing", kind }.into())
            }
            Some(engine) => Shared::stop(engine).close(),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // There is nobody left to tell.
        drop(self.shut());
    }
}

impl Shared {
    fn open(options: Builder, ground: Ground, home: Home, nudge: Sender<()>) -> Result<Arc<Self>> {
        let wall = options.clock.wall();
        let room = Arc::<Room>::default();
        let stripes = Arc::new(Stripes::new(options.stripes, options.recent_bytes_max, Quota::new(&options)));
        let catalogue = Arc::clone(&stripes) as Arc<dyn Catalogue>;
        let opening = ground.open(&options, wall, Arc::clone(&room), &catalogue)?;
        let chronometer = Chronometer::starting_at(opening.start, Arc::clone(&options.clock));
        let shared = Arc::new(Self {
            limits: ParameterLimits {
                count_max: options.parameter_count_max,
                bytes_max: options.parameter_bytes_max,
            },
            ground,
            home,
            stripes,
            room,
            keys: *opening.ledger.keys(),
            timer: Timer::new(Arc::clone(chronometer.clock())),
            chronometer,
            engine: RwLock::new(None),
            closing: AtomicBool::new(false),
            reopening: AtomicBool::new(false),
            blind: AtomicU64::new(opening.ledger.blind()),
            sweeping: Mutex::new(()),
            hurry: AtomicBool::new(false),
            nudge,
            left: Event::new(),
            counters: CachePadded::default(),
            late: Mutex::default(),
            rotated: Mutex::default(),
            process: std::process::id(),
            options,
        });
        shared.begin_epoch(opening.epoch);
        *shared.engine.write() = Some(shared.start(opening)?);
        Ok(shared)
    }

    /// From here on every stripe counts its fences within this epoch.
    fn begin_epoch(&self, epoch: u64) {
        for mut stripe in self.stripes.each() {
            stripe.fence = epoch << FENCE_BITS;
        }
    }

    /// Starts the writer of an opened ledger.
    fn start(self: &Arc<Self>, opening: Opening) -> Result<Engine> {
        let Opening { ledger, secrets, rules, current_rules, .. } = opening;
        let ledger = Arc::new(ledger);
        let (queue, jobs) = ledger::queue();
        let (own, lag) = (Arc::clone(&ledger), self.options.relaxed_lag);
        let (last, nudge) = (Mutex::new(self.chronometer.now()), self.nudge.clone());
        let publisher =
            Publisher { shared: Arc::downgrade(self), chronometer: self.chronometer.clone(), last, nudge };
        let write = move || {
            let _held = Held::here(publisher.shared.as_ptr());
            ledger::run_writer(&own, &jobs, lag, &publisher);
        };
        let writer = spawn("oncekey-writer", write);
        let writer = writer.map_err(|kind| ErrorKind::Io { operation: "starting the writer", kind })?;
        let comparer = Arc::new(Comparer { secrets, rules, current_rules });
        Ok(Engine { ledger, queue, writer: Some(writer), comparer })
    }

    /// Lets the writer finish what was handed over.
    fn stop(engine: Engine) -> Arc<House> {
        let Engine { ledger, queue, writer, .. } = engine;
        drop(queue);
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        ledger
    }

    /// Opens again, in place (contract 5.5).
    pub(super) fn reopen(self: &Arc<Self>) -> Result<()> {
        self.check_open()?;
        self.check_process()?;
        self.check_may_wait()?;
        // In place the store's time just goes on, whatever the wall clock has done meanwhile (contract 7.2).
        let now = self.chronometer.now().time;
        self.hurry.store(true, Ordering::Release);
        let _sweeping = self.sweeping.lock();
        self.hurry.store(false, Ordering::Release);
        // Where there is no way to the disk, none is lent.
        drop(self.ledger().map(|ledger| ledger.retire()));
        self.reopening.store(true, Ordering::Release);
        let mut engine = self.engine.write();
        if let Some(engine) = engine.take() {
            let ledger = Self::stop(engine);
            // Where it stopped after an error, closing says so again, and the reading anew finds out.
            drop(ledger.close());
            wait_until_alone(ledger);
        }
        for mut stripe in self.stripes.each() {
            stripe.index.clear();
            stripe.slots.leave_started();
            stripe.recent.clear();
        }
        self.stripes.quota.let_go_of_all();
        self.stripes.interrupted.clear();
        let opening = self.open_again(now)?;
        self.begin_epoch(opening.epoch);
        self.blind.store(opening.ledger.blind(), Ordering::Release);
        self.find_replaced(&opening.ledger);
        *engine = Some(self.start(opening)?);
        for mut stripe in self.stripes.each() {
            stripe.slots.remove_unknown();
        }
        self.reopening.store(false, Ordering::Release);
        drop(engine);
        self.send_late();
        Ok(())
    }

    /// Live reservations stay; which records they replace is read anew, since what was in doubt is known now.
    fn find_replaced(&self, ledger: &House) {
        for number in 0..self.stripes.count() {
            let stripe = self.stripes.nth(number);
            let slots: Vec<_> = stripe.slots.live().map(|slot| (slot.hash, slot.key.clone())).collect();
            drop(stripe);
            for (hash, key) in slots {
                let places = self.stripes.find(hash);
                // What does not read stays, and says so when it is asked for.
                if let Ok((_, replaces)) = ledger.newest(&places, key.as_framed(), |_, _| ()) {
                    self.stripes.replaced(hash, &key, &places, replaces);
                }
            }
        }
    }

    fn open_again(&self, now: crate::time::Timestamp) -> Result<Opening> {
        let mut options = self.options.clone().accept_clock_jump();
        for secret in &*self.rotated.lock() {
            options.old_secrets.extend(options.secret.replace(secret.clone()));
        }
        let catalogue = Arc::clone(&self.stripes) as Arc<dyn Catalogue>;
        self.ground.open(&options, now, Arc::clone(&self.room), &catalogue)
    }

    /// Sweeps all there is to sweep now, or, if it is not to `wait` for a caller who writes, what can be.
    pub(super) fn sweep(&self, wait: bool) -> Result<Swept> {
        let _sweeping = self.sweeping.lock();
        let now = self.chronometer.now().time;
        let ledger = self.ledger()?;
        let pause = || self.pause();
        let swept = sweep(&ledger, &*self.stripes, now, &pause, wait);
        self.make_spare(&ledger);
        swept
    }

    /// Makes the next segment's space; in memory there is nothing to be gained by that.
    fn make_spare(&self, ledger: &House) {
        if self.home != Home::Memory {
            ledger.make_spare(&|| self.pause());
        }
    }

    /// Between two bounded steps: lets others go first; `false` if somebody wants no step at all.
    fn pause(&self) -> bool {
        yield_now();
        !self.hurry.load(Ordering::Acquire)
    }

    /// Wakes everybody who waits, to be told that the store is closed.
    fn wake_all(&self) {
        for stripe in self.stripes.each() {
            let gates: Vec<_> = stripe.slots.iter().filter_map(|slot| slot.gate.clone()).collect();
            drop(stripe);
            for gate in gates {
                gate.wake_all();
            }
        }
    }

    /// Waits for live reservations, up to a limit.
    pub(super) fn wait_for_holders(&self, limit: Duration) {
        self.closing.store(true, Ordering::Release);
        self.wake_all();
        let until = self.chronometer.now().tick.saturating_add(limit);
        block_on(async {
            let mut timer = std::pin::pin!(self.timer.sleep_until(until));
            loop {
                let mut left = self.left.listen();
                if self.stripes.quota.live() == 0 {
                    return;
                }
                let woken = std::future::poll_fn(|context| {
                    use std::future::Future;
                    use std::task::Poll;
                    match std::pin::pin!(&mut left).poll(context) {
                        Poll::Ready(()) => Poll::Ready(true),
                        Poll::Pending => timer.as_mut().poll(context).map(|()| false),
                    }
                });
                if !woken.await {
                    return;
                }
            }
        });
    }

    pub(super) fn backup(&self, target: &Path) -> Result<()> {
        self.check_open()?;
        self.ground.check_backup()?;
        let _sweeping = self.sweeping.lock();
        let target = Directory::at(target).map_err(ledger::io_error("opening the backup's directory"))?;
        let ledger = self.ledger()?;
        ledger.backup(&target, self.chronometer.now().time)
    }

    pub(super) fn rotate_secret(&self, secret: &Secret) -> Result<()> {
        self.check_open()?;
        self.check_thread()?;
        // So that no other rotation, and no reopening, comes between.
        self.hurry.store(true, Ordering::Release);
        let _sweeping = self.sweeping.lock();
        self.hurry.store(false, Ordering::Release);
        // It may wait for a caller who writes, so it is not done while the way to the disk is shut for others.
        self.ledger()?.rotate_secret(secret)?;
        let mut held = self.engine.write();
        let Some(engine) = held.as_mut() else {
            return Err(ErrorKind::Stopped { operation: "reopening" }.into());
        };
        self.rotated.lock().push(secret.clone());
        let mut secrets = engine.comparer.secrets.clone();
        secrets.push(Some(secret.clone()));
        let (rules, current_rules) = (engine.comparer.rules.clone(), engine.comparer.current_rules);
        engine.comparer = Arc::new(Comparer { secrets, rules, current_rules });
        drop(held);
        self.send_late();
        Ok(())
    }
}

/// Waits until nobody else reads through this ledger, so that its lock is given back when it goes.
fn wait_until_alone(mut ledger: Arc<House>) {
    while let Err(shared) = Arc::try_unwrap(ledger) {
        ledger = shared;
        yield_now();
    }
}

/// Starts the thread that sweeps, and makes spares when it is nudged.
fn sweeper(shared: &Arc<Shared>, nudged: Receiver<()>) -> Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped): (Sender<()>, Receiver<()>) = unbounded();
    let weak = Arc::downgrade(shared);
    let thread = spawn("oncekey-sweeper", move || {
        let mut alarm = after(SWEEP_EVERY);
        loop {
            let due = select! {
                recv(stopped) -> _ => return,
                recv(nudged) -> _ => false,
                recv(alarm) -> _ => true,
            };
            let Some(shared) = weak.upgrade() else { return };
            // A sweep that fails has stopped the ledger, or leaves its segment for the next one. The clock, which is
            // the caller's code, may panic.
            if due {
                drop(crate::sync::shielded(|| shared.sweep(false)));
                alarm = after(SWEEP_EVERY);
            } else {
                let _sweeping = shared.sweeping.lock();
                drop(shared.ledger().map(|ledger| shared.make_spare(&ledger)));
            }
        }
    });
    Ok((stop, thread.map_err(|kind| ErrorKind::Io { operation: "starting the sweeper", kind })?))
}
