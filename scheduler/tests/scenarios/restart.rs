//! A new process after a crash.

use scheduler::{AttemptEnd, Config, Event, Failure, InstanceId, Outcome, Past, Phase, Signal};

use crate::world::Decided::{AttemptEnded, Dispatch, Ended, Grant, LookUp, Settle, Withdraw};
use crate::world::{START, T4, World, attempt, failed, lost, profile, sdxl, secs, succeeded};

/// What the store says of a job whose attempt was open on an instance.
fn open_on(instance: u32, number: u32) -> Past {
    Past {
        attempt: Some(attempt(number)),
        open_on: Some(InstanceId(instance)),
        placed_at: START,
        ..Past::default()
    }
}

#[test]
fn after_a_restart_an_open_attempt_is_looked_up_and_adopted() {
    let mut world = World::with(&[T4, T4]);
    let past = open_on(0, 2);
    let job = world.restore(sdxl(), past);
    world.expect(LookUp(job, 0, attempt(2)));
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.hear(job, 2, Signal::Started);
    world.hear(job, 2, Signal::Executed);
    world.expect(Grant(job, attempt(2)));
    world.publish(job, 2);
    world.expect(succeeded(job, 2));
    world.expect(Settle(job, 0, attempt(2)));
}

#[test]
fn after_a_restart_an_attempt_without_a_trace_is_placed_again() {
    let mut world = World::with(&[T4, T4]);
    let past = open_on(0, 1);
    let job = world.restore(sdxl(), past);
    world.expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, lost(AttemptEnd::NoTrace));
    world.expect(AttemptEnded(job, AttemptEnd::NoTrace));
    world.expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn after_a_restart_an_attempt_on_an_unknown_instance_is_in_doubt_until_its_lease_ends() {
    let mut world = World::with(&[T4]);
    let past = open_on(9, 1);
    let job = world.restore(sdxl(), past);
    world.after(secs(59)).nothing_more();
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.after(secs(1)).expect(Withdraw(job, 9, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::LeaseExpired));
    world.after(secs(1)).expect(Dispatch(job, 0, attempt(2)));
}

#[test]
fn after_a_restart_an_instance_that_joins_late_is_asked_once_it_answers() {
    let mut world = World::new();
    let past = open_on(3, 1);
    let job = world.restore(sdxl(), past);
    world.tell(Event::InstanceJoined { instance: InstanceId(3), profile: profile(3, T4) });
    world.up(3);
    world.expect(LookUp(job, 3, attempt(1)));
}

#[test]
fn after_a_restart_a_waiting_job_keeps_its_counters_and_a_full_door_does_not_matter() {
    let config = Config { high_watermark: 1, low_watermark: 0, ..Config::default() };
    let mut world = World::with_config(config);
    let past = Past { attempt: Some(attempt(4)), faults: 2, losses: 1, ..Past::default() };
    let first = world.restore(sdxl(), past);
    let second = world.restore(sdxl(), Past::default());
    assert_eq!(world.phase(first), Some(Phase::Queued));
    assert_eq!(world.phase(second), Some(Phase::Queued));
    world.join(0, T4);
    world.take_pending();
    world.hear(first, 5, Signal::Started);
    world.hear(first, 5, lost(AttemptEnd::InstanceDied));
    world.expect(failed(first, 5, Failure::PoisonJob));
}

#[test]
fn after_a_restart_a_committed_cancel_is_carried_out() {
    let mut world = World::with(&[T4]);
    let open = Past {
        attempt: Some(attempt(1)),
        open_on: Some(InstanceId(0)),
        cancel_requested: true,
        ..Past::default()
    };
    let job = world.restore(sdxl(), open);
    world.expect(Withdraw(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Stopped);
    world.expect(Ended(job, Some(attempt(1)), Outcome::Canceled));
}

#[test]
fn after_a_restart_a_job_that_had_started_in_time_is_not_expired_by_its_start_deadline() {
    let mut world = World::with(&[T4]);
    world.pause(secs(600));
    let past = open_on(0, 1);
    let job = world.restore(sdxl().start_deadline(secs(60)), past);
    world.expect(LookUp(job, 0, attempt(1)));
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.hear(job, 1, Signal::Started);
    assert_eq!(world.phase(job), Some(Phase::Running));
    world.after(secs(20)).hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn after_a_restart_an_attempt_found_waiting_past_its_start_deadline_expires() {
    let mut world = World::with(&[T4]);
    world.pause(secs(600));
    let past = open_on(0, 1);
    let job = world.restore(sdxl().start_deadline(secs(60)), past);
    world.expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Accepted);
    world.expect(Withdraw(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Stopped);
    world.expect(Ended(job, Some(attempt(1)), Outcome::Expired));
}

#[test]
fn after_a_restart_the_deadline_of_the_whole_job_counts_before_any_answer() {
    let mut world = World::with(&[T4]);
    world.pause(secs(600));
    let past = open_on(0, 1);
    let job = world.restore(sdxl().deadline(secs(610)), past);
    world.expect(LookUp(job, 0, attempt(1)));
    world.after(secs(9)).nothing_more();
    world.after(secs(1)).expect(Withdraw(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Stopped);
    world.expect(Ended(job, Some(attempt(1)), Outcome::Expired));
}
