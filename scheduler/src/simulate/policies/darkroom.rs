//! The production scheduler, fed with the events a gateway would feed it.
//!
//! A prompt is a job's one attempt on an instance, nothing is prefetched (the model's nodes hold one prompt), and the
//! caller's deadline is soft. What the scheduler learns, it learns from the same signals as in production.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::desk::Desk;
use super::super::policy::{Event as Word, Fate, Policy};
use super::super::scenario::{DeviceClass, FamilyIx, Job, JobIx, ModelIx, NodeIx, Setting, Speed};
use crate::{
    AttemptEnd, AttemptNo, Catalogue, Class, Config, Decisions, DeviceClassId, DeviceId, Effect, Event,
    FamilyId, HostId, InstanceId, InstanceProfile, JobId, JobSpec, Loading, Millis, ModelId, ModelKind,
    ModelUse, Part, Requirement, Scheduler, Shape, ShapeId, Signal, TenantId, Timestamp,
};

/// The trace begins here: the scheduler's time is never zero.
const START: i64 = 1_000_000;
/// In the model no attempt is ever in doubt, so no lease has to find out.
const LEASE: Millis = Millis::from_secs(30 * 86_400);
/// Seed of the back-offs of [`super::PolicyKind::Darkroom`].
pub const SEED: u64 = 1;

type Models = (ModelIx, Vec<ModelIx>, Vec<ModelIx>);

/// The scheduler behind the model's events.
pub(super) struct Darkroom {
    scheduler: Scheduler,
    requirements: BTreeMap<Models, Arc<Requirement>>,
    attempts: BTreeMap<JobIx, AttemptNo>,
    /// Jobs whose nodes let go of them.
    stopping: BTreeMap<NodeIx, JobIx>,
    /// The wake-up that the model was last asked for.
    wakes_at: Option<i64>,
    introduced: bool,
}

impl Darkroom {
    pub(super) fn new(config: Config) -> Self {
        Self {
            scheduler: Scheduler::new(config, SEED),
            requirements: BTreeMap::new(),
            attempts: BTreeMap::new(),
            stopping: BTreeMap::new(),
            wakes_at: None,
            introduced: false,
        }
    }

    /// The fleet is there before the first job is: a gateway has listed it by then.
    fn introduce_fleet(&mut self, now: Timestamp, setting: &Setting) {
        if std::mem::replace(&mut self.introduced, true) {
            return;
        }
        let mut decisions = Decisions::default();
        let sizes: Box<[(ModelId, u32)]> =
            (0..).zip(&setting.models).map(|(id, model)| (ModelId(id), mib(model.mib))).collect();
        let joins = setting.node_ixs().flat_map(|node| {
            let profile = profile(setting, node, &sizes);
            let instance = instance(node);
            [Event::InstanceJoined { instance, profile }, Event::InstanceUp { instance, up: true }]
        });
        for event in joins {
            self.scheduler.handle(now, event, &mut decisions);
        }
        self.scheduler.place(now, &mut decisions);
    }

    fn submitted(&mut self, ix: JobIx, desk: &Desk<'_, '_>) -> Event {
        let job = desk.job(ix);
        let models = (job.ckpt, job.cns.clone(), job.loras.clone());
        let requirement = self.requirements.entry(models).or_insert_with(|| Arc::new(requirement(job)));
        let spec = JobSpec {
            tenant: TenantId(u32::try_from(job.tenant.index()).unwrap_or(u32::MAX)),
            weight: u32::try_from(desk.setting().tenants[job.tenant.index()].weight).unwrap_or(1),
            concurrency: u32::MAX,
            queue: u32::MAX,
            class: [Class::Batch, Class::Normal, Class::Interactive][usize::from(job.prio.min(2))],
            order: None,
            accepted_at: at(job.t),
            start_deadline: None,
            deadline: Timestamp::NEVER,
            due_at: job.deadline.map(at),
            requirement: Arc::clone(requirement),
            shape: shape(job),
            graph: None,
        };
        Event::Submitted { job: id(ix), spec }
    }

