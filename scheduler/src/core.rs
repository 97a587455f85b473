//! The scheduler itself: the only `match event`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admission::{Asked, Door};
use crate::config::Config;
use crate::costs::{Costs, Prediction};
use crate::decision::{Decisions, Effect, Record};
use crate::event::{Event, Past};
use crate::explain::{Explanation, Summary};
use crate::fleet::{Fleet, InstanceIx};
use crate::ids::{AttemptNo, InstanceId, JobId, ModelId};
use crate::invariants;
use crate::job::{AttemptEnd, JobState, Phase, Placement, Signal, Step, StopReason};
use crate::jobs::{Active, Job, Jobs, Slot};
use crate::kinds::{KindId, Kinds};
use crate::lease::Timers;
use crate::life::Superseded;
use crate::market::{self, Market};
use crate::orders::Orders;
use crate::placement::Planned;
use crate::pools::Pools;
use crate::pressure::{Climate, Pressure};
use crate::rng::Rng;
use crate::spec::{Catalogue, Class, InstanceProfile, JobSpec, Requirement, Shape};
use crate::tenants::Tenants;
use crate::time::{Millis, Timestamp};
use crate::waits::Waits;

/// Above this many open jobs the debug assertion after each event would cost more than it tells.
const ASSERTED_UP_TO: usize = 256;

/// The brain: owned by one task, fed with events, asked for decisions.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) now: Timestamp,
    pub(crate) rng: Rng,
    pub(crate) jobs: Jobs,
    pub(crate) kinds: Kinds,
    pub(crate) pools: Pools,
    pub(crate) orders: Orders,
    pub(crate) market: Market,
    pub(crate) climate: Climate,
    /// What the running pass has planned, by place in the fleet.
    pub(crate) plan: Vec<Planned>,
    /// What a pass has planned by checkpoint: instances that will hold it.
    pub(crate) bound: Vec<(ModelId, InstanceIx)>,
    pub(crate) waits: Waits,
    pub(crate) passes: u64,
    /// Other grades may be able to run some kinds since they were last judged.
    pub(crate) refit_due: bool,
    pub(crate) tenants: Tenants,
    pub(crate) fleet: Fleet,
    pub(crate) costs: Costs,
    pub(crate) timers: Timers,
    pub(crate) door: Door,
    /// Attempts that were given up but may still win, of open jobs.
    pub(crate) superseded: BTreeMap<JobId, Vec<Superseded>>,
    /// Waiting jobs by class, paused ones included.
    pub(crate) queued: [u64; 3],
    /// Their predicted work on the reference class.
    pub(crate) backlog_ms: u64,
    /// Something changed since the last placement that may allow another.
    pub(crate) dirty: bool,
    /// A job waits for a busy instance although another has a seat: think again then.
    pub(crate) reconsider_at: Option<Timestamp>,
    pub(crate) strays: u64,
    arrivals: u32,
}

