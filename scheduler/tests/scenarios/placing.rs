//! Who is next, and where.

use scheduler::{
    Cause, Class, Config, DeviceId, DeviceSample, Event, Failure, InstanceId, Learned, Obstacle, Outcome,
    Phase, Record, Signal, Timestamp,
};

use crate::world::Decided::{ClassChanged, Dispatch, Ended, Grant, Settle};
use crate::world::{A100, Card, T4, Wanted, World, attempt, flux, plain, sdxl, secs, succeeded, work};

#[test]
fn a_warm_instance_wins_and_a_cold_idle_one_is_taken_when_waiting_costs_more() {
    let mut world = World::without_prefetch(&[T4, T4]);
    let first = world.running(sdxl(), 0);
    world.after(secs(17)).hear(first, 1, Signal::Executed);
    world.expect(Grant(first, attempt(1)));
    let warm = world.submit(sdxl());
    world.expect(Dispatch(warm, 0, attempt(1)));
    world.hear(warm, 1, Signal::Started);
    world.after(secs(8)).nothing_more();
    let patient = world.submit(sdxl()); // two seconds of waiting are less than eight of loading
    assert_eq!(world.scheduler.explain(world.now, patient).unwrap().cause, Some(Cause::Model));
    world.hear(warm, 1, Signal::Executed);
    world.expect(Grant(warm, attempt(1)));
    world.expect(Dispatch(patient, 0, attempt(1)));
    let other = world.submit(sdxl()); // ten seconds are more
    world.expect(Dispatch(other, 1, attempt(1)));
}

#[test]
fn a_wait_for_a_warm_instance_is_thought_over_when_it_is_overdue() {
    let mut world = World::without_prefetch(&[T4, T4]);
    let first = world.running(sdxl(), 0);
    world.after(secs(14)).hear(first, 1, Signal::Progress);
    let patient = world.submit(sdxl());
    assert_eq!(world.phase(patient), Some(Phase::Queued));
    world.after(secs(26)).expect(Dispatch(patient, 1, attempt(1)));
}

#[test]
fn a_waiting_job_that_is_judged_again_takes_its_new_needs_or_ends() {
    let mut world = World::without_prefetch(&[T4]);
    let job = world.submit(sdxl().needs(77));
    let wanted = sdxl().spec;
    world.tell(Event::Respecified { job, requirement: wanted.requirement, shape: wanted.shape });
    world.expect(Dispatch(job, 0, attempt(1)));
    let never = world.submit(sdxl().needs(77));
    world.tell(Event::Unrunnable { job: never });
    world.expect(Ended(never, None, Outcome::Failed(Failure::InvalidWorkflow)));
    world.tell(Event::Unrunnable { job });
    assert_eq!(world.phase(job), Some(Phase::Dispatching));
}

#[test]
fn the_faster_device_is_taken_first_and_the_slower_one_when_it_is_sooner() {
    let mut world = World::without_prefetch(&[T4, A100]);
    let jobs = world.submit_all(vec![plain(8_000), plain(8_000), plain(8_000), plain(8_000), plain(8_000)]);
    let decided = world.take_pending();
    // The second is done sooner behind the first; the third is not.
    assert_eq!(decided, [Dispatch(jobs[0], 1, attempt(1)), Dispatch(jobs[2], 0, attempt(1))]);
}

#[test]
fn the_last_job_waits_for_a_fast_device_that_ends_it_sooner() {
    let mut world = World::without_prefetch(&[T4, A100]);
    let first = world.submit(plain(8_000));
    world.expect(Dispatch(first, 1, attempt(1)));
    world.hear(first, 1, Signal::Started);
    world.after(secs(1));
    let second = world.submit(plain(8_000));
    assert_eq!(world.phase(second), Some(Phase::Queued), "3 s there, 8 s here");
    world.after(secs(1)).hear(first, 1, Signal::Executed);
    world.expect(Grant(first, attempt(1)));
    world.expect(Dispatch(second, 1, attempt(1)));
}

