//! Stories of single jobs and small fleets. The names are the promises; `tests/world` is the stage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod world;

use scheduler::{
    AttemptEnd, Cause, Class, Config, DeviceId, DeviceSample, Event, Failure, InstanceId, Learned, Millis,
    Obstacle, Outcome, Past, Phase, Record, RefusalReason, Signal, Timestamp,
};
use world::Decided::{
    AttemptEnded, CancelIntended, ClassChanged, Dispatch, Ended, Free, Grant, LookUp, Refused, Restart,
    Settle, Withdraw,
};
use world::{A100, Card, START, T4, World, attempt, flux, plain, profile, sdxl, secs, work};

fn lost(end: AttemptEnd) -> Signal {
    Signal::Lost(end)
}

fn succeeded(job: scheduler::JobId, number: u32) -> world::Decided {
    Ended(job, Some(attempt(number)), Outcome::Succeeded)
}

fn failed(job: scheduler::JobId, number: u32, failure: Failure) -> world::Decided {
    Ended(job, Some(attempt(number)), Outcome::Failed(failure))
}

// ---- a life without faults

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

// ---- faults, row by row of DESIGN §5

#[test]
fn a_graph_that_comfyui_refuses_fails_at_once() {
    let mut world = World::with(&[T4]);
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Invalid);
    world.expect(failed(job, 1, Failure::InvalidWorkflow));
}

#[test]
fn a_node_error_an_oversized_output_and_a_missing_input_fail_with_their_names() {
    for (signal, failure) in [
        (Signal::NodeFailed, Failure::NodeError),
        (Signal::OutputTooLarge, Failure::OutputTooLarge),
        (Signal::InputUnavailable, Failure::InputUnavailable),
    ] {
        let mut world = World::with(&[T4]);
        let job = world.running(sdxl(), 0);
        world.hear(job, 1, signal);
        world.expect(failed(job, 1, failure));
    }
}

#[test]
fn a_lost_reply_is_looked_up_before_the_job_runs_again() {
    let mut world = World::with(&[T4, T4]);
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
    world.hear(job, 1, Signal::ContactLost);
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.hear(job, 1, lost(AttemptEnd::NoTrace));
    world.expect(AttemptEnded(job, AttemptEnd::NoTrace));
    world.expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn an_attempt_in_doubt_that_is_found_goes_on_where_it_is() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::ContactLost);
    world.hear(job, 1, Signal::Started);
    assert_eq!(world.phase(job), Some(Phase::Running));
    world.hear(job, 1, Signal::ContactLost);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
}

#[test]
fn a_silent_attempt_is_looked_up_after_two_thirds_of_its_lease_and_given_up_at_its_end() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.after(secs(39)).nothing_more();
    world.after(secs(1)).expect(LookUp(job, 0, attempt(1)));
    world.after(secs(19)).nothing_more();
    world.after(secs(1)).expect(Withdraw(job, 0, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::LeaseExpired));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn any_sign_renews_the_lease() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    for _ in 0..10 {
        world.after(secs(35)).hear(job, 1, Signal::Progress);
    }
    world.after(secs(40)).expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Accepted);
    world.after(secs(39)).nothing_more();
    assert_eq!(world.phase(job), Some(Phase::Running));
    world.after(secs(1)).expect(LookUp(job, 0, attempt(1)));
}

#[test]
fn after_a_pause_longer_than_a_lease_everyone_is_asked_before_anything_expires() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.pause(secs(3600));
    world.expect(LookUp(job, 0, attempt(1)));
    world.after(secs(19)).hear(job, 1, Signal::Progress);
    assert_eq!(world.phase(job), Some(Phase::Running));
    world.after(secs(40)).expect(LookUp(job, 0, attempt(1)));
    world.pause(secs(3600));
    world.expect(LookUp(job, 0, attempt(1)));
    assert_eq!(world.phase(job), Some(Phase::Running));
}

