//! The engine: one task that owns the scheduler. Wait, decide, commit, act (DESIGN §4, STYLE §5).
//!
//! It reaches the world through two doors only: the store and the links to the runners. It has no port of any
//! ComfyUI. When a commit fails, the scheduler value is discarded, no effect runs, callers are told to come back,
//! and everything is read again from the store.

mod act;
mod batch;
pub mod board;
pub mod clock;
mod effects;
pub mod feeds;
pub mod forwards;
mod greeting;
pub mod handle;
mod lanes;
mod metering;
mod names;
mod notes;
mod outputs;
mod records;
mod registry;
mod rejudge;
mod sort;
mod stock;
mod tickets;
mod turn;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use scheduler::{Decisions, Event, Millis};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

pub use board::{Board, LiveState, Watch};
pub use clock::Clock;
pub use feeds::{Feeds, Word};
pub use forwards::Forwards;
pub use handle::{EngineHandle, Readiness, SubmitAllError, SubmitError, Unavailable};
pub(crate) use names::{device_class, key_prefix};
pub use rejudge::UNJUDGED;

use crate::fleet::FleetView;
use crate::link::local::EngineEnd;
use crate::link::message::{Report, Secret};
use crate::metrics::Metrics;
use crate::prices::Prices;
use crate::sinks::Sinks;
use crate::store::{Result, Store, StoreError};
use crate::ticket_desk::TicketDesk;
use crate::workflow::{Catalogue, Limits};
use effects::{Hands, Returned};
use greeting::greet;
use handle::Input;
use lanes::Lanes;
use registry::Registry;
use turn::Batch;
use world::World;

/// Most inputs, and most reports, of one turn.
const BATCH_MAX: usize = 512;
/// The fleet view is published at most this often, unless catalogues changed.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// First and longest pause before the store is read again after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often the board is tidied and the wall clock compared.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The scheduler's own.
    pub scheduler: scheduler::Config,
    /// Memory kept free on every device, MiB.
    pub reserve_mib: u32,
    /// Bound of one output file, bytes.
    pub max_output_bytes: u64,
    /// Bodies kept in memory between submit and dispatch, bytes.
    pub body_cache_bytes: u64,
    /// Messages that may wait for the engine.
    pub inbox: usize,
    /// Bounds of a workflow, for judging again.
    pub workflow: Limits,
    /// Input files that lie on every instance and may be named by anyone.
    pub shared_inputs: Arc<[String]>,
    /// Names of instances that jobs may be bound to.
    pub told_apart: Arc<[String]>,
    /// How long the files of a job wait for a caller's tickets, from its acceptance, milliseconds.
    pub retention_ms: i64,
    /// What GPU time costs.
    pub prices: Prices,
}

/// What the engine is made of.
pub struct Parts {
    /// Where jobs live.
    pub store: Arc<dyn Store>,
    /// Where bytes live.
    pub sinks: Sinks,
    /// Asks callers for tickets to their own buckets.
    pub desk: TicketDesk,
    /// One link a host.
    pub links: Vec<EngineEnd>,
    /// What is counted.
    pub metrics: Metrics,
    /// How it is set.
    pub settings: Settings,
}

/// The engine, to be run by one task.
pub struct Engine {
    store: Arc<dyn Store>,
    metrics: Metrics,
    settings: Settings,
    cell: Uuid,
    clock: Clock,
    board: Arc<Board>,
    feeds: Arc<Feeds>,
    fleet: Arc<ArcSwap<FleetView>>,
    readiness: watch::Sender<Readiness>,
    inbox: mpsc::Receiver<Input>,
    reports: mpsc::Receiver<(usize, Report)>,
    returned: mpsc::UnboundedReceiver<Returned>,
    hands: Hands,
    lanes: Lanes,
    registry: Registry,
    world: World,
    /// Partner keys of open jobs; memory only (DESIGN §9), so they outlive the world.
    partner_keys: HashMap<Uuid, Secret>,
    /// Catalogues being read.
    reading: HashSet<String>,
    /// Waiting jobs are being judged.
    judging: bool,
    /// Counts up with whatever may change a judgement …
    knowledge: u64,
    /// … and where it stood at the last one.
    judged_at: u64,
    /// Settledness of the fleet as last seen; its change is told at once.
    settled: bool,
    draining: bool,
    /// How far the wall clock was away when that was last told.
    clock_off: Millis,
    show_at: Option<Instant>,
    shown: Instant,
    tidy_at: Instant,
}