#[test]
fn a_job_never_goes_where_it_does_not_fit() {
    let mut world = World::with(&[T4, A100]);
    world.tell(Event::Cordoned { instance: InstanceId(1), on: true });
    let job = world.submit(flux());
    let why = world.scheduler.explain(world.now, job).unwrap();
    assert_eq!(why.cause, Some(Cause::Drain));
    assert!(
        why.instances
            .iter()
            .any(|verdict| verdict.obstacle
                == Some(Obstacle::Room { need_mib: 30 * 1024, have_mib: 16 * 1024 }))
    );
    world.tell(Event::Cordoned { instance: InstanceId(1), on: false });
    world.expect(Dispatch(job, 1, attempt(1)));
}

#[test]
fn memory_of_others_shrinks_a_device_and_our_own_does_not() {
    let mut world = World::with(&[T4]);
    let sample = DeviceSample { total_mib: 16 * 1024, foreign_mib: 9 * 1024, ..DeviceSample::default() };
    world.tell(Event::Sampled { device: DeviceId(0), sample });
    let job = world.submit(sdxl());
    let why = world.scheduler.explain(world.now, job).unwrap();
    assert_eq!(why.cause, Some(Cause::Room));
    world.tell(Event::Sampled { device: DeviceId(0), sample: DeviceSample { foreign_mib: 0, ..sample } });
    world.expect(Dispatch(job, 0, attempt(1)));
}

#[test]
fn of_equal_devices_the_one_without_foreign_load_is_taken() {
    let mut world = World::with(&[T4, T4]);
    let sample = DeviceSample { total_mib: 16 * 1024, foreign_load_milli: 500, ..DeviceSample::default() };
    world.tell(Event::Sampled { device: DeviceId(0), sample });
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 1, attempt(1)));
}

#[test]
fn a_job_waits_for_an_instance_that_offers_what_it_needs_and_does_not_block_others() {
    const SPECIAL: Card = Card { parts: &[1, 9], ..T4 };
    let mut world = World::with(&[T4]);
    let special = world.submit(sdxl().needs(9));
    let common = world.submit(sdxl());
    world.expect(Dispatch(common, 0, attempt(1)));
    let why = world.scheduler.explain(world.now, special).unwrap();
    assert_eq!(why.cause, Some(Cause::Catalogue));
    assert_eq!(why.instances[0].obstacle, Some(Obstacle::Lacks(vec![scheduler::Part(9)])));
    world.join(1, SPECIAL);
    world.expect(Dispatch(special, 1, attempt(1)));
}

#[test]
fn tenants_share_by_weight_whatever_they_have_queued() {
    let mut world = World::without_prefetch(&[T4]);
    let mut wanted: Vec<_> = (0..60).map(|_| plain(1_000).tenant(1, 1)).collect();
    wanted.extend((0..60).map(|_| plain(1_000).tenant(2, 3)));
    let jobs = world.submit_all(wanted);
    let mut of_second = 0;
    for _ in 0..40 {
        let Some(Dispatch(job, ..)) =
            world.take_pending().into_iter().find(|decided| matches!(decided, Dispatch(..)))
        else {
            panic!("the device stands idle");
        };
        of_second += u32::from(jobs[60..].contains(&job));
        world.hear(job, 1, Signal::Started);
        world.after(secs(1)).hear(job, 1, Signal::Executed);
    }
    world.take_pending();
    assert!((29..=31).contains(&of_second), "{of_second} of 40");
}

#[test]
fn a_tenant_never_holds_more_devices_than_its_bound() {
    let mut world = World::with(&[T4, T4]);
    let jobs = world.submit_all((0..4).map(|_| plain(1_000).concurrency(1)).collect());
    world.expect(Dispatch(jobs[0], 0, attempt(1)));
    let why = world.scheduler.explain(world.now, jobs[1]).unwrap();
    assert_eq!(why.cause, Some(Cause::Share));
    assert_eq!(why.position, Some(0));
    world.hear(jobs[0], 1, Signal::Executed);
    world.expect(Grant(jobs[0], attempt(1)));
    world.expect(Dispatch(jobs[1], 0, attempt(1)));
}

