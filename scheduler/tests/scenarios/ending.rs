//! Cancel and deadlines.

use scheduler::{AttemptEnd, Outcome, Phase, Signal};

use crate::world::Decided::{AttemptEnded, CancelIntended, Dispatch, Ended, Grant, Settle, Withdraw};
use crate::world::{T4, World, attempt, lost, sdxl, secs, succeeded};

#[test]
fn a_waiting_job_is_canceled_at_once() {
    let mut world = World::new();
    let job = world.submit(sdxl());
    world.cancel(job);
    world.expect(Ended(job, None, Outcome::Canceled));
    assert_eq!(world.scheduler.summary().queued, [0, 0, 0]);
}

#[test]
fn a_running_job_is_canceled_through_its_instance() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.cancel(job);
    world.expect(CancelIntended(job));
    world.expect(Withdraw(job, 0, attempt(1)));
    world.cancel(job);
    world.hear(job, 1, Signal::Progress);
    assert_eq!(world.phase(job), Some(Phase::Canceling));
    world.hear(job, 1, Signal::Stopped);
    world.expect(Ended(job, Some(attempt(1)), Outcome::Canceled));
}

#[test]
fn whatever_ends_an_attempt_that_is_being_canceled_ends_its_job_canceled() {
    for signal in [
        Signal::Executed,
        Signal::NodeFailed,
        Signal::Invalid,
        lost(AttemptEnd::InstanceDied),
        lost(AttemptEnd::NoTrace),
    ] {
        let mut world = World::with(&[T4]);
        let job = world.running(sdxl(), 0);
        world.cancel(job);
        world.expect(CancelIntended(job));
        world.expect(Withdraw(job, 0, attempt(1)));
        world.hear(job, 1, signal);
        world.expect(Ended(job, Some(attempt(1)), Outcome::Canceled));
    }
}

#[test]
fn outputs_of_an_earlier_attempt_do_not_win_over_a_cancel() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::Unreachable));
    world.expect(AttemptEnded(job, AttemptEnd::Unreachable));
    world.expect(Dispatch(job, 1, attempt(2)));
    world.cancel(job);
    world.expect(CancelIntended(job));
    world.expect(Withdraw(job, 1, attempt(2)));
    world.hear(job, 1, Signal::Executed);
    world.hear(job, 1, Signal::Published);
    assert_eq!(world.phase(job), Some(Phase::Canceling));
    world.hear(job, 2, Signal::Stopped);
    world.expect(Ended(job, Some(attempt(2)), Outcome::Canceled));
}

#[test]
fn outputs_of_an_earlier_attempt_end_a_job_that_waits_again() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::HostFault));
    world.expect(AttemptEnded(job, AttemptEnd::HostFault));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
    assert_eq!(world.scheduler.summary().queued, [0, 0, 0]);
}

#[test]
fn a_cancel_without_an_answer_ends_after_its_grace() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.cancel(job);
    world.expect(CancelIntended(job));
    world.expect(Withdraw(job, 0, attempt(1)));
    world.after(secs(60)).expect(Ended(job, Some(attempt(1)), Outcome::Canceled));
}

#[test]
fn from_collecting_on_a_cancel_changes_nothing() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl().deadline(secs(100)), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.cancel(job);
    world.after(secs(200)).nothing_more(); // nor does the deadline
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn a_deadline_ends_a_waiting_job_and_stops_a_running_one() {
    let mut world = World::without_prefetch(&[T4]);
    let running = world.running(sdxl().deadline(secs(30)), 0);
    let waiting = world.submit(sdxl().deadline(secs(20)));
    world.after(secs(20)).expect(Ended(waiting, None, Outcome::Expired));
    world.after(secs(10)).expect(Withdraw(running, 0, attempt(1)));
    world.hear(running, 1, Signal::Stopped);
    world.expect(Ended(running, Some(attempt(1)), Outcome::Expired));
}

#[test]
fn a_start_deadline_counts_until_the_prompt_starts() {
    let mut world = World::with(&[T4]);
    let running = world.running(sdxl().start_deadline(secs(30)), 0);
    let prefetched = world.submit(sdxl().start_deadline(secs(30)));
    world.expect(Dispatch(prefetched, 0, attempt(1)));
    world.after(secs(30)).expect(Withdraw(prefetched, 0, attempt(1)));
    assert_eq!(world.phase(running), Some(Phase::Running));
    assert_eq!(world.phase(prefetched), Some(Phase::Canceling));
    world.hear(prefetched, 1, Signal::Stopped);
    world.expect(Ended(prefetched, Some(attempt(1)), Outcome::Expired));
}
