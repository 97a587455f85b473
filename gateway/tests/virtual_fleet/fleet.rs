//! The engine, its callers and its runners: they do what happens in the model's world, at its virtual milliseconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::artifacts::Artifacts;
use gateway::engine::{Engine, EngineHandle, Parts, Settings};
use gateway::link::local::{self, EngineEnd, RunnerEnd, Sender};
use gateway::link::message::{Attempt, Command, ListedFile, OutputKind, Report, Signal, StoredFile};
use gateway::metrics::Metrics;
use gateway::outside::Outside;
use gateway::store::sqlite::{Options, SqliteStore};
use gateway::store::{Face, JobBody, KeepFor, NewJob, StoredState};
use gateway::ticket_desk::TicketDesk;
use gateway::workflow::Limits;
use scheduler::AttemptEnd;
use scheduler::simulate::{
    DARKROOM_SEED, Event, JobEnd, JobIx, NodeIx, Scenario, Setting, Stage, darkroom_config,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::names;
use super::starts::Start;
use super::store::Awaited;

/// Nothing has happened for so long: nothing will.
const PATIENCE: Duration = Duration::from_secs(600);
const NAMED: &str = "the engine speaks of jobs that were submitted";

/// A runner that is not true to the model: it tells of one completion too late.
#[derive(Debug, Clone, Copy)]
pub struct Late {
    /// Which one, counted from 0.
    pub completion: usize,
    pub by_ms: u64,
}

pub struct Fleet<'s> {
    scenario: &'s Scenario,
    stage: Stage<'s>,
    engine: EngineHandle,
    /// One a node.
    reports: Vec<Sender<Report>>,
    commands: mpsc::UnboundedReceiver<(NodeIx, Command)>,
    jobs: HashMap<Uuid, JobIx>,
    /// The newest attempt of each job.
    attempts: HashMap<JobIx, Attempt>,
    starts: Vec<Start>,
    completions: usize,
    late: Option<Late>,
    began: Instant,
    began_at: i64,
    _folder: tempfile::TempDir,
}