impl Scheduler {
    /// A scheduler that knows nothing yet. `seed` feeds the jitter of back-offs.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let climate = Climate { pressure: Pressure::new(Millis(0), config.ageing), mean_usage: 0 };
        Self {
            config,
            now: Timestamp::default(),
            rng: Rng::new(seed),
            jobs: Jobs::default(),
            kinds: Kinds::default(),
            pools: Pools::default(),
            orders: Orders::default(),
            market: Market::default(),
            climate,
            plan: Vec::new(),
            bound: Vec::new(),
            waits: Waits::default(),
            passes: 0,
            refit_due: false,
            tenants: Tenants::default(),
            fleet: Fleet::default(),
            costs: Costs::default(),
            timers: Timers::default(),
            door: Door::default(),
            superseded: BTreeMap::new(),
            queued: [0; 3],
            backlog_ms: 0,
            dirty: false,
            reconsider_at: None,
            strays: 0,
            arrivals: 0,
        }
    }

    /// Advances the world by one event. Never blocks and never reads a clock.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Decisions) {
        self.now = self.now.max(now); // monotonic, anchored once; a wall-clock jump never reaches us
        match event {
            Event::Submitted { job, spec } => self.on_submitted(job, &spec, out),
            Event::Restored { job, spec, past } => self.on_restored(job, &spec, past, out),
            Event::CancelRequested { job } => self.on_cancel(job, out),
            Event::Respecified { job, requirement, shape } => self.on_respecified(job, &requirement, shape),
            Event::Unrunnable { job } => self.on_unrunnable(job, out),
            Event::ClassChanged { job, class } => self.on_class_changed(job, class, out),
            Event::Attempt { job, attempt, signal } => self.on_signal(job, attempt, signal, out),
            Event::InstanceJoined { instance, profile } => self.on_joined(instance, profile),
            Event::InstanceUp { instance, up } => self.on_contact(instance, up, out),
            Event::InstanceCatalogue { instance, catalogue } => {
                self.know_sizes(&catalogue);
                if let Some(profile) = &mut self.fleet.entry(self.now, instance).profile {
                    profile.catalogue = Some(catalogue);
                }
                self.fleet_changed();
            }
            Event::InstanceSpool { instance, full } => {
                self.fleet.entry(self.now, instance).spool_full = full;
                self.devices_changed();
            }
            Event::InstanceLeft { instance } => self.on_left(instance, out),
            Event::InstanceRestarted { instance } => {
                if let Some(known) = self.fleet.get_mut(instance) {
                    known.forget_models();
                }
            }
            Event::InstanceLeaves { instance, at } => {
                self.fleet.entry(self.now, instance).leaves_at = at.unwrap_or(Timestamp::NEVER);
                self.devices_changed();
            }
            Event::Cordoned { instance, on } => {
                self.fleet.entry(self.now, instance).cordoned = on;
                self.devices_changed();
            }
            Event::Sampled { device, sample } => {
                if self.fleet.observe(device, sample) {
                    self.refit_due |= self.fleet.measure();
                    self.devices_changed();
                }
            }
            Event::Remembered(learned) => self.costs.remember(learned),
            Event::DrainRequested => self.door.drain(),
            // What time alone demands comes after all words of the turn: a sign in the same turn saves a lease.
            Event::Woke => {}
        }
        self.assert_whole();
    }

    /// Lets time pass over leases and deadlines, then places what can be placed. Call once after the events of a turn.
    pub fn place(&mut self, now: Timestamp, out: &mut Decisions) {
        self.now = self.now.max(now);
        self.pass_time(out);
        let due = [self.reconsider_at, self.fleet.next_opening()];
        if due.into_iter().flatten().any(|at| at <= self.now) {
            self.dirty = true;
        }
        // Who was stopped, and whoever was handed back with him, changes what the others are offered.
        while std::mem::take(&mut self.dirty) {
            self.reconsider_at = None;
            if !self.door.is_draining() {
                self.place_backlog(out);
                self.preempt_for_waiting(out);
            }
        }
        self.assert_whole();
    }

    /// When to send [`Event::Woke`] at the latest; `None`: not before something else happens.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let opening =
            self.fleet.next_opening().filter(|_| !self.pools.is_empty() && !self.door.is_draining());
        [self.reconsider_at, opening, self.timers.next(), self.fleet.next_restart()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The state of an open job; `None` once it has ended or if it never was.
    #[must_use]
    pub fn state(&self, job: JobId) -> Option<JobState> {
        self.jobs.get(self.jobs.slot(job)?).map(Job::state)
    }

    /// Predicted load and run time of the open attempt, milliseconds; 0 when there is none.
    #[must_use]
    pub fn expected_ms(&self, job: JobId) -> u64 {
        let job = self.jobs.slot(job).and_then(|slot| self.jobs.get(slot));
        let predicted = job.and_then(Job::active).map_or(0, |active| active.predicted.total_ms());
        u64::try_from(predicted).unwrap_or(0)
    }

    /// Why a job waits, device by device; `None` for a job that is not open.
    #[must_use]
    pub fn explain(&self, now: Timestamp, job: JobId) -> Option<Explanation> {
        self.explain_job(now.max(self.now), self.jobs.slot(job)?)
    }

    /// Fleet and backlog in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summarize()
    }

    /// Whether a drain was requested and no attempt is left on any instance.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.door.is_draining()
            && self.fleet.iter().all(|instance| instance.held.is_empty() && instance.collecting.is_empty())
    }

    fn assert_whole(&self) {
        debug_assert!(
            self.jobs.len() > ASSERTED_UP_TO || invariants::first_broken(self).is_none(),
            "{:?}",
            invariants::first_broken(self)
        );
    }

    fn on_submitted(&mut self, id: JobId, spec: &JobSpec, out: &mut Decisions) {
        if self.jobs.slot(id).is_some() {
            self.strays = self.strays.saturating_add(1);
            return;
        }
        let asked = Asked {
            queued: self.queued.iter().sum(),
            tenant_queued: self.tenants.get(spec.tenant).map_or(0, |tenant| tenant.queued),
            tenant_queue: spec.queue,
            spool_full: self.fleet.is_spool_full(),
        };
        let tenants = &self.tenants;
        if let Some(refusal) = self.door.refusal(&self.config, asked, || tenants.active()) {
            out.records.push(Record::Refused { job: id });
            out.effects.push(Effect::Refused { job: id, refusal });
            return;
        }
        let slot = self.open(id, spec);
        self.note_arrival(slot);
        out.effects.push(Effect::Admitted { job: id });
        out.effects.push(Effect::Announce { job: id, phase: Phase::Queued });
        self.begin_wait(slot);
    }

    /// Makes the job known; it neither waits nor runs yet.
    fn open(&mut self, id: JobId, spec: &JobSpec) -> Slot {
        let kind = self.kind_of(spec.shape, &spec.requirement);
        self.tenants.join(spec.tenant, spec.weight, spec.concurrency);
        self.arrivals = self.arrivals.wrapping_add(1);
        self.jobs.insert(Job::new(id, spec, kind, self.arrivals))
    }

    fn kind_of(&mut self, shape: Shape, requirement: &Arc<Requirement>) -> KindId {
        let shape_ix = self.costs.runs.join(shape);
        if let Some(kind) = self.kinds.join(shape, requirement) {
            return kind;
        }
        let family = self.costs.runs.family(shape.family);
        let reference_ms = self.costs.runs.reference_ms(shape_ix, shape.prior_run_ms);
        let kind = self.kinds.found(shape, requirement, (shape_ix, family), reference_ms, &self.costs.loads);
        self.settle_kind(kind);
        kind
    }

    /// The prices follow what arrives.
    fn note_arrival(&mut self, slot: Slot) {
        let kind = self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind));
        if let Some((demand, ms)) = kind.map(|kind| (kind.demand, kind.reference_ms)) {
            self.market.note_arrival(demand, ms);
        }
    }

    fn on_restored(&mut self, id: JobId, spec: &JobSpec, past: Past, out: &mut Decisions) {
        if self.jobs.slot(id).is_some() {
            self.strays = self.strays.saturating_add(1);
            return;
        }
        let slot = self.open(id, spec);
        if let Some(job) = self.jobs.get_mut(slot) {
            job.attempts = past.attempt.map_or(0, |attempt| attempt.0);
            job.faults = u16::try_from(past.faults).unwrap_or(u16::MAX);
            job.losses = u16::try_from(past.losses).unwrap_or(u16::MAX);
        }
        match (past.attempt, past.open_on) {
            (Some(attempt), Some(instance)) => self.adopt(slot, attempt, instance, past, out),
            _ => {
                self.begin_wait(slot);
                if past.cancel_requested {
                    self.stop(slot, StopReason::Canceled, out);
                }
            }
        }
    }

    /// An attempt of an earlier life: in doubt until it was looked up.
    fn adopt(
        &mut self,
        slot: Slot,
        attempt: AttemptNo,
        instance: InstanceId,
        past: Past,
        out: &mut Decisions,
    ) {
        let on = Placement {
            attempt,
            instance,
            placed_at: past.placed_at,
            started_at: None,
            lease_until: self.now.plus(self.config.lease),
        };
        let state = if past.cancel_requested {
            JobState::Canceling { on, why: StopReason::Canceled }
        } else {
            JobState::InDoubt { on, was_running: false }
        };
        let is_joined = self.fleet.get(instance).is_some_and(|known| known.profile.is_some());
        let kind = self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind));
        let predicted = kind.map_or_else(Prediction::default, |kind| self.predict(kind, instance));
        let (stop_by, charged_ms) = (Timestamp::NEVER, 0);
        let active = Active {
            state,
            instance,
            attempt,
            asked: false,
            stop_by,
            predicted,
            charged_ms,
            price: market::ONE,
            exact: false,
            adopted: true,
        };
        self.seat(slot, active);
        if past.cancel_requested {
            self.begin_stop(slot, out);
        } else if is_joined {
            self.ask(slot, out);
            self.rearm(slot);
        }
    }

    fn on_cancel(&mut self, id: JobId, out: &mut Decisions) {
        if let Some(slot) = self.jobs.slot(id) {
            self.stop(slot, StopReason::Canceled, out);
        }
    }

    /// Only a waiting job takes new needs; one on an instance is judged by ComfyUI itself.
    fn on_respecified(&mut self, id: JobId, requirement: &Arc<Requirement>, shape: Shape) {
        let Some(slot) = self.jobs.slot(id) else { return };
        if self.jobs.get(slot).is_none_or(|job| job.active().is_some()) {
            return;
        }
        let kind = self.kind_of(shape, requirement);
        self.end_wait(slot);
        self.change_kind(slot, kind);
        self.begin_wait(slot);
    }

    fn on_unrunnable(&mut self, id: JobId, out: &mut Decisions) {
        if let Some(slot) = self.jobs.slot(id)
            && self.jobs.get(slot).is_some_and(|job| job.active().is_none())
        {
            self.step(slot, Step::Unrunnable, out);
        }
    }

    fn on_class_changed(&mut self, id: JobId, class: Class, out: &mut Decisions) {
        let Some(slot) = self.jobs.slot(id) else { return };
        let Some(job) = self.jobs.get(slot) else { return };
        if job.class == class {
            return;
        }
        out.records.push(Record::ClassChanged { job: id, class });
        let (old, waits, in_lane) = (job.class, job.active().is_none(), job.in_lane);
        self.leave_lane(slot);
        if let Some(job) = self.jobs.get_mut(slot) {
            job.class = class;
        }
        if waits {
            self.queued[old as usize] -= 1;
            self.queued[class as usize] += 1;
        }
        if in_lane {
            self.enter_lane(slot);
        }
    }

    fn on_joined(&mut self, id: InstanceId, mut profile: InstanceProfile) {
        let instance = self.fleet.entry(self.now, id);
        if profile.catalogue.is_none() {
            profile.catalogue = instance.catalogue().cloned();
        }
        let catalogue = profile.catalogue.clone();
        self.costs.runs.tell_speeds(profile.device_class, profile.speed_milli, &profile.family_speeds);
        instance.profile = Some(profile);
        if let Some(catalogue) = catalogue {
            self.know_sizes(&catalogue);
        }
        self.fleet_changed();
    }

    fn know_sizes(&mut self, catalogue: &Catalogue) {
        if self.costs.loads.tell_sizes(&catalogue.sizes) {
            self.kinds.resize(&self.costs.loads);
        }
    }

    fn fleet_changed(&mut self) {
        let catalogues = self.fleet.iter().filter_map(|instance| instance.catalogue());
        self.refit_due |= self.kinds.set_catalogues(catalogues);
        self.refit_due |= self.fleet.measure();
        self.devices_changed();
    }

    /// Other devices can be used than before, or they can do more or less: what was found for waiting jobs is void.
    fn devices_changed(&mut self) {
        self.waits.forget_all();
        self.dirty = true;
    }

    /// Contact lost: the fate of all it holds is unknown. Contact again: ask for each. What it has executed is with
    /// its runner and waits for nobody.
    fn on_contact(&mut self, id: InstanceId, up: bool, out: &mut Decisions) {
        let instance = self.fleet.entry(self.now, id);
        if instance.up == up {
            return;
        }
        instance.up = up;
        if up {
            instance.faulty = false;
            instance.restart_by = None;
            instance.leaves_at = Timestamp::NEVER;
        }
        let held = instance.held.clone();
        self.devices_changed();
        for slot in held {
            match (up, self.jobs.get(slot).map(Job::state)) {
                (false, Some(JobState::Dispatching { .. } | JobState::Running { .. })) => {
                    self.step(slot, Step::Heard(Signal::ContactLost), out);
                }
                (true, Some(JobState::InDoubt { .. })) => {
                    self.ask(slot, out);
                    self.rearm(slot);
                }
                _ => {}
            }
        }
    }

    fn on_left(&mut self, id: InstanceId, out: &mut Decisions) {
        let Some(instance) = self.fleet.get_mut(id) else { return };
        instance.profile = None;
        instance.up = false;
        instance.forget_models();
        let slots: Vec<Slot> = instance.held.iter().chain(&instance.collecting).copied().collect();
        for slot in slots {
            self.withdraw_and_lose(slot, AttemptEnd::Drained, out);
        }
        self.fleet.forget_if_empty(id);
        self.fleet_changed();
    }
}
