#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn entry(status: &str, messages: serde_json::Value) -> Whereabouts {
    let entry = json!({
        "prompt": [0, "p", {}, {}, []], "outputs": {},
        "status": {"status_str": status, "completed": true, "messages": messages},
    });
    Whereabouts::Ended(Box::new(serde_json::from_value(entry).unwrap()))
}

struct World {
    attempt: Attempt,
    times: Times,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self { attempt: Attempt::new(now), times: Times::default(), now }
    }

    fn after(&mut self, pause: Duration) -> &mut Self {
        self.now += pause;
        self
    }

    fn hear(&mut self, event: &FrameEvent) -> bool {
        self.attempt.hear(event, self.now)
    }

    fn judge(&mut self, found: Whereabouts) -> Verdict {
        self.attempt.judge(found, &self.times, self.now)
    }

    fn look_in(&self) -> Duration {
        self.attempt.look_at(&self.times).saturating_duration_since(self.now)
    }

    fn lost(&mut self, found: Whereabouts) -> AttemptEnd {
        match self.judge(found) {
            Verdict::Over(Signal::Lost { end, .. }) => end,
            other => panic!("not lost: {other:?}"),
        }
    }
}

#[test]
fn silence_is_polled_after_a_second_and_the_last_frame_at_once() {
    let mut world = World::new();
    assert_eq!(world.look_in(), SECOND);
    world.after(SECOND / 2).hear(&FrameEvent::Started);
    assert_eq!(world.look_in(), SECOND);
    world.hear(&FrameEvent::Executing(None));
    assert_eq!(world.look_in(), Duration::ZERO);
}

#[test]
fn a_prompt_that_left_but_is_not_in_history_yet_is_looked_up_ever_more_slowly() {
    let mut world = World::new();
    world.hear(&FrameEvent::Executing(None));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(matches!(world.judge(Whereabouts::Nowhere), Verdict::GoOn));
        let pause = world.look_in();
        world.after(pause);
        pauses.push(pause);
    }
    assert!(pauses[0] > Duration::ZERO && pauses[0] <= Duration::from_millis(10));
    assert!(pauses.is_sorted() && pauses[7] <= SECOND);
    assert!(matches!(world.judge(entry("success", json!([]))), Verdict::Succeeded(_)));
}

#[test]
fn a_look_up_starts_it_once() {
    let mut world = World::new();
    assert!(matches!(world.judge(Whereabouts::Running), Verdict::Started));
    assert!(matches!(world.judge(Whereabouts::Running), Verdict::GoOn));
    assert!(!world.hear(&FrameEvent::Started));
}

#[test]
fn a_success_with_an_error_among_its_messages_is_none() {
    let error = json!([["execution_start", {}], ["execution_error", {"node_id": "2", "exception_type": "ValueError",
        "exception_message": "x", "traceback": [], "current_inputs": {"secret": 1}}]]);
    let verdict = World::new().judge(entry("success", error));
    assert!(
        matches!(verdict, Verdict::Over(Signal::NodeFailed(error)) if error.node_id.as_deref() == Some("2"))
    );
}

#[test]
fn an_interruption_by_somebody_else_is_a_loss() {
    let mut world = World::new();
    let interrupted = json!([["execution_interrupted", {"node_id": "2"}]]);
    assert_eq!(world.lost(entry("error", interrupted)), AttemptEnd::HostFault);
}

#[test]
fn a_blocked_branch_is_not_its_end() {
    let mut world = World::new();
    let blocked = ErrorEvent { exception_type: Some("ExecutionBlocked".into()), ..ErrorEvent::default() };
    world.hear(&FrameEvent::Error(Box::new(blocked)));
    world.after(world.times.history_grace * 2);
    assert!(matches!(world.judge(entry("success", json!([]))), Verdict::Succeeded(_)));
}

#[test]
fn an_error_frame_counts_only_when_history_stays_silent() {
    let mut world = World::new();
    let error = ErrorEvent { exception_type: Some("ValueError".into()), ..ErrorEvent::default() };
    world.hear(&FrameEvent::Error(Box::new(error)));
    world.hear(&FrameEvent::Executing(None));
    assert!(matches!(world.judge(Whereabouts::Nowhere), Verdict::GoOn));
    world.after(world.times.history_grace);
    assert!(matches!(world.judge(Whereabouts::Nowhere), Verdict::Over(Signal::NodeFailed(_))));
}

#[test]
fn what_a_restart_took_was_a_death_for_the_running_prompt_only() {
    for (started, end) in [(true, AttemptEnd::InstanceDied), (false, AttemptEnd::NoTrace)] {
        let mut world = World::new();
        if started {
            world.hear(&FrameEvent::Started);
        }
        let now = world.now;
        world.attempt.contact_lost(now);
        assert!(matches!(world.judge(Whereabouts::Nowhere), Verdict::GoOn), "never believed the first time");
        world.after(SECOND);
        assert_eq!(world.lost(Whereabouts::Nowhere), end);
    }
}

#[test]
fn a_worker_that_serves_nobody_for_long_is_dead() {
    let mut world = World::new();
    let pending = |behind_another| Whereabouts::Pending { behind_another };
    assert!(matches!(world.judge(pending(false)), Verdict::GoOn));
    world.after(world.times.dead_worker_after);
    assert!(matches!(world.judge(pending(true)), Verdict::GoOn));
    assert!(matches!(world.judge(pending(false)), Verdict::GoOn), "it was served meanwhile");
    world.after(world.times.dead_worker_after);
    assert!(matches!(world.judge(pending(false)), Verdict::DeadWorker));
}

#[test]
fn patience_grows_with_the_prediction_and_any_frame_renews_it() {
    let mut world = World::new();
    assert!(!world.attempt.may_hang(), "what waits cannot hang");
    world.hear(&FrameEvent::Started);
    assert!(world.attempt.may_hang());
    let patience = |world: &World, expected| world.attempt.hangs_at(&world.times, expected) - world.now;
    assert_eq!(patience(&world, SECOND), Duration::from_mins(10));
    assert_eq!(patience(&world, Duration::from_mins(5)), Duration::from_mins(20));
    world.after(SECOND * 60).hear(&FrameEvent::Executing(Some("1".into())));
    assert_eq!(patience(&world, SECOND), Duration::from_mins(10));
}
