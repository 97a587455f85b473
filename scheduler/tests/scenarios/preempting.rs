//! Running work that gives its place to more important work.

use scheduler::{AttemptEnd, Class, Config, JobId, Outcome, Phase, Record, Signal};

use crate::world::Decided::{
    AttemptEnded, CancelIntended, Dispatch, Ended, Grant, Preempt, Settle, Withdraw,
};
use crate::world::{T4, Wanted, World, attempt, lost, plain, secs, succeeded, work};

/// One card, and work gives its place up for twice what is lost.
fn world(prefetch: u32) -> World {
    let mut world = World::with_config(Config { prefetch, preemption: 2, ..Config::default() });
    world.join(0, T4);
    world
}

fn long() -> Wanted {
    plain(600_000).class(Class::Batch).tenant(1, 1)
}

fn urgent() -> Wanted {
    work(2, 2_000, 1, &[]).class(Class::Interactive).tenant(2, 1)
}

/// Long batch work on the only card, ten seconds old, and somebody who looks at the screen.
fn stopping(world: &mut World) -> (JobId, JobId) {
    let long = world.running(long(), 0);
    world.after(secs(10)).nothing_more();
    let urgent = world.submit(urgent());
    world.expect(Preempt(long, 0, attempt(1)));
    (long, urgent)
}

#[test]
fn batch_work_gives_its_place_to_interactive_work_and_runs_again_afterwards() {
    let mut world = world(0);
    let (long, urgent) = stopping(&mut world);
    assert_eq!(world.phase(urgent), Some(Phase::Queued), "the seat is not free before the runner says so");
    assert_eq!(world.phase(long), Some(Phase::Running));
    world.after(secs(1)).hear(long, 1, Signal::Stopped);
    world.expect(AttemptEnded(long, AttemptEnd::Preempted));
    world.expect(Dispatch(urgent, 0, attempt(1)));
    let told = world.records.iter().find_map(|record| match record {
        Record::AttemptEnded { faults, losses, .. } => Some((*faults, *losses)),
        _ => None,
    });
    assert_eq!(told, Some((0, 0)), "neither a fault nor a loss");
    world.after(secs(2)).hear(urgent, 1, Signal::Executed);
    world.expect(Grant(urgent, attempt(1)));
    world.expect(Dispatch(long, 0, attempt(2)));
    world.hear(long, 2, Signal::Started);
    world.after(secs(20)).hear(long, 2, Signal::Executed);
    world.expect(Grant(long, attempt(2)));
    world.publish(long, 2);
    world.expect(succeeded(long, 2));
    world.expect(Settle(long, 0, attempt(2)));
}

#[test]
fn what_is_done_before_it_is_stopped_counts() {
    let mut world = world(0);
    let (long, urgent) = stopping(&mut world);
    world.hear(long, 1, Signal::Executed);
    world.expect(Grant(long, attempt(1)));
    world.expect(Dispatch(urgent, 0, attempt(1)));
    world.publish(long, 1);
    world.expect(succeeded(long, 1));
    world.expect(Settle(long, 0, attempt(1)));
}

#[test]
fn what_was_stopped_after_its_end_runs_again() {
    let mut world = world(0);
    let (long, urgent) = stopping(&mut world);
    world.hear(long, 1, Signal::Executed);
    world.expect(Grant(long, attempt(1)));
    world.expect(Dispatch(urgent, 0, attempt(1)));
    world.hear(long, 1, Signal::Stopped);
    world.expect(AttemptEnded(long, AttemptEnd::Preempted));
    assert_eq!(world.phase(long), Some(Phase::Queued));
}

#[test]
fn a_runner_that_does_not_answer_gives_the_seat_up_after_its_grace() {
    let mut world = world(0);
    let (long, urgent) = stopping(&mut world);
    world.after(secs(59)).nothing_more();
    world.after(secs(1)).expect(AttemptEnded(long, AttemptEnd::Preempted));
    world.expect(Dispatch(urgent, 0, attempt(1)));
    // Its outputs may still win.
    world.publish(long, 1);
    world.expect(succeeded(long, 1));
    world.expect(Settle(long, 0, attempt(1)));
}