#[test]
fn a_void_output_set_frees_the_node_cache_and_is_a_loss() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.hear(job, 1, lost(AttemptEnd::OutputsGone));
    world.expect(Free(0));
    world.expect(AttemptEnded(job, AttemptEnd::OutputsGone));
    assert!(matches!(world.records.last(), Some(Record::AttemptEnded { faults: 0, losses: 1, .. })));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn an_unreachable_instance_holds_its_job_in_doubt_until_the_lease_ends() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.down(0);
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.after(secs(40)).expect(LookUp(job, 0, attempt(1)));
    world.after(secs(20)).expect(Withdraw(job, 0, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::LeaseExpired));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn an_instance_that_comes_back_is_asked_for_what_it_had() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.down(0);
    world.after(secs(10)).up(0);
    world.expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Started);
    assert_eq!(world.phase(job), Some(Phase::Running));
}

#[test]
fn the_first_complete_output_set_wins_even_from_an_attempt_that_was_given_up() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.down(0);
    world.lenient = true;
    world.after(secs(61)).up(0);
    world.lenient = false;
    world.hear(job, 2, Signal::Started);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    assert_eq!(world.phase(job), Some(Phase::Running));
    world.publish(job, 1);
    world.expect(Withdraw(job, 1, attempt(2)));
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn a_late_word_of_an_old_attempt_moves_nothing_and_is_counted() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::Unreachable));
    world.expect(AttemptEnded(job, AttemptEnd::Unreachable));
    world.expect(Dispatch(job, 1, attempt(2)));
    let before = world.scheduler.state(job);
    for signal in [Signal::Started, Signal::NodeFailed, Signal::Stopped, lost(AttemptEnd::InstanceDied)] {
        world.hear(job, 1, signal);
    }
    world.hear(job, 7, Signal::Published);
    assert_eq!(world.scheduler.state(job), before);
    assert_eq!(world.scheduler.summary().strays, 5);
}

#[test]
fn outputs_on_a_host_that_is_gone_for_a_lease_are_made_again_elsewhere() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.after(secs(3600)).nothing_more(); // an upload may take its time while its runner is there
    world.down(0);
    world.after(secs(59)).nothing_more();
    world.after(secs(1)).expect(Withdraw(job, 0, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::OutputsGone));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn outputs_on_a_host_that_comes_back_in_time_are_kept() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.down(0);
    world.after(secs(50)).up(0);
    world.after(secs(600)).publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn an_instance_that_dies_costs_the_running_job_a_fault_and_the_prefetched_one_a_loss() {
    let mut world = World::with(&[T4]);
    let running = world.running(sdxl(), 0);
    let prefetched = world.submit(sdxl());
    world.expect(Dispatch(prefetched, 0, attempt(1)));
    world.down(0);
    world.hear(running, 1, lost(AttemptEnd::InstanceDied));
    world.expect(AttemptEnded(running, AttemptEnd::InstanceDied));
    assert!(matches!(world.records.last(), Some(Record::AttemptEnded { faults: 1, losses: 0, .. })));
    world.hear(prefetched, 1, lost(AttemptEnd::InstanceDied));
    world.expect(AttemptEnded(prefetched, AttemptEnd::InstanceDied));
    assert!(matches!(world.records.last(), Some(Record::AttemptEnded { faults: 0, losses: 1, .. })));
}

#[test]
fn the_running_prompt_of_three_deaths_is_poison() {
    let mut world = World::with(&[T4, T4, T4]);
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
    for (number, next) in [(1, 1), (2, 0)] {
        world.hear(job, number, Signal::Started);
        world.hear(job, number, lost(AttemptEnd::InstanceDied));
        world.expect(AttemptEnded(job, AttemptEnd::InstanceDied));
        world.take_pending();
        world.after(secs(2)).take_pending();
        let on = world.scheduler.state(job).unwrap().placement().map(|on| (on.attempt.0, on.instance));
        assert_eq!(on, Some((number + 1, InstanceId(next))));
    }
    world.hear(job, 3, Signal::Started);
    world.hear(job, 3, lost(AttemptEnd::InstanceDied));
    world.expect(failed(job, 3, Failure::PoisonJob));
}

