//! A real engine and a real runner over one simulated ComfyUI, with three places for bytes: the gateway's own folder, a
//! bucket of a real S3 server as the sink `shots`, and a bucket of the caller's behind a ticket URL.

use std::sync::Arc;
use std::time::Duration;

use comfyui_sim::Simulator;
use gateway::artifacts::Artifacts;
use gateway::config;
use gateway::delivery::Place;
use gateway::engine::{Engine, EngineHandle, Parts, Settings};
use gateway::link::local;
use gateway::metrics::Metrics;
use gateway::outside::Outside;
use gateway::runner::{Config, InstanceConfig, Runner, RunnerHandle};
use gateway::sinks::{Sink, Sinks};
use gateway::store::sqlite::SqliteStore;
use gateway::store::*;
use gateway::ticket_desk::TicketDesk;
use gateway::workflow::Limits;
use scheduler::{Class, FamilyId, Requirement, Shape, ShapeId};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::backend::Backend;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub folder: tempfile::TempDir,
    pub sim: Simulator,
    pub engine: EngineHandle,
    pub sinks: Sinks,
    pub backend: Backend,
    pub metrics: Metrics,
    change: fn(&mut Config),
    store: Arc<SqliteStore>,
    runner: RunnerHandle,
    task: JoinHandle<()>,
}

impl World {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: fn(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = Simulator::start(comfyui_sim::Config::default()).await.unwrap();
        let own = Artifacts::local(folder.path().join("artifacts")).unwrap();
        let shots = Sink { artifacts: serve_s3(folder.path()).await, redirect: true };
        let sinks = Sinks::new(Sink { artifacts: own, redirect: true }, [("shots".into(), shots)]);
        Self::live(folder, sim, sinks, Backend::start().await, change).await
    }

    async fn live(
        folder: tempfile::TempDir,
        sim: Simulator,
        sinks: Sinks,
        backend: Backend,
        change: fn(&mut Config),
    ) -> Self {
        let instance = InstanceConfig { name: "gpu-0".into(), url: sim.url(), ..InstanceConfig::default() };
        let mut config = Config::new("host", vec![instance], folder.path().join("spool"));
        config.times.contact_backoff = (Duration::from_millis(10), Duration::from_millis(100));
        config.times.second_look = Duration::from_millis(100);
        config.times.ticket_retry = Duration::from_millis(100);
        config.times.upload_backoff = (Duration::from_millis(10), Duration::from_millis(100));
        config.desk = Some(Arc::new(sinks.clone()));
        config.outside = Some(outside());
        change(&mut config);
        let (engine_end, runner_end) = local::pair(true);
        let runner = Runner::start(config, runner_end).unwrap();
        let store = SqliteStore::open(folder.path().join("jobs.sqlite3")).unwrap();
        let metrics = Metrics::default();
        let parts = Parts {
            store: store.clone(),
            sinks: sinks.clone(),
            desk: TicketDesk::new(outside(), Box::new(|_| vec![crate::backend::key()])),
            links: vec![engine_end],
            metrics: metrics.clone(),
            settings: settings(),
        };
        let (engine, handle) = Engine::open(parts).await.unwrap();
        let task = tokio::spawn(engine.run());
        Self { folder, sim, engine: handle, sinks, backend, metrics, change, store, runner, task }
    }

    /// Engine and runner die where they stand and new ones start on what they left.
    pub async fn restart(self) -> Self {
        let Self { folder, sim, engine, sinks, backend, change, store, runner, task, .. } = self;
        runner.shutdown().await;
        task.abort();
        let _ = task.await;
        drop(engine);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while Arc::strong_count(&store) > 1 {
            assert!(tokio::time::Instant::now() < deadline, "somebody keeps the store");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(store);
        Self::live(folder, sim, sinks, backend, change).await
    }

    pub async fn submit(&self, job: NewJob) -> Uuid {
        let id = job.id;
        self.engine.submit(job, None).await.unwrap();
        id
    }

    /// Waits until it has ended.
    pub async fn ended(&self, job: Uuid) -> JobRow {
        until("the job ends", || async {
            let row = self.engine.store().job(job).await.unwrap().unwrap();
            row.state.is_terminal().then_some(row)
        })
        .await
    }

    /// Waits until it has succeeded; its outputs.
    pub async fn outputs(&self, job: Uuid) -> Vec<OutputRow> {
        let row = self.ended(job).await;
        assert_eq!(row.state, StoredState::Succeeded, "{:?}", row.error);
        self.engine.store().outputs(job).await.unwrap()
    }

    /// The code that it failed with.
    pub async fn failure(&self, job: Uuid) -> String {
        let row = self.ended(job).await;
        assert_eq!(row.state, StoredState::Failed);
        row.error.unwrap().code
    }

    pub async fn read(&self, place: &Place, key: &str) -> Vec<u8> {
        read(&self.sinks.get(place).unwrap().artifacts, key).await.unwrap()
    }

    /// The keys in the gateway's own folder.
    pub fn own_keys(&self) -> Vec<String> {
        let root = self.folder.path().join("artifacts/outputs");
        let mut keys = Vec::new();
        for shelf in std::fs::read_dir(root).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(shelf.path()).into_iter().flatten().flatten() {
                keys.push(file.file_name().to_string_lossy().into_owned());
            }
        }
        keys.sort();
        keys
    }

