//! What holds for any history: any words in any order, from instances that come, go and lie.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use scheduler::{
    AttemptEnd, AttemptNo, Catalogue, Class, Config, Decisions, DeviceClassId, DeviceId, DeviceSample,
    Effect, Event, FamilyId, GraphId, HostId, InstanceId, InstanceProfile, JobId, JobSpec, JobState, Millis,
    ModelId, ModelKind, ModelUse, Part, Phase, Record, Requirement, Scheduler, Shape, ShapeId, Signal,
    TenantId, Timestamp, first_broken,
};

const INSTANCES: u32 = 4;
const CARD_MIB: [u32; 4] = [16_000, 16_000, 24_000, 40_000];
const ENDS: [AttemptEnd; 11] = [
    AttemptEnd::NoTrace,
    AttemptEnd::Unreachable,
    AttemptEnd::LeaseExpired,
    AttemptEnd::InstanceDied,
    AttemptEnd::Hung,
    AttemptEnd::OutOfMemory,
    AttemptEnd::DeviceFault,
    AttemptEnd::HostFault,
    AttemptEnd::OutputsGone,
    AttemptEnd::Drained,
    AttemptEnd::Preempted,
];

/// One thing that may happen; indexes are taken modulo what there is.
#[derive(Debug, Clone)]
enum Happening {
    Submit { tenant: u32, class: Class, shape: u64, order: Option<i64>, within: Option<i64> },
    Word { job: usize, back: u32, signal: Signal },
    Cancel { job: usize },
    Reclass { job: usize, class: Class },
    Respecify { job: usize, shape: u64 },
    Contact { instance: u32, up: bool },
    Cordon { instance: u32, on: bool },
    Spool { instance: u32, full: bool },
    Leave { instance: u32 },
    Sample { instance: u32, foreign_mib: u32, load: u32, faulty: bool },
    Pass { ms: i64 },
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Batch), Just(Class::Normal), Just(Class::Interactive)]
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        2 => Just(Signal::Accepted),
        4 => Just(Signal::Started),
        2 => Just(Signal::Progress),
        2 => Just(Signal::ContactLost),
        4 => Just(Signal::Executed),
        4 => Just(Signal::Published),
        1 => Just(Signal::Invalid),
        1 => Just(Signal::NodeFailed),
        1 => Just(Signal::OutputTooLarge),
        1 => Just(Signal::Undeliverable),
        1 => Just(Signal::InputUnavailable),
        2 => Just(Signal::Stopped),
        4 => (0..ENDS.len()).prop_map(|end| Signal::Lost(ENDS[end])),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let instance = 0..INSTANCES;
    prop_oneof![
        6 => (0..3_u32, class(), 0..5_u64, proptest::option::of(-1..2_i64), proptest::option::of(1_000..300_000_i64))
            .prop_map(|(tenant, class, shape, order, within)| Happening::Submit { tenant, class, shape, order, within }),
        14 => (any::<usize>(), prop_oneof![6 => Just(0_u32), 1 => 1..3_u32], signal())
            .prop_map(|(job, back, signal)| Happening::Word { job, back, signal }),
        1 => any::<usize>().prop_map(|job| Happening::Cancel { job }),
        1 => (any::<usize>(), class()).prop_map(|(job, class)| Happening::Reclass { job, class }),
        1 => (any::<usize>(), 0..5_u64).prop_map(|(job, shape)| Happening::Respecify { job, shape }),
        3 => (instance.clone(), any::<bool>()).prop_map(|(instance, up)| Happening::Contact { instance, up }),
        1 => (instance.clone(), any::<bool>()).prop_map(|(instance, on)| Happening::Cordon { instance, on }),
        1 => (instance.clone(), any::<bool>()).prop_map(|(instance, full)| Happening::Spool { instance, full }),
        1 => instance.clone().prop_map(|instance| Happening::Leave { instance }),
        1 => (instance, 0..30_000_u32, 0..1_500_u32, any::<bool>()).prop_map(|(instance, foreign_mib, load, faulty)| {
            Happening::Sample { instance, foreign_mib, load, faulty }
        }),
        4 => (1..90_000_i64).prop_map(|ms| Happening::Pass { ms }),
    ]
}

fn need_mib(shape: u64) -> u32 {
    [2_000, 8_000, 15_000, 22_000, 38_000][usize::try_from(shape % 5).unwrap()]
}

fn needs(shape: u64) -> (Arc<Requirement>, Shape) {
    let models = (shape > 0).then_some(ModelUse { id: ModelId(shape / 2), kind: ModelKind::Checkpoint });
    let requirement = Requirement { parts: Box::new([Part(1)]), models: models.into_iter().collect() };
    let shape = Shape {
        id: ShapeId(shape),
        family: FamilyId(0),
        prior_run_ms: 5_000,
        prior_vram_mib: need_mib(shape),
    };
    (Arc::new(requirement), shape)
}

