//! What was learned outlives the process: a new engine on the same store places its first jobs by it. Two instances
//! stand idle, so only what is believed of them decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::artifacts::Artifacts;
use gateway::engine::{Engine, EngineHandle, Parts, Settings};
use gateway::link::local::{self, EngineEnd, RunnerEnd};
use gateway::link::message::{Attempt, Command, InstanceFacts, Report, Signal};
use gateway::metrics::Metrics;
use gateway::outside::Outside;
use gateway::store::sqlite::SqliteStore;
use gateway::store::{Face, JobBody, JobPlan, KeepFor, NewJob};
use gateway::ticket_desk::TicketDesk;
use gateway::workflow::{self, Limits};
use scheduler::{Class, Config, ModelId, ModelKind, ModelUse, Requirement, Shape, ShapeId};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::fleet::{folder, picture, stored};
use super::names;
use super::store::Awaited;

const CATALOGUE: &str = r#"{"Plain": {"input": {}, "output": [], "output_node": true}}"#;
const FAMILY: &str = "sdxl";
/// Time goes on only when nobody has anything to do.
const IDLE: Duration = Duration::from_millis(1);
/// Nothing has happened for so long: nothing will.
const PATIENCE: Duration = Duration::from_secs(600);
/// What each job is predicted to run on the reference class.
const PRIOR_MS: u32 = 10_000;

/// What is told of the two instances: speed for the family, thousandths.
struct Told {
    quick: u32,
    slow: u32,
}

struct World {
    told: Told,
    folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    engine: EngineHandle,
    runner: RunnerEnd,
    task: JoinHandle<()>,
}

impl World {
    async fn new(told: Told) -> Self {
        Self::on(folder(), told).await
    }

    async fn on(folder: tempfile::TempDir, told: Told) -> Self {
        let store = SqliteStore::open(folder.path().join("jobs.sqlite3")).unwrap();
        let (link, runner) = local::pair(false);
        let instances = ["quick".into(), "slow".into()].to_vec();
        runner.reports.send(Report::Hello { host: "here".into(), instances }).await.unwrap();
        let (engine, handle) = Engine::open(parts(store.clone(), folder.path(), link)).await.unwrap();
        let task = tokio::spawn(engine.run());
        let mut world = Self { told, folder, store, engine: handle, runner, task };
        for (name, milli) in [("quick", world.told.quick), ("slow", world.told.slow)] {
            let facts = facts(name, milli);
            world.report(Report::InstanceUp { instance: name.into(), facts }).await;
        }
        while let Ok(Some(command)) = timeout(IDLE, world.runner.commands.recv()).await {
            if matches!(command, Command::SendCatalogue { .. }) {
                let body = CATALOGUE.into();
                world.report(Report::Catalogue { hash: names::hash(CATALOGUE), body }).await;
            }
        }
        world.idle().await;
        world
    }

    /// The process dies, and a new one starts on the same data.
    async fn restart(self) -> Self {
        let Self { told, folder, store, engine, runner, task } = self;
        task.abort();
        let _ = task.await;
        drop((engine, runner));
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
        drop(store);
        Self::on(folder, told).await
    }

    async fn idle(&self) {
        tokio::time::sleep(IDLE).await;
    }

    async fn report(&self, report: Report) {
        self.runner.reports.send(report).await.unwrap();
    }

    async fn tell(&self, attempt: Attempt, signal: Signal) {
        self.report(Report::Attempt { attempt, signal }).await;
    }

    /// So many jobs of a kind run one after the other, each this long, and nowhere but there.
    async fn train(&mut self, on: &str, jobs: impl IntoIterator<Item = Wanted>, took_ms: u64) {
        let other = if on == "quick" { "slow" } else { "quick" };
        self.engine.cordon(other.into(), true).await.unwrap();
        for job in jobs {
            assert_eq!(self.run(job, took_ms).await, on);
        }
        self.engine.cordon(other.into(), false).await.unwrap();
    }

    /// A job runs so long wherever it is placed: where.
    async fn run(&mut self, wanted: Wanted, took_ms: u64) -> String {
        self.engine.submit(wanted.job(self.engine.now()), None).await.unwrap();
        let dispatch = loop {
            if let Command::Dispatch(dispatch) = self.next().await {
                break dispatch;
            }
        };
        let attempt = dispatch.attempt;
        self.tell(attempt, Signal::Started).await;
        tokio::time::sleep(Duration::from_millis(took_ms)).await;
        self.tell(attempt, Signal::Executed { files: vec![picture()] }).await;
        while !matches!(self.next().await, Command::Grant { .. }) {}
        self.tell(attempt, Signal::Stored { files: vec![stored()] }).await;
        while !matches!(self.next().await, Command::Settle { .. }) {}
        self.idle().await;
        dispatch.instance.to_string()
    }

    async fn next(&mut self) -> Command {
        timeout(PATIENCE, self.runner.commands.recv()).await.expect("a command in time").unwrap()
    }
}

/// A kind of work.
#[derive(Clone, Copy)]
struct Wanted {
    shape: u64,
    checkpoint: Option<u64>,
}

