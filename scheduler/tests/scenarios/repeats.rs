//! The same graph once more.

use scheduler::{AttemptEnd, Event, InstanceId, Record, Signal};

use crate::world::Decided::{AttemptEnded, Dispatch, Free, Grant};
use crate::world::{A100, T4, World, attempt, lost, plain, secs, work};

/// A graph that ran on a slow card while the fast one had something else.
fn ran_on_the_slow_card() -> World {
    let mut world = World::without_prefetch(&[T4, A100]);
    let other = world.running(work(2, 400_000, 1, &[]), 1);
    let first = world.submit(plain(20_000).graph(5));
    world.expect(Dispatch(first, 0, attempt(1)));
    world.hear(first, 1, Signal::Started);
    world.after(secs(20)).hear(first, 1, Signal::Executed);
    world.expect(Grant(first, attempt(1)));
    world.hear(other, 1, Signal::Progress);
    for _ in 0..4 {
        world.after(secs(20)).hear(other, 1, Signal::Progress);
    }
    world.hear(other, 1, Signal::Executed);
    world.expect(Grant(other, attempt(1)));
    world
}

#[test]
fn a_repeat_goes_where_its_graph_ran_last_and_another_graph_to_the_faster_card() {
    let mut world = ran_on_the_slow_card();
    let repeat = world.submit(plain(20_000).graph(5));
    world.expect(Dispatch(repeat, 0, attempt(1)));
    let other = world.submit(plain(20_000).graph(6));
    world.expect(Dispatch(other, 1, attempt(1)));
}

#[test]
fn a_repeat_teaches_nothing() {
    let mut world = ran_on_the_slow_card();
    let repeat = world.submit(plain(20_000).graph(5));
    world.expect(Dispatch(repeat, 0, attempt(1)));
    world.hear(repeat, 1, Signal::Started);
    let learned = |world: &World| world.records.iter().filter(|it| matches!(it, Record::Learned(_))).count();
    let before = learned(&world);
    world.after(secs(1)).hear(repeat, 1, Signal::Executed);
    world.expect(Grant(repeat, attempt(1)));
    assert_eq!(learned(&world), before);
}

#[test]
fn after_another_graph_a_restart_or_a_loss_there_is_nothing_to_repeat() {
    let mut restarted = ran_on_the_slow_card();
    restarted.tell(Event::InstanceRestarted { instance: InstanceId(0) });
    let job = restarted.submit(plain(20_000).graph(5));
    restarted.expect(Dispatch(job, 1, attempt(1)));

    let mut lost_it = ran_on_the_slow_card();
    let repeat = lost_it.submit(plain(20_000).graph(5));
    lost_it.expect(Dispatch(repeat, 0, attempt(1)));
    lost_it.hear(repeat, 1, lost(AttemptEnd::OutputsGone));
    lost_it.expect(AttemptEnded(repeat, AttemptEnd::OutputsGone));
    lost_it.expect(Free(0)); // which empties the node cache
    let job = lost_it.submit(plain(20_000).graph(5));
    lost_it.expect(Dispatch(job, 1, attempt(1)));
    lost_it.lenient = true;

    let mut replaced = ran_on_the_slow_card();
    let fast = replaced.running(work(2, 400_000, 1, &[]), 1);
    let other = replaced.submit(plain(20_000).graph(6));
    replaced.expect(Dispatch(other, 0, attempt(1)));
    replaced.hear(other, 1, Signal::Started);
    replaced.after(secs(20)).hear(other, 1, Signal::Executed);
    replaced.expect(Grant(other, attempt(1)));
    replaced.hear(fast, 1, Signal::Progress);
    replaced.after(secs(30)).hear(fast, 1, Signal::Progress);
    replaced.after(secs(30)).hear(fast, 1, Signal::Executed);
    replaced.expect(Grant(fast, attempt(1)));
    let job = replaced.submit(plain(20_000).graph(5));
    replaced.expect(Dispatch(job, 1, attempt(1)));
}