fn profile(id: u32) -> InstanceProfile {
    InstanceProfile {
        host: HostId(id / 2),
        device: Some(DeviceId(id)),
        device_class: DeviceClassId(u64::from(id / 2)),
        speed_milli: 1_000 * (1 + id / 2),
        family_speeds: Box::default(),
        loading: None,
        vram_mib: Some(CARD_MIB[id as usize]),
        reserve_mib: 0,
        catalogue: Some(Arc::new(Catalogue { id: 1, parts: Box::new([Part(1)]), sizes: Box::default() })),
    }
}

/// The scheduler under test, beside a plain account of what it decided.
struct World {
    scheduler: Scheduler,
    now: Timestamp,
    /// Every turn, for the replay.
    turns: Vec<(Timestamp, Vec<Event>, Decisions)>,
    admitted: Vec<JobId>,
    ended: BTreeSet<JobId>,
    attempts: BTreeMap<JobId, u32>,
    seats: BTreeMap<(JobId, u32), InstanceId>,
    shapes: BTreeMap<JobId, u64>,
    usable: BTreeMap<u32, bool>,
    foreign_mib: BTreeMap<u32, u32>,
    /// Shapes whose need was learned, so that the belief does not count any more.
    proved: BTreeSet<u64>,
    joined: BTreeSet<u32>,
}