fn shape(shape: u64) -> Wanted {
    Wanted { shape, checkpoint: None }
}

impl Wanted {
    fn with(self, checkpoint: u64) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }

    fn job(self, now: i64) -> NewJob {
        let id = Uuid::now_v7();
        let checkpoint = |id| ModelUse { id: ModelId(id), kind: ModelKind::Checkpoint };
        let models = self.checkpoint.map(checkpoint).into_iter().collect();
        let plan = JobPlan {
            class: Class::Normal,
            weight: 1,
            concurrency: u32::MAX,
            order: None,
            start_deadline: None,
            due_at: None,
            deadline: i64::MAX / 2,
            requirement: Arc::new(Requirement { parts: Box::default(), models }),
            provisional: false,
            shape: Shape {
                id: ShapeId(self.shape),
                family: workflow::family(FAMILY),
                prior_run_ms: PRIOR_MS,
                prior_vram_mib: 1_000,
            },
            graph: None,
        };
        NewJob {
            id,
            public_id: id.to_string(),
            tenant: 1,
            face: Face::V2,
            idempotency: None,
            plan,
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
            labels: BTreeMap::default(),
            accepted_at: now,
            retention_ms: 1_000_000_000,
            webhook: None,
            user: None,
            template: None,
            retry_of: None,
            batch: None,
            keep_for: KeepFor::default(),
            queue: u32::MAX,
        }
    }
}

fn parts(store: Arc<SqliteStore>, folder: &Path, link: EngineEnd) -> Parts {
    Parts {
        store: Arc::new(Awaited(store)),
        sinks: Artifacts::open(&format!("file:{}", folder.join("artifacts").display())).unwrap().into(),
        desk: TicketDesk::new(Outside::open(&Default::default()).unwrap(), Box::new(|_| Vec::new())),
        links: vec![link],
        metrics: Metrics::default(),
        settings: Settings {
            scheduler: Config { prefetch: 0, ..Config::default() },
            reserve_mib: 0,
            max_output_bytes: 1 << 20,
            body_cache_bytes: 1 << 20,
            inbox: 64,
            workflow: Limits::default(),
            shared_inputs: Arc::new([]),
            told_apart: Arc::new([]),
            retention_ms: 1_000_000_000,
            prices: gateway::prices::Prices::default(),
        },
    }
}

/// Each instance is a class of its own. How fast models come in is not told.
fn facts(name: &str, milli: u32) -> InstanceFacts {
    InstanceFacts {
        url: format!("http://{name}:8188"),
        comfyui_version: None,
        device_name: name.to_owned(),
        device_class: name.to_owned(),
        speed_milli: 1000,
        vram_mib: Some(24_000),
        vram_split: false,
        device_uuid: Some(format!("GPU-{name}")),
        catalogue: Some(names::hash(CATALOGUE)),
        family_speeds: BTreeMap::from([(FAMILY.to_owned(), milli)]),
        loading: None,
        models_mib: Arc::default(),
    }
}

/// The class that is said to be quick needs four times as long as was told: after the restart the other one takes even
/// work that was never seen.
#[tokio::test(start_paused = true)]
async fn the_speed_of_a_class_is_known_after_a_restart() {
    let mut world = World::new(Told { quick: 1000, slow: 700 }).await;
    assert_eq!(world.run(shape(1), 40_000).await, "quick", "as was told");
    world.train("quick", (2..42).map(shape), 40_000).await;
    let mut world = world.restart().await;
    assert_eq!(world.run(shape(100), 14_000).await, "slow");
}

/// One kind of work is slow on the class that is quick for all other work.
#[tokio::test(start_paused = true)]
async fn the_run_time_of_a_kind_of_work_is_known_after_a_restart() {
    let mut world = World::new(Told { quick: 1000, slow: 700 }).await;
    assert_eq!(world.run(shape(1), 40_000).await, "quick", "as was told");
    world.train("quick", [shape(1); 5], 40_000).await;
    world.train("slow", [shape(1); 8], 14_000).await;
    world.train("quick", (2..20).map(shape), 10_000).await;
    let mut world = world.restart().await;
    assert_eq!(world.run(shape(100), 10_000).await, "quick", "work that was never seen goes by the speeds");
    assert_eq!(world.run(shape(1), 14_000).await, "slow");
}

/// One checkpoint takes long to come in on the quicker class.
#[tokio::test(start_paused = true)]
async fn the_load_time_of_a_checkpoint_is_known_after_a_restart() {
    let (heavy, light, warm) = (shape(1).with(7), shape(1).with(8), 10_000);
    let mut world = World::new(Told { quick: 1000, slow: 900 }).await;
    assert_eq!(world.run(heavy, 55_000).await, "quick", "as was told");
    // Its models are there from now on.
    world.train("quick", [heavy; 30], warm).await;
    let mut world = world.restart().await;
    assert_eq!(world.run(light, 18_000).await, "quick", "a checkpoint of which nothing is known");
    assert_eq!(world.run(heavy, 19_000).await, "slow");
}