#[test]
fn two_jobs_of_one_poison_kind_never_run_at_once() {
    let mut world = World::with(&[T4, T4]);
    let poison = world.running(sdxl(), 0);
    world.hear(poison, 1, lost(AttemptEnd::InstanceDied));
    world.expect(AttemptEnded(poison, AttemptEnd::InstanceDied));
    world.expect(Dispatch(poison, 1, attempt(2)));
    let same = world.submit(sdxl());
    let other = world.submit(plain(1_000));
    world.expect(Dispatch(other, 0, attempt(1)));
    world.hear(poison, 2, Signal::Executed);
    world.expect(Grant(poison, attempt(2)));
    world.lenient = true;
    world.after(secs(1)).publish(poison, 2);
    assert_eq!(world.phase(same), Some(Phase::Dispatching));
}

#[test]
fn losses_are_unlimited_and_back_off_further_each_time() {
    let mut world = World::with(&[T4, T4]);
    let job = world.submit(sdxl());
    world.take_pending();
    let mut pauses = Vec::new();
    for number in 1..=12 {
        world.hear(job, number, lost(AttemptEnd::HostFault));
        world.expect(AttemptEnded(job, AttemptEnd::HostFault));
        let lost_at = world.now;
        world.after(secs(60)).take_pending();
        let on = *world.scheduler.state(job).unwrap().placement().unwrap();
        assert_eq!(on.attempt.0, number + 1);
        pauses.push(on.placed_at.since(lost_at));
        world.hear(job, number + 1, Signal::Accepted);
        world.take_pending();
    }
    assert!(pauses[0] <= Millis(500) && pauses[0] >= Millis(375), "{pauses:?}");
    assert!(pauses[11] >= secs(45) && pauses[11] <= secs(60), "{pauses:?}");
}

#[test]
fn an_out_of_memory_frees_the_card_and_goes_to_a_larger_one() {
    let mut world = World::with(&[T4, A100]);
    world.tell(Event::Cordoned { instance: InstanceId(1), on: true });
    let job = world.running(sdxl(), 0);
    world.tell(Event::Cordoned { instance: InstanceId(1), on: false });
    world.hear(job, 1, lost(AttemptEnd::OutOfMemory));
    world.expect(Free(0));
    world.expect(AttemptEnded(job, AttemptEnd::OutOfMemory));
    world.expect(Dispatch(job, 1, attempt(2)));
    let proved = Record::Learned(Learned::Room {
        shape: scheduler::ShapeId(7),
        above_mib: 16 * 1024,
        at_most_mib: u32::MAX,
    });
    assert!(world.records.contains(&proved));
    let next = world.submit(sdxl());
    world.expect(Dispatch(next, 1, attempt(1)));
}

#[test]
fn what_does_not_fit_the_largest_card_of_the_fleet_fails_with_that_name() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::OutOfMemory));
    world.expect(Free(0));
    world.expect(failed(job, 1, Failure::OutOfMemory));
}

#[test]
fn a_device_fault_keeps_work_away_until_the_device_is_well() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::DeviceFault));
    world.expect(AttemptEnded(job, AttemptEnd::DeviceFault));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
    let second = world.submit(plain(1_000));
    world.expect(Dispatch(second, 1, attempt(1)));
    let third = world.submit(plain(1_000));
    assert_eq!(world.phase(third), Some(Phase::Queued));
    let sample = DeviceSample { total_mib: 16 * 1024, ..DeviceSample::default() };
    world.tell(Event::Sampled { device: DeviceId(0), sample });
    world.expect(Dispatch(third, 0, attempt(1)));
}