fn config() -> Config {
    Config { high_watermark: 40, low_watermark: 20, tenant_queue: 30, preemption: 1, ..Config::default() }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(config(), 5),
            now: Timestamp(1_000_000),
            turns: Vec::new(),
            admitted: Vec::new(),
            ended: BTreeSet::new(),
            attempts: BTreeMap::new(),
            seats: BTreeMap::new(),
            shapes: BTreeMap::new(),
            usable: BTreeMap::new(),
            foreign_mib: BTreeMap::new(),
            proved: BTreeSet::new(),
            joined: BTreeSet::new(),
        };
        world.join_all();
        world
    }

    fn join_all(&mut self) -> Vec<Effect> {
        let mut events = Vec::new();
        for id in 0..INSTANCES {
            let instance = InstanceId(id);
            let sample = DeviceSample { total_mib: CARD_MIB[id as usize], ..DeviceSample::default() };
            events.push(Event::InstanceJoined { instance, profile: profile(id) });
            events.push(Event::InstanceUp { instance, up: false });
            events.push(Event::InstanceUp { instance, up: true });
            events.push(Event::Cordoned { instance, on: false });
            events.push(Event::InstanceSpool { instance, full: false });
            events.push(Event::Sampled { device: DeviceId(id), sample });
            self.usable.insert(id, true);
            self.joined.insert(id);
            self.foreign_mib.insert(id, 0);
        }
        self.turn(events)
    }

    fn turn(&mut self, events: Vec<Event>) -> Vec<Effect> {
        let mut out = Decisions::default();
        for event in &events {
            self.scheduler.handle(self.now, event.clone(), &mut out);
            assert_eq!(first_broken(&self.scheduler), None, "after {event:?}");
        }
        self.scheduler.place(self.now, &mut out);
        assert_eq!(first_broken(&self.scheduler), None, "after placing");
        let mut again = Decisions::default();
        self.scheduler.place(self.now, &mut again);
        assert!(again.is_empty(), "placing twice decided {again:?}");
        self.account(&out);
        self.turns.push((self.now, events, out.clone()));
        out.effects
    }

    fn account(&mut self, out: &Decisions) {
        for record in &out.records {
            match record {
                Record::Placed { job, attempt, instance, .. } => {
                    let last = self.attempts.entry(*job).or_default();
                    assert_eq!(attempt.0, *last + 1, "attempts count up");
                    *last = attempt.0;
                    self.seats.insert((*job, attempt.0), *instance);
                    self.check_place(*job, *instance);
                }
                Record::Ended { job, .. } => {
                    assert!(self.ended.insert(*job), "{job:?} ended twice");
                    assert!(self.admitted.contains(job), "{job:?} ended and was never admitted");
                    self.seats.retain(|(of, _), _| of != job);
                }
                Record::AttemptEnded { job, attempt, .. } => {
                    self.seats.remove(&(*job, attempt.0));
                }
                _ => {}
            }
        }
        for effect in &out.effects {
            match effect {
                Effect::Admitted { job } => self.admitted.push(*job),
                Effect::Announce { job, phase: Phase::Collecting } => {
                    self.seats.retain(|(of, _), _| of != job)
                }
                _ => {}
            }
        }
        // The account is by turn: a seat given back and given anew within one turn was seen in order.
        for id in 0..INSTANCES {
            let held = self.seats.values().filter(|on| on.0 == id).count();
            assert!(held <= 2, "instance {id} holds {held}");
        }
    }

    fn check_place(&self, job: JobId, instance: InstanceId) {
        assert!(self.usable[&instance.0], "{instance:?} was not usable");
        let shape = self.shapes[&job];
        let room = CARD_MIB[instance.0 as usize].saturating_sub(self.foreign_mib[&instance.0]);
        // A belief alone sends nothing away from the largest card there is.
        let largest = self.joined.iter().map(|id| CARD_MIB[*id as usize]).max().unwrap();
        let need = need_mib(shape).min(largest);
        assert!(self.proved.contains(&shape) || need <= room, "{job:?} does not fit {instance:?}");
    }

    fn happen(&mut self, happening: Happening) {
        let known = self.admitted.clone();
        let pick = |index: usize| known.get(index % known.len().max(1)).copied();
        let events = match happening {
            Happening::Submit { tenant, class, shape, order, within } => {
                vec![self.submission(tenant, class, shape, order, within)]
            }
            Happening::Word { job, back, signal } => {
                let Some(job) = pick(job) else { return };
                let last = self.attempts.get(&job).copied().unwrap_or(0);
                if signal == Signal::Lost(AttemptEnd::OutOfMemory) || signal == Signal::Executed {
                    self.proved.insert(self.shapes[&job]);
                }
                vec![Event::Attempt { job, attempt: AttemptNo(last.saturating_sub(back)), signal }]
            }
            Happening::Cancel { job } => {
                pick(job).map(|job| Event::CancelRequested { job }).into_iter().collect()
            }
            Happening::Reclass { job, class } => {
                pick(job).map(|job| Event::ClassChanged { job, class }).into_iter().collect()
            }
            Happening::Respecify { job, shape } => {
                let Some(job) = pick(job) else { return };
                if matches!(self.scheduler.state(job).map(Phase::from), Some(Phase::Queued)) {
                    self.shapes.insert(job, shape);
                }
                let (requirement, shape) = needs(shape);
                vec![Event::Respecified { job, requirement, shape }]
            }
            Happening::Contact { instance, up } => {
                self.usable.insert(instance, up);
                vec![Event::InstanceUp { instance: InstanceId(instance), up }]
            }
            Happening::Cordon { instance, on } => {
                vec![Event::Cordoned { instance: InstanceId(instance), on }]
            }
            Happening::Spool { instance, full } => {
                vec![Event::InstanceSpool { instance: InstanceId(instance), full }]
            }
            Happening::Leave { instance } => {
                self.joined.remove(&instance);
                self.usable.insert(instance, false);
                vec![Event::InstanceLeft { instance: InstanceId(instance) }]
            }
            Happening::Sample { instance, foreign_mib, load, faulty } => {
                self.foreign_mib.insert(instance, foreign_mib);
                let sample = DeviceSample {
                    total_mib: CARD_MIB[instance as usize],
                    foreign_mib,
                    foreign_load_milli: load,
                    utilization_milli: None,
                    faulty,
                };
                vec![Event::Sampled { device: DeviceId(instance), sample }]
            }
            Happening::Pass { ms } => return self.pass(Millis(ms)),
        };
        self.turn(events);
    }

    fn submission(
        &mut self,
        tenant: u32,
        class: Class,
        shape: u64,
        order: Option<i64>,
        within: Option<i64>,
    ) -> Event {
        let job = JobId(u128::try_from(self.shapes.len()).unwrap() + 1);
        self.shapes.insert(job, shape);
        let (requirement, shape) = needs(shape);
        let spec = JobSpec {
            tenant: TenantId(tenant),
            weight: 1 + tenant,
            concurrency: if tenant == 2 { 1 } else { u32::MAX },
            queue: u32::MAX,
            class,
            order,
            accepted_at: self.now,
            start_deadline: None,
            deadline: self.now.plus(Millis(within.unwrap_or(86_400_000))),
            due_at: None,
            requirement,
            shape,
            graph: job.0.is_multiple_of(3).then_some(GraphId(1 + u32::try_from(shape.id.0).unwrap())),
        };
        Event::Submitted { job, spec }
    }

    fn pass(&mut self, time: Millis) {
        let until = self.now.plus(time);
        while let Some(at) = self.scheduler.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.turn(vec![Event::Woke]);
            assert!(
                self.scheduler.next_wakeup().is_none_or(|at| at > self.now),
                "a wake-up that changes nothing"
            );
        }
        self.now = until;
    }

    /// From now on the world is fair: all instances are well and answer everything.
    fn make_fair(&mut self) {
        let mut effects = self.join_all();
        let open: Vec<JobId> =
            self.admitted.iter().copied().filter(|job| !self.ended.contains(job)).collect();
        for job in open {
            if let Some(state) = self.scheduler.state(job)
                && let Some(on) = state.placement()
            {
                let (attempt, instance) = (on.attempt, on.instance);
                match state.into() {
                    Phase::Collecting => effects.push(Effect::Grant { job, attempt }),
                    Phase::Canceling => effects.push(Effect::Withdraw { job, attempt, instance }),
                    _ if matches!(state, JobState::Preempting { .. }) => {
                        effects.push(Effect::Preempt { job, attempt, instance });
                    }
                    _ => effects.push(Effect::Dispatch { job, attempt, instance }),
                }
            }
        }
        for _ in 0..10_000 {
            let answers: Vec<Event> = std::mem::take(&mut effects).iter().flat_map(answer).collect();
            if answers.is_empty() {
                let Some(at) = self.scheduler.next_wakeup() else { break };
                self.now = self.now.max(at);
                effects = self.turn(vec![Event::Woke]);
            } else {
                self.now = self.now.plus(Millis(1_000));
                effects = self.turn(answers);
            }
        }
    }
}