    fn word(&self, job: JobIx, signal: Signal) -> Event {
        let attempt = self.attempts.get(&job).copied().unwrap_or(AttemptNo::FIRST);
        Event::Attempt { job: id(job), attempt, signal }
    }

    /// What a gateway would tell its scheduler when this happens.
    fn events(&mut self, word: Word, desk: &Desk<'_, '_>) -> Vec<Event> {
        match word {
            Word::Arrived { job } => vec![self.submitted(job, desk)],
            Word::Completed { job, .. } => {
                vec![self.word(job, Signal::Executed), self.word(job, Signal::Published)]
            }
            Word::OutOfMemory { job, fate, .. } => {
                let mut events = vec![self.word(job, Signal::Lost(AttemptEnd::OutOfMemory))];
                events.extend(given_up(job, fate));
                events
            }
            Word::Down { node, lost } => {
                let mut events = vec![Event::InstanceUp { instance: instance(node), up: false }];
                events.extend(self.stopped(node));
                if let Some((job, fate)) = lost {
                    events.push(self.word(job, Signal::Lost(AttemptEnd::NoTrace)));
                    events.extend(given_up(job, fate));
                }
                events
            }
            Word::Up { node } => {
                let instance = instance(node);
                vec![Event::InstanceRestarted { instance }, Event::InstanceUp { instance, up: true }]
            }
            Word::Notice { node, down_at_ms } => {
                vec![Event::InstanceLeaves { instance: instance(node), at: Some(at(down_at_ms)) }]
            }
            Word::Timer => {
                self.wakes_at = None;
                vec![Event::Woke]
            }
            Word::Freed { node } => self.stopped(node).into_iter().collect(),
        }
    }

    fn carry_out(&mut self, decisions: Decisions, desk: &mut Desk<'_, '_>) -> Vec<Event> {
        let mut answers = Vec::new();
        for effect in decisions.effects {
            match effect {
                Effect::Dispatch { job, attempt, instance } => {
                    let (job, node) = (JobIx(low_bits(job)), NodeIx(instance.0));
                    self.attempts.insert(job, attempt);
                    let signal = match desk.start(job, node) {
                        Ok(()) => Signal::Started,
                        Err(_) => Signal::Lost(AttemptEnd::Unreachable),
                    };
                    answers.push(self.word(job, signal));
                }
                // One that is done by now tells its end itself.
                Effect::Preempt { instance, .. } => {
                    let node = NodeIx(instance.0);
                    if let Ok(job) = desk.interrupt(node) {
                        self.stopping.insert(node, job);
                    }
                }
                _ => {}
            }
        }
        answers
    }

    /// A node has let go of the job that it was told to stop.
    fn stopped(&mut self, node: NodeIx) -> Option<Event> {
        let job = self.stopping.remove(&node)?;
        Some(self.word(job, Signal::Stopped))
    }
}

impl Policy for Darkroom {
    fn on_event(&mut self, word: Word, desk: &mut Desk<'_, '_>) {
        let now = at(desk.now_ms());
        self.introduce_fleet(now, desk.setting());
        let mut events = self.events(word, desk);
        while !events.is_empty() {
            let mut decisions = Decisions::default();
            for event in events {
                self.scheduler.handle(now, event, &mut decisions);
            }
            self.scheduler.place(now, &mut decisions);
            events = self.carry_out(decisions, desk);
        }
        if let Some(wake) = self.scheduler.next_wakeup().filter(|wake| *wake < Timestamp::NEVER) {
            let wake_ms = wake.since(at(0)).0.max(desk.now_ms() + 1);
            if self.wakes_at.is_none_or(|asked| wake_ms < asked) {
                self.wakes_at = Some(wake_ms);
                desk.wake_at(wake_ms);
            }
        }
    }
}