#[test]
fn the_callers_order_binds_within_tenant_and_class() {
    let mut world = World::without_prefetch(&[T4]);
    let busy = world.running(plain(1_000), 0);
    let late = world.submit(plain(1_000).order(5));
    let early = world.submit(sdxl().order(-1));
    world.hear(busy, 1, Signal::Executed);
    world.expect(Grant(busy, attempt(1)));
    world.expect(Dispatch(early, 0, attempt(1)));
    world.hear(early, 1, Signal::Executed);
    world.expect(Grant(early, attempt(1)));
    world.expect(Dispatch(late, 0, attempt(1)));
}

#[test]
fn an_interactive_job_goes_first_until_age_has_lifted_the_others() {
    let mut world = World::without_prefetch(&[T4]);
    let busy = world.running(plain(1_000), 0);
    let batch = world.submit(plain(1_000).class(Class::Batch));
    let interactive = world.submit(plain(1_000).class(Class::Interactive));
    world.hear(busy, 1, Signal::Executed);
    world.expect(Grant(busy, attempt(1)));
    world.expect(Dispatch(interactive, 0, attempt(1)));
    world.lenient = true;
    for _ in 0..20 {
        world.after(secs(31)).hear(interactive, 1, Signal::Progress);
    }
    world.submit(plain(1_000).class(Class::Interactive));
    world.hear(interactive, 1, Signal::Executed);
    assert_eq!(world.phase(batch), Some(Phase::Dispatching));
}

#[test]
fn a_deadline_whose_slack_runs_out_pulls_its_job_forward() {
    let mut world = World::without_prefetch(&[T4]);
    let busy = world.running(sdxl(), 0);
    let first = world.submit(plain(1_000));
    let urgent = world.submit(plain(1_000).deadline(secs(60)));
    world.after(secs(35)).hear(busy, 1, Signal::Executed);
    world.expect(Grant(busy, attempt(1)));
    world.expect(Dispatch(urgent, 0, attempt(1)));
    assert_eq!(world.phase(first), Some(Phase::Queued));
}

#[test]
fn another_class_moves_a_waiting_job_in_the_backlog() {
    let mut world = World::without_prefetch(&[T4]);
    let busy = world.running(plain(1_000), 0);
    let first = world.submit(plain(1_000));
    let second = world.submit(plain(1_000));
    world.tell(Event::ClassChanged { job: second, class: Class::Interactive });
    world.expect(ClassChanged(second, Class::Interactive));
    assert_eq!(world.scheduler.summary().queued, [0, 1, 1]);
    assert_eq!(world.scheduler.explain(world.now, first).unwrap().position, Some(1));
    world.hear(busy, 1, Signal::Executed);
    world.expect(Grant(busy, attempt(1)));
    world.expect(Dispatch(second, 0, attempt(1)));
}

#[test]
fn learned_times_survive_a_restart_and_decide() {
    let mut world = World::new();
    world.join(0, T4);
    world.join(1, A100);
    world.tell(Event::Remembered(Learned::Run {
        shape: scheduler::ShapeId(1),
        class: scheduler::DeviceClassId(40),
        mean_ms: 60_000,
        runs: 9,
    }));
    world.tell(Event::Remembered(Learned::Run {
        shape: scheduler::ShapeId(1),
        class: scheduler::DeviceClassId(16),
        mean_ms: 1_000,
        runs: 9,
    }));
    let job = world.submit(plain(10_000));
    world.expect(Dispatch(job, 0, attempt(1)));
}

#[test]
fn a_run_teaches_its_time_and_a_steady_one_is_recorded_whenever_it_rests_on_twice_as_many() {
    let mut world = World::with(&[T4]);
    world.lenient = true;
    for _ in 0..20 {
        let job = world.submit(plain(10_000));
        world.hear(job, 1, Signal::Started);
        world.after(secs(4)).hear(job, 1, Signal::Executed);
        world.publish(job, 1);
    }
    let runs: Vec<_> = world
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Learned(Learned::Run { mean_ms, runs, .. }) => Some((*mean_ms, *runs)),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [1, 2, 4, 8, 16].map(|runs| (4_000, runs)));
}

