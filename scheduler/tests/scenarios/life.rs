//! A life without faults.

use scheduler::{Phase, Record, Signal};

use crate::world::Decided::{Dispatch, Grant, Settle};
use crate::world::{START, T4, World, attempt, plain, sdxl, secs, succeeded};

#[test]
fn a_job_is_admitted_dispatched_collected_and_settled() {
    let mut world = World::with(&[T4]);
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Accepted);
    world.after(secs(1)).hear(job, 1, Signal::Started);
    world.after(secs(9)).hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
    assert_eq!(world.scheduler.state(job), None);
    assert_eq!(
        world.phases_of(job),
        [Phase::Queued, Phase::Dispatching, Phase::Running, Phase::Collecting, Phase::Succeeded]
    );
    let started = world.records.iter().find_map(|record| match record {
        Record::Ended { started_at, .. } => Some(*started_at),
        _ => None,
    });
    assert_eq!(started, Some(Some(START.plus(secs(1)))));
}

#[test]
fn a_job_that_ran_in_less_than_a_millisecond_needs_no_start() {
    let mut world = World::with(&[T4]);
    let job = world.submit(plain(1));
    world.expect(Dispatch(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.hear(job, 1, Signal::Accepted);
    world.hear(job, 1, Signal::Started);
    assert_eq!(world.phase(job), Some(Phase::Collecting));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn an_instance_gets_one_prompt_behind_the_one_it_runs_and_no_third() {
    let mut world = World::with(&[T4]);
    let jobs = world.submit_all(vec![sdxl(), sdxl(), sdxl()]);
    world.expect(Dispatch(jobs[0], 0, attempt(1)));
    world.expect(Dispatch(jobs[1], 0, attempt(1)));
    world.hear(jobs[0], 1, Signal::Started);
    world.hear(jobs[0], 1, Signal::Executed);
    world.expect(Grant(jobs[0], attempt(1)));
    world.expect(Dispatch(jobs[2], 0, attempt(1)));
}

#[test]
fn a_prefetched_prompt_that_starts_leaves_the_one_before_it_its_seat_until_it_reports() {
    let mut world = World::with(&[T4]);
    let jobs = world.submit_all(vec![sdxl(), sdxl(), sdxl()]);
    world.expect(Dispatch(jobs[0], 0, attempt(1)));
    world.expect(Dispatch(jobs[1], 0, attempt(1)));
    world.hear(jobs[0], 1, Signal::Started);
    world.hear(jobs[1], 1, Signal::Started);
    assert_eq!(world.phase(jobs[0]), Some(Phase::Running));
    world.hear(jobs[0], 1, Signal::Executed);
    world.expect(Grant(jobs[0], attempt(1)));
    world.expect(Dispatch(jobs[2], 0, attempt(1)));
}
