//! A runner against a simulated ComfyUI; the test plays the engine.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "tests may, and each uses a part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use comfyui_sim::Simulator;
use gateway::link::local::{self, EngineEnd};
use gateway::link::message::{
    Attempt, Command, Dispatch, InstanceFacts, ListedFile, Report, Signal, StoredFile, Ticket,
};
use gateway::runner::{Config, InstanceConfig, Runner, RunnerHandle};
use serde_json::{Value, json};
use uuid::Uuid;

/// Nothing a test waits for takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The name of the only instance.
pub const GPU: &str = "gpu-0";

/// A runner, its instance, and all that was reported.
pub struct World {
    pub sim: Simulator,
    pub dir: tempfile::TempDir,
    pub cell: Uuid,
    pub seen: Vec<Report>,
    config: Config,
    engine: EngineEnd,
    runner: Option<RunnerHandle>,
}

impl World {
    /// Starts both with the usual settings.
    pub async fn start() -> Self {
        Self::with(comfyui_sim::Config::default(), |_| {}).await
    }

    /// Starts both and waits until the instance is reported.
    pub async fn with(sim: comfyui_sim::Config, change: impl FnOnce(&mut Config)) -> Self {
        let sim = Simulator::start(sim).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let instance = InstanceConfig { name: GPU.into(), url: sim.url(), ..InstanceConfig::default() };
        let mut config = Config::new("host", vec![instance], dir.path().join("spool"));
        config.times.contact_backoff = (Duration::from_millis(10), Duration::from_millis(100));
        config.times.second_look = Duration::from_millis(200);
        change(&mut config);
        let (engine, end) = local::pair(true);
        let runner = Some(Runner::start(config.clone(), end).unwrap());
        let mut world = Self { sim, dir, cell: Uuid::new_v4(), seen: Vec::new(), config, engine, runner };
        world.welcome().await;
        world
    }

    async fn welcome(&mut self) {
        self.command(Command::Welcome { cell: self.cell }).await;
        self.up().await;
    }

    /// Ends the runner and starts another on the same spool, as after a crash of its process.
    pub async fn restart_runner(&mut self) {
        self.runner.take().unwrap().shutdown().await;
        let (engine, end) = local::pair(true);
        self.engine = engine;
        self.seen.clear();
        self.runner = Some(Runner::start(self.config.clone(), end).unwrap());
        self.welcome().await;
    }

    pub async fn command(&self, command: Command) {
        self.engine.commands.send(command).await.unwrap();
    }

