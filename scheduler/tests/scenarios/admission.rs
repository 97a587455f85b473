//! Our door, and the drain.

use scheduler::{Config, Event, Outcome, Phase, RefusalReason, Signal};

use crate::world::Decided::{Ended, Grant, Refused, Settle};
use crate::world::{T4, World, attempt, sdxl, succeeded};

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