#[test]
fn a_fault_meanwhile_is_a_fault_and_a_cancel_is_a_cancel() {
    let mut world = world(0);
    let (long, urgent) = stopping(&mut world);
    world.hear(long, 1, lost(AttemptEnd::InstanceDied));
    world.expect(AttemptEnded(long, AttemptEnd::InstanceDied));
    world.expect(Dispatch(urgent, 0, attempt(1)));

    let mut world = self::world(0);
    let (long, urgent) = stopping(&mut world);
    world.cancel(long);
    world.expect(CancelIntended(long));
    world.expect(Withdraw(long, 0, attempt(1)));
    world.hear(long, 1, Signal::Stopped);
    world.expect(Ended(long, Some(attempt(1)), Outcome::Canceled));
    world.expect(Dispatch(urgent, 0, attempt(1)));
}

#[test]
fn what_is_prefetched_behind_it_is_handed_back_with_it() {
    let mut world = world(1);
    let first = world.running(long(), 0);
    let second = world.submit(long());
    world.expect(Dispatch(second, 0, attempt(1)));
    world.after(secs(10)).nothing_more();
    world.submit(urgent());
    world.expect(Preempt(first, 0, attempt(1)));
    world.expect(Preempt(second, 0, attempt(1)));
    assert_eq!(world.phase(second), Some(Phase::Dispatching));
}

/// Long work runs so long, and tells of it.
fn let_run(world: &mut World, job: JobId, minutes: u32) {
    for _ in 0..2 * minutes {
        world.after(secs(30)).hear(job, 1, Signal::Progress);
    }
}

#[test]
fn only_important_work_has_other_work_stopped() {
    let mut world = world(0);
    world.running(long(), 0);
    world.after(secs(10)).nothing_more();
    world.submit(work(3, 2_000, 1, &[]).class(Class::Normal).tenant(2, 1));
    world.submit(work(4, 2_000, 1, &[]).class(Class::Batch).tenant(2, 1));
}

#[test]
fn nothing_is_stopped_when_too_much_is_lost_or_it_is_nearly_done() {
    for minutes in [6, 9] {
        let mut world = world(0);
        let long = world.running(long(), 0);
        let_run(&mut world, long, minutes);
        world.submit(urgent());
    }
}

#[test]
fn a_deadline_that_can_still_be_met_has_work_without_one_stopped_but_not_its_own_tenants() {
    for (tenant, is_stopped) in [(1, false), (2, true)] {
        let mut world = world(0);
        let long = world.running(plain(600_000).tenant(1, 1), 0);
        world.after(secs(2)).nothing_more();
        world.submit(work(3, 10_000, 1, &[]).tenant(tenant, 1).due(secs(20)));
        if is_stopped {
            world.expect(Preempt(long, 0, attempt(1)));
        }
    }
}

#[test]
fn a_job_gives_its_place_up_twice_at_most() {
    let mut world = world(0);
    let long = world.submit(long());
    world.expect(Dispatch(long, 0, attempt(1)));
    for number in 1..=2 {
        world.hear(long, number, Signal::Started);
        world.after(secs(10)).nothing_more();
        let urgent = world.submit(urgent());
        world.expect(Preempt(long, 0, attempt(number)));
        world.hear(long, number, Signal::Stopped);
        world.expect(AttemptEnded(long, AttemptEnd::Preempted));
        world.expect(Dispatch(urgent, 0, attempt(1)));
        world.after(secs(2)).hear(urgent, 1, Signal::Executed);
        world.expect(Grant(urgent, attempt(1)));
        world.expect(Dispatch(long, 0, attempt(number + 1)));
    }
    world.hear(long, 3, Signal::Started);
    world.after(secs(10)).nothing_more();
    world.submit(urgent());
    world.nothing_more();
}

#[test]
fn without_a_multiple_nothing_is_stopped() {
    let mut world = World::without_prefetch(&[T4]);
    world.running(long(), 0);
    world.after(secs(10)).nothing_more();
    world.submit(urgent());
    world.nothing_more();
}
