//! An engine with a real SQLite store and a runner that the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway::artifacts::Artifacts;
use gateway::engine::{Engine, EngineHandle, Parts, Settings, SubmitError};
use gateway::link::local::{self, RunnerEnd};
use gateway::link::message::{
    Attempt, Command, Dispatch, InstanceFacts, ListedFile, OutputKind, Report, Signal, StoredFile,
};
use gateway::metrics::Metrics;
use gateway::outside::Outside;
use gateway::store::sqlite::SqliteStore;
use gateway::store::*;
use gateway::ticket_desk::TicketDesk;
use gateway::workflow::Limits;
use scheduler::{Class, FamilyId, Requirement, Shape, ShapeId};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// An engine, and the test as its only runner.
pub struct World {
    pub folder: tempfile::TempDir,
    pub engine: EngineHandle,
    pub runner: RunnerEnd,
    pub flaky: Arc<Flaky>,
    task: JoinHandle<()>,
}

pub fn settings() -> Settings {
    Settings {
        scheduler: scheduler::Config::default(),
        reserve_mib: 0,
        max_output_bytes: 1 << 20,
        body_cache_bytes: 1 << 20,
        inbox: 64,
        workflow: Limits::default(),
        shared_inputs: Arc::new([]),
        told_apart: Arc::new([]),
        retention_ms: 1_000_000,
        prices: gateway::prices::Prices::default(),
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(false, settings()).await
    }

    pub async fn with(serialised: bool, settings: Settings) -> Self {
        Self::at(tempfile::tempdir().unwrap(), serialised, settings).await
    }

    async fn at(folder: tempfile::TempDir, serialised: bool, settings: Settings) -> Self {
        let store = SqliteStore::open(folder.path().join("jobs.sqlite3")).unwrap();
        let flaky = Arc::new(Flaky { store, broken: AtomicBool::new(false) });
        let artifacts =
            Artifacts::open(&format!("file:{}", folder.path().join("artifacts").display())).unwrap();
        let (engine_end, mut runner) = local::pair(serialised);
        // An instance may be quicker than its host's first word.
        let early = Report::InstanceDown { instance: "gpu-0".into(), reason: "not yet".into() };
        runner.reports.send(early).await.unwrap();
        runner
            .reports
            .send(Report::Hello { host: "here".into(), instances: vec!["gpu-0".into()] })
            .await
            .unwrap();
        let parts = Parts {
            store: flaky.clone(),
            sinks: artifacts.into(),
            desk: TicketDesk::new(Outside::open(&Default::default()).unwrap(), Box::new(|_| Vec::new())),
            links: vec![engine_end],
            metrics: Metrics::default(),
            settings,
        };
        let (engine, handle) = Engine::open(parts).await.unwrap();
        let task = tokio::spawn(engine.run());
        let welcome = runner.commands.recv().await;
        assert!(matches!(welcome, Some(Command::Welcome { .. })), "{welcome:?}");
        Self { folder, engine: handle, runner, flaky, task }
    }

    /// The process dies and a new one starts on the same data.
    pub async fn restart(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        drop((self.engine, self.runner));
        let folder = self.folder;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while Arc::strong_count(&self.flaky) > 1 {
            assert!(tokio::time::Instant::now() < deadline, "somebody keeps the store");
            tokio::task::yield_now().await;
        }
        drop(self.flaky);
        Self::at(folder, false, settings()).await
    }

    pub async fn instance_up(&self) {
        self.instance_up_with(facts()).await;
    }

    async fn instance_up_with(&self, facts: InstanceFacts) {
        self.report(Report::InstanceUp { instance: "gpu-0".into(), facts }).await;
    }

    pub async fn report(&self, report: Report) {
        self.runner.reports.send(report).await.unwrap();
    }

    /// Waits until the instance is believed to hold so many models.
    pub async fn until_warm(&self, models: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.engine.fleet().summary.instances[0].warm.len() != models {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", self.engine.fleet().summary);
            tokio::task::yield_now().await;
        }
    }

    /// Plays the whole introduction: the instance comes up and its catalogue is asked for and sent.
    pub async fn ready(&mut self) {
        self.ready_with(facts()).await;
    }

    /// The same with facts of one's own.
    pub async fn ready_with(&mut self, facts: InstanceFacts) {
        self.instance_up_with(facts).await;
        let asked = self.next().await;
        assert!(matches!(asked, Command::SendCatalogue { .. }), "{asked:?}");
        self.runner
            .reports
            .send(Report::Catalogue { hash: catalogue_hash(), body: CATALOGUE.into() })
            .await
            .unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.engine.fleet().catalogues.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "the catalogue was not read");
            tokio::task::yield_now().await;
        }
    }

    pub async fn next(&mut self) -> Command {
        tokio::time::timeout(PATIENCE, self.runner.commands.recv()).await.expect("a command in time").unwrap()
    }

    pub async fn next_dispatch(&mut self) -> Dispatch {
        match self.next().await {
            Command::Dispatch(dispatch) => *dispatch,
            other => panic!("expected a dispatch, got {other:?}"),
        }
    }

    pub async fn tell(&self, attempt: Attempt, signal: Signal) {
        self.runner.reports.send(Report::Attempt { attempt, signal }).await.unwrap();
    }

    /// Plays an attempt from its start to its stored picture.
    pub async fn finish(&mut self, attempt: Attempt) {
        self.tell(attempt, Signal::Executed { files: vec![picture()] }).await;
        let tickets = loop {
            match self.next().await {
                Command::Grant { attempt: granted, tickets, .. } if granted == attempt => break tickets,
                Command::Dispatch(_) => {}
                other => panic!("expected tickets, got {other:?}"),
            }
        };
        assert_eq!(tickets.len(), 1);
        self.tell(attempt, Signal::Stored { files: vec![stored()] }).await;
    }

    pub async fn submit(&self, job: NewJob) -> Result<(), SubmitError> {
        tokio::time::timeout(PATIENCE, self.engine.submit(job, None)).await.expect("an answer in time")
    }

    pub async fn row(&self, job: Uuid) -> JobRow {
        self.engine.store().job(job).await.unwrap().expect("the job is in the store")
    }

    /// Waits until the row says so.
    pub async fn until(&self, job: Uuid, state: StoredState) -> JobRow {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let row = self.row(job).await;
            if row.state == state {
                return row;
            }
            assert!(tokio::time::Instant::now() < deadline, "{job} is {:?}, not {state:?}", row.state);
            tokio::task::yield_now().await;
        }
    }
}