    /// The original of an output: what a job that reads the output is given.
    pub async fn original(&self, output: &OutputRow) -> Vec<u8> {
        let mut reader = job(&serde_json::json!({"1": {"class_type": "Nothing", "inputs": {"image": ""}}}));
        let pointer = "/1/inputs/image".to_owned();
        reader.references.push(Reference { pointer, names: Named::Asset(output.id) });
        reader.plan.requirement =
            Arc::new(Requirement { parts: [gateway::engine::UNJUDGED].into(), models: [].into() });
        let id = self.submit(reader).await;
        let input = self.engine.store().body(id).await.unwrap().unwrap().inputs.remove(0);
        self.engine.cancel(id).await.unwrap();
        let place = input.sink.map_or(Place::Own, Place::Sink);
        self.read(&place, &input.object_key).await
    }
}

pub async fn read(artifacts: &Artifacts, key: &str) -> Option<Vec<u8>> {
    use futures_util::TryStreamExt as _;
    let download = artifacts.download(key, None).await.ok()?;
    let chunks: Vec<bytes::Bytes> = download.stream.try_collect().await.unwrap();
    Some(chunks.concat())
}

/// Tries until there is something, or fails in time.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Callers' URLs are on this machine here.
fn outside() -> Outside {
    let here = vec!["127.0.0.1".to_owned()];
    let settings =
        config::Outside { allow: here.clone(), allow_http: here, ports: vec![], ..Default::default() };
    Outside::open(&settings).unwrap()
}

fn settings() -> Settings {
    Settings {
        scheduler: scheduler::Config::default(),
        reserve_mib: 0,
        max_output_bytes: 64 << 20,
        body_cache_bytes: 1 << 20,
        inbox: 64,
        workflow: Limits::default(),
        shared_inputs: Arc::new([]),
        told_apart: Arc::new([]),
        retention_ms: 3_600_000,
        prices: gateway::prices::Prices::default(),
    }
}

/// A bucket of a real S3 server that checks signatures.
async fn serve_s3(folder: &std::path::Path) -> Artifacts {
    let root = folder.join("s3");
    std::fs::create_dir_all(root.join("shots")).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("key", "secret"));
    let service = axum::error_handling::HandleError::new(builder.build(), async |_: s3s::HttpError| {
        axum::http::StatusCode::INTERNAL_SERVER_ERROR
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback_service(service)).await });
    let url = format!("s3://shots/cell-1?endpoint=http://{address}&region=eu-west-1");
    let credentials = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some("key".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        _ => None,
    };
    Artifacts::open_with(&url, credentials).unwrap()
}

/// A job of the default tenant.
pub fn job(workflow: &serde_json::Value) -> NewJob {
    let id = Uuid::now_v7();
    NewJob {
        id,
        public_id: id.to_string(),
        tenant: 1,
        face: Face::Private,
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
            workflow: workflow.to_string().into(),
            extra_pnginfo: None,
            inputs: Vec::new(),
            strict: true,
            needs_partner_key: false,
            delivery: None,
            native: None,
        },
        references: Vec::new(),
        user: None,
        template: None,
        retry_of: None,
        batch: None,
        labels: Default::default(),
        accepted_at: i64::try_from(id.as_u128() >> 80).unwrap(),
        retention_ms: 1_000_000,
        keep_for: KeepFor::default(),
        queue: u32::MAX,
        webhook: None,
    }
}
