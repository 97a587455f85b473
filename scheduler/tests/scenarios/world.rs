//! A scheduler with a clock, told what happens and asked for exactly what it decides.
#![allow(dead_code, reason = "a stage has more than one play needs")]

use std::sync::Arc;

use scheduler::{
    AttemptEnd, AttemptNo, Catalogue, Class, Config, Decisions, DeviceClassId, DeviceId, Effect, Event,
    Failure, FamilyId, GraphId, HostId, InstanceId, InstanceProfile, JobId, JobSpec, Millis, ModelId,
    ModelKind, ModelUse, Outcome, Part, Past, Phase, Record, RefusalReason, Requirement, Scheduler, Shape,
    ShapeId, Signal, TenantId, Timestamp, first_broken,
};

/// Where every story begins.
pub const START: Timestamp = Timestamp(1_000_000);

pub const fn secs(seconds: i64) -> Millis {
    Millis::from_secs(seconds)
}

pub const fn attempt(number: u32) -> AttemptNo {
    AttemptNo(number)
}

/// A decision as a story tells it: announcements and learned costs aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Dispatch(JobId, u32, AttemptNo),
    LookUp(JobId, u32, AttemptNo),
    Grant(JobId, AttemptNo),
    Withdraw(JobId, u32, AttemptNo),
    Preempt(JobId, u32, AttemptNo),
    Settle(JobId, u32, AttemptNo),
    Free(u32),
    Restart(u32),
    Refused(JobId, RefusalReason),
    AttemptEnded(JobId, AttemptEnd),
    CancelIntended(JobId),
    ClassChanged(JobId, Class),
    Ended(JobId, Option<AttemptNo>, Outcome),
}

/// A card as a story needs it.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    pub gib: u32,
    pub speed_milli: u32,
    pub parts: &'static [u64],
}

pub const T4: Card = Card { gib: 16, speed_milli: 1_000, parts: &[1, 2, 3] };
pub const A100: Card = Card { gib: 40, speed_milli: 4_000, parts: &[1, 2, 3] };

/// A job as a story needs it.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub spec: JobSpec,
}

/// Ten seconds on a T4, one checkpoint, eight GiB.
pub fn sdxl() -> Wanted {
    work(7, 10_000, 8, &[70])
}

/// Needs more than a T4 has.
pub fn flux() -> Wanted {
    work(9, 20_000, 30, &[90])
}

/// A workflow without any model.
pub fn plain(run_ms: u32) -> Wanted {
    work(1, run_ms, 1, &[])
}

pub fn work(shape: u64, run_ms: u32, gib: u32, checkpoints: &[u64]) -> Wanted {
    let models =
        checkpoints.iter().map(|id| ModelUse { id: ModelId(*id), kind: ModelKind::Checkpoint }).collect();
    Wanted {
        spec: JobSpec {
            tenant: TenantId(1),
            weight: 1,
            concurrency: u32::MAX,
            queue: u32::MAX,
            class: Class::Normal,
            order: None,
            accepted_at: START,
            start_deadline: None,
            deadline: Timestamp::NEVER,
            due_at: None,
            requirement: Arc::new(Requirement { parts: Box::new([Part(1)]), models }),
            shape: Shape {
                id: ShapeId(shape),
                family: FamilyId(0),
                prior_run_ms: run_ms,
                prior_vram_mib: gib * 1024,
            },
            graph: None,
        },
    }
}

impl Wanted {
    pub fn tenant(mut self, tenant: u32, weight: u32) -> Self {
        self.spec.tenant = TenantId(tenant);
        self.spec.weight = weight;
        self
    }

    pub fn concurrency(mut self, most: u32) -> Self {
        self.spec.concurrency = most;
        self
    }

    pub fn class(mut self, class: Class) -> Self {
        self.spec.class = class;
        self
    }

    pub fn order(mut self, order: i64) -> Self {
        self.spec.order = Some(order);
        self
    }

    pub fn deadline(mut self, after: Millis) -> Self {
        self.spec.deadline = START.plus(after);
        self
    }

    /// Wanted by then; a late job still runs.
    pub fn due(mut self, after: Millis) -> Self {
        self.spec.due_at = Some(START.plus(after));
        self
    }

    pub fn start_deadline(mut self, after: Millis) -> Self {
        self.spec.start_deadline = Some(START.plus(after));
        self
    }

    pub fn graph(mut self, graph: u32) -> Self {
        self.spec.graph = Some(GraphId(graph));
        self
    }

    pub fn needs(mut self, part: u64) -> Self {
        let models = self.spec.requirement.models.clone();
        self.spec.requirement = Arc::new(Requirement { parts: Box::new([Part(part)]), models });
        self
    }
}