#[test]
fn without_work_the_scheduler_asks_for_no_wakeup() {
    let mut world = World::with(&[T4]);
    assert_eq!(world.scheduler.next_wakeup(), None);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
    assert_eq!(world.scheduler.next_wakeup(), None);
    let waiting = world.submit(work(3, 1_000, 1, &[]).needs(77));
    assert_eq!(world.phase(waiting), Some(Phase::Queued));
    assert_eq!(world.scheduler.next_wakeup().filter(|at| *at < Timestamp::NEVER), None);
}

/// Jobs of as many kinds, none of which any instance offers.
fn nowhere(kinds: u64, tenant: u32) -> Vec<Wanted> {
    (0..kinds).map(|kind| work(1_000 + kind, 1_000, 1, &[]).needs(77).tenant(tenant, 1)).collect()
}

fn with_a_short_look() -> World {
    let mut world = World::with_config(Config { prefetch: 0, look_ahead: 4, ..Config::default() });
    world.join(0, T4);
    world
}

#[test]
fn kinds_that_nobody_offers_hide_nothing_behind_them() {
    let mut world = with_a_short_look();
    world.submit_all(nowhere(100, 1));
    let job = world.submit(plain(1_000));
    world.expect(Dispatch(job, 0, attempt(1)));
}

#[test]
fn kinds_that_nobody_offers_use_up_no_looks_of_other_tenants() {
    let mut world = with_a_short_look();
    world.submit_all(nowhere(100, 1));
    let job = world.submit(plain(1_000).tenant(2, 1));
    world.expect(Dispatch(job, 0, attempt(1)));
}

#[test]
fn many_tenants_with_kinds_that_nobody_offers_each_find_what_can_run() {
    let mut world = with_a_short_look();
    for tenant in 1..=8 {
        world.submit_all(nowhere(12, tenant));
    }
    world.lenient = true;
    for tenant in 1..=8 {
        let job = world.submit(plain(1_000).tenant(tenant, 1));
        world.after(secs(20));
        assert_eq!(world.phase(job), Some(Phase::Dispatching), "tenant {tenant}");
        world.hear(job, 1, Signal::Executed);
        world.publish(job, 1);
    }
}

#[test]
fn looking_further_in_a_lane_never_breaks_its_callers_order() {
    let mut world = with_a_short_look();
    let first = world.running(plain(1_000), 0);
    let more: Vec<_> = (0..40).map(|kind| work(1_000 + kind, 1_000, 1, &[]).needs(77).order(0)).collect();
    world.submit_all(more);
    let early = world.submit(plain(1_000).order(1));
    let late = world.submit(sdxl().order(2));
    world.hear(first, 1, Signal::Executed);
    world.expect(Grant(first, attempt(1)));
    world.expect(Dispatch(early, 0, attempt(1)));
    assert_eq!(world.phase(late), Some(Phase::Queued));
}

#[test]
fn work_stays_with_the_cards_that_hold_its_models() {
    let mut world = World::without_prefetch(&[T4, T4]);
    world.lenient = true;
    let mut on = world.submit_all(vec![work(1, 10_000, 8, &[70]), work(1, 10_000, 8, &[80])]);
    let waiting = world.submit_all(
        (0..6).map(|index| work(1, 10_000, 8, &[if index % 2 == 0 { 80 } else { 70 }])).collect(),
    );
    for round in 0..3 {
        let held: Vec<_> =
            on.iter().map(|job| world.scheduler.explain(world.now, *job).unwrap().instance).collect();
        for job in on.clone() {
            world.hear(job, 1, Signal::Started);
        }
        // Eight seconds of loading at first, ten of running each time.
        world.after(secs(if round == 0 { 18 } else { 10 }));
        let ends =
            on.iter().map(|job| Event::Attempt { job: *job, attempt: attempt(1), signal: Signal::Executed });
        world.tell_all(ends.collect());
        on = vec![waiting[2 * round + 1], waiting[2 * round]];
        let now: Vec<_> =
            on.iter().map(|job| world.scheduler.explain(world.now, *job).unwrap().instance).collect();
        assert_eq!(held, now, "round {round}");
    }
}

