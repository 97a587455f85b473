//! What a job would meet were it submitted now. Nothing is kept of the question.

use std::collections::BTreeMap;

use crate::admission::Asked;
use crate::core::Scheduler;
use crate::decision::Refusal;
use crate::explain::{InstanceVerdict, Obstacle};
use crate::ids::{DeviceClassId, TenantId};
use crate::kinds::Kind;
use crate::report::MOST_VERDICTS;
use crate::spec::{Class, JobSpec};
use crate::time::{Millis, Timestamp};

/// What a job would meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forecast {
    /// What each instance says to it, best first; bounded to the first 64.
    pub instances: Vec<InstanceVerdict>,
    /// What it costs on each class of devices that offers what it needs and has the room, whether free now or not.
    pub classes: Vec<ClassCost>,
    /// Predicted start, when it can be predicted.
    pub predicted_start: Option<Timestamp>,
    /// Predicted end, likewise.
    pub predicted_end: Option<Timestamp>,
    /// The door would not let it in now.
    pub refusal: Option<Refusal>,
}

/// What a job costs on one class of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassCost {
    /// Which one.
    pub class: DeviceClassId,
    /// Its instances that could run the job.
    pub instances: u32,
    /// The run itself on the slowest of them, milliseconds.
    pub run_ms: u32,
    /// Models that the worst prepared of them would have to load first, milliseconds.
    pub load_ms: u32,
}

impl Scheduler {
    /// What a job would meet were it submitted now.
    #[must_use]
    pub fn forecast(&self, now: Timestamp, spec: &JobSpec) -> Forecast {
        let now = now.max(self.now);
        let places = self.costs.runs.look_up(spec.shape);
        let reference_ms = self.costs.runs.reference_ms(places.0, spec.shape.prior_run_ms);
        let kind = self.kinds.sketch(spec.shape, &spec.requirement, places, reference_ms, &self.costs.loads);
        let mut instances: Vec<InstanceVerdict> =
            self.fleet.joined().map(|instance| self.verdict_of(instance, &kind)).collect();
        instances.sort_by_key(|verdict| {
            (verdict.predicted_end.is_none(), verdict.predicted_end, verdict.instance)
        });
        let (predicted_start, predicted_end) = self.forecast_times(now, spec.class, &kind, &instances);
        let classes = self.class_costs(&kind, &instances);
        instances.truncate(MOST_VERDICTS);
        let refusal = self.would_refuse(spec.tenant, spec.queue, 1);
        Forecast { instances, classes, predicted_start, predicted_end, refusal }
    }

    /// Whether the door would refuse the last of so many jobs of a tenant, submitted together; `queue` is the tenant's
    /// bound of waiting jobs.
    #[must_use]
    pub fn would_refuse(&self, tenant: TenantId, queue: u32, jobs: u32) -> Option<Refusal> {
        let before = jobs.saturating_sub(1);
        let asked = Asked {
            queued: self.queued.iter().sum::<u64>() + u64::from(before),
            tenant_queued: self.tenants.get(tenant).map_or(0, |tenant| tenant.queued).saturating_add(before),
            tenant_queue: queue,
            spool_full: self.fleet.is_spool_full(),
        };
        self.door.clone().refusal(&self.config, asked, || self.tenants.active())
    }

    /// The best instance, after the work that waits in its own class and above.
    fn forecast_times(
        &self,
        now: Timestamp,
        class: Class,
        kind: &Kind,
        instances: &[InstanceVerdict],
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let Some((best, end)) = instances.first().and_then(|best| Some((best, best.predicted_end?))) else {
            return (None, None);
        };
        let all = i64::try_from(self.queued.iter().sum::<u64>().max(1)).unwrap_or(i64::MAX);
        let ahead = self.queued[class as usize..].iter().sum::<u64>();
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        let wait = self.market.drain_time(&self.fleet).0.saturating_mul(ahead) / all;
        let end = end.plus(Millis(wait)).max(now);
        let total = self.predict(kind, best.instance).total_ms();
        (Some(end.plus(Millis(-total)).max(now)), Some(end))
    }

    fn class_costs(&self, kind: &Kind, instances: &[InstanceVerdict]) -> Vec<ClassCost> {
        let mut classes: BTreeMap<DeviceClassId, ClassCost> = BTreeMap::new();
        for verdict in instances.iter().filter(|verdict| is_able(verdict)) {
            let Some(instance) = self.fleet.get(verdict.instance) else { continue };
            let class = instance.device_class();
            let predicted = self.predict(kind, verdict.instance);
            let fresh = ClassCost { class, instances: 0, run_ms: 0, load_ms: 0 };
            let cost = classes.entry(class).or_insert(fresh);
            cost.instances += 1;
            cost.run_ms = cost.run_ms.max(predicted.run_ms);
            cost.load_ms = cost.load_ms.max(predicted.load_ms);
        }
        classes.into_values().collect()
    }
}

/// Whether it could run the job, now or when it is free, well and in service.
fn is_able(verdict: &InstanceVerdict) -> bool {
    !matches!(verdict.obstacle, Some(Obstacle::CatalogueUnknown | Obstacle::Lacks(_) | Obstacle::Room { .. }))
}
