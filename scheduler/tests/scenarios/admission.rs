//! Our door, and the drain.

use scheduler::{Class, Config, Event, Outcome, Phase, RefusalReason, Signal, TenantId};

use crate::world::Decided::{Ended, Grant, Refused, Settle};
use crate::world::{A100, START, T4, World, attempt, flux, sdxl, succeeded};

#[test]
fn a_full_backlog_refuses_until_it_has_drained_to_the_low_watermark() {
    let config = Config { high_watermark: 3, low_watermark: 1, ..Config::default() };
    let mut world = World::with_config(config);
    let jobs = world.submit_all(vec![sdxl(), sdxl(), sdxl()]);
    let refused = world.submit(sdxl());
    world.expect(Refused(refused, RefusalReason::QueueFull));
    world.cancel(jobs[0]);
    world.expect(Ended(jobs[0], None, Outcome::Canceled));
    let still = world.submit(sdxl());
    world.expect(Refused(still, RefusalReason::QueueFull));
    world.cancel(jobs[1]);
    world.expect(Ended(jobs[1], None, Outcome::Canceled));
    let admitted = world.submit(sdxl());
    assert_eq!(world.phase(admitted), Some(Phase::Queued));
}

#[test]
fn one_tenants_full_backlog_leaves_the_door_open_for_another() {
    let mut world = World::with_config(Config { tenant_queue: 1, ..Config::default() });
    world.submit(sdxl());
    let refused = world.submit(sdxl());
    world.expect(Refused(refused, RefusalReason::TenantQueueFull));
    let other = world.submit(sdxl().tenant(2, 1));
    assert_eq!(world.phase(other), Some(Phase::Queued));
}

#[test]
fn a_tenants_own_bound_counts_where_it_is_lower() {
    let mut world = World::with_config(Config { tenant_queue: 2, ..Config::default() });
    let bounded = |queue| {
        let mut wanted = sdxl();
        wanted.spec.queue = queue;
        wanted
    };
    world.submit(bounded(1));
    let refused = world.submit(bounded(1));
    world.expect(Refused(refused, RefusalReason::TenantQueueFull));
    let admitted = world.submit(bounded(5));
    assert_eq!(world.phase(admitted), Some(Phase::Queued));
    let refused = world.submit(bounded(5));
    world.expect(Refused(refused, RefusalReason::TenantQueueFull));
}

#[test]
fn a_drain_takes_nothing_places_nothing_and_lets_what_runs_finish() {
    let mut world = World::without_prefetch(&[T4]);
    let running = world.running(sdxl(), 0);
    let waiting = world.submit(sdxl());
    world.tell(Event::DrainRequested);
    let refused = world.submit(sdxl());
    world.expect(Refused(refused, RefusalReason::Draining));
    world.hear(running, 1, Signal::Executed);
    world.expect(Grant(running, attempt(1)));
    assert!(!world.scheduler.is_drained());
    world.publish(running, 1);
    world.expect(succeeded(running, 1));
    world.expect(Settle(running, 0, attempt(1)));
    assert!(world.scheduler.is_drained());
    assert_eq!(world.phase(waiting), Some(Phase::Queued));
}

#[test]
fn jobs_submitted_together_are_refused_together_when_the_last_would_not_fit() {
    let config = Config { high_watermark: 4, low_watermark: 2, tenant_queue: 3, ..Config::default() };
    let mut world = World::with_config(config);
    world.submit(sdxl());
    let reason = |world: &World, tenant, jobs| {
        world.scheduler.would_refuse(TenantId(tenant), u32::MAX, jobs).map(|refusal| refusal.reason)
    };
    assert_eq!(reason(&world, 1, 2), None);
    assert_eq!(reason(&world, 1, 3), Some(RefusalReason::TenantQueueFull));
    assert_eq!(reason(&world, 2, 3), None);
    assert_eq!(reason(&world, 2, 4), Some(RefusalReason::QueueFull));
    assert_eq!(reason(&world, 2, 3), None, "a question closes no door");
}

#[test]
fn a_forecast_names_the_cost_on_each_class_that_could_run_the_job_and_keeps_nothing() {
    let mut world = World::without_prefetch(&[T4, A100]);
    let forecast = world.scheduler.forecast(START, &flux().spec);
    assert_eq!(forecast.instances.len(), 2);
    let costs: Vec<_> = forecast.classes.iter().map(|cost| (cost.instances, cost.run_ms)).collect();
    assert_eq!(costs, [(1, 5_000)], "only the large card has the room; it is four times as fast");
    assert!(forecast.classes[0].load_ms > 0, "its models are nowhere yet");
    let idle = world.scheduler.forecast(START, &sdxl().spec);
    assert_eq!(idle.classes.len(), 2);
    assert_eq!(idle.predicted_start, Some(START));
    world.running(sdxl(), 0);
    world.running(sdxl(), 1);
    world.submit_all(vec![sdxl(), sdxl(), sdxl(), sdxl()]);
    let behind = world.scheduler.forecast(START, &sdxl().spec);
    assert!(behind.predicted_start > idle.predicted_start, "{behind:?}");
    let first = world.scheduler.forecast(START, &sdxl().class(Class::Interactive).spec);
    assert!(first.predicted_start < behind.predicted_start, "nobody of that class waits");
    assert_eq!(world.scheduler.summary().queued.iter().sum::<u64>(), 4, "a forecast is no submission");
}