/// How the scheduler behind [`super::PolicyKind::Darkroom`] is set.
#[must_use]
pub fn config(setting: &Setting) -> Config {
    Config {
        high_watermark: u32::MAX,
        low_watermark: u32::MAX,
        tenant_queue: u32::MAX,
        prefetch: 0,
        lease: LEASE,
        fault_limit: setting.constants.max_attempts.max(1),
        ..Config::default()
    }
}

/// The model has given a job up.
fn given_up(job: JobIx, fate: Fate) -> Option<Event> {
    (fate == Fate::Lost).then_some(Event::CancelRequested { job: id(job) })
}

fn at(ms: i64) -> Timestamp {
    Timestamp(START.saturating_add(ms))
}

fn id(job: JobIx) -> JobId {
    JobId(u128::from(job.0))
}

fn low_bits(job: JobId) -> u32 {
    u32::try_from(job.0).unwrap_or(u32::MAX)
}

fn instance(node: NodeIx) -> InstanceId {
    InstanceId(node.0)
}

fn mib(size: i64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn family(ix: FamilyIx) -> FamilyId {
    FamilyId(u64::from(ix.0) + 1)
}

fn families(class: &DeviceClass) -> impl Iterator<Item = (FamilyIx, Speed)> + '_ {
    (0..).map(FamilyIx).zip(class.speeds.iter().copied()).filter(|(_, speed)| speed.runs())
}

fn profile(setting: &Setting, node: NodeIx, sizes: &[(ModelId, u32)]) -> InstanceProfile {
    let class = setting.class_of(node);
    let class_ix = setting.nodes[node.index()].class;
    let parts: Box<[Part]> = families(class).map(|(ix, _)| Part(family(ix).0)).collect();
    let catalogue = parts.iter().fold(1, |bits, part| bits | 1 << part.0.min(63));
    let known = |(ix, speed): (FamilyIx, Speed)| match speed {
        Speed::Milli(milli) => Some((family(ix), mib(milli))),
        Speed::Unknown | Speed::CannotRun => None,
    };
    InstanceProfile {
        host: HostId(node.0),
        device: Some(DeviceId(node.0)),
        device_class: DeviceClassId(u64::from(class_ix.0)),
        speed_milli: 1_000,
        family_speeds: families(class).filter_map(known).collect(),
        loading: Some(Loading {
            disk_mib_s: mib(class.disk_mib_s),
            pcie_mib_s: mib(class.pcie_mib_s),
            host_cache_mib: mib(class.host_cache_mib),
        }),
        vram_mib: Some(mib(class.vram_mib)),
        reserve_mib: 0,
        catalogue: Some(Arc::new(Catalogue { id: catalogue, parts, sizes: sizes.into() })),
    }
}

fn requirement(job: &Job) -> Requirement {
    let used = |kind: ModelKind| move |ix: &ModelIx| ModelUse { id: ModelId(u64::from(ix.0)), kind };
    let weights = std::iter::once(&job.ckpt).map(used(ModelKind::Checkpoint));
    let beside = job.cns.iter().map(used(ModelKind::Auxiliary));
    let patches = job.loras.iter().map(used(ModelKind::Lora));
    Requirement {
        parts: Box::new([Part(family(job.family).0)]),
        models: weights.chain(beside).chain(patches).collect(),
    }
}

/// What [`super::PolicyKind::Darkroom`] takes from a graph, as a gateway would: size and steps decide the time, whatever
/// the weights.
#[must_use]
pub fn shape(job: &Job) -> Shape {
    let counts = [job.cns.len(), job.loras.len()].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let words = [i64::from(job.family.0), job.steps, job.w, job.h, job.batch, counts[0], counts[1]];
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, word| {
        (hash ^ word.unsigned_abs()).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    });
    Shape {
        id: ShapeId(hash),
        family: family(job.family),
        prior_run_ms: mib(job.est_ms),
        prior_vram_mib: mib(job.est_vram_mib),
    }
}