impl Engine {
    /// Reads the store, takes up the open jobs and returns the engine with its handle. Links are served from here on;
    /// decisions begin with [`Engine::run`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(parts: Parts) -> Result<(Self, EngineHandle)> {
        let Parts { store, sinks, desk, links, metrics, settings } = parts;
        let clock = Clock::anchored(store.latest_time().await?);
        let cell = store.cell();
        let known = store.instances().await?;
        let catalogues = known_catalogues(&*store, &known).await?;
        let (mut registry, known) = Registry::new(known, catalogues, settings.reserve_mib);
        registry.tell_apart(settings.told_apart.clone());

        let (reports_tx, reports) = mpsc::channel(BATCH_MAX * 2);
        let forwards = Forwards::default();
        let mut keep = Vec::new();
        for link in links {
            keep.extend(greet(&mut registry, link, &known, cell, (&reports_tx, &forwards)).await);
        }
        if !keep.is_empty() {
            let mut turn = store.begin().await?;
            turn.remember(keep).await?;
            turn.commit().await?;
        }

        let (inbox_tx, inbox) = mpsc::channel(settings.inbox);
        let (returned_tx, returned) = mpsc::unbounded_channel();
        let (readiness, readiness_rx) = watch::channel(Readiness::Recovering);
        let board = Arc::new(Board::default());
        let feeds = Arc::new(Feeds::default());
        let fleet = Arc::new(ArcSwap::from_pointee(FleetView::default()));
        let hands = Hands {
            store: store.clone(),
            sinks,
            desk,
            deliveries: effects::Deliveries::default(),
            metrics: metrics.clone(),
            retention_ms: settings.retention_ms,
            bodies: effects::bodies(settings.body_cache_bytes),
            returned: returned_tx,
            max_output_bytes: settings.max_output_bytes,
        };
        let handle = EngineHandle {
            inbox: inbox_tx,
            board: board.clone(),
            feeds: feeds.clone(),
            forwards,
            fleet: fleet.clone(),
            readiness: readiness_rx,
            store: store.clone(),
            clock,
        };
        let mut decisions = Decisions::default();
        let world = World::restore(
            &*store,
            settings.scheduler.clone(),
            registry.introduce(),
            clock.now(),
            &mut decisions,
        )
        .await?;
        let mut engine = Self {
            store,
            metrics,
            settings,
            cell,
            clock,
            board,
            feeds,
            fleet,
            readiness,
            inbox,
            reports,
            returned,
            hands,
            lanes: Lanes::default(),
            registry,
            world,
            partner_keys: HashMap::new(),
            reading: HashSet::new(),
            judging: false,
            knowledge: 1,
            judged_at: 0,
            settled: false,
            draining: false,
            clock_off: clock.off(),
            show_at: None,
            shown: Instant::now(),
            tidy_at: Instant::now() + TIDY_EVERY,
        };
        engine.go_on(decisions).await?;
        Ok((engine, handle))
    }

    /// Runs until the drain is complete or every handle is gone.
    pub async fn run(mut self) {
        loop {
            let Some(batch) = self.wait().await else { return };
            if let Err(error) = self.turn(batch).await {
                self.recover(error).await;
            }
            if self.draining && self.world.scheduler.is_drained() {
                tracing::info!("drained");
                return;
            }
        }
    }

    async fn wait(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let wakeup = self.world.scheduler.next_wakeup().map(|at| self.clock.instant(at));
        let timer = [wakeup, self.show_at, Some(self.tidy_at)].into_iter().flatten().min();
        let timer = timer.unwrap_or(self.tidy_at);
        tokio::select! {
            count = self.inbox.recv_many(&mut batch.inputs, BATCH_MAX) => {
                if count == 0 {
                    return None;
                }
            }
            count = self.reports.recv_many(&mut batch.reports, BATCH_MAX) => {
                if count == 0 {
                    // No runner is left, and with it no work: wait for those who ask.
                    self.inbox.recv_many(&mut batch.inputs, BATCH_MAX).await;
                }
            }
            Some(returned) = self.returned.recv() => batch.returned.push(returned),
            () = tokio::time::sleep_until(timer) => {}
        }
        // Whatever else is there already rides along: one turn, one sync.
        fill(&mut self.inbox, &mut batch.inputs);
        fill(&mut self.reports, &mut batch.reports);
        while let Ok(returned) = self.returned.try_recv() {
            batch.returned.push(returned);
        }
        let now = Instant::now();
        batch.woke = wakeup.is_some_and(|at| at <= now);
        if self.tidy_at <= now {
            self.tidy(now);
        }
        if batch.is_empty() && self.show_at.is_some_and(|at| at <= now) {
            self.publish();
        }
        Some(batch)
    }

    fn tidy(&mut self, now: Instant) {
        self.tidy_at = now + TIDY_EVERY;
        self.board.tidy();
        let open = &self.world.scheduler;
        self.hands.deliveries.retain(|job| open.state(names::job_id(job)).is_some());
        // Those whose bodies could not be read are tried again.
        self.knowledge += 1;
        let off = self.clock.off();
        if Clock::is_jump(off, self.clock_off) {
            tracing::warn!(off_ms = off.0, "the wall clock has moved away from ours; deadlines go by ours");
            self.clock_off = off;
        }
    }

    /// The store failed in the middle of a turn: nothing that was decided is true. Reads everything again.
    async fn recover(&mut self, error: StoreError) {
        tracing::error!(%error, "the store failed; reading it again");
        self.metrics.store_failed();
        self.readiness.send_replace(Readiness::StoreFailed);
        self.turn_away();
        let mut pause = RETRY.0;
        loop {
            match self.rebuild().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be read yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                    self.turn_away();
                }
            }
        }
    }

    /// Those who wait are told by the fall of their answers; an order to drain stands.
    fn turn_away(&mut self) {
        while let Ok(input) = self.inbox.try_recv() {
            self.draining |= matches!(input, Input::Drain);
        }
    }

    async fn rebuild(&mut self) -> Result<()> {
        let mut decisions = Decisions::default();
        let fleet = self.registry.introduce();
        let now = self.clock.now();
        self.world =
            World::restore(&*self.store, self.settings.scheduler.clone(), fleet, now, &mut decisions).await?;
        let open = &self.world.scheduler;
        self.partner_keys.retain(|job, _| open.state(names::job_id(*job)).is_some());
        self.board.release_all();
        if self.draining {
            self.world.scheduler.handle(now, Event::DrainRequested, &mut decisions);
        }
        self.go_on(decisions).await
    }

    /// Commits what the restoration decided, and opens the door.
    async fn go_on(&mut self, mut decisions: Decisions) -> Result<()> {
        let now = self.clock.now();
        self.world.scheduler.place(now, &mut decisions);
        self.settle(None, turn::Facts::default(), decisions, turn::Waiting::new(), now).await?;
        self.readiness.send_replace(if self.draining { Readiness::Draining } else { Readiness::Ready });
        self.publish();
        Ok(())
    }

    fn show_fleet(&mut self, changed: bool, catalogues_changed: bool) {
        let now = Instant::now();
        if catalogues_changed || (changed && now >= self.shown + SHOW_EVERY) {
            self.publish();
        } else if self.show_at.is_none() {
            self.show_at = Some((self.shown + SHOW_EVERY).max(now));
        }
        if self.show_at.is_some_and(|at| at <= now) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let (hosts, instances) = self.registry.views();
        self.fleet.store(Arc::new(FleetView {
            hosts,
            instances,
            catalogues: self.registry.catalogues(),
            settled: self.registry.is_settled(),
            summary: self.world.scheduler.summary(),
        }));
        self.shown = Instant::now();
        self.show_at = None;
    }
}

fn fill<T>(from: &mut mpsc::Receiver<T>, into: &mut Vec<T>) {
    while into.len() < BATCH_MAX {
        match from.try_recv() {
            Ok(item) => into.push(item),
            Err(_) => return,
        }
    }
}

async fn known_catalogues(
    store: &dyn Store,
    known: &[crate::store::KnownInstance],
) -> Result<Vec<Arc<Catalogue>>> {
    let hashes: std::collections::BTreeSet<_> =
        known.iter().filter_map(|instance| instance.catalogue.clone()).collect();
    let mut catalogues = Vec::new();
    for hash in hashes {
        let Some(body) = store.catalogue(hash.clone()).await? else { continue };
        match tokio::task::spawn_blocking(move || Catalogue::read(&body)).await {
            Ok(Ok(catalogue)) => catalogues.push(Arc::new(catalogue)),
            Ok(Err(error)) => tracing::warn!(hash, %error, "a remembered catalogue cannot be read"),
            Err(error) => tracing::error!(hash, %error, "reading a remembered catalogue failed"),
        }
    }
    Ok(catalogues)
}