#[test]
fn a_job_that_would_not_end_before_its_instance_leaves_goes_elsewhere() {
    let mut world = World::without_prefetch(&[T4, T4]);
    let at = Some(world.now.plus(secs(30)));
    world.tell(Event::InstanceLeaves { instance: InstanceId(0), at });
    let long = world.submit(plain(60_000));
    world.expect(Dispatch(long, 1, attempt(1)));
    let short = world.submit(work(2, 5_000, 1, &[]));
    world.expect(Dispatch(short, 0, attempt(1)));
    world.after(secs(5)).hear(short, 1, Signal::Executed);
    world.expect(Grant(short, attempt(1)));
    let longer = world.submit(plain(60_000));
    assert_eq!(world.phase(longer), Some(Phase::Queued));
    world.tell(Event::InstanceLeaves { instance: InstanceId(0), at: None });
    world.expect(Dispatch(longer, 0, attempt(1)));
}

#[test]
fn a_deadline_that_presses_goes_first_and_one_that_is_lost_goes_last() {
    let mut world = World::without_prefetch(&[T4]);
    let busy = world.running(work(2, 30_000, 1, &[]), 0);
    let calm = world.submit(plain(10_000));
    let lost = world.submit(plain(10_000).due(secs(20)));
    let pressing = world.submit(plain(10_000).due(secs(50)));
    let mut running = busy;
    world.after(secs(30));
    for next in [pressing, calm, lost] {
        world.hear(running, 1, Signal::Executed);
        world.expect(Grant(running, attempt(1)));
        world.expect(Dispatch(next, 0, attempt(1)));
        running = next;
    }
}

#[test]
fn a_restarted_instance_holds_nothing() {
    let mut world = World::without_prefetch(&[T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    assert_eq!(world.scheduler.summary().instances[0].warm, [scheduler::ModelId(70)]);
    world.tell(Event::InstanceRestarted { instance: InstanceId(0) });
    assert!(world.scheduler.summary().instances[0].warm.is_empty());
}

#[test]
fn the_summary_says_what_a_class_is_worth_and_how_long_the_backlog_takes() {
    let mut world = World::without_prefetch(&[T4, A100]);
    world.lenient = true;
    world.submit_all((0..42).map(|_| plain(10_000)).collect());
    let summary = world.scheduler.summary();
    let worth: Vec<_> = summary.classes.iter().map(|class| (class.usable, class.worth_milli)).collect();
    let [(1, slow), (1, fast)] = worth[..] else { panic!("{worth:?}") };
    assert!(fast > 3 * slow, "four times as fast: {fast} and {slow}");
    assert!(
        (60..100).contains(&(summary.drain.0 / 1_000)),
        "40 jobs of 10 s at speeds 1 and 4: {:?}",
        summary.drain
    );
}

#[test]
fn a_prompt_is_prefetched_only_shortly_before_its_seat_is_free() {
    let config = Config { prefetch_ahead: scheduler::Millis(100), ..Config::default() };
    let mut world = World::with_config(config);
    world.join(0, T4);
    let running = world.running(work(2, 10_000, 1, &[]), 0);
    let next = world.submit(work(2, 10_000, 1, &[]));
    assert_eq!(world.phase(next), Some(Phase::Queued), "much can happen in ten seconds");
    let wakes = world.scheduler.next_wakeup().unwrap();
    assert!(wakes > world.now.plus(secs(5)));
    world.after(wakes.since(world.now)).expect(Dispatch(next, 0, attempt(1)));
    assert_eq!(world.phase(running), Some(Phase::Running));
}