const CATALOGUE: &str = include_str!("catalogue.json");

/// What the instance says of itself.
pub fn facts() -> InstanceFacts {
    InstanceFacts {
        url: "http://127.0.0.1:1".into(),
        comfyui_version: None,
        device_name: "Tesla T4".into(),
        device_class: "t4".into(),
        speed_milli: 400,
        vram_mib: Some(15_360),
        vram_split: false,
        device_uuid: None,
        catalogue: Some(catalogue_hash()),
        family_speeds: std::collections::BTreeMap::new(),
        loading: None,
        models_mib: Arc::default(),
    }
}

fn catalogue_hash() -> String {
    blake3::hash(CATALOGUE.as_bytes()).to_hex().to_string()
}

pub fn picture() -> ListedFile {
    ListedFile {
        node_id: "9".into(),
        kind: OutputKind::Image,
        name: "ComfyUI_00007_.png".into(),
        content_type: "image/png".into(),
    }
}

pub fn stored() -> StoredFile {
    StoredFile {
        size_bytes: 5,
        hash: "ab".repeat(32),
        content_type: "image/png".into(),
        size: None,
        receipt: None,
    }
}

pub fn job() -> NewJob {
    let id = Uuid::now_v7();
    NewJob {
        id,
        public_id: id.to_string(),
        tenant: 1,
        face: Face::V2,
        idempotency: None,
        plan: JobPlan {
            class: Class::Normal,
            weight: 1,
            concurrency: u32::MAX,
            order: None,
            start_deadline: None,
            due_at: None,
            deadline: i64::MAX / 2,
            requirement: Arc::new(Requirement::default()),
            provisional: false,
            shape: Shape { id: ShapeId(1), family: FamilyId(0), prior_run_ms: 1_000, prior_vram_mib: 100 },
            graph: None,
        },
        body: JobBody {
            workflow: "{}".into(),
            extra_pnginfo: None,
            inputs: Vec::new(),
            strict: true,
            needs_partner_key: false,
            delivery: None,
            native: None,
        },
        references: Vec::new(),
        labels: Default::default(),
        user: None,
        template: None,
        retry_of: None,
        batch: None,
        accepted_at: i64::try_from(id.as_u128() >> 80).unwrap(),
        retention_ms: 1_000_000,
        webhook: None,
        keep_for: KeepFor::default(),
        queue: u32::MAX,
    }
}

/// A store whose commits can be made to fail.
pub struct Flaky {
    store: Arc<SqliteStore>,
    pub broken: AtomicBool,
}

struct FlakyTurn {
    turn: Box<dyn Turn>,
    broken: bool,
}

impl Turn for FlakyTurn {
    fn insert(&mut self, submissions: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>>> {
        self.turn.insert(submissions)
    }
    fn write(&mut self, records: Vec<JobRecord>) -> BoxFuture<'_, Result<()>> {
        self.turn.write(records)
    }
    fn assets(&mut self, calls: Vec<AssetCall>) -> BoxFuture<'_, Result<Vec<AssetAnswer>>> {
        self.turn.assets(calls)
    }
    fn remember(&mut self, facts: Vec<FleetFact>) -> BoxFuture<'_, Result<()>> {
        self.turn.remember(facts)
    }
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        if self.broken {
            return async { Err(StoreError::Unavailable("the disk is full".into())) }.boxed();
        }
        self.turn.commit()
    }
}

macro_rules! delegate {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> BoxFuture<'_, Result<$out>> { self.store.$name($($arg),*) })*
    };
}

impl Store for Flaky {
    fn cell(&self) -> Uuid {
        self.store.cell()
    }
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Turn>>> {
        async {
            let turn = self.store.begin().await?;
            let broken = self.broken.load(Ordering::SeqCst);
            Ok(Box::new(FlakyTurn { turn, broken }) as Box<dyn Turn>)
        }
        .boxed()
    }
    fn outbox(&self) -> &dyn Outbox {
        self.store.outbox()
    }
    fn native(&self) -> &dyn NativeStore {
        self.store.native()
    }
    store_calls!(delegate);
}