/// The world of one story. What was decided and not expected fails at the next word and at the end.
pub struct World {
    pub scheduler: Scheduler,
    pub now: Timestamp,
    pub phases: Vec<(JobId, Phase)>,
    pub records: Vec<Record>,
    /// Accept any further decision (for the background of a story).
    pub lenient: bool,
    pending: Vec<Decided>,
    jobs: u128,
}

impl World {
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    pub fn with_config(config: Config) -> Self {
        assert_eq!(config.mistakes(), Vec::new());
        Self {
            scheduler: Scheduler::new(config, 1),
            now: START,
            phases: Vec::new(),
            records: Vec::new(),
            lenient: false,
            pending: Vec::new(),
            jobs: 0,
        }
    }

    /// Instances 0, 1, 2 … with these cards, up and known.
    pub fn with(cards: &[Card]) -> Self {
        let mut world = Self::new();
        for (index, card) in (0..).zip(cards) {
            world.join(index, *card);
        }
        world
    }

    /// One running prompt each, nothing behind it.
    pub fn without_prefetch(cards: &[Card]) -> Self {
        let mut world = Self::with_config(Config { prefetch: 0, ..Config::default() });
        for (index, card) in (0..).zip(cards) {
            world.join(index, *card);
        }
        world
    }

    pub fn join(&mut self, id: u32, card: Card) {
        self.tell(Event::InstanceJoined { instance: InstanceId(id), profile: profile(id, card) });
        self.up(id);
    }

    pub fn up(&mut self, id: u32) {
        self.tell(Event::InstanceUp { instance: InstanceId(id), up: true });
    }

    pub fn down(&mut self, id: u32) {
        self.tell(Event::InstanceUp { instance: InstanceId(id), up: false });
    }

    pub fn submit(&mut self, wanted: Wanted) -> JobId {
        let job = self.next_id();
        let spec = JobSpec { accepted_at: self.now, ..wanted.spec };
        self.tell(Event::Submitted { job, spec });
        job
    }

    /// Several in one turn.
    pub fn submit_all(&mut self, wanted: Vec<Wanted>) -> Vec<JobId> {
        let jobs: Vec<JobId> = wanted.iter().map(|_| self.next_id()).collect();
        let accepted_at = self.now;
        let events = jobs.iter().zip(wanted).map(|(job, wanted)| Event::Submitted {
            job: *job,
            spec: JobSpec { accepted_at, ..wanted.spec },
        });
        self.tell_all(events.collect());
        jobs
    }

    fn next_id(&mut self) -> JobId {
        self.jobs += 1;
        JobId(self.jobs)
    }

    pub fn restore(&mut self, wanted: Wanted, past: Past) -> JobId {
        let job = self.next_id();
        self.tell(Event::Restored { job, spec: wanted.spec, past });
        job
    }

    pub fn hear(&mut self, job: JobId, number: u32, signal: Signal) {
        self.tell(Event::Attempt { job, attempt: AttemptNo(number), signal });
    }

    pub fn cancel(&mut self, job: JobId) {
        self.tell(Event::CancelRequested { job });
    }

    pub fn tell(&mut self, event: Event) {
        self.tell_all(vec![event]);
    }

    /// One turn.
    pub fn tell_all(&mut self, events: Vec<Event>) {
        self.nothing_more();
        let mut out = Decisions::default();
        for event in events {
            self.scheduler.handle(self.now, event, &mut out);
            assert_eq!(first_broken(&self.scheduler), None);
        }
        self.scheduler.place(self.now, &mut out);
        assert_eq!(first_broken(&self.scheduler), None);
        let mut again = Decisions::default();
        self.scheduler.place(self.now, &mut again);
        assert!(again.is_empty(), "placing twice decided {again:?}");
        self.take(out);
    }