impl<'s> Fleet<'s> {
    /// An engine on an empty store, with one host for each node.
    pub async fn open(scenario: &'s Scenario, late: Option<Late>) -> Self {
        let folder = folder();
        let (ends, runners) = links(scenario.setting()).await;
        let (engine, handle) = Engine::open(parts(scenario.setting(), &folder, ends)).await.unwrap();
        tokio::spawn(engine.run());
        let (heard, commands) = mpsc::unbounded_channel();
        let mut reports = Vec::new();
        for (node, RunnerEnd { commands: mut from, reports: to }) in
            scenario.setting().node_ixs().zip(runners)
        {
            reports.push(to);
            let heard = heard.clone();
            tokio::spawn(async move {
                while let Some(command) = from.recv().await {
                    if heard.send((node, command)).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            scenario,
            stage: Stage::new(scenario),
            began_at: handle.now(),
            engine: handle,
            reports,
            commands,
            jobs: HashMap::new(),
            attempts: HashMap::new(),
            starts: Vec::new(),
            completions: 0,
            late,
            began: Instant::now(),
            _folder: folder,
        }
    }

    /// Brings the instances up one after the other, each with its catalogue. The model's time begins afterwards.
    pub async fn introduce(&mut self) {
        for node in self.scenario.setting().node_ixs() {
            self.say_up(node).await;
            self.idle().await;
            while let Ok((node, command)) = self.commands.try_recv() {
                self.obey(node, command).await;
            }
            self.idle().await;
        }
        self.began = Instant::now();
        self.began_at = self.engine.now();
    }

    /// Lets the model's world go on until nothing happens any more; what the engine started.
    pub async fn play(mut self) -> Vec<Start> {
        loop {
            let due = self.stage.next_ms();
            let until = due.map_or_else(|| Instant::now() + PATIENCE, |at_ms| self.instant(at_ms));
            tokio::select! {
                biased;
                Some((node, command)) = self.commands.recv() => self.obey(node, command).await,
                () = tokio::time::sleep_until(until) => match due {
                    Some(_) => self.step().await,
                    None => break,
                }
            }
        }
        self.assert_ends_are_stored().await;
        self.starts.sort();
        self.starts
    }

    /// Time goes on only when nobody has anything to do.
    async fn idle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn instant(&self, at_ms: i64) -> Instant {
        self.began + Duration::from_millis(u64::try_from(at_ms).unwrap())
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    /// The next thing happens; whoever would notice it tells the engine.
    async fn step(&mut self) {
        assert_eq!(self.stage.next_ms(), Some(self.now_ms()), "tokio's clock and the model's agree");
        let Some(event) = self.stage.step().flatten() else { return };
        match event {
            Event::Arrived { job } => self.submit(job).await,
            Event::Completed { node, job, .. } => self.complete(node, job).await,
            Event::OutOfMemory { node, job, .. } => self.lose(node, job, AttemptEnd::OutOfMemory).await,
            Event::Down { node, lost } => {
                let instance = self.name(node).into();
                self.report(node, Report::InstanceDown { instance, reason: "it went away".into() }).await;
                if let Some((job, _)) = lost {
                    self.lose(node, job, AttemptEnd::NoTrace).await;
                }
            }
            Event::Up { node } => {
                self.report(node, Report::InstanceRestarted { instance: self.name(node).into() }).await;
                self.say_up(node).await;
            }
            Event::Notice { node, down_at_ms } => {
                let within_ms = Some(u64::try_from(down_at_ms - self.now_ms()).unwrap());
                self.report(node, Report::HostLeaving { within_ms }).await;
            }
            Event::Freed { .. } | Event::Timer => {
                panic!("nobody asked for {event:?}")
            }
        }
    }

    async fn obey(&mut self, node: NodeIx, command: Command) {
        match command {
            Command::Dispatch(dispatch) => self.start(node, dispatch.attempt).await,
            Command::Grant { attempt, tickets, .. } => {
                let files = tickets.iter().map(|_| stored()).collect();
                self.tell(node, attempt, Signal::Stored { files }).await;
            }
            Command::SendCatalogue { .. } => {
                let setting = self.scenario.setting();
                let body = names::object_info(setting, setting.class_of(node));
                self.report(node, Report::Catalogue { hash: names::hash(&body), body: body.into() }).await;
            }
            // The model frees memory by itself.
            Command::Welcome { .. } | Command::Settle { .. } | Command::Free { .. } => {}
            Command::LookUp { .. }
            | Command::Withdraw { .. }
            | Command::Preempt { .. }
            | Command::Restart { .. }
            | Command::Forward(_)
            | Command::ForwardMore { .. } => {
                panic!("at {} ms on {}: nothing is in doubt, but {command:?}", self.now_ms(), self.name(node))
            }
        }
    }

    async fn submit(&mut self, ix: JobIx) {
        let job = &self.scenario.jobs()[ix.index()];
        let id = Uuid::from_u128(1 + ix.index() as u128);
        self.jobs.insert(id, ix);
        let new = NewJob {
            id,
            public_id: id.to_string(),
            tenant: 1 + u32::try_from(job.tenant.index()).unwrap(),
            face: Face::V2,
            idempotency: None,
            plan: names::plan(self.scenario.setting(), job, self.began_at),
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
            labels: std::collections::BTreeMap::default(),
            user: None,
            template: None,
            retry_of: None,
            batch: None,
            accepted_at: self.engine.now(),
            retention_ms: 1_000_000_000,
            webhook: None,
            keep_for: KeepFor::default(),
            queue: u32::MAX,
        };
        self.engine.submit(new, None).await.unwrap();
    }

    async fn start(&mut self, node: NodeIx, attempt: Attempt) {
        let now_ms = self.now_ms();
        let job = *self.jobs.get(&attempt.job).expect(NAMED);
        let start = Start {
            at_ms: now_ms,
            node: self.name(node).to_owned(),
            job: self.scenario.jobs()[job.index()].id.clone(),
            attempt: attempt.number,
        };
        if let Err(refused) = self.stage.desk_at(now_ms).start(job, node) {
            panic!("the model refuses a start: {refused}\n{start}");
        }
        self.starts.push(start);
        self.attempts.insert(job, attempt);
        self.tell(node, attempt, Signal::Started).await;
    }

    async fn complete(&mut self, node: NodeIx, job: JobIx) {
        let late = self.late.filter(|late| late.completion == self.completions);
        self.completions += 1;
        let attempt = self.attempts[&job];
        let executed = Report::Attempt { attempt, signal: Signal::Executed { files: vec![picture()] } };
        let Some(late) = late else { return self.report(node, executed).await };
        let reports = self.reports[node.index()].clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(late.by_ms)).await;
            reports.send(executed).await.unwrap();
        });
    }

    async fn lose(&mut self, node: NodeIx, job: JobIx, end: AttemptEnd) {
        self.tell(node, self.attempts[&job], Signal::Lost { end, message: "as the model has it".into() })
            .await;
    }

    async fn say_up(&self, node: NodeIx) {
        let facts = names::facts(self.scenario.setting(), node);
        self.report(node, Report::InstanceUp { instance: self.name(node).into(), facts }).await;
    }

    async fn tell(&self, node: NodeIx, attempt: Attempt, signal: Signal) {
        self.report(node, Report::Attempt { attempt, signal }).await;
    }

    async fn report(&self, node: NodeIx, report: Report) {
        self.reports[node.index()].send(report).await.unwrap();
    }

    fn name(&self, node: NodeIx) -> &'s str {
        &self.scenario.setting().nodes[node.index()].id
    }

