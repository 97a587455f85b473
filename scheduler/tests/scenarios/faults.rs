//! Faults, row by row of DESIGN §5.

use scheduler::{
    AttemptEnd, DeviceId, DeviceSample, Event, Failure, InstanceId, Learned, Millis, Phase, Record,
    RefusalReason, Signal,
};

use crate::world::Decided::{
    AttemptEnded, Dispatch, Free, Grant, LookUp, Refused, Restart, Settle, Withdraw,
};
use crate::world::{A100, T4, World, attempt, failed, lost, plain, sdxl, secs, succeeded};

#[test]
fn a_graph_that_comfyui_refuses_fails_at_once() {
    let mut world = World::with(&[T4]);
    let job = world.submit(sdxl());
    world.expect(Dispatch(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Invalid);
    world.expect(failed(job, 1, Failure::InvalidWorkflow));
}

#[test]
fn what_fails_everywhere_fails_with_its_name() {
    for (signal, failure) in [
        (Signal::NodeFailed, Failure::NodeError),
        (Signal::OutputTooLarge, Failure::OutputTooLarge),
        (Signal::Undeliverable, Failure::Undeliverable),
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
fn a_job_in_doubt_is_not_expired_by_its_start_deadline_before_its_look_up_has_answered() {
    let mut world = World::with(&[T4]);
    let job = world.submit(sdxl().start_deadline(secs(30)));
    world.expect(Dispatch(job, 0, attempt(1)));
    world.after(secs(20)).down(0);
    world.after(secs(15)).nothing_more();
    assert_eq!(world.phase(job), Some(Phase::InDoubt));
    world.up(0);
    world.expect(LookUp(job, 0, attempt(1)));
    world.hear(job, 1, Signal::Started);
    assert_eq!(world.phase(job), Some(Phase::Running));
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
fn outputs_in_the_hands_of_a_runner_outlast_their_instance() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.after(secs(3600)).down(0);
    world.after(secs(3600)).nothing_more();
    assert_eq!(world.phase(job), Some(Phase::Collecting));
    world.publish(job, 1);
    world.expect(succeeded(job, 1));
    world.expect(Settle(job, 0, attempt(1)));
}

#[test]
fn outputs_that_died_with_their_instance_are_made_again_elsewhere_once_the_runner_says_so() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.down(0);
    world.after(secs(600)).hear(job, 1, lost(AttemptEnd::OutputsGone));
    world.expect(AttemptEnded(job, AttemptEnd::OutputsGone));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
}

#[test]
fn outputs_on_an_instance_that_leaves_are_made_again_elsewhere() {
    let mut world = World::with(&[T4, T4]);
    let job = world.running(sdxl(), 0);
    world.hear(job, 1, Signal::Executed);
    world.expect(Grant(job, attempt(1)));
    world.down(0);
    world.tell(Event::InstanceLeft { instance: InstanceId(0) });
    world.expect(Withdraw(job, 0, attempt(1)));
    world.expect(AttemptEnded(job, AttemptEnd::Drained));
    world.after(secs(1)).expect(Dispatch(job, 1, attempt(2)));
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
    let proves = |record: &Record| {
        matches!(
            record,
            Record::Learned(Learned::Room { above_mib, at_most_mib: u32::MAX, .. }) if *above_mib == 16 * 1024
        )
    };
    assert!(world.records.iter().any(proves));
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
