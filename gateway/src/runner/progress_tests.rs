#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::json;

use super::*;

fn sketch() -> Sketch {
    Sketch::of(&json!({
        "1": {"class_type": "Loader"}, "2": {"class_type": "Sampler"},
        "3": {"class_type": "Decode"}, "4": {"class_type": "Save"},
    }))
}

fn step(node: &str, value: f64, max: f64) -> FrameEvent {
    FrameEvent::Step { node: Some(node.into()), value, max }
}

fn node(id: &str, share: f64, finished: bool) -> NodeState {
    NodeState { node: id.into(), share, finished, itself: true }
}

#[test]
fn cached_nodes_count_as_done() {
    let mut tracker = Tracker::default();
    tracker.take(&FrameEvent::Cached(vec!["1".into(), "3".into()]));
    let progress = tracker.snapshot(&sketch());
    assert_eq!((progress.nodes_done, progress.nodes_total, progress.value), (2, 4, 0.5));
}

#[test]
fn steps_fill_the_share_of_their_node() {
    let mut tracker = Tracker::default();
    tracker.take(&FrameEvent::Nodes(vec![node("1", 1.0, true)]));
    tracker.take(&FrameEvent::Executing(Some("2".into())));
    tracker.take(&step("2", 10.0, 20.0));
    let progress = tracker.snapshot(&sketch());
    assert_eq!((progress.value, progress.step, progress.steps), (0.375, Some(10), Some(20)));
    assert_eq!(progress.current_node_class.as_deref(), Some("Sampler"));
}

#[test]
fn the_value_never_goes_back() {
    let mut tracker = Tracker::default();
    tracker.take(&step("2", 19.0, 20.0));
    let before = tracker.snapshot(&sketch()).value;
    tracker.take(&step("2", 1.0, 30.0));
    assert!(tracker.snapshot(&sketch()).value >= before);
}

#[test]
fn a_finished_node_stays_finished_and_foreign_nodes_do_not_count() {
    let mut tracker = Tracker::default();
    tracker.take(&FrameEvent::Nodes(vec![node("2", 1.0, true)]));
    tracker.take(&FrameEvent::Nodes(vec![node("2", 0.1, false), node("99", 1.0, true)]));
    let progress = tracker.snapshot(&sketch());
    assert_eq!((progress.nodes_done, progress.value), (1, 0.25));
}

#[test]
fn parts_of_an_expanded_node_do_not_finish_it() {
    let mut tracker = Tracker::default();
    let part = NodeState { node: "2".into(), share: 1.0, finished: true, itself: false };
    tracker.take(&FrameEvent::Nodes(vec![part]));
    assert_eq!(tracker.snapshot(&sketch()).nodes_done, 0);
}

#[test]
fn numbers_that_make_no_sense_do_no_harm() {
    let mut tracker = Tracker::default();
    for (value, max) in [(f64::INFINITY, 1.0), (-5.0, 2.0), (1.0, 0.0), (5.0, 2.0), (1e300, 1e300)] {
        tracker.take(&step("2", value, max));
        let progress = tracker.snapshot(&sketch());
        assert!((0.0..=1.0).contains(&progress.value), "{value}/{max}");
    }
}
