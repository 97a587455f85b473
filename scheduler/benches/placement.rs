//! What a turn costs: a thousand jobs on 64 devices, and the door at a million.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scheduler::{
    AttemptNo, Catalogue, Class, Config, Decisions, DeviceClassId, Effect, Event, FamilyId, HostId,
    InstanceId, InstanceProfile, JobId, JobSpec, ModelId, ModelKind, ModelUse, Part, Requirement, Scheduler,
    Shape, ShapeId, Signal, TenantId, Timestamp,
};

const NOW: Timestamp = Timestamp(1_000_000);

fn fleet(devices: u32) -> Scheduler {
    let config = Config { high_watermark: 2_000_000, tenant_queue: 2_000_000, ..Config::default() };
    let mut scheduler = Scheduler::new(config, 1);
    let catalogue = Arc::new(Catalogue { id: 1, parts: Box::new([Part(1)]), sizes: Box::default() });
    let mut out = Decisions::default();
    for id in 0..devices {
        let instance = InstanceId(id);
        let class = id % 4;
        let profile = InstanceProfile {
            host: HostId(id / 8),
            device: None,
            device_class: DeviceClassId(u64::from(class)),
            speed_milli: 1_000 * (1 + class),
            family_speeds: Box::default(),
            loading: None,
            vram_mib: Some(16_000 + 8_000 * class),
            reserve_mib: 500,
            catalogue: Some(Arc::clone(&catalogue)),
        };
        scheduler.handle(NOW, Event::InstanceJoined { instance, profile }, &mut out);
        scheduler.handle(NOW, Event::InstanceUp { instance, up: true }, &mut out);
    }
    scheduler
}

/// Twenty kinds of work over eight tenants and three classes.
fn jobs(count: u64) -> Vec<Event> {
    let requirements: Vec<Arc<Requirement>> = (0..20)
        .map(|model| {
            let models = Box::new([ModelUse { id: ModelId(model), kind: ModelKind::Checkpoint }]);
            Arc::new(Requirement { parts: Box::new([Part(1)]), models })
        })
        .collect();
    (0..count)
        .zip(requirements.iter().cycle())
        .map(|(index, requirement)| {
            let model = index % 20;
            let class =
                [Class::Batch, Class::Normal, Class::Interactive][usize::try_from(index % 3).unwrap_or(0)];
            let spec = JobSpec {
                tenant: TenantId(u32::try_from(index % 8).unwrap_or(0)),
                weight: 1,
                concurrency: u32::MAX,
                queue: u32::MAX,
                class,
                order: None,
                accepted_at: NOW,
                start_deadline: None,
                deadline: Timestamp(NOW.0 + 86_400_000),
                due_at: None,
                requirement: Arc::clone(requirement),
                shape: Shape {
                    id: ShapeId(model),
                    family: FamilyId(0),
                    prior_run_ms: 5_000,
                    prior_vram_mib: 8_000,
                },
                graph: None,
            };
            Event::Submitted { job: JobId(u128::from(index)), spec }
        })
        .collect()
}

fn tell(scheduler: &mut Scheduler, events: Vec<Event>) -> Decisions {
    let mut out = Decisions::default();
    for event in events {
        scheduler.handle(NOW, event, &mut out);
    }
    out
}

/// Fills every seat of 64 idle devices from a thousand jobs.
fn fill(criterion: &mut Criterion) {
    let mut scheduler = fleet(64);
    tell(&mut scheduler, jobs(1_000));
    criterion.bench_function("fill 64 devices from 1,000 jobs", |bencher| {
        bencher.iter_batched(
            || scheduler.clone(),
            |mut scheduler| {
                let mut out = Decisions::default();
                scheduler.place(NOW, &mut out);
                (scheduler, out)
            },
            BatchSize::LargeInput,
        );
    });
}

/// One job ends, another takes its seat, a third joins the backlog: the steady state.
fn replace(criterion: &mut Criterion) {
    const WAITING: u64 = 200_000;
    let mut scheduler = fleet(64);
    tell(&mut scheduler, jobs(WAITING));
    let arrivals = jobs(60);
    let mut arrived = WAITING;
    let mut now = NOW;
    let mut placed: VecDeque<(JobId, AttemptNo)> = VecDeque::new();
    let note = |out: Decisions, placed: &mut VecDeque<(JobId, AttemptNo)>| {
        placed.extend(out.effects.iter().filter_map(|effect| match effect {
            Effect::Dispatch { job, attempt, .. } => Some((*job, *attempt)),
            _ => None,
        }));
    };
    let mut out = Decisions::default();
    scheduler.place(now, &mut out);
    note(out, &mut placed);
    criterion.bench_function("one end, one placement, one arrival, 64 devices, 200,000 jobs", |bencher| {
        bencher.iter(|| {
            now = Timestamp(now.0 + 40);
            let mut out = Decisions::default();
            if let Some((job, attempt)) = placed.pop_front() {
                scheduler.handle(now, Event::Attempt { job, attempt, signal: Signal::Executed }, &mut out);
                scheduler.handle(now, Event::Attempt { job, attempt, signal: Signal::Published }, &mut out);
            }
            let like = &arrivals[usize::try_from(arrived % 60).unwrap_or(0)];
            if let Event::Submitted { spec, .. } = like {
                let spec = JobSpec { accepted_at: now, ..spec.clone() };
                scheduler.handle(now, Event::Submitted { job: JobId(u128::from(arrived)), spec }, &mut out);
                arrived += 1;
            }
            scheduler.place(now, &mut out);
            note(black_box(out), &mut placed);
        });
    });
    assert!(!placed.is_empty(), "the steady state ran dry");
}

fn enqueue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("enqueue");
    group.throughput(Throughput::Elements(1_000_000)).sample_size(10);
    group.bench_function("1,000,000 jobs", |bencher| {
        bencher.iter_batched(
            || (fleet(0), jobs(1_000_000)),
            |(mut scheduler, events)| {
                tell(&mut scheduler, events);
                scheduler
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, fill, replace, enqueue);
criterion_main!(benches);