fn answer(effect: &Effect) -> Vec<Event> {
    let word = |job: JobId, attempt: AttemptNo, signal| Event::Attempt { job, attempt, signal };
    match *effect {
        Effect::Dispatch { job, attempt, .. } => {
            vec![word(job, attempt, Signal::Started), word(job, attempt, Signal::Executed)]
        }
        Effect::Grant { job, attempt } => vec![word(job, attempt, Signal::Published)],
        Effect::LookUp { job, attempt, .. } => vec![word(job, attempt, Signal::Lost(AttemptEnd::NoTrace))],
        Effect::Withdraw { job, attempt, .. } | Effect::Preempt { job, attempt, .. } => {
            vec![word(job, attempt, Signal::Stopped)]
        }
        Effect::Restart { instance } => {
            vec![Event::InstanceUp { instance, up: false }, Event::InstanceUp { instance, up: true }]
        }
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_invariants_and_in_a_fair_world_every_job_ends_once(
        history in proptest::collection::vec(happening(), 1..160)
    ) {
        let mut world = World::new();
        for happening in history {
            world.happen(happening);
        }
        world.make_fair();
        let open: Vec<_> = world.admitted.iter().filter(|job| !world.ended.contains(job)).collect();
        prop_assert!(open.is_empty(), "still open: {:?}", open.iter().map(|job| world.scheduler.state(**job)).collect::<Vec<_>>());
        prop_assert_eq!(world.scheduler.next_wakeup(), None);
    }

    #[test]
    fn the_same_events_give_the_same_decisions(history in proptest::collection::vec(happening(), 1..80)) {
        let mut world = World::new();
        for happening in history {
            world.happen(happening);
        }
        let mut replayed = Scheduler::new(config(), 5);
        for (now, events, decided) in world.turns {
            let mut out = Decisions::default();
            for event in events {
                replayed.handle(now, event, &mut out);
            }
            replayed.place(now, &mut out);
            prop_assert_eq!(out, decided);
        }
    }

    #[test]
    fn no_tenant_starves_behind_a_flood(flood in 50..200_usize, weight in 1..8_u32) {
        let mut world = World::new();
        let mut effects = Vec::new();
        for index in 0..flood {
            let tenant = if index == flood - 1 { 1 } else { 0 };
            let Event::Submitted { job, mut spec } = world.submission(tenant, Class::Normal, 1, None, None) else { continue };
            spec.weight = if tenant == 0 { weight } else { 1 };
            effects.extend(world.turn(vec![Event::Submitted { job, spec }]));
            if world.scheduler.summary().queued[1] >= 19 {
                let answers = std::mem::take(&mut effects).iter().flat_map(answer).collect();
                world.now = world.now.plus(Millis(1_000));
                effects = world.turn(answers);
            }
        }
        let lone = JobId(flood as u128);
        for _ in 0..12 {
            if world.attempts.contains_key(&lone) {
                return Ok(());
            }
            let answers = std::mem::take(&mut effects).iter().flat_map(answer).collect();
            world.now = world.now.plus(Millis(1_000));
            effects = world.turn(answers);
        }
        prop_assert!(false, "not placed in twelve rounds");
    }
}