    /// Jobs that the model has seen done are done in the store, with their picture.
    async fn assert_ends_are_stored(&mut self) {
        assert!(self.stage.is_over(), "the engine left jobs waiting after\n{:?}", self.starts.last());
        let ends = std::mem::replace(&mut self.stage, Stage::new(self.scenario)).close().ends;
        for (id, job) in &self.jobs {
            assert!(matches!(ends[job.index()], JobEnd::Completed { .. }));
            let found = self.engine.store().job_with_outputs(*id).await.unwrap();
            let (row, outputs) = found.expect("it is stored");
            assert_eq!((row.state, outputs.len()), (StoredState::Succeeded, 1));
        }
    }
}

/// Nothing here is about disks: where there is one in memory, it saves some thousand syncs.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn links(setting: &Setting) -> (Vec<EngineEnd>, Vec<RunnerEnd>) {
    let mut ends = Vec::new();
    let mut runners = Vec::new();
    for node in &setting.nodes {
        let (end, runner) = local::pair(false);
        let hello =
            Report::Hello { host: format!("host of {}", node.id), instances: vec![node.id.as_str().into()] };
        runner.reports.send(hello).await.unwrap();
        ends.push(end);
        runners.push(runner);
    }
    (ends, runners)
}

fn parts(setting: &Setting, folder: &tempfile::TempDir, links: Vec<EngineEnd>) -> Parts {
    // The engine draws the jitter of its back-offs from the id of its cell.
    let cell = Uuid::from_u64_pair(DARKROOM_SEED.swap_bytes(), 0);
    let options = Options { cell: Some(cell), ..Options::default() };
    let store = SqliteStore::open_with(folder.path().join("jobs.sqlite3"), &options).unwrap();
    let artifacts = Artifacts::open(&format!("file:{}", folder.path().join("artifacts").display())).unwrap();
    Parts {
        store: Arc::new(Awaited(store)),
        sinks: artifacts.into(),
        desk: TicketDesk::new(Outside::open(&Default::default()).unwrap(), Box::new(|_| Vec::new())),
        links,
        metrics: Metrics::default(),
        settings: Settings {
            scheduler: darkroom_config(setting),
            reserve_mib: 0,
            max_output_bytes: 1 << 20,
            body_cache_bytes: 1 << 20,
            inbox: 64,
            workflow: Limits::default(),
            shared_inputs: Arc::new([]),
            told_apart: Arc::new([]),
            retention_ms: 1_000_000,
            prices: gateway::prices::Prices::default(),
        },
    }
}

pub fn picture() -> ListedFile {
    ListedFile {
        node_id: "9".into(),
        kind: OutputKind::Image,
        name: "ComfyUI_00001_.png".into(),
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