    /// Waits until the reports so far have what is looked for.
    pub async fn until<T>(&mut self, what: &str, look: impl Fn(&[Report]) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look(&self.seen) {
                return found;
            }
            match tokio::time::timeout_at(deadline, self.engine.reports.recv()).await {
                Ok(Some(report)) => self.seen.push(report),
                Ok(None) => panic!("the runner is gone; waited for {what}; seen {:#?}", self.shown()),
                Err(_) => panic!("no {what} in time; seen {:#?}", self.shown()),
            }
        }
    }

    fn shown(&self) -> Vec<String> {
        self.seen.iter().map(|report| format!("{report:?}").chars().take(300).collect()).collect()
    }

    /// Waits for the instance.
    pub async fn up(&mut self) -> InstanceFacts {
        self.until("instance", |seen| {
            seen.iter().rev().find_map(|report| match report {
                Report::InstanceUp { facts, .. } => Some(facts.clone()),
                _ => None,
            })
        })
        .await
    }

    /// Waits for a signal of an attempt.
    pub async fn signal<T>(
        &mut self,
        attempt: Attempt,
        what: &str,
        look: impl Fn(&Signal) -> Option<T>,
    ) -> T {
        self.until(what, |seen| signals(seen, attempt).find_map(&look)).await
    }

    /// All signals of an attempt so far.
    pub fn signals(&self, attempt: Attempt) -> Vec<Signal> {
        signals(&self.seen, attempt).cloned().collect()
    }

    pub async fn started(&mut self, attempt: Attempt) {
        self.signal(attempt, "start", |signal| matches!(signal, Signal::Started).then_some(())).await;
    }

    pub async fn accepted(&mut self, attempt: Attempt) {
        self.signal(attempt, "acceptance", |signal| matches!(signal, Signal::Accepted).then_some(())).await;
    }

    pub async fn stopped(&mut self, attempt: Attempt) {
        self.signal(attempt, "stop", |signal| matches!(signal, Signal::Stopped).then_some(())).await;
    }

    /// Waits for the list of files.
    pub async fn executed(&mut self, attempt: Attempt) -> Vec<ListedFile> {
        self.signal(attempt, "list of files", |signal| match signal {
            Signal::Executed { files } => Some(files.clone()),
            _ => None,
        })
        .await
    }

    pub async fn stored(&mut self, attempt: Attempt) -> Vec<StoredFile> {
        self.signal(attempt, "stored files", |signal| match signal {
            Signal::Stored { files } => Some(files.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until the attempt is lost: why.
    pub async fn lost(&mut self, attempt: Attempt) -> scheduler::AttemptEnd {
        self.signal(attempt, "loss", |signal| match signal {
            Signal::Lost { end, .. } => Some(*end),
            _ => None,
        })
        .await
    }

    /// Sends a workflow on its way.
    pub async fn dispatch(&self, workflow: &Value) -> Dispatch {
        let dispatch = dispatch(workflow);
        self.command(Command::Dispatch(Box::new(dispatch.clone()))).await;
        dispatch
    }

    /// Where the test keeps the files of an attempt.
    pub fn place(&self, attempt: Attempt, index: usize) -> PathBuf {
        self.dir.path().join("artifacts").join(format!("{}-{}-{index}", attempt.job, attempt.number))
    }

    /// Grants file tickets for what was listed.
    pub async fn grant(&self, attempt: Attempt, files: usize) {
        let path = |index| self.place(attempt, index);
        let tickets = (0..files).map(|index| Ticket::File { path: path(index) }).collect();
        self.command(Command::Grant { attempt, tickets, receipts: Vec::new() }).await;
    }

    /// Waits for the files, has them stored in files, and settles.
    pub async fn finish(&mut self, attempt: Attempt) -> (Vec<ListedFile>, Vec<StoredFile>) {
        let listed = self.executed(attempt).await;
        self.grant(attempt, listed.len()).await;
        let stored = self.stored(attempt).await;
        self.command(Command::Settle { attempt }).await;
        assert_eq!(listed.len(), stored.len());
        for (index, stored) in stored.iter().enumerate() {
            let bytes = std::fs::read(self.place(attempt, index)).unwrap();
            assert_eq!(bytes.len() as u64, stored.size_bytes);
            assert_eq!(blake3::hash(&bytes).to_hex().to_string(), stored.hash);
        }
        (listed, stored)
    }

    pub async fn withdraw(&self, dispatch: &Dispatch) {
        let Dispatch { attempt, prompt, .. } = *dispatch;
        self.command(Command::Withdraw { attempt, instance: GPU.into(), prompt }).await;
    }

    pub async fn look_up(&self, dispatch: &Dispatch) {
        let dispatch = Box::new(dispatch.clone());
        self.command(Command::LookUp { dispatch, maybe_in_flight: true }).await;
    }

    /// Polls until something holds.
    pub async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn signals(seen: &[Report], attempt: Attempt) -> impl Iterator<Item = &Signal> {
    seen.iter().filter_map(move |report| match report {
        Report::Attempt { attempt: of, signal } if *of == attempt => Some(signal),
        _ => None,
    })
}

/// A first attempt at a new job.
pub fn dispatch(workflow: &Value) -> Dispatch {
    Dispatch {
        attempt: Attempt { job: Uuid::now_v7(), number: 1 },
        instance: GPU.into(),
        prompt: Uuid::new_v4(),
        workflow: Arc::from(workflow.to_string()),
        inputs: Vec::new(),
        extra_pnginfo: None,
        partner_key: None,
        strict: true,
        max_output_bytes: 64 << 20,
        expected_ms: 1_000,
        making: None,
        native: None,
    }
}

/// One small picture, saved; `color` makes it another.
pub fn picture(color: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "portraits/one"}},
    })
}

/// A picture after some seconds, with progress.
pub fn slow_picture(seconds: f64) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
        "2": {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": seconds}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "slow"}},
    })
}

/// A picture sampled in steps.
pub fn sampled(steps: u32, seed: u32) -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a tree", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"seed": seed, "steps": steps, "cfg": 7.0,
            "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["1", 0],
            "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "tree"}},
    })
}

/// Pictures that come over the socket only.
pub fn socket_pictures(count: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": count, "color": 7}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    })
}

/// A server whose work takes time.
pub fn paced(step_ms: u64) -> comfyui_sim::Config {
    let pace = comfyui_sim::Pace { step: Duration::from_millis(step_ms), node: Duration::ZERO };
    comfyui_sim::Config { pace, ..comfyui_sim::Config::default() }
}