    /// Lets time pass, waking the scheduler whenever it wants to be woken. Decisions on the way stay pending.
    pub fn after(&mut self, time: Millis) -> &mut Self {
        let until = self.now.plus(time);
        self.nothing_more();
        while let Some(at) = self.scheduler.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Decisions::default();
            self.scheduler.handle(self.now, Event::Woke, &mut out);
            self.scheduler.place(self.now, &mut out);
            assert_eq!(first_broken(&self.scheduler), None);
            assert!(
                self.scheduler.next_wakeup() > Some(self.now) || self.scheduler.next_wakeup().is_none(),
                "busy"
            );
            self.take(out);
        }
        self.now = until;
        self
    }

    /// The clock jumps and nobody woke the scheduler meanwhile.
    pub fn pause(&mut self, time: Millis) {
        self.now = self.now.plus(time);
        self.tell(Event::Woke);
    }

    fn take(&mut self, out: Decisions) {
        let placed: Vec<_> = out
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Placed { job, attempt, instance, .. } => {
                    Some(Decided::Dispatch(*job, instance.0, *attempt))
                }
                _ => None,
            })
            .collect();
        let mut dispatched = Vec::new();
        for record in &out.records {
            match *record {
                Record::AttemptEnded { job, end, .. } => self.pending.push(Decided::AttemptEnded(job, end)),
                Record::CancelIntended { job } => self.pending.push(Decided::CancelIntended(job)),
                Record::ClassChanged { job, class } => self.pending.push(Decided::ClassChanged(job, class)),
                Record::Ended { job, attempt, outcome, .. } => {
                    self.pending.push(Decided::Ended(job, attempt, outcome));
                }
                Record::Refused { .. } | Record::Placed { .. } | Record::Learned(_) => {}
            }
        }
        for effect in out.effects {
            let decided = match effect {
                Effect::Announce { job, phase } => {
                    self.phases.push((job, phase));
                    continue;
                }
                Effect::Admitted { .. } => continue,
                Effect::Dispatch { job, attempt, instance } => {
                    dispatched.push(Decided::Dispatch(job, instance.0, attempt));
                    Decided::Dispatch(job, instance.0, attempt)
                }
                Effect::LookUp { job, attempt, instance } => Decided::LookUp(job, instance.0, attempt),
                Effect::Grant { job, attempt } => Decided::Grant(job, attempt),
                Effect::Withdraw { job, attempt, instance } => Decided::Withdraw(job, instance.0, attempt),
                Effect::Preempt { job, attempt, instance } => Decided::Preempt(job, instance.0, attempt),
                Effect::Settle { job, attempt, instance } => Decided::Settle(job, instance.0, attempt),
                Effect::Free { instance } => Decided::Free(instance.0),
                Effect::Restart { instance } => Decided::Restart(instance.0),
                Effect::Refused { job, refusal } => {
                    assert!(refusal.retry_after >= secs(1), "{refusal:?}");
                    assert!(out.records.contains(&Record::Refused { job }));
                    Decided::Refused(job, refusal.reason)
                }
            };
            self.pending.push(decided);
        }
        assert_eq!(placed, dispatched, "every dispatch is recorded, in order");
        self.records.extend(out.records);
    }

    pub fn expect(&mut self, decided: Decided) {
        match self.pending.iter().position(|pending| *pending == decided) {
            Some(index) => {
                self.pending.remove(index);
            }
            None => panic!("expected {decided:?}, pending: {:?}", self.pending),
        }
    }

    pub fn nothing_more(&mut self) {
        if self.lenient {
            self.pending.clear();
        }
        assert_eq!(self.pending, Vec::new(), "nobody expected this");
    }

    /// What was decided and not yet expected.
    pub fn take_pending(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.pending)
    }

    pub fn phase(&self, job: JobId) -> Option<Phase> {
        self.scheduler.state(job).map(Phase::from)
    }

    pub fn phases_of(&self, job: JobId) -> Vec<Phase> {
        self.phases.iter().filter(|(of, _)| *of == job).map(|(_, phase)| *phase).collect()
    }

    /// Submits, starts and leaves the job running on the instance where it was expected.
    pub fn running(&mut self, wanted: Wanted, on: u32) -> JobId {
        let job = self.submit(wanted);
        self.expect(Decided::Dispatch(job, on, attempt(1)));
        self.hear(job, 1, Signal::Started);
        job
    }

    pub fn publish(&mut self, job: JobId, number: u32) {
        self.hear(job, number, Signal::Published);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.nothing_more();
        }
    }
}

pub fn profile(id: u32, card: Card) -> InstanceProfile {
    let parts: Box<[Part]> = card.parts.iter().copied().map(Part).collect();
    let catalogue = Catalogue {
        id: card.parts.iter().fold(0, |sum, part| sum * 31 + part),
        parts,
        sizes: Box::default(),
    };
    InstanceProfile {
        host: HostId(id),
        device: Some(DeviceId(id)),
        device_class: DeviceClassId(u64::from(card.gib)),
        speed_milli: card.speed_milli,
        family_speeds: Box::default(),
        loading: None,
        vram_mib: Some(card.gib * 1024),
        reserve_mib: 0,
        catalogue: Some(Arc::new(catalogue)),
    }
}

/// This try is over and the job is not.
pub fn lost(end: AttemptEnd) -> Signal {
    Signal::Lost(end)
}

/// The job ended well, by this attempt.
pub fn succeeded(job: JobId, number: u32) -> Decided {
    Decided::Ended(job, Some(attempt(number)), Outcome::Succeeded)
}

/// The job ended badly, by this attempt.
pub fn failed(job: JobId, number: u32, failure: Failure) -> Decided {
    Decided::Ended(job, Some(attempt(number)), Outcome::Failed(failure))
}