#[test]
fn a_hung_instance_is_asked_to_restart_and_gets_nothing_until_it_did() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::Hung));
    world.expect(Restart(0));
    world.expect(AttemptEnded(job, AttemptEnd::Hung));
    world.after(secs(100)).nothing_more();
    world.down(0);
    world.up(0);
    world.expect(Dispatch(job, 0, attempt(2)));
}

#[test]
fn a_restart_that_nobody_saw_is_believed_after_five_minutes() {
    let mut world = World::with(&[T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, lost(AttemptEnd::Hung));
    world.expect(Restart(0));
    world.expect(AttemptEnded(job, AttemptEnd::Hung));
    world.after(secs(299)).nothing_more();
    world.after(secs(1)).expect(Dispatch(job, 0, attempt(2)));
}

#[test]
fn a_full_spool_stops_placing_on_its_host_and_refuses_only_when_all_are_full() {
    let mut world = World::with(&[T4, T4]);
    world.tell(Event::InstanceSpool { instance: InstanceId(0), full: true });
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 1, attempt(1)));
    world.tell(Event::InstanceSpool { instance: InstanceId(1), full: true });
    let refused = world.submit(sdxl());
    world.expect(Refused(refused, RefusalReason::SpoolFull));
    world.tell(Event::InstanceSpool { instance: InstanceId(0), full: false });
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
}

#[test]
fn an_instance_that_leaves_loses_its_attempts_through_no_fault_of_theirs() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.tell(Event::InstanceLeft { instance: InstanceId(0) });
    world.expect(Withdraw(job, 0, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::Drained));
    assert!(matches!(world.records.last(), Some(Record::AttemptEnded { faults: 0, losses: 1, .. })));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
    assert_eq!(world.scheduler.summary().instances.len(), 1);
}

// ---- restart

#[test]
fn after_a_restart_an_open_attempt_is_looked_up_and_adopted() {
    let mut world = World::with(&[T4, T4]);
    let past =
        Past { attempt: Some(attempt(2)), open_on: Some(InstanceId(0)), placed_at: START, ..Past::default() };
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
    let past =
        Past { attempt: Some(attempt(1)), open_on: Some(InstanceId(0)), placed_at: START, ..Past::default() };
    let job = world.restore(sdxl(), past);
    world.expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, lost(AttemptEnd::NoTrace));
    world.expect(AttemptEnded(job, AttemptEnd::NoTrace));
    world.expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn after_a_restart_an_attempt_on_an_unknown_instance_is_in_doubt_until_its_lease_ends() {
    let mut world = World::with(&[T4]);
    let past =
        Past { attempt: Some(attempt(1)), open_on: Some(InstanceId(9)), placed_at: START, ..Past::default() };
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
    let past =
        Past { attempt: Some(attempt(1)), open_on: Some(InstanceId(3)), placed_at: START, ..Past::default() };
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

// ---- cancel and deadlines

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

// ---- admission

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

// ---- who is next, and where

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
    world.after(secs(20)).expect(Dispatch(patient, 1, attempt(1)));
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
    assert_eq!(decided, [Dispatch(jobs[0], 1, attempt(1)), Dispatch(jobs[1], 0, attempt(1))]);
}

#[test]
fn the_last_job_waits_for_a_fast_device_that_ends_it_sooner() {
    let mut world = World::without_prefetch(&[T4, A100]);
    let first = world.submit(plain(8_000));
    world.expect(Dispatch(first, 1, attempt(1)));
    let second = world.submit(plain(8_000));
    assert_eq!(world.phase(second), Some(Phase::Queued), "4 s there, 8 s here");
    world.hear(first, 1, Signal::Started);
    world.after(secs(2)).hear(first, 1, Signal::Executed);
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
fn a_run_teaches_its_time_and_a_steady_one_is_recorded_only_at_first() {
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
            Record::Learned(Learned::Run { mean_ms, .. }) => Some(*mean_ms),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [4_000, 4_000, 4_000]);
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
